"""Reading a table, splitting it, encoding it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import OneHotEncoder
from tables import csv_file, customers, made_table

from refocal import comparison
from refocal.comparison import CompareError
from refocal.comparison.data.findings import check
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits, splitting

PARTS = ("train", "valid", "test")


def prepared(table: comparison.Table, seed: int = 0) -> Prepared:
    return Prepared(table, splits(table, repeats=1, seed=seed)[0])


# --- reading -------------------------------------------------------------------------------------


def test_the_rarer_value_is_positive_unless_named(tmp_path: Path) -> None:
    frame = customers()
    path = csv_file(tmp_path, frame)
    table = comparison.read_table(path, target="churn")
    assert table.classes == ("yes",)
    assert_array_equal(table.targets[:, 0], frame["churn"] == "yes")
    named = comparison.read_table(path, target="churn", positive="no")
    assert_array_equal(named.targets[:, 0], frame["churn"] == "no")


def test_one_value_against_the_rest(tmp_path: Path) -> None:
    frame = customers()
    table = comparison.read_table(csv_file(tmp_path, frame), target="plan", positive="plus")
    assert table.rows_without_target == frame["plan"].isna().sum()
    assert_array_equal(table.targets[:, 0], frame["plan"].dropna() == "plus")


def test_a_number_names_its_class_however_it_is_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(6.0), "y": [0, 1, None, 0, 1, 0]})  # read as 0.0 and 1.0
    table = comparison.read_table(csv_file(tmp_path, frame), target="y", positive="1")
    assert_array_equal(table.targets[:, 0], [False, True, False, True, False])


def test_numbers_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, np.inf, -1e300, 2.0], "y": [0, 1, 0, 1]})
    table = comparison.read_table(csv_file(tmp_path, frame), target="y")
    assert_array_equal(table.features["x"], [1.0, np.nan, np.nan, 2.0])


# --- splitting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_every_split_keeps_base_rates_and_loses_no_row(kind: str) -> None:
    table = made_table(kind, 1500)
    tested = []
    for split in splits(table, repeats=6, seed=0):
        assert [len(rows) for rows in split.parts().values()] == [900, 300, 300]
        assert_array_equal(np.sort(np.concatenate(list(split.parts().values()))), np.arange(1500))
        rates = [table.targets[rows].mean(0) for rows in split.parts().values()]
        assert_allclose(rates, np.tile(table.targets.mean(0), (3, 1)), atol=0.025)
        tested.append(split.test)
    # five splits share a shuffle and test on disjoint fifths; the sixth begins another
    assert_array_equal(np.sort(np.concatenate(tested[:5])), np.arange(1500))
    assert len(np.intersect1d(tested[0], tested[5])) < 300


def test_groups_stay_together() -> None:
    table = made_table(rows=1500)
    groups = np.random.default_rng(0).integers(0, 100, table.rows)
    grouped = dataclasses.replace(table, groups=groups)
    assert splitting(grouped) == "grouped"
    for split in splits(grouped, repeats=3, seed=0):
        parts = [set(groups[rows]) for rows in split.parts().values()]
        assert not parts[0] & parts[1]
        assert not parts[1] & parts[2]
        assert not parts[0] & parts[2]


def test_no_split_by_time_trains_on_the_future() -> None:
    table = made_table(rows=1500)
    time = np.random.default_rng(0).integers(0, 200, table.rows).astype(float)  # with many ties
    timed = dataclasses.replace(table, time=time)
    assert splitting(timed) == "time"
    found = splits(timed, repeats=3, seed=0)
    for split in found:
        assert time[split.train].max() < time[split.valid].min()
        assert time[split.valid].max() < time[split.test].min()
    assert len(found[0].train) < len(found[1].train) < len(found[2].train)
    assert time[found[-1].test].max() == time.max()
    alone = splits(timed, repeats=1, seed=0)[0]
    assert_allclose([len(rows) for rows in alone.parts().values()], [900, 300, 300], atol=20)


@pytest.mark.parametrize("length", [1, 40, 10_000])
def test_groups_by_time_stay_on_one_side_and_train_on_no_future(length: int) -> None:
    """Groups of an instant, of a season, and of all times; rows are left out only at borders."""
    table = made_table(rows=3000)
    generator = np.random.default_rng(0)
    time = generator.integers(0, 400, table.rows).astype(float)
    groups = (time // length).astype(np.int64) * 30 + generator.integers(0, 30, table.rows)
    both = dataclasses.replace(table, time=time, groups=groups, group_name="customer")
    assert splitting(both) == "grouped by time"
    alone = splits(dataclasses.replace(table, time=time), repeats=5, seed=0)
    tested: list[np.ndarray] = []
    for split, by_time in zip(splits(both, repeats=5, seed=0), alone, strict=True):
        parts = [set(groups[rows]) for rows in split.parts().values()]
        assert not parts[0] & parts[1] | parts[1] & parts[2] | parts[0] & parts[2]
        assert time[split.train].max() < time[split.valid].min()
        assert time[split.valid].max() < time[split.test].min()
        seen = np.concatenate(list(by_time.parts().values()))
        kept = np.concatenate(list(split.parts().values()))
        assert len(np.setdiff1d(kept, seen)) == 0
        # a group is left out nowhere: each keeps the rows of one part whole
        assert set(groups[kept]) == set(groups[seen])
        for mine, all_of_it in zip(split.parts().values(), by_time.parts().values(), strict=True):
            there = all_of_it[np.isin(groups[all_of_it], groups[mine])]
            assert_array_equal(mine, there)
        if length == 1:
            assert len(kept) == len(seen)
        tested.append(split.test)
        found = [one.code for one in check(both, split, [0.5])]
        assert ("group-over-time" in found) == (len(kept) < len(seen))
    if length == 10_000:  # each group is tested once, as when it is split by groups alone
        assert [len(set(groups[rows])) for rows in tested] == [6] * 5
        assert len(np.unique(groups[np.concatenate(tested)])) == 30


@pytest.mark.parametrize(
    ("positives", "match"), [(3, "has 3 positive examples"), (1497, "has 3 negative examples")]
)
def test_too_few_of_a_class(tmp_path: Path, positives: int, match: str) -> None:
    frame = customers()
    frame["churn"] = np.where(np.arange(len(frame)) < positives, "yes", "no")
    table = comparison.read_table(csv_file(tmp_path, frame), target="churn", positive="yes")
    with pytest.raises(CompareError, match=match):
        prepared(table)


def test_a_rare_class_among_several_is_named() -> None:
    table = made_table("multiclass")
    targets = table.targets.copy()
    targets[np.flatnonzero(targets[:, 2])[4:]] = [True, False, False]
    with pytest.raises(CompareError, match="has 4 examples of 'broken' in state"):
        prepared(dataclasses.replace(table, targets=targets))


def test_a_part_without_positives_is_refused() -> None:
    table = made_table()
    positives_first = np.arange(table.rows) + np.where(table.targets[:, 0], 0.0, table.rows)
    with pytest.raises(CompareError, match=r"the validation part .* has no positive example"):
        prepared(dataclasses.replace(table, time=positives_first))
    rows = np.arange(table.rows)
    for values, times in (("1 different value", 0 * rows), ("2 different values", rows > 300)):
        with pytest.raises(CompareError, match=f"has no row, as time_order= has {values}"):
            prepared(dataclasses.replace(table, time=times.astype(float)))
    groups = np.where(table.targets[:, 0], 0, np.arange(table.rows))  # all positives in one group
    # which part that group is in depends on scikit-learn's version
    refused = r"the (training|validation|test) part .* has no positive example"
    with pytest.raises(CompareError, match=refused):
        prepared(dataclasses.replace(table, groups=groups))


# --- encoding ------------------------------------------------------------------------------------


def test_the_encoding_is_learned_from_training_rows_alone(tmp_path: Path) -> None:
    data = prepared(comparison.read_table(csv_file(tmp_path, customers()), target="churn"))
    assert data.train.dtype == torch.float32
    assert data.train.shape == (900, data.inputs)
    for part in PARTS:
        assert bool(getattr(data, part).isfinite().all())
    # Standardised on the training rows exactly, on the others only nearly.
    assert_allclose(data.train[:, 0].mean(), 0.0, atol=1e-6)
    assert abs(float(data.test[:, 0].mean())) > 1e-4


@pytest.mark.parametrize("dtype", ["str", "object", "bool"])
@pytest.mark.parametrize("missing", [False, True])
def test_text_is_encoded_as_scikit_learn_encodes_it(dtype: str, missing: bool) -> None:
    """One input for each text, one for what is rare or unseen, one for what is missing."""
    generator = np.random.default_rng(0)
    names = [True, False] if dtype == "bool" else ["b", "a", "Ä", "", "c c"]
    drawn = generator.choice(np.array(names, dtype=object), 4000)
    if dtype != "bool":
        drawn[generator.choice(4000, 20, replace=False)] = "rare"
        if missing:
            drawn[generator.random(4000) < 0.1] = None
    column = pd.Series(drawn, dtype=dtype)
    table = dataclasses.replace(made_table(rows=4000), features=column.to_frame("text"))
    data = Prepared(table, splits(table, repeats=1, seed=0)[0])
    encoder = OneHotEncoder(
        min_frequency=20, handle_unknown="infrequent_if_exist", sparse_output=False
    )
    plain = np.array(drawn, dtype=object)[:, None]
    encoder.fit(plain[data.split.train])
    for part in ("train", "valid", "test"):
        expected = encoder.transform(plain[getattr(data.split, part)])
        assert_array_equal(getattr(data, part), expected)


def test_an_outlier_cannot_drown_the_other_inputs(tmp_path: Path) -> None:
    frame = customers()
    frame.loc[frame.index[:5], "income"] = 1e30
    data = prepared(comparison.read_table(csv_file(tmp_path, frame), target="churn"))
    assert data.train.abs().max() <= 10


def test_tensors_are_used_as_they_are() -> None:
    table = made_table()
    images = torch.arange(table.rows * 4.0).reshape(-1, 1, 2, 2)
    data = prepared(dataclasses.replace(table, features=images))
    torch.testing.assert_close(data.test, images[torch.from_numpy(data.split.test)])
    assert data.inputs == 4


def test_a_fingerprint_changes_with_anything_that_matters() -> None:
    table = made_table()
    other = table.features.copy()
    other.iloc[3, 2] += 1e-9
    changed = [
        dataclasses.replace(table, features=other, _cache={}),
        dataclasses.replace(table, targets=~table.targets, _cache={}),
        dataclasses.replace(table, groups=np.arange(table.rows), _cache={}),
        dataclasses.replace(table, features=other.rename(columns={"a": "z"}), _cache={}),
    ]
    prints = {one.fingerprint() for one in [table, *changed]}
    assert len(prints) == 5
    assert made_table().fingerprint() == table.fingerprint()
