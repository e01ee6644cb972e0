"""The binary objective in one compiled pass, over the CPU kernels' binding of the same formula.

A million rows take about a millisecond and a half here, and a hundred times that over NumPy. A
setting is compiled once per process, in about a second, so small tables stay with
`refocal.boosting.numeric`, which gives the same numbers.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.boosting.numeric import FLOOR, Array, Pair, stand_in
from refocal.formula import modulator_for

WORTHWHILE = 200_000  # rows; below, NumPy's hundred rounds cost less than compiling


@cache
def is_available() -> bool:
    """Whether Numba is installed, and torch, with whose kernels its share of the formula stands."""
    try:
        from refocal.kernels.cpu.compiled import math
    except ImportError:
        return False
    return callable(math.bound_formula)


if TYPE_CHECKING:  # bound by `_loop`
    from refocal.formula.focal import (
        complement,
        cross_entropy,
        detached_slope_of,
        modulator,
        probability,
        slope_of,
    )
    from refocal.formula.hessian import hessian_bound as second_derivative
    from refocal.formula.margin import decay
    from refocal.kernels.cpu.compiled.math import log1p, where, widest_vectors
LEAST: Any = 0.0


def detached_slope(p: Any, q: Any, ce: Any, m: Any, gamma: Any) -> Any:
    """F' with the modulator constant, in the place of the book's `slope_of`."""
    return detached_slope_of(q, m)


def fill(
    margins: Any,
    labels: Any,
    weights: Any,
    gradient: Any,
    curvature: Any,
    numbers: Any,
) -> None:
    """Gradient and Hessian of every row; ``weights`` has one element if all are 1."""
    widest_vectors()
    positive_weight, negative_weight, gamma = numbers[0], numbers[1], numbers[2]
    weighted = len(weights) == len(margins)
    for i in range(len(margins)):
        positive = labels[i]
        z = margins[i]
        s = where(positive, z, -z)
        x = decay(s)
        log1p_x = log1p(x)
        p = probability(s, x)
        q = complement(s, x)
        m = modulator(s, log1p_x, q, gamma)
        slope = slope_of(p, q, cross_entropy(s, log1p_x), m, gamma)
        second = second_derivative(s, x, gamma, p, q, slope)
        second = where(second < LEAST, LEAST, second)
        factor = where(positive, positive_weight, negative_weight)
        factor = factor * weights[i if weighted else 0]
        gradient[i] = where(positive, slope, -slope) * factor
        curvature[i] = second * factor


@cache
def _loop(double: bool, modulator_name: str, hessian: str, detached: bool) -> Any:
    from numba import njit

    from refocal.kernels.cpu.compiled import binding
    from refocal.kernels.cpu.compiled import math as numba_math

    real = np.float64 if double else np.float32
    parts = numba_math.bound_formula(real, modulator_name)
    names = {
        **numba_math.operations(real),
        **vars(parts),
        "widest_vectors": numba_math.widest_vectors,
        "LEAST": real(FLOOR),
    }
    names["second_derivative"] = names[stand_in(hessian, detached)]
    if detached:
        names["slope_of"] = binding.part(binding.inlined, detached_slope, names)
    return njit(nogil=True, error_model="numpy")(binding.rebound(fill, names))


def supports(rows: int, gammas: Pair, hessian: str) -> bool:
    """Whether the compiled loop covers this case and is worth it."""
    return (
        rows >= WORTHWHILE
        and gammas[0] == gammas[1]
        and hessian in ("bound", "cross_entropy")
        and is_available()
    )


def sigmoid_derivatives(
    margins: Array,
    positive: Array,
    weights: Pair,
    gamma: float,
    sample_weight: Array | None,
    *,
    hessian: str,
    detached: bool,
) -> tuple[Array, Array]:
    """Does what `numeric.sigmoid_derivatives` does, of one gamma."""
    real = margins.dtype
    loop = _loop(real == np.float64, modulator_for(gamma, "compensated"), hessian, detached)
    given = np.ones(1, real) if sample_weight is None else sample_weight.astype(real, copy=False)
    gradient = np.empty(margins.shape, np.float32)
    curvature = np.empty(margins.shape, np.float32)
    numbers = np.array([*weights, gamma], real)
    contiguous = np.ascontiguousarray
    loop(contiguous(margins), contiguous(positive), contiguous(given), gradient, curvature, numbers)
    return gradient, curvature
