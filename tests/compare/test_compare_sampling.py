"""A table of which a share is read: rows are the file's, and figures those of the whole table."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import refocal
from refocal.__main__ import main
from refocal.comparison import CompareError, Results, Table, by_name, read_table
from refocal.comparison.data import memory, pieces, sampling, text_pieces
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import Split
from refocal.comparison.measuring import calibrate, figures, influence, thinned
from refocal.comparison.measuring.influence import Measure
from refocal.comparison.measuring.scored import (
    Scored,
    best_f1_threshold,
    least_cost_threshold,
    precision_threshold,
    recall_threshold,
)
from refocal.comparison.plan import Costs, Plan
from refocal.comparison.report.files import report_files
from refocal.comparison.results import Sampling
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Fit


def clicks(rows: int = 4_000, seed: int = 0, rate: float = -4.0) -> pd.DataFrame:
    """Numbers, words, days, empty cells, row numbers, and rare clicks that follow from them."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 2))
    p = 1 / (1 + np.exp(-(rate + 1.5 * x[:, 0])))
    frame = pd.DataFrame(
        {
            "id": np.arange(1, rows + 1),
            "spent": x[:, 0].round(3),
            "seen": random.normal(size=rows).round(6),
            "word": random.choice(["rot", "grün, hell", "weiß"], rows),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows) % 300, "D"),
            "clicked": np.where(random.random(rows) < p, "yes", "no"),
        }
    )
    frame.loc[::7, "spent"] = np.nan
    frame.loc[::97, "clicked"] = None
    return frame


def as_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path / "t.csv", index=False)
    return path / "t.csv"


def as_german(frame: pd.DataFrame, path: Path) -> Path:
    text = frame.to_csv(index=False, sep=";", decimal=",", date_format="%d.%m.%Y")
    (path / "t.csv").write_bytes(("Auszug\n\n" + text + "Summe;17;;;;\n").encode("latin-1"))
    return path / "t.csv"


def as_packed(frame: pd.DataFrame, path: Path) -> Path:
    (path / "t.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    return path / "t.csv.gz"


def as_parquet(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path / "t.parquet", index=False, row_group_size=300)
    return path / "t.parquet"


def as_folder(frame: pd.DataFrame, path: Path) -> Path:
    """Three files of other columns in other orders, one of which has no rows."""
    for k, part in enumerate((frame[:1_500], frame[1_500:1_500], frame[1_500:])):
        below = path / "t" / f"part={k % 2}"
        below.mkdir(parents=True, exist_ok=True)
        part[list(frame.columns[:: 1 - 2 * (k % 2)])].to_parquet(
            below / f"{k}.parquet", index=False
        )
    (path / "t" / "_SUCCESS").touch()
    return path / "t"


def as_arrow(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_feather(path / "t.arrow")
    return path / "t.arrow"


WRITERS: dict[str, Callable[[pd.DataFrame, Path], Path]] = {
    "csv": as_csv,
    "German": as_german,
    "gzip": as_packed,
    "Parquet": as_parquet,
    "folder": as_folder,
    "Arrow": as_arrow,
}


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_the_rows_read_are_rows_of_the_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_pieces, "_ROWS", 700)
    path = WRITERS[kind](clicks(), tmp_path)
    whole, part = (read_table(path, target="clicked", rows=rows) for rows in (None, 900))
    assert part.rows == 900
    found = part.sampling
    assert found is not None
    negatives, positives = found.counts
    assert (found.rows, positives) == (whole.rows, whole.targets.sum())
    assert part.targets.sum() == positives
    assert found.read == [(900 - positives) / negatives, 1]
    assert part.rows_without_target == whole.rows_without_target
    # every row that was read is one of the whole table's, in its order
    assert isinstance(whole.features, pd.DataFrame)
    assert isinstance(part.features, pd.DataFrame)
    assert list(part.features.columns) == list(whole.features.columns)
    assert "id" not in part.features.columns
    rows = [hash_of(table) for table in (whole, part)]
    places = pd.Index(rows[0]).get_indexer_for(rows[1])
    assert (places >= 0).all()
    taken = pd.Series(places)[part.targets[:, 0]]
    assert taken.is_monotonic_increasing
    again = read_table(path, target="clicked", rows=900)
    assert again.fingerprint() == part.fingerprint() != whole.fingerprint()


def hash_of(table: Table) -> list[str]:
    assert isinstance(table.features, pd.DataFrame)
    texts = [" ".join(map(str, row)) for row in table.features.itertuples(index=False)]
    return [f"{text} {label}" for text, label in zip(texts, table.targets[:, 0], strict=True)]


@pytest.mark.parametrize("kind", ["Parquet", "folder"])
def test_a_folder_of_parquet_reads_as_one_table(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](clicks(), tmp_path)
    table = read_table(path, target="clicked", drop=["part"] if kind == "folder" else [])
    expected = read_table(as_parquet(clicks(), tmp_path), target="clicked")
    assert isinstance(table.features, pd.DataFrame)
    assert isinstance(expected.features, pd.DataFrame)
    assert_array_equal(table.targets, expected.targets)
    for name in expected.features.columns:
        assert_array_equal(table.features[name], expected.features[name], err_msg=name)


def test_a_folder_without_parquet_or_of_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match=r"folder without Parquet files\. Name a file in it"):
        read_table(tmp_path, target="y")
    pd.DataFrame({"a": [1, 2], "y": [0, 1]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"a": ["x", "z"], "y": [0, 1]}).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(CompareError, match="cannot be read: Unable to merge: Field a"):
        read_table(tmp_path, target="y")


