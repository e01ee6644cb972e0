"""What a set of logits is worth: ranking, probabilities, and how sure the figures are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
)

from refocal.compare.data import Bools, Floats, Integers
from refocal.compare.results import Curve, Estimate, Probabilities

_LEVEL = 0.95
_BINS = 10
_POINTS = 200  # of a drawn curve


def sigmoid(log_odds: Floats) -> Floats:
    """Probabilities of log-odds, without overflow."""
    return np.exp(-np.logaddexp(0.0, -log_odds))


class Bootstrap:
    """The same resamples of the test rows for every loss, so that differences are paired.

    Args:
        labels: the test targets.
        groups: rows of one group are drawn together, because they are not independent; or None.
        resamples: how many.
        seed: of the draw.
    """

    def __init__(
        self, labels: Bools, groups: Integers | None, *, resamples: int, seed: int
    ) -> None:
        self._labels = labels
        self._groups = None if groups is None else np.unique(groups, return_inverse=True)[1]
        self._resamples = resamples
        self._seed = seed

    def ranking(self, scores: Floats) -> tuple[Floats, Floats]:
        """Average precision and ROC AUC, each as `(1 + resamples,)`: the estimate, then resamples.

        Both depend on order alone, and not on the order of negatives between two neighbouring
        positives. So such negatives share one level and one weight, and scikit-learn's metrics
        get a few thousand weighted levels in place of every row, with the same result.
        """
        thresholds = np.unique(scores[self._labels])
        below = np.searchsorted(thresholds, scores, side="left")
        level = 2 * (below + np.searchsorted(thresholds, scores, side="right")) + self._labels
        cells, cell = np.unique(level, return_inverse=True)
        labels, order = cells % 2, cells // 2
        precision, area = [], []
        for weights in self._weights():
            weight = np.bincount(cell, weights=weights)
            precision.append(average_precision_score(labels, order, sample_weight=weight))
            area.append(roc_auc_score(labels, order, sample_weight=weight))
        return np.array(precision), np.array(area)

    def _weights(self) -> Iterator[Floats]:
        """How often each row counts: once, then as often as a resample drew it."""
        rows = len(self._labels)
        units = rows if self._groups is None else int(self._groups.max()) + 1
        generator = np.random.default_rng(self._seed)
        yield np.ones(rows)
        drawn = 0
        while drawn < self._resamples:
            counts = np.bincount(generator.integers(0, units, units), minlength=units)
            weights = counts.astype(np.float64)
            if self._groups is not None:
                weights = weights[self._groups]
            # A resample without one of the classes has no ranking to measure.
            positives = weights[self._labels].sum()
            if 0 < positives < weights.sum():
                drawn += 1
                yield weights


def estimate(values: Floats) -> Estimate:
    """A figure with the percentile interval of its resamples, which follow it in `values`."""
    low, high = np.quantile(values[1:], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Estimate(float(values[0]), float(low), float(high))


def probabilities(labels: Bools, log_odds: Floats) -> Probabilities:
    """How good the probabilities with these log-odds are, on these labels."""
    line = _fit_line(labels, log_odds)
    p = sigmoid(log_odds)
    # More bins than positives would show noise.
    bins = int(np.clip(labels.sum() // 5, 2, _BINS))
    observed, predicted = calibration_curve(labels, p, n_bins=bins, strategy="quantile")
    return Probabilities(
        log_loss=float(log_loss(labels, p, labels=[False, True])),
        mean=float(p.mean()),
        slope=None if line is None else line[0],
        reliability=Curve(predicted.tolist(), observed.tolist()),
    )


def platt(labels: Bools, log_odds: Floats) -> Callable[[Floats], Floats]:
    """Platt scaling: the line through the log-odds that fits these labels best."""
    slope, intercept = _fit_line(labels, log_odds) or (1.0, 0.0)
    return lambda other: slope * other + intercept


def precision_recall(labels: Bools, scores: Floats) -> Curve:
    """Precision against recall, thinned to what a drawing can show."""
    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    # The last point is recall 0, precision 1 by definition and not a threshold: not drawn.
    precision, recall = precision[-2::-1], recall[-2::-1]
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, _POINTS)))
    return Curve(recall[kept].tolist(), precision[kept].tolist())


def base_rate_log_loss(labels: Bools, base_rate: float) -> float:
    """Log loss of giving every row the training base rate: what a model has to beat."""
    return float(log_loss(labels, np.full(len(labels), base_rate), labels=[False, True]))


def _fit_line(labels: Bools, log_odds: Floats) -> tuple[float, float] | None:
    """Slope and intercept of a logistic regression on the log-odds; None where there is none.

    There is none when the log-odds are constant, or when a threshold separates the classes: then
    every steeper line is better still.
    """
    scale, centre = float(log_odds.std()), float(log_odds.mean())
    positive, negative = log_odds[labels], log_odds[~labels]
    separated = positive.min() > negative.max() or positive.max() < negative.min()
    if scale == 0.0 or not np.isfinite(scale) or separated:
        return None
    model: Any = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(((log_odds - centre) / scale)[:, None], labels)
        except ConvergenceWarning:
            return None
    slope = float(model.coef_[0, 0]) / scale
    return slope, float(model.intercept_[0]) - slope * centre
