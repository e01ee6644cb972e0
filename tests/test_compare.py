"""The experiment behind `refocal compare`: data, training, figures, recommendation, folder."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, roc_auc_score

import refocal
from refocal import compare
from refocal.compare import CompareError, experiment
from refocal.compare.curves import _curve
from refocal.compare.drawing import axes, to_svg
from refocal.compare.folder import check_folder, write_folder
from refocal.compare.gradient import gradient_shares
from refocal.compare.measure import (
    Bootstrap,
    base_rate_log_loss,
    estimate,
    platt,
    precision_recall,
    probabilities,
    sigmoid,
)
from refocal.compare.prepare import prepare
from refocal.compare.progress import Progress
from refocal.compare.recommend import recommend
from refocal.compare.report import html, report_files
from refocal.compare.results import Curve, Estimate, LossResult, Probabilities, Results
from refocal.compare.train import QUICK, Candidate, Settings, candidates, fit, network


def customers(rows: int = 1500, seed: int = 0) -> pd.DataFrame:
    """A small table with every kind of column and missing values."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": generator.normal(40, 10, rows),
            "income": generator.lognormal(10, 1, rows),
            "plan": generator.choice(["basic", "plus", "<b>pro</b>"], rows),
            "active": generator.random(rows) < 0.5,
            "empty": np.nan,
        }
    )
    score = 0.15 * (frame["age"] - 40) + 1.5 * (frame["plan"] == "plus") - 3.5
    frame["churn"] = np.where(generator.random(rows) < sigmoid(score.to_numpy()), "yes", "no")
    frame.loc[generator.random(rows) < 0.1, "age"] = np.nan
    frame.loc[generator.random(rows) < 0.1, "plan"] = None
    return frame


def csv_file(folder: Path, frame: pd.DataFrame) -> Path:
    path = folder / "customers.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    path = csv_file(tmp_path_factory.mktemp("table"), customers())
    return compare.run(compare.read_table(path, target="churn"), quick=True)


# --- reading -------------------------------------------------------------------------------------


def test_the_rarer_value_is_positive_unless_named(tmp_path: Path) -> None:
    frame = customers()
    path = csv_file(tmp_path, frame)
    table = compare.read_table(path, target="churn")
    assert table.positive == "yes"
    assert_array_equal(table.targets, frame["churn"] == "yes")
    assert_array_equal(
        compare.read_table(path, target="churn", positive="no").targets, frame["churn"] == "no"
    )


def test_one_value_against_the_rest(tmp_path: Path) -> None:
    frame = customers()
    path = csv_file(tmp_path, frame)
    table = compare.read_table(path, target="plan", positive="plus")
    assert table.rows_without_target == frame["plan"].isna().sum()
    assert_array_equal(table.targets, frame["plan"].dropna() == "plus")


def test_a_number_names_its_class_however_it_is_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(6.0), "y": [0, 1, None, 0, 1, 0]})  # read as 0.0 and 1.0
    table = compare.read_table(csv_file(tmp_path, frame), target="y", positive="1")
    assert_array_equal(table.targets, [False, True, False, True, False])


def test_numbers_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, np.inf, -1e300, 2.0], "y": [0, 1, 0, 1]})
    table = compare.read_table(csv_file(tmp_path, frame), target="y")
    assert_array_equal(table.features["x"], [1.0, np.nan, np.nan, 2.0])


# --- splitting and encoding ----------------------------------------------------------------------


def test_the_split_keeps_base_rates_and_loses_no_row(tmp_path: Path) -> None:
    table = compare.read_table(csv_file(tmp_path, customers()), target="churn")
    data = prepare(table, seed=0)
    sizes = [len(part.targets) for part in data.parts().values()]
    assert sizes == [900, 300, 300]
    rates = [part.labels.mean() for part in data.parts().values()]
    assert_allclose(rates, table.targets.mean(), atol=0.004)


def test_groups_stay_together(tmp_path: Path) -> None:
    table = compare.read_table(csv_file(tmp_path, customers()), target="churn")
    groups = np.random.default_rng(0).integers(0, 100, len(table.targets))
    data = prepare(dataclasses.replace(table, groups=groups), seed=0)
    parts = [set(part.groups) for part in data.parts().values() if part.groups is not None]
    assert len(parts) == 3
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert not parts[0] & parts[2]


