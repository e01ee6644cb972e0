"""`refocal.compare(model, data)` and `refocal diagnose`."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.metrics import log_loss
from tables import csv_file, customers, made_table
from torch import Tensor, nn

import refocal
from refocal import comparison
from refocal.__main__ import main
from refocal.commands import option
from refocal.comparison import CompareError, api
from refocal.comparison.errors import argument, spelled
from refocal.comparison.measuring import likelihood
from refocal.comparison.training.scores import sigmoid
from refocal.probabilities import sigmoid_logit

OPTIONS: dict[str, Any] = {"quick": True, "epochs": 2}


def small(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


def arrays(rows: int = 300) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 3, generator=random)
    return x, (x[:, 0] + torch.randn(rows, generator=random) > 1.0).long()


# --- calling the package -------------------------------------------------------------------------


def test_the_package_is_the_function_and_what_the_command_calls(tmp_path: Path) -> None:
    path = csv_file(tmp_path, customers(400))
    results = refocal.compare("logistic", path, target="churn", quick=True)  # type: ignore[operator]
    plain = json.dumps(results.to_dict())
    assert "without quick=True" in plain
    assert " --" not in plain
    with spelled(option):  # from the command the same words, but for the names of arguments
        results = comparison.compare("logistic", path, target="churn", quick=True)
    arguments = ["compare", str(path), "--target", "churn", "--quick", "--model", "logistic"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written == json.loads(json.dumps(results.to_dict()))
    frame = pd.read_csv(path)
    again = comparison.compare("logistic", frame, target="churn", quick=True)
    assert again.losses == results.losses


def test_your_own_network_and_arrays(tmp_path: Path) -> None:
    x, y = arrays(1500)
    options = {"repeats": 1, "quick": True, "epochs": 60}
    results = comparison.compare([small, "logistic"], (x, y), out=tmp_path / "out", **options)
    assert results.models == ["small", "logistic"]
    # a linear network that is trained to the end is a logistic regression
    for own, ours in zip(results.of_model("small"), results.of_model("logistic"), strict=True):
        assert own.figures["roc_auc"].value == pytest.approx(
            ours.figures["roc_auc"].value, abs=0.01
        )
    assert (tmp_path / "out" / "report.html").exists()


def test_a_torch_dataset_of_images_with_several_classes() -> None:
    random = torch.Generator().manual_seed(0)
    y = torch.randint(3, (120,), generator=random)
    x = torch.randn(120, 2, 4, 4, generator=random) + y[:, None, None, None]

    def pooled(channels: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs)
        )

    data = torch.utils.data.TensorDataset(x, y)
    results = comparison.compare(pooled, data, classes=["a", "b", "c"], name="images", **OPTIONS)
    assert results.data.kind == "multiclass"
    assert results.data.classes == ["a", "b", "c"]
    assert (results.data.name, results.data.inputs) == ("images", 32)


def test_labels_of_their_own_and_groups() -> None:
    x, y = arrays()
    both = torch.stack([y, (x[:, 1] > 1).long()], dim=1)
    groups = np.arange(300) // 3
    results = comparison.compare(small, (x, both), groups=groups, **OPTIONS)
    assert results.data.kind == "multilabel"
    assert results.protocol.split == "grouped"
    days = np.random.default_rng(0).permutation(300)
    results = comparison.compare(small, (x, both), groups=groups, time_order=days, **OPTIONS)
    assert results.protocol.split == "grouped by time"
    assert "group-over-time" in [finding.code for finding in results.data.findings]


@pytest.mark.parametrize(
    ("model", "data", "options", "match"),
    [
        ("mlp", "x.csv", {}, "which column to predict"),
        ("mlp", 3, {}, "data must be a Table, a path"),
        ("mlp", {"x": [1.0], "y": [0]}, {"target": "y"}, "data must be a Table, a path"),
        ("mlp", np.zeros((9, 2)), {}, "data must be a Table, a path"),
        ("mlp", None, {"target": "y"}, "data must be a Table, a path"),
        ("mlp", customers(20), {"target": []}, "which column to predict"),
        ("mlp", customers(20), {"target": 3}, "has no column '3' for target="),
        ("mlp", customers(20), {"target": "churn", "classes": ["x"]}, "classes= belongs to arrays"),
        ("mlp", (torch.zeros(3, 2), torch.zeros(4)), {}, "3 rows and targets 4"),
        ("mlp", (torch.zeros(0, 2), torch.zeros(0)), {}, r"features are empty: \(0, 2\)"),
        ("mlp", (torch.zeros(4, 0), torch.zeros(4)), {}, r"features are empty: \(4, 0\)"),
        ("mlp", (sparse.eye(4), np.zeros(4)), {}, r"features are sparse .*toarray"),
        ("mlp", (torch.zeros(3, 2), torch.full((3,), np.nan)), {}, "has no value in any row"),
        ("mlp", (torch.zeros(3, 2), torch.tensor([0.5, 0, 1])), {}, r"targets must be \(n,\)"),
        ("mlp", (torch.zeros(3, 2), torch.tensor([[0, 2]] * 3)), {}, "must be 0 and 1"),
        ("mlp", (torch.zeros(3, 2), torch.tensor([0, 0, 1])), {"classes": "ab"}, "must be 1 names"),
        ([small, small], arrays(), {}, "must have different names"),
    ],
)
def test_bad_calls(model: Any, data: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(CompareError, match=match):
        comparison.compare(model, data, **options)


def test_a_plan_or_its_fields() -> None:
    with pytest.raises(TypeError, match="got a plan and seed"):
        comparison.compare("mlp", made_table(), plan=comparison.Plan(), seed=3)


# --- diagnose ------------------------------------------------------------------------------------


@pytest.fixture
def focal_logits() -> tuple[Tensor, Tensor]:
    """Logits of a model trained out under focal loss, and what happened."""
    generator = np.random.default_rng(0)
    odds = generator.normal(-2.5, 1.5, 20_000)
    y = generator.random(odds.size) < sigmoid(odds)
    logits = sigmoid_logit(torch.from_numpy(odds), alpha=0.25, gamma=2.0, log_odds=True)
    return logits, torch.from_numpy(y.astype(np.float64))


def test_the_loss_told_makes_the_probabilities_right(focal_logits: tuple[Tensor, Tensor]) -> None:
    logits, targets = focal_logits
    told = comparison.diagnose(logits, targets, alpha=0.25, gamma=2.0)
    assert told.posterior is not None
    assert told.posterior.slope == pytest.approx(1.0, abs=0.05)
    assert told.posterior.mean == pytest.approx(told.base_rates[0], abs=0.005)
    assert told.posterior.log_loss < told.raw.log_loss - 0.05
    assert told.temperature == pytest.approx(1.0, abs=0.05)
    assert "Use the closed form" in told.verdict
    assert_allclose(told.raw.log_loss, log_loss(targets, sigmoid(logits.numpy())))
    untold = comparison.diagnose(logits, targets)
    assert untold.posterior is None
    assert untold.raw == told.raw
    assert "A temperature does better than the plain sigmoid" in untold.verdict
    assert untold.suggestion is not None
    assert str(told).count("\n") > 20


def draws(rows: int, shift: float, scale: float, count: int) -> list[likelihood.CalibrationTest]:
    """Tests of calibrated log-odds, or of some that are too large by a factor."""
    found = []
    for seed in range(count):
        generator = np.random.default_rng(seed)
        odds = 2 * generator.normal(size=rows) + shift
        labels = generator.random(rows) < sigmoid(odds)
        one = likelihood.of_log_odds(labels, scale * odds)
        assert one is not None
        found.append(one)
    return found


@pytest.mark.parametrize(("rows", "shift"), [(2000, -4), (5000, -4), (20_000, -4), (20_000, 0)])
def test_calibrated_logits_are_rarely_called_miscalibrated(rows: int, shift: float) -> None:
    assert np.mean([one.miscalibrated for one in draws(rows, shift, 1.0, 100)]) <= 0.05


@pytest.mark.parametrize(("rows", "least"), [(2000, 0.9), (20_000, 0.95)])
def test_logits_too_large_by_a_fifth_are_noticed(rows: int, least: float) -> None:
    found = draws(rows, -4, 1.2, 100)
    assert np.mean([one.miscalibrated for one in found]) >= least
    assert np.mean([one.temperature_is_enough for one in found]) >= 0.95
    assert all(one.temperature_helps for one in found if one.miscalibrated)
    assert np.mean([one.slope for one in found]) == pytest.approx(1 / 1.2, abs=0.03)


def test_with_many_rows_a_gain_that_is_nothing_is_not_named() -> None:
    (found,) = draws(400_000, 0, 1.03, 1)
    assert found.p < 1e-3
    assert not found.miscalibrated


def test_a_shift_is_no_temperature() -> None:
    generator = np.random.default_rng(0)
    odds = torch.from_numpy(2 * generator.normal(size=5000) - 3)
    y = torch.from_numpy(generator.random(5000)) < torch.sigmoid(odds)
    found = comparison.diagnose(odds + 1.0, y.double())
    assert found.test is not None
    assert found.test.intercept == pytest.approx(-1.0, abs=0.2)
    assert "Platt scaling" in found.verdict
    assert not found.test.temperature_is_enough


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_calibration_of_several_classes(scale: float) -> None:
    told = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        z = 1.5 * generator.normal(size=(2000, 3)) + np.array([2.0, 0.0, -1.0])
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        y = (generator.random((2000, 1)) > p.cumsum(1)).sum(1).clip(max=2)
        log_p = torch.log_softmax(torch.from_numpy(scale * z), 1).numpy()
        one = likelihood.of_log_probabilities(y, log_p)
        assert one is not None
        told.append(one.miscalibrated)
    assert np.mean(told) <= 0.05 if scale == 1 else np.mean(told) >= 0.95


@pytest.mark.parametrize("columns", [1, 3])
def test_probabilities_in_the_place_of_logits_are_suspected(columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand((300, columns), generator=generator)
    y = torch.arange(300) % max(columns, 2)
    suspected = comparison.diagnose(p, y.double())
    assert str(suspected).startswith("Are these probabilities?")
    assert json.dumps(suspected.to_dict())
    assert comparison.diagnose(torch.logit(p), y.double()).suspicion is None


def test_logits_and_targets_of_any_kind_are_diagnosed_alike() -> None:
    odds = np.random.default_rng(0).normal(size=500)
    labels = np.random.default_rng(1).random(500) < sigmoid(odds)
    wanted = comparison.diagnose(torch.from_numpy(odds), torch.from_numpy(labels).double())
    for logits, targets in [
        (odds, labels),
        (odds.tolist(), labels.astype(int).tolist()),
        (pd.Series(odds), pd.Series(labels)),
        (torch.from_numpy(odds)[:, None], torch.from_numpy(labels)),
        (odds[:, None], torch.from_numpy(labels).to(torch.uint8)),
    ]:
        assert comparison.diagnose(logits, targets) == wanted
    with pytest.raises(CompareError, match="logits must be numbers, got list"):
        comparison.diagnose(["a"] * 500, labels)


def test_worthless_logits() -> None:
    y = torch.arange(200) % 10 == 0
    found = comparison.diagnose(torch.randn(200) * 3, y.double())
    assert "do not use them" in found.verdict


def test_several_classes() -> None:
    y = torch.arange(300) % 3
    z = torch.randn(300, 3) + 2 * nn.functional.one_hot(y, 3)
    found = comparison.diagnose(z, y, gamma=1.0)
    assert found.link == "softmax"
    assert found.suggestion is None
    assert found.posterior is not None
    assert_allclose(found.raw.log_loss, nn.functional.cross_entropy(z.double(), y))
    assert json.dumps(found.to_dict())


def test_the_command(
    tmp_path: Path, focal_logits: tuple[Tensor, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    logits, targets = (one.numpy() for one in focal_logits)
    path, table = tmp_path / "logits.npz", tmp_path / "logits.parquet"
    np.savez(path, logits=logits, targets=targets)
    pd.DataFrame({"logits": logits, "targets": targets}).to_parquet(table)
    out = tmp_path / "found.json"
    told = ["--alpha", "0.25", "--gamma", "2"]
    assert main(["diagnose", str(path), *told, "--out", str(out)]) == 0
    first = capsys.readouterr().out
    assert "closed-form posterior" in first
    assert json.loads(out.read_text())["schema"] == "refocal.diagnosis/2"
    assert main(["diagnose", str(table), *told]) == 0
    assert capsys.readouterr().out == first


def test_logits_of_several_classes_in_parquet(tmp_path: Path) -> None:
    z, path = np.arange(36.0).reshape(3, 12), tmp_path / "z.parquet"
    frame = pd.DataFrame(z, columns=[f"logits_{k}" for k in range(12)])
    frame.assign(targets=[0, 1, 2])[[*frame.columns.tolist()[::-1], "targets"]].to_parquet(path)
    logits, targets = comparison.read_logits(path)
    torch.testing.assert_close(logits, torch.from_numpy(z))
    assert targets.tolist() == [0, 1, 2]


BAD = {
    "nothing.npz": b"not a zip",
    "odd.txt": b"",
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.npz"], "there is no file nowhere.npz."),
        (["nothing.npz"], "nothing.npz cannot be read as an .npz archive"),
        (["odd.txt"], "odd.txt must be an .npz or a .parquet file."),
        (["other.npz"], "other.npz has no array 'logits'. It has x."),
        (["pickle.npz"], "pickle.npz cannot be read as an .npz archive: Object arrays cannot be"),
        (["text.npz"], "logits in text.npz must be numbers"),
        (["shapes.npz"], "logits must be (n,) or (n, C) and targets (n,), got (3,) and (4,)."),
        (["nan.npz"], "logits must be finite."),
        (["few.npz"], "every class must have at least 10 rows, got [2]."),
        (["labels.npz"], "targets must be whole numbers from 0 to 1."),
        (["few.npz", "--alpha", "1"], "--alpha must be between 0 and 1, got 1."),
        (["few.npz", "--gamma", "-1"], "--gamma must be 0 or more, got -1."),
        (["wide.npz", "--alpha", "0.5"], "--alpha belongs to one column of logits"),
        (["other.parquet"], "other.parquet needs columns 'logits' and 'targets'. It has 'x'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_files_are_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in BAD.items():
        Path(name).write_bytes(content)
    np.savez("other.npz", x=np.zeros(3))
    np.savez("pickle.npz", logits=np.array([{}]), targets=np.zeros(1))
    np.savez("text.npz", logits=np.array(["a"]), targets=np.zeros(1))
    np.savez("shapes.npz", logits=np.zeros(3), targets=np.zeros(4))
    np.savez("nan.npz", logits=np.array([np.nan]), targets=np.zeros(1))
    np.savez("few.npz", logits=np.zeros(5), targets=np.array([1, 1, 0, 0, 0]))
    np.savez("labels.npz", logits=np.zeros(2), targets=np.array([1, 2]))
    np.savez("wide.npz", logits=np.zeros((2, 3)), targets=np.array([1, 2]))
    pd.DataFrame({"x": [1]}).to_parquet("other.parquet")
    assert main(["diagnose", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"refocal diagnose: {message}")


# --- targets and features as they are in memory --------------------------------------------------


def table_of(data: Any, **options: Any) -> comparison.Table:
    """What `compare` makes of data, without training."""
    seen: list[comparison.Table] = []

    def run(table: comparison.Table, *_: Any, **__: Any) -> None:
        seen.append(table)
        raise CompareError("enough.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "run", run)
        with pytest.raises(CompareError, match="enough"):
            comparison.compare("logistic", data, **options)
    return seen[0]


X, Y = arrays()
WORDS = np.where(Y.numpy() == 1, "churned", "stayed")


@pytest.mark.parametrize(
    "targets",
    [
        WORDS,
        WORDS.astype(object),
        list(WORDS),
        pd.Series(WORDS),
        pd.Series(WORDS, dtype="category"),
        np.where(WORDS == "churned", 1, -1),
        np.where(WORDS == "churned", 1.0, -1.0),
    ],
    ids=lambda one: f"{type(one).__name__} {getattr(one, 'dtype', '')}",
)
def test_targets_of_any_kind(targets: Any) -> None:
    table = table_of((X, targets))
    assert table.kind == "binary"
    assert table.classes in (("churned",), ("1",))
    assert table.targets[:, 0].tolist() == (Y == 1).tolist()
    other = table_of((X, targets), positive="stayed" if table.classes == ("churned",) else -1)
    assert other.targets[:, 0].tolist() == (Y == 0).tolist()


BIG = 10**18


@pytest.mark.parametrize(
    ("values", "classes", "kind"),
    [
        ((1, 2), ("2",), "binary"),  # as R codes a factor
        ((0, 2), ("2",), "binary"),
        ((BIG, BIG + 1), (str(BIG + 1),), "binary"),  # one and the same as float64
        ((10, 20, 40), ("10", "20", "40"), "multiclass"),
        ((0, 1, 2), ("0", "1", "2"), "multiclass"),
        ((1, 2, 3), ("1", "2", "3"), "multiclass"),
    ],
    ids=str,
)
def test_whole_numbers_are_indices_only_where_they_count_from_0(
    values: tuple[int, ...], classes: tuple[str, ...], kind: str
) -> None:
    index = Y.numpy() if len(values) == 2 else np.arange(300) % 3
    coded = np.array(values)[index]
    for data, options in [
        ((X, coded), {}),
        ((X, torch.from_numpy(coded)), {}),
        (pd.DataFrame({"x": X[:, 0], "y": coded}), {"target": "y"}),
    ]:
        table = table_of(data, **options)
        assert (table.kind, table.classes) == (kind, classes)
        expected = index[:, None] == (range(3) if kind == "multiclass" else 1)
        assert (table.targets == expected).all()
    if values == (1, 2, 3):  # with names for classes that no row has, they are indices
        table = table_of((X, coded), classes=["none", "one", "two", "three"])
        assert table.targets.sum(0).tolist() == [0, 100, 100, 100]


DAYS = np.where(Y.numpy() == 1, np.datetime64("2024-01-01"), np.datetime64("2024-02-01"))


@pytest.mark.parametrize(
    ("targets", "rare"),
    [
        (DAYS, "2024-01-01"),
        (DAYS.astype(object), "2024-01-01"),
        (DAYS.astype("datetime64[ns]") + np.timedelta64(1, "h"), "2024-01-01 01:00:00"),
        (np.where(WORDS == "churned", b"yes", b"no").astype(object), "yes"),
        (np.where(WORDS == "churned", "caf\u00e9", "the").astype(object), "cafe\u0301"),
        (WORDS == "churned", "True"),
        (pd.Categorical(WORDS), "churned"),
        (pd.cut(Y.numpy() - 0.5, [-1, 0, 1]), "(0, 1]"),
        (pd.PeriodIndex(np.where(Y == 1, "2024-01", "2024-02"), freq="M"), "2024-01"),
    ],
    ids=lambda one: getattr(one, "dtype", one).__str__(),
)
def test_the_positive_value_is_named_as_it_is_shown(targets: Any, rare: str) -> None:
    frame = pd.DataFrame({"x": X[:, 0], "y": targets})
    for positive in (None, rare):
        table = table_of(frame, target="y", positive=positive)
        assert unicodedata.normalize("NFC", rare) == table.classes[0]
        assert table.targets[:, 0].tolist() == (Y == 1).tolist()


@pytest.mark.parametrize("missing", [np.nan, None])
@pytest.mark.parametrize("kind", ["text", "numbers", "labels"])
def test_rows_without_a_target_are_left_out(kind: str, missing: Any) -> None:
    values: Any = WORDS.astype(object) if kind == "text" else Y.numpy().astype(float)
    values[:7] = missing
    if kind == "labels":
        values = np.stack([values, np.arange(300) % 3 == 0], axis=1).astype(float)
    table = table_of((X, values), groups=np.arange(300) // 3, name="mine")
    assert (table.rows, table.rows_without_target) == (293, 7)
    torch.testing.assert_close(table.features, X[7:])
    assert table.groups is not None
    assert len(table.groups) == 293


def test_missing_features_are_imputed_and_it_is_said() -> None:
    x = X.clone()
    x[3, 1] = float("nan")
    x[4, 2] = float("inf")
    table = table_of((x, Y))
    assert isinstance(table.features, pd.DataFrame)
    assert table.features.isna().sum().tolist() == [0, 1, 1]
    assert [one.code for one in table.findings] == ["encoded"]
    results = comparison.compare("logistic", (x, Y), **OPTIONS)
    assert results.data.findings[-1].code in ("encoded", "few-positives", "row-numbers")
    with pytest.raises(CompareError, match="more than two axes must be finite"):
        comparison.compare("logistic", (x.reshape(300, 1, 3), Y))


def test_features_as_a_frame_beside_targets() -> None:
    frame = customers(300).drop(columns="churn")
    table = table_of((frame, WORDS))
    assert isinstance(table.features, pd.DataFrame)
    assert list(table.features.columns) == list(frame.columns)
    text = table_of((np.array([["a", 1.5], ["b", 2.5]] * 150, dtype=object), WORDS))
    assert isinstance(text.features, pd.DataFrame)
    assert text.features["feature 1"].dtype == float


def test_frames_of_other_libraries_are_frames() -> None:
    frame = customers(300)
    wanted = table_of(frame, target="churn")
    arrow = pa.Table.from_pandas(frame)
    for other in (arrow, arrow.combine_chunks().to_batches()[0]):
        assert table_of(other, target="churn").fingerprint() == wanted.fingerprint()
    pair = table_of((arrow.drop_columns("churn"), arrow["churn"]))
    assert isinstance(pair.features, pd.DataFrame)
    assert list(pair.features) == list(wanted.features)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("x", "y", "who"),
    [("x", "y", "who"), (0, 1, 2), (1.5, 2.5, True), (("a", "x"), ("b", "y"), ("c", "who"))],
    ids=str,
)
def test_columns_are_named_by_their_labels_whatever_these_are(x: Any, y: Any, who: Any) -> None:
    frame = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "y": Y, "who": np.arange(300) // 3})
    labels = [x, "z" if not isinstance(x, tuple) else ("a", "z"), y, who]
    frame.columns = pd.MultiIndex.from_tuples(labels) if isinstance(x, tuple) else pd.Index(labels)
    for target in (y, [y], str(y)):
        for drop in (x, [x]):
            table = table_of(frame, target=target, groups=who, drop=drop)
            assert list(table.features) == [str(labels[1])]  # type: ignore[call-overload]
            assert table.groups is not None
    assert list(table_of(frame, target=y).features) == list(  # type: ignore[call-overload]
        map(str, [x, labels[1], who])
    )


def test_named_levels_of_an_index_are_columns() -> None:
    frame = pd.DataFrame({"x": X[:, 0], "y": Y}).sample(frac=1, random_state=0)  # numbers its rows
    assert list(table_of(frame, target="y").features) == ["x"]  # type: ignore[call-overload]
    frame.index = pd.MultiIndex.from_arrays(
        [np.arange(300) // 3, frame["x"].to_numpy() ** 2, np.arange(300)],
        names=["who", "square", None],
    )
    table = table_of(frame, target="y")
    assert list(table.features) == ["who", "square", "x"]  # type: ignore[call-overload]
    grouped = table_of(frame, target="y", groups="who", drop=["square"], rows=200)
    assert list(grouped.features) == ["x"]  # type: ignore[call-overload]
    assert grouped.groups is not None


def test_what_a_mask_hides_is_missing() -> None:
    hidden = np.arange(300) % 5 == 0
    for targets in (Y.numpy(), WORDS, Y.numpy().astype(bool)):
        table = table_of((X, np.ma.array(targets, mask=hidden)))
        assert (table.rows, table.rows_without_target) == (240, 60)
    table = table_of((np.ma.array(X.numpy(), mask=np.stack([hidden] * 3, 1)), Y))
    assert isinstance(table.features, pd.DataFrame)
    assert table.features.isna().sum().tolist() == [60] * 3


def test_a_frame_with_arrays_for_groups_and_time_drop_and_positive(tmp_path: Path) -> None:
    frame = customers(300)
    path = csv_file(tmp_path, frame)
    for data in (frame, path):
        table = table_of(
            data, target="churn", positive="no", drop=["income"], groups=np.arange(300) // 2
        )
        assert table.classes == ("no",)
        assert "income" not in table.features
        assert table.groups is not None
        assert len(np.unique(table.groups)) == 150
        days = pd.date_range("2024-01-01", periods=300)
        timed = table_of(data, target=["churn"], drop="income", time_order=days)
        assert timed.time is not None
        assert np.all(np.diff(timed.time) == 86_400)


def test_a_number_of_costs_is_what_a_miss_costs() -> None:
    results = comparison.compare("logistic", made_table(), costs=50, **OPTIONS)
    assert results.protocol.miss == 50
    with pytest.raises(CompareError, match=r"costs= must be above 0 and finite, got -1"):
        comparison.compare("logistic", made_table(), costs=-1)
    with pytest.raises(TypeError, match="costs must be a number"):
        comparison.compare("logistic", made_table(), costs="50")


@pytest.mark.parametrize(
    ("options", "python", "command"),
    [
        ({"target": "what"}, "no column 'what' for target=.", "no column 'what' for --target."),
        ({"drop": ["what"]}, "no column 'what' for drop=.", "no column 'what' for --drop."),
        ({"groups": "what"}, "no column 'what' for groups=.", "no column 'what' for --group."),
        ({"time_order": "what"}, "'what' for time_order=.", "no column 'what' for --time."),
        ({"time_order": "plan"}, "time_order='plan' must be numbers or dates", "--time plan must"),
        ({"groups": "active"}, "groups='active' has 2 values", "--group active has 2 values"),
        (
            {"positive": "x", "target": "churn,active"},
            "positive= belongs to a",
            "--positive belongs",
        ),
    ],
)
def test_errors_name_arguments_here_and_options_there(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    python: str,
    command: str,
) -> None:
    path = csv_file(tmp_path, customers(300).fillna({"plan": "basic", "age": 40}))
    options = {"target": "churn"} | options
    with pytest.raises(CompareError) as caught:
        comparison.compare("logistic", path, **options)
    assert python in str(caught.value)
    assert "--" not in str(caught.value)
    names = {"groups": "group", "time_order": "time"}
    words = [
        word
        for name, value in options.items()
        for word in (f"--{names.get(name, name)}", ",".join(value) if name == "drop" else value)
    ]
    assert main(["compare", str(path), *words, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert command in err
    assert "=" not in err


def test_findings_name_arguments_here_and_options_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = customers(400).assign(one=1, spaced=np.repeat(np.arange(200), 2))
    path = csv_file(tmp_path, frame.rename(columns={"spaced": "the id"}))
    found = comparison.compare("logistic", path, target="churn", repeats=1, quick=True)
    said = " ".join(finding.advice for finding in found.data.findings)
    assert "Leave it out with drop=." in said
    assert "Use repeats=10 or more" in said
    assert "--" not in said
    command = ["compare", str(path), "--target", "churn", "--model", "logistic", "--quick"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    plain = (tmp_path / "out" / "results.json").read_text()
    assert "Leave it out with --drop." in plain
    assert "Use --repeats 10 or more" in plain
    assert "drop=" not in plain
    capsys.readouterr()
    # afterwards as before
    assert argument("time_order") == "time_order="
    # a value of several words is one word of the shell
    assert option("groups", "the id") == "--group 'the id'"
    assert option("resume", True) == "--resume"


def test_arrays_have_no_columns_to_name() -> None:
    with pytest.raises(CompareError, match="drop= belongs to a path or a data frame"):
        comparison.compare("logistic", (X, Y), drop=["x"])
    with pytest.raises(CompareError, match=r"groups= must be \(300,\), got 'who'"):
        comparison.compare("logistic", (X, Y), groups="who")
    with pytest.raises(CompareError, match=r"time_order= must be \(300,\), got \(4,\)"):
        comparison.compare("logistic", (X, Y), time_order=[1, 2, 3, 4])


def test_the_folder_is_an_argument_too(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CompareError, match="Name another folder with out="):
        comparison.compare("logistic", made_table(), out=tmp_path)
