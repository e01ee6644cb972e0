"""The losses in JAX: check, link, book, reduce."""

from __future__ import annotations

from typing import Any, TypeAlias

from jax import Array
from jax.typing import ArrayLike

from refocal.arguments import values
from refocal.jax import arguments, terms
from refocal.jax.problem import Problem
from refocal.jax.program import as_program
from refocal.jax.reduction import reduced
from refocal.jax.wording import spoken

Gamma: TypeAlias = ArrayLike | tuple[ArrayLike, ArrayLike]


@spoken
def sigmoid_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    alpha: ArrayLike | None = 0.25,
    gamma: Gamma = 2.0,
    reduction: str = "mean",
    normalizer: str | ArrayLike = "elements",
    sample_weight: ArrayLike | None = None,
    ignore_index: float | None = None,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    axis: int | None = None,
    axis_name: Any = None,
    checkify: bool = False,
) -> Array:
    r"""Binary or multi-label focal loss in JAX: one independent decision per logit.

    $$ \mathrm{FL} = -\alpha_t\,(1 - p_t)^\gamma \log p_t, \qquad p_t = \sigma((2y - 1)\,z) $$

    The keywords, defaults and meanings of `refocal.sigmoid_focal_loss`. Pure: works under jit,
    grad, jvp, vmap, scan and remat, differentiable to any order, also along alpha, gamma, targets
    and weights. Finite loss and gradient for every finite logit and every gamma >= 0.

    Args:
        logits: scores before the sigmoid, any real number. Floating, any shape.
        targets: 0, 1 or between, of the shape of ``logits``. Where all are 0 or 1 pass bool or
            integers: those take one margin per logit, floating ones two.
        alpha: weight of the positive class in [0, 1]; negatives get ``1 - alpha``. None: no weight.
            An array may be 0-d, ``(C,)`` along ``axis``, or of the logits' number of axes and
            broadcastable.
        gamma: focusing exponent >= 0; 0 is cross-entropy. An array as for ``alpha``, or a tuple
            ``(gamma_pos, gamma_neg)``. A Python number is static, and 0, 1 and 2 take no power; an
            array may change between calls of a jitted function without another compilation.
        reduction: "none" (shape and dtype of ``logits``), "sum", or "mean" = sum / normalizer. Of
            half-precision logits "sum" and "mean" are float32.
        normalizer: what "mean" divides by: "elements" (the count of those not ignored),
            "positives" (the sum of targets not ignored, at least 1), "weights" (the sum of
            ``sample_weight * alpha_t``), "sample_weight" (the sum of that alone; without any,
            "elements"), or a number or 0-d array > 0.
        sample_weight: None, or an array of the logits' shape or of its leading axes.
        ignore_index: targets of this value add nothing to loss, gradient or denominator: a Python
            integer, or NaN for missing labels.
        label_smoothing: e in [0, 1]; targets are read as ``y (1 - e) + e / 2``. A Python number.
        detach_modulator: no gradient through ``(1 - p_t)**gamma``.
        axis: the class axis, that of ``(C,)`` arrays; 1 unless given (0 of 1-d logits).
        axis_name: a name, or a tuple of names, of mapped axes (`jax.shard_map`, `jax.pmap`,
            `jax.vmap`) that share one batch, for reduction "mean". The denominator is summed over
            them, and what is returned is ``devices * local sum / global denominator``, so that its
            ``lax.pmean``, and that of the gradients, are exactly those of the whole batch.
        checkify: check the values of arrays under jit, too, by `jax.experimental.checkify`; the
            caller functionalises with ``checkify.checkify``. Outside of transformations they are
            always checked.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape or a value outside its domain.
        TypeError: integer logits, a list for gamma, or another wrong type.

    Example:
        >>> import jax.numpy as jnp
        >>> from refocal.jax import sigmoid_focal_loss
        >>> logits, targets = jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 0, 0])
        >>> print(f"{sigmoid_focal_loss(logits, targets):.4f}")
        0.1002

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5.
        https://arxiv.org/abs/1708.02002
    """
    name = "sigmoid_focal_loss"
    problem = arguments.sigmoid_problem(
        name,
        logits,
        targets,
        alpha=alpha,
        gamma=gamma,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        detach_modulator=detach_modulator,
        axis=axis,
        traced=values.flag(name, "checkify", checkify),
    )
    return _loss(name, problem, reduction, normalizer, axis_name, multiclass=False)


