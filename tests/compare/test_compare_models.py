"""The losses that compete, the models, the store of their fits."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from refocal.compare.candidates import Candidate, candidates, focal
from refocal.compare.models import Effort, Fit
from refocal.compare.networks import Network, hidden_layers, start_from_base_rates
from refocal.compare.store import FitStore
from sklearn.metrics import average_precision_score, roc_auc_score
from tables import made_table
from torch import nn

from refocal import compare
from refocal.compare import CompareError, Plan, by_name
from refocal.compare.plan import Training
from refocal.compare.prepare import Prepared
from refocal.compare.splits import splits
from refocal.posterior import sigmoid_posterior, softmax_posterior


@pytest.fixture(scope="module")
def data() -> Prepared:
    table = made_table(rows=1200)
    return Prepared(table, splits(table, repeats=1, seed=0)[0]).encode()


# --- candidates ----------------------------------------------------------------------------------


def test_candidates_balance_the_classes() -> None:
    plain, prior, balanced, *others = candidates("binary", [0.02], network=True)
    assert (plain.alpha, plain.gamma, plain.prior_bias) == (None, 0.0, False)
    assert (prior.alpha, prior.gamma, prior.prior_bias) == (None, 0.0, True)
    assert (balanced.alpha, balanced.gamma) == (0.98, 0.0)
    assert [(loss.alpha, loss.gamma) for loss in others] == [(0.25, 2.0), (0.25, 2.0), (0.75, 2.0)]
    assert not any(loss.prior_bias for loss in candidates("binary", [0.02], network=False))
    labels = candidates("multilabel", [0.1, 0.3], network=False)
    assert labels[1].alpha == (0.9, 0.7)


def test_several_classes_meet_softmax_and_one_vs_rest() -> None:
    found = candidates("multiclass", [0.7, 0.2, 0.1], network=True)
    assert [loss.link for loss in found] == ["softmax"] * 4 + ["sigmoid"] * 2
    assert found[0].plain
    weights = np.array(found[2].alpha)
    assert_allclose(weights.mean(), 1.0)
    assert_allclose(weights * [0.7, 0.2, 0.1], np.full(3, 0.7 * weights[0]))


def test_quick_is_less_work() -> None:
    for kind, rates in (("binary", [0.1]), ("multiclass", [0.5, 0.3, 0.2])):
        few = candidates(kind, rates, network=True, quick=True)
        assert len(few) < len(candidates(kind, rates, network=True))
    (model,) = by_name(["mlp"])
    assert len(Plan(quick=True).rates_for(model)) < len(Plan().rates_for(model))
    assert Plan(quick=True).effort.epochs < Plan().effort.epochs


def test_a_call_as_source_text_is_the_loss() -> None:
    loss = Candidate("x", (0.5, 1.0, 1.5), 2.0, "softmax")
    assert loss.call == (
        "refocal.softmax_focal_loss(logits, targets, alpha=torch.tensor([0.5, 1, 1.5]), gamma=2)"
    )


# --- networks ------------------------------------------------------------------------------------


def test_training_learns_stops_early_and_keeps_its_best_epoch(data: Prepared) -> None:
    seen: list[float] = []
    losses: list[float] = []
    built: list[nn.Module] = []
    labels = data.labels("valid")
    loss = focal(0.25, 2.0)

    def build(inputs: int, outputs: int) -> nn.Module:
        built.append(hidden_layers(64, 32)(inputs, outputs))
        return built[-1]

    def report(_: int, score: float) -> None:
        seen.append(score)
        with torch.no_grad():
            logits = built[-1](data.valid)
        losses.append(loss.loss(logits, torch.from_numpy(labels).float()).item())

    effort = Effort(epochs=30, patience=2)
    found = Network("mlp", build).fit(loss, 1e-2, data, effort, seed=0, report=report)
    assert list(found.curve) == seen
    assert found.steps == losses.index(min(losses)) + 1 != seen.index(max(seen)) + 1
    assert len(seen) == found.steps + 2 < 30
    assert_allclose(average_precision_score(labels, found.valid_logits), found.score)
    assert roc_auc_score(data.labels("test"), found.test_logits) > 0.7


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

    network, effort = Network("dropping", build), Effort(epochs=2, patience=2)

    def fit(rate: float) -> Any:
        done = network.fit(
            focal(0.25, 2.0), rate, data, effort, seed=3, report=lambda step, score: None
        )
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
        Candidate("each", (0.9, 0.5, 0.3), 1.0, prior_bias=True),
        Candidate("softmax", (1.5, 1.0, 0.5), 2.0, "softmax", prior_bias=True),
    ],
)
def test_a_prior_bias_predicts_the_base_rates(loss: Candidate) -> None:
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
    for loss in candidates(table.kind, data.base_rates, network=False, quick=True):
        if not model.supports(loss):
            assert (name, loss.link) == ("catboost", "softmax")
            continue
        effort = Effort(rounds=12, patience=2)
        fit = model.fit(loss, 0.3, data, effort, seed=0, report=lambda *_: None)
        assert fit.test_logits.shape == data.labels("test").shape
        assert fit.test_logits.dtype == np.float32
        assert 1 <= fit.steps <= 12
        labels = data.labels("valid")
        areas = [roc_auc_score(y, z) for y, z in zip(labels.T, fit.valid_logits.T, strict=True)]
        assert min(areas) > 0.65
        again = model.fit(loss, 0.3, data, effort, seed=0, report=lambda *_: None)
        assert_array_equal(again.test_logits, fit.test_logits)


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
    with pytest.raises(CompareError, match=r"No space left on device\. .* --resume"):
        FitStore(tmp_path).put("k", FIT)
    assert list((tmp_path / "fits").iterdir()) == []


def test_a_key_is_that_of_everything_that_decides(data: Prepared) -> None:
    (model,) = by_name(["mlp"])
    plan = Plan()
    base = Training(model, focal(0.25, 2.0), 0.1)
    others = [
        Training(model, focal(0.25, 1.0), 0.1),
        Training(model, focal(0.25, 2.0, prior_bias=True), 0.1),
        Training(model, focal(0.25, 2.0), 0.2),
        Training(by_name(["logistic"])[0], focal(0.25, 2.0), 0.1),
    ]
    keys = {one.key(data, plan) for one in [base, *others]}
    keys |= {base.key(data, Plan(seed=1)), base.key(data, Plan(epochs=3))}
    split = splits(data.table, repeats=2, seed=0)[1]
    keys.add(base.key(Prepared(data.table, split), plan))
    assert len(keys) == 8
    # what is measured afterwards, and how much else is trained, changes no fit
    same = Plan(repeats=7, resamples=5, costs=compare.Costs(miss=99))
    assert base.key(data, same) == base.key(data, plan)
    assert json.dumps(sorted(keys))


def test_a_custom_network_is_known_by_its_weights(data: Prepared) -> None:
    nets = [Network("own", hidden_layers(width)) for width in (3, 3, 4)]
    one, same, other = (net.identity(data, 0) for net in nets)
    assert one == same != other
    assert nets[0].identity(data, 1) != one


def test_a_training_that_fails_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    def fake(self: Network, candidate: Candidate, *_: Any, report: Any, **__: Any) -> None:
        if candidate.gamma == 2.0:
            raise RuntimeError("out of memory")
        try:
            for epoch in range(6000):  # a minute, were it not stopped
                report(epoch, 0.1)
                time.sleep(0.01)
        except BaseException:
            stopped.append(candidate.name)
            raise

    monkeypatch.setattr(Network, "fit", fake)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with pytest.raises(RuntimeError, match="out of memory"):
        compare.run(made_table(), by_name(["mlp"]), Plan(quick=True))
    assert sorted(stopped) == ["balanced cross-entropy", "cross-entropy"]