def test_the_encoding_is_learned_from_training_rows_alone(tmp_path: Path) -> None:
    data = prepare(compare.read_table(csv_file(tmp_path, customers()), target="churn"), seed=0)
    assert data.train.features.dtype == torch.float32
    for part in data.parts().values():
        assert bool(part.features.isfinite().all())
    # Standardised on the training rows exactly, on the others only nearly.
    assert_allclose(data.train.features[:, 0].mean(), 0.0, atol=1e-6)
    assert abs(float(data.test.features[:, 0].mean())) > 1e-4


def test_an_outlier_cannot_drown_the_other_inputs(tmp_path: Path) -> None:
    frame = customers()
    frame.loc[frame.index[:5], "income"] = 1e30
    table = compare.read_table(csv_file(tmp_path, frame), target="churn")
    assert prepare(table, seed=0).train.features.abs().max() <= 10


@pytest.mark.parametrize(
    ("positives", "match"), [(3, "has 3 positive examples"), (1497, "has 3 negative examples")]
)
def test_too_few_of_a_class(tmp_path: Path, positives: int, match: str) -> None:
    frame = customers()
    frame["churn"] = np.where(np.arange(len(frame)) < positives, "yes", "no")
    table = compare.read_table(csv_file(tmp_path, frame), target="churn", positive="yes")
    with pytest.raises(CompareError, match=match):
        prepare(table, seed=0)


def test_a_part_without_positives_is_refused(tmp_path: Path) -> None:
    table = compare.read_table(csv_file(tmp_path, customers()), target="churn")
    groups = np.where(table.targets, 0, np.arange(len(table.targets)))  # all positives in one group
    with pytest.raises(CompareError, match=r"the validation part .* has no positive example"):
        prepare(dataclasses.replace(table, groups=groups), seed=0)


# --- training ------------------------------------------------------------------------------------


def test_candidates_balance_the_classes() -> None:
    plain, balanced, *focal = candidates(0.02, Settings())
    assert (plain.alpha, plain.gamma) == (None, 0.0)
    assert (balanced.alpha, balanced.gamma) == (0.98, 0.0)
    assert [(loss.alpha, loss.gamma) for loss in focal] == [(0.25, 1.0), (0.25, 2.0), (0.75, 2.0)]


def test_training_learns_stops_early_and_keeps_its_best_epoch(tmp_path: Path) -> None:
    table = compare.read_table(csv_file(tmp_path, customers()), target="churn")
    data = prepare(table, seed=0)
    start = network(data.train.features.shape[1], seed=0)
    before = start[0].weight.clone()
    seen: list[float] = []
    found = fit(
        Candidate("focal", 0.25, 2.0),
        1e-2,
        start,
        data,
        Settings(epochs=30, patience=2),
        seed=0,
        report=lambda _, score: seen.append(score),
    )
    torch.testing.assert_close(start[0].weight, before, rtol=0, atol=0)
    assert found.average_precision == max(seen)
    assert found.epochs == seen.index(max(seen)) + 1
    assert len(seen) == found.epochs + 2 < 30
    assert_allclose(
        average_precision_score(data.valid.labels, found.valid_logits), found.average_precision
    )
    assert roc_auc_score(data.test.labels, found.test_logits) > 0.7


# --- figures -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranked() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, groups."""
    generator = np.random.default_rng(3)
    labels = generator.random(2000) < 0.05
    scores = np.round(generator.normal(size=2000) + labels, 1)
    return labels, scores, generator.integers(0, 40, 2000)


@pytest.mark.parametrize("grouped", [False, True])
def test_resamples_equal_scikit_learn_on_the_drawn_rows(
    ranked: tuple[np.ndarray, np.ndarray, np.ndarray], grouped: bool
) -> None:
    labels, scores, groups = ranked
    bootstrap = Bootstrap(labels, groups if grouped else None, resamples=5, seed=1)
    precision, area = bootstrap.ranking(scores)
    for index, weights in enumerate(bootstrap._weights()):
        rows = np.repeat(np.arange(len(labels)), weights.astype(int))
        assert_allclose(precision[index], average_precision_score(labels[rows], scores[rows]))
        assert_allclose(area[index], roc_auc_score(labels[rows], scores[rows]))
        if grouped:
            assert {len(set(weights[groups == group])) for group in groups} == {1}
    assert index == 5


