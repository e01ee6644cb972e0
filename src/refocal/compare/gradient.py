"""Who drives the training: the share of the total gradient that each kind of example gets."""

from __future__ import annotations

import numpy as np
import torch

from refocal.compare.data import Bools, Floats
from refocal.compare.results import Share
from refocal.compare.train import Candidate
from refocal.losses import sigmoid_focal_loss

# The kinds are shares of this data's own examples. By a fixed threshold on p_t nearly every
# negative of a rare class would be easy and the other kinds next to empty.
_EASY_NEGATIVES = 0.9
_EASY_POSITIVES = 0.5


def gradient_shares(
    candidate: Candidate, labels: Bools, *, reference: Floats, fitted: Floats
) -> list[Share]:
    """The gradient budget of one loss.

    Shares read off one set of logits speak of the start of training alone: on its own fitted
    logits a loss spends its gradient differently. So both are given.

    Args:
        candidate: the loss.
        labels: True for positives.
        reference: cross-entropy's logits. They also decide which examples are easy, so that a
            kind holds the same examples for every loss.
        fitted: this loss's own logits.
    """
    easy_negative = _easiest(~labels, -reference, _EASY_NEGATIVES)
    easy_positive = _easiest(labels, reference, _EASY_POSITIVES)
    kinds = {
        "easiest 90 % of negatives": easy_negative,
        "hardest 10 % of negatives": ~labels & ~easy_negative,
        "easier half of positives": easy_positive,
        "harder half of positives": labels & ~easy_positive,
    }
    start = _sizes(candidate, labels, reference)
    end = _sizes(candidate, labels, fitted)
    return [
        Share(
            kind=name,
            examples=float(kind.mean()),
            start=float(start[kind].sum() / start.sum()),
            fitted=float(end[kind].sum() / end.sum()),
        )
        for name, kind in kinds.items()
    ]


def _easiest(members: Bools, margin: Floats, share: float) -> Bools:
    """The given share of the members, those with the largest margins."""
    rows = np.flatnonzero(members)
    order = rows[np.argsort(-margin[rows], kind="stable")]
    chosen = np.zeros_like(members)
    chosen[order[: round(share * len(order))]] = True
    return chosen


def _sizes(candidate: Candidate, labels: Bools, scores: Floats) -> Floats:
    """Size of the gradient of each example's loss with respect to its logit."""
    logits = torch.from_numpy(scores).requires_grad_()
    loss = sigmoid_focal_loss(
        logits,
        torch.from_numpy(labels),
        alpha=candidate.alpha,
        gamma=candidate.gamma,
        reduction="sum",
    )
    (gradient,) = torch.autograd.grad(loss, logits)
    sizes: Floats = gradient.abs().numpy()
    return sizes
