"""What columns are: numbers, dates, durations or categories; and what was done to them.

A column that cannot be used is left out and named, never the whole table refused for it.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.comparison.data.calendars import counted_dates
from refocal.comparison.data.cells import MISSING_WORDS, is_text, listed, plain, tidy, worded
from refocal.comparison.data.dates import as_dates, as_hours
from refocal.comparison.data.numerals import Mark, as_numbers, number_share
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.results import Finding

# Beyond this a number is a fill value or a broken field; its square no longer fits a float64.
_LARGEST = 1e150
MISSING = "(missing)"
# Free text: mostly distinct values of several words.
_DISTINCT = 0.5
_WORDS = 4.0
_LOOKED_AT = 2_000
_FEW = 100  # categories that a column of whole numbers stored as text may have and stay categories
_NESTED = (list, tuple, dict, set, np.ndarray)

Parts = list[tuple[str, npt.NDArray[Any]]]


@dataclass(frozen=True)
class Cleaned:
    """Features and what a reader must know about them.

    Attributes:
        features: numbers (float64, NaN for what is missing) and categories (text).
        findings: what was read as what, and what was left out.
    """

    features: pd.DataFrame
    findings: tuple[Finding, ...]


@dataclass
class _Told:
    """What is to be said about the columns, gathered so that alike ones share a sentence."""

    read: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    odd: list[tuple[str, str, dict[str, int]]] = field(default_factory=list)
    unsure: list[tuple[str, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    mixed: list[tuple[str, float]] = field(default_factory=list)
    spellings: list[str] = field(default_factory=list)

    def say(self, code: str, how: str, name: str) -> None:
        """Remember that a column was read in some way."""
        self.read.setdefault((code, how), []).append(name)


@dataclass
class _Habits:
    """How a file writes numbers and dates, for columns that cannot tell themselves."""

    decimal: Mark | None
    day_first: bool | None = None


def clean(frame: pd.DataFrame, *, typed: bool = True, decimal: Mark | None = None) -> Cleaned:
    """Return features as numbers and categories.

    A date becomes days since the first one and its month, weekday and hour, as far as they differ.

    Args:
        frame: the columns as they were read.
        typed: somebody gave the columns their types: whole numbers stored as text are categories.
        decimal: the decimal mark of the file's numbers, where it is known.

    Raises:
        CompareError: no column can be used.
    """
    habits = _habits(frame, decimal, typed)
    told = _Told()
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in frame.columns:
        for part, values in _one(str(name), frame[name], typed, habits, told):
            columns[part] = values
    if not columns:
        names = [*told.text, *told.unusable]
        what = "free text" if not told.unusable else "free text, lists or complex numbers"
        raise CompareError(
            f"no column besides the target can be used: {listed(names)} {_is(names)} {what}."
            " Replace it by numbers first (its length, an embedding)."
        )
    features = pd.DataFrame(columns, index=range(len(frame)))
    return Cleaned(features, tuple(_findings(told)))


def _habits(frame: pd.DataFrame, decimal: Mark | None, typed: bool) -> _Habits:
    """Learn how this file writes from the columns that leave no doubt."""
    marks: Counter[Mark] = Counter()
    orders: Counter[str] = Counter()
    for name in frame.columns:
        column = frame[name].head(_LOOKED_AT)
        if not typed and pd.api.types.is_float_dtype(column):
            marks["."] += bool((column.dropna() % 1 != 0).any())  # read as it was written
        if not is_text(column) or is_nested(column):
            continue
        numbers = as_numbers(column)
        if numbers is not None:
            if numbers.decimal is not None and not numbers.unsure:
                marks[numbers.decimal] += 1
            continue
        dates = as_dates(column)
        if dates is not None:
            orders[dates.order] += not dates.unsure
    if decimal is None and marks:
        decimal = "," if marks[","] > marks["."] else "."
    day_first = None
    if orders["day first"] != orders["month first"]:
        day_first = orders["day first"] > orders["month first"]
    elif decimal == ",":  # who writes 0,5 does not put the month first
        day_first = True
    return _Habits(decimal, day_first)


def _one(name: str, column: pd.Series[Any], typed: bool, habits: _Habits, told: _Told) -> Parts:
    kind = column.dtype
    if pd.api.types.is_complex_dtype(column):
        told.unusable.append(name)
        return []
    if pd.api.types.is_numeric_dtype(column):
        return _number(name, column.to_numpy(dtype=np.float64, na_value=np.nan), told)
    if pd.api.types.is_datetime64_any_dtype(column):
        return date_parts(name, without_zone(column))
    if pd.api.types.is_timedelta64_dtype(column):
        told.say("durations", "hours", name)
        return [(name, (column.dt.total_seconds() / 3600).to_numpy(dtype=np.float64))]
    if isinstance(kind, pd.PeriodDtype):
        return date_parts(name, column.dt.to_timestamp())
    if isinstance(kind, pd.CategoricalDtype) or not is_text(column):
        return [(name, _categories(name, column.astype(object), told))]
    if is_nested(column):
        told.unusable.append(name)
        return []
    if column.isna().all():
        return [(name, np.full(len(column), np.nan))]
    return _text(name, column, typed, habits, told)


def _number(name: str, numbers: npt.NDArray[np.float64], told: _Told) -> Parts:
    dates = counted_dates(name, numbers)
    if dates is None:
        return [(name, finite(numbers))]
    told.say("dates", dates.how, name)
    return date_parts(name, pd.Series(dates.values))


def _text(name: str, column: pd.Series[Any], typed: bool, habits: _Habits, told: _Told) -> Parts:
    """Return a column of text, or of objects of several kinds."""
    objects = _objects(name, column, told)
    if objects is not None:
        return objects
    if typed and _is_code(column):
        return [(name, _categories(name, column, told))]
    numbers = as_numbers(column, decimal=habits.decimal)
    if numbers is not None:
        how = ", ".join(numbers.marks)
        if how or typed:
            told.say("numbers", how, name)
        if numbers.odd:
            told.odd.append(("number", name, numbers.odd))
        if numbers.unsure:
            mark = numbers.decimal
            told.unsure.append((name, f"the marks in its numbers as {_meaning(mark)}"))
        return _number(name, numbers.values, told)
    dates = as_dates(column, day_first=habits.day_first)
    if dates is not None:
        how = f"{dates.order}, in UTC" if dates.zones else dates.order
        if how != "year first":
            told.say("dates", how, name)
        if dates.odd:
            told.odd.append(("date", name, dates.odd))
        if dates.unsure:
            told.unsure.append((name, f"its dates with the {dates.order.replace(' ', ' coming ')}"))
        return date_parts(name, dates.values)
    hours = as_hours(column)
    if hours is not None:
        told.say("durations", "hours", name)
        return [(name, hours)]
    if is_free_text(column):
        told.text.append(name)
        return []
    share = number_share(column)
    if share > 0.3 and column.nunique() > _FEW:
        told.mixed.append((name, share))
    return [(name, _categories(name, column, told))]


def _meaning(mark: Mark | None) -> str:
    return "thousands" if mark is None else "a decimal " + ("comma" if mark == "," else "point")


def _objects(name: str, column: pd.Series[Any], told: _Told) -> Parts | None:
    """Return dates, times and durations that a cell holds as such; None for everything else."""
    if column.dtype != object:
        return None
    seen = column.dropna()
    kinds = {type(cell) for cell in seen.head(_LOOKED_AT)}
    if kinds and all(issubclass(kind, datetime.date | np.datetime64) for kind in kinds):
        dates = pd.to_datetime(column, errors="coerce", utc=True)
        return date_parts(name, without_zone(dates))
    if kinds and all(issubclass(kind, datetime.timedelta | np.timedelta64) for kind in kinds):
        told.say("durations", "hours", name)
        spans = pd.to_timedelta(column, errors="coerce").dt.total_seconds()
        return [(name, (spans / 3600).to_numpy(dtype=np.float64))]
    if kinds == {datetime.time}:
        hours = as_hours(column.map(str, na_action="ignore"))
        if hours is not None:
            told.say("durations", "hours", name)
            return [(name, hours)]
    return None


def _is_code(column: pd.Series[Any]) -> bool:
    """Say whether somebody who could have stored numbers stored these few whole ones as text."""
    values = column.dropna().unique()
    return len(values) <= _FEW and all(isinstance(x, str) and x.strip().isdigit() for x in values)


def is_nested(column: pd.Series[Any]) -> bool:
    """Say whether cells hold lists or records."""
    return column.dtype == object and any(isinstance(one, _NESTED) for one in column)


def _categories(name: str, column: pd.Series[Any], told: _Told) -> npt.NDArray[Any]:
    """Return text without the spaces around it, and one word for all that says there is nothing."""
    codes, values = pd.factorize(column.map(worded, na_action="ignore"))
    tidied = [tidy(str(value)) for value in values]
    if len(set(tidied)) < len(tidied):
        told.spellings.append(name)
    words = [MISSING if plain(one).lower() in MISSING_WORDS else one for one in tidied]
    return np.array([*words, MISSING], dtype=object)[codes]  # a code of -1 is the last


def finite(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return numbers, with NaN for what is not finite or far too large."""
    kept: npt.NDArray[np.float64] = np.where(np.abs(numbers) < _LARGEST, numbers, np.nan)
    return kept


