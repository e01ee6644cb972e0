"""From unreduced losses to what is returned: the denominator of "mean", and none / mean / sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from refocal.problem import (
    Number,
    Problem,
    SigmoidProblem,
    SoftmaxProblem,
    class_axis_of,
    has_index_targets,
    is_kept,
    loss_shape,
    shares,
)


class Reduction(NamedTuple):
    """Says how the unreduced loss becomes the result.

    Attributes:
        kind: "none", "mean" or "sum".
        denominator: what "mean" divides by, positive; 1 otherwise.
    """

    kind: str
    denominator: Number


def reduction_for(
    problem: Problem,
    kind: str,
    normalizer: str | float | Tensor,
    count: Callable[[Problem], Number | None] | None = None,
) -> Reduction:
    """The reduction with its denominator, which depends on targets and weights, not on logits.

    ``count`` is a faster way to the number of targets that are not ignored, at least 1; it says
    None where all are kept.
    """
    if kind != "mean":
        return Reduction(kind, 1.0)
    if count is not None and isinstance(normalizer, str) and normalizer == "elements":
        counted = count(problem)
        if counted is not None:
            return Reduction(kind, counted)
    return Reduction(kind, at_least(denominator(problem, normalizer), normalizer))


def at_least(count: Number, normalizer: str | float | Tensor) -> Number:
    """A count to divide by: positives at least 1, and for a count of 0 the sum is 0 too."""
    if not isinstance(count, Tensor):
        return count or 1
    if normalizer == "elements":
        return count.clamp(min=1)
    if normalizer == "positives":  # may be of targets that require grad: no clamp, as in `shares`
        return torch.where(count < 1, 1, count)
    return torch.where(count == 0, 1, count)


def denominator(problem: Problem, normalizer: str | float | Tensor) -> Number:
    """Counts what "mean" divides by, possibly 0; local to this process.

    Never in half precision: a half count stalls at 2,048.
    """
    if not isinstance(normalizer, str):
        tiny = isinstance(normalizer, Tensor) and normalizer.dtype.itemsize == 1
        return normalizer.float() if tiny else normalizer  # type: ignore[union-attr]
    kept = kept_positions(problem)
    if normalizer == "sample_weight" and problem.weight is not None:
        float_type = torch.promote_types(problem.logits.dtype, torch.float32)
        weight = problem.weight.to(float_type).expand(loss_shape(problem))
        return (weight if kept is None else torch.where(kept, weight, 0.0)).sum()
    if normalizer in ("elements", "sample_weight"):
        if kept is not None:
            return torch.count_nonzero(kept)  # half the time of a sum
        if isinstance(problem, SigmoidProblem):
            return problem.logits.numel()
        count = 1
        for size in loss_shape(problem):
            count *= size
        return count
    if normalizer == "positives":
        y = problem.targets if kept is None else torch.where(kept, problem.targets, 0)
        if not y.dtype.is_floating_point:
            return y.sum()
        # as exact as what it divides: singles beside doubles would cost half of the digits
        wide = torch.promote_types(problem.logits.dtype, torch.float32)
        return _labels(y, torch.promote_types(y.dtype, wide)).sum()
    weights = class_weight_of_targets(problem, kept)
    if problem.weight is not None:
        weights = weights * problem.weight
    return weights.expand(loss_shape(problem)).sum()


def kept_positions(problem: Problem) -> Tensor | None:
    """Mask of what is not ignored, in the loss shape; None where nothing can be."""
    value = problem.ignore_index
    if value is None or (isinstance(problem, SoftmaxProblem) and not has_index_targets(problem)):
        return None
    return is_kept(problem.targets, value)


def class_weight_of_targets(problem: Problem, kept: Tensor | None) -> Tensor:
    """alpha_t by the unsmoothed targets: ``y a + (1 - y)(1 - a)``, or ``sum_c y_c a_c``."""
    float_type = torch.promote_types(problem.logits.dtype, torch.float32)
    targets = problem.targets if kept is None else torch.where(kept, problem.targets, 0)
    if isinstance(problem, SigmoidProblem):
        positive, negative = problem.alpha
        y = _labels(targets, float_type)
        weights = y * positive + (1 - y) * negative
    elif has_index_targets(problem):
        if problem.alpha is None:
            weights = torch.ones_like(targets, dtype=float_type)
        else:
            # held in range: an index out of it is reported by the check of the values, later
            index = targets.long().clamp(0, problem.alpha.numel() - 1)
            weights = problem.alpha.to(float_type)[index]
    else:
        axis = class_axis_of(problem)
        y = _labels(targets, float_type)
        if problem.alpha is not None:
            shape = [1] * y.dim()
            shape[axis] = -1
            y = y * problem.alpha.view(shape)
        weights = y.sum(axis)
    return weights if kept is None else torch.where(kept, weights, 0.0)


def _labels(targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Targets to be summed; only those of half precision are so far above 1 that a sum shows it."""
    half = targets.dtype.is_floating_point and targets.dtype.itemsize < 4
    return shares(targets, dtype) if half else targets.to(dtype)


def reduce(losses: Tensor, reduction: Reduction, dtype: torch.dtype) -> Tensor:
    """Unreduced losses in the computing dtype to the result.

    "none" is rounded once, to ``dtype``; "mean" and "sum" stay in the computing dtype, because a
    float16 sum overflows at 65,504.
    """
    if reduction.kind == "none":
        return losses.to(dtype)
    total = losses.sum()
    if reduction.kind == "sum":
        return total
    # a 0-d denominator may be of a wider dtype, or of a count
    return (total / reduction.denominator).to(total.dtype)
