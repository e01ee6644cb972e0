"""What the figures of a comparison are worth: each against scikit-learn or by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    roc_auc_score,
)
from tables import made_table

from refocal.comparison.curves import _curve
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits
from refocal.comparison.measuring import calibrate
from refocal.comparison.measuring.figures import figures_of
from refocal.comparison.measuring.gradient import gradient_shares
from refocal.comparison.measuring.scored import (
    Scored,
    least_cost_threshold,
    precision_threshold,
    readings_of,
    recall_threshold,
)
from refocal.comparison.measuring.summarise import _precision_recall, confusion, decisions
from refocal.comparison.plan import Costs
from refocal.comparison.training.losses import Loss, focal
from refocal.comparison.training.models import Fit
from refocal.comparison.training.scores import sigmoid

PLAIN = Loss("ce", None, 0.0)


@pytest.fixture(scope="module")
def ranked() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, groups."""
    generator = np.random.default_rng(3)
    labels = generator.random(2000) < 0.05
    scores = np.round(generator.normal(size=2000) + labels, 1)
    return labels, scores, generator.integers(0, 40, 2000)


# --- probabilities -------------------------------------------------------------------------------


def test_the_line_is_scikit_learn_s() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(-2, 1.5, 3000)
    labels = generator.random(x.size) < sigmoid(0.7 * x + 0.3)
    line = calibrate.fit_line(labels, x)
    assert line is not None
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x[:, None], labels)
    assert_allclose(line, [model.coef_[0, 0], model.intercept_[0]], rtol=1e-4)
    far = calibrate.fit_line(labels, 1e4 * x + 1e6)
    assert far is not None
    assert_allclose(far.slope, line.slope / 1e4, rtol=1e-6)


def test_pulls_foretell_the_lines_of_resamples() -> None:
    """Slopes of resamples from their rows' pulls spread as those of lines fitted to them do."""
    generator = np.random.default_rng(1)
    x = generator.normal(-2, 1.5, 4000)
    labels = generator.random(x.size) < sigmoid(0.7 * x + 0.3)
    line = calibrate.fit_line(labels, x)
    assert line is not None
    pulls = calibrate.slope_pulls(line, labels, x)
    assert abs(pulls.mean()) < 1e-6
    foretold, fitted = [], []
    for _ in range(200):
        drawn = generator.integers(0, x.size, x.size)
        anew = calibrate.fit_line(labels[drawn], x[drawn])
        assert anew is not None
        foretold.append(line.slope + pulls[drawn].mean())
        fitted.append(anew.slope)
    assert np.corrcoef(foretold, fitted)[0, 1] > 0.99
    assert_allclose(np.std(foretold), np.std(fitted), rtol=0.1)


def test_a_perfect_and_a_useless_score_have_no_line() -> None:
    labels = np.arange(100) >= 90
    assert calibrate.fit_line(labels, np.where(labels, 5.0, -5.0)) is None
    assert calibrate.fit_line(labels, np.where(labels, -5.0, 5.0)) is None
    constant = np.full(100, -2.0)
    assert calibrate.fit_line(labels, constant) is None
    assert_array_equal(calibrate.platt(labels, constant)(constant), constant)


def test_isotonic_steps_rise_and_never_say_never() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(-2, 1.5, 200_000)
    labels = generator.random(x.size) < sigmoid(1.3 * x + 0.2)
    said = calibrate.isotonic(labels, x)(np.linspace(-50, 50, 999))
    assert (np.diff(said) >= 0).all()
    assert np.isfinite(said).all()
    assert_allclose(sigmoid(said[[0, -1]]), [0.5 / 200_001, 1 - 0.5 / 200_001], rtol=0.5)
    at = np.array([-2.0, -1.0, 0.0, 1.0])
    assert_allclose(sigmoid(calibrate.isotonic(labels, x)(at)), sigmoid(1.3 * at + 0.2), atol=0.05)


