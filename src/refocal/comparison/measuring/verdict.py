"""Four verdicts on a difference in average precision, and how many positives one would take."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from refocal.comparison.measuring.intervals import FEWEST_ROWS, LEVEL, Spread
from refocal.comparison.results import Estimate

Verdict: TypeAlias = Literal["equivalent", "better", "worse", "undecided"]

MARGIN_SHARE, LEAST_MARGIN = 0.05, 0.002
# Below this many test positives in all no interval deserves its name.
ENOUGH_POSITIVES = 20
# The normal quantile of .8: so much further off a bound must lie for an interval to exclude it in
# 80 % of tables and not in half of them.
_POWER = 0.84
_WORTH_ASKING = 100


def margin_of(average_precision: float, base_rate: float) -> float:
    """Return the smallest difference worth having: 5 % of what there is to gain or to lose.

    Args:
        average_precision: of cross-entropy on validation rows.
        base_rate: of them: the average precision of guessing.
    """
    room = min(average_precision - base_rate, 1.0 - average_precision)
    return max(MARGIN_SHARE * room, LEAST_MARGIN)


def judge(interval: Estimate, margin: float) -> Verdict:
    """Return the verdict on a difference.

    Equivalence comes first: an interval within ± the margin may exclude 0, and then says
    "measurable, not worth having".
    """
    if interval.low is None or interval.high is None:
        return "undecided"
    if -margin <= interval.low and interval.high <= margin:
        return "equivalent"
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else "undecided"


def positives_needed(found: Spread, positives: int, margin: float, level: float = LEVEL) -> int:
    """Say about how many test positives would decide what these do not, to one digit.

        P V ((t + 0.84) / x)², at least 3 / x

    x is what there is to see: the difference where it is beyond the margin, else what it stays
    short of it. t is the quantile of the very interval that did not decide, at its level and its
    degrees of freedom (2.8 in all at 95 % where these are many), and 3 / P the least half-width
    that it has: so more positives are asked for than there are. 0 where more than a hundred times
    this table would not do.

    Args:
        found: the difference and its variance V, at this many positives.
        positives: P.
        margin: the smallest difference worth having.
        level: of the interval that was undecided.
    """
    size = abs(found.mean)
    seen = size if size > margin else margin - size
    if seen <= 0:
        return 0
    off = found.quantile(level) + _POWER
    needed = max(positives * found.variance * (off / seen) ** 2, FEWEST_ROWS / seen)
    if needed > _WORTH_ASKING * positives:
        return 0
    return one_digit(max(needed, positives + 1.0))


def one_digit(number: float) -> int:
    """Round up to one digit, since the variance behind it is known no better."""
    power = 10.0 ** math.floor(math.log10(number))
    return int(math.ceil(round(number / power, 9)) * power)
