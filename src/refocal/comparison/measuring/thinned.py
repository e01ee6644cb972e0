"""Were enough negatives read? What thinning does to the precision at the top of a ranking.

With a share r of the negatives read, the number of those above a positive is known from N of them
as N / r, with a standard deviation of sqrt(N (1 - r)) / r. Where that is a third of the rows above
or more, precision there is a guess: it is read too high in the mean, and influence functions, which
are straight lines, say too little of its spread. Average precision lives from the top; what share
of it comes from such places is what decides. `scripts/sampling_simulation.py` shows both.
"""

from __future__ import annotations

import numpy as np

from refocal.comparison.data.table import Bools, Floats
from refocal.metrics import ranked

MOST = 0.15  # of the average precision may come from places that are a guess
_GUESS = 0.1  # squared: a standard deviation of about a third of the rows above


def guessed(scores: Floats, labels: Bools, rate: float, *, more: float = 1.0) -> float:
    """Return the share of average precision that comes from places whose precision is a guess.

    Args:
        scores: `(n,)`.
        labels: `(n,)`.
        rate: share of the negatives that was read, over that of the positives, in (0, 1].
        more: the same, were so many times as many negatives read.
    """
    _, hits, flagged, precision = ranked(scores, labels)
    found = precision * flagged
    read = flagged - found
    above = found + read / rate
    then = min(rate * more, 1.0)
    # one more, as none read is not none there
    spread = (read * then / rate + 1.0) * (1.0 - then) / then**2 / np.square(above)
    mass = hits * found / above
    return float(mass[spread > _GUESS].sum() / mass.sum())


def enough(scores: Floats, labels: Bools, rate: float) -> float:
    """Say how many times as many negatives would do; 1 where these do."""
    more = 1.0
    while rate * more < 1.0 and guessed(scores, labels, rate, more=more) > MOST:
        more *= 1.25
    return min(more, 1 / rate)
