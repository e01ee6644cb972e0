"""Synthetic rows of the rarer classes: points between a row and a neighbour of its class (SMOTE).

A category cannot lie between two others. As in SMOTE-NC a synthetic row has the one that most of
the neighbours have, and two rows that differ in it are as far apart as the median of the standard
deviations of the numbers. So it is with every input of two values: what is yes or no stays so.

References:
    Chawla, Bowyer, Hall, Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", Journal
    of Artificial Intelligence Research 16, 2002.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from sklearn.neighbors import NearestNeighbors

from refocal.comparison.data.table import Bools, Floats, Integers

NEIGHBOURS = 5
# Rows of a class among which neighbours are looked for: of more, so many at random. Every row
# against every other one would take longer than the training.
_AMONG = 5_000

# the inputs of one category: the first, and the one behind the last
Block: TypeAlias = tuple[int, int]
Weights: TypeAlias = float | tuple[float, ...] | None


def filled_counts(counts: Integers, alpha: Weights) -> Integers:
    """Return how many rows of each class there are with the synthetic ones.

    Args:
        counts: of each class; of a binary task negatives, then positives.
        alpha: class weights as a loss takes them, a number for positives against negatives, or one
            for each class: there are made until there are as many as so weighed. None for none.
    """
    if alpha is None:
        return counts
    share = [1 - alpha, alpha] if isinstance(alpha, float) else list(alpha)
    filled: Integers = np.rint(counts * np.array(share) / min(share)).astype(np.int64)
    return filled


@dataclass(frozen=True)
class Kin:
    """The rows of one class, with their neighbours.

    Attributes:
        members: `(m,)` row numbers.
        near: `(m, k)` row numbers of the neighbours of each, k at most 5; a lonely row has itself.
        nominal: `(D,)`, the inputs that are no numbers.
        usual: `(m, D)`, what most of the neighbours have there.
    """

    members: Integers
    near: Integers
    nominal: Bools
    usual: Floats


def kin_of(features: Floats, members: Integers, blocks: Sequence[Block]) -> Kin:
    """Find the neighbours of rows among each other.

    Args:
        features: `(n, D)`, numbers in units of their standard deviations.
        members: `(m,)`, rows of one class.
        blocks: inputs that are one category; what else has two values is one, too.
    """
    categories = list(_categories(features, blocks))
    near = _nearest(_scaled(features, members, categories), members)
    nominal = np.zeros(features.shape[1], dtype=bool)
    usual = features[members]
    for first, end in categories:
        nominal[first:end] = True
        said = features[near, first:end].mean(1)
        if end - first == 1:
            low, high = features[:, first].min(), features[:, first].max()
            usual[:, first:end] = np.where(said > (low + high) / 2, high, low)
        else:
            usual[:, first:end] = np.eye(end - first, dtype=usual.dtype)[said.argmax(1)]
    return Kin(members, near, nominal, usual)


def _nearest(scaled: Floats, members: Integers) -> Integers:
    """Return the row numbers of the neighbours of rows `(m, D)` with these numbers."""
    count = min(NEIGHBOURS, len(members) - 1)
    if count < 1:
        return members[:, None]
    among = members
    if len(members) > _AMONG:
        chosen = np.random.default_rng(0).choice(len(members), _AMONG, replace=False)
        among = members[np.sort(chosen)]
    finder = NearestNeighbors(n_neighbors=count + 1, algorithm="brute")
    finder.fit(scaled[np.searchsorted(members, among)])
    near = among[finder.kneighbors(scaled, return_distance=False)]
    # a row is its own nearest; of equal ones another may come first
    other = near != members[:, None]
    other[other.all(1), -1] = False
    found: Integers = near[other].reshape(len(members), count)
    return found


def synthetic(features: Floats, kin: Kin, count: int, random: np.random.Generator) -> Floats:
    """Return `(count, D)` rows between rows of a class and their neighbours.

    Every row of the class is taken in turn, in an order that is drawn.

    Args:
        features: `(n, D)` float32, as `kin_of` had them.
        kin: of the class; copies of its only row where it has one.
        count: of rows.
        random: what is drawn from.
    """
    turns = random.permutation(len(kin.members))
    base = np.resize(turns, count)
    rows = features[kin.members[base]]
    toward = kin.near[base, random.integers(kin.near.shape[1], size=count)]
    made = rows + random.random((count, 1), dtype=np.float32) * (features[toward] - rows)
    made[:, kin.nominal] = kin.usual[:, kin.nominal][base]
    return made


def _categories(features: Floats, blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield the inputs that are no numbers: blocks, and single ones of two values."""
    yield from blocks
    inside = {column for first, end in blocks for column in range(first, end)}
    for column in range(features.shape[1]):
        values = features[:, column]
        if column not in inside and ((values == values.min()) | (values == values.max())).all():
            yield column, column + 1


def _scaled(features: Floats, members: Integers, nominal: Sequence[Block]) -> Floats:
    """Return the rows of a class with categories as far apart as SMOTE-NC has them."""
    rows = features[members]
    numbers = np.ones(rows.shape[1], dtype=bool)
    for first, end in nominal:
        numbers[first:end] = False
    apart = float(np.median(rows[:, numbers].std(0))) if numbers.any() else 1.0
    for first, end in nominal:
        if end - first == 1:
            span = float(np.ptp(features[:, first]))
            rows[:, first] *= apart / span if span else 0.0
        else:  # two inputs differ by 1 each
            rows[:, first:end] *= apart / np.sqrt(2.0)
    return rows
