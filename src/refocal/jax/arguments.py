"""Every check of a call in JAX: the same domains and messages as in torch.

Values inside arrays are read where JAX does not trace. Under jit and other transformations they
are unknown; there ``checkify=True`` makes the checks a part of the program.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import checkify

from refocal.arguments import settings, values, wording
from refocal.arguments.adapter import Facts, register
from refocal.jax.classes import as_indices
from refocal.jax.problem import (
    Number,
    SigmoidProblem,
    SoftmaxProblem,
    computing_dtype,
    is_floating,
    is_kept,
    rounding_of,
)
from refocal.messages import refuse


def facts(array: Array) -> Facts:
    """What messages say of an array."""
    return Facts(tuple(array.shape), str(array.dtype), is_floating(array), "")


def readable(array: Array) -> bool:
    """Whether its values are there: not under a transformation, and not on other hosts."""
    return not isinstance(array, jax.core.Tracer) and array.is_fully_addressable and array.size > 0


def ends(array: Array) -> tuple[Any, Any] | None:
    """The smallest and the largest value, NaN if any is NaN; None where they may not be read."""
    if not readable(array):
        return None
    held = np.asarray(array)
    held = held.astype(np.float64) if is_floating(array) else held
    return held.min().item(), held.max().item()


class Jax:
    """JAX's answers."""

    facts = staticmethod(facts)
    ends = staticmethod(ends)

    @staticmethod
    def check_real(function: str, argument: str, array: Array) -> None:
        """Refuses complex numbers, and what is no number at all, such as keys of random numbers."""
        if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool) or jnp.issubdtype(
            array.dtype, jnp.complexfloating
        ):
            raise refuse(function, argument, "be real", array.dtype, kind=TypeError)

    check_usable = check_real


register("jax", Array, Jax())


def as_array(value: Any) -> Any:
    """NumPy's arrays as JAX's; everything else as it is."""
    numeric = isinstance(value, np.ndarray) and value.dtype.kind in "biufcV"
    return jnp.asarray(value) if numeric else value


def array_of(function: str, argument: str, value: Any, domain: str = "a tensor") -> Array:
    """An array of real numbers, JAX's or NumPy's."""
    value = as_array(value)
    if isinstance(value, np.generic):
        value = jnp.asarray(value)
    if not isinstance(value, Array):
        raise refuse(
            function,
            argument,
            f"be {domain}",
            type(value).__name__,
            "Use jnp.asarray.",
            TypeError,
        )
    Jax.check_real(function, argument, value)
    return value


def logits_of(function: str, logits: Any) -> Array:
    """Floating logits."""
    array = array_of(function, "logits", logits)
    if not is_floating(array):
        wording.fail_integer_logits(function, array.dtype)
    return array


def axis_of(function: str, logits: Array, axis: Any) -> int:
    """The class axis: axis 1, or 0 of 1-d logits, unless another is asked for."""
    if axis is None:
        return min(1, max(logits.ndim - 1, 0))
    number = values.integer(function, "axis", axis)
    if not -logits.ndim <= number < logits.ndim:
        raise refuse(function, "axis", f"be an axis of logits {tuple(logits.shape)}", number)
    return number % logits.ndim


def class_axis(function: str, logits: Array, axis: Any) -> tuple[int, int]:
    """The class axis of softmax logits and its length."""
    if logits.ndim == 0:
        wording.fail_scalar_logits(function)
    number = axis_of(function, logits, axis)
    if logits.shape[number] == 0:
        raise refuse(function, "logits", "have at least one class", tuple(logits.shape))
    return number, logits.shape[number]


def along(array: Array, axis: int, logits: Array) -> Array:
    """A (C,) array with the logits' number of axes."""
    return array.reshape([-1 if one == axis else 1 for one in range(logits.ndim)])


# ---------------------------------------------------------------------------------------------
# values


def check_array(
    function: str,
    argument: str,
    array: Array,
    inside: Callable[[Array], Array],
    fail: Callable[[Any, Any], None],
    domain: str,
    *,
    traced: bool,
) -> None:
    """Refuses values outside of a domain, or has the program do it.

    Args:
        function: who asks.
        argument: its argument.
        array: its values.
        inside: tells which are in the domain.
        fail: raises for the smallest and the largest value, where they can be read and are not.
        domain: the domain in words.
        traced: whether to check under a transformation.
    """
    found = ends(array)
    if found is not None:
        fail(*found)
    elif traced and isinstance(array, jax.core.Tracer) and array.size:
        allowed = inside(array)
        value = array.reshape(-1)[jnp.argmin(allowed.reshape(-1))]
        message = f"{function}: {argument} must {domain}, got {{value}}."
        checkify.check(jnp.all(allowed), message, value=value.astype(jnp.float32))


