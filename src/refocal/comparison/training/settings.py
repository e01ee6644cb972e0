"""What of a training is tuned beside its loss: the axes of a model's grid, and points on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Axis:
    """One hyperparameter.

    Attributes:
        values: the grid, rising.
        central: what is tried where nothing else is known.
        factor: to the next value beyond an end of the grid; None where the grid does not grow.
        lowest: of a widened grid. An optimum that lies here is no finding: less of it is none.
        highest: of a widened grid.
        whole: whether it is a count.
        costly: whether a training takes longer off the centre of this axis.
        words: for people.
    """

    values: tuple[float, ...]
    central: float
    words: str
    factor: float | None = None
    lowest: float = 0.0
    highest: float = float("inf")
    whole: bool = False
    costly: bool = False

    def beyond(self, value: float, tried: set[float]) -> float | None:
        """Return the value to try next where the best of those tried lies at their end; None
        inside.
        """
        if self.factor is None or len(tried) < 2:
            return None
        wider = None
        if value >= max(tried):
            wider = value * self.factor
        elif value <= min(tried):
            wider = value / self.factor
        if wider is not None and self.whole:
            wider = float(round(wider))
        if wider is None or not self.lowest <= wider <= self.highest:
            return None
        return float(f"{wider:.3g}")


@dataclass(frozen=True)
class Setting:
    """A point of the grid: values by name of the axis, and which of several starts.

    A start decides the first weights, the order of the rows and bagging.
    """

    values: tuple[tuple[str, float], ...]
    start: int = 0

    def __getitem__(self, name: str) -> float:
        return dict(self.values)[name]

    def with_value(self, name: str, value: float) -> Setting:
        """Return the same point elsewhere on one axis."""
        return Setting(
            tuple((key, value if key == name else old) for key, old in self.values), self.start
        )

    def with_start(self, start: int) -> Setting:
        """Return the same point from another start."""
        return Setting(self.values, start)

    def words(self, axes: Mapping[str, Axis]) -> str:
        """Write the point for people."""
        text = ", ".join(f"{axes[name].words} {value:g}" for name, value in self.values)
        return text + (f", start {self.start + 1}" if self.start else "")


def central(axes: Mapping[str, Axis]) -> Setting:
    """Return the middle of the grid."""
    return Setting(tuple((name, axis.central) for name, axis in axes.items()))


def grid_points(axes: Mapping[str, Axis], count: int, *, sparing: bool = False) -> list[Setting]:
    """Choose so many points of the grid, the middle first, then those that differ from it in least.

    Where the grid has fewer, what is left goes to other starts.

    Args:
        axes: of the grid.
        count: of points.
        sparing: a value that takes longer is tried once, with the middle of all else.
    """
    middle = central(axes)
    if len(axes) == 1:
        ((name, axis),) = axes.items()
        others = [value for value in axis.values if value != axis.central]
        even = np.unique(np.linspace(0, len(others) - 1, max(count - 1, 0)).round().astype(int))
        ordered = [middle, *(middle.with_value(name, others[k]) for k in even if others)]
        return [ordered[k % len(ordered)].with_start(k // len(ordered)) for k in range(count)]
    every = [
        Setting(tuple(zip(axes, values, strict=True)))
        for values in product(*(axis.values for axis in axes.values()))
    ]

    def away(one: Setting) -> int:
        return sum(a != b for (_, a), (_, b) in zip(one.values, middle.values, strict=True))

    def costs(one: Setting) -> bool:
        return any(axis.costly and one[name] != axis.central for name, axis in axes.items())

    ordered = sorted(every, key=away)
    again = ordered
    if sparing:
        again = [one for one in ordered if not costs(one)]
        ordered = [one for one in ordered if not costs(one) or away(one) == 1]
    more = max(count - len(ordered), 0)
    starts = [again[k % len(again)].with_start(1 + k // len(again)) for k in range(more)]
    return [*ordered[:count], *starts]
