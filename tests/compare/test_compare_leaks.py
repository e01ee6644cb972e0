"""A column that gives the target away is told by what it reaches of the model's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from tables import made_table

from refocal import comparison
from refocal.comparison import Table, by_name
from refocal.comparison.data.findings import check
from refocal.comparison.data.splits import splits
from refocal.comparison.results import Finding

ROWS = 6000


def crashes(seed: int = 0) -> Table:
    """Like the accident records of nassCDS: one person in 22 died, and "injury" was coded after.

    Its codes are no scale: 4 is dead, 5 and 6 are unknown, and 1 in 12 of the dead has another.
    """
    generator = np.random.default_rng(seed)
    speed, age = generator.normal(size=(2, ROWS))
    dead = speed + 0.6 * age + generator.normal(size=ROWS) > 2.7
    injury = generator.integers(0, 4, ROWS).astype(float)
    injury[dead & (generator.random(ROWS) < 0.92)] = 4.0
    injury[~dead & (generator.random(ROWS) < 0.004)] = 4.0
    injury[generator.random(ROWS) < 0.05] = 5.0
    features = pd.DataFrame({"speed": speed, "age": age, "injury": injury})
    return Table("crashes", features, dead[:, None], "dead", ("yes",))


def found(table: Table, precision: float | None = None) -> list[Finding]:
    split = splits(table, repeats=1, seed=0)[0]
    precisions = None if precision is None else [precision] * len(table.classes)
    codes = ("gives-away", "dominates")
    return [one for one in check(table, split, precisions) if one.code in codes]


def with_columns(table: Table, **columns: object) -> Table:
    assert isinstance(table.features, pd.DataFrame)
    return dataclasses.replace(table, features=table.features.assign(**columns), _cache={})


def test_a_column_that_is_no_scale_and_not_perfect_is_found() -> None:
    table = crashes()
    assert 0.03 < table.targets.mean() < 0.06
    (told,) = found(table, 0.93)
    assert told.leak
    assert (told.code, told.severity) == ("gives-away", "problem")
    assert "Column 'injury' alone tells 'yes'" in told.message
    assert "The best model reaches 0.93." in told.message
    assert "leave it out with drop=" in told.advice


def test_dropped_it_is_gone() -> None:
    table = crashes()
    assert isinstance(table.features, pd.DataFrame)
    rest = dataclasses.replace(table, features=table.features.drop(columns="injury"), _cache={})
    assert found(rest, 0.4) == []


def test_a_run_flags_it_with_its_own_average_precision() -> None:
    results = comparison.run(
        crashes(), by_name(["logistic"]), comparison.Plan(quick=True, epochs=3)
    )
    leaks = [one for one in results.data.findings if one.leak]
    assert [one.code for one in leaks] == ["gives-away"]
    best = max(loss.figures["average_precision"].value or 0.0 for loss in results.losses)
    assert f"The best model reaches {best:.2f}." in leaks[0].message


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_what_was_filled_in_later_gives_away_by_being_there(share: float) -> None:
    table = made_table(rows=3000)
    y = table.targets[:, 0]
    generator = np.random.default_rng(1)
    known = y | (generator.random(len(y)) < 0.001)
    values = np.where(known, generator.random(len(y)), np.nan)
    assert [one.message.split("'")[1] for one in found(with_columns(table, later=values))] == [
        "later"
    ]


def test_a_good_column_among_good_ones_is_none() -> None:
    """As in the biopsies: each of several measurements nearly tells by itself."""
    generator = np.random.default_rng(0)
    y = generator.random(3000) < 0.35
    columns = {f"m{k}": 2.5 * y + generator.normal(size=3000) for k in range(4)}
    table = Table("biopsies", pd.DataFrame(columns), y[:, None], "malignant", ("yes",))
    assert found(table, 0.99) == []


def test_the_strongest_of_weak_columns_is_none() -> None:
    """As in ISLR's Default: the balance carries the model, and reaches an AP of .45."""
    generator = np.random.default_rng(0)
    balance, income = generator.normal(size=(2, 8000))
    y = balance + 0.8 * generator.normal(size=8000) > 2.4
    features = pd.DataFrame({"balance": balance, "income": income})
    table = Table("defaults", features, y[:, None], "default", ("yes",))
    assert [one.leak for one in found(table, 0.55)] in ([], [False])


def test_a_strong_column_that_a_far_better_model_leaves_behind_is_none() -> None:
    table = crashes()
    assert found(with_columns(table, injury=0.0), 0.999) == []


def test_classes_are_judged_one_by_one() -> None:
    table = made_table("multiclass", rows=3000)
    state = np.where(table.targets[:, 2], "x", np.where(np.arange(3000) % 2 == 0, "y", "z"))
    told = found(with_columns(table, state=state))
    assert [one.message.split("'")[3] for one in told] == ["broken"]
    assert all(one.leak for one in told)
