"""A table that is read in pieces: first the target of all rows, then all columns of some rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from refocal.comparison.data.columnar_files import ParquetPieces
from refocal.comparison.data.files import Contents, as_contents, check_path, kind_of, read_file
from refocal.comparison.data.layout import renamed, unique_names, without_nameless
from refocal.comparison.data.numerals import Mark
from refocal.comparison.data.opening import BROKEN, unreadable
from refocal.comparison.data.table import Integers
from refocal.comparison.data.text_pieces import TextPieces
from refocal.comparison.results import Finding

IN_PIECES = ("text", "Parquet")  # kinds of files; others are read whole first


class Pieces(Protocol):
    """What can be read so."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, as the file has them."""

    @property
    def typed(self) -> bool:
        """Whether somebody gave the columns their types."""

    @property
    def decimal(self) -> Mark | None:
        """The mark of the file's numbers, where it is known."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What a reader must know about the reading, once columns were read."""

    def columns(self, names: Sequence[str]) -> pd.DataFrame:
        """Return some columns of all rows."""

    def take(self, rows: Integers) -> pd.DataFrame:
        """Return all columns of some rows, by their numbers, rising."""


class FramePieces:
    """A table that is in memory, so that its pieces are there."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.typed, self.decimal = contents.typed, contents.decimal
        self.findings = contents.findings
        self.names = contents.names or tuple(map(str, contents.frame.columns))

    def columns(self, names: Sequence[str]) -> pd.DataFrame:
        """Return some columns of all rows."""
        return self._contents.frame[list(names)]

    def take(self, rows: Integers) -> pd.DataFrame:
        """Return some rows."""
        return self._contents.frame.iloc[rows].reset_index(drop=True)


def open_pieces(path: Path, names: Sequence[str]) -> Pieces:
    """Return a file to be read in pieces. Excel and Arrow files are read whole first.

    Args:
        path: CSV and its relatives, a Parquet file or a folder of them; or Excel or Arrow.
        names: columns that the user named, which help to tell the encoding.

    Raises:
        CompareError: as `read_file` does.
    """
    check_path(path)
    try:
        kind = kind_of(path)
        if kind == "Parquet":
            return ParquetPieces(path)
        if kind == "text":
            return TextPieces(path, names)
    except (*BROKEN, UnicodeError) as error:
        raise unreadable(path, error) from error
    return FramePieces(read_file(path, names=names))


def header_of(pieces: Pieces) -> Contents:
    """Return the columns without their rows, to look names up in."""
    return contents_of(pieces, pd.DataFrame(columns=unique_names(pieces.names)))


def contents_of(pieces: Pieces, frame: pd.DataFrame) -> Contents:
    """Return rows that were taken with what is known of their file."""
    found = (*pieces.findings, *renamed(pieces.names))
    if not pieces.typed:
        frame = without_nameless(frame)
    elif list(frame.columns) != unique_names(list(frame.columns)):
        frame = as_contents(frame).frame
    if isinstance(pieces, FramePieces):
        found = tuple(pieces.findings)  # which hold what was renamed
    return Contents(frame, found, pieces.typed, pieces.decimal, tuple(pieces.names))
