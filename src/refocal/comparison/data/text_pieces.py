"""Reads a text file in pieces: first some columns of all rows, then all columns of some rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.comparison.data.layout import trimmed
from refocal.comparison.data.numerals import Mark
from refocal.comparison.data.table import Integers
from refocal.comparison.data.text_files import TextFile, check_width, opened
from refocal.comparison.results import Finding

_ROWS = 100_000  # of a piece
_TAIL = 2_000  # rows at the end, among which totals and notes are told from rows


class TextPieces:
    """A text file. Its cells mean what they mean when all rows are read at once."""

    typed = False

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.named = path, names
        self._file: TextFile = opened(path, names, lambda file: file)
        self.findings: list[Finding] = []
        self._bad = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, as the file has them."""
        return self._file.dialect.names

    @property
    def decimal(self) -> Mark | None:
        """The mark of the file's numbers, where it says something of dates too."""
        return "," if self._file.dialect.decimal == "," else None

    def columns(self, names: Sequence[str]) -> pd.DataFrame:
        """Return some columns of all rows; what stands below the rows is left out and told."""

        def read(file: TextFile) -> pd.DataFrame:
            self._file = file
            return self._columns(names)

        return opened(self.path, self.named, read)

    def _columns(self, names: Sequence[str]) -> pd.DataFrame:
        found = {name: _Column() for name in names}
        tail = pd.DataFrame(columns=self._file.names)
        rows = bad = 0
        for frame, skipped in self._file.pieces(_ROWS):
            bad = skipped
            rows += len(frame)
            for name, one in found.items():
                one.add(frame[name])
            tail = pd.concat([tail, frame.tail(_TAIL)], ignore_index=True).tail(_TAIL)
        check_width(self._file, rows, bad)
        end = self._file.retyped(tail.reset_index(drop=True))
        kept, below = trimmed(end)
        self.findings = [*self._file.notes(bad), *below]
        return pd.DataFrame(
            {
                name: one.values(name, self._file)[: rows - (len(end) - len(kept))]
                for name, one in found.items()
            }
        )

    def take(self, rows: Integers) -> pd.DataFrame:
        """Return some rows.

        Args:
            rows: their numbers, rising.
        """
        parts = [pd.DataFrame(columns=self._file.names, dtype=str)]
        for start, frame in self._counted():
            inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(frame))]
            parts.append(frame.iloc[inside - start])
        return self._file.retyped(pd.concat(parts, ignore_index=True))

    def _counted(self) -> Iterator[tuple[int, pd.DataFrame]]:
        start = 0
        for frame, _ in self._file.pieces(_ROWS):
            yield start, frame
            start += len(frame)


class _Column:
    """A column of text, each of whose values is held once."""

    def __init__(self) -> None:
        self._codes: list[npt.NDArray[np.int32]] = []
        self._values: dict[Any, int] = {}

    def add(self, cells: pd.Series[Any]) -> None:
        """Add the cells of a piece."""
        codes, values = pd.factorize(cells)
        known = [self._values.setdefault(value, len(self._values)) for value in values]
        self._codes.append(np.array([*known, -1], dtype=np.int32)[codes])

    def values(self, name: str, file: TextFile) -> pd.Series[Any]:
        """Return all cells, as numbers where they all are."""
        read = file.retyped(pd.DataFrame({name: list(self._values)}))[name]
        codes = np.concatenate(self._codes) if self._codes else np.zeros(0, dtype=np.int32)
        missing = bool((codes < 0).any())
        if missing or not len(read):
            read = pd.concat([read, pd.Series([np.nan], dtype=object)], ignore_index=True)
        # a column of whole numbers and nothing is one of fractions, as when it is read at once
        taken = read.infer_objects().take(codes % len(read)) if len(read) else read
        return taken.reset_index(drop=True).rename(name)
