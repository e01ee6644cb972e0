"""Which rows of a table that is too large are read: as many of each class as there is room for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from refocal.comparison.data.memory import Memory
from refocal.comparison.data.table import Integers
from refocal.comparison.data.targets import Targets
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.results import Finding, Sampling

FEWEST = 100  # rows: with fewer, nothing could be measured
_MOST = 1_000_000
_SEED = 0  # the same rows every time, whatever the seed of the comparison


def draw(found: Targets, rows: int) -> tuple[Integers, Sampling | None]:
    """Choose rows at random within each class: the rarer whole where it takes no more than half.

    Args:
        found: the targets of the whole table.
        rows: how many to choose, at most.

    Returns:
        Row numbers of the file, rising, all of them with a target; and what share they are, None
        where they are all.

    Raises:
        CompareError: the task is not binary, where no closed form would give the probabilities of
            the whole table back.
    """
    known = np.flatnonzero(found.known)
    if len(known) <= rows:
        return known, None
    if found.kind != "binary":
        raise CompareError(
            f"{argument('rows')} reads a share of the negatives, and this target has"
            f" {len(found.classes)} classes. Name one of them with {argument('positive')}, or take"
            " a sample of the rows first."
        )
    positive = found.matrix[:, 0]
    counts = [int((~positive).sum()), int(positive.sum())]
    taken = [min(count, rows // 2) for count in counts]
    for k in (1, 0):  # room that the other class leaves
        taken[k] = min(counts[k], rows - taken[1 - k])
    random = np.random.default_rng(_SEED)
    chosen = [
        random.choice(members, size, replace=False, shuffle=False)
        for members, size in zip((known[~positive], known[positive]), taken, strict=True)
    ]
    sampling = Sampling(
        rows=len(known),
        positives=counts[1],
        positives_read=taken[1] / counts[1],
        negatives_read=taken[0] / counts[0],
    )
    return np.sort(np.concatenate(chosen)), sampling


def most_rows(rows: int, memory: Memory) -> int:
    """Return how many rows of a table that is too large are read where nobody says: a million, or
    what half of the memory holds, with one digit.

    Args:
        rows: of the table.
        memory: what it would take, and what there is.
    """
    room = rows * memory.available / (2 * memory.needed)
    digit = 10 ** math.floor(math.log10(max(room, 1.0)))
    return max(FEWEST, min(_MOST, int(room // digit * digit)))


def check_rows(rows: Any) -> None:
    """Refuse what is no number of rows, or too few.

    Raises:
        CompareError: with the way out.
    """
    whole = isinstance(rows, int | np.integer) and not isinstance(rows, bool)
    if not whole or rows < FEWEST:
        raise CompareError(
            f"{argument('rows')} must be a whole number of at least {FEWEST}, got {rows!r}."
        )


def of_rows(found: Targets, rows: Integers) -> Targets:
    """Return the targets of some of the rows that have one."""
    places = np.searchsorted(np.flatnonzero(found.known), rows)
    return replace(found, matrix=found.matrix[places], known=np.ones(len(rows), dtype=bool))


def say_read(sampling: Sampling, why: str = "") -> Finding:
    """Say which share of the rows was read."""
    negatives = sampling.rows - sampling.positives
    parts = [
        _share(sampling.positives_read, sampling.positives, "positives"),
        _share(sampling.negatives_read, negatives, "negatives"),
    ]
    return Finding(
        "sampled",
        "warning" if why else "note",
        f"{why}{parts[0]} and {parts[1]} were read. Rates, probabilities, costs and figures are"
        " those of the whole table.",
        f"Read more with {argument('rows')}: what that would narrow the intervals by stands beside"
        " the answer.",
    )


def _share(read: float, count: int, what: str) -> str:
    if read == 1:
        return f"All {count:,} {what}" if what == "positives" else f"all {count:,} {what}"
    return f"{round(read * count):,} of {count:,} {what}"
