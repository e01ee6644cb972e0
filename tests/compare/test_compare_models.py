"""The losses that compete, the models, the store of their fits."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, roc_auc_score
from tables import made_table
from torch import nn

from refocal import comparison
from refocal.comparison import CompareError, Plan, by_name
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits
from refocal.comparison.training.losses import Loss, families, focal
from refocal.comparison.training.models import Effort, Fit, Work
from refocal.comparison.training.networks import (
    Network,
    _Average,
    hidden_layers,
    schedule,
    start_from_base_rates,
)
from refocal.comparison.training.settings import central
from refocal.comparison.training.store import FitStore
from refocal.comparison.training.tuning import Entry, Training
from refocal.posterior import sigmoid_posterior, softmax_posterior


@pytest.fixture(scope="module")
def data() -> Prepared:
    table = made_table(rows=1200)
    return Prepared(table, splits(table, repeats=1, seed=0)[0]).encode()


# --- candidates ----------------------------------------------------------------------------------


def losses_of(*arguments: Any, **options: Any) -> dict[str, tuple[Loss, ...]]:
    return {one.role: one.losses for one in families(*arguments, **options)}


def test_three_families_compete() -> None:
    found = losses_of("binary", [0.02], network=True)
    assert list(found) == ["baseline", "focal", "remedy"]
    (plain,) = found["baseline"]
    assert plain.plain
    assert not plain.prior_bias
    pairs = {(loss.alpha, loss.gamma) for loss in found["focal"]}
    assert pairs == {(a, g) for a in (None, 0.25, 0.98) for g in (0.5, 1.0, 2.0, 3.0)}
    balanced, milder, prior = found["remedy"]
    assert (balanced.alpha, balanced.gamma) == (0.98, 0.0)
    assert_allclose(milder.alpha / (1 - milder.alpha), (0.98 / 0.02) ** 0.5)
    assert prior.plain
    assert prior.prior_bias
    for every in losses_of("binary", [0.02], network=False).values():
        assert not any(loss.prior_bias for loss in every)
    labels = losses_of("multilabel", [0.1, 0.3], network=False)
    assert labels["remedy"][0].alpha == (0.9, 0.7)


def test_several_classes_meet_softmax_and_one_vs_rest() -> None:
    rates = [0.7, 0.2, 0.1]
    found = losses_of("multiclass", rates, network=True)
    assert {loss.link for loss in found["focal"]} == {"softmax"}
    assert len(found["focal"]) == 12
    assert found["baseline"][0].plain
    weights, milder = (np.array(loss.alpha) for loss in found["remedy"][:2])
    for each in (weights, milder):
        assert_allclose(each.mean(), 1.0)
    assert_allclose(weights * rates, np.full(3, 0.7 * weights[0]))
    assert_allclose(milder * np.sqrt(rates), np.full(3, 0.7**0.5 * milder[0]))
    assert found["remedy"][2].link == "sigmoid"
    alone = losses_of("multiclass", rates, network=False, softmax=False)
    assert {loss.link for every in alone.values() for loss in every} == {"sigmoid"}


def test_quick_is_less_work() -> None:
    for kind, rates in (("binary", [0.1]), ("multiclass", [0.5, 0.3, 0.2])):
        few = losses_of(kind, rates, network=True, quick=True)
        assert [len(every) for every in few.values()] == [1, 1, 1]
    for model in by_name(["mlp", "logistic"]):
        assert all(len(axis.values) == 1 for axis in Plan(quick=True).axes_for(model).values())
    assert max(Plan(quick=True).effort.epochs) < min(Plan().effort.epochs)
    assert Plan().splits == Plan(seed=3).splits == 5
    assert Plan(quick=True).splits == 1
    assert Plan(epochs=9).effort.epochs == (3, 9)


def test_a_call_as_source_text_is_the_loss() -> None:
    loss = Loss("x", (0.5, 1.0, 1.5), 2.0, "softmax")
    assert loss.call == (
        "refocal.softmax_focal_loss(logits, targets, alpha=torch.tensor([0.5, 1, 1.5]), gamma=2)"
    )


# --- networks ------------------------------------------------------------------------------------


def test_training_learns_and_ends_with_the_mean_of_its_last_weights(data: Prepared) -> None:
    seen: list[float | None] = []
    labels = data.labels("valid")
    (model,) = by_name(["mlp"])
    setting = central(model.axes).with_value("epochs", 6)
    effort = Effort(scored=True)
    found = model.fit(
        Work(focal(0.25, 2.0), setting, data, effort, watch=lambda _, score: seen.append(score))
    )
    assert list(found.curve) == [one for one in seen if one is not None]
    assert (found.steps, len(found.curve)) == (6, 6)
    assert_allclose(average_precision_score(labels, found.valid_logits), found.score)
    assert roc_auc_score(data.labels("test"), found.test_logits) > 0.7
    unseen = model.fit(Work(focal(0.25, 2.0), setting, data, Effort()))
    assert_array_equal(unseen.test_logits, found.test_logits)  # looking changes nothing


def test_the_rate_rises_and_decays_to_nothing() -> None:
    rates = [schedule(step, 200) for step in range(200)]
    assert max(rates) == 1.0
    assert rates.index(1.0) == 9
    assert 0 < rates[-1] < 1e-3
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert schedule(0, 1) == 1.0


def test_the_average_is_of_the_last_steps_alone() -> None:
    weight = torch.zeros(2)
    average = _Average([weight], first=3)
    for step in range(6):
        weight += 1
        average.add(step)
    average.copy_back()
    assert weight.tolist() == [5.0, 5.0]  # of 4, 5 and 6


def test_batch_statistics_are_those_of_the_averaged_weights(data: Prepared) -> None:
    built: list[nn.Module] = []

    def build(inputs: int, outputs: int) -> nn.Module:
        built.append(nn.Sequential(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.Linear(4, outputs)))
        return built[-1]

    network = Network("normed", build)
    setting = central(network.axes).with_value("epochs", 2)
    network.fit(Work(focal(0.25, 2.0), setting, data, Effort()))
    first, norm, _ = built[-1]
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.no_grad():
        seen = first(data.train).mean(0)
    assert norm.running_mean is not None
    assert_allclose(norm.running_mean, seen, atol=0.1)


def in_threads(work: Callable[[Any], Any], jobs: Iterable[Any], *, threads: int) -> list[Any]:
    """Results of threads that are interrupted as often as Python can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, jobs))
    finally:
        sys.setswitchinterval(interval)


