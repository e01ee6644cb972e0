"""What a loss's logits say: scores to rank by, and probabilities in several readings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from refocal.comparison.data.table import Floats, Kind
from refocal.comparison.training.losses import Loss
from refocal.posterior import sigmoid_posterior, softmax_posterior

_TINY = float(np.finfo(np.float64).tiny)


def log_odds(loss: Loss, logits: Tensor, *, closed_form: bool = True) -> Tensor:
    """Return what a model says of each class, `(n, K)`: what is ranked by and calibrated.

    Args:
        loss: the loss.
        logits: `(n, K)`.
        closed_form: the posterior; otherwise the plain sigmoid or softmax.

    Returns:
        Sigmoid: log-odds. Softmax: log-probabilities.
    """
    z = logits.double()
    if loss.link == "softmax":
        if not closed_form or loss.plain:
            return torch.log_softmax(z, 1)
        return softmax_posterior(z, **loss.settings, log_probabilities=True)
    if not closed_form or loss.plain:
        return z
    return sigmoid_posterior(z, **loss.settings, log_odds=True)


def log_probabilities(kind: Kind, said: Tensor, *, softmax: bool) -> tuple[Tensor, Tensor]:
    """Return logarithms of the probabilities of each class and of its absence, both `(n, K)`.

    Classes that exclude each other share a total of 1; one-vs-rest probabilities are scaled to it.
    """
    if kind != "multiclass":
        return -torch.logaddexp(-said, said.new_zeros(())), -torch.logaddexp(
            said, said.new_zeros(())
        )
    if not softmax:
        said = -torch.logaddexp(-said, said.new_zeros(()))
    of = torch.log_softmax(said, 1)
    return of, torch.log((-torch.expm1(of)).clamp(min=_TINY))


def sigmoid(values: Floats) -> Floats:
    """Return probabilities of log-odds, without overflow."""
    return np.exp(-np.logaddexp(0.0, -values))
