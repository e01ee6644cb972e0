"""A checked problem to its unreduced loss, in JAX; see `refocal.kernels.eager`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from refocal.formula.binding import modulator_for
from refocal.formula.in_jax import BOOK
from refocal.jax import focal
from refocal.jax.classes import class_mask, picked
from refocal.jax.links import softmax_margin, softmax_margins
from refocal.jax.problem import (
    Number,
    Problem,
    SigmoidProblem,
    SoftmaxProblem,
    computing_dtype,
    is_floating,
    is_kept,
    shares,
)


def losses(problem: Problem) -> Array:
    """Unreduced weighted loss in the computing dtype, differentiable to any order."""
    if isinstance(problem, SigmoidProblem):
        return _sigmoid(problem)
    if not is_floating(problem.targets) and problem.label_smoothing == 0:
        return _index(problem)
    return _probabilities(problem)


def _value(s: Array, x: Array, gamma: Number, detached: bool) -> Array:
    modulator = modulator_for(gamma, "compensated")
    exponent = jnp.asarray(gamma, s.dtype)
    if not detached:
        return focal.value(modulator)(s, x, exponent)
    ce = focal.value("zero")(s, x, jnp.zeros((), s.dtype))
    held = lax.stop_gradient(s), lax.stop_gradient(x)
    value: Array = BOOK.value_of(ce, focal.modulator_of(modulator)(*held, exponent))
    return value


def _weighed(coefficient: Number, value: Array) -> Array:
    """Coefficient * value, where 0 * inf is 0. NaN stays: a NaN logit is never hidden."""
    if not isinstance(coefficient, Array):
        if coefficient == 1:
            return value
        coefficient = jnp.asarray(coefficient, value.dtype)
    weighed: Array = BOOK.weighed(coefficient, value)
    return weighed


def _times(a: Number, b: Number | None) -> Number:
    if b is None or (not isinstance(b, Array) and b == 1):
        return a
    return a * b if isinstance(a, Array) or a != 1 else b


def smooth(y: Array, label_smoothing: float, classes: int) -> Array:
    """Targets mixed with the uniform distribution over the classes."""
    if label_smoothing == 0:
        return y
    smoothed: Array = BOOK.smoothed(y, 1 - label_smoothing, label_smoothing / classes)
    return smoothed


def _sigmoid(problem: SigmoidProblem) -> Array:
    dtype = computing_dtype(problem.logits)
    z = problem.logits.astype(dtype)
    y = problem.targets
    weight = problem.weight
    kept = is_kept(y, problem.ignore_index)
    if kept is not None:
        y = jnp.where(kept, y, jnp.zeros_like(y))
        weight = kept.astype(dtype) if weight is None else jnp.where(kept, weight, 0.0)
    if weight is not None:
        z = jnp.where((weight == 0) & ~jnp.isfinite(z), 0.0, z)
    detached = problem.detach_modulator
    if not is_floating(y) and problem.label_smoothing == 0:
        # hard by their dtype: one margin
        positive = y.astype(bool)
        s = jnp.where(positive, z, -z)
        alpha, gamma = (
            pair[0] if pair[0] is pair[1] or _same(pair) else jnp.where(positive, *_arrays(pair, z))
            for pair in (problem.alpha, problem.gamma)
        )
        return _weighed(_times(alpha, weight), _value(s, BOOK.decay(s), gamma, detached))
    y = shares(y, dtype)
    total: Array | float = 0.0
    # each share smoothed by itself: 1 - (a smoothed y) would cancel, relative to a small e / 2
    for share, s, alpha, gamma in zip(
        (y, 1 - y), (z, -z), problem.alpha, problem.gamma, strict=True
    ):
        coefficient = _times(_times(smooth(share, problem.label_smoothing, 2), alpha), weight)
        total = total + _weighed(coefficient, _value(s, BOOK.decay(s), gamma, detached))
    return total  # type: ignore[return-value]


def _same(pair: tuple[Number, Number]) -> bool:
    return not any(isinstance(one, Array) for one in pair) and bool(pair[0] == pair[1])


def _arrays(pair: tuple[Number, Number], like: Array) -> tuple[Array, Array]:
    first, second = (jnp.asarray(one, like.dtype) for one in pair)
    return first, second


def _left_out(problem: SoftmaxProblem, kept: Array | None) -> Array | bool:
    """The positions that are ignored, or weigh 0 and have a NaN or an infinite largest logit."""
    axis, weight = problem.axis, problem.weight
    left_out = False if kept is None else ~kept
    if weight is None:
        return left_out
    z = lax.stop_gradient(problem.logits).astype(computing_dtype(problem.logits))
    top = jnp.max(z, axis)
    # XLA's maximum on a CPU passes over NaN; scaled, so that no finite logits sum to one
    total = jnp.sum(z * 2.0**-40, axis)
    broken = ~jnp.isfinite(top) | jnp.isnan(total)
    return left_out | ((weight == 0) & broken)


def _index(problem: SoftmaxProblem) -> Array:
    axis = problem.axis
    dtype = computing_dtype(problem.logits)
    z = problem.logits.astype(dtype)
    kept = is_kept(problem.targets, problem.ignore_index)
    index = problem.targets
    if kept is not None:
        index = jnp.where(kept, index, jnp.zeros_like(index))
    s, x = softmax_margin(z, index, axis, _left_out(problem, kept))
    coefficient: Number = 1.0 if kept is None else kept.astype(dtype)
    if problem.alpha is not None:
        coefficient = _times(coefficient, picked(problem.alpha, index))
    coefficient = _times(coefficient, problem.weight)
    gamma = problem.gamma
    if isinstance(gamma, Array) and gamma.ndim:
        per_class = gamma.shape[axis] != 1
        gamma = picked(gamma, index) if per_class else jnp.squeeze(gamma, axis)
    return _weighed(coefficient, _value(s, x, gamma, problem.detach_modulator))


def _probabilities(problem: SoftmaxProblem) -> Array:
    axis = problem.axis
    dtype = computing_dtype(problem.logits)
    z = problem.logits.astype(dtype)
    classes = z.shape[axis]
    kept = None
    if is_floating(problem.targets):
        y = smooth(shares(problem.targets, dtype), problem.label_smoothing, classes)
    else:
        mask = class_mask(jnp.expand_dims(problem.targets, axis), z, axis)
        # an index out of range is no class
        y = jnp.where(jnp.any(mask, axis, keepdims=True), mask.astype(dtype), jnp.nan)
        y = smooth(y, problem.label_smoothing, classes)
        kept = is_kept(problem.targets, problem.ignore_index)
        if kept is not None:  # smoothing comes after ignoring: an ignored row stays all zero
            y = jnp.where(jnp.expand_dims(kept, axis), y, 0.0)
    left_out = _left_out(problem, kept)
    if left_out is not False:
        z = jnp.where(jnp.expand_dims(left_out, axis), 0.0, z)
    coefficient = _times(y, problem.alpha)
    if problem.weight is not None:
        coefficient = _times(coefficient, jnp.expand_dims(problem.weight, axis))
    s, x = softmax_margins(z, axis, idle=lax.stop_gradient(coefficient) == 0)
    values = _value(s, x, problem.gamma, problem.detach_modulator)
    return jnp.sum(_weighed(coefficient, values), axis)
