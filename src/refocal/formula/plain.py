"""What the expressions of the book compute with as they stand: Python floats.

Every other backend binds the same names to operations of its own; see `refocal.formula.binding`.
Constants have names because a literal ``1`` turns a CPU kernel's float32 into a float64.
"""

from __future__ import annotations

import math
from fractions import Fraction
from math import exp, log1p
from typing import Any

# What a backend computes with: a Python float, a torch tensor, a kernel's value, a Triton block.
Real = Any

ZERO: Real = 0.0
ONE: Real = 1.0
TWO: Real = 2.0
THREE: Real = 3.0
NEAR: Real = 1e-5
FAR: Real = 1000.0
INFINITY: Real = math.inf
# the exponent of an infinite rival's term, and what no sum of finite ones comes to
BEYOND: Real = 70.0
BEYOND_SUMS: Real = 1e30
# of the computing dtype; float64's here
LARGEST: Real = 1.7976931348623157e308

power = pow
# of numbers >= 1, and of those in (0, 1]
log = math.log
# for the many terms of a sum that is at least 1: a backend may take those that are subnormal for 0
exp_of_term = exp


def where(condition: Any, if_true: Real, if_false: Real) -> Real:
    return if_true if condition else if_false


def fma(a: Real, b: Real, c: Real) -> Real:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c  # nothing to round
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def at_most(value: Real, limit: Real) -> Real:
    """The smaller of the two; NaN stays. Not a clamp: its derivative at the limit itself is 0."""
    return where(value > limit, limit, value)


def at_least(value: Real, limit: Real) -> Real:
    """The larger of the two; NaN stays."""
    return where(value < limit, limit, value)


__all__ = [
    "BEYOND",
    "BEYOND_SUMS",
    "FAR",
    "INFINITY",
    "LARGEST",
    "NEAR",
    "ONE",
    "THREE",
    "TWO",
    "ZERO",
    "Real",
    "at_least",
    "at_most",
    "exp",
    "exp_of_term",
    "fma",
    "log",
    "log1p",
    "power",
    "where",
]
