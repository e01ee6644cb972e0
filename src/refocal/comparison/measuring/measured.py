"""The figures of every family on one split, and what is kept of them for all splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from refocal.comparison.data.table import Floats, Integers
from refocal.comparison.measuring.figures import MAIN, Figure
from refocal.comparison.measuring.influence import Measure, row_variance
from refocal.comparison.measuring.scored import Scored
from refocal.comparison.training.losses import Family
from refocal.comparison.training.models import Model
from refocal.comparison.training.tuning import Picked


@dataclass(frozen=True)
class Trained:
    """What a family is judged by on one split.

    Attributes:
        model: which.
        family: which.
        picked: loss, setting and how they ended.
        scored: its logits against the labels.
    """

    model: Model
    family: Family
    picked: Picked
    scored: Scored


@dataclass(frozen=True)
class Sample:
    """A figure, or a difference, of one split: its value, and what other test rows spread it by."""

    value: float
    variance: float


@dataclass(frozen=True)
class SplitFigures:
    """Of one split.

    Attributes:
        figures: by family and name.
        gains: paired differences from the same model's cross-entropy, by family and name.
        pairs: paired differences in average precision, by the two families.
    """

    figures: list[dict[str, Sample]]
    gains: list[dict[str, Sample]]
    pairs: dict[tuple[int, int], Sample]


def measure(trained: Sequence[Trained], figures: Sequence[Figure]) -> SplitFigures:
    """Return every figure of every family on one split.

    Args:
        trained: the families of all models, cross-entropy the first of each model.
        figures: what to measure.
    """
    groups = trained[0].scored.data.groups("test")
    base = baselines(trained)
    values: list[dict[str, Sample]] = [{} for _ in trained]
    gains: list[dict[str, Sample]] = [{} for _ in trained]
    pairs: dict[tuple[int, int], Sample] = {}
    for figure in figures:
        found = [figure.of(one.scored) for one in trained]
        for index, one in enumerate(found):
            values[index][figure.name] = _sample(one, None, groups)
            if figure.compared:
                gains[index][figure.name] = _sample(one, found[base[index]], groups)
        if figure.name == MAIN:
            for pair in permutations(range(len(found)), 2):
                if base[pair[0]] == base[pair[1]]:
                    pairs[pair] = _sample(found[pair[0]], found[pair[1]], groups)
    return SplitFigures(values, gains, pairs)


def baselines(trained: Sequence[Trained]) -> list[int]:
    """Find, for each family, the number of its model's cross-entropy."""
    names = [one.model.name for one in trained]
    return [names.index(name) for name in names]


def _sample(one: Measure, other: Measure | None, groups: Integers | None) -> Sample:
    if other is None:
        return Sample(one.value, row_variance(one.influence, groups))
    return Sample(one.value - other.value, row_variance(one.influence - other.influence, groups))


def columns(samples: Sequence[Sample]) -> tuple[Floats, Floats]:
    """Return values and row variances over splits, `(R,)` each."""
    return (
        np.array([sample.value for sample in samples]),
        np.array([sample.variance for sample in samples]),
    )
