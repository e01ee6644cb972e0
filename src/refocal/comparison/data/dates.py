"""Dates and times as people write them, decided by the column as a whole.

Whether `01.02.2024` is in February cannot be seen in one cell: another cell with a 13 tells, else
the order of the rows, else the habits of the file, and what was taken is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.comparison.data.cells import is_missing_word, plain
from refocal.comparison.data.shapes import Shape, shapes

Order: TypeAlias = Literal["year first", "day first", "month first", "named month"]
NEARLY_ALL = 0.9
_LOOKED_AT = 2_000
# What a 64-bit count of nanoseconds holds. Years beyond are fill values such as 9999-12-31.
_FIRST_YEAR, _LAST_YEAR = 1678, 2261
_NUMERIC_ORDERS: tuple[Order, Order] = ("day first", "month first")
_NO_TIME = -(10**15)  # microseconds of a cell whose time of day is none
_TURN = 70  # a year 69 is 2069, a year 70 is 1970

_TIME = (
    r"(?:(?:[T ,]\s?|:)(?P<hour>[0-9]{1,2})[:h](?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"\s?(?P<half>[ap]\.?\s?m\.?)?\s?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?"
    r"(?:\[[\w/]+\])?)?$"
)
_WEEKDAY = r"^(?:[^\W\d_]{2,10}\.?,?\s)?"
_NUMERIC = re.compile(rf"{_WEEKDAY}(?P<a>[0-9]{{1,2}})(?P<sep>[./-])(?P<b>[0-9]{{1,2}})(?P=sep)"
                      rf"(?P<year>[0-9]{{4}}|[0-9]{{2}})\.?{_TIME}", re.IGNORECASE)  # fmt: skip
_YEAR_FIRST = re.compile(
    rf"^(?P<year>[0-9]{{4}})(?P<sep>[./-]|)(?P<a>[0-9]{{2}}|(?<=[./-])[0-9])(?:(?P=sep)"
    rf"(?P<b>[0-9]{{2}}|(?<=[./-])[0-9]))?{_TIME}",
    re.IGNORECASE,
)
_DAY_NAME = re.compile(
    rf"{_WEEKDAY}(?:(?P<a>[0-9]{{1,2}})(?:st|nd|rd|th|er|º)?[. -]{{1,2}}(?:de )?)?"
    rf"(?P<name>[^\W\d_]{{3,10}})\.?[ ,-]{{1,2}}(?:de )?"
    rf"(?P<year>[0-9]{{4}}|[0-9]{{2}}|'[0-9]{{2}}){_TIME}",
    re.IGNORECASE,
)
_NAME_DAY = re.compile(
    rf"{_WEEKDAY}(?P<name>[^\W\d_]{{3,10}})\.?[ -](?P<a>[0-9]{{1,2}})(?:st|nd|rd|th)?,?[ -]"
    rf"(?P<year>[0-9]{{4}}){_TIME}",
    re.IGNORECASE,
)
_ISO = re.compile(
    r"^\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?)?$"
)
_CLOCK = re.compile(
    r"^(?P<sign>-)?(?:(?P<days>[0-9]+) days?,? ?\+?)?(?P<hour>[0-9]{1,4}):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9](?:[.,][0-9]+)?))?\s?(?P<half>[ap]\.?m\.?)?$"
    r"|^(?P<only>-?[0-9]+) days?$",
    re.IGNORECASE,
)
# Months, written out or cut after three letters or more, in English, German, French, Spanish,
# Italian, Portuguese and Dutch.
_MONTHS = (
    ("january", "januar", "janvier", "enero", "gennaio", "janeiro", "januari"),
    ("february", "februar", "février", "fevrier", "febrero", "febbraio", "fevereiro", "februari"),
    ("march", "märz", "maerz", "mrz", "mars", "marzo", "março", "marco", "maart", "mrt"),
    ("april", "avril", "abril", "aprile"),
    ("may", "mai", "mayo", "maggio", "maio", "mei"),
    ("june", "juni", "juin", "junio", "giugno", "junho"),
    ("july", "juli", "juillet", "julio", "luglio", "julho"),
    ("august", "août", "aout", "agosto", "augustus"),
    ("september", "septembre", "septiembre", "settembre", "setembro"),
    ("october", "oktober", "octobre", "octubre", "ottobre", "outubro"),
    ("november", "novembre", "noviembre", "novembro"),
    ("december", "dezember", "décembre", "decembre", "diciembre", "dicembre", "dezembro"),
)


@dataclass(frozen=True)
class Dates:
    """A column of text read as dates.

    Attributes:
        values: `(n,)` in UTC where zones were given, NaT where missing.
        order: how they are written.
        odd: cells that are no dates and count as missing, with how many there are.
        unsure: every cell could be read with day and month exchanged, and no other column of the
            file tells.
        zones: whether cells named time zones.
    """

    values: pd.Series[Any]
    order: Order
    odd: dict[str, int]
    unsure: bool
    zones: bool


def as_dates(column: pd.Series[Any], *, day_first: bool | None = None) -> Dates | None:
    """Return a column of text as dates; None where it is something else.

    Args:
        column: `(n,)`; NaN and None are missing.
        day_first: the habit of the file's other dates, for a column that cannot tell.
    """
    head = [plain(str(cell)) for cell in column.dropna().head(_LOOKED_AT)]
    there = [cell for cell in head if not is_missing_word(cell)]
    if not there or sum(_match(one) is not None for one in there) < 0.5 * len(there):
        return None
    quick = _iso_dates(column, there)
    if quick is not None:
        return quick
    codes, uniques = pd.factorize(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(uniques))
    cells = [plain(str(one)) for one in uniques]
    parts = _parts(cells)
    order, unsure = _order(parts, counts, codes, day_first)
    values = parts.dates(order)
    odd = np.flatnonzero(np.isnat(values))
    strange = sum(int(counts[k]) for k in odd if not is_missing_word(cells[k]))
    dates = int(counts[~np.isnat(values)].sum())
    if dates == 0 or dates < NEARLY_ALL * (dates + strange):
        return None
    taken = values[codes]
    taken[codes < 0] = np.datetime64("NaT")
    rest = {str(uniques[int(k)]): int(counts[k]) for k in odd if cells[k]}
    return Dates(pd.Series(taken, index=column.index), order, rest, unsure, parts.zones)


def _iso_dates(column: pd.Series[Any], head: list[str]) -> Dates | None:
    """Return dates as the standard has them, which pandas reads fast; None where one is not."""
    found = [_ISO.match(cell) for cell in head]
    if not all(found):
        return None
    try:
        dates = pd.to_datetime(column, errors="raise", format="ISO8601", utc=True)
    except (ValueError, OverflowError):
        return None
    dates = dates.dt.tz_localize(None)
    years = dates.dt.year
    if years.min() < _FIRST_YEAR or years.max() > _LAST_YEAR:
        return None
    return Dates(dates, "year first", {}, False, any(one["zone"] for one in found if one))


def is_date(cell: str) -> bool:
    """Say whether one cell alone could be a date."""
    return _match(plain(cell)) is not None


def as_hours(column: pd.Series[Any]) -> npt.NDArray[np.float64] | None:
    """Return times of the day and durations, `13:45` or `2 days 01:00:00`, in hours; else None."""
    seen = column.dropna()
    if seen.empty or not all(_CLOCK.match(plain(str(cell))) for cell in seen.head(_LOOKED_AT)):
        return None
    codes, uniques = pd.factorize(column)
    hours = np.array([_hours(_CLOCK.match(plain(str(one)))) for one in uniques])
    taken: npt.NDArray[np.float64] = np.where(codes >= 0, hours[codes], np.nan)
    known = column.notna().to_numpy()
    return None if np.isnan(taken[known]).mean() > 1 - NEARLY_ALL else taken


def _match(cell: str) -> re.Match[str] | None:
    """Return the pattern that a cell or a shape follows."""
    for pattern in (_YEAR_FIRST, _NUMERIC, _DAY_NAME, _NAME_DAY):
        found = pattern.match(cell)
        if found is not None and _plausible(found):
            return found
    return None


def _plausible(found: re.Match[str]) -> bool:
    if "name" in found.groupdict():
        return _month(found["name"]) is not None
    # 202403 is a number sooner than a month
    return found.re is not _YEAR_FIRST or bool(found["sep"]) or found["b"] is not None


def _month(name: str) -> int | None:
    name = name.lower()
    for k, names in enumerate(_MONTHS, 1):
        if any(one.startswith(name) for one in names):
            return k
    return None


@dataclass(frozen=True)
class _Parts:
    """The parts of distinct cells, `(n,)` each: 0 where a cell is no date.

    Attributes:
        kind: 0 none, 1 year first, 2 two numbers that can be day and month, 3 a named month.
        year: in full.
        a: the first number besides the year; of a named month the day.
        b: the second; of a named month the month.
        micros: microseconds behind midnight in UTC.
        dots: all of kind 2 are written with dots.
        zones: cells name time zones.
    """

    kind: npt.NDArray[np.int64]
    year: npt.NDArray[np.int64]
    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    micros: npt.NDArray[np.int64]
    dots: bool
    zones: bool

    def dates(self, order: Order) -> npt.NDArray[np.datetime64]:
        """Make dates in microseconds, NaT of what is none when read in this order."""
        month_first = (self.kind == 1) | ((self.kind == 2) & (order == "month first"))
        month, day = np.where(month_first, self.a, self.b), np.where(month_first, self.b, self.a)
        good = (self.kind > 0) & (self.year >= _FIRST_YEAR) & (self.year <= _LAST_YEAR)
        good &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (self.micros > _NO_TIME)
        start = (np.where(good, (self.year - 1970) * 12 + month - 1, 0)).astype("datetime64[M]")
        days = start.astype("datetime64[D]") + np.where(good, day - 1, 0)
        good &= days.astype("datetime64[M]") == start  # not 30 February
        instants = days.astype("datetime64[us]") + np.where(good, self.micros, 0)
        return np.where(good, instants, np.datetime64("NaT"))


def _parts(cells: list[str]) -> _Parts:
    kind, year, a, b, micros = (np.zeros(len(cells), dtype=np.int64) for _ in range(5))
    dots, zones = True, False
    for shape in shapes(cells):
        found = _match(shape.text)
        if found is None:
            continue
        rows, named = shape.rows, "name" in found.groupdict()
        kind[rows] = 3 if named else 1 if found.re is _YEAR_FIRST else 2
        dots &= named or found.re is _YEAR_FIRST or found["sep"] == "."
        start, end = found.span("year")
        start += found["year"].startswith("'")
        year[rows] = shape.whole((start, end))
        if end - start == 2:
            year[rows] += np.where(year[rows] < _TURN, 2000, 1900)
        a[rows] = 1 if found["a"] is None else shape.whole(found.span("a"))
        if named:
            b[rows] = _month(found["name"]) or 0
        else:
            b[rows] = 1 if found["b"] is None else shape.whole(found.span("b"))
        micros[rows] = _micros(shape, found)
        zones |= found["zone"] is not None
    return _Parts(kind, year, a, b, micros, dots, zones)


def _micros(shape: Shape, found: re.Match[str]) -> npt.NDArray[np.int64]:
    """Return microseconds behind midnight in UTC."""
    none = np.zeros(len(shape.rows), dtype=np.int64)
    if found["hour"] is None:
        return none
    hour, minute, second = (
        none if found[one] is None else shape.whole(found.span(one))
        for one in ("hour", "minute", "second")
    )
    wrong = (hour > 24) | (minute > 59) | (second > 60)
    if found["half"] is not None:
        hour = hour % 12 + (12 if found["half"].lower().startswith("p") else 0)
    seconds = 3600 * hour + 60 * minute + second
    zone = found["zone"]
    if zone and zone[0] in "+-":
        start, end = found.span("zone")
        hours = shape.whole((start + 1, start + 3))
        minutes = shape.whole((end - 2, end)) if end - start > 3 else none
        shift = 3600 * hours + 60 * minutes
        seconds += shift if zone[0] == "-" else -shift
    micro = none
    if found["fraction"] is not None:
        start, end = found.span("fraction")
        end = min(end, start + 6)
        micro = shape.whole((start, end)) * 10 ** (6 - (end - start))
    return np.where(wrong, _NO_TIME, 1_000_000 * seconds + micro)


def _order(
    parts: _Parts,
    counts: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
    day_first: bool | None,
) -> tuple[Order, bool]:
    """Say how a column writes its dates, and whether it left that open."""
    weights = np.bincount(parts.kind, weights=counts, minlength=4)
    numeric = parts.kind == 2
    if weights[2] == 0:
        return ("year first" if weights[1] >= weights[3] else "named month"), False
    day_leads = int(counts[numeric & (parts.a > 12) & (parts.b <= 12)].sum())
    month_leads = int(counts[numeric & (parts.b > 12) & (parts.a <= 12)].sum())
    if day_leads or month_leads:
        return ("day first" if day_leads >= month_leads else "month first"), False
    if parts.dots:  # nobody puts dots behind a leading month
        return "day first", False
    rising = [_rises(parts, codes, order) for order in _NUMERIC_ORDERS]
    if rising[0] != rising[1]:
        return _NUMERIC_ORDERS[rising.index(True)], False
    exchangeable = bool((parts.a != parts.b)[numeric].any())
    return ("day first" if day_first else "month first"), day_first is None and exchangeable


def _rises(parts: _Parts, codes: npt.NDArray[np.int64], order: Order) -> bool:
    """Say whether the rows are in the order of time when read like this, as exports mostly are."""
    rows = parts.dates(order)[codes[codes >= 0]]
    steps = np.diff(rows[~np.isnat(rows)].astype(np.int64))
    return bool(len(steps) and ((steps >= 0).all() or (steps <= 0).all()))


def _of_day(hour: int, half: str | None) -> int:
    return hour if half is None else hour % 12 + (12 if half.lower().startswith("p") else 0)


def _hours(found: re.Match[str] | None) -> float:
    if found is None:
        return float("nan")
    if found["only"] is not None:
        return 24.0 * int(found["only"])
    seconds = float((found["second"] or "0").replace(",", "."))
    hour = _of_day(int(found["hour"]), found["half"])
    hours = 24 * int(found["days"] or 0) + hour + int(found["minute"]) / 60 + seconds / 3600
    return -hours if found["sign"] else hours
