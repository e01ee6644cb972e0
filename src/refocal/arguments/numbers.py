"""Plain numbers, flags and integers: their type, their domain, their rounding."""

from __future__ import annotations

import math
from numbers import Integral
from operator import index
from typing import Any

import torch

from refocal.arguments.inspection import is_number
from refocal.arguments.reals import as_float, shown
from refocal.arguments.wording import fail_alpha, fail_gamma

LARGEST_GAMMA = 1e30


def alpha_number(function: str, alpha: Any) -> float:
    """A plain number in [0, 1]."""
    if not is_number(alpha):
        hint = " Use a tensor for one value per class." if isinstance(alpha, (list, tuple)) else ""
        raise TypeError(
            f"{function}: alpha must be None, a number in [0, 1] or a tensor, got "
            f"{type(alpha).__name__}.{hint}"
        )
    if not 0 <= alpha <= 1:
        fail_alpha(function, alpha)
    return float(alpha)


def gamma_number(function: str, gamma: Any, *, multiclass: bool) -> float:
    """A finite plain number >= 0."""
    if not is_number(gamma):
        pair = "" if multiclass else " or a tuple (gamma_pos, gamma_neg)"
        hint = f" Use a tensor for one value per class{pair}." if isinstance(gamma, list) else ""
        raise TypeError(
            f"{function}: gamma must be a number >= 0 or a tensor, got "
            f"{type(gamma).__name__}.{hint}"
        )
    if not 0 <= gamma < math.inf:
        fail_gamma(function, gamma)
    # held: beyond it q**gamma is 0 or 1 for every float, but gamma * p * ce would overflow
    return min(as_float(gamma), LARGEST_GAMMA)


def smoothing(function: str, label_smoothing: Any) -> float:
    """label_smoothing, a number in [0, 1]."""
    return fraction(function, "label_smoothing", label_smoothing)


def fraction(function: str, argument: str, value: Any) -> float:
    """A number in [0, 1]."""
    if not is_number(value):
        raise TypeError(
            f"{function}: {argument} must be a number in [0, 1], got {type(value).__name__}."
        )
    if not 0 <= value <= 1:
        raise ValueError(f"{function}: {argument} must be in [0, 1], got {shown(value)}.")
    return float(value)


def flag(function: str, argument: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(
            f"{function}: {argument} must be True or False, got {type(value).__name__}."
        )
    return value


def integer(function: str, argument: str, value: Any) -> int:
    """An integer, of Python or NumPy, that 64 bits hold."""
    if type(value) is not int and (not isinstance(value, Integral) or isinstance(value, bool)):
        raise TypeError(f"{function}: {argument} must be an integer, got {type(value).__name__}.")
    number = index(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(
            f"{function}: {argument} must be an integer of 64 bits, got {shown(number)}."
        )
    return number


def check_ignore_index(function: str, ignore_index: Any, *, multiclass: bool) -> None:
    """An integer; of a sigmoid also NaN, which floating targets can hold, or None."""
    if multiclass or not (ignore_index is None or is_nan(ignore_index)):
        integer(function, "ignore_index", ignore_index)


def is_nan(value: Any) -> bool:
    """Whether a number is NaN."""
    return is_number(value) and value != value


def ignored_target(function: str, ignore_index: Any, dtype: torch.dtype) -> float | None:
    """The target value that is ignored as targets of a dtype hold it, or None where none can be.

    One rule for every comparison: floating targets hold the nearest number of their dtype (-9984
    for -9999 in bfloat16), and an integer that an integer dtype cannot hold equals no target (-100
    beside uint8 is not the class 156).
    """
    if ignore_index is None:
        return None
    if dtype.is_floating_point:
        if is_nan(ignore_index):
            return math.nan
        return round_to(float(integer(function, "ignore_index", ignore_index)), dtype)
    value = integer(function, "ignore_index", ignore_index)
    if dtype == torch.bool:
        return value if value in (0, 1) else None
    return value if holds(dtype, value) else None


def holds(dtype: torch.dtype, value: int) -> bool:
    """Whether an integer dtype can represent a value."""
    if dtype == torch.int64:  # the usual one, and asking takes longer than comparing
        return -(2**63) <= value < 2**63
    limits = torch.iinfo(dtype)
    return limits.min <= value <= limits.max


def round_to(value: float, dtype: torch.dtype) -> float:
    """The nearest number of a floating dtype: gamma 2.1 kept in double costs 25 ulp.

    By arithmetic, because torch.compile of older versions breaks the graph at `struct`.
    """
    if dtype == torch.float64:
        return value
    bits, lowest, largest = SHAPES.get(dtype) or shape_of(dtype)
    # as many bits as the dtype has, or fewer among its subnormal numbers
    exponent = max(math.frexp(value)[1], lowest) - bits
    rounded = math.ldexp(round(math.ldexp(value, -exponent)), exponent)
    return rounded if -largest <= rounded <= largest else math.copysign(math.inf, rounded)


def shape_of(dtype: torch.dtype) -> tuple[int, int, float]:
    """Bits of a floating dtype, the exponent of its smallest normal number, its largest number."""
    limits = torch.finfo(dtype)
    return 2 - math.frexp(limits.eps)[1], math.frexp(limits.tiny)[1], limits.max


# asking torch each time takes as long as the rounding
SHAPES = {dtype: shape_of(dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)}
