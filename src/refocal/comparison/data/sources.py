"""Makes tables of what a user has: a file, or a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from refocal.comparison.data.cells import tidy
from refocal.comparison.data.columns import clean, is_nested, read_as
from refocal.comparison.data.files import (
    Contents,
    as_contents,
    kind_of,
    no_rows,
    read_file,
)
from refocal.comparison.data.identifiers import repeated_ids, row_numbers, say_left_out
from refocal.comparison.data.layout import with_index
from refocal.comparison.data.memory import Memory, TooLarge
from refocal.comparison.data.new_rows import with_new_rows
from refocal.comparison.data.pieces import (
    IN_PIECES,
    FramePieces,
    Pieces,
    contents_of,
    header_of,
    open_pieces,
)
from refocal.comparison.data.sampling import check_rows, draw, most_rows, of_rows, say_read
from refocal.comparison.data.split_by import as_groups, as_times
from refocal.comparison.data.table import Integers, Table
from refocal.comparison.data.targets import Targets, targets
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.results import Sampling, Source


def read_table(
    path: Path,
    *,
    target: str | Sequence[str],
    positive: Any = None,
    groups: Any = None,
    time_order: Any = None,
    drop: Sequence[str] = (),
    rows: int | None = None,
    new: Path | None = None,
) -> Table:
    """Return a file as a classification task.

    A table larger than memory is read in pieces: of a binary task all positives, and as many
    negatives as there is room for, drawn at random and the same ones every time.

    Args:
        path: CSV and its relatives (any separator and encoding; also .gz, .bz2, .xz, .zip), Excel
            or OpenDocument, Parquet or Arrow; or a folder of Parquet files, which are read one
            below the other, names of folders like `year=2024` as columns.
        target: the column to predict; or several, of two values each, as a list or separated by
            commas.
        positive: the value that counts as positive, against all the others. Without it the rarer
            of two values is positive, and more than two are classes that exclude each other.
        groups: a column, or an array of one value a row; rows with the same value stay on one side
            of a split.
        time_order: a column of numbers or dates, or an array; no split trains on the future. With
            groups too, rows of a group that reaches over the border of a split are left out on one
            side of it.
        drop: columns to leave out.
        rows: the most rows to read, at least 100: of each class as many as there are or as there is
            room for, so the rarer ones whole and a share of the others. None for all rows, or for a
            million of a table that memory is too small for.
        new: a file of rows to predict, which become the last ones of the table. Both files are read
            as one, so that a date, a decimal comma or a category means the same in them.

    Raises:
        CompareError: the file cannot be read as a table, or its target is not one of classes; or
            the new rows lack one of its columns.
    """
    if rows is not None:
        check_rows(rows)
    named = [name for name in (groups, time_order, *drop) if isinstance(name, str)]
    named += [target] if isinstance(target, str) else list(target)
    asked = _Asked(target, positive, groups, time_order, [drop] if isinstance(drop, str) else drop)
    read = _whole(path, named) if rows is None else rows
    if isinstance(read, Contents):
        contents = read
        table = _table(contents, path, asked, new=new)
    else:
        pieces = open_pieces(path, named)
        contents = header_of(pieces)
        table = _part(pieces, path, asked, read, new)
    if any(one is not None and not isinstance(one, str) for one in (groups, time_order)):
        return table  # by an array, which no file holds
    return replace(
        table,
        source=Source(
            path=str(path),
            target=[str(one) for one in _target_names(contents, target)],
            positive=None if positive is None else str(positive),
            groups=groups,
            time_order=time_order,
            drop=list(asked.drop),
            rows=rows if table.sampling is None else table.rows - table.new_rows,
        ),
    )


def _whole(path: Path, named: Sequence[str]) -> Contents | Memory:
    """Return what a file holds; of one that is too large, and can be read in part, the memory."""
    try:
        return read_file(path, names=named)
    except TooLarge as error:
        if kind_of(path) not in IN_PIECES:
            raise
        return error.memory


def frame_table(
    frame: pd.DataFrame,
    *,
    name: Path,
    target: str | Sequence[str],
    positive: Any = None,
    groups: Any = None,
    time_order: Any = None,
    drop: Sequence[str] = (),
    rows: int | None = None,
) -> Table:
    """Return a data frame as a classification task; see `read_table`.

    Columns may be named by their labels, whatever these are; named levels of the index are columns.
    """
    target, groups, time_order, drop = (
        _spelled(frame, one) for one in (target, groups, time_order, drop)
    )
    asked = _Asked(target, positive, groups, time_order, [drop] if isinstance(drop, str) else drop)
    contents = as_contents(with_index(frame, named=True))
    if rows is None:
        return _table(contents, name, asked)
    check_rows(rows)
    return _part(FramePieces(contents), name, asked, rows)


def _spelled(frame: pd.DataFrame, given: Any) -> Any:
    """Return a label of a frame as text, and what is none of its labels as it is."""
    try:
        label = given is not None and given in set(frame.columns)
    except TypeError:  # several of them, or values for the rows
        label = False
    return str(given) if label or isinstance(given, int) else given


@dataclass(frozen=True)
class _Asked:
    """What the columns of a table are, as the user says; see `read_table`."""

    target: str | Sequence[str]
    positive: Any
    groups: Any
    time_order: Any
    drop: Sequence[str]

    def columns(self, contents: Contents, path: Path) -> list[Any]:
        """The names of the target columns."""
        names = _target_names(contents, self.target)
        return [column(contents, path, name, "target").name for name in names]

    def of_rows(self, rows: Integers, count: int) -> _Asked:
        """The same of some of the rows: arrays hold a value for each row of the whole table."""

        def part(given: Any, option: str) -> Any:
            if given is None or isinstance(given, str):
                return given
            return _one_a_row(given, count, option).iloc[rows]

        return replace(
            self,
            groups=part(self.groups, "groups"),
            time_order=part(self.time_order, "time_order"),
        )


@dataclass(frozen=True)
class _Part:
    """Some rows of a table.

    Attributes:
        found: their targets, with what is to be said of those of the whole table.
        numbers: where they stand in it.
        sampling: what share of the rows with a target they are; None for all of these.
    """

    found: Targets
    numbers: Integers
    sampling: Sampling | None


def _part(
    pieces: Pieces, path: Path, asked: _Asked, room: int | Memory, new: Path | None = None
) -> Table:
    """Return a table of no more rows than there is room for: so many, or what memory holds."""
    header = header_of(pieces)
    columns = asked.columns(header, path)
    # before the rows are read, which may take long
    options = [("drop", one) for one in asked.drop]
    options += [("groups", asked.groups), ("time_order", asked.time_order)]
    for option, name in options:
        if isinstance(name, str):
            column(header, path, name, option)
    whole = pieces.columns(columns)
    if whole.empty:
        raise no_rows(path)
    for one in columns:
        _check_flat(whole[one], path)
    found = targets(whole, asked.positive)
    why = ""
    if isinstance(room, Memory):
        why = f"{room.words(path)}. "
        room = most_rows(len(whole), room)
    numbers, sampling = draw(found, room)
    part = _Part(of_rows(found, numbers), numbers, sampling)
    contents = contents_of(pieces, pieces.take(numbers))
    if sampling is not None:
        notes = (say_read(sampling, found.classes, why), *contents.findings)
        contents = replace(contents, findings=notes)
    return _table(contents, path, asked.of_rows(numbers, len(whole)), part, new=new)


def _table(
    contents: Contents,
    path: Path,
    asked: _Asked,
    part: _Part | None = None,
    *,
    new: Path | None = None,
) -> Table:
    groups, time_order = asked.groups, asked.time_order
    columns = asked.columns(contents, path)
    dropped = [column(contents, path, name, "drop").name for name in asked.drop]
    for one in columns:
        _check_flat(contents.frame[one], path)
    found = targets(contents.frame[columns], asked.positive) if part is None else part.found
    grouped = None if groups is None else _values(contents, path, groups, "groups")
    timed = None if time_order is None else _values(contents, path, time_order, "time_order")
    numbers = None if grouped is None else as_groups(grouped, found.known)
    times = None if timed is None else as_times(timed, found.known, contents.decimal)
    split_by = [one.name for one in (grouped, timed) if one is not None and one.name is not None]
    frame = contents.frame.drop(columns=list({*columns, *dropped, *split_by}))
    if frame.shape[1] == 0:
        several = ", ".join(map(repr, columns))
        raise CompareError(f"{path} has no column besides the target {several}.")
    numbering = row_numbers(frame, None if part is None else part.numbers)
    frame = frame.drop(columns=numbering)
    used = frame[found.known].reset_index(drop=True)
    if new is not None:
        used = with_new_rows(used, new, typed=contents.typed, decimal=contents.decimal)
    count = len(used) - len(found.matrix)
    cleaned = clean(used, typed=contents.typed, decimal=contents.decimal)
    ids = repeated_ids(frame) if numbers is None and times is None else ()
    return Table(
        name=path.name,
        features=cleaned.features,
        targets=np.pad(found.matrix, ((0, count), (0, 0))),
        target=", ".join(map(str, columns)),
        classes=found.classes,
        kind=found.kind,
        groups=None if numbers is None else np.pad(numbers, (0, count), mode="edge"),
        group_name="row" if groups is None else _group_name(groups),
        time=None if times is None else np.pad(times, (0, count), mode="edge"),
        new_rows=count,
        sampling=None if part is None else part.sampling,
        rows_without_target=found.missing,
        about=_about(groups, time_order, dropped),
        findings=(
            *contents.findings,
            *found.findings,
            *say_left_out(numbering),
            *(() if timed is None else read_as(timed, decimal=contents.decimal)),
            *cleaned.findings,
            *ids,
        ),
    )


def _about(group: Any, time: Any, drop: Sequence[Any]) -> tuple[str, ...]:
    about = []
    if isinstance(group, str):
        about.append(f"Rows with the same {group!r} stay together; it is not a feature.")
    elif group is not None:
        about.append("Rows of the same group stay together.")
    if time is not None:
        by = repr(time) if isinstance(time, str) else "time"
        about.append(f"Split by {by}: no model is tested on rows older than its training rows.")
    if drop:
        about.append(f"Left out: {', '.join(map(str, drop))}.")
    return tuple(about)


def _check_flat(values: pd.Series[Any], path: Path) -> None:
    if is_nested(values):
        raise CompareError(
            f"{path} has lists or records in the column {values.name!r}. Name a column of values."
        )


# --- columns by name -----------------------------------------------------------------------------


def _target_names(contents: Contents, target: str | Sequence[str]) -> list[str]:
    if isinstance(target, str):
        one = tidy(target) in contents.frame.columns
        target = [target] if one else [part.strip() for part in target.split(",")]
    if len(target) == 0:
        raise CompareError(f"which column to predict? Pass {argument('target')}.")
    return list(dict.fromkeys(target))


def column(contents: Contents, path: Path, name: str, option: str) -> pd.Series[Any]:
    """Return a column by name.

    Raises:
        CompareError: there is none, or more than one.
    """
    tidied = tidy(str(name))
    columns = [str(one) for one in contents.frame.columns]
    if tidied in columns:
        if sum(tidy(one) == tidied for one in contents.names) > 1:
            raise CompareError(f"{path} has more than one column {tidied!r}. Rename them.")
        return contents.frame[tidied]
    alike = [one for one in columns if one.casefold() == tidied.casefold()]
    meant = f" Did you mean {alike[0]!r}?" if alike else ""
    shown = ", ".join(repr(one) for one in columns[:20])
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    raise CompareError(
        f"{path} has no column {name!r} for {argument(option)}. It has {shown}{more}.{meant}"
    )


# --- what splits follow --------------------------------------------------------------------------


def _values(contents: Contents, path: Path, given: Any, option: str) -> pd.Series[Any]:
    """Return a column by its name, or the values themselves as a series without a name."""
    if isinstance(given, str):
        named = column(contents, path, given, option)
        _check_flat(named, path)
        return named
    return _one_a_row(given, len(contents.frame), option)


def _one_a_row(given: Any, rows: int, option: str) -> pd.Series[Any]:
    values = pd.Series(np.asarray(given).ravel() if np.ndim(given) else [given])
    if len(values) != rows:
        raise CompareError(
            f"{argument(option)} must be a column or one value for each of the {rows} rows, got"
            f" {len(values)}."
        )
    return values


def _group_name(group: Any) -> str:
    return f"value of {group!r}" if isinstance(group, str) else "group"
