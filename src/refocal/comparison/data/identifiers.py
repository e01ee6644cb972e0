"""Columns that name rows instead of describing them: row numbers, and ids that come again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from refocal.comparison.data.cells import is_text, listed
from refocal.comparison.data.table import Integers
from refocal.comparison.errors import argument
from refocal.comparison.results import Finding

_FEWEST = 20  # rows from which on 1, 2, 3, ... is no accident
_ROW_NAME = re.compile(
    r"^(unnamed: ?\d+(\.\d+)?|index( \d+)?"
    r"|__index_level_\d+__|level_0|row[ _.]?(names?|id|nr|no|num"
    r"|number|index)?|lfd\.? ?nr\.?|#|n[or]\.?|id)$",
    re.IGNORECASE,
)
_ENTITY = (
    r"patient|subject|person|customer|client|user|member|account|employee|student|case|visit|order"
    r"|session|device|machine|household|family|card|loan|policy|claim|company|firm|store|school"
    r"|kunden?|konto|fall|geraet|gerät|maschinen?|vertrags?"
)
_ID_NAME = re.compile(
    rf"(^|[_ .-])(id|uuid|guid|key|nr|no|nummer|number)$"
    rf"|^({_ENTITY})[_ .-]?(id|nr|no|num|nummer|number|key|code|name)?$",
    re.IGNORECASE,
)
# Not "paid" or "valid".
_CAMEL = re.compile(r"[a-z]I[dD]$")
_MOST_OF_ONE = 50.0  # rows of one id on average; more is a category
_FEWEST_IDS = 20


def row_numbers(frame: pd.DataFrame, places: Integers | None = None) -> list[str]:
    """Return the columns that number the rows in the order of the file, or are called like that.

    Args:
        frame: features.
        places: of the rows in their file, from 0 on; None where they are all of its rows.
    """
    places = np.arange(len(frame)) if places is None else places
    found = [
        str(name)
        for name in frame.columns
        if len(frame) >= _FEWEST and _numbers_rows(str(name), frame[name], places)
    ]
    return found if len(found) < frame.shape[1] else []


def _numbers_rows(name: str, column: pd.Series[Any], places: Integers) -> bool:
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return False
    if column.isna().any() or pd.api.types.is_complex_dtype(column):
        return False
    values = column.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all() or (values % 1).any():
        return False
    if values[0] - places[0] in (0.0, 1.0) and (np.diff(values) == np.diff(places)).all():
        return True
    return bool(_ROW_NAME.match(name) or _is_id(name)) and not column.duplicated().any()


def _is_id(name: str) -> bool:
    return bool(_ID_NAME.search(name) or _CAMEL.search(name))


def say_left_out(names: list[str]) -> Iterator[Finding]:
    """Say that row numbers are no features."""
    if names:
        yield Finding(
            "row-numbers",
            "note",
            f"{listed(names)} {'numbers' if len(names) == 1 else 'number'} the rows and"
            f" {'was' if len(names) == 1 else 'were'} left out.",
            "Rows in the order of time? Then name a column of times with"
            f" {argument('time_order')}.",
        )


def repeated_ids(frame: pd.DataFrame) -> Iterator[Finding]:
    """Yield columns whose values name something that several rows are about."""
    for name in frame.columns:
        column = frame[name]
        numeric = pd.api.types.is_integer_dtype(column)
        if not (numeric or is_text(column)):
            continue
        if column.dtype == object and not column.dropna().map(lambda x: isinstance(x, str)).all():
            continue
        values = int(column.nunique())
        each = float(column.notna().sum()) / max(1, values)
        if values < _FEWEST_IDS or not 1.2 <= each <= _MOST_OF_ONE:
            continue
        if _is_id(str(name)) or (not numeric and _looks_like_codes(column)):
            yield Finding(
                "repeated-id",
                "warning",
                f"{str(name)!r} has {values:,} values, each in {each:.1f} rows on average: if rows"
                " with the same one are alike, a model knows test rows from training.",
                f"If they belong together, use {argument('groups', name)}.",
            )


def _looks_like_codes(column: pd.Series[Any]) -> bool:
    """Letters and digits in one word, as in A-1017, and not numbers or dates."""
    seen = column.dropna().head(500).astype(str)
    codes = seen.str.fullmatch(r"(?=.*[^\W\d_])(?=.*\d)[\w:/#-]{3,40}")
    return bool(codes.mean() > 0.95)
