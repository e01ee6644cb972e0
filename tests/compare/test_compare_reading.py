"""Files of other kinds, columns of every kind, and the data check."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pyarrow import feather, ipc
from tables import csv_file, customers, made_table

from refocal import comparison
from refocal.comparison import CompareError
from refocal.comparison.data import memory
from refocal.comparison.data.columns import clean
from refocal.comparison.data.findings import check
from refocal.comparison.data.splits import splits
from refocal.comparison.data.table import one_hot

# --- files ---------------------------------------------------------------------------------------


def write(path: Path, frame: pd.DataFrame) -> Path:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".feather":
        feather.write_feather(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.arrow"])
def test_every_format_holds_the_same_table(tmp_path: Path, name: str) -> None:
    frame = customers(300)
    expected = comparison.read_table(csv_file(tmp_path, frame), target="churn")
    found = comparison.read_table(write(tmp_path / name, frame), target="churn")
    assert_array_equal(found.targets, expected.targets)
    assert list(found.features.columns) == list(expected.features.columns)
    for column in ("age", "income"):
        assert_allclose(found.features[column], expected.features[column])
    assert_array_equal(found.features["plan"], expected.features["plan"])


@pytest.mark.parametrize("name", ["t.arrow", "t.feather"])
def test_a_file_larger_than_memory_is_refused_with_an_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frame = customers(3000)
    path = tmp_path / name
    write(path, frame)
    comparison.read_table(path, target="churn")
    monkeypatch.setattr(memory, "available_bytes", lambda: 1e4)
    with pytest.raises(CompareError, match=r"would take about \d+\.\d GB of memory and 0\.0 GB"):
        comparison.read_table(path, target="churn")


def test_the_estimate_is_near_what_a_file_takes(tmp_path: Path) -> None:
    frame = customers(20_000)
    taken = pd.read_csv(csv_file(tmp_path, frame)).memory_usage(deep=True).sum()
    assert_allclose(memory.estimate_bytes(tmp_path / "customers.csv"), taken, rtol=0.1)
    assert memory.available_bytes() is None or memory.available_bytes() > 0


def test_a_missing_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.arrow", customers(20))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'refocal\[parquet\]'"):
        comparison.read_table(path, target="churn")


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    table = pa.table([[1, 2], [3, 4]], names=["x", "x"])
    with pa.OSFile(str(path), "wb") as sink, ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(CompareError, match="more than one column 'x'"):
        comparison.read_table(path, target="x")


# --- columns -------------------------------------------------------------------------------------


def test_dates_become_days_and_their_parts() -> None:
    dates = pd.Series(pd.date_range("2013-01-30 22:00", periods=60, freq="h"))
    text = dates.dt.strftime("%Y-%m-%d %H:%M").copy()  # older pandas: else a view
    text[3] = None
    frame = pd.DataFrame({"at": text, "zone": dates.dt.tz_localize("Europe/Berlin")})
    found = clean(frame).features
    parts = [
        f"{name}: {part}" for name in ("at", "zone") for part in ("day", "month", "weekday", "hour")
    ]
    assert list(found.columns) == parts
    assert_allclose(found["at: day"].to_numpy()[[0, 59]], [0, 59 / 24])
    assert np.isnan(found["at: day"][3])
    assert found["at: month"][59] == "2"
    assert found["at: hour"][3] == "(missing)"
    assert found["zone: hour"][0] == "21"  # in UTC


def test_a_date_without_hours_has_no_hour() -> None:
    text = pd.Series(pd.date_range("2013-01-01", periods=50)).astype(str)
    assert [name for name in clean(pd.DataFrame({"at": text})).features if "hour" in name] == []


def test_categories_that_look_like_text_or_dates_stay() -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "few": generator.choice(["a longer name of a product", "another long name"], 100),
            "code": [f"X{k:05}" for k in range(100)],
            "often": ["2013-01-01"] * 80 + ["soon"] * 20,
            "flag": generator.random(100) < 0.5,
        }
    )
    found = clean(frame).features
    assert list(found.columns) == ["few", "code", "often", "flag"]
    assert found["flag"].dtype == float


def test_free_text_is_left_out_by_name_with_the_way_out() -> None:
    frame = pd.DataFrame({"note": [f"this is note number {k}" for k in range(50)], "x": range(50)})
    found = clean(frame)
    assert list(found.features.columns) == ["x"]
    (told,) = found.findings
    assert (told.code, told.severity) == ("free-text", "warning")
    assert "'note' is free text" in told.message
    with pytest.raises(CompareError, match="'note' is free text"):
        clean(frame[["note"]])


def test_several_targets_are_labels(tmp_path: Path) -> None:
    frame = customers(300)
    frame["late"] = np.where(np.arange(300) % 4 == 0, 1, 0)
    path = csv_file(tmp_path, frame)
    table = comparison.read_table(path, target="churn,late", drop=["income"])
    assert (table.kind, table.classes) == ("multilabel", ("churn", "late"))
    assert_array_equal(table.targets[:, 0], frame["churn"] == "yes")
    assert_array_equal(table.targets[:, 1], frame["late"] == 1)
    assert "income" not in table.features
    with pytest.raises(CompareError, match="positive= belongs to a single target="):
        comparison.read_table(path, target="churn,late", positive="1")


def test_more_than_two_values_are_classes_the_commonest_first(tmp_path: Path) -> None:
    frame = customers(300)
    frame["plan"] = np.repeat(["plus", "basic", "pro"], [90, 150, 60])
    table = comparison.read_table(csv_file(tmp_path, frame), target="plan")
    assert (table.kind, table.classes) == ("multiclass", ("basic", "plus", "pro"))
    assert_array_equal(table.targets.sum(0), [150, 90, 60])
    assert_array_equal(table.targets.sum(1), np.ones(300))


def test_groups_and_time_are_no_features(tmp_path: Path) -> None:
    frame = customers(300)
    frame["who"] = np.arange(300) // 3
    frame["at"] = pd.date_range("2013-01-01", periods=300).astype(str)
    path = csv_file(tmp_path, frame)
    grouped = comparison.read_table(path, target="churn", groups="who")
    assert "who" not in grouped.features
    assert grouped.groups is not None
    assert len(np.unique(grouped.groups)) == 100
    timed = comparison.read_table(path, target="churn", time_order="at")
    assert "at" not in timed.features
    assert timed.time is not None
    assert np.all(np.diff(timed.time) == 86_400)


# --- the data check ------------------------------------------------------------------------------


def codes(table: comparison.Table) -> dict[str, str]:
    found = check(table, splits(table, repeats=1, seed=0)[0])
    assert all(one.message and one.advice for one in found)
    return {one.code: one.message for one in found}


def test_a_clean_table_has_no_finding_but_its_size() -> None:
    assert codes(made_table(rows=3000)) == {}
    assert "The test part has" in codes(made_table(rows=200))["few-positives"]


def test_columns_are_checked() -> None:
    table = made_table(rows=3000)
    y = table.targets[:, 0]
    features = table.features.copy()
    assert isinstance(features, pd.DataFrame)
    features["same"] = 1.0
    features["holes"] = np.where(np.arange(3000) < 50, 1.5, np.nan)
    features["id"] = [f"id{k}" for k in range(3000)]
    features["leak"] = 1.0 * y + 0.01 * features["a"]
    features["outcome"] = np.where(y, "repaired", "none")
    features["filled later"] = np.where(y, 3.0, np.nan)
    found = check(
        dataclasses.replace(table, features=features, _cache={}),
        splits(table, repeats=1, seed=0)[0],
    )
    leaks = {one.message.split("'")[1] for one in found if one.code == "gives-away"}
    assert leaks == {"leak", "outcome", "filled later"}
    assert found[0].severity == "problem"
    rest = {one.code: one.message for one in found if one.code != "gives-away"}
    assert "'same'" in rest["constant-column"]
    assert "'holes'" in rest["missing-column"]
    assert "'id'" in rest["many-values"]


def test_copies_across_the_split_are_counted() -> None:
    table = made_table(rows=600)
    features = table.features
    assert isinstance(features, pd.DataFrame)
    twice = dataclasses.replace(
        table,
        features=pd.concat([features, features], ignore_index=True),
        targets=np.concatenate([table.targets] * 2),
        rows_without_target=7,
        _cache={},
    )
    found = codes(twice)
    assert " of 240 test rows have the same features" in found["duplicates"]
    assert found["no-target"].startswith("7 rows")


def test_rare_classes_and_moving_base_rates_are_told() -> None:
    table = made_table(rows=6000)
    rare = np.flatnonzero(table.targets[:, 0])[:50]
    targets = np.zeros_like(table.targets)
    targets[rare] = True
    assert "one row in 120" in codes(dataclasses.replace(table, targets=targets))["imbalance"]
    drifts = np.random.default_rng(0).random(6000) < np.linspace(0.02, 0.3, 6000)
    drifting = dataclasses.replace(
        table, targets=drifts[:, None], time=np.arange(6000.0), _cache={}
    )
    assert "in training and" in codes(drifting)["prior-shift"]


def test_many_classes_share_a_finding() -> None:
    index = np.random.default_rng(0).permutation(np.r_[np.zeros(5000), np.repeat(range(1, 9), 60)])
    classes = tuple(f"c{k}" for k in range(9))
    table = dataclasses.replace(
        made_table("multiclass", rows=5480),
        targets=one_hot(index.astype(np.int64), 9),
        classes=classes,
        time=np.arange(5480.0),
    )
    found = check(table, splits(table, repeats=1, seed=0)[0])
    told = {one.code: one.message for one in found}
    assert len(told) == len(found)
    assert "few examples of some classes ('c1': " in told["few-positives"]
    assert " and 3 more)" in told["few-positives"]
