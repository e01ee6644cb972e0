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
    """A figure, or a difference, of one split.

    Attributes:
        value: of the figure.
        variance: what other test rows spread it by.
        with_all: what they would spread it by with every row of the table read.
    """

    value: float
    variance: float
    with_all: float


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
    sampled = _Rows(trained[0].scored.data.groups("test"), trained[0].scored.weights)
    base = baselines(trained)
    values: list[dict[str, Sample]] = [{} for _ in trained]
    gains: list[dict[str, Sample]] = [{} for _ in trained]
    pairs: dict[tuple[int, int], Sample] = {}
    for figure in figures:
        found = [figure.of(one.scored) for one in trained]
        for index, one in enumerate(found):
            values[index][figure.name] = sampled.sample(one.value, one.influence)
            if figure.compared:
                gains[index][figure.name] = sampled.paired(one, found[base[index]])
        if figure.name == MAIN:
            for pair in permutations(range(len(found)), 2):
                if base[pair[0]] == base[pair[1]]:
                    pairs[pair] = sampled.paired(found[pair[0]], found[pair[1]])
    return SplitFigures(values, gains, pairs)


def baselines(trained: Sequence[Trained]) -> list[int]:
    """Find, for each family, the number of its model's cross-entropy."""
    names = [one.model.name for one in trained]
    return [names.index(name) for name in names]


@dataclass(frozen=True)
class _Rows:
    """What the test rows of a split are a sample of.

    Attributes:
        groups: rows of one are drawn together; or None.
        weights: for how many rows of the table each stands; None for itself.
    """

    groups: Integers | None
    weights: Floats | None

    def sample(self, value: float, influence: Floats) -> Sample:
        variance = row_variance(influence, self.groups)
        if self.weights is None:
            return Sample(value, variance, variance)
        # w rows of influence i / w each, where one of influence i stands for them
        return Sample(value, variance, row_variance(influence / np.sqrt(self.weights), self.groups))

    def paired(self, one: Measure, other: Measure) -> Sample:
        return self.sample(one.value - other.value, one.influence - other.influence)


def columns(samples: Sequence[Sample]) -> tuple[Floats, Floats]:
    """Return values and row variances over splits, `(R,)` each."""
    return (
        np.array([sample.value for sample in samples]),
        np.array([sample.variance for sample in samples]),
    )
