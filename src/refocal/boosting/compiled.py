"""The binary objective in one compiled pass, over the CPU kernels' binding of the same formula.

A million rows take about a millisecond and a half here, and a hundred times that over NumPy. A
setting is compiled once, as the kernels are, so small tables stay with `refocal.boosting.numeric`,
which gives the same numbers.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.boosting import numeric
from refocal.boosting.numeric import FLOOR, Array, Pair, stand_in
from refocal.formula import modulator_for

WORTHWHILE = 200_000  # rows; below, NumPy's hundred rounds cost less than compiling


@cache
def is_available() -> bool:
    """Whether Numba is installed, and torch, with whose kernels its share of the formula stands,
    and the source of both, which a bundle of bytecode lacks.
    """
    try:
        from refocal.kernels.cpu.compiled import machine

        return bool(machine.fingerprint())
    except (ImportError, OSError):
        return False


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
    from refocal.kernels.cpu.compiled.bound import real
    from refocal.kernels.cpu.compiled.math import log1p, where, widest_vectors
    from refocal.kernels.cpu.compiled.memory import view
LEAST: Any = 0.0

# 64 bits each, as a kernel's frame has them: addresses, and how many rows there are
SLOTS = 7
MARGINS, LABELS, WEIGHTS, GRADIENT, CURVATURE, NUMBERS, ROWS = range(SLOTS)
WEIGHTED = False


def detached_slope(p: Any, q: Any, ce: Any, m: Any, gamma: Any) -> Any:
    """F' with the modulator constant, in the place of the book's `slope_of`."""
    return detached_slope_of(q, m)


def fill(base: Any) -> None:
    """Gradient and Hessian of every row."""
    widest_vectors()
    slots = view(base, SLOTS, np.int64)
    rows = slots[ROWS]
    margins = view(slots[MARGINS], rows, real)
    labels = view(slots[LABELS], rows, np.uint8)
    weights = view(slots[WEIGHTS], rows, real)
    gradient = view(slots[GRADIENT], rows, np.float32)
    curvature = view(slots[CURVATURE], rows, np.float32)
    numbers = view(slots[NUMBERS], 3, real)
    positive_weight, negative_weight, gamma = numbers[0], numbers[1], numbers[2]
    for i in range(rows):
        positive = labels[i] != 0
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
        if WEIGHTED:
            factor = factor * weights[i]
        gradient[i] = where(positive, slope, -slope) * factor
        curvature[i] = second * factor


@cache
def _loop(double: bool, modulator_name: str, hessian: str, detached: bool, weighted: bool) -> Any:
    """A C function of a row of slots."""
    from refocal.formula.binding import rebound
    from refocal.kernels.cpu.compiled import machine, memory
    from refocal.kernels.cpu.compiled import math as of_kernels

    number = np.float64 if double else np.float32
    names = {
        **globals(),
        **of_kernels.operations(number),
        **vars(of_kernels.bound_formula(number, modulator_name)),
        "widest_vectors": of_kernels.widest_vectors,
        "view": memory.view,
        "LEAST": number(FLOOR),
        "WEIGHTED": weighted,
    }
    names["second_derivative"] = names[stand_in(hessian, detached)]
    name = f"boosting-{np.dtype(number)}-{modulator_name}-{hessian}-{int(detached)}{int(weighted)}"
    if detached:
        names["slope_of"] = rebound(detached_slope, names)
    address = machine.address_of(rebound(fill, names), name, beside=(__file__, numeric.__file__))
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(address)


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
    modulator_name = modulator_for(gamma, "compensated")
    weighted = sample_weight is not None
    loop = _loop(real == np.float64, modulator_name, hessian, detached, weighted)
    gradient = np.empty(margins.shape, np.float32)
    curvature = np.empty(margins.shape, np.float32)
    contiguous = np.ascontiguousarray
    arrays = (
        contiguous(margins),
        contiguous(positive, np.bool_).view(np.uint8),
        contiguous([] if sample_weight is None else sample_weight, real),
        gradient,
        curvature,
        np.array([*weights, gamma], real),
    )
    loop((ctypes.c_int64 * SLOTS)(*(one.ctypes.data for one in arrays), margins.size))
    return gradient, curvature
