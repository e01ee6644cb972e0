"""The linear model at its minimum, equal budgets, grids that widen, and how long it takes."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from tables import made_table

from refocal import comparison
from refocal.comparison import Plan, by_name, experiment
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits
from refocal.comparison.training.forecast import forecast
from refocal.comparison.training.logistic import minimise
from refocal.comparison.training.losses import Loss, families, focal
from refocal.comparison.training.models import Effort, Fit, Work
from refocal.comparison.training.settings import Axis, Setting, central, grid_points
from refocal.comparison.training.trees import scale_of
from refocal.comparison.training.tuning import (
    OPENING,
    SECOND,
    SECOND_LINEAR,
    Contest,
    Training,
    rungs,
)
from refocal.parameters import prior_bias

# --- the linear model ----------------------------------------------------------------------------


def rows(seed: int, classes: int = 1, count: int = 800) -> tuple[torch.Tensor, np.ndarray]:
    """Features in float32, and labels as booleans, one-hot where there are several classes."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 5)).astype(np.float32)
    if classes == 1:
        labels = (x[:, 0] + x[:, 1] + 1.5 * generator.normal(size=count) > 2)[:, None]
        return torch.from_numpy(x), labels
    scores = x[:, :classes] + generator.gumbel(size=(count, classes))
    scores[:, 0] += 1.5
    return torch.from_numpy(x), np.eye(classes, dtype=bool)[scores.argmax(1)]


def mean_and_gradient(
    loss: Loss, x: torch.Tensor, labels: np.ndarray, weights: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """By the library's own loss and machine differentiation."""
    weights = weights.clone().requires_grad_()
    logits = x.double() @ weights[:-1] + weights[-1]
    y = torch.from_numpy(labels)
    mean = loss.mean(logits, y.int().argmax(1) if loss.link == "softmax" else y.double())
    mean.backward()
    assert weights.grad is not None
    return mean.item(), weights.grad


def test_cross_entropy_is_scikit_learn_s() -> None:
    x, labels = rows(0)
    weights, _, converged = minimise(x, labels, Loss("ce", None, 0.0), 1e-12)
    assert converged
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(x.double(), labels[:, 0])
    assert_allclose(weights[:-1, 0], model.coef_[0], rtol=1e-4, atol=1e-6)
    assert_allclose(weights[-1, 0], model.intercept_[0], rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 0.95])
def test_newton_reaches_a_minimum_from_zero(alpha: float | None, gamma: float) -> None:
    x, labels = rows(1)
    loss = Loss("l", alpha, gamma)
    weights, steps, converged = minimise(x, labels, loss, 1e-12)
    assert converged
    assert steps < 50
    value, gradient = mean_and_gradient(loss, x, labels, weights)
    first, start = mean_and_gradient(loss, x, labels, torch.zeros_like(weights))
    assert value < first
    assert float(gradient.abs().max()) < 1e-3 * float(start.abs().max())
    # a minimum, not a saddle
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        away = weights + 0.01 * torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        assert mean_and_gradient(loss, x, labels, away)[0] > value


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("alpha", [None, (0.5, 1.0, 1.5)])
def test_several_classes_reach_a_minimum_too(alpha: tuple[float, ...] | None, gamma: float) -> None:
    x, labels = rows(2, classes=3)
    loss = Loss("l", alpha, gamma, "softmax")
    weights, _, converged = minimise(x, labels, loss, 1e-6)
    assert converged
    _, gradient = mean_and_gradient(loss, x, labels, weights)
    _, start = mean_and_gradient(loss, x, labels, torch.zeros_like(weights))
    assert float(gradient.abs().max()) < 1e-3 * float(start.abs().max())


def test_separated_classes_constant_columns_and_one_large_number_do_not_break_it() -> None:
    x = torch.zeros(60, 4)
    x[:, 0] = torch.arange(60) - 49.5
    x[:, 1] = 1.0
    x[7, 2] = 1e4
    labels = (np.arange(60) >= 50)[:, None]
    for gamma in (0.0, 2.0, 5.0):
        weights, _, _ = minimise(x, labels, focal(0.25, gamma), 1e-6)
        assert bool(weights.isfinite().all())
        logits = x.double() @ weights[:-1] + weights[-1]
        assert float(logits[50:].min()) > float(logits[:50].max())


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_equal_losses_give_equal_models(kind: Any) -> None:
    table = made_table(kind, 600)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    (model,) = by_name(["logistic"])
    link: Any = "softmax" if kind == "multiclass" else "sigmoid"
    losses = [Loss("cross-entropy", None, 0.0, link), focal(None, 0.0, link=link)]
    fits = [
        model.fit(Work(one, central(model.axes), data, Effort(), seed=seed))
        for seed, one in enumerate(losses)
    ]
    assert_array_equal(fits[0].test_logits, fits[1].test_logits)
    assert fits[0].converged


# --- the grid ------------------------------------------------------------------------------------


