"""What the report's controls show: gradient and sigmoid for every gamma, worked out beforehand.

The page holds no formula: it looks up what the library computed here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.measuring.gradient import example_kinds, gradient_sizes
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.scores import sigmoid
from refocal.probabilities import sigmoid_logit

GAMMAS = tuple(round(0.25 * step, 2) for step in range(21))
_CELLS = 128  # points that stand for the examples of one kind
_BINS = 10
_DIGITS = 4


def explore(labels: Bools, log_odds: Floats, base_rate: float) -> dict[str, Any]:
    """Return shares of the gradient and the reliability of the plain sigmoid, by alpha and gamma.

    Args:
        labels: `(n, K)` of test rows.
        log_odds: `(n, K)`, cross-entropy's: what a model trained out under any of these losses
            would also say, in its own logits.
        base_rate: of the training rows.
    """
    alphas = [("off", None), ("0.25", 0.25), ("0.75", 0.75)]
    balanced = round(1 - base_rate, _DIGITS)
    alphas.append((f"{balanced:g} (balanced)", balanced))
    points = _points(labels, log_odds)
    bins, observed = _bins(labels, log_odds)
    start: list[list[list[float]]] = []
    fitted: list[list[list[float]]] = []
    said: list[list[list[float]]] = []
    for _, alpha in alphas:
        of = [Loss("", alpha, gamma) for gamma in GAMMAS]
        start.append([_shares(one, *points) for one in of])
        fitted.append([_shares(one, points[0], _logits(one, points[1]), points[2]) for one in of])
        said.append([_rounded(sigmoid(_logits(one, bins))) for one in of])
    kinds = example_kinds(labels, log_odds)
    return {
        "gammas": list(GAMMAS),
        "alphas": [name for name, _ in alphas],
        "kinds": list(kinds),
        "examples": _rounded(np.array([kind.mean() for kind in kinds.values()])),
        "start": start,
        "fitted": fitted,
        "said": said,
        "observed": observed,
    }


def _points(labels: Bools, log_odds: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (labels, log-odds, rows they stand for) of a few hundred points, kind by kind: `(4,
    cells)`.

    Neighbours in log-odds share a point at their mean.
    """
    flat = log_odds.ravel()
    means, weights, classes = [], [], []
    for kind, members in enumerate(example_kinds(labels, log_odds).values()):
        cells = np.array_split(np.sort(flat[members]), _CELLS)
        means.append([float(cell.mean()) if len(cell) else 0.0 for cell in cells])
        weights.append([len(cell) for cell in cells])
        classes.append([kind >= 2] * _CELLS)
    return np.array(classes), np.array(means), np.array(weights, dtype=np.float64)


def _bins(labels: Bools, log_odds: Floats) -> tuple[Floats, list[float]]:
    """Return mean log-odds and observed rate in bins of equally many examples."""
    order = np.argsort(log_odds.ravel(), kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    p = sigmoid(log_odds.ravel())
    mean = np.clip([p[part].mean() for part in parts], 1e-12, 1 - 1e-12)
    observed = np.array([labels.ravel()[part].mean() for part in parts])
    return np.log(mean) - np.log1p(-mean), _rounded(observed)


def _logits(loss: Loss, log_odds: Floats) -> Floats:
    """Return the logits of a model trained out under this loss that believes these log-odds."""
    if loss.plain:
        return log_odds
    logits: Floats = sigmoid_logit(
        torch.from_numpy(log_odds), **loss.settings, log_odds=True
    ).numpy()
    return logits


def _shares(loss: Loss, labels: Floats, logits: Floats, weights: Floats) -> list[float]:
    shape = labels.shape
    sizes = gradient_sizes(loss, labels.reshape(-1, 1).astype(bool), logits.reshape(-1, 1))
    total = (sizes.reshape(shape) * weights).sum(1)
    return _rounded(total / total.sum())


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]
