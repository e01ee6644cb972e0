"""The recommendation and a whole run."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from tables import made_table

from refocal import comparison
from refocal.comparison import Plan, Results, by_name
from refocal.comparison.report.recommend import recommend, takes_line
from refocal.comparison.results import (
    Curve,
    Data,
    Estimate,
    LossResult,
    PartResult,
    Pick,
    Probabilities,
    Protocol,
    Question,
    Recommendation,
)

DATA = Data(
    "d", [], "binary", "y", ["yes"], "row", 100, 0, 2, 3, [PartResult("test", 50, [5], [0.1])], 0.3
)
PROTOCOL = Protocol("stratified", 5, 0, False, [10, 30], {}, 0.3, 10.0, 0.5, 0.8, None)
ROLES = {"cross-entropy": "baseline", "focal loss": "focal", "other remedies": "remedy"}


def loss_result(
    name: str,
    alpha: float | None,
    gamma: float,
    gain: float = 0.0,
    *,
    model: str = "mlp",
    valid: float = 0.2,
    posterior: float = 0.10,
    platt: float = 0.10,
    noise: float = 0.01,
) -> LossResult:
    def reading(log_loss: float) -> Probabilities:
        one, right = Estimate(0.1, 0.0, 0.2), Estimate(1.0, 0.9, 1.1)
        return Probabilities(Estimate(log_loss, 0.0, 1.0), one, right, Curve([0.1], [0.1]))

    estimate = Estimate(gain, gain - 0.01, gain + 0.01)
    settings = f"alpha={alpha}, gamma={gamma:g}"
    usual = {"baseline": name, "focal": "focal, γ 2", "remedy": "balanced cross-entropy"}
    return LossResult(
        model=model,
        name=name,
        role=ROLES[name],
        loss=usual[ROLES[name]],
        alpha=alpha,
        gamma=gamma,
        link="sigmoid",
        prior_bias=False,
        synthetic=None,
        call=f"refocal.sigmoid_focal_loss(logits, targets, {settings})",
        posterior_call=f"refocal.sigmoid_posterior(logits, {settings})",
        picks=[
            Pick(
                loss=loss,
                alpha=alpha,
                gamma=gamma,
                link="sigmoid",
                prior_bias=False,
                synthetic=None,
                setting="rate 0.1",
                values={"rate": 0.1},
                start=0,
                steps=3,
                trained=18,
                valid_average_precision=valid,
                average_precision=0.3 + gain,
                findings=[],
            )
            for loss in (usual[ROLES[name]],) * 4 + ("another",)
        ],
        valid_average_precision=valid,
        figures={
            "average_precision": Estimate(0.3 + gain, 0.2, 0.4),
            "platt_gain": Estimate(posterior - platt, posterior - platt - noise, 1.0),
        },
        gains={name: estimate for name in ("average_precision", "roc_auc", "cost")},
        readings={
            "raw": reading(0.2),
            "posterior": reading(posterior),
            "temperature": reading(platt),
            "platt": reading(platt),
        },
        precision_recall=Curve([1.0], [0.1]),
        gradient=[],
        thresholds={},
        decisions=[],
        confusion=None,
    )


def question(
    verdict: str,
    low: float,
    high: float,
    *,
    family: str = "focal loss",
    against: str = "cross-entropy",
    model: str = "mlp",
    needed: int | None = None,
    limits: tuple[str, ...] = (),
) -> Question:
    return Question(
        model=model,
        family=family,
        against=against,
        verdict=verdict,
        difference=Estimate((low + high) / 2, low, high),
        level=0.95 if family == "focal loss" else 0.975,
        margin=0.02,
        positives=300,
        needed=needed,
        limits=list(limits),
        by_split=[low, high],
    )


PLAIN = loss_result("cross-entropy", None, 0.0)
FOCAL = loss_result("focal loss", 0.25, 2.0, 0.05)
OTHER = loss_result("other remedies", 0.9, 0.0, 0.09)


def answer(*asked: Question, losses: tuple[LossResult, ...] = (PLAIN, FOCAL)) -> Recommendation:
    return recommend(list(losses), list(asked), DATA, PROTOCOL)


@pytest.mark.parametrize(
    ("asked", "loss", "headline"),
    [
        (
            question("better", 0.01, 0.09),
            "focal loss",
            "Use focal loss: it finds the rare cases better than cross-entropy (average precision"
            " 0.350 against 0.300).",
        ),
        (
            question("worse", -0.09, -0.01),
            "cross-entropy",
            "Keep cross-entropy: focal loss finds the rare cases less well (average precision"
            " 0.350 against 0.300).",
        ),
        (
            question("equivalent", 0.001, 0.019),
            "cross-entropy",
            "Keep cross-entropy: focal loss makes no difference worth having here (average"
            " precision 0.350 against 0.300).",
        ),
        (
            question("undecided", -0.01, 0.09, needed=4000),
            "cross-entropy",
            "Undecided whether focal loss helps, so keep cross-entropy: about 4,000 test positives"
            " would decide, and this table has 300.",
        ),
    ],
)
def test_four_verdicts_in_words(asked: Question, loss: str, headline: str) -> None:
    found = answer(asked)
    assert (found.verdict, found.loss) == (asked.verdict, loss)
    assert found.headline == headline
    expected = "alpha=0.25, gamma=2)" if loss == "focal loss" else "alpha=None, gamma=0)"
    assert found.call.endswith(expected)


def test_what_would_decide_is_said() -> None:
    hopeless = answer(question("undecided", -0.02, 0.06, needed=0)).headline
    assert "a hundred times as many would not decide" in hopeless
    limited = answer(question("undecided", 0.03, 0.06, limits=("one split is one",)))
    assert limited.headline.endswith("so keep cross-entropy: one split is one.")
    assert limited.reasons[-1].endswith("whatever the figures: one split is one.")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (question("better", 0.01, 0.09), "lies above 0, so chance does not explain it"),
        (question("worse", -0.09, -0.01), "lies below 0, so chance does not explain it"),
        (question("equivalent", 0.001, 0.019), "lies within ±0.02, the smallest difference"),
        (question("undecided", -0.01, 0.09), "holds 0 and reaches beyond ±0.02"),
    ],
)
def test_why_and_how_sure(asked: Question, why: str) -> None:
    found = answer(asked)
    done, reached, verdict = found.reasons
    assert "5 splits of 100 rows" in done
    assert "reaches 0.350 in average precision and cross-entropy 0.300, where" in reached
    assert "guessing gives 0.100" in reached
    assert why in verdict
    ends = f"interval {asked.difference.low:+.3f} to {asked.difference.high:+.3f})"
    assert ends.replace("-", "−") in found.sure
    once = dataclasses.replace(PROTOCOL, repeats=1)
    single = recommend([PLAIN, FOCAL], [asked], DATA, once)
    assert "on one split: another split or another seed may say otherwise" in single.sure


def test_how_often_each_loss_was_picked_is_said() -> None:
    found = answer(question("better", 0.03, 0.06))
    assert "focal, γ 2 (4×); another (1×)" in found.more[0]


def test_the_second_question_needs_both_answers() -> None:
    first = question("better", 0.01, 0.09)
    beats = question("better", 0.05, 0.13, family="other remedies")
    beats_too = question("better", 0.02, 0.06, family="other remedies", against="focal loss")
    near = question("undecided", -0.02, 0.06, family="other remedies", against="focal loss")
    losses = (PLAIN, FOCAL, OTHER)
    found = answer(first, beats, beats_too, losses=losses)
    assert found.loss == "other remedies"
    assert found.verdict == "better"  # of focal loss, which was asked first
    assert found.headline == (
        "Use balanced cross-entropy: it finds the rare cases better than cross-entropy and than"
        " focal loss (average precision 0.390 against 0.300 and 0.350)."
    )
    assert "from cross-entropy by +0.090 (97.5 % interval" in found.sure
    assert "and from focal loss by +0.040 (97.5 % interval" in found.sure
    assert "use focal loss: it finds the rare cases better" in found.more[0]
    assert answer(first, beats, near, losses=losses).loss == "focal loss"


def test_the_model_is_picked_on_validation_data() -> None:
    plain = loss_result("cross-entropy", None, 0.0, model="xgboost", valid=0.5)
    other = loss_result("focal loss", 0.25, 2.0, 0.1, model="xgboost", valid=0.6)
    found = answer(
        question("worse", -0.09, -0.01),
        question("better", 0.05, 0.15, model="xgboost"),
        losses=(PLAIN, FOCAL, plain, other),
    )
    assert (found.model, found.loss, found.verdict) == ("xgboost", "focal loss", "better")
    assert found.headline.startswith("With xgboost: use focal loss")
    assert "mlp 0.300, xgboost 0.400" in found.more[-1]


def test_an_undefined_difference_is_said() -> None:
    undefined = dataclasses.replace(
        question("undecided", 0, 0), difference=Estimate(None, None, None)
    )
    found = answer(undefined)
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
    focal = loss_result("focal loss", 0.25, 2.0, 0.05, posterior=posterior, platt=platt)
    found = answer(question("better", 0.03, 0.07), losses=(PLAIN, focal))
    assert re.match(advice, found.probabilities)


def test_a_gain_that_chance_explains_asks_for_no_platt_scaling() -> None:
    focal = loss_result("focal loss", 0.25, 2.0, 0.05, posterior=0.15, platt=0.10, noise=0.06)
    found = answer(question("better", 0.03, 0.07), losses=(PLAIN, focal))
    assert "is the probability: log loss 0.1500" in found.probabilities


@pytest.mark.parametrize(
    ("p", "platt", "line"),
    [(0.2, 0.10, True), (0.4, 0.10, False), (0.2, 0.1499, False), (0.2, 0.16, False)],
)
def test_a_gain_beyond_one_deviation_is_taken_and_not_called_sure(
    p: float, platt: float, line: bool
) -> None:
    focal = loss_result("focal loss", 0.25, 2.0, 0.05, posterior=0.15, platt=platt, noise=0.06)
    gain = dataclasses.replace(focal.figures["platt_gain"], p=p)
    focal = dataclasses.replace(focal, figures=focal.figures | {"platt_gain": gain})
    assert takes_line(focal, 0.3) == line
    found = answer(question("better", 0.03, 0.07), losses=(PLAIN, focal)).probabilities
    assert ("Fit Platt scaling" in found) == line
    assert ("too much to call that more than chance" in found) == line
    assert "overfit" not in found


def test_a_prior_bias_is_part_of_the_recipe() -> None:
    focal = dataclasses.replace(FOCAL, prior_bias=True)
    found = answer(question("better", 0.03, 0.07), losses=(PLAIN, focal)).call
    assert found == (
        "refocal.sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2), after"
        " refocal.parameters.initialize_bias(last_layer, 0.1, alpha=0.25, gamma=2)"
    )


def test_cross_entropy_needs_no_posterior() -> None:
    found = answer(question("worse", -0.07, -0.03))
    assert found.probabilities == "sigmoid(logits) is the probability: log loss 0.2000."


# --- a whole run ---------------------------------------------------------------------------------

QUICK = Plan(quick=True)


@pytest.fixture(scope="module")
def results() -> Results:
    return comparison.run(made_table(rows=2000), by_name(["mlp"]), QUICK)


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
        again = comparison.run(made_table(rows=2000), by_name(["mlp"]), QUICK)
    finally:
        torch.set_num_threads(threads)
    assert json.dumps(again.to_dict()) == json.dumps(results.to_dict())


def test_another_seed_is_another_result() -> None:
    plans = [dataclasses.replace(QUICK, seed=seed, epochs=1) for seed in (0, 1)]
    one, other = (comparison.run(made_table(rows=300), by_name(["mlp"]), p) for p in plans)
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
    comparison.run(made_table(rows=300), by_name(["logistic"]), QUICK)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes_over_several_splits(kind: str) -> None:
    plan = dataclasses.replace(QUICK, repeats=2, epochs=2)
    found = comparison.run(made_table(kind, 400), by_name(["logistic", "mlp"]), plan)
    assert found.models == ["logistic", "mlp"]
    assert found.protocol.repeats == 2
    for model in found.models:
        plain, *others = found.of_model(model)
        assert plain.plain
        # a threshold may flag nothing on a small part, and its precision is then undefined
        assert {estimate.value for estimate in plain.gains.values()} <= {0.0, None}
        assert plain.gains["average_precision"].value == 0.0
        for loss in others:
            assert len(loss.picks) == 2
            by_class = [loss.figures[f"average_precision/{name}"] for name in found.data.classes]
            values = [estimate.value for estimate in by_class]
            np.testing.assert_allclose(np.mean(values), loss.figures["average_precision"].value)


def test_longer_runs_take_what_a_shorter_one_left(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("fits")
    table = made_table()
    first = comparison.run(table, by_name(["mlp"]), QUICK, folder=folder)
    assert len(list((folder / "fits").glob("*.npz"))) == 3
    from refocal.comparison.training.networks import Network

    trained = []
    fit = Network.fit

    def counted(self: Network, *arguments: object, **keywords: object) -> object:
        trained.append(self.name)
        return fit(self, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Network, "fit", counted)
    again = comparison.run(table, by_name(["mlp"]), QUICK, folder=folder)
    assert trained == []
    assert again == first
    comparison.run(table, by_name(["mlp"]), dataclasses.replace(QUICK, repeats=2), folder=folder)
    assert trained == ["mlp"] * 3
