"""What the columns of a frame are: numbers, categories, dates; free text is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.compare.errors import CompareError

# Beyond this a number is a fill value or a broken field; its square no longer fits a float64.
_LARGEST = 1e150
MISSING = "(missing)"
# Free text: mostly distinct values of several words.
_DISTINCT = 0.5
_WORDS = 4.0
_LOOKED_AT = 2_000


def clean(frame: pd.DataFrame) -> pd.DataFrame:
    """Features as numbers (float64, NaN for what is not finite) and categories (text).

    A date becomes days since the first one and its month, weekday and hour, as far as they differ.

    Raises:
        CompareError: columns of free text, by name, or none that can be used.
    """
    refused = [str(name) for name in frame.columns if is_free_text(frame[name])]
    if refused:
        names = ", ".join(repr(name) for name in refused)
        raise CompareError(
            f"free text is not supported: {names}. Leave it out with --drop"
            f" {','.join(refused)}, or replace it by numbers first (its length, an embedding)."
        )
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in frame.columns:
        for part, values in _one(str(name), frame[name]):
            columns[part] = values
    return pd.DataFrame(columns)


def _one(name: str, column: pd.Series[Any]) -> list[tuple[str, npt.NDArray[Any]]]:
    if pd.api.types.is_numeric_dtype(column):
        return [(name, finite(column))]
    dates = as_dates(column)
    if dates is not None:
        return _date_parts(name, dates)
    present = column.notna().to_numpy()
    text = column.astype(str).to_numpy(dtype=object)
    text[~present] = MISSING
    return [(name, text)]


def finite(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Numbers, with NaN for what is missing or not finite."""
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    kept: npt.NDArray[np.float64] = np.where(np.abs(numbers) < _LARGEST, numbers, np.nan)
    return kept


def is_free_text(column: pd.Series[Any]) -> bool:
    """Whether a column holds sentences rather than categories."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    seen = column.dropna().head(_LOOKED_AT).astype(str)
    if len(seen) < 10:
        return False
    distinct = seen.nunique() / len(seen)
    words = float(seen.str.count(r"\s+").mean()) + 1
    return bool(distinct > _DISTINCT and words >= _WORDS)


def as_dates(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Times without a zone, where the column is dates or ISO text of them; otherwise None."""
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column
    else:
        seen = column.dropna()
        if seen.empty:
            return None
        head = seen.head(_LOOKED_AT).astype(str)
        if not bool(head.str.match(r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?$").all()):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mixed zones; they are brought to one below
            dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
        if dates[column.notna()].isna().mean() > 0.01:
            return None
    if getattr(dates.dt, "tz", None) is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return dates


def _date_parts(name: str, dates: pd.Series[Any]) -> list[tuple[str, npt.NDArray[Any]]]:
    days = ((dates - dates.min()).dt.total_seconds() / 86_400).to_numpy(dtype=np.float64)
    parts: list[tuple[str, npt.NDArray[Any]]] = [(f"{name}: day", days)]
    for part, attribute in (("month", "month"), ("weekday", "day_of_week"), ("hour", "hour")):
        values = getattr(dates.dt, attribute)
        if values.nunique() > 1:
            text = values.astype("Int64").astype(str).to_numpy(dtype=object)
            text[dates.isna().to_numpy()] = MISSING
            parts.append((f"{name}: {part}", text))
    return parts
