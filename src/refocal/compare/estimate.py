"""How long a comparison will take, from a taste of each model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from refocal.compare.models import Effort
from refocal.compare.plan import Plan, Training
from refocal.compare.prepare import Prepared
from refocal.compare.splits import Split
from refocal.compare.table import Integers

_TASTE = 8_192  # rows
_OF_EACH = 20  # rows of a class
_ROUNDS = 5
# Where early stopping usually ends a training, as a share of what it may take.
_TYPICAL = 0.25


class Cost(NamedTuple):
    """What a comparison will take.

    Attributes:
        seconds: wall time of all trainings.
        step_us: microseconds that one row takes in one epoch or boosting round, by model.
    """

    seconds: float
    step_us: dict[str, float]


def estimate(trainings: Sequence[Training], data: Prepared, plan: Plan, splits: int) -> Cost:
    """That of one row in one step of each model, measured, times all there are.

    Args:
        trainings: of one split.
        data: the first split.
        plan: how much work.
        splits: how many.
    """
    taste = Split(*(_some(rows, data) for rows in data.split.parts().values()))
    small = Prepared(data.table, taste).encode()
    effort = Effort(epochs=1, rounds=_ROUNDS, patience=_ROUNDS)
    total = 0.0
    step_us = {}
    for model in {training.model.name: training.model for training in trainings}.values():
        own = [training for training in trainings if training.model.name == model.name]
        for _ in range(2):  # the first loads and compiles what later trainings find ready
            started = time.perf_counter()
            own[0].model.fit(
                own[0].candidate, own[0].rate, small, effort, seed=plan.seed, report=_silent
            )
            taken = time.perf_counter() - started
        tasted = 1 if model.network else _ROUNDS
        step = taken / tasted / len(taste.train)
        most = plan.effort.epochs if model.network else plan.effort.rounds
        total += len(own) * step * len(data.split.train) * max(tasted, _TYPICAL * most)
        step_us[model.name] = 1e6 * step
    return Cost(total * splits / max(1, torch.get_num_threads()), step_us)


def _some(rows: Integers, data: Prepared) -> Integers:
    """A few thousand rows, with some of every class."""
    labels = data.table.targets[rows]
    rare = [np.flatnonzero(labels[:, k])[:_OF_EACH] for k in range(labels.shape[1])]
    spread = np.arange(0, len(rows), max(1, len(rows) // _TASTE))
    chosen: Integers = rows[np.unique(np.concatenate([spread, *rare]))]
    return chosen


def _silent(step: int, score: float) -> None:
    """No progress of a taste."""
