"""Probabilities back to logits, as exactly as they hold them.

What is no probability becomes NaN: inside of a graph, where it cannot be refused, a loss that is
plainly wrong leads to the cause.
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from refocal.keras.focal import Tensor
from refocal.keras.problem import dtype_of

# how far outside of [0, 1] rounding alone may leave a probability
SLACK = 2.0**-7


def logit(p: Tensor) -> Tensor:
    """``log(p / (1 - p))`` within a few eps of what ``p`` stands for.

    By ``log1p`` in the middle, where the difference of two logarithms cancels, and by that
    difference at the ends, where a quotient's derivative overflows. 1 - p is exact where it
    matters. An end itself stands for what rounds to it: it is held at its neighbour, with a
    gradient of 0, for a sigmoid that has reached it has none either.
    """
    least, eps = _limits(p)
    p = _checked(p)
    p = ops.where(p < least, least, ops.where(p > 1 - eps / 2, 1 - eps / 2, p))
    low = p < 0.5
    smaller = ops.where(low, p, 1 - p)
    middle = smaller > 0.25
    inner, outer = ops.where(middle, smaller, 0.5), ops.where(middle, 0.25, smaller)
    size = ops.where(middle, ops.log1p((1 - 2 * inner) / inner), ops.log1p(-outer) - ops.log(outer))
    return ops.where(low, -size, size)


def log(p: Tensor) -> Tensor:
    """Logits of a softmax: their differences are all that counts, and ``log p`` has them.

    A class of probability 0 is held at the smallest number that is not 0.
    """
    least, _ = _limits(p)
    p = _checked(p)
    return ops.log(ops.where(p < least, least, p))


def _checked(p: Tensor) -> Tensor:
    return ops.where(ops.logical_or(p < -SLACK, p > 1 + SLACK), math.nan, p)


def _limits(p: Tensor) -> tuple[float, float]:
    """The smallest normal number and eps."""
    kind = np.float64 if dtype_of(p) == "float64" else np.float32
    return float(np.finfo(kind).tiny), float(np.finfo(kind).eps)
