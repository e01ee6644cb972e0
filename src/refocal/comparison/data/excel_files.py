"""Reads the first sheet of an Excel or OpenDocument workbook that holds a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from refocal import extras
from refocal.comparison.data.layout import unique_names
from refocal.comparison.data.opening import unreadable
from refocal.comparison.errors import CompareError
from refocal.comparison.results import Finding

SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_PREAMBLE = 30


def read_excel(path: Path) -> tuple[pd.DataFrame, list[Any], list[Finding]]:
    """Return the frame, its names as they stand in the sheet, and what a reader must know.

    Raises:
        CompareError: it is no workbook, it is encrypted, or no sheet holds a table.
        ImportError: python-calamine is not installed.
    """
    python_calamine = extras.imported(path.name, "python_calamine")
    try:
        book = python_calamine.CalamineWorkbook.from_path(str(path))
        sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise unreadable(path, error, " as an Excel workbook") from error
    full = {name: rows for name, rows in sheets.items() if any(map(_filled, rows))}
    tables = {name: rows for name, rows in full.items() if _header(rows) is not None}
    if not tables:
        raise CompareError(f"{path} has no sheet with a table." if full else f"{path} is empty.")
    name, rows = next(iter(tables.items()))
    start = _header(rows) or 0
    notes = list(_notes(list(full), name, sum(map(bool, map(_filled, rows[:start])))))
    header = [str(one) if not isinstance(one, str) else one for one in rows[start]]
    body = [[None if _empty(cell) else cell for cell in row] for row in rows[start + 1 :]]
    body = [row for row in body if any(cell is not None for cell in row)]
    frame = pd.DataFrame(body, columns=unique_names(header), dtype=object)
    return frame.infer_objects(), header, notes


def _empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _filled(row: list[Any]) -> int:
    return sum(not _empty(cell) for cell in row)


def _header(rows: list[list[Any]]) -> int | None:
    """Return the first row that is as full as the rows below it; a title fills one cell."""
    body = sorted(_filled(row) for row in rows if _filled(row))
    usual = body[len(body) // 2] if body else 0
    for k, row in enumerate(rows[:_PREAMBLE]):
        if _filled(row) >= max(2, 0.6 * usual):
            return k
    return None


def _notes(sheets: list[str], name: str, above: int) -> list[Finding]:
    notes = []
    if len(sheets) > 1:
        others = ", ".join(repr(sheet) for sheet in sheets if sheet != name)
        notes.append(
            Finding(
                "sheet",
                "warning",
                f"The workbook has {len(sheets)} sheets; {name!r} was read and not {others}.",
                "Save another one as a file of its own to compare on it.",
            )
        )
    if above:
        notes.append(
            Finding(
                "preamble",
                "note",
                f"{above} {'row' if above == 1 else 'rows'} above the header"
                f" {'was' if above == 1 else 'were'} left out.",
                "Make sure that the columns have their right names.",
            )
        )
    return notes
