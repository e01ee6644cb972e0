"""Training, validation and test rows, once or several times."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from refocal.comparison.data.table import Integers, Table
from refocal.comparison.errors import CompareError, argument

FOLDS = 5  # one for test, one for validation, three for training
FEWEST = 10  # examples of each class: below, no split can measure anything

Splitting: TypeAlias = Literal["stratified", "grouped", "time", "grouped by time"]


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts."""

    train: Integers
    valid: Integers
    test: Integers

    def parts(self) -> dict[str, Integers]:
        """Return the parts by the names the report uses."""
        return {"training": self.train, "validation": self.valid, "test": self.test}

    def fingerprint(self) -> str:
        """Return a hash of the row numbers."""
        digest = hashlib.sha256()
        for rows in self.parts().values():
            digest.update(np.ascontiguousarray(rows, dtype=np.int64).tobytes())
        return digest.hexdigest()


def splitting(table: Table) -> Splitting:
    """Say how a table is split: by time or by groups if it has them, else at random."""
    if table.time is not None:
        return "time" if table.groups is None else "grouped by time"
    return "stratified" if table.groups is None else "grouped"


def splits(table: Table, *, repeats: int, seed: int) -> list[Split]:
    """Split a table 60 : 20 : 20, `repeats` times.

    At random, five splits share one shuffle and test on disjoint fifths, then a new shuffle
    begins; classes are spread evenly and groups stay whole. By time, the rows are cut into
    `repeats + 4` stretches: every split tests on one of the last, validates on the one before and
    trains on all before that. Rows of the same time stay together.

    By time and by groups, a group that reaches from one part of a split into another keeps its rows
    in one of them, and its other rows are in no part of this split. Which one is drawn as for a
    split by groups alone: of five groups three stay in training, one in validation and one in test,
    every time others. A group without rows there stays in its latest part.

    Raises:
        CompareError: too few examples of a class to have some in every part.
    """
    _check_classes(table)
    if table.time is None:
        found = [_shuffled(table, repeat, seed) for repeat in range(repeats)]
    else:
        found = _rolling(table, repeats)
        if table.groups is not None:
            found = [_whole(table, split, k, seed) for k, split in enumerate(found)]
    for split in found:
        _check_parts(table, split)
    return found


def _shuffled(table: Table, repeat: int, seed: int) -> Split:
    folds = _folds(table, repeat, seed)
    return Split(np.sort(np.concatenate(folds[2:])), folds[1], folds[0])


def _folds(table: Table, repeat: int, seed: int) -> list[Integers]:
    """Return five parts of the rows; the first is for test, the second for validation."""
    shuffle, turn = divmod(repeat, FOLDS)
    strata = table.strata()
    state = (seed + shuffle) % 2**32
    folder: StratifiedKFold | StratifiedGroupKFold
    if table.groups is None:
        folder = StratifiedKFold(FOLDS, shuffle=True, random_state=state)
    else:
        folder = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=state)
    folds = [rows for _, rows in folder.split(strata, strata, table.groups)]
    return folds[turn:] + folds[:turn]


def _whole(table: Table, split: Split, repeat: int, seed: int) -> Split:
    """Return the split with every group in one of its parts."""
    groups = table.groups
    if groups is None:
        raise TypeError("a table without groups has none to keep whole")
    parts = list(split.parts().values())
    _, number = np.unique(groups, return_inverse=True)
    here = np.zeros((number.max() + 1, len(parts)), dtype=bool)
    for part, rows in enumerate(parts):
        here[number[rows], part] = True
    drawn = np.zeros(len(here), dtype=np.int64)
    for fold, rows in enumerate(_folds(table, repeat, seed)):
        drawn[number[rows]] = (2, 1, 0)[min(fold, 2)]
    latest = here.shape[1] - 1 - here[:, ::-1].argmax(1)
    kept = np.where(here[np.arange(len(here)), drawn], drawn, latest)
    return Split(*(rows[kept[number[rows]] == part] for part, rows in enumerate(parts)))


def _rolling(table: Table, repeats: int) -> list[Split]:
    time = table.time
    if time is None:
        raise TypeError("a table without time has no order to roll along")
    order = np.argsort(time, kind="stable")
    stretches = repeats + FOLDS - 1
    # A cut inside a run of equal times moves to the start of the run.
    cuts = [round(table.rows * k / stretches) for k in range(1, stretches)]
    moved = np.searchsorted(time[order], time[order][cuts], side="left")
    blocks = np.split(order, moved)
    return [
        Split(
            np.sort(np.concatenate(blocks[: repeat + FOLDS - 2])),
            np.sort(blocks[repeat + FOLDS - 2]),
            np.sort(blocks[repeat + FOLDS - 1]),
        )
        for repeat in range(repeats)
    ]


def _check_classes(table: Table) -> None:
    counts = table.targets.sum(0)
    for name, count in zip(table.classes, counts, strict=True):
        if count < FEWEST:
            what = f"{count} positive examples ({table.target} is {name!r})"
            if table.kind != "binary":
                what = f"{count} examples of {name!r} in {table.target}"
            raise CompareError(
                f"{table.name} has {what}; training, validation and test together need at least"
                f" {FEWEST}." + ("" if table.kind == "binary" else " Merge or leave out the class.")
            )
        if table.rows - count < FEWEST:
            raise CompareError(
                f"{table.name} has {table.rows - count} negative examples ({table.target} is not"
                f" {name!r}); training, validation and test together need at least {FEWEST}."
            )


def _check_parts(table: Table, split: Split) -> None:
    for part, rows in split.parts().items():
        if len(rows) == 0 and table.time is not None:
            times = len(np.unique(table.time))
            raise CompareError(
                f"the {part} part of {table.name} has no row, as {argument('time_order')} has"
                f" {times:,} different {'value' if times == 1 else 'values'}. Use finer times, or"
                f" fewer {argument('repeats')}."
            )
        positives = table.targets[rows].sum(0)
        for name, count in zip(table.classes, positives, strict=True):
            if count in (0, len(rows)):
                which = "positive" if count == 0 else "negative"
                of = "" if table.kind == "binary" else f" of {name!r}"
                way_out = f"another {argument('seed')}"
                if table.time is not None:
                    way_out = f"fewer {argument('repeats')}"
                raise CompareError(
                    f"the {part} part of {table.name} has no {which} example{of}. Use more rows or"
                    f" {way_out}."
                )
