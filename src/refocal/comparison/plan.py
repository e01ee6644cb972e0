"""What a comparison is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from refocal.comparison.data.splits import FOLDS
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.training.models import QUICK, Effort, Model
from refocal.comparison.training.settings import Axis


@dataclass(frozen=True)
class Costs:
    """What decisions cost, and the operating points that the report looks at.

    Attributes:
        miss: cost of a missed positive, in false alarms.
        precision: the precision at which recall is measured.
        recall: the recall at which precision is measured.
        top: how many rows with the highest scores are looked at; None for as many as there are
            positives in the test part.
    """

    miss: float = 10.0
    precision: float = 0.5
    recall: float = 0.8
    top: int | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that decides the results besides the table and the models.

    Attributes:
        seed: of the splits, the weights, the order of the rows and bagging.
        quick: one loss of each family, one setting, little training, one split: no verdict.
        repeats: how many splits; None for five, which test on every row once. With one no verdict
            is firm.
        epochs: the longest schedule of a network; None for the default.
        margin: the smallest difference in average precision worth having; None for 5 % of what
            there is to gain or to lose.
        costs: the operating points.
        trials: of the search, for each family of losses of each model on each split; 0 for none.
        storage: of the search, for Optuna; None for a file in the output folder.
        smote: whether synthetic rows of the rarer classes compete among the other remedies.
        cluster: address of a Dask scheduler, as "tcp://HOST:PORT", on whose workers to train; None
            for this process, or wherever `joblib.parallel_config` says. The results are the same.
    """

    seed: int = 0
    quick: bool = False
    repeats: int | None = None
    epochs: int | None = None
    margin: float | None = None
    costs: Costs = Costs()
    trials: int = 0
    storage: str | None = None
    smote: bool = False
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.repeats is not None and self.repeats < 1:
            raise CompareError(f"{argument('repeats')} must be 1 or more, got {self.repeats}.")
        if self.margin is not None and not 0 < self.margin < 1:
            raise CompareError(
                f"{argument('margin')} must be between 0 and 1, in average precision, got"
                f" {self.margin:g}."
            )

    @property
    def splits(self) -> int:
        """How many there are."""
        return self.repeats or (1 if self.quick else FOLDS)

    @property
    def effort(self) -> Effort:
        """How long one training may take."""
        effort = QUICK if self.quick else Effort()
        if self.epochs is None:
            return effort
        short = () if self.quick else (max(1, self.epochs // 3),)
        return replace(effort, epochs=tuple(sorted({*short, self.epochs})))

    def axes_for(self, model: Model) -> Mapping[str, Axis]:
        """Return the grid of a model: its own, or its middle alone for a quick look."""
        axes = dict(model.axes)
        if "epochs" in axes:
            epochs = tuple(float(epoch) for epoch in self.effort.epochs)
            axes["epochs"] = replace(axes["epochs"], values=epochs, central=epochs[0])
        if self.quick:
            axes = {
                name: replace(axis, values=(axis.central,), factor=None)
                for name, axis in axes.items()
            }
        return axes

    def seed_of(self, split: int, start: int) -> int:
        """Return the seed of one training: another on every split, the same for every loss."""
        sequence = np.random.SeedSequence([self.seed, split, start])
        return int(sequence.generate_state(1)[0] % 2**31)
