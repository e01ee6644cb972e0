"""Four verdicts on a difference in average precision, and how many positives one would take."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from refocal.comparison.results import Estimate

Verdict: TypeAlias = Literal["equivalent", "better", "worse", "undecided"]

MARGIN_SHARE, LEAST_MARGIN = 0.05, 0.002
# Below this many test positives in all no interval deserves its name.
ENOUGH_POSITIVES = 20
# (1.96 + 0.84): an interval at 95 % that excludes its bound in 80 % of tables.
_POWER = 2.8
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


def positives_needed(difference: float, variance: float, positives: int, margin: float) -> int:
    """Say about how many test positives would decide, to one digit: P V (2.8 / x)².

    x is what there is to see: the difference where it is beyond the margin, else what it stays
    short of it. 0 where more than a hundred times this table would not do.

    Args:
        difference: found.
        variance: V of it, at this many positives.
        positives: P.
        margin: the smallest difference worth having.
    """
    size = abs(difference)
    seen = size if size > margin else margin - size
    if seen <= 0 or variance <= 0:
        return 0 if seen <= 0 else positives
    needed = positives * variance * (_POWER / seen) ** 2
    if needed > _WORTH_ASKING * positives:
        return 0
    return one_digit(max(needed, 1.0))


def one_digit(number: float) -> int:
    """Round up to one digit, since the variance behind it is known no better."""
    power = 10.0 ** math.floor(math.log10(number))
    return int(math.ceil(round(number / power, 9)) * power)
