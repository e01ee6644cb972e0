"""Reads text files of rows: CSV and its relatives, in any encoding, with any separator."""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from refocal.comparison.data.dialects import NAMES, Dialect, dialect, records_of
from refocal.comparison.data.encodings import FALLBACK, fallback, guess
from refocal.comparison.data.layout import unique_names
from refocal.comparison.data.numerals import Mark
from refocal.comparison.data.opening import BROKEN, unpacked, unreadable
from refocal.comparison.errors import CompareError
from refocal.comparison.results import Finding

T = TypeVar("T")

_MARK = "\ufeff"  # of an encoding; some exports write it twice
_SAMPLE = 1 << 18  # bytes that encoding and dialect are found from
_LINES, _LARGEST = 10, 1 << 26
_BAD = 0.05  # share of rows of another width from which on the file is not one table
_CONTROLS = 0.002  # share of control characters that text may have
_OTHER_TEXT = re.compile(r"^\s*(?:(<[!?a-zA-Z])|([{\[]\s*[{\[\"\]}]))")


@dataclass(frozen=True)
class TextTable:
    """A text file as a frame.

    Attributes:
        frame: columns of plain numbers as such, all others as text as it is written.
        dialect: how it was written.
        findings: what a reader must know about the reading.
    """

    frame: pd.DataFrame
    dialect: Dialect
    findings: tuple[Finding, ...]

    @property
    def decimal(self) -> Mark:
        """The mark of its numbers."""
        return self.dialect.decimal


def read_text(path: Path, *, names: Sequence[str] = (), rows: int | None = None) -> TextTable:
    """Return all rows of a text file, or the first ones.

    Args:
        path: the file; it may be compressed.
        names: columns that the user named, which help to tell the encoding.
        rows: how many to read; None for all.

    Raises:
        CompareError: it is empty, no text, text of another kind, or rows differ in width.
    """
    return opened(path, names, lambda text: text.read(rows))


def opened(path: Path, names: Sequence[str], read: Callable[[TextFile], T]) -> T:
    """Return what is read from a text file; tried again where its encoding turns out otherwise.

    Args:
        path: the file; it may be compressed.
        names: columns that the user named, which help to tell the encoding.
        read: called with the file once its dialect is known.

    Raises:
        CompareError: it is empty, no text, or text of another kind.
    """
    with unpacked(path) as file:
        sample = file.read(_SAMPLE)
        # a header of thousands of columns, and rows to see below it
        while (
            sample.count(b"\n") < _LINES and len(sample) < _LARGEST and (more := file.read(_SAMPLE))
        ):
            sample += more
    encoding = guess(sample)
    try:
        return read(_as_text(path, sample, encoding))
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise _no_text(path) from error
    return read(_as_text(path, sample, fallback(sample, names)))


