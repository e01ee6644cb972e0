"""Which loss and which setting a family is judged by, on each split: picked on its validation rows.

Every family gets equally many trainings. Cross-entropy is one loss and spends them on rates,
regularisation and starts; focal loss spends them on alpha and gamma first and then on the settings
of its best two. On a large table the field is tried on a part of the training rows and halved on
the way to all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

import numpy as np

from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import Split
from refocal.comparison.data.table import Integers
from refocal.comparison.plan import Plan
from refocal.comparison.training.losses import Family, Loss
from refocal.comparison.training.models import Fit, Model
from refocal.comparison.training.settings import Axis, Setting, central, grid_points
from refocal.comparison.training.store import key_of

_VERSION = version("refocal")
OPENING, SECOND = 12, 6  # trainings of a family: the first look, and around the best of it
SECOND_LINEAR = 12  # a converged linear model is cheap, and its ridge is all there is to tune
WIDENINGS = 3
# A part of the training rows is looked at first where it is this many rows and positives at least.
_PART_ROWS, _PART_POSITIVES, _PART = 4096, 200, 32  # the last: one in so many
_LARGER = 8  # one row in so many, on the way to all of them
_KEPT = (2, 1)  # of a family, on a larger part and on all rows


@dataclass(frozen=True)
class Entry:
    """What is trained: one model under one loss."""

    model: Model
    loss: Loss


@dataclass(frozen=True)
class Training:
    """One training of an entry.

    Attributes:
        entry: model and loss.
        setting: the point of the grid.
        split: number of the split, which decides the seed.
    """

    entry: Entry
    setting: Setting
    split: int

    def name(self, axes: Mapping[str, Axis]) -> str:
        """Return name the training in progress lines."""
        setting = self.setting.words(axes)
        return f"{self.entry.model.name}, {self.entry.loss.name}, {setting}"

    def seed(self, plan: Plan) -> int:
        """Return the seed of the start, the order of the rows and bagging."""
        return plan.seed_of(self.split, self.setting.start)

    def key(self, data: Prepared, plan: Plan) -> str:
        """Return the key under which the store keeps its fit."""
        model, loss = self.entry.model, self.entry.loss
        effort = asdict(plan.effort)
        of_trees = {name: effort[name] for name in ("rounds", "patience")}
        drawn = loss.synthetic is not None
        return key_of(
            version=_VERSION,
            table=data.table.fingerprint(),
            split=data.split.fingerprint(),
            model=model.identity(data, self.seed(plan)),
            alpha=loss.alpha,
            gamma=loss.gamma,
            link=loss.link,
            prior_bias=loss.prior_bias,
            setting=self.setting.values,
            seed=self.seed(plan) if model.starts or drawn else 0,
            **({} if model.network else of_trees),
            **({"synthetic": loss.synthetic} if drawn else {}),
        )


@dataclass
class Contest:
    """One family of one model on one split, and what its trainings reached so far."""

    model: Model
    family: Family
    axes: Mapping[str, Axis]
    split: int
    reached: dict[Training, float] = field(default_factory=dict)
    converged: dict[Training, bool] = field(default_factory=dict)
    widened: set[str] = field(default_factory=set)

    def training(self, loss: Loss, setting: Setting) -> Training:
        """Make a training of this contest."""
        return Training(Entry(self.model, loss), setting, self.split)

    def take(self, trainings: Iterable[Training], fits: Iterable[Fit]) -> None:
        """Remember what trainings reached."""
        for training, fit in zip(trainings, fits, strict=True):
            self.reached[training] = fit.score
            self.converged[training] = fit.converged

    def ranked(self, among: Iterable[Training] | None = None) -> list[Training]:
        """Sort trainings, the best first; of equals the one that was tried first."""
        tried = list(self.reached if among is None else among)
        return sorted(tried, key=lambda one: -self.reached[one])

    # --- what to try -------------------------------------------------------------------------

    def opening(self, quick: bool, *, part: bool = False) -> list[Training]:
        """Take the first look: every loss, and as many settings of each as there are trainings.

        Args:
            quick: one setting of each loss.
            part: it is a look at a part of the rows, which says little of how long to train on all
                of them: long schedules are tried once.
        """
        if quick:
            return [self.training(loss, central(self.axes)) for loss in self.family.losses]
        each = max(1, OPENING // len(self.family.losses))
        points = grid_points(self.axes, each, sparing=part)
        return [self.training(loss, point) for loss in self.family.losses for point in points][
            :OPENING
        ]

    def second(self) -> list[Training]:
        """Look around the best two: at settings where each loss had one, else at other starts."""
        count = SECOND if self.model.starts else SECOND_LINEAR
        half = count // 2
        if len(self.family.losses) >= OPENING:
            best = list(dict.fromkeys(one.entry.loss for one in self.ranked()))[:2]
            points = grid_points(self.axes, half + 1)[1:]
            return [self.training(loss, one) for loss in best for one in points]
        return [
            self.training(one.entry.loss, point)
            for one in self.ranked()[:2]
            for point in self._near(one.setting, half)
        ]

    def _near(self, setting: Setting, count: int) -> list[Setting]:
        if self.model.starts:
            taken = max(one.setting.start for one in self.reached)
            return [setting.with_start(taken + k + 1) for k in range(count)]
        ((name, value),) = setting.values
        powers = np.linspace(-0.4, 0.4, count + 1)
        finer = [float(f"{value * 10**power:.3g}") for power in powers if abs(power) > 1e-9]
        return [setting.with_value(name, one) for one in finer[:count]]

    def wider(self) -> list[Training]:
        """Return one more training beyond every end of the grid that the best of this family lies
        at.
        """
        best = self.ranked()[0]
        found = []
        for name, value in self.at_edges(best).items():
            self.widened.add(name)
            found.append(self.training(best.entry.loss, best.setting.with_value(name, value)))
        return [one for one in found if one not in self.reached]

    def at_edges(self, training: Training) -> dict[str, float]:
        """Return the axes at whose end a training lies, and what to try next there."""
        found = {}
        for name, value in training.setting.values:
            axis = self.axes[name]
            beyond = axis.beyond(value, {one.setting[name] for one in self.reached})
            if beyond is not None:
                found[name] = beyond
        return found

    # --- what came of it -----------------------------------------------------------------------

    def findings(self, picked: Training) -> list[str]:
        """Return what a reader must know of how this pick ended."""
        found = [
            f"{self.axes[name].words} {picked.setting[name]:g} is the end of its grid"
            for name in self.at_edges(picked)
        ]
        if not self.converged[picked]:
            found.append("it did not end by its own criterion")
        return found


@dataclass(frozen=True)
class Picked:
    """What a family is judged by on one split.

    Attributes:
        training: loss and setting.
        fit: its logits.
        trained: how many trainings it was picked from.
        findings: of its end.
    """

    training: Training
    fit: Fit
    trained: int
    findings: tuple[str, ...]


def rungs(data: Prepared, seed: int, *, quick: bool) -> list[Prepared]:
    """Return the same split with a part of its training rows, then larger parts, then all of them.

    Parts are drawn at random, one inside the other. Where a part would hold few positives, or the
    table is small, there is no rung but the last.
    """
    train = data.split.train
    rarest = min(data.base_rates)
    first = max(_PART_ROWS, round(_PART_POSITIVES / rarest), len(train) // _PART)
    if quick or 4 * first > len(train):
        return [data]
    order = np.random.default_rng([seed, 1]).permutation(len(train))
    larger = len(train) // _LARGER
    sizes = [first, larger] if larger >= 2 * first else [first]
    return [*(_part(data, np.sort(order[:size])) for size in sizes), data]


def _part(data: Prepared, rows: Integers) -> Prepared:
    """Return a split with some of its training rows, encoded as the whole, to test nothing on."""
    split = Split(data.split.train[rows], data.split.valid, data.split.test[:1])
    part = Prepared(data.table, split)
    part.__dict__.update(train=data.train[rows], valid=data.valid, test=data.test[:1])
    part.__dict__["blocks"] = data.blocks
    return part


def kept_on(rung: int, count: int) -> int:
    """Say how many of a family are trained on a rung after the first."""
    return _KEPT[-1] if rung == count - 1 else _KEPT[0]


def planned(contests: Sequence[Contest], count: int, *, quick: bool) -> list[int]:
    """Say how many trainings each rung will see, if no grid is widened."""
    first = 0
    for contest in contests:
        first += len(contest.opening(quick))
        if not quick:
            first += SECOND if contest.model.starts else SECOND_LINEAR
    return [first, *(len(contests) * kept_on(rung, count) for rung in range(1, count))]