@pytest.mark.parametrize(
    ("negatives", "positives", "rows", "taken"),
    [
        (9_900, 100, 1_000, (900, 100)),
        (600, 400, 500, (250, 250)),
        (100, 900, 500, (100, 400)),
        (150, 150, 299, (149, 150)),
        (900, 100, 1_000, None),
        (900, 100, 5_000, None),
    ],
)
def test_the_rarer_class_is_read_whole_where_it_fits(
    negatives: int, positives: int, rows: int, taken: tuple[int, int] | None
) -> None:
    frame = pd.DataFrame({"x": np.arange(negatives + positives) % 7.0})
    frame["y"] = np.arange(len(frame)) < positives
    table = refocal.comparison.frame_table(
        frame, name=Path("f"), target="y", positive="True", rows=rows
    )
    if taken is None:
        assert table.sampling is None
        assert table.rows == negatives + positives
        return
    assert table.sampling is not None
    assert (table.rows - table.targets.sum(), table.targets.sum()) == taken
    assert_allclose(table.sampling.read, [taken[0] / negatives, taken[1] / positives])
    every = np.arange(table.rows)
    weights = table.weights(every)
    assert weights is not None
    assert_allclose(weights.sum(), negatives + positives)
    assert_allclose(table.rates(every), positives / (negatives + positives))


def test_arrays_say_something_of_every_row_of_the_file(tmp_path: Path) -> None:
    frame = clicks().dropna(subset="clicked").reset_index(drop=True)
    path = as_csv(frame, tmp_path)
    groups = np.arange(len(frame)) // 10
    table = read_table(path, target="clicked", groups=groups, rows=900)
    by_name_too = as_csv(frame.assign(g=groups), tmp_path)
    named = read_table(by_name_too, target="clicked", groups="g", rows=900)
    assert table.groups is not None
    assert named.groups is not None
    assert_array_equal(table.groups, named.groups)
    with pytest.raises(CompareError, match="one value for each of the 3958 rows, got 3"):
        read_table(path, target="clicked", groups=[1, 2, 3], rows=900)