def test_dropout_draws_the_same_whatever_trains_beside_it(data: Prepared) -> None:
    def build(inputs: int, outputs: int) -> nn.Module:
        drop = nn.Dropout(0.5)
        return nn.Sequential(nn.Linear(inputs, 16), drop, nn.ReLU(), nn.Linear(16, outputs))

    network = Network("dropping", build)

    def fit(rate: float) -> Any:
        setting = central(network.axes).with_value("epochs", 2).with_value("rate", rate)
        done = network.fit(Work(focal(0.25, 2.0), setting, data, Effort(), seed=3))
        return done.test_logits

    rates = [0.01, 0.02, 0.03, 0.04] * 2
    alone = [fit(rate) for rate in rates]
    assert np.ptp([logits.std() for logits in alone[:4]]) > 0
    for one, other in zip(alone, in_threads(fit, rates, threads=4), strict=True):
        assert_array_equal(one, other)


def test_the_same_start_whatever_starts_beside_it() -> None:
    network = Network("mlp", hidden_layers(64, 32))

    def start(_: int) -> torch.Tensor:
        return nn.utils.parameters_to_vector(network.start(torch.Size([3]), 2, seed=5).parameters())

    starts = in_threads(start, range(200), threads=8)
    for one in starts:
        torch.testing.assert_close(one, starts[0], rtol=0, atol=0)


def test_the_same_start_for_every_loss() -> None:
    network = Network("mlp", hidden_layers(4))
    state = torch.get_rng_state()
    one, other = (network.start(torch.Size([3]), 2, seed=5) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)


@pytest.mark.parametrize(
    "loss",
    [
        focal(0.25, 2.0, prior_bias=True),
        Loss("each", (0.9, 0.5, 0.3), 1.0, prior_bias=True),
        Loss("softmax", (1.5, 1.0, 0.5), 2.0, "softmax", prior_bias=True),
    ],
)
def test_a_prior_bias_predicts_the_base_rates(loss: Loss) -> None:
    rates = [0.7, 0.2, 0.1]
    model = hidden_layers(4)(5, 3)
    start_from_base_rates(model, loss, rates)
    logits = model[-1].bias.detach().double()[None]  # type: ignore[index]
    posterior = softmax_posterior if loss.link == "softmax" else sigmoid_posterior
    assert_allclose(posterior(logits, **loss.settings)[0], rates, rtol=1e-5)


def test_a_network_without_a_bias_to_set() -> None:
    with pytest.raises(CompareError, match="no last layer whose bias"):
        start_from_base_rates(torch.nn.Identity(), focal(0.25, 2.0), [0.1])


# --- names ---------------------------------------------------------------------------------------


def test_models_by_name() -> None:
    assert [model.name for model in by_name(["logistic", "mlp", "logistic"])] == ["logistic", "mlp"]
    with pytest.raises(
        CompareError, match=r"no model 'forest'\. Choose from: mlp, logistic, xgboost"
    ):
        by_name(["forest"])


