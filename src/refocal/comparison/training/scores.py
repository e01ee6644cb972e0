"""What a loss's logits say: scores to rank by, and probabilities in several readings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from refocal.comparison.data.table import Floats, Kind
from refocal.comparison.results import Sampling
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
    z, loss = logits.double(), loss.meaning
    if loss.link == "softmax":
        if not closed_form or loss.plain:
            return torch.log_softmax(z, 1)
        return softmax_posterior(z, **loss.settings, log_probabilities=True)
    if not closed_form or loss.plain:
        return z
    return sigmoid_posterior(z, **loss.settings, log_odds=True)


def of_table(said: Tensor, sampling: Sampling | None, *, softmax: bool) -> Tensor:
    """Return what is said of the whole table, of what is said among the rows that were read.

    By Bayes' rule a class of which a share r was read has 1 / r times the odds against the others.
    What a class against the rest says of its rivals depends on which rivals they are; that is told
    by the other columns, scaled to a total of 1.

    Args:
        said: `(n, K)` as `log_odds` returns.
        sampling: which share of each class was read; None for all, which changes nothing.
        softmax: whether these are log-probabilities, and shall be.
    """
    if sampling is None:
        return said
    if not sampling.several:
        return said + sampling.shift
    of = said if softmax else -torch.logaddexp(-said, said.new_zeros(()))
    of = torch.log_softmax(of - torch.tensor(sampling.read, dtype=of.dtype).log(), 1)
    if softmax:
        return of
    every = range(of.shape[1])
    rivals = [torch.logsumexp(of[:, [j for j in every if j != k]], 1) for k in every]
    return of - torch.stack(rivals, 1)


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