def check_alpha(function: str, alpha: Array, *, multiclass: bool, traced: bool) -> None:
    """In [0, 1], or for a softmax finite and >= 0."""
    check_array(
        function,
        "alpha",
        alpha,
        lambda a: (a >= 0) & (a < jnp.inf if multiclass else a <= 1),
        lambda low, high: values.check_alpha_range(function, low, high, multiclass=multiclass),
        "be finite and >= 0 for every class" if multiclass else "be in [0, 1]",
        traced=traced,
    )


def check_gamma(function: str, gamma: Array, *, traced: bool) -> None:
    """Finite and >= 0."""
    check_array(
        function,
        "gamma",
        gamma,
        lambda g: (g >= 0) & (g < jnp.inf),
        lambda low, high: values.check_gamma_range(function, low, high),
        "be finite and >= 0",
        traced=traced,
    )


def check_weight(function: str, weight: Array, *, traced: bool) -> None:
    """Finite and >= 0."""

    def fail(low: float, high: float) -> None:
        if not (low >= 0 and high < math.inf):
            wording.fail_sample_weight(function, low if not low >= 0 else high)

    check_array(
        function,
        "sample_weight",
        weight,
        lambda w: (w >= 0) & (w < jnp.inf),
        fail,
        "be finite and >= 0",
        traced=traced,
    )


def check_targets(
    function: str, targets: Array, ignored: float | None, link: str, *, traced: bool
) -> None:
    """In [0, 1] but for rounding, where they are not ignored."""
    if targets.dtype == bool:
        return
    kept = is_kept(targets, ignored)
    targets = targets if kept is None else jnp.where(kept, targets, jnp.zeros_like(targets))
    slack = rounding_of(targets.dtype)

    def fail(low: Any, high: Any) -> None:
        if low >= -slack and high <= 1 + slack:
            return
        value = low if not low >= -slack else high
        flat = np.asarray(targets).reshape(-1)
        held = flat.astype(np.float64) if is_floating(targets) else flat
        others = held[held != value]
        pair = (others.min().item(), others.max().item()) if others.size else None
        wording.fail_target_range(function, value, link, pair)

    check_array(
        function,
        "targets",
        targets,
        lambda y: (y >= -slack) & (y <= 1 + slack),
        fail,
        "be in [0, 1]",
        traced=traced,
    )


def check_indices(
    function: str, targets: Array, ignored: int | None, classes: int, *, traced: bool
) -> None:
    """Class indices in range, where they are not ignored."""
    kept = is_kept(targets, ignored)
    targets = targets if kept is None else jnp.where(kept, targets, jnp.zeros_like(targets))

    def fail(low: int, high: int) -> None:
        if low < 0 or high >= classes:
            wording.fail_class_index(function, low if low < 0 else high, classes)

    check_array(
        function,
        "targets",
        targets,
        lambda y: (y >= 0) & (y < classes),
        fail,
        f"be class indices from 0 to {classes - 1}",
        traced=traced,
    )


# ---------------------------------------------------------------------------------------------
# parameters beside logits


def rounded(value: float, dtype: Any) -> float:
    """The nearest number of the computing dtype."""
    return float(np.dtype(dtype).type(value))


def aligned_parameter(
    function: str, argument: str, value: Array, logits: Array, axis: int
) -> Array:
    """A sigmoid alpha or gamma: 0-d, (C,) along the class axis, or full ndim that broadcasts."""
    value = value.astype(computing_dtype(logits))
    full = zip(value.shape, logits.shape, strict=False)
    if value.ndim == 0 or (
        value.ndim == logits.ndim and all(size in (1, whole) for size, whole in full)
    ):
        return value
    if value.ndim == 1 and logits.ndim > 1 and value.shape[0] == logits.shape[axis]:
        return along(value, axis, logits)
    layouts, hint = "0-d", ""
    if logits.ndim:
        layouts = f"0-d, ({logits.shape[axis]},) per class, or {logits.ndim}-d and broadcastable,"
    if value.ndim == 1 and value.shape[0] in logits.shape:
        other = logits.shape.index(value.shape[0])
        hint = f"If the classes of these logits are on axis {other}, pass axis={other}."
    shape = tuple(logits.shape)
    raise refuse(function, argument, f"be {layouts} for logits {shape}", tuple(value.shape), hint)