def test_what_cannot_be_read_in_part_says_the_way_out(tmp_path: Path) -> None:
    frame = clicks()
    frame["clicked"] = frame["word"]
    frame["second"] = frame["word"] == "rot"
    frame["third"] = frame["seen"] > 1
    path = as_csv(frame.drop(columns="word"), tmp_path)
    with pytest.raises(CompareError, match=r"the 2 labels of this target share rows\. Name one"):
        read_table(path, target=["second", "third"], rows=500)
    assert read_table(path, target="third", rows=500).rows == 500
    assert read_table(path, target="clicked", positive="rot", rows=500).rows == 500
    with pytest.raises(CompareError, match="rows= must be a whole number of at least 100, got 99"):
        read_table(path, target="clicked", positive="rot", rows=99)
    for wrong in (500.0, "500", True):
        with pytest.raises(CompareError, match="rows= must be a whole number of at least 100, got"):
            read_table(path, target="clicked", positive="rot", rows=wrong)  # type: ignore[arg-type]
    with pytest.raises(CompareError, match="has no column 'nothing' for drop="):
        read_table(path, target="clicked", positive="rot", rows=500, drop=["nothing"])
    with pytest.raises(CompareError, match="rows= belongs to a path or a data frame"):
        refocal.compare("logistic", (np.zeros((9, 1)), np.zeros(9)), rows=500)
    table = read_table(path, target="clicked", positive="rot", rows=500)
    with pytest.raises(CompareError, match="rows= belongs to what a table is made of"):
        refocal.compare("logistic", table, rows=400)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--rows", "500"]) == 2
    assert "--rows belongs to a FILE" in capsys.readouterr().err
    path = as_csv(clicks(), tmp_path)
    assert main(["compare", str(path), "--target", "clicked", "--rows", "50"]) == 2
    assert "--rows must be a whole number of at least 100, got 50" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "gzip", "Parquet", "folder"])