@dataclass(frozen=True)
class TextFile:
    """A text file whose encoding and dialect are known.

    Attributes:
        path: of the file.
        encoding: of its text.
        dialect: how it was written.
    """

    path: Path
    encoding: str
    dialect: Dialect

    @property
    def names(self) -> list[str]:
        """Of the columns, each once."""
        return unique_names(self.dialect.names)

    def read(self, rows: int | None = None) -> TextTable:
        """Return all rows, or the first ones."""
        frame, bad = _parsed(self, rows)
        return TextTable(frame, self.dialect, tuple(self.notes(bad)))

    def pieces(self, rows: int) -> Iterator[tuple[pd.DataFrame, int]]:
        """Yield frames of so many rows, every cell as text, with how many rows before it had too
        many fields.
        """
        with self._rest() as (rest, bad), _told(self.path), _warned() as count:
            try:
                for frame in pd.read_csv(rest, chunksize=rows, dtype=str, **_ways(self)):
                    yield frame, bad + count()
            except pd.errors.EmptyDataError:
                return

    def retyped(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return cells of text as reading them all at once would have: plain numbers as numbers."""
        if frame.empty:
            return frame
        text = frame.to_csv(sep="\t", index=False, header=False)
        ways = {"sep": "\t", "names": list(frame.columns), "skip_blank_lines": False}
        found: pd.DataFrame = pd.read_csv(
            io.StringIO(text), low_memory=False, **(_ways(self) | ways)
        )
        return found

    def notes(self, bad: int) -> list[Finding]:
        """Return what a reader must know about the reading.

        Args:
            bad: rows that had too many fields.
        """
        return list(_notes(self.dialect, self.encoding, self.encoding == FALLBACK, bad))

    @contextmanager
    def _rest(self) -> Iterator[tuple[_Rest, int]]:
        errors = _errors(self.encoding)
        with unpacked(self.path) as file:
            stream = io.TextIOWrapper(file, encoding=self.encoding, errors=errors, newline="")
            yield _behind_the_header(stream, self.dialect)


def _as_text(path: Path, sample: bytes, encoding: str) -> TextFile:
    text = _decoded(sample, encoding, _errors(encoding)).lstrip(_MARK)
    _check_text(path, text, encoding)
    found = dialect(text)
    if found is None:
        raise CompareError(f"{path} is empty.")
    return TextFile(path, encoding, found)


def _errors(encoding: str) -> str:
    return "refocal-keep" if encoding == FALLBACK else "strict"


def _decoded(sample: bytes, encoding: str, errors: str) -> str:
    """Return the sample; its last line may end inside a letter, unless the file ends there."""
    whole = len(sample) % _SAMPLE != 0 or not sample
    text = codecs.getincrementaldecoder(encoding)(errors).decode(sample, final=whole)
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    return text if whole or end == 0 else text[:end]


def _check_text(path: Path, text: str, encoding: str) -> None:
    """Refuse what is no text, and text that is no rows."""
    if sum(one < " " and not one.isspace() for one in text) > _CONTROLS * len(text):
        raise _no_text(path)
    if encoding.startswith(("utf-16", "utf-32")) and not re.search(r"[\r\n]", text):
        raise _no_text(path)  # bytes that happen to begin with its mark
    other = _OTHER_TEXT.match(text)
    if other:
        kind = "a web page or XML" if other[1] else "JSON"
        raise CompareError(f"{path} is {kind}, not a table. Save it as CSV, Excel or Parquet.")


def _no_text(path: Path) -> CompareError:
    return CompareError(
        f"{path} cannot be read: it is neither text nor Excel, Parquet or Arrow. If it has another"
        " format, save it as CSV."
    )


class _Rest(io.TextIOBase):
    """What is left of a text, with some of it given back."""

    def __init__(self, first: str, stream: io.TextIOWrapper) -> None:
        self.first, self.stream = first, stream

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        if self.first:
            text, self.first = self.first, ""
            return text
        return self.stream.read(size)


def _behind_the_header(stream: io.TextIOWrapper, found: Dialect) -> tuple[_Rest, int]:
    """Yield the rows alone, and how many too long ones before the first of them were passed over.

    The first row must not be too long: pandas takes its width for that of all.
    """
    line: list[str] = []

    def lines() -> Iterator[str]:
        for k, one in enumerate(stream):
            one = one if k else one.lstrip(_MARK)
            line.append(one)
            yield one

    if found.told:
        next(stream)
    above = found.skipped + found.header
    bad = 0
    for record in records_of(lines(), found.separator):
        if any(field.strip() for field in record):
            if above:
                above -= 1
            elif len(record) > len(found.names):
                bad += 1
            else:
                break
        line.clear()
    return _Rest("".join(line), stream), bad


def _parsed(file: TextFile, rows: int | None) -> tuple[pd.DataFrame, int]:
    """Return the frame, and how many rows had too many fields."""
    with file._rest() as (rest, bad), _told(file.path), _warned() as count:
        try:
            frame = pd.read_csv(rest, low_memory=False, nrows=rows, **_ways(file))
        except pd.errors.EmptyDataError:
            return pd.DataFrame(columns=file.names), bad
        bad += count()
    check_width(file, len(frame), bad)
    return frame, bad


def _ways(file: TextFile) -> dict[str, Any]:
    """Return how pandas is to read it."""
    separator = file.dialect.separator
    return {
        "sep": r"\s+" if separator == " " else separator,
        "decimal": file.dialect.decimal,
        "header": None,
        "names": file.names,
        "index_col": False,
        "keep_default_na": False,
        "na_values": [""],
        "skipinitialspace": True,
        "on_bad_lines": "warn",
    }


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what cannot be parsed; what cannot be decoded is for another encoding."""
    try:
        yield
    except UnicodeDecodeError:
        raise
    except (*BROKEN, csv.Error) as error:
        raise unreadable(path, error, " as a table") from error


@contextmanager
def _warned() -> Iterator[Callable[[], int]]:
    """Hand out how many rows pandas has skipped so far."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: sum(str(one.message).count("Skipping line") for one in caught)


def check_width(file: TextFile, rows: int, bad: int) -> None:
    """Refuse a file too many of whose rows have more fields than there are columns.

    Args:
        file: which.
        rows: that were read.
        bad: that were not.

    Raises:
        CompareError: with the way out.
    """
    if bad > max(1, _BAD * rows) or bad >= rows > 0:
        separator = file.dialect.separator
        raise CompareError(
            f"{file.path} has {len(file.names)} columns but {bad:,} of its rows {_have(bad)} more"
            f" fields. Quote what holds {NAMES.get(separator, separator)} that do not separate."
        )


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _notes(found: Dialect, encoding: str, kept: bool, bad: int) -> Iterator[Finding]:
    """Yield what a reader must know about the reading."""
    ways = [f"in the encoding {encoding}"] if kept or not encoding.startswith("utf-8") else []
    if found.separator != ",":
        ways.append(f"with {NAMES.get(found.separator, found.separator)} between the fields")
    if found.decimal == ",":
        ways.append("with decimal commas")
    if ways:
        yield Finding(
            "dialect",
            "note",
            f"The file was read {' and '.join(ways)}.",
            "If names or numbers look wrong, save it as UTF-8 with commas and decimal points.",
        )
    if found.skipped:
        lines = "1 line" if found.skipped == 1 else f"{found.skipped} lines"
        yield Finding(
            "preamble",
            "note",
            f"{lines} above the header {'was' if found.skipped == 1 else 'were'} left out.",
            "Make sure that the columns have their right names.",
        )
    if not found.header:
        yield Finding(
            "no-header",
            "warning",
            f"The first line is a row like the others: the columns are called {found.names[0]!r} to"
            f" {found.names[-1]!r}.",
            "Write a line with their names above the rows.",
        )
    if bad:
        yield Finding(
            "bad-rows",
            "warning",
            f"{bad:,} {'row was' if bad == 1 else 'rows were'} left out for having more fields than"
            " there are columns.",
            "Quote fields that hold the separator.",
        )
