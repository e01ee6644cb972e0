"""The recommendation and a whole run."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from refocal.compare.recommend import recommend
from tables import made_table

from refocal import compare
from refocal.compare import Plan, Results, by_name
from refocal.compare.results import (
    Curve,
    Data,
    Estimate,
    LossResult,
    PartResult,
    Probabilities,
    Protocol,
    Recommendation,
)

DATA = Data(
    "d", [], "binary", "y", ["yes"], "row", 100, 0, 2, 3, [PartResult("test", 50, [5])], 0.3
)
PROTOCOL = Protocol("stratified", 1, "bootstrap", 300, 0, False, 40, {}, 0.3, 10.0, 0.5, 0.8, None)


def loss_result(
    name: str,
    alpha: float | None,
    gamma: float,
    gain: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    model: str = "mlp",
    valid: float = 0.2,
    posterior: float = 0.10,
    platt: float = 0.10,
) -> LossResult:
    def reading(log_loss: float) -> Probabilities:
        one, right = Estimate(0.1, 0.0, 0.2), Estimate(1.0, 0.9, 1.1)
        return Probabilities(Estimate(log_loss, 0.0, 1.0), one, right, Curve([0.1], [0.1]))

    gains = {
        "average_precision": Estimate(*gain),
        "roc_auc": Estimate(*gain),
        "cost": Estimate(*gain),
    }
    settings = f"alpha={alpha}, gamma={gamma:g}"
    return LossResult(
        model=model,
        name=name,
        alpha=alpha,
        gamma=gamma,
        link="sigmoid",
        prior_bias=False,
        call=f"refocal.sigmoid_focal_loss(logits, targets, {settings})",
        posterior_call=f"refocal.sigmoid_posterior(logits, {settings})",
        learning_rates=[1e-3],
        steps=[3],
        valid_average_precision=valid,
        figures={"average_precision": Estimate(0.3 + gain[0], 0.2, 0.4)},
        gains=gains,
        readings={
            "raw": reading(0.2),
            "posterior": reading(posterior),
            "temperature": reading(platt),
            "platt": reading(platt),
        },
        precision_recall=Curve([1.0], [0.1]),
        gradient=[],
        thresholds={},
    )


PLAIN = loss_result("cross-entropy", None, 0.0)


def answer(*losses: LossResult) -> Recommendation:
    return recommend(list(losses), DATA, PROTOCOL)


@pytest.mark.parametrize(
    ("gain", "loss", "headline"),
    [
        (
            (0.05, 0.01, 0.09),
            "focal",
            "Use focal: average precision 0.350 against 0.300 for cross-entropy, a difference of"
            " +0.050 (95 % interval +0.010 to +0.090).",
        ),
        ((0.05, -0.01, 0.09), "cross-entropy", "Cross-entropy is as good here: the best"),
        ((-0.05, -0.09, -0.01), "cross-entropy", "Use cross-entropy: the best challenger, focal"),
    ],
)
def test_the_interval_decides(gain: tuple[float, float, float], loss: str, headline: str) -> None:
    found = answer(PLAIN, loss_result("focal", 0.25, 2.0, gain))
    assert found.loss == loss
    assert found.headline.startswith(headline)
    expected = "alpha=0.25, gamma=2)" if loss == "focal" else "alpha=None, gamma=0)"
    assert found.call.endswith(expected)


def test_the_challenger_is_picked_on_validation_data() -> None:
    lucky = loss_result("lucky", 0.5, 1.0, (0.2, 0.1, 0.3), valid=0.1)
    usual = loss_result("usual", 0.25, 2.0, (0.01, -0.02, 0.03), valid=0.3)
    assert answer(PLAIN, lucky, usual).loss == "cross-entropy"


def test_the_model_too_is_picked_on_validation_data() -> None:
    plain = loss_result("cross-entropy", None, 0.0, model="xgboost", valid=0.5)
    other = loss_result("focal", 0.25, 2.0, (0.1, 0.05, 0.2), model="xgboost", valid=0.6)
    found = answer(PLAIN, loss_result("focal", 0.25, 2.0), plain, other)
    assert (found.model, found.loss) == ("xgboost", "focal")
    assert found.headline.startswith("With xgboost, use focal")
    assert "mlp 0.300, xgboost 0.400" in found.reasons[1]


def test_an_undefined_difference_is_said() -> None:
    focal = loss_result("focal", 0.25, 2.0)
    undefined = dict(focal.gains, average_precision=Estimate(None, None, None))
    found = answer(PLAIN, dataclasses.replace(focal, gains=undefined))
    assert found.loss == "cross-entropy"
    assert "nothing can be said" in found.headline.lower()


@pytest.mark.parametrize(
    ("posterior", "platt", "advice"),
    [
        (0.10, 0.10, r"refocal\.sigmoid_posterior\(logits, alpha=0\.25, gamma=2\) is the prob"),
        (0.15, 0.10, "Fit Platt scaling on held-out data: log loss 0.1000 against 0.1500"),
        (0.40, 0.35, "Do not use its probabilities"),
    ],
)
def test_advice_on_probabilities(posterior: float, platt: float, advice: str) -> None:
    focal = loss_result("f", 0.25, 2.0, (0.05, 0.01, 0.09), posterior=posterior, platt=platt)
    assert re.match(advice, answer(PLAIN, focal).probabilities)


def test_a_prior_bias_is_part_of_the_recipe() -> None:
    focal = loss_result("f", 0.25, 2.0, (0.05, 0.01, 0.09))
    found = answer(PLAIN, dataclasses.replace(focal, prior_bias=True)).call
    assert found == (
        "refocal.sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2), after"
        " refocal.parameters.initialize_bias(last_layer, 0.1, alpha=0.25, gamma=2)"
    )


def test_cross_entropy_needs_no_posterior() -> None:
    found = answer(PLAIN, loss_result("f", 0.25, 2.0))
    assert found.probabilities == "sigmoid(logits) is the probability: log loss 0.2000."


# --- a whole run ---------------------------------------------------------------------------------

QUICK = Plan(quick=True, resamples=50)


@pytest.fixture(scope="module")
def results() -> Results:
    return compare.run(made_table(rows=2000), by_name(["mlp"]), QUICK)


def test_the_closed_form_needs_no_data_and_beats_the_sigmoid(results: Results) -> None:
    plain, *others = results.losses
    assert plain.readings["raw"].log_loss == plain.readings["posterior"].log_loss
    for loss in others:
        raw, posterior = loss.readings["raw"], loss.readings["posterior"]
        assert posterior.log_loss.value < raw.log_loss.value  # type: ignore[operator]
        rate = results.data.parts[0].positives[0] / results.data.parts[0].rows
        assert abs(posterior.mean.value - rate) < abs(raw.mean.value - rate)  # type: ignore[operator]
        for figure in (posterior.mean, posterior.slope):
            assert figure.low < figure.value < figure.high  # type: ignore[operator]


def test_the_same_seed_gives_the_same_results_on_any_number_of_threads(results: Results) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    try:
        again = compare.run(made_table(rows=2000), by_name(["mlp"]), QUICK)
    finally:
        torch.set_num_threads(threads)
    assert json.dumps(again.to_dict()) == json.dumps(results.to_dict())


def test_another_seed_is_another_result() -> None:
    plans = [dataclasses.replace(QUICK, seed=seed, epochs=1) for seed in (0, 1)]
    one, other = (compare.run(made_table(rows=300), by_name(["logistic"]), p) for p in plans)
    assert other.losses != one.losses


def test_results_survive_json(results: Results) -> None:
    text = json.dumps(results.to_dict(), allow_nan=False)
    assert Results.from_dict(json.loads(text)) == results


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schema": "refocal.compare/1"}, "schema 'refocal.compare/1' is not"),
        ({"losses": 3}, "results.losses must be"),
        ({"extra": 3}, "results must have the fields data, protocol"),
    ],
)
def test_other_json_is_refused(results: Results, change: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Results.from_dict({**results.to_dict(), **change})


def test_a_run_leaves_torch_as_it_was() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    compare.run(made_table(rows=300), by_name(["logistic"]), QUICK)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes_over_several_splits(kind: str) -> None:
    plan = dataclasses.replace(QUICK, repeats=2, epochs=2)
    found = compare.run(made_table(kind, 400), by_name(["logistic", "mlp"]), plan)
    assert found.models == ["logistic", "mlp"]
    assert found.protocol.interval == "corrected t"
    for model in found.models:
        plain, *others = found.of_model(model)
        assert plain.plain
        # a threshold may flag nothing on a small part, and its precision is then undefined
        assert {estimate.value for estimate in plain.gains.values()} <= {0.0, None}
        assert plain.gains["average_precision"].value == 0.0
        for loss in others:
            assert len(loss.learning_rates) == len(loss.steps) == 2
            by_class = [loss.figures[f"average_precision/{name}"] for name in found.data.classes]
            values = [estimate.value for estimate in by_class]
            np.testing.assert_allclose(np.mean(values), loss.figures["average_precision"].value)


def test_longer_runs_take_what_a_shorter_one_left(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("fits")
    table = made_table()
    first = compare.run(table, by_name(["logistic"]), QUICK, folder=folder)
    assert len(list((folder / "fits").glob("*.npz"))) == 3
    from refocal.compare.networks import Network

    trained = []
    fit = Network.fit

    def counted(self: Network, *arguments: object, **keywords: object) -> object:
        trained.append(self.name)
        return fit(self, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Network, "fit", counted)
    again = compare.run(table, by_name(["logistic"]), QUICK, folder=folder)
    assert trained == []
    assert again == first
    compare.run(table, by_name(["logistic", "mlp"]), QUICK, folder=folder)
    assert trained == ["mlp"] * 3