def is_free_text(column: pd.Series[Any]) -> bool:
    """Say whether a column holds sentences rather than categories."""
    seen = column.dropna().head(_LOOKED_AT).astype(str)
    if len(seen) < 10:
        return False
    distinct = seen.nunique() / len(seen)
    words = float(seen.str.count(r"\s+").mean()) + 1
    return bool(distinct > _DISTINCT and words >= _WORDS)


def without_zone(dates: pd.Series[Any]) -> pd.Series[Any]:
    """Return times in UTC, without saying so."""
    if getattr(dates.dt, "tz", None) is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return dates


def date_parts(name: str, dates: pd.Series[Any]) -> Parts:
    """Return days since the first one, and month, weekday and hour as far as they differ."""
    days = ((dates - dates.min()).dt.total_seconds() / 86_400).to_numpy(dtype=np.float64)
    parts: Parts = [(f"{name}: day", days)]
    for part, attribute in (("month", "month"), ("weekday", "day_of_week"), ("hour", "hour")):
        values = getattr(dates.dt, attribute)
        if values.nunique() > 1:
            text = values.astype("Int64").astype(str).to_numpy(dtype=object)
            text[dates.isna().to_numpy()] = MISSING
            parts.append((f"{name}: {part}", text))
    return parts


def read_as(column: pd.Series[Any], *, decimal: Mark | None = None) -> tuple[Finding, ...]:
    """Say how a column of times that is no feature was read, where that is not plain."""
    told = _Told()
    if is_text(column):
        habits = _Habits(decimal, True if decimal == "," else None)
        _text(str(column.name), column, False, habits, told)
    return tuple(_findings(told))