def test_a_table_larger_than_memory_is_read_in_part(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = WRITERS[kind](clicks(), tmp_path)
    needed = memory.memory_for(path).needed
    monkeypatch.setattr(memory, "available_bytes", lambda: needed / 2)
    table = read_table(path, target="clicked")
    assert table.rows == 1_000  # a quarter of the rows fits half of the memory, to one digit
    finding = table.findings[0]
    assert (finding.code, finding.severity) == ("sampled", "warning")
    assert "would take about" in finding.message
    assert table.source is not None
    assert table.source.rows == 1_000  # so that a script reads the same rows elsewhere
    monkeypatch.setattr(memory, "available_bytes", lambda: 1.0)
    with pytest.raises(CompareError, match="save it as CSV or Parquet, of which rows="):
        read_table(as_arrow(clicks(), tmp_path), target="clicked")


def test_memory_for_a_million_is_not_filled(tmp_path: Path) -> None:
    room = memory.Memory(needed=100e9, available=50e9)
    assert sampling.most_rows(40_000_000, room) == 1_000_000
    assert sampling.most_rows(400_000, room) == 100_000
    assert sampling.most_rows(300, room) == 100


def test_pieces_of_a_file_that_changes_its_encoding_late(tmp_path: Path) -> None:
    """The first lines are plain, and what follows shows that the file is no UTF-8."""
    frame = clicks(20_000)
    frame["word"] = np.where(np.arange(20_000) < 19_000, "plain", "grün")
    path = tmp_path / "t.csv"
    path.write_bytes(frame.to_csv(index=False).encode("cp1252"))
    whole, part = (read_table(path, target="clicked", rows=rows) for rows in (None, 19_000))
    assert isinstance(part.features, pd.DataFrame)
    assert "grün" in set(part.features["word"])
    assert [one for one in part.findings if one.code == "dialect"] == [
        one for one in whole.findings if one.code == "dialect"
    ]


# --- figures -------------------------------------------------------------------------------------


def measures(weights: Any, rows: Any) -> dict[str, Measure]:
    random = np.random.default_rng(3)
    scores = np.round(random.normal(size=60), 1)[rows]
    labels = (random.random(60) < 0.3)[rows]
    flagged = (np.arange(60) % 3 > 0)[rows]
    return {
        "average precision": influence.average_precision(scores, labels, weights),
        "mean": influence.mean(scores, weights),
        "share": influence.share(flagged & labels, labels, weights),
        "top 20": influence.precision_at(20, scores, labels, weights),
        "top": influence.precision_at(None, scores, labels, weights),
    }


def test_a_weighted_figure_is_that_of_so_many_rows() -> None:
    weights = np.tile([1.0, 3.0, 2.0], 20)
    rows = np.repeat(np.arange(60), weights.astype(int))
    weighted, plain = measures(weights, np.arange(60)), measures(None, rows)
    for name, one in weighted.items():
        assert_allclose(one.value, plain[name].value, rtol=1e-12, err_msg=name)
        assert_allclose(one.influence.sum(), 0.0, atol=1e-12, err_msg=name)
        together = np.bincount(rows, plain[name].influence)
        if not name.startswith("top"):  # which smooths over the rows around its cut
            assert_allclose(one.influence, together, atol=1e-12, err_msg=name)
    for name, one in measures(np.ones(60), np.arange(60)).items():
        assert_allclose(one.influence, measures(None, np.arange(60))[name].influence, err_msg=name)


@pytest.mark.parametrize(
    ("choose", "point"),
    [
        (recall_threshold, 0.4),
        (precision_threshold, 0.7),
        (least_cost_threshold, 3.0),
        (best_f1_threshold, 1.0),
    ],
)
def test_a_weighted_threshold_is_that_of_so_many_rows(choose: Any, point: float) -> None:
    random = np.random.default_rng(5)
    scores, labels = random.normal(size=80), random.random(80) < 0.4
    scores = scores + labels
    weights = np.where(labels, 1, 4)
    rows = np.repeat(np.arange(80), weights)
    assert choose(scores, labels, point, weights.astype(float)) == choose(
        scores[rows], labels[rows], point
    )


def test_the_best_f1_is_the_best() -> None:
    random = np.random.default_rng(6)
    labels = random.random(200) < 0.2
    scores = random.normal(size=200) + 1.5 * labels

    def f1(at: float) -> float:
        said = scores > at
        return 2 * float((said & labels).sum()) / float(said.sum() + labels.sum())

    best = f1(best_f1_threshold(scores, labels, 1.0))
    assert best == max(f1(at) for at in [*scores, scores.min() - 1])


def scored(share: Sampling | None, order: Any, loss: Loss) -> Scored:
    """A loss on rows in this order, of which negatives may be there several times."""
    random = np.random.default_rng(8)
    labels = random.random(600) < 0.3
    logits = (random.normal(size=600) + 1.4 * labels - 1)[order].astype(np.float32)[:, None]
    labels = labels[order][:, None]
    frame = pd.DataFrame({"x": np.zeros(2 * len(labels))})
    both = np.concatenate([labels, labels])
    table = Table("t", frame, both, "y", ("yes",), sampling=share)
    half = np.arange(len(labels))
    data = Prepared(table, Split(half[:0], half, half + len(labels)))
    return Scored(loss, Fit(logits, logits, (0.0,), 1), data, Costs(miss=5.0))


@pytest.mark.parametrize("loss", [Loss("", None, 0.0), Loss("", 0.25, 2.0)])
def test_every_figure_is_that_of_the_whole_table(loss: Loss) -> None:
    """A negative read of five, moved back, against five such rows of a model of the whole table.

    A model of the whole table says log-odds lower by log 5: with cross-entropy its logits are so
    much lower, and so is the closed form of any loss.
    """
    random = np.random.default_rng(8)
    labels = random.random(600) < 0.3
    rows = np.repeat(np.arange(600), np.where(labels, 1, 5))
    share = Sampling([10 * int((~labels).sum()), 2 * int(labels.sum())], [1 / 5, 1.0])
    part = scored(share, np.arange(600), loss)
    whole = scored(None, rows, loss)
    told = whole.scores - math.log(5)  # what it says, had it been trained on these rows
    assert_allclose(part.scores[rows], told, rtol=1e-6)
    assert_allclose(
        np.concatenate([part.weights, part.weights]),  # type: ignore[list-item]
        part.data.table.weights(np.arange(1200)),
    )
    p = 1 / (1 + np.exp(-told[:, 0]))
    truth = labels[rows]
    by_hand = {
        "average_precision": influence.average_precision(told[:, 0], truth).value,
        "roc_auc": influence.area(told[:, 0], truth).value,
        "precision_at_top": influence.precision_at(None, told[:, 0], truth).value,
        "brier": float(np.square(p - truth).mean()),
        "log_loss_posterior": float(-np.log(np.where(truth, p, 1 - p)).mean()),
        "mean_posterior": float(p.mean()),
        "cost_by_posterior": float(np.where(truth, 5.0 * (p <= 1 / 6), p > 1 / 6).mean()),
    }
    every = figures.figures_of(("yes",), isotonic=False)
    found = {figure.name: figure.of(part) for figure in every}
    for name, expected in by_hand.items():
        assert_allclose(found[name].value, expected, rtol=1e-6, err_msg=name)
    for name in ("platt", "temperature"):
        # fitted where rows were read and moved, as good as one fitted to all rows
        assert found[f"log_loss_{name}"].value < by_hand["log_loss_posterior"] * 1.02
    assert_allclose(found["mean_platt"].value, truth.mean(), rtol=0.02)
    for name, one in found.items():
        if name not in ("roc_auc", "slope_raw", "slope_posterior", "slope_temperature"):
            assert np.isfinite(one.influence).all(), name


def test_bins_hold_what_they_stand_for() -> None:
    random = np.random.default_rng(9)
    labels = random.random(500) < 0.3
    p = np.clip(random.random(500) * 0.6 + 0.1 * labels, 0, 1)
    weights = np.where(labels, 1.0, 4.0)
    curve = calibrate.reliability(labels, p, weights)
    index = calibrate.bins_of(p, labels)
    for k, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
        rows = index == k
        assert_allclose(x, np.average(p[rows], weights=weights[rows]))
        assert_allclose(y, np.average(labels[rows], weights=weights[rows]))


def test_the_calibration_error_by_hand() -> None:
    one = scored(None, np.arange(600), Loss("", None, 0.0))
    p, labels = one.probabilities("posterior")[:, 0], one.labels[:, 0]
    found = next(figure for figure in figures.FIGURES if figure.name == "calibration_error").of(one)
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, 10)
    expected = sum(len(x) / 600 * abs(float(p[x].mean() - labels[x].mean())) for x in parts)
    assert_allclose(found.value, expected, rtol=0.05)
    # moving weight to a row moves the error as its influence says
    weights = np.ones(600)
    weights[17] += 1e-4
    index = calibrate.bins_of(p, labels)
    moved = np.abs(np.bincount(index, weights * (p - labels))).sum() / weights.sum()
    assert_allclose((moved - found.value) / 1e-4, found.influence[17], rtol=1e-3)


