"""The binary focal loss of a positive in float64, from its definition: nothing of refocal is in it.

Doubles carry 29 bits more than a float, so plain formulas do, as long as none of them subtracts:
with ``q = 1 - p``, the value is ``q**gamma * -log p`` and its derivative
``-q**gamma * (q + gamma * p * -log p)``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Margin(NamedTuple):
    """What every gamma needs of a logit: -log p, log q, p and q."""

    cross_entropy: Tensor
    log_q: Tensor
    p: Tensor
    q: Tensor


def margin(logits: Tensor) -> Margin:
    """Of logits as they are, in float64."""
    s = logits.double()
    small = torch.exp(-s.abs())
    tail = torch.log1p(small)
    wins = s >= 0
    total = 1 + small
    return Margin(
        cross_entropy=tail + torch.relu(-s),
        log_q=-(tail + torch.relu(s)),
        p=torch.where(wins, 1.0, small) / total,
        q=torch.where(wins, small, 1.0) / total,
    )


def value_and_slope(at: Margin, gamma: float) -> tuple[Tensor, Tensor]:
    """The loss and its derivative with respect to the logit."""
    modulator = torch.exp(gamma * at.log_q) if gamma else torch.ones_like(at.log_q)
    pull = at.p * at.cross_entropy
    pull = torch.where(at.p == 0, 0.0, pull)  # p * -log p tends to 0
    return modulator * at.cross_entropy, -modulator * (at.q + gamma * pull)
