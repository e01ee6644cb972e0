"""How sure a figure is: the spread over splits and over test rows, in one interval.

The figures of R splits differ for three reasons: other test rows, other training rows, another
start. Test rows are known from influence functions (`influence`), whose variance has as many
degrees of freedom as there are positives; what the splits spread beyond it is training, and of that
there are only R samples, which share rows. `spread` adds the two, so that a table with many
positives is not punished for having only five splits, and the seed is inside the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.stats import t as student  # type: ignore[import-untyped]

from refocal.comparison.data.table import Floats
from refocal.comparison.results import Estimate

LEVEL = 0.95
# A difference cannot be known more exactly than what this many positives, changing places, make.
FEWEST_ROWS = 3.0

# a share lies between 0 and 1, an amount is at least 0, a number may be anything
Scale: TypeAlias = Literal["share", "amount", "number"]


@dataclass(frozen=True)
class Design:
    """What a set of splits is worth.

    Attributes:
        splits: how many, R.
        disjoint: how many of them test on rows of their own: with more than five random splits a
            row is tested on again, and averages no further.
        test_to_train: rows of a test part over rows of its training part, in the mean.
        positives: test rows of the rarest class, in all.
    """

    splits: int
    disjoint: int
    test_to_train: float
    positives: int

    @property
    def correction(self) -> float:
        """The c of `spread`, 1/R + n_test/n_train: how much of one split's variance their mean has.

        References:
            Nadeau, Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
        """
        return 1 / self.splits + self.test_to_train


@dataclass(frozen=True)
class Spread:
    """A mean over splits, its variance V and the degrees of freedom of that."""

    mean: float
    variance: float
    degrees: float

    def half(self, level: float = LEVEL) -> float:
        """Return half the width of the interval."""
        return self.quantile(level) * float(np.sqrt(self.variance))

    def quantile(self, level: float = LEVEL) -> float:
        """Return how many standard deviations half the interval is wide."""
        return float(student.ppf((1 + level) / 2, self.degrees))

    def p_value(self) -> float:
        """Test the mean against 0, on both sides."""
        if self.variance == 0.0:
            return 1.0 if self.mean == 0.0 else 0.0
        return 2 * float(student.sf(abs(self.mean) / np.sqrt(self.variance), self.degrees))


def spread(values: Floats, row_variances: Floats, design: Design) -> Spread:
    """Return mean, variance and degrees of freedom of a figure over splits.

        V  = mean(v)/R + c max(0, s² - mean(v))
        nu = (R - 1) V² / (c s²)² where s² > mean(v), else positives - 1,
             kept within [R - 1, positives - 1]

    Args:
        values: `(R,)`, the figure on each split.
        row_variances: `(R,)`, what test rows drawn anew would spread it by (`row_variance`).
        design: the splits.
    """
    rows = float(row_variances.mean())
    most = max(design.positives - 1.0, 1.0)
    if len(values) == 1:  # no word of what another start would do: see the verdict's limits
        return Spread(float(values[0]), rows, most)
    between = float(values.var(ddof=1))
    variance = rows / design.disjoint + design.correction * max(0.0, between - rows)
    least = len(values) - 1.0
    degrees = most
    if between > rows:
        degrees = least * variance**2 / (design.correction * between) ** 2
    return Spread(float(values.mean()), variance, float(np.clip(degrees, least, max(least, most))))


def difference(
    values: Floats,
    row_variances: Floats,
    design: Design,
    *,
    level: float = LEVEL,
    base: float | None = None,
) -> Estimate:
    """Return the interval of a paired difference of two shares, as `average_precision`'s.

    The p-value is below 1 less a level exactly where the interval of that level excludes 0.

    Args:
        values: `(R,)` differences.
        row_variances: `(R,)` of the differences.
        design: the splits.
        level: of the interval.
        base: the share that is differed from, which says what is possible; None to cut at ±1.
    """
    if np.isnan(values).any():
        return Estimate(None, None, None, None)
    found = spread(values, row_variances, design)
    least = FEWEST_ROWS / max(design.positives, 1)
    half = max(found.half(level), least)
    lowest, highest = (-1.0, 1.0) if base is None or np.isnan(base) else (-base, 1.0 - base)
    low, high = max(found.mean - half, lowest), min(found.mean + half, highest)
    p = found.p_value() if abs(found.mean) > least else 1.0
    return Estimate(found.mean, min(low, found.mean), max(high, found.mean), p)


def estimate(values: Floats, row_variances: Floats, design: Design, scale: Scale) -> Estimate:
    """Return a figure with its interval: a share's is formed on the logit scale, and stays inside
    [0, 1].

    Args:
        values: `(R,)`.
        row_variances: `(R,)`.
        design: the splits.
        scale: of the figure.
    """
    if np.isnan(values).any():
        return Estimate(None, None, None, None)
    mean = float(values.mean())
    if scale == "share":
        # at 0 and 1 the logit has no place: half a positive away it has
        off = min(0.5 / max(design.positives / design.disjoint, 1.0), 0.5)
        inner = np.clip(values, off, 1 - off)
        odds = np.log(inner) - np.log1p(-inner)
        found = spread(odds, row_variances / np.square(inner * (1 - inner)), design)
        centre = float(np.clip(mean, off, 1 - off))
        at = float(np.log(centre) - np.log1p(-centre))
        low, high = (float(1 / (1 + np.exp(-(at + side * found.half())))) for side in (-1, 1))
        return Estimate(mean, min(low, mean), max(high, mean), None)
    found = spread(values, row_variances, design)
    half = found.half()
    low = mean - half
    if scale == "amount":
        low = max(low, 0.0)
    return Estimate(mean, min(low, mean), mean + half, found.p_value())