# --- the whole way -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results, Results]:
    path = as_csv(clicks(20_000, rate=-5.0), tmp_path_factory.mktemp("both"))
    return path, *whole_and_part(path, "clicked", 2_500)


def whole_and_part(path: Path, target: str, rows: int) -> tuple[Results, Results]:
    """What a comparison finds of a table, and of so many of its rows."""
    tables = [read_table(path, target=target, rows=count) for count in (None, rows)]
    plan = Plan(quick=True, repeats=5)
    whole, part = (refocal.comparison.run(table, by_name(["logistic"]), plan) for table in tables)
    return whole, part


def assert_like_the_whole(
    whole: Results, part: Results, figures: Sequence[str], *, base: float, rates: float
) -> None:
    """Figures lie within their intervals; of log losses and rates there are relative bounds."""
    for one, other in zip(whole.losses, part.losses, strict=True):
        for name in figures:
            right, found = one.figures[name], other.figures[name]
            assert right.value is not None
            assert found.low is not None
            assert found.high is not None
            assert found.low <= right.value <= found.high, (one.name, name)
        loss = one.readings["posterior"].log_loss.value
        assert_allclose(other.readings["posterior"].log_loss.value or 0, loss or 1, rtol=0.05)
    assert_allclose(part.data.base_rate_log_loss, whole.data.base_rate_log_loss, rtol=base)
    assert_allclose(part.data.parts[0].rates, whole.data.parts[0].rates, rtol=rates)
    assert part.questions[0].widened > 1
    assert whole.questions[0].widened == 1
    assert any("rows were read. With all of them" in text for text in part.recommendation.more)


def test_a_share_finds_what_the_whole_table_does(both: tuple[Path, Results, Results]) -> None:
    _, whole, part = both
    names = ("average_precision", "roc_auc", "cost", "brier")
    assert_like_the_whole(whole, part, names, base=0.01, rates=0.02)
    counts = part.losses[0].decisions[0]
    total = counts.found + counts.missed + counts.false_alarms + counts.passed
    assert abs(total - whole.data.rows) <= 4
    assert "refocal.correct_sampling(" in part.recommendation.probabilities