# --- what is said --------------------------------------------------------------------------------


def _was(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _findings(told: _Told) -> Iterable[Finding]:
    for (code, how), names in told.read.items():
        kind = {"numbers": "numbers", "dates": "dates", "durations": "times or durations"}[code]
        says = {
            "numbers": f" written with {how}" if how else ", which they were not stored as",
            "dates": f": {how}",
            "durations": f" in {how}",
        }[code]
        yield Finding(
            code,
            "note",
            f"{listed(names)} {_was(names)} read as {kind}{says}.",
            f"Leave it out with {argument('drop')} if it means something else.",
        )
    for kind, name, cells in told.odd:
        yield _odd(kind, name, cells)
    for name, how in told.unsure:
        yield Finding(
            "ambiguous-column",
            "warning",
            f"Every cell of {name!r} can be read in two ways; the column was read taking {how}.",
            "If that is wrong, write dates as 2024-01-31 and numbers as 1234.5.",
        )
    for name, share in told.mixed:
        yield Finding(
            "mixed-column",
            "warning",
            f"{name!r} is numbers in {share:.0%} of its cells and words in the others, and was read"
            " as categories.",
            "Put the words into a column of their own.",
        )
    yield from _lists(told)


def _lists(told: _Told) -> Iterable[Finding]:
    if told.spellings:
        yield Finding(
            "spellings",
            "note",
            f"Categories of {listed(told.spellings)} that differ in spaces alone are one.",
            "Make sure that they mean the same.",
        )
    for code, what, names in (
        ("free-text", "free text", told.text),
        ("unusable-column", "lists, records or complex numbers", told.unusable),
    ):
        if names:
            yield Finding(
                code,
                "warning",
                f"{listed(names)} {_is(names)} {what}, which is not supported, and"
                f" {_was(names)} left out.",
                "Replace it by numbers first (its length, an embedding) to use what it tells.",
            )


def _odd(kind: str, name: str, cells: dict[str, int]) -> Finding:
    count = sum(cells.values())
    shown = ", ".join(f"{word!r} {n:,} times" if n > 1 else repr(word) for word, n in
                      list(cells.items())[:3])  # fmt: skip
    more = ", ..." if len(cells) > 3 else ""
    strange = any(plain(word).lower() not in MISSING_WORDS for word in cells)
    one = count == 1
    return Finding(
        f"not-a-{kind}",
        "warning" if strange else "note",
        f"{count:,} {'cell' if one else 'cells'} of {name!r} {'is' if one else 'are'} no {kind} and"
        f" {'counts' if one else 'count'} as missing ({shown}{more}).",
        "Correct them if they should be values."
        if strange
        else "Make sure that they mean a missing value.",
    )
