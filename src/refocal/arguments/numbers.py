"""Plain numbers, flags and integers: their type, their domain, their rounding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

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
    """A plain integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{function}: {argument} must be an integer, got {type(value).__name__}.")
    return value


def optional_ignore_index(function: str, ignore_index: Any, targets: Tensor) -> int | None:
    """None, or an integer that targets can hold: uint8 targets never equal -100."""
    if ignore_index is None:
        return None
    value = integer(function, "ignore_index", ignore_index)
    if targets.dtype == torch.bool:
        return value if value in (0, 1) else None
    if not targets.dtype.is_floating_point:
        return value if holds(targets.dtype, value) else None
    return value


def holds(dtype: torch.dtype, value: int) -> bool:
    """Whether an integer dtype can represent a value."""
    limits = torch.iinfo(dtype)
    return limits.min <= value <= limits.max


def round_to(value: float, dtype: torch.dtype) -> float:
    """The nearest number of the computing dtype: gamma 2.1 kept in double costs 25 ulp.

    By arithmetic, because torch.compile of older versions breaks the graph at `struct`.
    """
    if dtype == torch.float64:
        return value
    # 24 bits, or fewer among the subnormal numbers
    exponent = max(math.frexp(value)[1], -125) - 24
    return math.ldexp(round(math.ldexp(value, -exponent)), exponent)
