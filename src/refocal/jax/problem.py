"""What a call of a loss is once its arguments have been checked, in JAX; see `refocal.problem`."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array

Number: TypeAlias = float | Array


class SigmoidProblem(NamedTuple):
    """As `refocal.problem.SigmoidProblem`."""

    logits: Array
    targets: Array
    alpha: tuple[Number, Number]
    gamma: tuple[Number, Number]
    weight: Array | None
    ignore_index: float | None
    label_smoothing: float
    detach_modulator: bool


class SoftmaxProblem(NamedTuple):
    """As `refocal.problem.SoftmaxProblem`, with the class axis that was asked for.

    alpha has the logits' number of axes.
    """

    logits: Array
    targets: Array
    alpha: Array | None
    gamma: Number
    weight: Array | None
    ignore_index: int | None
    label_smoothing: float
    detach_modulator: bool
    axis: int


Problem: TypeAlias = SigmoidProblem | SoftmaxProblem


def is_floating(array: Array) -> bool:
    """Whether an array holds floating-point numbers, those of 8 bits included."""
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


def computing_dtype(logits: Array) -> Any:
    """float64 for float64 logits, float32 for all others."""
    return jnp.float64 if logits.dtype == jnp.float64 else jnp.float32


def is_kept(targets: Array, value: float | None) -> Array | None:
    """Tells where targets are not the ignored value, NaN is NaN; None where nothing is ignored."""
    if value is None:
        return None
    return ~jnp.isnan(targets) if value != value else targets != jnp.asarray(value, targets.dtype)


def rounding_of(dtype: Any) -> float:
    """How far soft labels may lie outside of [0, 1] by rounding alone; see `refocal.problem`."""
    return float(jnp.finfo(dtype).eps) if dtype in (jnp.float16, jnp.bfloat16) else 2.0**-21


def shares(targets: Array, dtype: Any) -> Array:
    """Targets in the computing dtype; what only rounding has put outside of [0, 1] is moved in."""
    y = targets.astype(dtype)
    if not is_floating(targets):
        return y
    inside = jnp.where(y > 1, 1.0, jnp.where(y < 0, 0.0, y))
    return jnp.where(jnp.abs(y - inside) <= rounding_of(targets.dtype), inside, y)
