"""Synthetic rows as a remedy: where they lie, what they do to probabilities, how they compete."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from tables import made_table
from test_compare_winner import call, compared, people, recommending, with_people

from refocal import comparison
from refocal.__main__ import main
from refocal.comparison import CompareError, Plan, Results, by_name
from refocal.comparison.data import synthetic
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits
from refocal.comparison.report import winner
from refocal.comparison.report.files import report_files
from refocal.comparison.report.winner import script
from refocal.comparison.training import spread
from refocal.comparison.training.losses import Loss, families
from refocal.comparison.training.models import Effort, Work, trained
from refocal.comparison.training.scores import log_odds
from refocal.comparison.training.settings import central

# --- where they lie ------------------------------------------------------------------------------


def features(rows: int = 400, seed: int = 0) -> tuple[Any, tuple[tuple[int, int], ...]]:
    """Three numbers, a flag, and a category of four."""
    random = np.random.default_rng(seed)
    kind = np.eye(4)[random.integers(4, size=rows)]
    flag = np.where(random.random(rows) < 0.3, 1.7, -0.6)[:, None]
    columns = [random.normal(size=(rows, 3)) * [1.0, 2.0, 0.5], flag, kind]
    return np.concatenate(columns, axis=1).astype(np.float32), ((4, 8),)


def test_neighbours_are_the_nearest_of_the_class() -> None:
    """By hand: squares over the numbers, and the median spread squared where a category differs."""
    x, blocks = features()
    members = np.flatnonzero(x[:, 0] > 0.3)
    kin = synthetic.kin_of(x, members, blocks)
    assert_array_equal(kin.members, members)
    rows = x[members].astype(np.float64)
    apart = np.median(rows[:, :3].std(0))
    square = np.square(rows[:, None, :3] - rows[None, :, :3]).sum(2)
    square += apart**2 * (rows[:, None, 3] != rows[None, :, 3])
    square += apart**2 * (rows[:, 4:].argmax(1)[:, None] != rows[:, 4:].argmax(1)[None])
    np.fill_diagonal(square, np.inf)
    right = np.sort(square, axis=1)[:, :5]
    places = np.searchsorted(members, kin.near)
    assert (np.sort(places, axis=1)[:, 1:] > np.sort(places, axis=1)[:, :-1]).all()
    assert_allclose(np.take_along_axis(square, places, 1), right, rtol=1e-4, atol=1e-5)


def test_few_rows_and_equal_rows_have_neighbours_too() -> None:
    x, blocks = features(40)
    assert_array_equal(synthetic.kin_of(x, np.array([7]), blocks).near, [[7]])
    assert_array_equal(synthetic.kin_of(x, np.array([7, 9]), blocks).near, [[9], [7]])
    x[:] = x[0]
    members = np.arange(10, 20)
    near = synthetic.kin_of(x, members, blocks).near
    assert near.shape == (10, 5)
    assert (near != members[:, None]).all()
    random = np.random.default_rng(0)
    alone = synthetic.kin_of(x, np.array([7]), blocks)
    assert_array_equal(synthetic.synthetic(x, alone, 3, random), x[[7, 7, 7]])


def test_of_many_rows_neighbours_are_looked_for_among_some(monkeypatch: pytest.MonkeyPatch) -> None:
    x, blocks = features(900)
    members = np.arange(0, 900, 2)
    monkeypatch.setattr(synthetic, "_AMONG", 50)
    near = synthetic.kin_of(x, members, blocks).near
    assert near.shape == (450, 5)
    assert len(np.unique(near)) <= 50
    assert np.isin(near, members).all()
    assert (near != members[:, None]).all()


def test_a_synthetic_row_lies_between_a_row_and_a_neighbour() -> None:
    x, blocks = features()
    members = np.flatnonzero(x[:, 0] > 0.3)
    kin = synthetic.kin_of(x, members, blocks)
    made = synthetic.synthetic(x, kin, 1_000, np.random.default_rng(3))
    assert made.shape == (1_000, 8)
    assert made.dtype == np.float32
    of = {tuple(row): near for row, near in zip(members[:, None], kin.near, strict=True)}
    used = np.zeros(len(members), dtype=int)
    for row in made:
        found = []
        for place, (member, *_) in enumerate(of):
            for other in kin.near[place]:
                line = (x[other] - x[member])[:3].astype(np.float64)
                gone = (row - x[member])[:3].astype(np.float64)
                share = float(gone @ line / (line @ line))
                if -1e-6 <= share <= 1 and np.abs(gone - share * line).max() < 1e-5:
                    found.append(place)
        assert found
        used[found] += 1
        near = x[kin.near[found[0]]]
        counts = near[:, 4:].sum(0)
        assert row[4:].sum() == 1
        if len(set(found)) == 1:
            assert counts[row[4:].argmax()] == counts.max()
            assert row[3] == (1.7 if (near[:, 3] > 0).sum() > 2 else np.float32(-0.6))
    assert used.min() > 0  # every row is taken in turn


def test_the_blocks_are_the_categories_of_the_columns() -> None:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "kind": random.choice(["a", "b", "c"], 600),
            "x": np.where(random.random(600) < 0.2, np.nan, random.normal(size=600)),
            "many": random.choice(["common", "often", *(f"v{k}" for k in range(300))], 600),
            "y": np.arange(600) % 4 == 0,
        }
    )
    table = comparison.frame_table(frame, name=Path("f"), target="y")
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    names = list(data._encoder.get_feature_names_out())
    for first, end in data.blocks:
        of = {name.split("__")[1].split("_")[0] for name in names[first:end]}
        assert len(of) == 1
        assert (data.train[:, first:end].sum(1) == 1).all()
    assert len(data.blocks) == 2
    assert data.blocks[-1][1] == data.inputs == len(names)
    numbers = comparison.frame_table(frame[["x", "y"]], name=Path("f"), target="y")
    assert Prepared(numbers, data.split).blocks == ()
    assert (
        Prepared(dataclasses.replace(table, features=torch.zeros(600, 2)), data.split).blocks == ()
    )


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_classes_are_filled_up_to_the_commonest(kind: str) -> None:
    table = made_table(kind)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    loss = families(table.kind, data.base_rates, network=False, quick=True, smote=True)[2].losses[
        -1
    ]
    before = data.labels("train")
    filled = data.filled(loss.synthetic, seed=4)
    after = filled.labels("train")
    most = max(before.sum(0).max(), len(before) - before.sum(0).max() if kind == "binary" else 0)
    assert_allclose(after.sum(0), most, atol=1)
    assert len(filled.train) == len(after)
    assert_array_equal(filled.train[: len(before)], data.train)
    assert_array_equal(after[: len(before)], before)
    assert_array_equal(filled.labels("test"), data.labels("test"))
    assert_array_equal(filled.valid, data.valid)
    again, other = data.filled(loss.synthetic, seed=4), data.filled(loss.synthetic, seed=5)
    assert_array_equal(again.train, filled.train)
    assert (other.train != filled.train).any()
    # what says when to stop has the shares of training
    rows, labels = filled.watched
    assert_array_equal(rows[: len(data.valid)], data.valid)
    assert_allclose(labels.mean(0), after.mean(0), atol=0.06)


def test_images_are_filled_up_as_they_are() -> None:
    table = made_table("binary")
    images = dataclasses.replace(table, features=torch.randn(600, 1, 4, 4))
    data = Prepared(images, splits(images, repeats=1, seed=0)[0])
    filled = data.filled(0.9, seed=0)
    assert filled.train.shape[1:] == (1, 4, 4)
    assert len(filled.train) == len(filled.labels("train")) > len(data.train)


# --- what they do --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("model", ["logistic", "mlp", "xgboost", "lightgbm", "catboost"])
def test_the_closed_form_takes_the_synthetic_rows_out(kind: str, model: str) -> None:
    table = made_table(kind, rows=3_000)
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    fitter = by_name([model])[0]
    loss = families(table.kind, data.base_rates, network=True, smote=True)[2].losses[-1]
    if not fitter.supports(loss):
        assert (kind, model) == ("multiclass", "catboost")
        return
    plain = Loss("", None, 0.0, loss.link)
    effort = Effort(epochs=(10,), rounds=200)
    fits = [trained(fitter, Work(one, central(fitter.axes), data, effort)) for one in (loss, plain)]
    truth = data.labels("test")

    def mean(one: Loss, logits: Any, closed_form: bool) -> Any:
        said = log_odds(one, torch.from_numpy(logits), closed_form=closed_form)
        return (said.exp() if one.link == "softmax" else said.sigmoid()).mean(0).numpy()

    filled = mean(loss, fits[0].test_logits, closed_form=False)
    assert filled.min() > 1.5 * truth.mean(0).min()  # among as many of each class
    closed = mean(loss, fits[0].test_logits, closed_form=True)
    assert_allclose(closed, truth.mean(0), rtol=0.35)
    assert abs(fits[0].score - fits[1].score) < 0.12
    assert len(fits[0].valid_logits) == len(data.valid)


def test_a_training_elsewhere_is_the_same() -> None:
    table = read_people_table()
    data = Prepared(table, splits(table, repeats=1, seed=0)[0]).encode()
    model = by_name(["logistic"])[0]
    loss = families("binary", data.base_rates, network=False, smote=True)[2].losses[-1]
    work = Work(loss, central(model.axes), data, Effort(), 11)
    here = trained(model, work)
    assert data.blocks
    jobs = [spread.Errand(model, work)]
    from refocal.comparison.progress import Progress

    ((_, there),) = spread.spread(jobs, Progress(1, quiet=True))
    assert_array_equal(here.valid_logits, there.valid_logits)


def read_people_table() -> Any:
    frame = people().drop(columns=["wear", "fault", "state"])
    return comparison.frame_table(frame, name=Path("people"), target="churn")


# --- how they compete ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_people(tmp_path_factory.mktemp("smote"))


def plan(**how: Any) -> Plan:
    return Plan(smote=True, epochs=3, **how)


def only_smote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let synthetic rows be the only remedy, so that every split picks them."""
    real = families

    def changed(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        last = found[-1]
        return [*found[:-1], dataclasses.replace(last, losses=last.losses[-1:])]

    monkeypatch.setattr("refocal.comparison.experiment.families", changed)


CASES = [
    ("binary", "logistic", None, True),
    ("binary", "mlp", None, False),
    ("binary", "xgboost", None, True),
    ("binary", "lightgbm", None, False),
    ("binary", "catboost", None, False),
    ("binary", "logistic", 400, False),
    ("multiclass", "logistic", None, False),
    ("multiclass", "lightgbm", None, False),
    ("multiclass", "mlp", 400, True),
]


@pytest.mark.parametrize(("kind", "model", "rows", "platt"), CASES)
def test_the_script_trains_it(
    kind: str,
    model: str,
    rows: int | None,
    platt: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_smote(monkeypatch)
    results = compared(folder, kind, model, plan(quick=True, repeats=2), rows)
    found = recommending(results, "other remedies")
    assert found.chosen().loss == "cross-entropy, SMOTE"
    if platt:
        monkeypatch.setattr(winner, "takes_line", lambda *_: True)
    text = script(found)
    code, printed = call(text, folder / "w.py", "--check")
    assert code == 0, printed
    code, printed = call(text, folder / "w.py", folder / "new.csv")
    assert code == 0, printed
    p = pd.read_csv(io.StringIO(printed))
    assert list(p.columns) == results.data.classes
    assert p.to_numpy().min() > 0
    assert p.to_numpy().max() < 1
    assert Results.from_dict(results.to_dict()) == results


def test_it_has_the_budget_of_the_others(folder: Path) -> None:
    results = compared(folder, "binary", "logistic", plan(repeats=2))
    plain, focal, remedies = results.losses
    for one, other, third in zip(plain.picks, focal.picks, remedies.picks, strict=True):
        # what a widened grid adds comes beside
        assert abs(one.trained - third.trained) <= 3
        assert abs(other.trained - third.trained) <= 3
    names = {loss.name for loss in families("binary", [0.1], network=True, smote=True)[2].losses}
    without = {loss.name for loss in families("binary", [0.1], network=True)[2].losses}
    assert names - without == {"cross-entropy, SMOTE"}
    assert results.protocol.smote
    assert "SMOTE" in report_files(results)["report.html"]


@pytest.mark.parametrize(
    ("kind", "model", "why"),
    [
        ("multilabel", "logistic", "labels of their own share rows"),
        ("multiclass", "catboost", "catboost is trained with each class against the rest"),
    ],
)
def test_where_rows_are_of_no_class_alone(kind: str, model: str, why: str, folder: Path) -> None:
    with pytest.raises(CompareError, match=why):
        compared(folder, kind, model, plan(quick=True))


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", str(folder / "people.csv"), "--target", "churn", "--quick", "--smote"]
    words += ["--drop", "wear,fault,state", "--model", "logistic", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "cross-entropy, SMOTE" in capsys.readouterr().err
    words[3:4] = ["fault,wear"]
    words[words.index("wear,fault,state")] = "churn,state"
    assert main([*words[:-1], str(tmp_path / "other")]) == 2
    assert "--smote makes rows of one class among all" in capsys.readouterr().err
