"""How sure a figure is: resamples of one split, or the spread over several."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import t as student  # type: ignore[import-untyped]

from refocal.compare.data.table import Bools, Floats, Integers
from refocal.compare.results import Estimate

LEVEL = 0.95


def bootstrap_weights(
    labels: Bools, groups: Integers | None, *, resamples: int, seed: int
) -> Iterator[Floats]:
    """How often each test row counts in each resample: the same for every loss, so paired.

    Args:
        labels: `(n, K)`.
        groups: rows of one group are drawn together, because they are not independent; or None.
        resamples: how many.
        seed: of the draw.
    """
    rows = len(labels)
    index = None if groups is None else np.unique(groups, return_inverse=True)[1]
    units = rows if index is None else int(index.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = 0
    while drawn < resamples:
        counts = np.bincount(generator.integers(0, units, units), minlength=units)
        weights = counts.astype(np.float64)
        if index is not None:
            weights = weights[index]
        # A resample without positives or negatives of any class has no ranking to measure.
        positives = weights @ labels
        if ((positives > 0) & (positives < weights.sum())).any():
            drawn += 1
            yield weights


def bootstrap_estimate(value: float, resamples: Floats) -> Estimate:
    """A figure with the percentile interval of its resamples, and a two-sided p-value against 0."""
    known = resamples[~np.isnan(resamples)]
    if np.isnan(value) or len(known) == 0:
        return Estimate(None, None, None, None)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    below = (1 + (known <= 0).sum()) / (1 + len(known))
    above = (1 + (known >= 0).sum()) / (1 + len(known))
    return Estimate(float(value), float(low), float(high), float(min(1.0, 2 * min(below, above))))


def repeated_estimate(values: Floats, test_to_train: float) -> Estimate:
    """The mean over splits with the corrected t interval.

    Splits share training rows, so their spread alone is too small: the variance of the mean is
    `(1 / R + n_test / n_train)` times that of one split.

    Args:
        values: one for each of R >= 2 splits.
        test_to_train: rows of the test part over rows of the training part.

    References:
        Nadeau, Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, eq. 9;
        for repeated cross-validation Bouckaert, Frank, PAKDD 2004.
    """
    if np.isnan(values).any():
        return Estimate(None, None, None, None)
    repeats = len(values)
    mean = float(values.mean())
    error = float(np.sqrt((1 / repeats + test_to_train) * values.var(ddof=1)))
    if error == 0.0:
        return Estimate(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    half = float(student.ppf((1 + LEVEL) / 2, repeats - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, repeats - 1))
    return Estimate(mean, mean - half, mean + half, p)
