"""Who drives the training: the share of the total gradient that each kind of example gets."""

from __future__ import annotations

import numpy as np
import torch

from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.results import Share
from refocal.comparison.training.losses import Loss

# The kinds are shares of this data's own examples. By a fixed threshold on p_t nearly every
# negative of a rare class would be easy and the other kinds next to empty.
EASY_COMMON = 0.9
EASY_RARE = 0.5
KINDS = (
    "easiest 90 % of negatives",
    "hardest 10 % of negatives",
    "easier half of positives",
    "harder half of positives",
)
KINDS_OF_ROWS = tuple(
    name.replace("negatives", "the commonest class").replace("positives", "the other classes")
    for name in KINDS
)


def gradient_shares(loss: Loss, labels: Bools, *, reference: Floats, fitted: Floats) -> list[Share]:
    """Return the gradient budget of one loss.

    Shares read off one set of logits speak of the start of training alone: on its own fitted
    logits a loss spends its gradient differently. So both are given.

    Args:
        loss: the loss. With the sigmoid an example is one class of one row; with the softmax
            it is a row, and the commonest class stands for the negatives.
        labels: `(n, K)`, True for positives.
        reference: cross-entropy's logits `(n, K)` with the same link. They also decide which
            examples are easy, so that a kind holds the same examples for every loss.
        fitted: this loss's own logits `(n, K)`.
    """
    start, end = (
        gradient_sizes(loss, labels, reference),
        gradient_sizes(loss, labels, fitted),
    )
    kinds = example_kinds(labels, reference, softmax=loss.link == "softmax")
    return [
        Share(
            kind=name,
            examples=float(kind.mean()),
            start=float(start[kind].sum() / start.sum()),
            fitted=float(end[kind].sum() / end.sum()),
        )
        for name, kind in kinds.items()
    ]


def example_kinds(labels: Bools, reference: Floats, *, softmax: bool = False) -> dict[str, Bools]:
    """Say which examples are of which kind, by cross-entropy's logits `(n, K)`."""
    rare: Bools
    if softmax:
        index = labels.argmax(1)
        rows = np.arange(len(index))
        others = reference.copy()
        others[rows, index] = -np.inf
        margin = reference[rows, index] - np.logaddexp.reduce(others, axis=1)
        rare, names = index != labels.sum(0).argmax(), KINDS_OF_ROWS
    else:
        rare, names = labels.ravel(), KINDS
        margin = np.where(rare, reference.ravel(), -reference.ravel())
    easy_common = _easiest(~rare, margin, EASY_COMMON)
    easy_rare = _easiest(rare, margin, EASY_RARE)
    masks = (easy_common, ~rare & ~easy_common, easy_rare, rare & ~easy_rare)
    return dict(zip(names, masks, strict=True))


def _easiest(members: Bools, margin: Floats, share: float) -> Bools:
    """Return the given share of the members, those with the largest margins."""
    rows = np.flatnonzero(members)
    order = rows[np.argsort(-margin[rows], kind="stable")]
    chosen = np.zeros_like(members)
    chosen[order[: round(share * len(order))]] = True
    return chosen


def gradient_sizes(loss: Loss, labels: Bools, scores: Floats) -> Floats:
    """Return size of the gradient of each example's loss with respect to its logits."""
    softmax = loss.link == "softmax"
    logits = torch.from_numpy(scores).double().requires_grad_()
    targets = torch.from_numpy(labels.argmax(1) if softmax else labels)
    (gradient,) = torch.autograd.grad(loss.mean(logits, targets), logits)
    sizes: Floats = (gradient.abs().sum(1) if softmax else gradient.abs().flatten()).numpy()
    return sizes
