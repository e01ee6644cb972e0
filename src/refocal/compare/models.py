"""The models that `--model` names, and your own: each trains under any candidate loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from refocal.compare.candidates import Candidate
from refocal.compare.data.prepare import Prepared
from refocal.compare.data.table import Bools, Floats
from refocal.compare.errors import CompareError
from refocal.compare.links import log_odds
from refocal.digits import average_precision

NAMES = ("mlp", "logistic", "xgboost", "lightgbm", "catboost")


@dataclass(frozen=True)
class Effort:
    """How long one training may take.

    Attributes:
        epochs: the most passes over the training rows of a network.
        rounds: the most trees of a boosted model.
        patience: epochs without a smaller validation loss before a network stops; trees wait for
            `5 * patience` rounds.
    """

    epochs: int = 40
    rounds: int = 300
    patience: int = 3


QUICK = Effort(epochs=4, rounds=40)


@dataclass(frozen=True)
class Fit:
    """What a training leaves: its logits at the best step, and how validation went.

    Attributes:
        valid_logits: `(n, K)` float32.
        test_logits: `(n, K)` float32.
        curve: the validation score after each epoch, or for trees at the end alone.
        steps: epochs or rounds of the best step.
    """

    valid_logits: Floats
    test_logits: Floats
    curve: tuple[float, ...]
    steps: int

    @property
    def score(self) -> float:
        """Validation score at the best step: mean average precision over the classes."""
        return self.curve[min(self.steps, len(self.curve)) - 1]


Report = Callable[[int, float], None]


class Model(Protocol):
    """Something that can be trained under any candidate."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    @property
    def network(self) -> bool:
        """Whether it is a torch network, with epochs and a last bias."""

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that each loss chooses from."""

    def identity(self, data: Prepared, seed: int) -> str:
        """Text that changes when the same training would give another result."""

    def supports(self, candidate: Candidate) -> bool:
        """Whether this model can be trained with this loss."""

    def fit(
        self,
        candidate: Candidate,
        rate: float,
        data: Prepared,
        effort: Effort,
        *,
        seed: int,
        report: Report,
    ) -> Fit:
        """Train once. `report` is called with a step and its score, and may raise to stop."""


def by_name(names: Iterable[str]) -> list[Model]:
    """The models with these names, each once.

    Raises:
        CompareError: a name that is not one of `NAMES`.
        ImportError: the package of a model is not installed.
    """
    from refocal.compare.networks import Network, hidden_layers
    from refocal.compare.trees import Trees

    made: dict[str, Model] = {}
    for name in names:
        if name in ("mlp", "logistic"):
            widths = (64, 32) if name == "mlp" else ()
            made[name] = Network(name, hidden_layers(*widths))
        elif name in NAMES:
            made[name] = Trees(name)
        else:
            raise CompareError(f"there is no model {name!r}. Choose from: {', '.join(NAMES)}.")
    return list(made.values())


def validation_score(candidate: Candidate, logits: Floats, labels: Bools) -> float:
    """Average precision, averaged over the classes: what learning rates are chosen by."""
    scores = log_odds(candidate, torch.from_numpy(np.asarray(logits, dtype=np.float64))).numpy()
    if not np.isfinite(scores).all():
        return 0.0  # a training that diverged
    return mean_average_precision(scores, labels)


def mean_average_precision(scores: Any, labels: Bools) -> float:
    """The mean over the columns of `(n, K)` scores."""
    each = [average_precision(scores[:, k], labels[:, k]) for k in range(labels.shape[1])]
    return float(np.mean(each))
