"""How much each row moves a figure: influence functions in closed form.

The influence of a row is the derivative of the figure by the weight of this row, at weights of 1.
The sum of the squared influences estimates the variance of the figure over test rows drawn anew,
and that of the squared *differences* of two models' influences the variance of their paired
difference: what a bootstrap would find, in one pass and without its noise.

References:
    Hampel, "The Influence Curve and its Role in Robust Estimation", JASA 69, 1974;
    Efron, Stein, "The Jackknife Estimate of Variance", Annals of Statistics 9, 1981.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refocal.comparison.data.table import Bools, Floats, Integers
from refocal.metrics import ranked


class Measure(NamedTuple):
    """A figure with the influence of each row on it, `(n,)`; NaN and zeros where undefined."""

    value: float
    influence: Floats


def average_precision(scores: Floats, labels: Bools) -> Measure:
    """Return average precision of scores `(n,)` for labels `(n,)`.

    With row weights w, and sums over the rows that score at least as high as positive i,

        AP = sum_i w_i A_i / B_i / P,    A_i = sum_j w_j y_j,    B_i = sum_j w_j,

    so that by the weight of row k

        dAP/dw_k = (y_k (A_k / B_k - AP) + sum_{i: s_i <= s_k} (y_k B_i - A_i) / B_i^2) / P.

    Tied scores share a threshold, as in scikit-learn.
    """
    positives = int(labels.sum())
    if positives == 0 or positives == len(labels):
        return undefined(len(labels))
    level, hits, flagged, precision = rows = ranked(scores, labels)
    value = rows.average_precision
    # over the positives that score no higher than a row: what the row does to their precision
    gained = np.append(0.0, (hits / flagged).cumsum())[level]
    lost = np.append(0.0, (hits * precision / flagged).cumsum())[level]
    own = np.append(0.0, precision)[level]
    influence = (labels * (own - value + gained) - lost) / positives
    return Measure(value, influence)


def area(scores: Floats, labels: Bools) -> Measure:
    """Return area under the ROC curve; its influences are the placements of DeLong.

    References:
        DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return undefined(len(labels))
    placed = np.where(
        labels, _share_below(scores, scores[~labels]), 1.0 - _share_below(scores, scores[labels])
    )
    value = float(placed[labels].mean())
    counts = np.where(labels, positives, negatives)
    return Measure(value, (placed - value) / counts)


def mean(values: Floats) -> Measure:
    """Return the mean of one number a row."""
    value = float(values.mean())
    return Measure(value, (values - value) / len(values))


def share(part: Bools | Floats, whole: Bools | Floats) -> Measure:
    """Return the sum of one number a row over that of another; undefined where that is 0."""
    total = float(whole.sum())
    if total == 0.0:
        return undefined(len(whole))
    value = float(part.sum() / total)
    return Measure(value, (part - value * whole) / total)


def precision_at(top: int | None, scores: Floats, labels: Bools) -> Measure:
    """Return share of positives among the `top` highest scores; None for as many as there are
    positives.

    A row that enters at the top pushes one out at the cut, whose label is that of the rows around
    the cut. Of rows tied at the cut each counts in part.
    """
    count = int(labels.sum()) if top is None else min(top, len(scores))
    if count == 0:
        return undefined(len(labels))
    order = np.argsort(-scores, kind="stable")
    cut = scores[order[count - 1]]
    over, at = scores > cut, scores == cut
    taken = over + at * (count - over.sum()) / at.sum()
    value = float((taken * labels).sum() / count)
    width = max(5, count // 10)
    near = float(labels[order[max(0, count - width) : count + width]].mean())
    moved = taken * (labels - near)
    # with as many places as positives, a positive more is a place more
    places = labels * (near - value) if top is None else 0.0
    influence = (moved + places) / count
    return Measure(value, influence - influence.mean())


def average(several: list[Measure]) -> Measure:
    """Return the mean over classes of those that are defined."""
    known = [one for one in several if not np.isnan(one.value)]
    if not known:
        return several[0]
    return Measure(
        float(np.mean([one.value for one in known])),
        np.mean([one.influence for one in known], axis=0),
    )


def row_variance(influence: Floats, groups: Integers | None) -> float:
    """Return variance of a figure over test rows drawn anew: the sum of squared influences.

    Args:
        influence: `(n,)` of a figure, or the difference of two models' influences.
        groups: `(n,)`: rows of a group are drawn together, so their influences are added first; or
            None.
    """
    if groups is not None:
        index = np.unique(groups, return_inverse=True)[1]
        return float(np.square(np.bincount(index, weights=influence)).sum())
    return float(np.square(influence).sum())


def undefined(rows: int) -> Measure:
    """Return a figure that these rows do not have."""
    return Measure(float("nan"), np.zeros(rows))


def _share_below(scores: Floats, others: Floats) -> Floats:
    """Return the share of others that lie below each score, ties half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, side="left")
    up_to = np.searchsorted(ordered, scores, side="right")
    return np.asarray((below + up_to) / (2.0 * len(others)))
