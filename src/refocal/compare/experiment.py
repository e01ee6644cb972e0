"""The comparison: train every loss, measure it, recommend one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refocal.compare.candidates import Candidate, candidates
from refocal.compare.data.findings import best_precisions, check
from refocal.compare.data.prepare import Prepared
from refocal.compare.data.table import Table
from refocal.compare.errors import CompareError
from refocal.compare.estimate import estimate
from refocal.compare.explore import explore
from refocal.compare.measure import Scored
from refocal.compare.models import Model
from refocal.compare.plan import Plan, Training
from refocal.compare.progress import Progress, duration
from refocal.compare.recommend import recommend
from refocal.compare.results import Data, PartResult, Protocol, Results
from refocal.compare.schedule import train_all
from refocal.compare.search import search
from refocal.compare.splits import protocol, splits
from refocal.compare.store import FitStore
from refocal.compare.summarise import summarise

# Rows times trainings from which on an estimate is worth its second.
_LONG = 5_000_000


def run(
    table: Table,
    models: Sequence[Model],
    plan: Plan | None = None,
    *,
    folder: Path | None = None,
) -> Results:
    """Compare cross-entropy, its variants and focal losses on a table.

    Args:
        table: the task.
        models: each is trained with every loss; see `models.by_name`.
        plan: how much work, and the operating points.
        folder: where finished trainings are kept and looked up; None to keep them in memory.

    Returns:
        The same results for the same table, models, plan and library versions.

    Raises:
        CompareError: the table has too few examples of a class, or nothing can be trained.
    """
    plan = plan or Plan()
    found = [
        Prepared(table, split)
        for split in splits(table, repeats=plan.repeats_for(table.rows), seed=plan.seed)
    ]
    store = FitStore(folder)
    losses = {model.name: _candidates(model, found[0], plan) for model in models}
    grids = {(m.name, one.name): list(plan.rates_for(m)) for m in models for one in losses[m.name]}
    if plan.trials:
        _add_searched(models, found[0], plan, store, folder, losses, grids)
    trainings = [
        Training(model, candidate, rate)
        for model in models
        for candidate in losses[model.name]
        for rate in grids[model.name, candidate.name]
    ]
    progress = Progress(len(found) * len(trainings))
    for finding in table.findings:
        progress.note(f"{table.name}: {finding.message}")
    if len(found[0].split.train) * len(trainings) * len(found) > _LONG:
        seconds, step_us = estimate(trainings, found[0], plan, len(found))
        steps = ", ".join(f"{name} {step:.2g} µs" for name, step in step_us.items())
        progress.note(
            f"{len(found) * len(trainings)} trainings on {len(found[0].split.train):,} rows: about"
            f" {duration(seconds)} (a row in one epoch or round: {steps})."
        )
    scored: list[list[Scored]] = []
    rates: list[list[float]] = []
    inputs = 0
    try:
        for data in found:
            fits = train_all(trainings, data, plan, store, progress)
            best: dict[tuple[str, str], tuple[Scored, float]] = {}
            for training, fit in zip(trainings, fits, strict=True):
                name = (training.model.name, training.candidate.name)
                if name not in best or fit.score > best[name][0].fit.score:
                    candidate = Scored(training.candidate, fit, data, plan.costs)
                    best[name] = (candidate, training.rate)
            scored.append([one for one, _ in best.values()])
            rates.append([rate for _, rate in best.values()])
            inputs = inputs or data.inputs
            data.forget()
    finally:
        progress.close()
    names = [model.name for model in models for _ in losses[model.name]]
    measured = summarise(names, scored, rates, plan)
    described = _data(table, found[0], inputs, best_precisions(measured, table.classes))
    how = Protocol(
        split=protocol(table),
        repeats=len(found),
        interval="bootstrap" if len(found) == 1 else "corrected t",
        resamples=plan.resamples,
        seed=plan.seed,
        quick=plan.quick,
        epochs=plan.effort.epochs,
        learning_rates={
            model.name: sorted(
                {rate for (name, _), of in grids.items() for rate in of if name == model.name}
            )
            for model in models
        },
        test_to_train=float(np.mean([x.split.test.size / x.split.train.size for x in found])),
        miss=plan.costs.miss,
        precision=plan.costs.precision,
        recall=plan.costs.recall,
        top=plan.costs.top,
        trials=plan.trials,
    )
    answer = recommend(measured, described, how)
    plain = scored[0][names.index(answer.model)]
    shown = None
    if plain.candidate.link == "sigmoid":
        rate = float(np.mean(found[0].base_rates))
        shown = explore(plain.labels, plain.scores, rate)
    return Results(described, how, measured, answer, shown)


def _add_searched(
    models: Sequence[Model],
    data: Prepared,
    plan: Plan,
    store: FitStore,
    folder: Path | None,
    losses: dict[str, list[Candidate]],
    grids: dict[tuple[str, str], list[float]],
) -> None:
    """Search, then let the best focal loss compete, and cross-entropy use its best rate too."""
    progress = Progress(2 * plan.trials * len(models))
    try:
        found = search(models, data, plan, store, progress, folder=folder)
    finally:
        progress.close()
    for model in models:
        plain, focal = found[model.name]
        if plain.rate not in grids[model.name, plain.candidate.name]:
            grids[model.name, plain.candidate.name].append(plain.rate)
        losses[model.name].append(focal.candidate)
        grids[model.name, focal.candidate.name] = [*plan.rates_for(model), focal.rate]


def _candidates(model: Model, data: Prepared, plan: Plan) -> list[Candidate]:
    every = candidates(data.kind, data.base_rates, network=model.network, quick=plan.quick)
    found = [one for one in every if model.supports(one)]
    if len(found) < 2:
        raise CompareError(f"{model.name} supports fewer than two losses for this task.")
    return found


def _data(table: Table, first: Prepared, inputs: int, precisions: list[float]) -> Data:
    rates = np.array(first.base_rates)
    test = first.labels("test").mean(0)
    surprise = -test * np.log(rates)
    if table.kind != "multiclass":
        surprise -= (1 - test) * np.log1p(-rates)
    loss = surprise.sum() if table.kind == "multiclass" else surprise.mean()
    return Data(
        name=table.name,
        about=list(table.about),
        kind=table.kind,
        target=table.target,
        classes=list(table.classes),
        group_name=table.group_name,
        rows=table.rows,
        rows_without_target=table.rows_without_target,
        features=table.columns,
        inputs=inputs,
        parts=[
            PartResult(name, len(rows), table.targets[rows].sum(0).tolist())
            for name, rows in first.split.parts().items()
        ],
        base_rate_log_loss=float(loss),
        findings=check(table, first.split, precisions),
    )
