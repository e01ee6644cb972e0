"""Rows to predict, read together with the rows that were learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from refocal.comparison.data.cells import is_text
from refocal.comparison.data.columns import without_zone
from refocal.comparison.data.dates import as_dates
from refocal.comparison.data.files import read_file
from refocal.comparison.data.numerals import Mark, Numbers, as_numbers
from refocal.comparison.errors import CompareError


def with_new_rows(
    known: pd.DataFrame, path: Path, *, typed: bool = True, decimal: Mark | None = None
) -> pd.DataFrame:
    """The known rows with those of a file below them.

    A column that the one file gave a type and the other left as text gets one type here; what is
    text in both is read together later.

    Args:
        known: features before they are cleaned.
        path: of the new rows; columns beyond those of `known` are ignored.
        typed: somebody gave the known columns their types, so that their text is meant as text.
        decimal: the decimal mark of their file.

    Raises:
        CompareError: the file cannot be read, or lacks a column.
    """
    contents = read_file(path)
    lacking = [str(name) for name in known.columns if name not in contents.frame.columns]
    if lacking:
        raise CompareError(
            f"{path} has no column {', '.join(map(repr, lacking))}, which the model was trained on."
        )
    both = {}
    for name in known.columns:
        text = not typed and is_text(known[name])
        read = as_numbers(known[name], decimal=decimal) if text else None
        parts = _alike(known[name], contents.frame[name], read, contents.decimal)
        both[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(both)


def _alike(
    known: pd.Series[Any], new: pd.Series[Any], read: Numbers | None, decimal: Mark | None
) -> list[pd.Series[Any]]:
    """Both as text, or both as numbers, or both as dates.

    Args:
        known: of the known rows.
        new: of the new ones.
        read: the known ones as numbers, where their text is numbers.
        decimal: the mark of the new ones' file.
    """
    if isinstance(known.dtype, pd.CategoricalDtype):
        known = known.astype(object)
    if isinstance(new.dtype, pd.CategoricalDtype):
        new = new.astype(object)
    if pd.api.types.is_bool_dtype(known) and is_text(new):
        return [known.astype(float), new.map(_flag).astype(float)]
    if is_text(known) and pd.api.types.is_bool_dtype(new):
        return [known, new.astype(object)]
    if is_text(known) and not is_text(new):
        if read is not None and pd.api.types.is_numeric_dtype(new):
            return [pd.Series(read.values), new.astype(float)]
        return [known, _as_text(new)]
    if is_text(new) and not is_text(known):
        if pd.api.types.is_datetime64_any_dtype(known):
            dates = as_dates(new)
            blank = pd.Series(pd.NaT, index=new.index)
            return [without_zone(known), blank if dates is None else dates.values]
        numbers = as_numbers(new, decimal=decimal)
        blank = pd.Series(float("nan"), index=new.index)
        return [known, blank if numbers is None else pd.Series(numbers.values)]
    return [known, new]


def _flag(value: Any) -> float:
    """True and False beside missing values, which make a column of objects of them."""
    return {"true": 1.0, "false": 0.0}.get(str(value).strip().lower(), float("nan"))


def _as_text(values: pd.Series[Any]) -> pd.Series[Any]:
    """As the cells of a category are written: 1 and not 1.0."""

    def written(value: Any) -> str:
        whole = isinstance(value, float) and value.is_integer()
        return str(int(value) if whole else value)

    return values.astype(object).map(written, na_action="ignore")
