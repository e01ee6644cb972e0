"""From unreduced losses to what is returned, in JAX; see `refocal.reduction`."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from refocal.jax.classes import picked
from refocal.jax.problem import (
    Number,
    Problem,
    SigmoidProblem,
    computing_dtype,
    is_floating,
    is_kept,
    shares,
)


def reduced(
    losses: Array, problem: Problem, reduction: str, normalizer: Any, axis_name: Any
) -> Array:
    """Unreduced losses in the computing dtype to the result: "none" is rounded once."""
    if reduction == "none":
        return losses.astype(problem.logits.dtype)
    total = jnp.sum(losses)
    if reduction == "sum":
        return total
    count: Any = denominator(problem, normalizer)
    if axis_name is not None:
        count = jax.lax.psum(jnp.asarray(count, losses.dtype), axis_name)
        total = total * jax.lax.psum(1, axis_name)
    return (total / at_least(count, normalizer)).astype(losses.dtype)


def at_least(count: Number, normalizer: Any) -> Number:
    """A count to divide by: positives at least 1, and for a count of 0 the sum is 0 too."""
    if not isinstance(count, Array):
        return count or 1
    if isinstance(normalizer, str) and normalizer == "positives":
        return jnp.where(count < 1, 1, count)
    return jnp.where(count == 0, 1, count)


def denominator(problem: Problem, normalizer: Any) -> Number:
    """Counts what "mean" divides by, possibly 0; of this device. Never in half precision."""
    dtype = computing_dtype(problem.logits)
    if not isinstance(normalizer, str):
        return normalizer.astype(dtype) if isinstance(normalizer, Array) else float(normalizer)
    kept = is_kept(problem.targets, problem.ignore_index)
    if normalizer == "sample_weight" and problem.weight is not None:
        weight = jnp.broadcast_to(problem.weight, loss_shape(problem))
        return jnp.sum(weight if kept is None else jnp.where(kept, weight, 0.0))
    if normalizer in ("elements", "sample_weight"):
        return math.prod(loss_shape(problem)) if kept is None else _count(kept).astype(dtype)
    targets = problem.targets
    if kept is not None:
        targets = jnp.where(kept, targets, jnp.zeros_like(targets))
    if normalizer == "positives":
        return (
            jnp.sum(shares(targets, dtype)) if is_floating(targets) else _count(targets)
        ).astype(dtype)
    weights = _weight_of_targets(problem, targets, dtype)
    if kept is not None:
        weights = jnp.where(kept, weights, 0.0)
    if problem.weight is not None:
        weights = weights * problem.weight
    return jnp.sum(jnp.broadcast_to(weights, loss_shape(problem)))


def _count(hard: Array) -> Array:
    return jnp.sum(hard.astype(jnp.int32))


def loss_shape(problem: Problem) -> tuple[int, ...]:
    """Shape of the unreduced loss: the logits', for a softmax without the class axis."""
    shape = tuple(problem.logits.shape)
    if isinstance(problem, SigmoidProblem):
        return shape
    return shape[: problem.axis] + shape[problem.axis + 1 :]


def _weight_of_targets(problem: Problem, targets: Array, dtype: Any) -> Array:
    """alpha_t by the unsmoothed targets: ``y a + (1 - y)(1 - a)``, or ``sum_c y_c a_c``."""
    y = shares(targets, dtype)
    if isinstance(problem, SigmoidProblem):
        positive, negative = problem.alpha
        return y * positive + (1 - y) * negative
    if is_floating(targets):
        return jnp.sum(y if problem.alpha is None else y * problem.alpha, problem.axis)
    if problem.alpha is None:
        return jnp.ones_like(y)
    return picked(problem.alpha, targets)