def alpha_pair(
    function: str, alpha: Any, logits: Array, axis: int, *, traced: bool
) -> tuple[Number, Number]:
    """Weights of positives and negatives: (alpha, 1 - alpha), or (1, 1) for None."""
    if alpha is None:
        return 1.0, 1.0
    alpha = as_array(alpha)
    if isinstance(alpha, Array):
        Jax.check_real(function, "alpha", alpha)
        aligned = aligned_parameter(function, "alpha", alpha, logits, axis)
        check_alpha(function, alpha, multiclass=False, traced=traced)
        return aligned, 1 - aligned
    number = rounded(values.alpha_number(function, alpha), computing_dtype(logits))
    return number, 1 - number


def gamma_pair(
    function: str, gamma: Any, logits: Array, axis: int, *, traced: bool
) -> tuple[Number, Number]:
    """Exponents of positives and negatives."""
    if isinstance(gamma, tuple) and len(gamma) != 2:
        values.fail_gamma_count(function, len(gamma))
    if isinstance(gamma, tuple):
        first, second = (one_gamma(function, one, logits, axis, traced=traced) for one in gamma)
        return first, second
    one = one_gamma(function, gamma, logits, axis, traced=traced)
    return one, one


def one_gamma(function: str, gamma: Any, logits: Array, axis: int, *, traced: bool) -> Number:
    """A sigmoid exponent: a number, or an array aligned with the logits."""
    gamma = as_array(gamma)
    if not isinstance(gamma, Array):
        number = values.gamma_number(function, gamma, multiclass=False)
        return rounded(number, computing_dtype(logits))
    Jax.check_real(function, "gamma", gamma)
    aligned = aligned_parameter(function, "gamma", gamma, logits, axis)
    check_gamma(function, aligned, traced=traced)
    return aligned


def class_weights(
    function: str, alpha: Any, logits: Array, axis: int, *, traced: bool
) -> Array | None:
    """None or C class weights, with the logits' number of axes."""
    alpha = as_array(alpha)
    if alpha is None:
        return None
    classes = logits.shape[axis]
    if not isinstance(alpha, Array):
        values.fail_class_weights_type(function, alpha, str(classes))
    Jax.check_real(function, "alpha", alpha)
    if tuple(alpha.shape) != (classes,):
        wording.fail_class_weights_shape(function, classes, tuple(logits.shape), tuple(alpha.shape))
    weights = alpha.astype(computing_dtype(logits))
    check_alpha(function, weights, multiclass=True, traced=traced)
    return along(weights, axis, logits)


def softmax_gamma(
    function: str,
    gamma: Any,
    logits: Array,
    axis: int,
    shape: tuple[int, ...],
    floating: bool,
    *,
    traced: bool,
) -> Number:
    """A softmax exponent: a number, or an array that broadcasts to the logits."""
    if isinstance(gamma, tuple):
        values.fail_gamma_pair(function)
    gamma = as_array(gamma)
    if not isinstance(gamma, Array):
        number = values.gamma_number(function, gamma, multiclass=True)
        return rounded(number, computing_dtype(logits))
    Jax.check_real(function, "gamma", gamma)
    exponent = gamma.astype(computing_dtype(logits))
    check_gamma(function, exponent, traced=traced)
    positions = tuple(logits.shape[:axis]) + tuple(logits.shape[axis + 1 :])
    if exponent.ndim == 0:
        return exponent
    if tuple(exponent.shape) == (logits.shape[axis],):
        return along(exponent, axis, logits)
    if tuple(exponent.shape) == positions:
        return jnp.expand_dims(exponent, axis)
    if exponent.shape == logits.shape and floating:
        return exponent
    wording.fail_softmax_gamma_shape(function, logits.shape[axis], shape, tuple(gamma.shape))


def aligned_weight(
    function: str, weight: Any, positions: tuple[int, ...], logits: Array, *, traced: bool
) -> Array | None:
    """sample_weight with trailing axes of size 1, so that it broadcasts to the loss."""
    if weight is None:
        return None
    weight = array_of(function, "sample_weight", weight, "None or a tensor")
    if tuple(weight.shape) != positions[: weight.ndim]:
        wording.fail_weight_shape(function, positions, tuple(weight.shape))
    check_weight(function, weight, traced=traced)
    trailing = (1,) * (len(positions) - weight.ndim)
    aligned: Array = weight.astype(computing_dtype(logits)).reshape(weight.shape + trailing)
    return aligned