def contest(name: str, role: str, plan: Plan | None = None) -> Contest:
    plan = plan or Plan()
    (model,) = by_name([name])
    found = families("binary", [0.1], network=model.network)
    family = next(one for one in found if one.role == role)
    return Contest(model, family, plan.axes_for(model), 0)


@pytest.mark.parametrize("name", ["mlp", "logistic", "lightgbm", "xgboost", "catboost"])
@pytest.mark.parametrize("part", [False, True])
def test_every_family_gets_equally_many_trainings(name: str, part: bool) -> None:
    if name not in ("mlp", "logistic"):
        pytest.importorskip(name)
    for role in ("baseline", "focal", "remedy"):
        one = contest(name, role)
        first = one.opening(quick=False, part=part)
        assert len(first) == len(set(first)) == OPENING
        if "epochs" in one.axes and role == "baseline":  # a part says little of how long to train
            assert [x.setting["epochs"] for x in first].count(30) == (1 if part else 6)
        assert {x.entry.loss for x in first} == set(one.family.losses)
        one.take(first, [fit(0.5 + 0.01 * k) for k in range(len(first))])
        more = one.second()
        assert len(more) == (SECOND if one.model.starts else SECOND_LINEAR)
        assert not set(more) & set(first)


def fit(score: float, *, converged: bool = True) -> Fit:
    return Fit(np.zeros((0, 1)), np.zeros((0, 1)), (score,), 3, converged)


def at(one: Contest, **values: float) -> Training:
    point = central(one.axes)
    for name, value in values.items():
        point = point.with_value(name, value)
    return one.training(one.family.losses[0], point)


def test_a_grid_is_widened_where_its_end_is_best_and_says_so_where_it_cannot() -> None:
    one = contest("mlp", "baseline")
    tried = [at(one, rate=rate) for rate in (1e-3, 3e-3, 1e-2)]
    one.take(tried, [fit(score) for score in (0.1, 0.2, 0.3)])
    (beyond,) = one.wider()
    assert beyond.setting["rate"] == pytest.approx(0.03)
    assert one.findings(tried[2]) == ["learning rate 0.01 is the end of its grid"]
    one.take([beyond], [fit(0.25)])
    assert one.wider() == []
    assert one.findings(one.ranked()[0]) == []
    one.take([at(one, epochs=30)], [fit(0.4, converged=False)])
    assert one.findings(one.ranked()[0]) == ["it did not end by its own criterion"]


def test_less_than_no_ridge_is_not_asked_for() -> None:
    axis = contest("logistic", "baseline").axes["ridge"]
    assert axis.beyond(axis.values[0], set(axis.values)) is None
    assert axis.beyond(axis.values[-1], set(axis.values)) == pytest.approx(axis.values[-1] * 10)
    leaves = Axis((7, 31), 31, "leaves", 2.0, 2, 127, whole=True)
    assert leaves.beyond(7, {7, 31}) == 4


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12, 30])
def test_points_of_a_grid_begin_in_its_middle_and_differ(count: int) -> None:
    for name in ("mlp", "logistic"):
        axes = by_name([name])[0].axes
        found = grid_points(axes, count)
        assert found[0] == central(axes)
        assert len(found) == len(set(found)) == count
        sparing = grid_points(axes, count, sparing=True)
        assert len(sparing) == len(set(sparing)) == count
        for point in sparing:
            others = point.with_value("epochs", 10).with_start(0) if name == "mlp" else point
            assert name == "logistic" or point["epochs"] == 10 or others == central(axes)
    single = grid_points({"rate": Axis((1.0,), 1.0, "rate")}, 2)
    assert single == [Setting((("rate", 1.0),)), Setting((("rate", 1.0),), 1)]


def test_large_tables_are_tried_on_parts_that_lie_in_one_another() -> None:
    table = made_table(rows=120_000)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    ladder = rungs(data, 3, quick=False)
    assert ladder[-1] is data
    parts = [set(one.split.train) for one in ladder]
    assert len(parts) == 3
    assert all(small < large for small, large in pairwise(parts))
    assert ladder[0].labels("train").sum() > 200
    torch.testing.assert_close(ladder[0].valid, data.valid)
    assert ladder[0].inputs == data.inputs
    small = made_table(rows=3000)
    whole = Prepared(small, splits(small, repeats=1, seed=0)[0])
    assert rungs(whole, 3, quick=False) == [whole]
    assert rungs(data, 3, quick=True) == [data]


def test_a_leaf_means_the_same_under_every_loss() -> None:
    labels = (np.arange(1000) < 100).astype(np.int64)
    counts = np.bincount(labels)
    assert scale_of(Loss("ce", None, 0.0), None, counts) == pytest.approx(1.0)
    half = scale_of(Loss("halved", 0.5, 0.0), 0.5, counts)
    assert half == pytest.approx(0.5)  # the same loss, half as large
    # where it starts, by the second derivative of the mean loss there
    start = prior_bias(0.1, alpha=0.5, gamma=1.0)
    z = torch.full((1000,), start, dtype=torch.float64, requires_grad=True)
    each = focal(0.5, 1.0).mean(z, torch.from_numpy(labels).double())
    (slope,) = torch.autograd.grad(each, z, create_graph=True)
    (exact,) = torch.autograd.grad(slope.sum(), z)
    # the bound lies above the exact curvature, and not far
    found = 0.09 * scale_of(focal(0.5, 1.0), 0.5, counts)
    assert float(exact.sum()) < found < 3 * float(exact.sum())
    several = np.array([60, 30, 10])
    assert scale_of(Loss("ce", None, 0.0, "softmax"), None, several) == pytest.approx(1.0)


