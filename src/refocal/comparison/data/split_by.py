"""What splits follow: groups that stay together, and times that no split looks ahead of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.comparison.data.cells import is_missing_word, is_text, tidy, worded
from refocal.comparison.data.columns import without_zone
from refocal.comparison.data.dates import as_dates
from refocal.comparison.data.numerals import Mark, as_numbers
from refocal.comparison.data.table import Floats, Integers
from refocal.comparison.errors import CompareError, argument


def as_groups(values: pd.Series[Any], known: npt.NDArray[np.bool_]) -> Integers:
    """Return one number for each group, of the rows that are used.

    Raises:
        CompareError: a row has none, or there are fewer than a split needs.
    """
    tidied = values[known]
    if is_text(tidied):  # "A " is the group of "A", and "?" none
        text = tidied.map(lambda one: tidy(worded(one)), na_action="ignore").astype(object)
        tidied = text.mask(text.map(is_missing_word, na_action="ignore").eq(True))
    say = argument("groups", values.name)
    if tidied.isna().any():
        raise CompareError(
            f"{say}: {int(tidied.isna().sum())} rows have no value. Fill them in, or leave these"
            " rows out."
        )
    codes, names = pd.factorize(tidied)
    if len(names) < 5:
        raise CompareError(f"{say} has {len(names)} values; a split needs 5.")
    groups: Integers = codes.astype(np.int64)
    return groups


def as_times(
    values: pd.Series[Any], known: npt.NDArray[np.bool_], decimal: Mark | None = None
) -> Floats:
    """Return a number that rises with time, of the rows that are used.

    Raises:
        CompareError: a row has none, or these are no numbers or dates.
    """
    values = values[known]
    say = argument("time_order", values.name)
    times = _since(values, decimal)
    if times is None:
        raise CompareError(f"{say} must be numbers or dates like 2013-01-31 or 2013-01-31T23:59.")
    if not np.isfinite(times).all():
        missing = int((~np.isfinite(times)).sum())
        raise CompareError(
            f"{say}: {missing} rows have no value. Fill them in, or leave these rows out."
        )
    return times


def _since(values: pd.Series[Any], decimal: Mark | None) -> Floats | None:
    """Return numbers as they are, dates as seconds since the first."""
    if pd.api.types.is_numeric_dtype(values):
        times: Floats = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return times
    if pd.api.types.is_datetime64_any_dtype(values):
        dates = without_zone(values)
    elif pd.api.types.is_timedelta64_dtype(values):
        spans: Floats = values.dt.total_seconds().to_numpy(dtype=np.float64)
        return spans
    elif is_text(values):
        numbers = as_numbers(values, decimal=decimal)
        if numbers is not None:
            return numbers.values
        read = as_dates(values, day_first=decimal == "," or None)
        if read is None:
            return None
        dates = read.values
    else:
        return None
    since: Floats = (dates - dates.min()).dt.total_seconds().to_numpy(dtype=np.float64)
    return since
