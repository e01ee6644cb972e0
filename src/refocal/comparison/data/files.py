"""Reads a table from a file of any kind, or says why it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import pandas as pd

from refocal.comparison.data.columnar_files import ARROW, PARQUET, parquet_files, read_columnar
from refocal.comparison.data.excel_files import SUFFIXES as EXCEL
from refocal.comparison.data.excel_files import read_excel
from refocal.comparison.data.layout import renamed, trimmed, unique_names
from refocal.comparison.data.memory import check_memory
from refocal.comparison.data.numerals import Mark
from refocal.comparison.data.opening import BROKEN, unreadable
from refocal.comparison.data.text_files import read_text
from refocal.comparison.errors import CompareError
from refocal.comparison.results import Finding

_OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        frame: its rows; names are unique.
        findings: what a reader must know about the reading.
        typed: the columns have types that somebody gave them, so that text is meant as text.
        decimal: the mark of the file's numbers, where it is known.
        names: of the columns as the file has them, with those that come twice.
    """

    frame: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    typed: bool = False
    decimal: Mark | None = None
    names: tuple[str, ...] = ()


def read_file(path: Path, *, names: Sequence[str] = ()) -> Contents:
    """Return all rows and columns of a file.

    Args:
        path: taken literally, whatever characters it holds; a folder for the Parquet files in it.
        names: columns that the user named, which help to tell the encoding.

    Raises:
        CompareError: it is missing, empty, of another kind, or larger than memory.
        ImportError: it is of a kind whose reader is not installed.
    """
    check_path(path)
    try:
        kind = kind_of(path)
        check_memory(path)
        contents = _read(path, kind, names)
    except (*BROKEN, UnicodeError) as error:
        raise unreadable(path, error) from error
    if contents.frame.empty:
        raise no_rows(path)
    return contents


def no_rows(path: Path) -> CompareError:
    """Say that a table is empty."""
    return CompareError(f"{path} has a header but no rows.")


def _read(path: Path, kind: str, names: Sequence[str]) -> Contents:
    if kind in ("Parquet", "Arrow"):
        return as_contents(read_columnar(path, kind))
    header: Sequence[Any]
    decimal: Mark | None = None
    if kind == "Excel":
        frame, header, notes = read_excel(path)
    else:
        text = read_text(path, names=names)
        frame, header, notes = text.frame, text.dialect.names, list(text.findings)
        decimal = "," if text.decimal == "," else None
    frame, below = trimmed(frame)
    found = (*notes, *renamed(header), *below)
    return Contents(frame, found, decimal=decimal, names=tuple(map(str, header)))


def as_contents(frame: pd.DataFrame) -> Contents:
    """Return a frame whose columns have types."""
    names = tuple(map(str, frame.columns))
    plain = frame.set_axis(unique_names(names), axis=1)
    return Contents(plain, tuple(renamed(names)), typed=True, names=names)


def check_path(path: Path) -> None:
    """Refuse what is no file, with the way out.

    Raises:
        CompareError: it is missing, a folder without Parquet, a stream or an address.
    """
    text = str(path)
    if ":/" in text and text.split(":/")[0].isalnum() and len(text.split(":/")[0]) > 1:
        raise CompareError(
            f"{text.replace(':/', '://', 1)} is an address, and nothing is fetched. Download the"
            " file and name where it is."
        )
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if text == "-":
            raise _stream("standard input") from None
        raise CompareError(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:  # a name that is too long, a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise CompareError(f"{path} cannot be read: {reason}.") from error
    if S_ISDIR(mode):
        if not parquet_files(path):
            raise CompareError(
                f"{path} cannot be read: it is a folder without Parquet files. Name a file in it."
            )
        return
    if not S_ISREG(mode):
        raise _stream(text)


def _stream(what: str) -> CompareError:
    return CompareError(
        f"{what} is a stream, and a table is read more than once. Save it to a file first."
    )


def kind_of(path: Path) -> str:
    """Tell the format by what the file begins with, by its name where that says nothing; a folder
    is one of Parquet.
    """
    if path.is_dir():
        return "Parquet"
    with open(path, "rb") as file:
        start = file.read(8)
    suffix = path.suffix.lower()
    if start[:4] == b"PAR1" or suffix in PARQUET:
        return "Parquet"
    if start[:6] == b"ARROW1" or start[:4] == b"FEA1" or suffix in ARROW:
        return "Arrow"
    if (
        (suffix in EXCEL and not _is_text(start))
        or start == _OLD_EXCEL
        or _is_workbook(path, start)
    ):
        return "Excel"
    return "text"


def _is_text(start: bytes) -> bool:
    """Say whether this is text, as exports called .xls often are."""
    return start.isascii() and all(32 <= one < 127 or chr(one).isspace() for one in start)


def _is_workbook(path: Path, start: bytes) -> bool:
    """Return a zip archive with the parts of a workbook, whatever it is called."""
    import zipfile

    if not start.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return False
    return any(name.startswith("xl/workbook") for name in names) or "content.xml" in names
