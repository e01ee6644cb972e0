"""What a comparison is asked to do, and the trainings that follow from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from refocal import __version__
from refocal.compare.candidates import Candidate
from refocal.compare.data.prepare import Prepared
from refocal.compare.models import QUICK, Effort, Model
from refocal.compare.store import key_of

# Five splits for tables whose trainings take a second, one where a training takes many.
_SMALL, _LARGE = 20_000, 60_000


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
        seed: of the splits, the weights, the order of the rows and the resamples.
        quick: one learning rate, little training, fewer losses.
        repeats: how many splits; None for a number that keeps the default run short.
        epochs: the most passes of a network over the training rows; None for the default.
        resamples: bootstrap resamples where there is one split.
        costs: the operating points.
        trials: of the search, for each family of losses of each model; 0 for none.
        storage: of the search, for Optuna; None for a file in the output folder.
    """

    seed: int = 0
    quick: bool = False
    repeats: int | None = None
    epochs: int | None = None
    resamples: int = 300
    costs: Costs = Costs()
    trials: int = 0
    storage: str | None = None

    @property
    def effort(self) -> Effort:
        """How long one training may take."""
        effort = QUICK if self.quick else Effort()
        return effort if self.epochs is None else replace(effort, epochs=self.epochs)

    def repeats_for(self, rows: int) -> int:
        """How many splits a table of so many rows gets."""
        if self.repeats is not None:
            return self.repeats
        if self.quick:
            return 1
        return 5 if rows <= _SMALL else 3 if rows <= _LARGE else 1

    def rates_for(self, model: Model) -> tuple[float, ...]:
        """The learning rates each loss chooses from."""
        return model.rates[1:2] if self.quick else model.rates


@dataclass(frozen=True)
class Training:
    """One training of the plan."""

    model: Model
    candidate: Candidate
    rate: float

    @property
    def name(self) -> str:
        """For progress lines."""
        return f"{self.model.name}, {self.candidate.name}, learning rate {self.rate:g}"

    def key(self, data: Prepared, plan: Plan) -> str:
        """Where the store keeps it."""
        effort = asdict(plan.effort)
        effort.pop("rounds" if self.model.network else "epochs")
        return key_of(
            version=__version__,
            table=data.table.fingerprint(),
            split=data.split.fingerprint(),
            model=self.model.identity(data, plan.seed),
            alpha=self.candidate.alpha,
            gamma=self.candidate.gamma,
            link=self.candidate.link,
            prior_bias=self.candidate.prior_bias,
            rate=self.rate,
            seed=plan.seed,
            **effort,
        )