def test_the_same_scores_differ_by_nothing_in_every_resample(
    ranked: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, scores, _ = ranked
    bootstrap = Bootstrap(labels, None, resamples=20, seed=1)
    one, other = bootstrap.ranking(scores)[0], bootstrap.ranking(3 * scores - 7)[0]
    assert_array_equal(one, other)
    assert estimate(one - other) == Estimate(0.0, 0.0, 0.0)


def test_the_interval_is_that_of_the_resamples() -> None:
    found = estimate(np.concatenate([[0.3], np.linspace(0, 1, 1001)]))
    assert found.value == 0.3
    assert_allclose([found.low, found.high], [0.025, 0.975])


def test_calibration_slope_and_platt_find_a_known_line() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(-2, 1.5, 200_000)
    labels = generator.random(truth.size) < sigmoid(truth)
    honest, stretched = probabilities(labels, truth), probabilities(labels, 2 * truth + 1)
    assert honest.slope is not None
    assert stretched.slope is not None
    assert_allclose(honest.slope, 1.0, atol=0.02)
    assert_allclose(stretched.slope, honest.slope / 2, rtol=1e-4)
    assert stretched.log_loss > honest.log_loss
    assert_allclose(honest.mean, labels.mean(), atol=0.003)
    repaired = probabilities(labels, platt(labels, 2 * truth + 1)(2 * truth + 1))
    assert_allclose(repaired.log_loss, honest.log_loss, atol=1e-4)
    assert_allclose(honest.reliability.x, honest.reliability.y, atol=0.02)


def test_a_perfect_and_a_useless_score_have_no_slope() -> None:
    labels = np.arange(100) >= 90
    assert probabilities(labels, np.where(labels, 5.0, -5.0)).slope is None
    constant = np.full(100, -2.0)
    assert probabilities(labels, constant).slope is None
    assert_array_equal(platt(labels, constant)(constant), constant)


def test_log_loss_of_the_base_rate() -> None:
    labels = np.arange(100) >= 90
    assert_allclose(base_rate_log_loss(labels, 0.1), -(0.1 * np.log(0.1) + 0.9 * np.log(0.9)))


def test_precision_recall_runs_to_full_recall(
    ranked: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, scores, _ = ranked
    curve = precision_recall(labels, scores)
    assert len(curve.x) == len(curve.y) <= 200
    assert np.all(np.diff(curve.x) > 0)
    assert curve.x[-1] == 1.0
    assert_allclose(curve.y[-1], labels.mean(), atol=0.01)


def test_gradient_shares_are_those_of_the_known_slope() -> None:
    labels = np.arange(1000) >= 980
    logits = np.random.default_rng(0).normal(size=1000) + 2 * labels - 3
    plain = gradient_shares(Candidate("ce", None, 0.0), labels, reference=logits, fitted=logits)
    size = np.abs(sigmoid(logits) - labels)
    easy = ~labels & (logits <= np.quantile(logits[~labels], 0.9))
    assert_allclose(plain[0].examples, 0.98 * 0.9, atol=1e-3)
    assert_allclose(plain[0].start, size[easy].sum() / size.sum(), rtol=1e-9)
    assert_allclose(sum(share.start for share in plain), 1.0)
    assert_allclose(sum(share.examples for share in plain), 1.0)
    focal = gradient_shares(Candidate("f", 0.25, 2.0), labels, reference=logits, fitted=logits - 9)
    assert focal[0].start < plain[0].start / 3
    assert focal[0].fitted < focal[0].start


def test_the_drawn_curve_is_the_paper_s_formula() -> None:
    p, loss, slope = (np.array(column) for column in _curve(2.0))
    assert_allclose(loss, -((1 - p) ** 2) * np.log(p), rtol=1e-9)
    assert_allclose(slope, (1 - p) ** 2 * (1 - p - 2 * p * np.log(p)), rtol=1e-9)


# --- recommendation ------------------------------------------------------------------------------


def loss_result(
    name: str,
    alpha: float | None,
    gamma: float,
    gain: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    valid: float = 0.2,
    posterior: float = 0.10,
    platt: float = 0.10,
) -> LossResult:
    def reading(log_loss: float) -> Probabilities:
        return Probabilities(log_loss, 0.1, 1.0, Curve([0.1], [0.1]))

    return LossResult(
        name=name,
        alpha=alpha,
        gamma=gamma,
        learning_rate=1e-3,
        epochs=3,
        valid_average_precision=valid,
        average_precision=Estimate(0.3 + gain[0], 0.2, 0.4),
        roc_auc=Estimate(0.8, 0.7, 0.9),
        average_precision_gain=Estimate(*gain),
        roc_auc_gain=Estimate(*gain),
        raw=reading(0.2),
        posterior=reading(posterior),
        platt=reading(platt),
        precision_recall=Curve([1.0], [0.1]),
        gradient=[],
    )


PLAIN = loss_result("cross-entropy", None, 0.0)


@pytest.mark.parametrize(
    ("gain", "loss", "headline"),
    [
        ((0.05, 0.01, 0.09), "focal", "Use focal: average precision 0.350 against 0.300"),
        ((0.05, -0.01, 0.09), "cross-entropy", "Cross-entropy is as good here"),
        ((-0.05, -0.09, -0.01), "cross-entropy", "Use cross-entropy: average precision 0.300"),
    ],
)
def test_the_interval_decides(gain: tuple[float, float, float], loss: str, headline: str) -> None:
    found = recommend([PLAIN, loss_result("focal", 0.25, 2.0, gain)], 0.3)
    assert found.loss == loss
    assert found.headline.startswith(headline)
    expected = "alpha=0.25, gamma=2)" if loss == "focal" else "alpha=None, gamma=0)"
    assert found.call.endswith(expected)


def test_the_challenger_is_picked_on_validation_data() -> None:
    lucky = loss_result("lucky", 0.5, 1.0, (0.2, 0.1, 0.3), valid=0.1)
    usual = loss_result("usual", 0.25, 2.0, (0.01, -0.02, 0.03), valid=0.3)
    assert recommend([PLAIN, lucky, usual], 0.3).loss == "cross-entropy"


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
    assert re.match(advice, recommend([PLAIN, focal], 0.3).probabilities)


def test_cross_entropy_needs_no_posterior() -> None:
    found = recommend([PLAIN, loss_result("f", 0.25, 2.0)], 0.3)
    assert found.probabilities == "sigmoid(logits) is the probability: log loss 0.1000."


# --- a whole run ---------------------------------------------------------------------------------


def test_the_closed_form_needs_no_data_and_beats_the_sigmoid(results: Results) -> None:
    plain, *others = results.losses
    assert plain.raw == plain.posterior
    for loss in others:
        assert loss.posterior.log_loss < loss.raw.log_loss
        assert abs(loss.posterior.mean - 0.1) < abs(loss.raw.mean - 0.1)


def test_the_same_seed_gives_the_same_results_on_any_number_of_threads(
    results: Results, tmp_path: Path
) -> None:
    table = compare.read_table(csv_file(tmp_path, customers()), target="churn")
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    try:
        again = compare.run(table, quick=True)
    finally:
        torch.set_num_threads(threads)
    assert json.dumps(again.to_dict()) == json.dumps(results.to_dict())
    assert compare.run(table, quick=True, seed=1).losses != results.losses


def test_a_run_leaves_torch_as_it_was(tmp_path: Path) -> None:
    table = compare.read_table(csv_file(tmp_path, customers(300)), target="churn")
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    compare.run(table, quick=True)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    assert torch.get_num_threads() == threads


def test_a_training_that_fails_stops_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = compare.read_table(csv_file(tmp_path, customers(300)), target="churn")
    stopped: list[str] = []

    def fake(candidate: Candidate, *_: object, report: Callable[[int, float], None], **__: object):
        if candidate.gamma == 2.0:
            raise RuntimeError("out of memory")
        try:
            for epoch in range(6000):  # a minute, were it not stopped
                report(epoch, 0.1)
                time.sleep(0.01)
        except CancelledError:
            stopped.append(candidate.name)
            raise

    monkeypatch.setattr(experiment, "fit", fake)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with pytest.raises(RuntimeError, match="out of memory"):
        compare.run(table, quick=True)
    assert sorted(stopped) == ["balanced cross-entropy", "cross-entropy"]


def test_report_files(results: Results) -> None:
    files = report_files(results)
    assert files == report_files(results)  # no time stamp, no random id
    page = files["report.html"]
    assert page.count(results.recommendation.headline.replace("'", "&#39;")) == 3
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    assert json.loads(files["results.json"])["schema"] == "refocal.compare/1"
    rows = pd.read_csv(io.StringIO(files["results.csv"]))
    assert list(rows["loss"]) == [loss.name for loss in results.losses]
    assert_allclose(rows["posterior_log_loss"], [x.posterior.log_loss for x in results.losses])


def test_every_plot_is_valid_svg_that_follows_the_page_s_colour(results: Results) -> None:
    drawn = {name: text for name, text in report_files(results).items() if name.endswith(".svg")}
    assert len(drawn) == 8
    for text in drawn.values():
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "currentColor" in text
        assert "#010203" not in text
        assert "prefers-color-scheme" in text


def test_names_from_the_data_cannot_write_html(results: Results) -> None:
    wicked = dataclasses.replace(results, data="<script>alert(1)</script>", target="<i>")
    drawn = {name: "" for name in report_plots()}
    page = html(wicked, drawn)
    assert "<script>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page


def report_plots() -> tuple[str, ...]:
    return (
        "gain",
        "precision-recall",
        "reliability-raw",
        "reliability-posterior",
        "gradient-start",
        "gradient-fitted",
        "loss",
        "slope",
    )


def test_summary_names_every_loss_and_the_answer(results: Results) -> None:
    text = compare.summary(results)
    for loss in results.losses:
        assert loss.name in text
    assert results.recommendation.headline in text


def test_a_figure_s_text_is_safe_in_its_title() -> None:
    figure, _ = axes()
    assert 'aria-label="a &amp; b"' in to_svg(figure, name="n", title="a & b")


# --- the folder ----------------------------------------------------------------------------------

OURS = {"results.json": '{"schema": "refocal.compare/1"}', "plots/loss.svg": "<svg/>"}


def test_the_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    write_folder(folder, {**OURS, "plots/old.svg": "<svg/>"})
    write_folder(folder, OURS)
    assert sorted(path.name for path in folder.rglob("*")) == ["loss.svg", "plots", "results.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"thesis.txt": ""}, "holds files"),
        ({"results.json": "{}"}, "holds files"),
        ({**OURS, "thesis.txt": ""}, r"holds thesis\.txt"),
        ({**OURS, "plots/mine.png": ""}, r"holds plots/mine\.png"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, files: dict[str, str], match: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(CompareError, match=match):
        write_folder(tmp_path, OURS)
    assert all((tmp_path / name).read_text() == text for name, text in files.items())


def test_a_failure_leaves_the_earlier_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    write_folder(folder, OURS)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CompareError, match="cannot be written: No space left on device"):
        write_folder(folder, {"report.html": "new"})
    assert (folder / "results.json").read_text() == OURS["results.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failed_move_puts_the_earlier_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    write_folder(folder, OURS)
    from refocal.compare import folder as module

    move = module.os.replace

    def fails_for_new(source: Path, target: Path) -> None:
        if Path(source).name == "new":
            raise OSError(13, "Permission denied")
        move(source, target)

    monkeypatch.setattr(module.os, "replace", fails_for_new)
    with pytest.raises(CompareError, match="Permission denied"):
        write_folder(folder, {"report.html": "new"})
    assert (folder / "results.json").read_text() == OURS["results.json"]


def test_a_file_in_the_way_and_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompareError, match="is not a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(CompareError, match="cannot be written"):
        check_folder(tmp_path / "file" / "below")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompareError, match="is the current one"):
        check_folder(Path("."))


# --- progress ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_plain_lines_in_a_pipe() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream)
    progress.working("first")
    progress.finished("first")
    progress.close()
    assert stream.getvalue() == "1/2  first\n"


def test_progress_is_one_moving_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    progress = Progress(2, stream)
    progress.working("first, a long text" * 9)
    progress.finished("first")
    progress.close()
    text = stream.getvalue()
    assert "\n" not in text
    assert "1/2, 0 s left" in text
    assert max(map(len, text.split("\r"))) == 59
    assert text.split("\r")[-2].strip() == ""  # wiped


def test_quick_is_less_work() -> None:
    usual = Settings()
    assert len(QUICK.learning_rates) < len(usual.learning_rates)
    assert QUICK.epochs < usual.epochs
    assert len(QUICK.focal) < len(usual.focal)
    assert refocal.__version__
