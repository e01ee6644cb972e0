"""Probabilities from log-odds: calibration line, Platt scaling, isotonic steps, reliability."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.isotonic import IsotonicRegression

from refocal.comparison.data.table import Bools, Floats, Integers
from refocal.comparison.results import Curve
from refocal.comparison.training.scores import sigmoid

# A reading of the logits is as good as another when it keeps this much of its gain in log loss.
_AS_GOOD = 0.98
_BINS = 10
_STEPS = 100


class Line(NamedTuple):
    """Slope and intercept on log-odds."""

    slope: float
    intercept: float

    def __call__(self, log_odds: Floats) -> Floats:
        """Return the line's value at these log-odds."""
        line: Floats = self.slope * log_odds + self.intercept
        return line


def fit_line(labels: Bools, log_odds: Floats, weights: Floats | None = None) -> Line | None:
    """Return the logistic regression of labels on log-odds `(n,)`; None where there is none.

    There is none when the log-odds are constant, or when a threshold separates the classes: then
    every steeper line is better still. Newton's steps, halved while they do not help.

    Args:
        labels: `(n,)`.
        log_odds: `(n,)`.
        weights: `(n,)`, for how many rows each stands; None for itself.
    """
    scale, centre = float(log_odds.std()), float(log_odds.mean())
    positive, negative = log_odds[labels], log_odds[~labels]
    if len(positive) == 0 or len(negative) == 0 or scale == 0.0 or not np.isfinite(scale):
        return None
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return None
    x = (log_odds - centre) / scale
    y = labels.astype(np.float64)
    mean = partial(np.average, weights=weights)
    rate = mean(y)
    point = np.array([0.0, np.log(rate / (1 - rate))])

    def loss(at: Floats) -> float:
        z = at[0] * x + at[1]
        return float(mean(np.logaddexp(0.0, z) - y * z))

    value = loss(point)
    for _ in range(_STEPS):
        p = sigmoid(point[0] * x + point[1])
        error, weight = p - y, p * (1 - p)
        gradient = np.array([mean(error * x), mean(error)])
        cross = mean(weight * x)
        hessian = np.array([[mean(weight * x * x), cross], [cross, mean(weight)]])
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            return None
        length, better = 1.0, False
        while length > 1e-10 and not better:
            moved = point - length * step
            reached = loss(moved)
            better = reached < value
            length /= 2
        if not better:
            break
        point, gained, value = moved, value - reached, reached
        if gained < 1e-14:
            break
    else:
        return None
    slope = float(point[0]) / scale
    return Line(slope, float(point[1]) - slope * centre)


def slope_pulls(
    line: Line, labels: Bools, log_odds: Floats, weights: Floats | None = None
) -> Floats:
    """Say how far each row pulls the slope of its line: their mean over the rows is 0, and over a
    resample of them about what its line's slope differs by (one Newton step from the line). Of a
    row that stands for several it is what all of them pull.
    """
    p = sigmoid(line(log_odds))
    each = np.ones(len(p)) if weights is None else weights / weights.mean()
    weight = each * p * (1 - p)
    x = log_odds - np.average(log_odds, weights=weight)
    pulls: Floats = each * (labels - p) * x / (weight * x * x).mean()
    return pulls


def platt(labels: Bools, logits: Floats) -> Line:
    """Return Platt scaling: the line that fits these labels best, or none where none is best."""
    return fit_line(labels, logits) or Line(1.0, 0.0)


def isotonic(labels: Bools, logits: Floats) -> Callable[[Floats], Floats]:
    """Return rising steps from logits to log-odds, kept off 0 and 1 by half a row of either class.

    Without it a step of nothing but negatives says "never", and a single positive there costs an
    infinite log loss.
    """
    low = 0.5 / (len(labels) + 1)
    steps = IsotonicRegression(y_min=low, y_max=1 - low, out_of_bounds="clip")
    steps.fit(logits, labels.astype(np.float64))

    def said(values: Floats) -> Floats:
        p = np.clip(steps.predict(values).astype(np.float64), low, 1 - low)
        odds: Floats = np.log(p) - np.log1p(-p)
        return odds

    return said


def is_as_good(log_loss: float, other: float, *, base_rate: float) -> bool:
    """Say whether a reading's log loss keeps nearly all that another gains over the base rate's."""
    return base_rate - log_loss >= _AS_GOOD * (base_rate - other)


def bins_of(p: Floats, labels: Bools) -> Integers:
    """Return for each row the number of its bin: bins hold equally many rows, neighbours in
    probability; equal probabilities share one.

    Args:
        p: `(n,)` probabilities.
        labels: `(n,)`: more bins than positives would show noise.
    """
    bins = int(np.clip(labels.sum() // 5, 2, _BINS))
    edges = np.quantile(p, np.linspace(0, 1, bins + 1))[1:-1]
    index: Integers = np.searchsorted(edges, p)
    return index


def reliability(labels: Bools, p: Floats, weights: Floats | None = None) -> Curve:
    """Return mean prediction and observed rate in bins of equally many rows.

    Args:
        labels: `(n,)`.
        p: `(n,)` probabilities.
        weights: `(n,)`, for how many rows each stands; None for itself.
    """
    index = bins_of(p, labels)
    rows = np.bincount(index, weights)
    full = rows > 0
    each = np.ones(len(p)) if weights is None else weights
    predicted = np.bincount(index, each * p)[full] / rows[full]
    observed = np.bincount(index, each * labels)[full] / rows[full]
    return Curve(predicted.tolist(), observed.tolist())
