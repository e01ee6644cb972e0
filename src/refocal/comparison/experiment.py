"""The comparison: train every loss, measure it, recommend one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refocal.comparison.data.cells import listed
from refocal.comparison.data.findings import best_precisions, check
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import FOLDS, splits, splitting
from refocal.comparison.data.table import Table, class_index
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.measuring.explore import explore
from refocal.comparison.measuring.figures import figures_of
from refocal.comparison.measuring.intervals import Design
from refocal.comparison.measuring.measured import SplitFigures, Trained, measure
from refocal.comparison.measuring.scored import ENOUGH_FOR_STEPS, Scored
from refocal.comparison.measuring.summarise import questions, summarise
from refocal.comparison.measuring.thinned import MOST, enough, guessed
from refocal.comparison.measuring.verdict import one_digit
from refocal.comparison.plan import Plan
from refocal.comparison.progress import Progress, duration
from refocal.comparison.report.recommend import recommend
from refocal.comparison.results import Data, Finding, LossResult, PartResult, Protocol, Results
from refocal.comparison.training.forecast import forecast
from refocal.comparison.training.losses import Family, families
from refocal.comparison.training.models import Model
from refocal.comparison.training.schedule import contested, one_thread
from refocal.comparison.training.search import search
from refocal.comparison.training.spread import backend
from refocal.comparison.training.store import FitStore
from refocal.comparison.training.tuning import Contest, Training, planned, rungs

# Training rows times families and splits from which on an estimate is worth its second.
_LONG = 5_000_000


def run(
    table: Table,
    models: Sequence[Model],
    plan: Plan | None = None,
    *,
    folder: Path | None = None,
) -> Results:
    """Compare cross-entropy, focal losses and other remedies on a table.

    Args:
        table: the task.
        models: each is trained with every loss; see `named.by_name`.
        plan: how much work, and the operating points.
        folder: where finished trainings are kept and looked up; None to keep them in memory.

    Returns:
        The same results for the same table, models, plan and library versions.

    Raises:
        CompareError: the table has too few examples of a class, or nothing can be trained.
    """
    plan = plan or Plan()
    with backend(plan.cluster):
        return _run(table, models, plan, folder)


def _run(table: Table, models: Sequence[Model], plan: Plan, folder: Path | None) -> Results:
    found = [Prepared(table, split) for split in splits(table, repeats=plan.splits, seed=plan.seed)]
    steps = all(one.labels("valid").sum(0).min() >= ENOUGH_FOR_STEPS for one in found)
    figures = figures_of(table.classes, isotonic=steps, multiclass=table.kind == "multiclass")
    store = FitStore(folder)
    progress = Progress(0)
    for finding in table.findings:
        progress.note(f"{table.name}: {finding.message}")
    trained: list[list[Trained]] = []
    measured: list[SplitFigures] = []
    inputs = 0
    try:
        for number, data in enumerate(found):
            contests = [
                Contest(model, family, plan.axes_for(model), number)
                for model in models
                for family in _families(model, data, plan)
            ]
            if number == 0:
                ladder = rungs(data, plan.seed_of(0, 0), quick=plan.quick)
                expected = planned(contests, len(ladder), quick=plan.quick)
                progress.expect(sum(expected) * len(found))
            if number == 0 and len(data.split.train) * len(contests) * len(found) > _LONG:
                progress.note(_foretold(contests, data, plan, len(found)))
            searched = _searched(contests, models, data, plan, store, progress, folder)
            picked = contested(contests, data, plan, store, progress, searched)
            trained.append(
                [
                    Trained(
                        contest.model,
                        contest.family,
                        one,
                        Scored(one.training.entry.loss, one.fit, data, plan.costs),
                    )
                    for contest, one in zip(contests, picked, strict=True)
                ]
            )
            with one_thread():
                measured.append(measure(trained[-1], figures))
            inputs = inputs or data.inputs
            data.forget()
    finally:
        progress.close()
    design = _design(table, found)
    with one_thread():
        results = summarise(trained, measured, figures, design)
    described = _data(table, found[0], inputs, best_precisions(results, table.classes))
    described.findings.extend(_ends(results))
    how = Protocol(
        split=splitting(table),
        repeats=len(found),
        seed=plan.seed,
        quick=plan.quick,
        epochs=list(plan.effort.epochs),
        grids={
            model.name: {
                axis.words: [float(value) for value in axis.values]
                for axis in plan.axes_for(model).values()
            }
            for model in models
        },
        test_to_train=design.test_to_train,
        miss=plan.costs.miss,
        precision=plan.costs.precision,
        recall=plan.costs.recall,
        top=plan.costs.top,
        trials=plan.trials,
        smote=plan.smote,
    )
    limits = [*_limits(described.findings, plan), *_thinned(table, [one[0] for one in trained])]
    asked = questions(trained, measured, design, margin=plan.margin, limits=limits)
    answer = recommend(results, asked, described, how)
    plain = next(one for one in trained[0] if one.model.name == answer.model).scored
    shown = None
    if plain.loss.link == "sigmoid":
        rate = float(np.mean(found[0].base_rates))
        with one_thread():
            shown = explore(plain.labels, plain.among_read, rate)
    return Results(described, how, results, asked, answer, shown)


def _families(model: Model, data: Prepared, plan: Plan) -> list[Family]:
    softmax = data.kind != "multiclass" or any(
        model.supports(loss)
        for family in families(data.kind, data.base_rates, network=False, quick=True)
        for loss in family.losses
        if loss.link == "softmax"
    )
    found = families(
        data.kind,
        data.base_rates,
        network=model.network,
        softmax=softmax,
        quick=plan.quick,
        smote=plan.smote,
    )
    kept = [
        Family(one.name, one.role, tuple(loss for loss in one.losses if model.supports(loss)))
        for one in found
    ]
    kept = [one for one in kept if one.losses]
    if len(kept) < 2 or kept[0].role != "baseline":
        raise CompareError(f"{model.name} supports fewer than two losses for this task.")
    if plan.smote and not any(loss.synthetic for one in kept for loss in one.losses):
        why = "labels of their own share rows"
        if data.kind != "multilabel":
            why = f"{model.name} is trained with each class against the rest"
        raise CompareError(
            f"{argument('smote', True)} makes rows of one class among all, and {why}. Leave it out."
        )
    return kept


def _searched(
    contests: Sequence[Contest],
    models: Sequence[Model],
    data: Prepared,
    plan: Plan,
    store: FitStore,
    progress: Progress,
    folder: Path | None,
) -> list[list[Training]]:
    """Find what a search adds to each contest: one training to cross-entropy and focal loss."""
    if not plan.trials:
        return []
    progress.expect(2 * plan.trials * len(models))
    number = contests[0].split
    found = search(models, data, plan, store, progress, split=number, folder=folder)
    roles = {"baseline": 0, "focal": 1}
    return [
        [found[contest.model.name][roles[contest.family.role]].training]
        if contest.family.role in roles
        else []
        for contest in contests
    ]


def _foretold(contests: Sequence[Contest], data: Prepared, plan: Plan, count: int) -> str:
    expected = forecast(contests, data, plan, count)
    # two digits, which ".2g" alone would write as 1.5e+02
    steps = ", ".join(f"{name} {float(f'{us:.2g}'):g} µs" for name, us in expected.step_us.items())
    return (
        f"{expected.trainings * count} trainings on {len(data.split.train):,} rows or a part of"
        f" them: about {duration(expected.seconds)} (a row in one epoch, round or step: {steps})."
    )


def _design(table: Table, found: Sequence[Prepared]) -> Design:
    """Count how many splits test on rows of their own, and the positives there."""
    tested = np.unique(np.concatenate([one.split.test for one in found]))
    ratios = [one.split.test.size / one.split.train.size for one in found]
    return Design(
        splits=len(found),
        disjoint=len(found) if table.time is not None else min(len(found), FOLDS),
        test_to_train=float(np.mean(ratios)),
        positives=int(table.targets[tested].sum(0).min()),
    )


def _limits(findings: Sequence[Finding], plan: Plan) -> list[str]:
    """Say why no verdict may be firm, whatever its interval."""
    limits = []
    if plan.quick:
        quick = argument("quick", True)
        limits.append(f"a quick look trains too little, so run it without {quick}")
    if any(finding.leak for finding in findings):
        limits.append("a column gives the target away, so leave it out first")
    return limits


def _thinned(table: Table, baselines: Sequence[Trained]) -> list[str]:
    """Say where too few negatives were read to tell the top of the ranking."""
    sampling = table.sampling
    if sampling is None:
        return []
    read, more, unsure = np.array(sampling.read), 1.0, []
    for k, name in enumerate(table.classes):
        own = read[k if sampling.several else 1]
        tests = [
            (scored.scores[:, k], scored.labels[:, k], read[class_index(scored.labels)] / own)
            for scored in (one.scored for one in baselines)
        ]
        if float(np.mean([guessed(*one) for one in tests])) > MOST:
            more = max(more, float(np.mean([enough(*one) for one in tests])))
            unsure.append(name)
    if not unsure:
        return []
    counts = np.array(sampling.counts)
    rows = min(one_digit(float(np.minimum(more * read * counts, counts).sum())), sampling.rows)
    of = f"one negative in {read[1] / read[0]:.0f} is too few"
    if sampling.several:
        of = f"one row in {1 / read.min():.0f} of the commonest class is too few"
    top = f"the top of the ranking{f' of {listed(unsure)}' if sampling.several else ''}"
    return [f"{of} to tell {top}, so read about {argument('rows', rows)}"]


def _ends(results: Sequence[LossResult]) -> list[Finding]:
    """Return trainings that ended at the edge of their grid, or before they were done."""
    found = []
    for one in results:
        ends: dict[str, int] = {}
        for pick in one.picks:
            for text in pick.findings:
                ends[text] = ends.get(text, 0) + 1
        if ends:
            listed = "; ".join(f"{text} ({count}×)" for text, count in ends.items())
            found.append(
                Finding(
                    "training-end",
                    "note",
                    f"{one.title}, of {len(one.picks)} splits: {listed}.",
                    "The grid was widened as far as it goes. Trust this family less, or search"
                    f" with {argument('trials')}.",
                )
            )
    return found


def _data(table: Table, first: Prepared, inputs: int, precisions: list[float]) -> Data:
    rates, test = first.rates("train"), first.rates("test")
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
            PartResult(
                name, len(rows), table.targets[rows].sum(0).tolist(), table.rates(rows).tolist()
            )
            for name, rows in first.split.parts().items()
        ],
        base_rate_log_loss=float(loss),
        findings=check(table, first.split, precisions),
        source=table.source,
        sampling=table.sampling,
    )