def test_a_missing_host_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(ImportError, match=r"pip install 'refocal\[lightgbm\]'"):
        by_name(["lightgbm"])


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_trees_learn_under_every_loss(name: str, kind: str) -> None:
    pytest.importorskip(name)
    (model,) = by_name([name])
    table = made_table(kind, 1000)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0]).encode()
    found = families(table.kind, data.base_rates, network=False, quick=True)
    for loss in [loss for family in found for loss in family.losses]:
        if not model.supports(loss):
            assert (name, loss.link) == ("catboost", "softmax")
            continue
        effort = Effort(rounds=12, patience=2)
        setting = central(model.axes).with_value("rate", 0.3)
        fit = model.fit(Work(loss, setting, data, effort))
        assert fit.test_logits.shape == data.labels("test").shape
        assert fit.test_logits.dtype == np.float32
        assert 1 <= fit.steps <= 12
        labels = data.labels("valid")
        areas = [roc_auc_score(y, z) for y, z in zip(labels.T, fit.valid_logits.T, strict=True)]
        assert min(areas) > 0.65
        again = model.fit(Work(loss, setting, data, effort))
        assert_array_equal(again.test_logits, fit.test_logits)
        other = model.fit(Work(loss, setting, data, effort, seed=1))
        assert (other.test_logits != fit.test_logits).any()  # bagging


# --- fits on disk --------------------------------------------------------------------------------

FIT = Fit(np.float32([[1.5]]), np.float32([[-2.0]]), (0.1, 0.3), 2)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_store_gives_back_what_it_got(tmp_path: Path, on_disk: bool) -> None:
    store = FitStore(tmp_path if on_disk else None)
    assert store.get("k") is None
    store.put("k", FIT)
    found = store.get("k")
    assert found is not None
    assert_array_equal(found.valid_logits, FIT.valid_logits)
    assert_array_equal(found.test_logits, FIT.test_logits)
    assert (found.curve, found.steps, found.score) == (FIT.curve, FIT.steps, 0.3)


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_a_file_cut_off_counts_as_none(tmp_path: Path, kept: int) -> None:
    store = FitStore(tmp_path)
    store.put("k", FIT)
    path = tmp_path / "fits" / "k.npz"
    path.write_bytes(path.read_bytes()[:kept])
    assert store.get("k") is None


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CompareError, match=r"No space left on device\. .* resume=True"):
        FitStore(tmp_path).put("k", FIT)
    assert list((tmp_path / "fits").iterdir()) == []


def test_a_key_is_that_of_everything_that_decides(data: Prepared) -> None:
    (model,) = by_name(["mlp"])
    plan, setting = Plan(), central(model.axes)
    loss = focal(0.25, 2.0)
    base = Training(Entry(model, loss), setting, 0)
    linear = by_name(["logistic"])[0]
    others = [
        Training(Entry(model, focal(0.25, 1.0)), setting, 0),
        Training(Entry(model, focal(0.25, 2.0, prior_bias=True)), setting, 0),
        Training(Entry(model, loss), setting.with_value("rate", 0.2), 0),
        Training(Entry(model, loss), setting.with_start(1), 0),
        Training(Entry(model, loss), setting, 1),
        Training(Entry(linear, loss), central(linear.axes), 0),
    ]
    keys = {one.key(data, plan) for one in [base, *others]}
    keys.add(base.key(data, Plan(seed=1)))
    split = splits(data.table, repeats=2, seed=0)[1]
    keys.add(base.key(Prepared(data.table, split), plan))
    assert len(keys) == 9
    # what is measured afterwards, and how much else is trained, changes no fit
    same = Plan(repeats=7, epochs=3, margin=0.1, costs=comparison.Costs(miss=99))
    assert base.key(data, same) == base.key(data, plan)
    assert json.dumps(sorted(keys))


def test_a_custom_network_is_known_by_its_weights(data: Prepared) -> None:
    nets = [Network("own", hidden_layers(width)) for width in (3, 3, 4)]
    one, same, other = (net.identity(data, 0) for net in nets)
    assert one == same != other
    assert nets[0].identity(data, 1) != one
    # also one that is called as one of ours is
    (ours,) = by_name(["mlp"])
    assert Network("mlp", hidden_layers(3)).identity(data, 0) == one != ours.identity(data, 0)


def test_a_training_that_fails_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    def fake(self: Network, work: Work) -> None:
        if work.loss.gamma == 2.0:
            time.sleep(0.3)  # until the others are at work
            raise RuntimeError("out of memory")
        try:
            for epoch in range(180_000):  # half an hour, were it not stopped
                work.watch(epoch, 0.1)
                time.sleep(0.01)
        except BaseException:
            stopped.append(work.loss.name)
            raise

    monkeypatch.setattr(Network, "fit", fake)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with pytest.raises(RuntimeError, match="out of memory"):
        comparison.run(made_table(), by_name(["mlp"]), Plan(quick=True))
    assert sorted(stopped) == ["balanced cross-entropy", "cross-entropy"]
