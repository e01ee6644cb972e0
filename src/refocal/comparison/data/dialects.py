"""What separates the fields of a text file, where its header is, and what its decimal mark is.

All of it from the first few hundred lines: every candidate separator splits them, and the one that
gives the header and nearly all rows the same number of fields is taken.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from refocal.comparison.data.cells import is_missing_word, plain
from refocal.comparison.data.dates import is_date
from refocal.comparison.data.numerals import Mark

SEPARATORS = (",", ";", "\t", "|", "^", " ")  # a space only where nothing else separates
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", "^": "carets", " ": "spaces"}
_PREAMBLE = 30  # lines above a header at most
_ROWS = 500
_DECIMAL = re.compile(r"^[+-]?\d+([.,])(\d+)(?:[eE][+-]?\d+)?$")
_NUMBER = re.compile(r"^[+-]?(\d+|\d*\.\d+|\d+,\d+)([eE][+-]?\d+)?$")


@dataclass(frozen=True)
class Dialect:
    """How a text file writes a table.

    Attributes:
        separator: between fields.
        told: by a first line `sep=;`, which is Excel's.
        decimal: before the fraction of most of its numbers.
        skipped: records with something in them above the header.
        header: whether there is one.
        names: of the columns, as many as a row has fields.
    """

    separator: str
    told: bool
    decimal: Mark
    skipped: int
    header: bool
    names: tuple[str, ...]


def dialect(sample: str) -> Dialect | None:
    """Return the dialect of a text from its first lines; None where there is not one record."""
    told = re.match(r"sep=(.)\r?\n", sample, re.IGNORECASE)  # Excel's own line
    if told:
        found = [(told[1], _records(sample[told.end() :], told[1]))]
    else:
        found = [(one, _records(sample, one)) for one in SEPARATORS]
    found = [(one, records) for one, records in found if records]
    if not found:
        return None
    separator, records = max(found, key=lambda one: _worth(*one))
    width = _width(records)
    start = _header(records, width)
    if start is None:  # no line is like another: what pandas would take
        start, width = 0, len(records[0])
    names, rows = [record.strip() for record in records[start]], records[start + 1 :]
    if len(names) == width - 1:
        wide = [one for one in rows if len(one) == width]
        if not any(one[-1].strip() for one in wide):
            names = [*names, ""]
        elif len({one[0] for one in wide}) == len(wide):  # R's; unquoted decimal commas are others
            names = ["rownames", *names]
    header = not _is_data(names, rows)
    if not header:
        names = [f"column {k}" for k in range(1, len(names) + 1)]
    elif names[0].startswith("# "):  # a header that is a comment
        names[0] = names[0][2:]
    return Dialect(
        separator=separator,
        told=told is not None,
        decimal=_decimal_mark(rows, separator),
        skipped=start,
        header=header,
        names=tuple(names),
    )


def records_of(lines: Iterator[str], separator: str) -> Iterator[list[str]]:
    """Return the records of lines; quotes may hold separators and line ends."""
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _records(sample: str, separator: str) -> list[list[str]]:
    """Return the first records that are not empty."""
    records = []
    lines = iter(sample.splitlines(keepends=True))
    try:
        for record in records_of(lines, separator):
            if any(field.strip() for field in record):
                records.append(record)
            if len(records) == _ROWS:
                break
    except csv.Error:  # a field longer than any, a NUL
        pass
    return records


def _width(records: Sequence[list[str]]) -> int:
    """Return the number of fields that most records have."""
    widths = Counter(map(len, records))
    return max(widths, key=lambda width: (widths[width], width))


def _worth(separator: str, records: list[list[str]]) -> tuple[int, bool, float, int]:
    """Say how well a separator explains the records; the decimal commas of a row below the first
    make no header.
    """
    width = _width(records)
    share = sum(len(record) == width for record in records) / len(records)
    start = _header(records, width) if width > 1 else None
    headed = 0 if start is None else 1 if start and any(map(_is_number, records[start])) else 2
    return headed, separator != " ", round(share, 1), width


def _header(records: Sequence[list[str]], width: int) -> int | None:
    """Return the first record as wide as the rows, or one narrower where rows have names."""
    first = records[0]
    if len(first) > width > 1 and all(one.strip() and not _is_number(one) for one in first):
        return 0  # rows that lack their last fields
    for k, record in enumerate(records[:_PREAMBLE]):
        filled = sum(bool(field.strip()) for field in record)
        if len(record) == width and filled > width / 2:
            return k
        follows = records[k + 1 : k + 4]
        narrower = width > 2 and len(record) == filled == width - 1
        if narrower and follows and all(len(one) == width for one in follows):
            return k
    return None


def _is_data(names: Sequence[str], rows: Sequence[list[str]]) -> bool:
    """Say whether the first line is a row like the others, a number above numbers."""
    if len(rows) < 3:
        return False
    columns = [[row[k].strip() for row in rows if k < len(row)] for k in range(len(names))]
    alike = []
    for name, cells in zip(names, columns, strict=True):
        known = [cell for cell in cells if not is_missing_word(cell)]
        for test in (_is_number, is_date):
            if known and sum(map(test, known)) > 0.9 * len(known):
                alike.append(test(name) or is_missing_word(name))
    years = all(re.fullmatch(r"(19|20)\d\d", one) for one in names if _is_number(one))
    return bool(alike) and all(alike) and any(map(_is_number, names)) and not years


def _is_number(cell: str) -> bool:
    return _NUMBER.match(plain(cell)) is not None


def _decimal_mark(rows: Sequence[list[str]], separator: str) -> Mark:
    """Return what stands before a fraction not three digits long, which could be thousands."""
    if separator == ",":
        return "."  # quoted decimal commas are met column by column
    marks: Counter[str] = Counter()
    for row in rows:
        for cell in row:
            found = _DECIMAL.match(cell.strip())
            if found and (len(found[2]) != 3 or cell.strip().lstrip("+-").startswith("0")):
                marks[found[1]] += 1
    return "," if marks[","] > marks["."] else "."
