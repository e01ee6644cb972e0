"""How much each row moves a figure: influence functions in closed form.

The influence of a row is the derivative of the figure by the weight of this row, at weights of 1.
The sum of the squared influences estimates the variance of the figure over test rows drawn anew,
and that of the squared *differences* of two models' influences the variance of their paired
difference: what a bootstrap would find, in one pass and without its noise. Where a row stands for
several, of which it alone was read, its weight is how many: the figure is then that of all rows,
and what is kept of a row is its influence times its weight, which is by how much the figure moves
with the row.

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
    """A figure with the influence of each row on it, times the row's weight, `(n,)`; NaN and zeros
    where undefined.
    """

    value: float
    influence: Floats


def average_precision(scores: Floats, labels: Bools, weights: Floats | None = None) -> Measure:
    """Return average precision of scores `(n,)` for labels `(n,)`.

    With row weights w, and sums over the rows that score at least as high as positive i,

        AP = sum_i w_i A_i / B_i / P,    A_i = sum_j w_j y_j,    B_i = sum_j w_j,

    so that by the weight of row k

        dAP/dw_k = (y_k (A_k / B_k - AP) + sum_{i: s_i <= s_k} w_i (y_k B_i - A_i) / B_i^2) / P.

    Tied scores share a threshold, as in scikit-learn.
    """
    positives = int(labels.sum())
    if positives == 0 or positives == len(labels):
        return undefined(len(labels))
    level, hits, flagged, precision = rows = ranked(scores, labels, weights)
    value = rows.average_precision
    # over the positives that score no higher than a row: what the row does to their precision
    gained = np.append(0.0, (hits / flagged).cumsum())[level]
    lost = np.append(0.0, (hits * precision / flagged).cumsum())[level]
    own = np.append(0.0, precision)[level]
    influence = (labels * (own - value + gained) - lost) / hits.sum()
    return Measure(value, _weighted(influence, weights))


def area(scores: Floats, labels: Bools, weights: Floats | None = None) -> Measure:
    """Return area under the ROC curve; its influences are the placements of DeLong.

    References:
        DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return undefined(len(labels))
    weight = np.ones(len(labels)) if weights is None else weights
    placed = np.where(
        labels,
        _share_below(scores, scores[~labels], weight[~labels]),
        1.0 - _share_below(scores, scores[labels], weight[labels]),
    )
    value = float(np.average(placed[labels], weights=weight[labels]))
    totals = np.where(labels, weight[labels].sum(), weight[~labels].sum())
    return Measure(value, _weighted((placed - value) / totals, weights))


def mean(values: Floats, weights: Floats | None = None) -> Measure:
    """Return the mean of one number a row."""
    if weights is None:
        value = float(values.mean())
        return Measure(value, (values - value) / len(values))
    total = float(weights.sum())
    value = float((weights * values).sum() / total)
    return Measure(value, weights * (values - value) / total)


def share(part: Bools | Floats, whole: Bools | Floats, weights: Floats | None = None) -> Measure:
    """Return the sum of one number a row over that of another; undefined where that is 0."""
    if weights is not None:
        part, whole = weights * part, weights * whole
    total = float(whole.sum())
    if total == 0.0:
        return undefined(len(whole))
    value = float(part.sum() / total)
    return Measure(value, (part - value * whole) / total)


def precision_at(
    top: int | None, scores: Floats, labels: Bools, weights: Floats | None = None
) -> Measure:
    """Return share of positives among the `top` highest scores; None for as many as there are
    positives.

    A row that enters at the top pushes one out at the cut, whose label is that of the rows around
    the cut. Of rows tied at the cut each counts in part.
    """
    weight = np.ones(len(scores)) if weights is None else weights
    count = float((weight * labels).sum())
    if top is not None:
        count = min(float(top), float(weight.sum()))
    if count == 0:
        return undefined(len(labels))
    order = np.argsort(-scores, kind="stable")
    places = weight[order].cumsum()
    # a hair below: sums of weights are rounded
    cut = scores[order[np.searchsorted(places, count * (1 - 1e-12))]]
    over, at = scores > cut, scores == cut
    taken = over + at * (count - weight[over].sum()) / weight[at].sum()
    value = float((weight * taken * labels).sum() / count)
    width = max(5.0 * float(weight.mean()), count // 10)
    around = order[(places > count - width) & (places <= count + width)]
    around = around if len(around) else order[at[order]]
    near = float(np.average(labels[around], weights=weight[around]))
    moved = taken * (labels - near)
    # with as many places as positives, a positive more is a place more
    places_more = labels * (near - value) if top is None else 0.0
    influence = (moved + places_more) / count
    return Measure(value, _weighted(influence - np.average(influence, weights=weight), weights))


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


def _weighted(influence: Floats, weights: Floats | None) -> Floats:
    return influence if weights is None else weights * influence


def undefined(rows: int) -> Measure:
    """Return a figure that these rows do not have."""
    return Measure(float("nan"), np.zeros(rows))


def _share_below(scores: Floats, others: Floats, weights: Floats) -> Floats:
    """Return the share of others, by weight, that lie below each score, ties half."""
    order = np.argsort(others, kind="stable")
    total = np.append(0.0, weights[order].cumsum())
    below = total[np.searchsorted(others[order], scores, side="left")]
    up_to = total[np.searchsorted(others[order], scores, side="right")]
    return np.asarray((below + up_to) / (2.0 * total[-1]))
