"""The one policy of backward: which gradient is kept with the loss, and when it is formed anew.

A gradient that came with the loss is kept already divided by the denominator, so that backward of a
mean costs nothing where the upstream gradient is 1, as after `loss.backward()`, and one scaling
into a new tensor otherwise. One in half precision has been rounded and cannot be scaled: it is good
for an upstream of 1 alone, and for any other it is formed anew, with ``upstream / N`` in float32.
A float16 one is never kept: divided by N, 67 % of the gradients of a mean over 1e6 elements would
flush to zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from refocal.problem import Problem, SoftmaxProblem, class_axis_of, computing_dtype
from refocal.reduction import Reduction
from refocal.torch_state import is_batched

FULL = (torch.float32, torch.float64)


class Keeping(NamedTuple):
    """Which gradients a backend keeps.

    Attributes:
        each: also those of unreduced losses, whose upstream is hardly ever 1: scaling them costs no
            more than forming them.
        rounded: bfloat16 ones of reduced losses, for an upstream that it can see to be 1.
    """

    each: bool
    rounded: bool


def keeps(keeping: Keeping, dtype: torch.dtype, reduction: str) -> bool:
    """Whether the gradient of logits of this dtype is kept."""
    if reduction == "none" and not keeping.each:
        return False
    if dtype in FULL:
        return True
    return keeping.rounded and dtype == torch.bfloat16 and reduction != "none"


def pulled_back(
    anew: Callable[[Problem, Tensor], Tensor],
    problem: Problem,
    reduction: Reduction,
    kept: Tensor | None,
    upstream: Tensor,
    *,
    in_place: bool = False,
) -> Tensor:
    """The gradient of the reduced loss times ``upstream``, for backends without a way of their own.

    Args:
        anew: the gradient of the unreduced loss times a factor, rounded once.
        problem: the problem.
        reduction: its reduction.
        kept: the gradient that came with the loss, or None.
        upstream: a scalar, or of the loss shape.
        in_place: whether ``kept`` may be overwritten, which saves nothing here.
    """
    if kept is None or kept.dtype not in FULL:
        factor = upstream.to(computing_dtype(problem.logits))
        if reduction.kind == "mean":
            factor = factor / reduction.denominator
        return anew(problem, factor)
    if reduction.kind == "none" and isinstance(problem, SoftmaxProblem):
        upstream = upstream.unsqueeze(class_axis_of(problem))
    return kept * upstream


def is_one(upstream: Tensor) -> bool:
    """Whether an upstream gradient is 1, where asking costs nothing: not on other devices, and
    not of one that stands for several or is not there yet.
    """
    return (
        upstream.dim() == 0
        and upstream.is_cpu
        and type(upstream) is Tensor
        and not is_batched(upstream)
        and not torch.compiler.is_compiling()
        and upstream.item() == 1
    )