# --- a whole run ---------------------------------------------------------------------------------


def test_splits_test_on_rows_of_their_own_and_start_anew() -> None:
    for rows_ in (300, 70_000):
        table = made_table(rows=rows_)
        tested = np.concatenate([one.test for one in splits(table, repeats=Plan().splits, seed=0)])
        assert len(tested) == len(set(tested)) == rows_
    plan = Plan(seed=4)
    seeds = {plan.seed_of(split, start) for split in range(5) for start in range(3)}
    assert len(seeds) == 15
    assert plan.seed_of(0, 0) != Plan(seed=5).seed_of(0, 0)


def test_cross_entropy_against_itself_is_never_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """The linear model has no luck to pick from: equal losses are equal, whatever the seed."""
    same = [
        comparison.run(made_table(rows=3000, seed=9), by_name(["logistic"]), Plan(seed=seed))
        for seed in (0, 1)
    ]
    for results in same:
        question = results.questions[0]
        assert (question.family, question.against) == ("focal loss", "cross-entropy")
        assert question.verdict in ("equivalent", "undecided")
        assert question.verdict == results.recommendation.verdict
        assert len(question.by_split) == 5
        assert question.positives == results.data.parts[-1].positives[0] + sum(
            part.positives[0] for part in results.data.parts[:-1]
        )
        for one in results.losses:
            assert len({pick.trained for pick in one.picks}) >= 1
            for figure in ("average_precision", "roc_auc"):
                low, high = one.figures[figure].low, one.figures[figure].high
                assert low is not None
                assert high is not None
                assert 0 <= low < high <= 1
    firm = {one.recommendation.verdict for one in same} - {"undecided"}
    assert len(firm) <= 1


def test_a_single_split_a_quick_look_and_few_positives_are_never_firm() -> None:
    table = made_table(rows=600)
    quick = comparison.run(table, by_name(["logistic"]), Plan(quick=True))
    assert "quick look" in quick.questions[0].limits[0]
    one = comparison.run(table, by_name(["logistic"]), Plan(repeats=1, margin=0.9))
    assert one.questions[0].margin == 0.9
    assert "one split" in one.questions[0].limits[0]
    targets = table.targets & (np.cumsum(table.targets) <= 12)[:, None]
    few = comparison.Table("few", table.features, targets, "y", ("yes",))
    rare = comparison.run(few, by_name(["logistic"]), Plan(quick=True, repeats=2))
    assert any("test positives in all are too few" in text for text in rare.questions[0].limits)
    for results in (quick, one, rare):
        assert {question.verdict for question in results.questions} == {"undecided"}


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_the_smallest_tables_end_undecided(kind: str) -> None:
    y = np.repeat(range(2 if kind == "binary" else 3), (15, 10) if kind == "binary" else 10)
    x = y[:, None] + np.random.default_rng(0).normal(size=(len(y), 2))
    results = comparison.compare("logistic", (x, y))
    assert results.recommendation.verdict == "undecided"
    assert all("too few" in " ".join(one.limits) for one in results.questions)
    # five validation rows are too few for a temperature
    readings = results.losses[0].readings
    assert readings["temperature"].log_loss == readings["posterior"].log_loss or kind != "binary"


# --- how long ------------------------------------------------------------------------------------


def test_the_forecast_grows_with_the_work() -> None:
    table = made_table(rows=20_000)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    short_plan, long_plan = Plan(quick=True, epochs=2), Plan(epochs=40)
    short = forecast([contest("mlp", "focal", short_plan)], data, short_plan, 1)
    assert 0 < short.seconds < 60
    assert list(short.step_us) == ["mlp"]
    every = [contest("mlp", role, long_plan) for role in ("baseline", "focal", "remedy")]
    long = forecast(every, data, long_plan, 3)
    assert (short.trainings, long.trainings) == (12, 3 * (OPENING + SECOND))
    assert long.seconds > 20 * short.seconds


@pytest.mark.parametrize("name", ["mlp", "logistic"])
def test_a_long_run_begins_with_its_forecast(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiment, "_LONG", 0)
    comparison.run(made_table(), by_name([name]), Plan(quick=True))
    first = capsys.readouterr().err.splitlines()[0]
    told = (
        r"3 trainings on [\d,]+ rows or a part of them: about .+"
        rf" \(a row in one epoch, round or step: {name} [\d.]+ µs\)"
    )
    assert re.fullmatch(told + r"\.", first), first
