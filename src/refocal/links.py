"""The links in torch: logits and targets to margins ``(s, x)``, and a margin slope back to logits.

``x = exp(-|s|)``. Every operation here is safe under automatic differentiation of any order, with
logits of ±inf and ±the largest float among them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from refocal.formula import in_torch

decay = in_torch.BOOK.decay
against = in_torch.BOOK.against


class SoftmaxMargin(NamedTuple):
    """Margins of one class per position, with what leads a slope back to the logits.

    Attributes:
        s: ``z_y`` minus the logsumexp of the other logits.
        x: ``exp(-|s|)``, formed without rounding ``s`` first.
        exponentials: ``E_j = exp(z_j - base)``, 0 for the class itself.
        rest: the sum of the rivals' exponentials, 1 where there are none.
    """

    s: Tensor
    x: Tensor
    exponentials: Tensor
    rest: Tensor


class SoftmaxMargins(NamedTuple):
    """Margins of every class, with what leads slopes back to the logits.

    Attributes:
        s: ``z_c`` minus the logsumexp of the other logits.
        x: ``exp(-|s|)``, formed without rounding ``s`` first.
        exponentials: ``E_j = exp(z_j - largest logit)``.
        beside_top: the top class' rivals: ``exp(z_j - second largest logit)``, 0 for itself.
        rest: the sum of every class' rivals, 1 where there are none.
    """

    s: Tensor
    x: Tensor
    exponentials: Tensor
    beside_top: Tensor
    rest: Tensor


def softmax_margin(logits: Tensor, index: Tensor, axis: int) -> SoftmaxMargin:
    """Margin of one class per position.

    Args:
        logits: ``(*, C, *)`` with the classes along ``axis``.
        index: class indices, ``logits``' shape with size 1 along ``axis``.
        axis: the class axis.

    Returns:
        ``s``, ``x`` and ``rest`` with size 1 along ``axis``.
    """
    own = logits.gather(axis, index)
    exponentials, top, base = _exponentials(logits.scatter(axis, index, -torch.inf), axis)
    rest = exponentials.sum(axis, keepdim=True)
    s, x, rest = against(own, base, rest, top, own - top)
    return SoftmaxMargin(s, x, exponentials, rest)


def softmax_margins(logits: Tensor, axis: int, idle: Tensor | bool = False) -> SoftmaxMargins:
    """Margins of every class against all others, ``s`` of the shape of ``logits``.

    The others' sum is the total minus one's own term, except for the top class, where that
    subtraction would cancel: its rivals are summed apart, relative to the largest of them, so that
    every sum is at least 1. (Relative to the top it could underflow, and 1 / sum**2, which
    derivatives need, overflows in float32 from a gap of 44.)

    Args:
        logits: ``(*, C, *)`` with the classes along ``axis``.
        axis: the class axis.
        idle: True for classes of weight 0. Several logits of +inf leave the margins of their
            classes indeterminate, which must not matter where nothing depends on them.
    """
    is_top = top_mask(logits, axis)
    exponentials, first, base = _exponentials(logits, axis)
    beside_top, second, second_base = _exponentials(torch.where(is_top, -torch.inf, logits), axis)
    others = torch.where(is_top, 0.0, exponentials).sum(axis, keepdim=True)
    own_top = torch.where(is_top, exponentials, 0.0).sum(axis, keepdim=True)
    rest = torch.where(
        is_top, beside_top.sum(axis, keepdim=True), (others + own_top) - exponentials
    )
    rival = torch.where(is_top, second, first)
    gap = torch.where((logits == torch.inf) & idle, torch.inf, logits - rival)
    s, x, rest = against(logits, torch.where(is_top, second_base, base), rest, rival, gap)
    return SoftmaxMargins(s, x, exponentials, beside_top, rest)


def _exponentials(logits: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """exp(z_j - base), the largest logit, and the base: that logit, held finite and constant."""
    book = in_torch.for_dtype(logits.dtype)
    # The gradient to an infinite rival runs through this maximum, split evenly between several.
    top = logits.amax(axis, keepdim=True)
    base = book.finite(top.detach())
    return book.term(logits, base), top, base


def top_mask(logits: Tensor, axis: int) -> Tensor:
    """True at the first largest logit of every position."""
    nowhere = torch.zeros_like(logits, dtype=torch.bool)
    return nowhere.scatter(axis, logits.argmax(axis, keepdim=True), True)


def softmax_gradient(margin: SoftmaxMargin, slope: Tensor, index: Tensor, axis: int) -> Tensor:
    """Logit gradient of one class per position: ``slope`` on it, ``-slope r_j`` on its rivals."""
    rivals = margin.exponentials * (-slope / margin.rest)
    return rivals.scatter(axis, index, slope)


def softmax_gradients(margins: SoftmaxMargins, slopes: Tensor, logits: Tensor, axis: int) -> Tensor:
    """Logit gradient of all classes: ``slope_k - sum over c != k of slope_c r_k`` of class c.

    The top class has exponentials of its own, as in :func:`softmax_margins`.
    """
    shares = slopes / margins.rest
    is_top = top_mask(logits, axis)
    others = torch.where(is_top, 0.0, shares).sum(axis, keepdim=True)
    of_top = torch.where(is_top, shares, 0.0).sum(axis, keepdim=True)
    rivals = torch.where(is_top, others, others - shares)
    return slopes - margins.exponentials * rivals - margins.beside_top * of_top
