"""What a model is to the comparison: something that trains under any candidate loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.table import Floats
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.scores import log_odds, of_table
from refocal.comparison.training.settings import Axis, Setting
from refocal.metrics import average_precision


@dataclass(frozen=True)
class Effort:
    """How long one training may take.

    Attributes:
        epochs: schedules of a network: passes over the training rows until the rate is 0.
        rounds: the most trees of a boosted model.
        patience: rounds without a smaller validation loss before trees stop.
        scored: whether a network's average precision is measured after every epoch, which a
            search prunes by.
    """

    epochs: tuple[int, ...] = (10, 30)
    rounds: int = 2000
    patience: int = 30
    scored: bool = False


QUICK = Effort(epochs=(4,), rounds=60, patience=15)


@dataclass(frozen=True)
class Fit:
    """What a training leaves: its logits, and how it went.

    Attributes:
        valid_logits: `(n, K)` float32.
        test_logits: `(n, K)` float32.
        curve: validation scores: after each epoch where that was asked for, and at the end.
        steps: epochs, rounds of the best step, or Newton steps.
        converged: whether it ended by its own criterion.
    """

    valid_logits: Floats
    test_logits: Floats
    curve: tuple[float, ...]
    steps: int
    converged: bool = True

    @property
    def score(self) -> float:
        """Validation score of these logits: mean average precision over the classes."""
        return self.curve[-1]


# called with a step and its score, or None where it was not measured; may raise to stop
Watch = Callable[[int, float | None], None]


def unwatched(step: int, score: float | None) -> None:
    """Let a training run to its end, and say nothing of it."""


@dataclass(frozen=True)
class Work:
    """One training, as a model is asked for it.

    Attributes:
        loss: what is minimised.
        setting: the point of the model's grid.
        data: the split.
        effort: how long it may take.
        seed: of the start, the order of the rows and bagging.
        watch: called with every step.
    """

    loss: Loss
    setting: Setting
    data: Prepared
    effort: Effort
    seed: int = 0
    watch: Watch = unwatched


class Model(Protocol):
    """Something that can be trained under any loss."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    @property
    def network(self) -> bool:
        """Whether it starts from weights of its own, with a last bias."""

    @property
    def starts(self) -> bool:
        """Whether another start, order or bagging gives another result."""

    @property
    def unit(self) -> str:
        """What `Fit.steps` counts."""

    @property
    def axes(self) -> Mapping[str, Axis]:
        """What is tuned beside the loss."""

    def identity(self, data: Prepared, seed: int) -> str:
        """Return text that changes when the same training would give another result."""

    def supports(self, loss: Loss) -> bool:
        """Say whether this model can be trained with this loss."""

    def fit(self, work: Work) -> Fit:
        """Train once, as the work says."""


def trained(model: Model, work: Work) -> Fit:
    """Train a model once, among synthetic rows too where the loss asks for them."""
    if work.loss.synthetic is not None:
        work = replace(work, data=work.data.filled(work.loss.synthetic, work.seed))
    return model.fit(work)


def validation_score(loss: Loss, logits: Floats, data: Prepared) -> float:
    """Return average precision on the validation rows, averaged over the classes: what learning
    rates are chosen by.
    """
    said = log_odds(loss, torch.from_numpy(np.asarray(logits, dtype=np.float64)))
    scores = of_table(said, data.table.sampling, softmax=loss.link == "softmax").numpy()
    if not np.isfinite(scores).all():
        return 0.0  # a training that diverged
    labels, weights = data.labels("valid"), data.weights("valid")
    each = [average_precision(scores[:, k], labels[:, k], weights) for k in range(labels.shape[1])]
    return float(np.mean(each))
