"""How long a comparison will take, from a taste of each model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from refocal.compare.data.prepare import Prepared
from refocal.compare.data.table import Integers
from refocal.compare.models import Effort
from refocal.compare.plan import Plan, Training
from refocal.compare.splits import Split

_TASTE = 131_072  # rows, from which on batches of a network are as large as they become
_OF_EACH = 20  # rows of a class
# epochs of a network, boosting rounds: two tastes differ by steps alone, and what is left is what a
# training takes before its first
_EPOCHS, _ROUNDS = (1, 3), (5, 15)
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
    times = len(data.split.train) / len(taste.train)
    total = 0.0
    step_us = {}
    for model in {training.model.name: training.model for training in trainings}.values():
        own = [training for training in trainings if training.model.name == model.name]
        few, more = _EPOCHS if model.network else _ROUNDS
        _seconds(own[0], small, few, plan)  # loads and compiles what later trainings find ready
        least, most = (_seconds(own[0], small, steps, plan) for steps in (few, more))
        step = max(most - least, 0.0) / (more - few)
        before = max(least - few * step, 0.0)
        allowed = plan.effort.epochs if model.network else plan.effort.rounds
        total += len(own) * times * (before + step * max(1.0, _TYPICAL * allowed))
        step_us[model.name] = 1e6 * step / len(taste.train)
    return Cost(total * splits / max(1, torch.get_num_threads()), step_us)


def _seconds(training: Training, data: Prepared, steps: int, plan: Plan) -> float:
    effort = Effort(epochs=steps, rounds=steps, patience=steps)
    started = time.perf_counter()
    training.model.fit(
        training.candidate, training.rate, data, effort, seed=plan.seed, report=_silent
    )
    return time.perf_counter() - started


def _some(rows: Integers, data: Prepared) -> Integers:
    """A few thousand rows, with some of every class."""
    labels = data.table.targets[rows]
    rare = [np.flatnonzero(labels[:, k])[:_OF_EACH] for k in range(labels.shape[1])]
    spread = np.arange(0, len(rows), max(1, len(rows) // _TASTE))
    chosen: Integers = rows[np.unique(np.concatenate([spread, *rare]))]
    return chosen


def _silent(step: int, score: float) -> None:
    """No progress of a taste."""