def ignored_target(function: str, ignore_index: Any, dtype: Any) -> float | None:
    """The target value that is ignored, or None where these targets can hold none."""
    if ignore_index is None:
        return None
    if jnp.issubdtype(dtype, jnp.floating):
        if values.is_nan(ignore_index):
            return math.nan
        return float(values.ignored_integer(function, ignore_index))
    value = values.ignored_integer(function, ignore_index)
    if jnp.issubdtype(dtype, jnp.bool_):
        return value if value in (0, 1) else None
    limits = jnp.iinfo(dtype)
    return value if limits.min <= value <= limits.max else None


# ---------------------------------------------------------------------------------------------
# problems


def sigmoid_problem(
    function: str,
    logits: Any,
    targets: Any,
    *,
    alpha: Any,
    gamma: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    detach_modulator: Any,
    axis: Any,
    traced: bool,
) -> SigmoidProblem:
    """Checked and aligned arguments of a binary or multi-label loss."""
    logits = logits_of(function, logits)
    targets = array_of(function, "targets", targets)
    if targets.shape != logits.shape:
        wording.fail_sigmoid_shape(function, facts(logits), facts(targets))
    number = axis_of(function, logits, axis)
    problem = SigmoidProblem(
        logits,
        targets,
        alpha_pair(function, alpha, logits, number, traced=traced),
        gamma_pair(function, gamma, logits, number, traced=traced),
        aligned_weight(function, sample_weight, tuple(logits.shape), logits, traced=traced),
        ignored_target(function, ignore_index, targets.dtype),
        values.smoothing(function, label_smoothing),
        values.flag(function, "detach_modulator", detach_modulator),
    )
    check_targets(function, targets, problem.ignore_index, "sigmoid", traced=traced)
    return problem


def softmax_problem(
    function: str,
    logits: Any,
    targets: Any,
    *,
    alpha: Any,
    gamma: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    detach_modulator: Any,
    axis: Any,
    traced: bool,
) -> SoftmaxProblem:
    """Checked and aligned arguments of a multi-class loss."""
    logits = logits_of(function, logits)
    targets = array_of(function, "targets", targets)
    number, classes = class_axis(function, logits, axis)
    if classes == 1:
        wording.fail_one_class(function, facts(logits), facts(targets))
    positions = tuple(logits.shape[:number]) + tuple(logits.shape[number + 1 :])
    floating = is_floating(targets)
    if tuple(targets.shape) != (tuple(logits.shape) if floating else positions):
        wording.fail_softmax_shape(function, facts(logits), facts(targets), positions)
    if targets.dtype == bool:
        wording.fail_bool_classes(function, "bool")
    shape = tuple(targets.shape)
    ignored: int | None = values.ignored_integer(function, ignore_index)
    if floating:
        if ignored != -100:
            wording.fail_ignored_probabilities(function, ignored)
        ignored = None
        check_targets(function, targets, None, "softmax", traced=traced)
    else:
        targets = as_indices(targets)
        held = ignored_target(function, ignored, targets.dtype)
        ignored = None if held is None else int(held)
        check_indices(function, targets, ignored, classes, traced=traced)
    return SoftmaxProblem(
        logits,
        targets,
        class_weights(function, alpha, logits, number, traced=traced),
        softmax_gamma(function, gamma, logits, number, shape, floating, traced=traced),
        aligned_weight(function, sample_weight, positions, logits, traced=traced),
        ignored,
        values.smoothing(function, label_smoothing),
        values.flag(function, "detach_modulator", detach_modulator),
        number,
    )


def checked_reduction(
    function: str, reduction: Any, normalizer: Any, axis_name: Any, *, multiclass: bool
) -> Any:
    """The normalizer, checked with its reduction; an array where it was one of NumPy's."""
    normalizer = as_array(normalizer)
    shared = axis_name is not None
    settings.check_reduction(
        function,
        reduction,
        normalizer,
        multiclass=multiclass,
        shared=shared,
        framework="jax",
    )
    if shared and reduction != "mean":
        raise refuse(
            function,
            "axis_name",
            'be None unless reduction is "mean"',
            f"reduction={reduction!r}, which has no denominator to sum over devices",
        )
    return normalizer