@spoken
def softmax_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    gamma: ArrayLike = 2.0,
    reduction: str = "mean",
    normalizer: str | ArrayLike = "elements",
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    axis: int | None = None,
    axis_name: Any = None,
    checkify: bool = False,
) -> Array:
    r"""Multi-class focal loss in JAX: one of C classes per position.

    $$ \mathrm{FL} = -\alpha_y\,(1 - p_y)^\gamma \log p_y, \qquad p = \mathrm{softmax}(z) $$

    The keywords, defaults and meanings of `refocal.softmax_focal_loss`; under transformations as
    `refocal.jax.sigmoid_focal_loss`. Classes masked with ``-inf`` drop out of loss and gradient.

    Args:
        logits: scores before the softmax. Floating, with the classes along ``axis``.
        targets: class indices of the logits' shape without the class axis, or floating
            probabilities of the logits' shape. Under jit an index out of range, which cannot be
            refused there, gives NaN.
        alpha: None, or an array of C class weights >= 0.
        gamma: focusing exponent >= 0; 0 is cross-entropy. An array may be 0-d, ``(C,)`` (the
            exponent of each target class), or of the shape of ``targets``.
        reduction: "none" (one loss per position, dtype of ``logits``), "sum", or "mean" = sum /
            normalizer. Of half-precision logits "sum" and "mean" are float32.
        normalizer: what "mean" divides by: "elements" (the count of positions not ignored),
            "weights" (the sum of ``sample_weight * alpha_y``), "sample_weight" (the sum of that
            alone; without any, "elements"), or a number or 0-d array > 0.
        sample_weight: None, or an array of the loss' shape or of its leading axes.
        ignore_index: class index that adds nothing to loss, gradient or denominator, a Python
            integer. Must stay -100 with probability targets.
        label_smoothing: e in [0, 1]; targets are read as ``y (1 - e) + e / C``. A Python number.
        detach_modulator: no gradient through ``(1 - p_y)**gamma``.
        axis: the class axis; 1 unless given (0 of 1-d logits). Flax' models have it at -1.
        axis_name: mapped axes that share one batch; see `refocal.jax.sigmoid_focal_loss`.
        checkify: check the values of arrays under jit, too, by `jax.experimental.checkify`.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape or a value outside its domain.
        TypeError: integer logits, a number for alpha, a list for gamma, or another wrong type.

    Example:
        >>> import jax.numpy as jnp
        >>> from refocal.jax import softmax_focal_loss
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 0.0, 3.0]])
        >>> print(f"{softmax_focal_loss(logits, jnp.array([0, 1])):.4f}")
        1.4126

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5,
        with softmax probabilities. https://arxiv.org/abs/1708.02002
    """
    name = "softmax_focal_loss"
    problem = arguments.softmax_problem(
        name,
        logits,
        targets,
        alpha=alpha,
        gamma=gamma,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        detach_modulator=detach_modulator,
        axis=axis,
        traced=values.flag(name, "checkify", checkify),
    )
    return _loss(name, problem, reduction, normalizer, axis_name, multiclass=True)


def _loss(
    name: str,
    problem: Problem,
    reduction: str,
    normalizer: Any,
    axis_name: Any,
    *,
    multiclass: bool,
) -> Array:
    normalizer = arguments.checked_reduction(
        name, reduction, normalizer, axis_name, multiclass=multiclass
    )
    if not isinstance(normalizer, (str, Array)):
        normalizer = float(normalizer)
    axes = tuple(axis_name) if isinstance(axis_name, list) else axis_name
    values = tuple(getattr(problem, field) for field in VALUES), normalizer
    return _reduced(values, (_without(problem), reduction, axes))


# of a problem; its other fields decide what is computed
VALUES = ("logits", "targets", "alpha", "gamma", "weight")


def _without(problem: Any) -> Any:
    return problem._replace(**dict.fromkeys(VALUES))


@as_program
def _reduced(values: Any, settings: Any) -> Array:
    fields, normalizer = values
    problem, reduction, axis_name = settings
    problem = problem._replace(**dict(zip(VALUES, fields, strict=True)))
    return reduced(terms.losses(problem), problem, reduction, normalizer, axis_name)
