"""Targets that are no labels, as labels with a gamma and a weight of each element.

The CPU kernel reads a quality or a heatmap as it is. Everything else runs the sigmoid focal loss,
and is given what this makes of them, at the price of some tensors of the targets' size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refocal.formula.in_torch import BOOK
from refocal.problem import Number, Problem, Quality, SigmoidProblem, computing_dtype, shares
from refocal.reduction import kept_positions


def is_read(problem: Problem) -> bool:
    """Whether its targets are no labels."""
    return isinstance(problem, SigmoidProblem) and problem.reading is not None


def by_elements(problem: SigmoidProblem) -> SigmoidProblem:
    """The same loss of labels; a problem whose targets are labels is returned as it is."""
    reading = problem.reading
    if reading is None:
        return problem
    kept = kept_positions(problem)
    given = problem.targets if kept is None else torch.where(kept, problem.targets, 0)
    y = shares(given, computing_dtype(problem.logits))
    labels: Tensor
    gamma: Number
    if isinstance(reading, Quality):
        positive = y > 0 if reading.positives is None else reading.positives
        labels = torch.where(positive, y, 0.0)
        # gamma 0 is cross-entropy
        gamma = problem.gamma[1] * (~positive).to(y.dtype)
        weight = torch.where(positive, y, problem.alpha[1])
    else:
        peak = given == 1  # as given: the logits' dtype may round to 1 what is less
        labels, gamma = peak.to(y.dtype), problem.gamma[1]
        # a constant, so that pow need not be differentiated
        of_peaks, of_others = problem.alpha
        weight = torch.where(peak, of_peaks, of_others * BOOK.faded(y, reading.beta))
    if problem.weight is not None:
        weight = weight * problem.weight
    if kept is not None:
        weight = torch.where(kept, weight, 0.0)
    return SigmoidProblem(
        problem.logits,
        labels,
        (1.0, 1.0),
        (gamma, gamma),
        weight,
        None,
        0.0,
        problem.detach_modulator,
    )
