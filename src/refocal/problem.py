"""What a call of a loss is once its arguments have been checked: the contract of the kernels."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = float | Tensor


class Quality(NamedTuple):
    """Targets are qualities q: of a positive ``q BCE(z, q)``, of all else ``alpha F(-z)``.

    Alpha and gamma are those of what is not positive.

    Attributes:
        positives: which elements are positive, bool, the shape of ``logits``; None for q > 0.
    """

    positives: Tensor | None


class Heatmap(NamedTuple):
    """Targets are a heatmap h: F(z) where h is 1, and ``(1 - h)**beta F(-z)`` elsewhere.

    Attributes:
        beta: how fast negatives weigh less towards a peak.
    """

    beta: float


class SigmoidProblem(NamedTuple):
    """Binary or multi-label: one independent decision per logit.

    Attributes:
        logits: floating, any shape.
        targets: shape of ``logits``; bool, integer or floating.
        alpha: weights of the positive and the negative term; numbers or tensors that broadcast.
        gamma: exponents of the positive and the negative term; numbers or tensors that broadcast.
        weight: None, or a tensor with the number of axes of ``logits`` that broadcasts to it.
        ignore_index: target value that contributes nothing, as the targets' dtype holds it (NaN for
            NaN), or None.
        label_smoothing: targets are read as ``y (1 - e) + e / 2``.
        detach_modulator: no gradient through ``(1 - p_t)**gamma``.
        reading: how targets are read that are no labels; None for labels, and shares of both.
    """

    logits: Tensor
    targets: Tensor
    alpha: tuple[Number, Number]
    gamma: tuple[Number, Number]
    weight: Tensor | None
    ignore_index: float | None
    label_smoothing: float
    detach_modulator: bool
    reading: Quality | Heatmap | None = None


class SoftmaxProblem(NamedTuple):
    """Multi-class: one decision per position, classes along axis 1 (axis 0 of 1-d logits).

    Attributes:
        logits: floating, ``(C,)`` or ``(N, C, *)``.
        targets: class indices in the logits' shape without the class axis, or probabilities.
        alpha: ``(C,)`` class weights, or None.
        gamma: a number, or a tensor that broadcasts to the logits: per class ``(1, C, 1, ...)``,
            per position ``(N, 1, *)``, or of full shape (probability targets).
        weight: None, or a tensor that broadcasts to the loss shape ``(N, *)``.
        ignore_index: class index that contributes nothing (index targets only).
        label_smoothing: targets are read as ``y (1 - e) + e / C``.
        detach_modulator: no gradient through ``(1 - p_t)**gamma``.
    """

    logits: Tensor
    targets: Tensor
    alpha: Tensor | None
    gamma: Number
    weight: Tensor | None
    ignore_index: int
    label_smoothing: float
    detach_modulator: bool


Problem: TypeAlias = SigmoidProblem | SoftmaxProblem


# Functions, not properties: torch.compile of older versions does not look into a named tuple's.


def class_axis_of(problem: SoftmaxProblem) -> int:
    """0 for ``(C,)`` logits, 1 otherwise."""
    return 0 if problem.logits.dim() == 1 else 1


def has_index_targets(problem: SoftmaxProblem) -> bool:
    """Class indices rather than probabilities."""
    return not problem.targets.dtype.is_floating_point


def is_kept(targets: Tensor, value: float) -> Tensor:
    """Tells where targets are not the ignored value; NaN is NaN."""
    return torch.eq(targets, targets) if value != value else torch.ne(targets, value)


# How far a soft label may lie outside of [0, 1] by rounding alone, as after the blur of a mask: 4
# eps of float32, in half precision one unit in the last place of 1. It is taken for the end.
ROUNDING = {torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
ROUNDING_OF_SINGLES = 2.0**-21


def rounding_of(dtype: torch.dtype) -> float:
    """Returns how far targets of a dtype may lie outside of [0, 1]."""
    return ROUNDING.get(dtype, ROUNDING_OF_SINGLES)


def shares(targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Targets in the computing dtype, with what only rounding has put outside of [0, 1] moved in.

    What lies further out stays, where its values are not checked: a loss that is plainly wrong
    leads to the cause.
    """
    y = targets.to(dtype)
    if not targets.dtype.is_floating_point:
        return y
    # not clamped, whose derivative at 0 and 1 themselves differs between torch's versions
    inside = torch.where(y > 1, 1.0, torch.where(y < 0, 0.0, y))
    return torch.where((y - inside).abs() <= rounding_of(targets.dtype), inside, y)


def loss_shape(problem: Problem) -> tuple[int, ...]:
    """Shape of the unreduced loss: the logits', for a softmax without the class axis."""
    shape = tuple(problem.logits.shape)
    if isinstance(problem, SigmoidProblem):
        return shape
    axis = class_axis_of(problem)
    return shape[:axis] + shape[axis + 1 :]


def computing_dtype(logits: Tensor) -> torch.dtype:
    """float64 for float64 logits, float32 for all others."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
