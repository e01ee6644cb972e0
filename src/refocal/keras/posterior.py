"""Logits of a model trained with a focal loss to class probabilities, as a layer of Keras.

The derivation and the conditions are those of `refocal.posterior`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from refocal.arguments import values, wording
from refocal.formula.in_keras import BOOK, for_dtype
from refocal.keras import arguments, probabilities
from refocal.keras.arguments import REQUIRED
from refocal.keras.focal import Tensor
from refocal.keras.links import softmax_margins
from refocal.keras.problem import Settings, along, computing_dtype, dtype_of
from refocal.keras.wording import spoken

LINKS = ("sigmoid", "softmax")


@keras.saving.register_keras_serializable(package="refocal")
class Posterior(keras.layers.Layer):  # type: ignore[misc]
    """Class probabilities at the end of a model that was trained with a focal loss.

    The sigmoid or softmax of such a model is not the class probability; this layer is, by the
    formula and under the conditions of `refocal.sigmoid_posterior` and `refocal.softmax_posterior`:
    near the optimum of the loss, every example of the same weight, the class proportions of
    training. It has no weights. Put it behind the trained model, and save or export both as one:
    ``keras.Sequential([model, Posterior.of(loss)])``.

    Args:
        link: "sigmoid" or "softmax".
        from_logits: as of the loss: True where the model ends without an activation. It has no
            default.
        alpha: as in training, and > 0 (of a sigmoid also < 1) for every class. Unless given that of
            the loss by default: 0.25 of a sigmoid, None of a softmax.
        gamma: as in training.
        label_smoothing: as in training; it is undone.
        detach_modulator: as in training.
        temperature: > 0; divides the posterior's log-odds, or log-probabilities before they are
            normalised.
        log: return ``log(P / (1 - P))`` of a sigmoid, ``log P`` of a softmax, which keep their
            digits where P rounds to 0 or 1.
        axis: the classes.
        name: of the layer.
        dtype: of the layer; Keras' ``floatx`` unless given, also under mixed precision: half
            precision has too few digits for probabilities.
        **keywords: of `keras.layers.Layer`.

    Raises:
        ValueError: another link, an alpha of 0, temperature <= 0, or what a loss refuses.
        TypeError: no ``from_logits``, or another wrong type.

    Example:
        >>> import numpy as np
        >>> from refocal.keras import Posterior, SigmoidFocalLoss
        >>> posterior = Posterior.of(SigmoidFocalLoss(from_logits=True, alpha=0.25, gamma=2.0))
        >>> [round(float(one), 4) for one in posterior(np.array([-1.5443, 0.0, 2.0], "float32"))]
        [0.045, 0.75, 0.9985]

    References:
        Charoenphakdee, Vongkulbhisal, Chairatanakul, Sugiyama, CVPR 2021, theorem 11.
        https://arxiv.org/abs/2011.09172
    """

    def __init__(
        self,
        link: str,
        *,
        from_logits: bool = REQUIRED,
        alpha: Any = "default",
        gamma: Any = 2.0,
        label_smoothing: float = 0.0,
        detach_modulator: bool = False,
        temperature: float = 1.0,
        log: bool = False,
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
        **keywords: Any,
    ) -> None:
        super().__init__(
            name=name, dtype=keras.config.floatx() if dtype is None else dtype, **keywords
        )
        self.supports_masking = True
        # Keras reads the signatures of __init__ and call: what is spoken stands beside them
        self._set_up(
            link,
            from_logits,
            temperature,
            log,
            alpha=alpha,
            gamma=gamma,
            label_smoothing=label_smoothing,
            detach_modulator=detach_modulator,
            axis=axis,
        )

    @spoken
    def _set_up(
        self, link: str, from_logits: bool, temperature: float, log: bool, **settings: Any
    ) -> None:
        function = type(self).__name__
        if not isinstance(link, str) or link not in LINKS:
            values.fail_choice(function, "link", LINKS, link)
        self.link = link
        self.from_logits = arguments.checked_from_logits(function, from_logits)
        if isinstance(settings["alpha"], str) and settings["alpha"] == "default":
            settings["alpha"] = 0.25 if link == "sigmoid" else None
        multiclass = link == "softmax"
        self.settings = arguments.settings(
            function, ignore_index=-100, multiclass=multiclass, **settings
        )
        wording.check_posterior_smoothing(function, self.settings.label_smoothing)
        self.temperature = values.finite_positive(function, "temperature", temperature)
        self.log = values.flag(function, "log", log)
        self._check_learned(function)

    @classmethod
    def of(cls, loss: Any, **keywords: Any) -> Posterior:
        """The layer for a model that was trained with a loss.

        Args:
            loss: a `SigmoidFocalLoss` or `SoftmaxFocalLoss` of this room.
            **keywords: more of `Posterior`: ``temperature``, ``log``, ``name``.

        Example:
            >>> from refocal.keras import Posterior, SoftmaxFocalLoss
            >>> Posterior.of(SoftmaxFocalLoss(from_logits=True, gamma=1.0)).link
            'softmax'
        """
        settings = loss.settings._asdict()
        del settings["ignore_index"]
        link = "softmax" if loss.multiclass else "sigmoid"
        return cls(link, from_logits=loss.from_logits, **{**settings, **keywords})

    def _check_learned(self, function: str) -> None:
        alpha = self.settings.alpha
        weights = alpha if isinstance(alpha, list) else [] if alpha is None else [alpha]
        dtype = np.dtype(computing_dtype(self.compute_dtype)).type
        for one in weights:
            if self.link == "softmax" and not dtype(one) > 0:
                wording.fail_unlearned(function, "> 0 for every class", values.shown(one))
            if self.link == "sigmoid" and not 0 < dtype(one) < 1:
                wording.fail_unlearned(function, "strictly between 0 and 1", values.shown(one))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same layer of."""
        settings = arguments.saved(self.settings)
        del settings["ignore_index"]
        return {
            **super().get_config(),
            "link": self.link,
            "from_logits": self.from_logits,
            "temperature": self.temperature,
            "log": self.log,
            **settings,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Posterior:
        """The layer of a saved configuration."""
        return cls(**arguments.loaded(config))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of its input."""
        return input_shape

    def compute_output_spec(self, inputs: Any) -> Any:
        """That of its input, in the dtype of the layer."""
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def call(self, inputs: Tensor) -> Tensor:
        """Probabilities in [0, 1], or their logarithms, of the shape of ``inputs``."""
        return self._posterior(inputs)

    @spoken
    def _posterior(self, inputs: Tensor) -> Tensor:
        function = type(self).__name__
        given = arguments.prediction(function, inputs, self.compute_dtype, self.from_logits)
        axis = arguments.class_axis(function, given, self.settings.axis)
        if self.link == "softmax":
            arguments.classes_of(function, given, axis, given)
        arguments.check_per_class(function, self.settings, given, axis)
        z = ops.cast(given, computing_dtype(self.compute_dtype))
        if not self.from_logits:
            z = probabilities.logit(z) if self.link == "sigmoid" else probabilities.log(z)
        form = sigmoid if self.link == "sigmoid" else softmax
        return ops.cast(
            form(z, self.settings, axis, temperature=self.temperature, log=self.log),
            self.compute_dtype,
        )


def sigmoid(
    z: Tensor, settings: Settings, axis: int, *, temperature: float = 1.0, log: bool = False
) -> Tensor:
    """The probability of the positive class, or its log-odds; see `refocal.sigmoid_posterior`."""
    pair = settings.gamma if isinstance(settings.gamma, tuple) else (settings.gamma,) * 2
    book = BOOK
    form = book.detached_log_odds if settings.detach_modulator else book.log_odds
    odds = form(z, *(along(one, axis, z) for one in pair))
    alpha = along(settings.alpha, axis, z)
    if isinstance(alpha, float):
        odds = odds + (math.log(1 - alpha) - math.log(alpha))
    elif alpha is not None:
        odds = odds + (ops.log(1 - alpha) - ops.log(alpha))
    smoothing = settings.label_smoothing
    if smoothing:
        # (1 - e) P + e/2 for both classes: 1 - P from the other tail, not from 1 - smoothed
        positive = ops.maximum(ops.sigmoid(odds) - smoothing / 2, 0.0)
        negative = ops.maximum(ops.sigmoid(-odds) - smoothing / 2, 0.0)
        odds = ops.log(positive) - ops.log(negative)
    odds = odds / _held(temperature, z)
    return odds if log else ops.sigmoid(odds)


def softmax(
    z: Tensor, settings: Settings, axis: int, *, temperature: float = 1.0, log: bool = False
) -> Tensor:
    """Class probabilities, or their logarithms; see `refocal.softmax_posterior`."""
    book = for_dtype(dtype_of(z))
    s, x = softmax_margins(z, axis)
    form = book.detached_score if settings.detach_modulator else book.score
    score = form(s, x, along(settings.gamma, axis, z))
    alpha = along(settings.alpha, axis, z)
    if alpha is not None:
        score = score - ops.log(alpha)
    # at logits of 3e38 the scores overflow: held apart, so that no inf - inf is formed
    masked = score == -math.inf
    largest = float(np.finfo(dtype_of(z)).max) / (1 if log else 4)
    score = ops.where(score > largest, largest, ops.where(score < -largest, -largest, score))
    smoothing, classes = settings.label_smoothing, z.shape[axis]
    if smoothing:
        left = ops.maximum(ops.softmax(score, axis) - smoothing / classes, 0.0)
        masked = left == 0
        score = ops.log(ops.where(masked, 1.0, left))
    divisor = _held(temperature, z)
    if smoothing or divisor != 1:
        # relative to the largest, which a small temperature leaves at 0; a masked class stays one
        score = ops.where(masked, -math.inf, score)
        score = score - ops.max(ops.stop_gradient(score), axis, keepdims=True)
        score = ops.where(masked, -math.inf, ops.where(masked, 0.0, score) / divisor)
    if log:
        # by margins, because the log-softmax of a likely class rounds to 0 where P rounds to 1
        s, x = softmax_margins(ops.where(masked, -math.inf, score), axis)
        return 0.0 - book.cross_entropy(s, ops.log1p(x))
    return ops.softmax(score, axis)


def _held(temperature: float, z: Tensor) -> float:
    """Within what the computing dtype divides by."""
    limits = np.finfo(dtype_of(z))
    return min(max(temperature, float(limits.tiny)), float(limits.max))
