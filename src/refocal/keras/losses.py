"""The losses of Keras: settings, a call as Keras' losses have it, what is saved with a model."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from keras.src.backend import get_keras_mask, set_keras_mask

from refocal.keras import arguments, backends, probabilities
from refocal.keras.arguments import REQUIRED
from refocal.keras.focal import Tensor
from refocal.keras.problem import computing_dtype, is_kept, shape_of
from refocal.keras.wording import spoken


class Reduced(keras.losses.Loss):  # type: ignore[misc]
    """Losses that are there already, with Keras' weights, masks and reductions."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The losses themselves."""
        return y_pred


class FocalLoss(keras.losses.Loss):  # type: ignore[misc]
    """What the losses share; see `SigmoidFocalLoss` and `SoftmaxFocalLoss`."""

    multiclass: bool

    @spoken
    def __init__(
        self,
        *,
        from_logits: bool,
        reduction: str | None,
        name: str | None,
        dtype: Any,
        **settings: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        function = type(self).__name__
        self.from_logits = arguments.checked_from_logits(function, from_logits)
        self.settings = arguments.settings(function, multiclass=self.multiclass, **settings)
        self._given_dtype = dtype

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same loss of."""
        return {
            **super().get_config(),
            "dtype": keras.saving.serialize_keras_object(self._given_dtype),
            "from_logits": self.from_logits,
            **arguments.saved(self.settings),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FocalLoss:
        """The loss of a saved configuration."""
        return cls(**arguments.loaded(config))

    @spoken
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss of a batch, weighed, masked and reduced as Keras does.

        Unlike in Keras' own losses, targets keep their dtype on the way, so that class indices are
        exact and hard targets known for what they are.
        """
        mask = get_keras_mask(y_pred)
        losses = self._unreduced(y_true, y_pred)
        rank = len(losses.shape)
        own = get_keras_mask(losses)
        if mask is not None:
            mask = ops.cast(ops.convert_to_tensor(mask), "bool")
            mask = _aligned(mask, losses)
        if own is not None:
            mask = own if mask is None else ops.logical_and(mask, own)
        if sample_weight is not None:
            sample_weight = ops.cast(backends.as_tensor(sample_weight), self.dtype)
            if len(sample_weight.shape) < rank:
                sample_weight = _aligned(sample_weight, losses)
        if mask is not None:
            set_keras_mask(losses, mask)
            if sample_weight is not None:  # on torch Keras multiplies the mask into it in place
                sample_weight = ops.copy(sample_weight)
        reduced = Reduced(name=self.name, reduction=self.reduction, dtype=self.dtype)
        return reduced(losses, losses, sample_weight)

    @spoken
    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """The unreduced loss; targets that are ignored are masked, as Keras' losses mask them."""
        return self._unreduced(y_true, y_pred)

    def _unreduced(self, y_true: Any, y_pred: Any) -> Tensor:
        raise NotImplementedError

    def _prediction(self, y_pred: Any) -> Tensor:
        function = type(self).__name__
        y_pred = arguments.prediction(function, y_pred, self.dtype, self.from_logits)
        return ops.cast(y_pred, computing_dtype(self.dtype))


@keras.saving.register_keras_serializable(package="refocal")
class SigmoidFocalLoss(FocalLoss):
    r"""Binary or multi-label focal loss for Keras: one independent decision per column.

    $$ \mathrm{FL} = -\alpha_t\,(1 - p_t)^\gamma \log p_t, \qquad p_t = \sigma((2y - 1)\,z) $$

    The keywords, defaults and meanings of `refocal.sigmoid_focal_loss`, in a `keras.losses.Loss`:
    for ``compile(loss=...)`` with ``sample_weight``, ``class_weight``, masks and mixed precision,
    or called as ``loss(y_true, y_pred, sample_weight)``. Saved with a model, and loaded where
    `refocal.keras` has been imported. Finite loss and gradient for every finite logit and every
    gamma >= 0.

    As Keras' binary losses it is averaged over the classes of a position before weights and masks:
    ``(N, C)`` predictions give N losses. With an ``ignore_index`` every class keeps its own, so
    that "sum_over_batch_size" divides by the count of labels that are not ignored.

    Args:
        from_logits: True where ``y_pred`` are scores before the sigmoid, of a model that ends
            without an activation: exact at every one. False where they are probabilities p; then
            ``log(p / (1 - p))`` is taken, within a few eps of what p holds. What it does not hold
            is lost: a float32 sigmoid is 1 from a logit of 17 on, so an example that is wrong by
            more has a loss of at most 17 and no gradient; at 0 that is 87. It has no default:
            Keras' own losses have False.
        alpha: weight of the positive class in [0, 1]; negatives get ``1 - alpha``. None: no weight.
            A list has one number per class.
        gamma: focusing exponent >= 0; 0 is cross-entropy. A list has one number per class, a tuple
            is ``(gamma_pos, gamma_neg)``.
        ignore_index: targets of this value add nothing to loss, gradient or denominator: an
            integer, or NaN for missing labels.
        label_smoothing: e in [0, 1]; targets are read as ``y (1 - e) + e / 2``.
        detach_modulator: no gradient through ``(1 - p_t)**gamma``.
        axis: the classes, over which losses are averaged and along which lists lie.
        reduction: Keras' own: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight",
            None.
        name: of the loss.
        dtype: of the loss; Keras' ``floatx`` unless given, also under mixed precision. Half
            precision is computed in float32.

    Raises:
        ValueError: a shape or a value outside its domain. Values inside tensors are not known in a
            graph; a probability out of range gives NaN there.
        TypeError: no ``from_logits``, integer predictions, or another wrong type.

    Example:
        >>> import numpy as np
        >>> from refocal.keras import SigmoidFocalLoss
        >>> loss = SigmoidFocalLoss(from_logits=True)
        >>> print(f"{float(loss(np.array([1, 0, 0]), np.array([2.0, -1.0, 0.5]))):.4f}")
        0.1002

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5.
        https://arxiv.org/abs/1708.02002
    """

    multiclass = False

    def __init__(
        self,
        *,
        from_logits: bool = REQUIRED,
        alpha: Any = 0.25,
        gamma: Any = 2.0,
        ignore_index: float | None = None,
        label_smoothing: float = 0.0,
        detach_modulator: bool = False,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "sigmoid_focal_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            alpha=alpha,
            gamma=gamma,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            detach_modulator=detach_modulator,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )

    def _unreduced(self, y_true: Any, y_pred: Any) -> Tensor:
        function = type(self).__name__
        y_pred = self._prediction(y_pred)
        targets = backends.as_tensor(y_true)
        targets = arguments.binary_targets(function, targets, y_pred)
        axis = arguments.class_axis(function, y_pred, self.settings.axis)
        arguments.check_per_class(function, self.settings, y_pred, axis)
        arguments.check_shares(function, targets, self.settings.ignore_index, "sigmoid")
        logits = y_pred if self.from_logits else probabilities.logit(y_pred)
        losses = backends.sigmoid(logits, targets, self.settings, axis)
        kept = is_kept(targets, self.settings.ignore_index)
        if kept is None and len(shape_of(losses)) > 1:
            losses = ops.mean(losses, axis)
        losses = ops.cast(losses, self.dtype)
        if kept is not None:
            set_keras_mask(losses, kept)
        return losses


@keras.saving.register_keras_serializable(package="refocal")
class SoftmaxFocalLoss(FocalLoss):
    r"""Multi-class focal loss for Keras, sparse or not: one of C classes per position.

    $$ \mathrm{FL} = -\alpha_y\,(1 - p_y)^\gamma \log p_y, \qquad p = \mathrm{softmax}(z) $$

    The keywords, defaults and meanings of `refocal.softmax_focal_loss`, in a `keras.losses.Loss`;
    see `SigmoidFocalLoss`. Targets are told apart by their shape: class indices have that of
    ``y_pred`` without the classes, or with one column of them, in any dtype; one-hot rows and
    probabilities have all columns. Classes masked with ``-inf`` drop out of loss and gradient.

    Args:
        from_logits: True where ``y_pred`` are scores before the softmax, of a model that ends
            without an activation. False where they are probabilities; then their logarithms are
            taken, in which nothing is lost but a probability that has underflown to 0, which counts
            as the smallest number, without a gradient. It has no default: Keras' own losses have
            False.
        alpha: None, or a list of C class weights >= 0.
        gamma: focusing exponent >= 0; 0 is cross-entropy. A list has the exponent of each class.
        ignore_index: class index that adds nothing to loss, gradient or denominator. Must stay -100
            with one-hot targets.
        label_smoothing: e in [0, 1]; targets are read as ``y (1 - e) + e / C``.
        detach_modulator: no gradient through ``(1 - p_y)**gamma``.
        axis: the classes.
        reduction: Keras' own: "sum_over_batch_size", "mean", "sum", "mean_with_sample_weight",
            None.
        name: of the loss.
        dtype: of the loss; Keras' ``floatx`` unless given, also under mixed precision. Half
            precision is computed in float32.

    Raises:
        ValueError: a shape or a value outside its domain. Values inside tensors are not known in a
            graph; an index or a probability out of range gives NaN there.
        TypeError: no ``from_logits``, a number for alpha, integer predictions, or another wrong
            type.

    Example:
        >>> import numpy as np
        >>> from refocal.keras import SoftmaxFocalLoss
        >>> logits = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 3.0]])
        >>> loss = SoftmaxFocalLoss(from_logits=True)
        >>> print(f"{float(loss(np.array([0, 1]), logits)):.4f}")
        1.4126
        >>> print(f"{float(loss(np.eye(3)[[0, 1]], logits)):.4f}")
        1.4126

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5,
        with softmax probabilities. https://arxiv.org/abs/1708.02002
    """

    multiclass = True

    def __init__(
        self,
        *,
        from_logits: bool = REQUIRED,
        alpha: Any = None,
        gamma: Any = 2.0,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        detach_modulator: bool = False,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "softmax_focal_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            alpha=alpha,
            gamma=gamma,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            detach_modulator=detach_modulator,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )

    def _unreduced(self, y_true: Any, y_pred: Any) -> Tensor:
        function = type(self).__name__
        y_pred = self._prediction(y_pred)
        targets = backends.as_tensor(y_true)
        axis = arguments.class_axis(function, y_pred, self.settings.axis)
        classes = arguments.classes_of(function, y_pred, axis, targets)
        ignored = int(self.settings.ignore_index or 0)
        targets, hard = arguments.class_targets(function, targets, y_pred, axis, ignored)
        arguments.check_per_class(function, self.settings, y_pred, axis)
        if hard:
            arguments.check_indices(function, targets, ignored, classes)
        else:
            arguments.check_shares(function, targets, None, "softmax")
        logits = y_pred if self.from_logits else probabilities.log(y_pred)
        losses = ops.cast(backends.softmax(logits, targets, self.settings, axis), self.dtype)
        kept = is_kept(targets, ignored) if hard else None
        if kept is not None:
            set_keras_mask(losses, kept)
        return losses


def _aligned(weight: Tensor, losses: Tensor) -> Tensor:
    """Weights or a mask of the leading axes of the losses, of their shape."""
    shape = shape_of(weight)
    rank = len(losses.shape)
    if len(shape) >= rank or not arguments.agree(shape, shape_of(losses)[: len(shape)]):
        return weight  # as Keras has it
    for _ in range(rank - len(shape)):
        weight = ops.expand_dims(weight, -1)
    return ops.broadcast_to(weight, ops.shape(losses))
