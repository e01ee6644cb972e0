"""The links in torch: logits and targets to margins ``(s, x)``, and a margin slope back to logits.

``x = exp(-|s|)``. Every operation here is safe under automatic differentiation of any order, with
logits of ±inf and ±the largest float among them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def decay(s: Tensor) -> Tensor:
    """X = exp(-|s|). Not ``abs``: its derivative at 0 is 0, and s = 0 is where training starts."""
    return torch.exp(-torch.where(s >= 0, s, -s))


class SoftmaxMargin(NamedTuple):
    """Margins of a softmax, with what leads a slope back to the logits.

    Attributes:
        s: ``z_c`` minus the logsumexp of the other logits.
        x: ``exp(-|s|)``, formed without rounding ``s`` first.
        exponentials: ``E_j = exp(z_j - base)``; 0 for the target where ``s`` has one column.
        rest: the sum of the rivals' exponentials, 1 where there are none.
    """

    s: Tensor
    x: Tensor
    exponentials: Tensor
    rest: Tensor


def _against(
    gap_if_infinite: Tensor, own: Tensor, base: Tensor, rest: Tensor, top: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """s, x and the safe rest of logits ``own`` against rivals that sum to ``rest * exp(base)``."""
    alone = rest == 0
    rest = torch.where(alone, 1.0, rest)
    d = own - base
    s = torch.where(alone, own + torch.inf, d - torch.log(rest))
    s = torch.where(top == torch.inf, gap_if_infinite, s)
    # Both branches of x from one exponential, of -|d|-like argument: the branch that is not taken
    # must be finite too, or its zero gradient would meet an infinite derivative.
    wins = s >= 0
    e = torch.exp(torch.where(wins, -d, d))
    x = torch.where(wins, rest * e, e / rest)
    return s, torch.where(torch.isinf(s), 0.0, x), rest


def softmax_margin(logits: Tensor, index: Tensor, axis: int) -> SoftmaxMargin:
    """Margin of one class per position.

    Args:
        logits: ``(*, C, *)`` with the classes along ``axis``.
        index: class indices, ``logits``' shape with size 1 along ``axis``.
        axis: the class axis.

    Returns:
        ``s``, ``x`` and ``rest`` with size 1 along ``axis``.
    """
    largest = torch.finfo(logits.dtype).max
    own = logits.gather(axis, index)
    rivals = logits.scatter(axis, index, -torch.inf)
    # The gradient to an infinite rival runs through this maximum, split evenly between several.
    top = rivals.amax(axis, keepdim=True)
    base = top.detach().clamp(-largest, largest)
    exponentials = torch.exp(rivals.clamp(max=largest) - base)
    rest = exponentials.sum(axis, keepdim=True)
    s, x, rest = _against(own - top, own, base, rest, top)
    return SoftmaxMargin(s, x, exponentials, rest)


def softmax_margins(logits: Tensor, axis: int) -> SoftmaxMargin:
    """Margins of every class against all others, ``s`` of the shape of ``logits``.

    The others' sum is the total minus one's own term, except for the top class, where that
    subtraction would cancel: its rivals are summed apart.
    """
    largest = torch.finfo(logits.dtype).max
    top = logits.amax(axis, keepdim=True)
    base = top.detach().clamp(-largest, largest)
    exponentials = torch.exp(logits.clamp(max=largest) - base)
    is_top = top_mask(logits, axis)
    others = torch.where(is_top, 0.0, exponentials).sum(axis, keepdim=True)
    own_top = torch.where(is_top, exponentials, 0.0).sum(axis, keepdim=True)
    rest = torch.where(is_top, others, (others + own_top) - exponentials)
    infinite = logits == torch.inf
    lonely = infinite.sum(axis, keepdim=True) == 1
    gap = torch.where(infinite & lonely, torch.inf, logits - top)
    s, x, rest = _against(gap, logits, base, rest, top)
    return SoftmaxMargin(s, x, exponentials, rest)


def top_mask(logits: Tensor, axis: int) -> Tensor:
    """True at the first largest logit of every position."""
    classes = torch.arange(logits.shape[axis], device=logits.device)
    shape = [1] * logits.dim()
    shape[axis] = -1
    return classes.view(shape) == logits.argmax(axis, keepdim=True)


def softmax_gradient(margin: SoftmaxMargin, slope: Tensor, index: Tensor, axis: int) -> Tensor:
    """Logit gradient of one class per position: ``slope`` on it, ``-slope r_j`` on its rivals."""
    rivals = margin.exponentials * (-slope / margin.rest)
    return rivals.scatter(axis, index, slope)


def softmax_gradients(margin: SoftmaxMargin, slopes: Tensor, logits: Tensor, axis: int) -> Tensor:
    """Logit gradient of all classes: ``slope_k - E_k (sum over c != k of slope_c / rest_c)``.

    The top class is kept out of the sum that is subtracted from, as in :func:`softmax_margins`.
    """
    shares = slopes / margin.rest
    is_top = top_mask(logits, axis)
    others = torch.where(is_top, 0.0, shares).sum(axis, keepdim=True)
    own_top = torch.where(is_top, shares, 0.0).sum(axis, keepdim=True)
    rest = torch.where(is_top, others, (others + own_top) - shares)
    return slopes - margin.exponentials * rest