def test_the_page_says_what_was_read(both: tuple[Path, Results, Results]) -> None:
    _, whole, part = both
    text = report_files(part)["report.html"]
    assert "rows were read, at random within each class: 100 % of the positives" in text
    assert "scaled up to the rows that were not read" in text
    assert "of the negatives" not in report_files(whole)["report.html"]
    assert Results.from_dict(part.to_dict()) == part


def test_the_script_reads_the_same_rows(both: tuple[Path, Results, Results]) -> None:
    from test_compare_winner import call

    from refocal.comparison.report.winner import script

    path, whole, part = both
    text = script(part)
    code, printed = call(text, path.parent / "w.py", "--check")
    assert code == 0, printed
    clicks(3_000, seed=1, rate=-5.0).drop(columns="clicked").to_csv(
        path.parent / "new.csv", index=False
    )
    code, printed = call(text, path.parent / "w.py", path.parent / "new.csv")
    assert code == 0
    p = pd.read_csv(io.StringIO(printed))["yes"]
    rate = whole.data.parts[0].rates[0]
    assert 0.5 * rate < p.mean() < 2 * rate  # of the table, and not of the rows that were read


def test_a_share_of_the_positives_moves_log_odds_the_other_way() -> None:
    found = Sampling(counts=[100, 900], read=[1.0, 0.25])
    assert_allclose(found.shift, math.log(4))
    text = found.corrected("z")
    value = eval(text, {"refocal": refocal, "z": torch.zeros(1)})
    assert_allclose(value.item(), math.log(4), rtol=1e-5)


def test_pieces_of_frames_are_there(tmp_path: Path) -> None:
    frame = clicks()
    found = pieces.open_pieces(as_arrow(frame, tmp_path), ())
    assert isinstance(found, pieces.FramePieces)
    assert len(found.columns(["clicked"])) == len(frame)
    assert_array_equal(found.take(np.array([3, 5]))["id"], [4, 6])


def test_the_spread_of_a_figure_knows_that_negatives_stand_for_others() -> None:
    """Tables drawn anew, of which one negative in eight is read each time."""
    random = np.random.default_rng(11)

    def drawn() -> tuple[float, float, float]:
        labels = random.random(16_000) < 0.02
        one = random.normal(size=16_000) + 3 * labels
        other = 0.9 * one + 0.3 * random.normal(size=16_000)
        kept = labels | (random.random(16_000) < 1 / 8)
        weights = np.where(labels, 1.0, 8.0)[kept]
        found = [
            influence.average_precision(scores[kept], labels[kept], weights)
            for scores in (one, other)
        ]
        moved = found[0].influence - found[1].influence
        return (
            found[0].value - found[1].value,
            influence.row_variance(moved, None),
            influence.row_variance(moved / np.sqrt(weights), None),
        )

    values, variances, with_all = map(np.array, zip(*(drawn() for _ in range(400)), strict=True))
    assert_allclose(math.sqrt(variances.mean()), values.std(), rtol=0.12)
    assert with_all.mean() < 0.97 * variances.mean()


def test_a_top_of_few_negatives_is_a_guess() -> None:
    random = np.random.default_rng(12)
    labels = random.random(30_000) < 0.02
    scores = random.normal(size=30_000) + 2 * labels

    def read(share: float) -> tuple[Any, Any, float]:
        kept = labels | (random.random(30_000) < share)
        return scores[kept], labels[kept], share

    found = [thinned.guessed(*read(share)) for share in (1.0, 1 / 2, 1 / 8, 1 / 40)]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[1] < thinned.MOST < found[3]
    few = read(1 / 40)
    more = thinned.enough(*few)
    assert thinned.guessed(*few, more=more) <= thinned.MOST
    assert 1 < more <= 40
    assert thinned.guessed(*read(more / 40)) < 1.5 * thinned.MOST
    assert thinned.enough(*read(1.0)) == 1


def test_a_share_that_is_too_small_decides_nothing(both: tuple[Path, Results, Results]) -> None:
    path, _, _ = both
    part = read_table(path, target="clicked", rows=800)
    plan = Plan(repeats=2)
    asked = refocal.comparison.run(part, by_name(["logistic"]), plan).questions
    for one in asked:
        assert one.verdict == "undecided"
        assert any("is too few to tell the top of the ranking, so read" in x for x in one.limits)
