"""How long a comparison will take, from a taste of each model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import Split
from refocal.comparison.data.table import Integers
from refocal.comparison.plan import Plan
from refocal.comparison.training.models import Model, Work
from refocal.comparison.training.settings import central
from refocal.comparison.training.tuning import Contest, planned, rungs

_TASTE = 65_536  # rows, from which on batches of a network are as large as they become
_OF_EACH = 20  # rows of a class
# epochs of a network, boosting rounds: two tastes differ by steps alone, and what is left is what a
# training takes before its first
_EPOCHS, _ROUNDS = (1, 3), (5, 15)
# Where trees and Newton steps usually end.
_USUAL_ROUNDS, _USUAL_STEPS = 150, 10


class Forecast(NamedTuple):
    """What a comparison will take.

    Attributes:
        seconds: wall time of all trainings.
        trainings: of one split, if no grid is widened.
        step_us: microseconds that one row takes in one epoch, round or step, by model.
    """

    seconds: float
    trainings: int
    step_us: dict[str, float]


def forecast(contests: Sequence[Contest], data: Prepared, plan: Plan, splits: int) -> Forecast:
    """Return the time of one row in one step of each model, measured, times all there are.

    Args:
        contests: of one split.
        data: the first split.
        plan: how much work.
        splits: how many.
    """
    taste = Split(*(_some(rows, data) for rows in data.split.parts().values()))
    small = Prepared(data.table, taste).encode()
    ladder = rungs(data, plan.seed_of(0, 0), quick=plan.quick)
    total = 0.0
    count = 0
    step_us = {}
    for model in {contest.model.name: contest.model for contest in contests}.values():
        own = [contest for contest in contests if contest.model.name == model.name]
        before, step = _cost(model, own[0], small, plan)
        usual = _steps(model, plan)
        for rung, trainings in zip(
            ladder, planned(own, len(ladder), quick=plan.quick), strict=True
        ):
            share = len(rung.split.train) / len(taste.train)
            total += trainings * share * (before + usual * step)
            count += trainings
        step_us[model.name] = 1e6 * step / len(taste.train)
    return Forecast(total * splits / max(1, torch.get_num_threads()), count, step_us)


def _cost(model: Model, contest: Contest, small: Prepared, plan: Plan) -> tuple[float, float]:
    """Return seconds before the first step of a taste, and of each step."""
    few, more = _EPOCHS if model.network else _ROUNDS
    if not model.starts:  # Newton's method takes the steps it takes
        _seconds(contest, small, 1, plan)
        return 0.0, _seconds(contest, small, 1, plan) / _USUAL_STEPS
    _seconds(contest, small, few, plan)  # loads and compiles what later trainings find ready
    least, most = (_seconds(contest, small, steps, plan) for steps in (few, more))
    step = max(most - least, 0.0) / (more - few)
    return max(least - few * step, 0.0), step


def _steps(model: Model, plan: Plan) -> float:
    if model.network:
        return float(np.mean(plan.effort.epochs))
    return min(_USUAL_ROUNDS, plan.effort.rounds) if model.starts else _USUAL_STEPS


def _seconds(contest: Contest, data: Prepared, steps: int, plan: Plan) -> float:
    setting = central(contest.axes)
    if "epochs" in contest.axes:
        setting = setting.with_value("epochs", steps)
    effort = replace(plan.effort, rounds=steps, patience=steps)
    started = time.perf_counter()
    contest.model.fit(Work(contest.family.losses[0], setting, data, effort, plan.seed))
    return time.perf_counter() - started


def _some(rows: Integers, data: Prepared) -> Integers:
    """Return a few thousand rows, with some of every class."""
    labels = data.table.targets[rows]
    rare = [np.flatnonzero(labels[:, k])[:_OF_EACH] for k in range(labels.shape[1])]
    spread = np.arange(0, len(rows), max(1, len(rows) // _TASTE))
    chosen: Integers = rows[np.unique(np.concatenate([spread, *rare]))]
    return chosen
