"""Dates that are stored as numbers: 20240131, and Excel's days since 1899-12-30."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_DATE_NAME = re.compile(
    r"(^|[_ .-])(date|datum|day|tag|fecha|data|time|timestamp|zeit|jour)($|[_ .-])|date$|datum$"
    r"|^date|[a-z](Date|At|On)$",
    re.IGNORECASE,
)
_FEWEST = 10
# 1954 to 2119: what a column called a date may hold and an amount seldom does
_FIRST_SERIAL, _LAST_SERIAL = 20_000, 80_000


@dataclass(frozen=True)
class Counted:
    """Numbers that are dates.

    Attributes:
        values: `(n,)` in microseconds, NaT where missing.
        how: they are written.
    """

    values: npt.NDArray[Any]
    how: str


def counted_dates(name: str, numbers: npt.NDArray[np.float64]) -> Counted | None:
    """Return the dates that a column of numbers counts; None where it is numbers.

    Eight digits that are a day of the calendar in every row are one. Days since 1899-12-30 are
    believed only where the column's name says that it holds dates.
    """
    known = np.isfinite(numbers)
    values = numbers[known]
    if len(np.unique(values)) < _FEWEST:
        return None
    if values.min() >= 1900_01_01 and values.max() <= 2100_12_31 and not (values % 1).any():
        days = _calendar(values.astype(np.int64))
        if not np.isnat(days).any():
            return Counted(_placed(days, known), "eight digits for year, month and day")
    low, high = values.min(), values.max()
    if low >= _FIRST_SERIAL and high <= _LAST_SERIAL and _DATE_NAME.search(name):
        micros = np.round(values * 86_400_000_000).astype("timedelta64[us]")
        return Counted(
            _placed(np.datetime64("1899-12-30", "us") + micros, known),
            "days since 1899-12-30, as Excel counts",
        )
    return None


def _calendar(values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    year, month, day = values // 10_000, values // 100 % 100, values % 100
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    start = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = start.astype("datetime64[D]") + np.where(good, day - 1, 0)
    good &= days.astype("datetime64[M]") == start
    return np.where(good, days, np.datetime64("NaT"))


def _placed(dates: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    placed = np.full(len(known), np.datetime64("NaT"), dtype="datetime64[us]")
    placed[known] = dates
    return placed
