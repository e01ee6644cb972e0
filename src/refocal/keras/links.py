"""The softmax link over keras.ops: logits and targets to margins ``(s, x)``; see `refocal.links`.

Safe under automatic differentiation, with logits of ±inf and ±the largest float among them.
``x`` is held constant: `refocal.keras.focal` has what it contributes in the derivative along ``s``.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from refocal.formula.in_keras import for_dtype
from refocal.keras.focal import Tensor
from refocal.keras.problem import dtype_of


def class_mask(index: Tensor, classes: int, axis: int, rank: int) -> Tensor:
    """True at one class of every position; ``index`` has size 1 along ``axis``."""
    shape = [classes if one == axis else 1 for one in range(rank)]
    return ops.reshape(ops.arange(classes, dtype=dtype_of(index)), shape) == index


def softmax_margin(logits: Tensor, mask: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """``s`` and ``x`` of the class that the mask names in every position, size 1 along ``axis``.

    Where it names none, its index was out of range, which gives NaN.
    """
    own = ops.sum(ops.where(mask, logits, 0.0), axis, keepdims=True)
    own = ops.where(ops.any(mask, axis, keepdims=True), own, math.nan)
    terms, top, base = _terms(ops.where(mask, -math.inf, logits), axis)
    rest = ops.sum(terms, axis, keepdims=True)
    s, x, _ = _book(logits).against(own, base, rest, top, own - top)
    return s, ops.stop_gradient(x)


def softmax_margins(
    logits: Tensor, axis: int, idle: Tensor | bool = False
) -> tuple[Tensor, Tensor]:
    """``s`` and ``x`` of every class, of the shape of ``logits``.

    The rivals' sum is the total minus one's own term, and for the top class, where that would
    cancel, a sum of its own relative to the largest rival. ``idle`` tells the classes of weight 0,
    whose margin may be indeterminate.
    """
    classes = logits.shape[axis]
    first_top = ops.argmax(logits, axis, keepdims=True)
    is_top = class_mask(first_top, classes, axis, len(logits.shape))
    terms, first, base = _terms(logits, axis)
    beside, second, second_base = _terms(ops.where(is_top, -math.inf, logits), axis)
    others = ops.sum(ops.where(is_top, 0.0, terms), axis, keepdims=True)
    own_top = ops.sum(ops.where(is_top, terms, 0.0), axis, keepdims=True)
    rest = ops.where(is_top, ops.sum(beside, axis, keepdims=True), (others + own_top) - terms)
    rival = ops.where(is_top, second, first)
    gap = ops.where((logits == math.inf) & idle, math.inf, logits - rival)
    lower = ops.where(is_top, second_base, base)
    s, x, _ = _book(logits).against(logits, lower, rest, rival, gap)
    return s, ops.stop_gradient(x)


def _terms(logits: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """exp(z_j - base), the largest logit, and the base: that logit, held finite and constant."""
    book = _book(logits)
    # The gradient to an infinite rival runs through this maximum, split evenly between several.
    # From -inf on: Keras finds no maximum of no positions otherwise.
    top = ops.max(logits, axis, keepdims=True, initial=-math.inf)
    base = book.finite(ops.stop_gradient(top))
    return book.term(logits, base), top, base


def _book(logits: Tensor) -> Any:
    return for_dtype(dtype_of(logits))