def test_isotonic_needs_positives(data: Prepared) -> None:
    assert data.labels("valid").sum() < 200
    assert "isotonic" not in readings_of(data)
    table = made_table(rows=8000)
    (split,) = splits(table, repeats=1, seed=0)
    larger = Prepared(table, split)
    assert larger.labels("valid").sum() >= 200
    assert "isotonic" in readings_of(larger)
    one = scored(larger, PLAIN, ["a"])
    # a logit is a straight line to begin with: steps cost next to nothing
    assert figure(one, "log_loss_isotonic") < figure(one, "log_loss_platt") + 0.01


def test_reliability_of_honest_probabilities_is_the_diagonal() -> None:
    generator = np.random.default_rng(0)
    p = sigmoid(generator.normal(-2, 1.5, 200_000))
    curve = calibrate.reliability(generator.random(p.size) < p, p)
    assert len(curve.x) == 10
    assert_allclose(curve.x, curve.y, atol=0.02)


# --- operating points ----------------------------------------------------------------------------


def test_operating_points_by_brute_force(
    ranked: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, scores, _ = ranked
    cuts = np.append(np.unique(scores) - 0.05, np.inf)

    def precision(at: float) -> float:
        return float(precision_score(labels, scores > at, zero_division=np.nan))

    def recall(at: float) -> float:
        return float((labels & (scores > at)).sum() / labels.sum())

    def cost(at: float) -> float:
        return float((~labels & (scores > at)).sum() + 7 * (labels & (scores <= at)).sum())

    assert_allclose(
        recall_threshold(scores, labels, 0.2), min(at for at in cuts[:-1] if precision(at) >= 0.2)
    )
    assert recall_threshold(scores, labels, 0.99) == np.inf
    assert_allclose(
        precision_threshold(scores, labels, 0.8), max(at for at in cuts if recall(at) >= 0.8)
    )
    assert_allclose(cost(least_cost_threshold(scores, labels, 7)), min(map(cost, cuts)))
    assert least_cost_threshold(scores, labels, 1e-3) == np.inf


def test_the_brier_score_is_that_of_the_closed_form(data: Prepared) -> None:
    for loss in (PLAIN, focal(0.25, 2.0)):
        one = scored(data, loss, ["a"])
        p = one.probabilities("posterior")[:, 0]
        assert_allclose(figure(one, "brier"), brier_score_loss(one.labels[:, 0], p))


@pytest.fixture(scope="module")
def data() -> Prepared:
    table = made_table(rows=4000)
    return Prepared(table, splits(table, repeats=1, seed=0)[0])


def scored(data: Prepared, loss: Loss, columns: list[str]) -> Scored:
    """A model whose logits are columns of the table."""
    parts = [
        data.table.features[columns].to_numpy(dtype=np.float32)[rows] - 1.5
        for rows in (data.split.valid, data.split.test)
    ]
    return Scored(loss, Fit(*parts, curve=(0.5,), steps=1), data, Costs(miss=5.0))


def figure(of: Scored, name: str) -> float:
    isotonic = "isotonic" in readings_of(of.data)
    every = figures_of(
        of.data.table.classes, isotonic=isotonic, multiclass=of.data.kind == "multiclass"
    )
    found = next(one for one in every if one.name == name).of(of)
    assert len(found.influence) == len(of.labels)
    assert_allclose(found.influence.sum(), 0.0, atol=1e-6)
    return found.value


def test_figures_by_hand(data: Prepared) -> None:
    one = scored(data, PLAIN, ["a"])
    y, s = one.labels[:, 0], one.scores[:, 0]
    assert_allclose(figure(one, "average_precision"), average_precision_score(y, s))
    assert_allclose(figure(one, "roc_auc"), roc_auc_score(y, s))
    for reading in ("raw", "posterior"):
        assert_allclose(figure(one, f"log_loss_{reading}"), log_loss(y, sigmoid(s)))
    flagged = s > one.thresholds["precision"][0]
    assert_allclose(figure(one, "recall_at_precision"), flagged[y].mean())
    assert_allclose(figure(one, "precision_reached"), y[flagged].mean())
    flagged = s > one.thresholds["recall"][0]
    assert_allclose(figure(one, "recall_reached"), flagged[y].mean())
    assert_allclose(figure(one, "precision_at_recall"), y[flagged].mean())
    top = np.argsort(-s)[: y.sum()]
    assert_allclose(figure(one, "precision_at_top"), y[top].mean())
    for name, at in (("cost", one.thresholds["cost"][0]), ("cost_by_posterior", -np.log(5))):
        wrong = np.where(y, 5.0 * (s <= at), 1.0 * (s > at))
        assert_allclose(figure(one, name), wrong.mean())


def test_thresholds_and_scalings_look_at_validation_rows_alone(data: Prepared) -> None:
    one = scored(data, PLAIN, ["a"])
    other = dataclasses.replace(
        one, fit=dataclasses.replace(one.fit, test_logits=one.fit.test_logits[::-1] * 3 + 1)
    )
    assert one.thresholds == other.thresholds
    assert one.temperature == other.temperature
    names = ("thresholds", "temperature")
    shuffled = made_table(rows=4000).targets.copy()
    shuffled[data.split.test] = ~shuffled[data.split.test]
    table = dataclasses.replace(data.table, targets=shuffled, _cache={})
    blind = dataclasses.replace(one, data=Prepared(table, data.split))
    for name in names:
        assert getattr(one, name) == getattr(blind, name)


def test_platt_and_temperature_repair_a_stretched_score(data: Prepared) -> None:
    one = scored(data, PLAIN, ["a"])
    fit = dataclasses.replace(
        one.fit, valid_logits=4 * one.fit.valid_logits, test_logits=4 * one.fit.test_logits
    )
    stretched = dataclasses.replace(one, fit=fit)
    assert figure(stretched, "log_loss_raw") > figure(one, "log_loss_raw") + 0.05
    for name in ("log_loss_temperature", "log_loss_platt"):
        assert_allclose(figure(stretched, name), figure(one, name), rtol=1e-5)


def test_a_focal_model_s_posterior_is_what_is_ranked_and_calibrated(data: Prepared) -> None:
    one, plain = scored(data, focal(0.25, 2.0), ["a"]), scored(data, PLAIN, ["a"])
    # the map is monotone: same ranking, other probabilities
    assert_allclose(figure(one, "average_precision"), figure(plain, "average_precision"))
    assert figure(one, "log_loss_posterior") != figure(one, "log_loss_raw")
    assert_allclose(figure(one, "log_loss_raw"), figure(plain, "log_loss_raw"))


def test_a_threshold_as_a_probability_does_what_its_counts_say(data: Prepared) -> None:
    for loss in (PLAIN, focal(0.25, 2.0)):
        one = scored(data, loss, ["a"])
        (found,) = decisions([one])
        y = one.labels[:, 0]
        for reading, at in (("posterior", found.probability), ("platt", found.by_line)):
            flagged = one.probabilities(reading)[:, 0] > at
            assert [found.found, found.missed] == [(flagged & y).sum(), (~flagged & y).sum()]
            alarms, passed = (flagged & ~y).sum(), (~flagged & ~y).sum()
            assert [found.false_alarms, found.passed] == [alarms, passed]
        assert_allclose(found.cost, figure(one, "cost"))
        assert_allclose(found.cost_of_none, 5 * y.mean())
        assert_allclose(found.cost_of_all, (~y).mean())
        (twice,) = decisions([one, one])
        assert twice.found == 2 * found.found
        assert twice.probability == found.probability
    cheap = dataclasses.replace(scored(data, PLAIN, ["c"]), costs=Costs(miss=1e-6))
    assert decisions([cheap])[0].probability is None
    assert decisions([cheap])[0].by_line is None
    dear = dataclasses.replace(scored(data, PLAIN, ["c"]), costs=Costs(miss=1e6))
    dear.thresholds["cost"] = dear.scores.min(0) - 1.0
    assert decisions([dear])[0].by_line < dear.probabilities("platt").min()


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_macro_f1_and_the_confusion_matrix(link: Any) -> None:
    table = made_table("multiclass", 2000)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    one = scored(data, Loss("x", None, 2.0, link), ["a", "b", "c"])
    truth, said = one.labels.argmax(1), one.scores.argmax(1)
    assert confusion([one]) == confusion_matrix(truth, said).tolist()
    assert_allclose(figure(one, "macro_f1"), f1_score(truth, said, average="macro"))
    assert [each.by_line for each in decisions([one])] == [None] * 3  # scaled to 1 together


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_several_classes_are_averaged(link: Any) -> None:
    table = made_table("multiclass", 2000)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    one = scored(data, Loss("x", None, 2.0, link), ["a", "b", "c"])
    each = [average_precision_score(one.labels[:, k], one.scores[:, k]) for k in range(3)]
    by_class = [figure(one, f"average_precision/{name}") for name in ("ok", "worn", "broken")]
    assert_allclose(by_class, each)
    assert_allclose(figure(one, "average_precision"), np.mean(each))
    for reading in ("raw", "posterior", "temperature", "platt"):
        p = one.probabilities(reading)
        assert_allclose(p.sum(1), 1.0)
        assert_allclose(figure(one, f"mean_{reading}"), 1 / 3)
        index = one.labels.argmax(1)
        assert_allclose(figure(one, f"log_loss_{reading}"), log_loss(index, p, labels=[0, 1, 2]))


def test_labels_of_their_own_are_independent() -> None:
    table = made_table("multilabel", 2000)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    one = scored(data, PLAIN, ["a", "b"])
    p = one.probabilities("raw")
    each = [log_loss(one.labels[:, k], p[:, k]) for k in range(2)]
    assert_allclose(figure(one, "log_loss_raw"), np.mean(each))


# --- curves --------------------------------------------------------------------------------------


def test_precision_recall_runs_to_full_recall(
    ranked: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, scores, _ = ranked
    curve = _precision_recall(labels, scores)
    assert len(curve.x) == len(curve.y) <= 200
    assert np.all(np.diff(curve.x) > 0)
    assert curve.x[-1] == 1.0
    assert_allclose(curve.y[-1], labels.mean(), atol=0.01)


def test_gradient_shares_are_those_of_the_known_slope() -> None:
    labels = (np.arange(1000) >= 980)[:, None]
    logits = np.random.default_rng(0).normal(size=(1000, 1)) + 2 * labels - 3
    plain = gradient_shares(PLAIN, labels, reference=logits, fitted=logits)
    size = np.abs(sigmoid(logits) - labels)
    easy = ~labels & (logits <= np.quantile(logits[~labels], 0.9))
    assert_allclose(plain[0].examples, 0.98 * 0.9, atol=1e-3)
    assert_allclose(plain[0].start, size[easy].sum() / size.sum(), rtol=1e-9)
    assert_allclose(sum(share.start for share in plain), 1.0)
    assert_allclose(sum(share.examples for share in plain), 1.0)
    found = gradient_shares(focal(0.25, 2.0), labels, reference=logits, fitted=logits - 9)
    assert found[0].start < plain[0].start / 3
    assert found[0].fitted < found[0].start


def test_gradient_shares_of_the_softmax_are_rows() -> None:
    labels = np.eye(3, dtype=bool)[[0] * 90 + [1] * 6 + [2] * 4]
    logits = np.random.default_rng(0).normal(size=(100, 3)) + 2 * labels
    loss = Loss("softmax", None, 0.0, "softmax")
    found = gradient_shares(loss, labels, reference=logits, fitted=logits)
    assert_allclose([share.examples for share in found], [0.81, 0.09, 0.05, 0.05])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    size = 2 * (1 - p[labels])
    assert_allclose(found[2].start + found[3].start, size[90:].sum() / size.sum(), rtol=1e-9)


def test_the_drawn_curve_is_the_paper_s_formula() -> None:
    p, loss, slope = (np.array(column) for column in _curve(2.0))
    assert_allclose(loss, -((1 - p) ** 2) * np.log(p), rtol=1e-9)
    assert_allclose(slope, (1 - p) ** 2 * (1 - p - 2 * p * np.log(p)), rtol=1e-9)
