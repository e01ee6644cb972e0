"""Average precision: what the comparison, the boosters and the examples rank models by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from refocal.messages import refuse

__all__ = ["average_precision"]

Floats = npt.NDArray[Any]


class Ranked(NamedTuple):
    """Rows counted by where they lie among the scores of the positives.

    Only these scores matter: average precision asks at each of them how many rows score as high,
    and never in which order the rows between two of them stand.

    Attributes:
        level: `(n,)`, how many of the `T` distinct scores of positives are no higher than a row's.
        hits: `(T,)`, the weight of the positives at each, from the lowest.
        flagged: `(T,)`, the weight of the rows that score at least as high.
        precision: `(T,)`, the share of positives in that; 0 where no row has weight.
    """

    level: npt.NDArray[np.intp]
    hits: Floats
    flagged: Floats
    precision: Floats

    @property
    def average_precision(self) -> float:
        """The mean of the precision over the positives; NaN where they have no weight."""
        total = self.hits.sum()
        return float((self.hits * self.precision).sum() / total) if total else float("nan")


def ranked(scores: Floats, positive: npt.NDArray[np.bool_], weight: Floats | None = None) -> Ranked:
    """Count rows of any shape by the scores of the positives; tied scores share a threshold."""
    thresholds = np.unique(scores[positive])
    count = len(thresholds)
    level = np.searchsorted(thresholds, scores.ravel(), side="right")
    # a positive is at its own threshold, the last that is no higher
    own = level[positive.ravel()] - 1
    of_rows = None if weight is None else weight.ravel()
    of_positives = None if weight is None else weight[positive]
    hits = np.bincount(own, of_positives, count).astype(np.float64)
    above = np.bincount(level, of_rows, count + 1)[::-1].cumsum()[::-1]
    flagged = above[1:].astype(np.float64)
    found = hits[::-1].cumsum()[::-1]
    precision = np.divide(found, flagged, out=np.zeros(count), where=flagged > 0)
    return Ranked(level, hits, flagged, precision)


def average_precision(
    scores: npt.ArrayLike, positive: npt.ArrayLike, weight: npt.ArrayLike | None = None
) -> float:
    """Return average precision: the mean, over the positives, of the precision at that positive's
    score.

    Rows with the same score share a threshold, as in scikit-learn. Quick where positives are few:
    only their scores are sorted.

    Args:
        scores: the higher, the more likely positive; any shape.
        positive: which rows are, of the same shape: booleans, or 0 and 1.
        weight: of each row, >= 0, of the same shape; None for 1 each.

    Returns:
        A number in (0, 1]; NaN where no row is positive, or none with a weight.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> average_precision([3.0, 2.0, 1.0], [True, False, True])
        0.8333333333333333
    """
    found, labels = np.asarray(scores), np.asarray(positive, dtype=bool)
    weights = None if weight is None else np.asarray(weight, dtype=np.float64)
    for name, other in (("positive", labels), ("weight", weights)):
        if other is not None and other.shape != found.shape:
            raise refuse(
                "average_precision", name, f"have the shape of scores, {found.shape}", other.shape
            )
    return ranked(found, labels, weights).average_precision
