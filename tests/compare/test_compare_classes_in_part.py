"""Several classes of a table of which a share is read: each class has a share of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from test_compare_sampling import WRITERS, assert_like_the_whole, clicks, whole_and_part
from test_compare_winner import call, recommending

import refocal
from refocal.comparison import Results, Table, by_name, read_table
from refocal.comparison.data import sampling, text_pieces
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import Split
from refocal.comparison.data.table import class_index, one_hot
from refocal.comparison.measuring import calibrate, figures, influence, thinned
from refocal.comparison.measuring.scored import Scored
from refocal.comparison.measuring.summarise import confusion, decisions
from refocal.comparison.plan import Costs, Plan
from refocal.comparison.report.files import report_files
from refocal.comparison.report.winner import script
from refocal.comparison.results import Sampling
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Fit, validation_score
from refocal.comparison.training.scores import log_odds, of_table


def parcels(rows: int = 4_000, seed: int = 0) -> pd.DataFrame:
    """Nearly all arrive; some come late, few are lost, and `spent` and `seen` tell something."""
    random = np.random.default_rng([seed, 1])
    frame = clicks(rows, seed).drop(columns="clicked")
    late = frame["spent"].fillna(0) * 1.2 + random.logistic(size=rows) > 3.2
    lost = frame["seen"] * 1.5 + random.logistic(size=rows) > 5.2
    frame["state"] = np.where(lost, "lost", np.where(late, "late", "here"))
    frame.loc[::97, "state"] = None
    return frame


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_rare_classes_are_read_whole(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_pieces, "_ROWS", 700)
    path = WRITERS[kind](parcels(), tmp_path)
    whole, part = (read_table(path, target="state", rows=rows) for rows in (None, 900))
    assert whole.classes == part.classes == ("here", "late", "lost")
    counts = whole.targets.sum(0)
    taken = part.targets.sum(0)
    assert part.rows == taken.sum() == 900
    assert_array_equal(taken[1:], counts[1:])
    assert part.sampling == Sampling(counts.tolist(), (taken / counts).tolist())
    assert part.rows_without_target == whole.rows_without_target
    assert isinstance(whole.features, pd.DataFrame)
    assert isinstance(part.features, pd.DataFrame)
    texts = [
        [f"{row} {label}" for row, label in zip(one.features.to_numpy().tolist(), of, strict=True)]
        for one, of in ((t, class_index(t.targets)) for t in (whole, part))
    ]
    assert set(texts[1]) <= set(texts[0])
    every = np.arange(part.rows)
    weights = part.weights(every)
    assert weights is not None
    assert_allclose(weights.sum(), whole.rows)
    assert_allclose(part.rates(every), whole.rates(np.arange(whole.rows)))
    assert read_table(path, target="state", rows=900).fingerprint() == part.fingerprint()


@pytest.mark.parametrize(
    ("counts", "room", "taken"),
    [
        ([900, 50, 50], 300, [200, 50, 50]),
        ([500, 400, 10], 300, [145, 145, 10]),
        ([100, 100, 100], 100, [33, 33, 34]),
        ([1_000, 2, 1_000, 30], 202, [85, 2, 85, 30]),
    ],
)
def test_room_is_shared_evenly(counts: list[int], room: int, taken: list[int]) -> None:
    found = sampling.shared(np.array(counts), room)
    assert found.tolist() == taken
    assert found.sum() == room


def test_the_finding_names_what_was_read(tmp_path: Path) -> None:
    path = WRITERS["csv"](parcels(), tmp_path)
    finding = read_table(path, target="state", rows=900).findings[0]
    assert finding.code == "sampled"
    assert finding.message.startswith("All rows of 'late', 'lost' and ")
    assert "rows of 'here' were read" in finding.message
    few = read_table(path, target="state", rows=200).findings[0]
    assert few.message.count(" rows of ") == 3


# --- figures -------------------------------------------------------------------------------------

SHARES = (1 / 5, 1 / 2, 1.0)
TIMES = np.array([5, 2, 1])


def scored(share: Sampling | None, order: Any, logits: Any, loss: Loss) -> Scored:
    """A loss on rows in this order, of which some may be there several times."""
    labels = one_hot(rows_of()[0], 3)[order]
    of = logits[order].astype(np.float32)
    frame = pd.DataFrame({"x": np.zeros(2 * len(labels))})
    both = np.concatenate([labels, labels])
    table = Table("t", frame, both, "y", ("a", "b", "c"), "multiclass", sampling=share)
    half = np.arange(len(labels))
    data = Prepared(table, Split(half[:0], half, half + len(labels)))
    return Scored(loss, Fit(of, of, (0.0,), 1), data, Costs(miss=5.0))


def rows_of() -> tuple[Any, Any]:
    """Classes of 600 rows that were read, and log-probabilities of a model of them."""
    random = np.random.default_rng(8)
    index = random.choice(3, 600, p=[0.5, 0.3, 0.2])
    said = random.normal(size=(600, 3)) + 1.3 * np.eye(3)[index] + [0.6, 0.2, -0.8]
    return index, said - np.logaddexp.reduce(said, axis=1, keepdims=True)


LOSSES = {
    "cross-entropy": Loss("", None, 0.0, "softmax"),
    "focal": Loss("", (0.5, 1.0, 1.5), 2.0, "softmax"),
    "one against the rest": Loss("", None, 0.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_figure_is_that_of_the_whole_table(name: str) -> None:
    """A row read of five and one of two, put back, against so many rows of the whole table's model.

    That model says other log-probabilities: those among the rows read, less the logarithms of the
    shares, and scaled to a total of 1.
    """
    loss = LOSSES[name]
    index, among = rows_of()
    if loss.link == "sigmoid":
        logits = among - np.log(-np.expm1(among))
    else:
        logits = among  # of cross-entropy; a focal loss's mean something else, and so be it
        among = log_odds(loss, torch.from_numpy(logits.astype(np.float32))).numpy()
    moved = among - np.log(SHARES)
    told = moved - np.logaddexp.reduce(moved, axis=1, keepdims=True)
    rows = np.repeat(np.arange(600), TIMES[index])
    share = Sampling((2 * TIMES * np.bincount(index)).tolist(), list(SHARES))
    part = scored(share, np.arange(600), logits, loss)
    expected = told if loss.link == "softmax" else told - np.log(-np.expm1(told))
    assert_allclose(part.scores, expected, rtol=1e-4, atol=1e-5)
    # the same model on the whole table, whose rows are there as often as they stand for
    whole = scored(None, rows, np.log(np.exp(told)), Loss("", None, 0.0, "softmax"))
    if loss.link == "sigmoid":
        whole = scored(None, rows, expected, loss)
    skipped = ("platt", "temperature", "raw", "top")  # fitted among the rows read; smoothed
    for figure in figures.figures_of(("a", "b", "c"), isotonic=False, multiclass=True):
        found, right = figure.of(part), figure.of(whole)
        assert np.isfinite(found.influence).all(), figure.name
        if any(word in figure.name for word in skipped):
            continue
        if figure.name == "calibration_error":  # bins of equally many rows, of other rows
            assert_allclose(found.value, right.value, atol=0.03)
            continue
        assert_allclose(found.value, right.value, rtol=1e-4, err_msg=figure.name)
        together = np.bincount(rows, right.influence)
        assert_allclose(found.influence, together, rtol=1e-3, atol=1e-6, err_msg=figure.name)
    assert_allclose(confusion([part]), confusion([whole]))
    for one, other in zip(decisions([part]), decisions([whole]), strict=True):
        assert_allclose([one.found, one.missed], [other.found, other.missed])
        assert_allclose([one.cost, one.cost_of_all], [other.cost, other.cost_of_all])
    for reading in ("temperature", "platt"):
        loss_of = figures.of_reading(reading)[0].of
        assert loss_of(part).value < figures.of_reading("posterior")[0].of(whole).value * 1.02
    data = part.data
    assert_allclose(
        validation_score(loss, logits, data),
        np.mean(
            [influence.average_precision(told[rows, k], index[rows] == k).value for k in range(3)]
        ),
        rtol=1e-4,
    )


def test_what_is_said_of_the_table_is_bayes_rule() -> None:
    _, among = rows_of()
    share = Sampling([500, 200, 100], list(SHARES))
    expected = np.exp(among) / SHARES
    expected /= expected.sum(1, keepdims=True)
    said = torch.from_numpy(among)
    assert_allclose(of_table(said, share, softmax=True).exp(), expected, rtol=1e-12)
    odds = torch.from_numpy(among - np.log(-np.expm1(among)))
    assert_allclose(of_table(odds, share, softmax=False).sigmoid(), expected, rtol=1e-9)
    text = share.rescaled("torch.softmax(z, 1)")
    assert_allclose(eval(text, {"torch": torch, "z": said.float()}), expected, rtol=1e-5)
    assert of_table(said, None, softmax=True) is said
    # a logit so large that its probability is 1 still ranks
    far = torch.tensor([[800.0, -800.0, -800.0], [900.0, -900.0, -900.0]], dtype=torch.float64)
    top = of_table(far, share, softmax=False)[:, 0]
    assert top[0] < top[1] < torch.inf


def test_a_weighted_line_and_area_are_those_of_so_many_rows() -> None:
    random = np.random.default_rng(5)
    x, labels = random.normal(size=200), random.random(200) < 0.4
    x = x + labels
    weights = random.integers(1, 5, 200)
    rows = np.repeat(np.arange(200), weights)
    line, plain = (
        calibrate.fit_line(labels, x, weights * 0.5),
        calibrate.fit_line(labels[rows], x[rows]),
    )
    assert line is not None
    assert plain is not None
    assert_allclose(line, plain, rtol=1e-6)
    pulls = calibrate.slope_pulls(line, labels, x, weights * 0.5) / len(labels)
    together = np.bincount(rows, calibrate.slope_pulls(plain, labels[rows], x[rows])) / len(rows)
    assert_allclose(pulls, together, rtol=1e-5, atol=1e-9)
    area, right = influence.area(x, labels, weights * 1.0), influence.area(x[rows], labels[rows])
    assert_allclose(area.value, right.value)
    assert_allclose(area.influence, np.bincount(rows, right.influence), atol=1e-12)


def test_a_top_is_a_guess_by_the_share_of_each_rival() -> None:
    random = np.random.default_rng(12)
    labels = random.random(20_000) < 0.05
    scores = random.normal(size=20_000) + 2 * labels
    every = np.full(20_000, 1 / 20)
    assert thinned.guessed(scores, labels, every) == thinned.guessed(scores, labels, 1 / 20)
    assert thinned.enough(scores, labels, every) == thinned.enough(scores, labels, 1 / 20)
    half = np.where(np.arange(20_000) % 2, 1 / 20, 1.0)
    assert 0 < thinned.guessed(scores, labels, half) < thinned.guessed(scores, labels, 1 / 20)
    # rivals of which a larger share was read than of the class itself are no guess
    assert thinned.guessed(scores, labels, 3.0) == 0
    assert thinned.enough(scores, labels, 3.0) == 1


# --- the whole way -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results, Results]:
    path = WRITERS["csv"](parcels(16_000), tmp_path_factory.mktemp("classes"))
    return path, *whole_and_part(path, "state", 3_000)


def test_a_share_finds_what_the_whole_table_does(both: tuple[Path, Results, Results]) -> None:
    _, whole, part = both
    names = [f"average_precision/{name}" for name in whole.data.classes]
    names += ["average_precision", "roc_auc", "cost_by_posterior", "brier", "f1"]
    assert_like_the_whole(whole, part, names, base=0.02, rates=0.05)
    for one in part.losses:
        assert one.confusion is not None
        assert abs(np.sum(one.confusion) - whole.data.rows) <= 9
    assert "torch.nn.functional.normalize(softmax(logits) /" in part.recommendation.probabilities


def test_the_page_says_what_was_read(both: tuple[Path, Results, Results]) -> None:
    _, _, part = both
    text = report_files(part)["report.html"]
    assert "at random within each class: 100 % of late, lost and " in text
    assert "probabilities are divided by the share read of their class" in text
    assert Results.from_dict(part.to_dict()) == part


@pytest.mark.parametrize("platt", [False, True])
def test_the_script_reads_the_same_rows(
    platt: bool, both: tuple[Path, Results, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole, part = both
    new, text_path = path.parent / "new.csv", path.parent / "w.py"
    parcels(3_000, seed=1).drop(columns="state").to_csv(new, index=False)
    if platt:
        monkeypatch.setattr("refocal.comparison.report.winner.takes_line", lambda *_: True)
    for family in [loss.name for loss in part.losses]:
        text = script(recommending(part, family))
        code, printed = call(text, text_path, "--check")
        assert code == 0, (family, printed)
        code, printed = call(text, text_path, new)
        assert code == 0, printed
        p = pd.read_csv(io.StringIO(printed))
        assert list(p.columns) == whole.data.classes
        assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
        # of the table, and not of the rows that were read
        assert_allclose(p.mean(), whole.data.parts[0].rates, rtol=0.25)


def test_a_share_that_is_too_small_decides_nothing(both: tuple[Path, Results, Results]) -> None:
    path, _, _ = both
    part = read_table(path, target="state", rows=400)
    asked = refocal.comparison.run(part, by_name(["logistic"]), Plan(repeats=2)).questions
    for one in asked:
        assert one.verdict == "undecided"
        assert any("of the commonest class is too few to tell the top" in x for x in one.limits)
