"""Average precision and ROC AUC under row weights, fast enough for hundreds of resamples."""

from __future__ import annotations

import numpy as np

from refocal.comparison.data.table import Bools, Floats, Integers


class Ranking:
    """One column of scores with its labels.

    Both metrics depend on order alone, and not on the order of negatives between two neighbouring
    positives. So the rows are sorted once into levels, those of the positives and those between
    them, and a resample is a weighted count of the levels.

    Args:
        scores: `(n,)`.
        labels: `(n,)`, True for positives; at least one.
    """

    def __init__(self, scores: Floats, labels: Bools) -> None:
        thresholds = np.unique(scores[labels])
        self._levels = len(thresholds)
        self._positives: Integers = np.flatnonzero(labels)
        self._negatives: Integers = np.flatnonzero(~labels)
        self._positive_level = np.searchsorted(thresholds, scores[labels])
        # even: between two thresholds; odd: tied with one
        others = scores[~labels]
        below = np.searchsorted(thresholds, others, side="left")
        self._negative_level = below + np.searchsorted(thresholds, others, side="right")
        self._order: Integers = np.argsort(-scores, kind="stable")
        self._hits = labels[self._order].astype(np.float64)

    def average_precision_and_auc(self, weights: Floats) -> tuple[float, float]:
        """Both metrics with these row weights; NaN where a class has no weight."""
        positive = np.bincount(
            self._positive_level, weights=weights[self._positives], minlength=self._levels
        )
        negative = np.bincount(
            self._negative_level, weights=weights[self._negatives], minlength=2 * self._levels + 1
        )
        total, others = positive.sum(), negative.sum()
        if total == 0 or others == 0:
            return np.nan, np.nan
        # by threshold, from the lowest: what lies at it or above
        found = positive[::-1].cumsum()[::-1]
        false = negative[::-1].cumsum()[::-1][1::2]
        flagged = found + false
        precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
        tied = negative[1::2]
        beaten = others - false + 0.5 * tied
        return (
            float((positive * precision).sum() / total),
            float((positive * beaten).sum() / (total * others)),
        )

    def precision_at(self, top: int, weights: Floats) -> float:
        """Share of positives among the `top` rows with the highest scores."""
        # nearly always a few times as many rows weigh as much
        first = min(3 * top + 1000, len(self._order))
        while True:
            weight = weights[self._order[:first]]
            reached = weight.cumsum()
            if reached[-1] >= top or first == len(self._order):
                break
            first = len(self._order)
        taken = np.clip(top - (reached - weight), 0.0, weight)
        return float((taken * self._hits[:first]).sum() / taken.sum())
