"""Which rows of a table that is too large are read: as many of each class as there is room for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from refocal.comparison.data.cells import listed
from refocal.comparison.data.memory import Memory
from refocal.comparison.data.table import Integers, class_index
from refocal.comparison.data.targets import Targets
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.results import Finding, Sampling

FEWEST = 100  # rows: with fewer, nothing could be measured
_MOST = 1_000_000
_SEED = 0  # the same rows every time, whatever the seed of the comparison


def draw(found: Targets, rows: int) -> tuple[Integers, Sampling | None]:
    """Choose rows at random within each class, as many of each as there are or there is room for:
    the rarer of two classes whole where it takes no more than half.

    Args:
        found: the targets of the whole table.
        rows: how many to choose, at most.

    Returns:
        Row numbers of the file, rising, all of them with a target; and what share they are, None
        where they are all.

    Raises:
        CompareError: the labels do not exclude each other. Rows that have one also have others,
            and no closed form would give the probabilities of the whole table back.
    """
    known = np.flatnonzero(found.known)
    if len(known) <= rows:
        return known, None
    if found.kind == "multilabel":
        raise CompareError(
            f"{argument('rows')} reads a share of the rows of each class, and the"
            f" {len(found.classes)} labels of this target share rows. Name one column as"
            f" {argument('target')}, or take a sample of the rows first."
        )
    index = class_index(found.matrix)
    counts = np.bincount(index)
    taken = shared(counts, rows)
    random = np.random.default_rng(_SEED)
    chosen = [
        random.choice(known[index == k], size, replace=False, shuffle=False)
        for k, size in enumerate(taken)
    ]
    sampling = Sampling(counts.tolist(), (taken / counts).tolist())
    return np.sort(np.concatenate(chosen)), sampling


def shared(counts: Integers, room: int) -> Integers:
    """Share room out among classes as evenly as their counts allow: what one leaves, others take.

    Args:
        counts: rows of each class.
        room: in all, less than there are rows.
    """
    taken = np.zeros_like(counts)
    for left, k in zip(range(len(counts), 0, -1), np.argsort(counts, kind="stable"), strict=True):
        taken[k] = min(counts[k], room // left)
        room -= int(taken[k])
    return taken


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


def say_read(sampling: Sampling, classes: Sequence[str], why: str = "") -> Finding:
    """Say which share of the rows was read.

    Args:
        sampling: of each class.
        classes: their names; of a binary task that of the positive one.
        why: a sentence that leads to it, which makes a warning of it.
    """
    several = sampling.several
    names = list(classes) if several else ["negatives", "positives"]
    part, whole = [], []
    for name, count, read in zip(names, sampling.counts, sampling.read, strict=True):
        if read == 1:
            whole.append(name)
        else:
            of = f" rows of {name!r}" if several else f" {name}"
            part.append(f"{round(read * count):,} of {count:,}{of}")
    every = []
    if whole:
        every = [f"all rows of {listed(whole)}" if several else f"all {whole[0]}"]
    text = " and ".join([*every, ", ".join(part)])
    return Finding(
        "sampled",
        "warning" if why else "note",
        f"{why}{text[0].upper()}{text[1:]} were read. Rates, probabilities, costs and figures are"
        " those of the whole table.",
        f"Read more with {argument('rows')}: what that would narrow the intervals by stands beside"
        " the answer.",
    )
