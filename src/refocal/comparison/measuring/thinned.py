"""Were enough negatives read? What thinning does to the precision at the top of a ranking.

With a share r of the negatives read, the number of those above a positive is known from N of them
as N / r, with a standard deviation of sqrt(N (1 - r)) / r. (Of several classes each is one against
the rest, whose rows were read in shares of their own; their variances add up.) Where that is a
third of the rows above or more, precision there is a guess: it is read too high in the mean, and
influence functions, which are straight lines, say too little of its spread. Average precision lives
from the top; what share of it comes from such places is what decides.
`scripts/sampling_simulation.py` shows both.
"""

from __future__ import annotations

import numpy as np

from refocal.comparison.data.table import Bools, Floats
from refocal.metrics import ranked

MOST = 0.15  # of the average precision may come from places that are a guess
_GUESS = 0.1  # squared: a standard deviation of about a third of the rows above


def guessed(scores: Floats, labels: Bools, rate: float | Floats, *, more: float = 1.0) -> float:
    """Return the share of average precision that comes from places whose precision is a guess.

    Args:
        scores: `(n,)`.
        labels: `(n,)`.
        rate: share of the negatives that was read, over that of the positives, above 0; or one for
            each row, `(n,)`, of which those of the positives are not looked at.
        more: the same, were so many times as many negatives read.
    """
    rates = np.broadcast_to(np.asarray(rate, dtype=np.float64), labels.shape)
    _, hits, above, precision = ranked(scores, labels, np.where(labels, 1.0, 1 / rates))
    then = np.minimum(rates * more, 1.0)
    each = (1.0 - then) / np.square(then)  # the variance of a row that is read by then
    read = ranked(scores, labels, np.where(labels, 0.0, each * then / rates)).flagged
    # one more, as none read is not none there
    spread = (read + each[~labels].max()) / np.square(above)
    mass = hits * precision
    return float(mass[spread > _GUESS].sum() / mass.sum())


def enough(scores: Floats, labels: Bools, rate: float | Floats) -> float:
    """Say how many times as many negatives would do; 1 where these do."""
    more, least = 1.0, float(np.min(rate))
    while least * more < 1.0 and guessed(scores, labels, rate, more=more) > MOST:
        more *= 1.25
    return max(min(more, 1 / least), 1.0)
