"""What stands around the rows of a table: column names, empty columns, totals and notes below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from refocal.comparison.data.cells import listed, plain, tidy
from refocal.comparison.results import Finding

_TOTALS = frozenset(
    (
        *("total", "totals", "grand total", "overall", "sum", "sums", "summe", "summen", "gesamt"),
        *("gesamtsumme", "insgesamt", "somme", "totale", "suma", "total general", "total général"),
        *("average", "mean", "mittelwert", "durchschnitt", "moyenne", "count", "anzahl"),
    )
)
_FOOTER = 5  # rows at most


def unique_names(names: Sequence[Any]) -> list[str]:
    """Return names without spaces around them, each once: a, a.1, Unnamed: 2."""
    found: dict[str, None] = {}
    last: dict[str, int] = {}  # of thousands of equal names none is counted from the start
    for k, name in enumerate(names):
        one = tidy(str(name)) if name is not None else ""
        one = one or f"Unnamed: {k}"
        again, n = one, last.get(one, 0)
        while again in found:
            n += 1
            again = f"{one}.{n}"
        last[one] = n
        found[again] = None
    return list(found)


def with_index(frame: pd.DataFrame, *, named: bool = False) -> pd.DataFrame:
    """Return a frame whose index is columns like the others, before them.

    Args:
        frame: with an index of any kind.
        named: only levels with a name, which were columns once; what has none often numbers the
            rows of another table.
    """
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        return frame
    names = [f"index {k}" if name is None else name for k, name in enumerate(frame.index.names)]
    levels = frame.index.to_frame(index=False).set_axis(names, axis=1)
    kept = [
        k
        for k, name in enumerate(frame.index.names)
        if names[k] not in frame.columns and not (named and name is None)
    ]
    return pd.concat([levels.iloc[:, kept], frame.reset_index(drop=True)], axis=1)


def renamed(names: Sequence[Any]) -> Iterator[Finding]:
    """Yield what a reader must know about names that came more than once."""
    times = Counter(tidy(str(name)) for name in names)
    twice = sorted(name for name, count in times.items() if name and count > 1)
    if twice:
        yield Finding(
            "renamed-columns",
            "warning",
            f"More than one column is called {listed(twice)}: the second is {twice[0] + '.1'!r}.",
            "Give the columns names of their own.",
        )


def without_nameless(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop columns without a name and without a value."""
    nameless = [
        name
        for name in frame.columns
        if str(name).startswith("Unnamed: ") and frame[name].isna().all()
    ]
    return frame.drop(columns=nameless)


def trimmed(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """Drop nameless empty columns, empty rows, and the totals and notes below the rows."""
    frame = without_nameless(frame)
    tail = frame.tail(_FOOTER)
    below = 0
    lowest: list[str] = []
    for k in reversed(range(len(tail))):
        row = tail.iloc[k].dropna()
        cells = [tidy(str(one)) for one in row if tidy(str(one))]
        first = plain(cells[0]).lower().rstrip(":. ") if cells else ""
        alone = len(cells) == 1 and frame.shape[1] >= 3 and row.index[0] == frame.columns[0]
        # a lone word below a column of numbers, or numbers beside the word for their sum
        below_all = first in _TOTALS or alone
        if not cells or (below_all and not _usual(frame, cells[0])):
            below = len(tail) - k
            lowest += cells[:1]
        else:
            break
    if below == 0:
        return frame, []
    frame = _as_numbers_alone(frame.iloc[: len(frame) - below])
    if not lowest:
        return frame, []
    return frame, [
        Finding(
            "footer",
            "note",
            f"{len(lowest)} {'row' if len(lowest) == 1 else 'rows'} below the table"
            f" ({listed(lowest[::-1], 3)}) {'was' if len(lowest) == 1 else 'were'} left out.",
            "If it is a row like the others, rename what it begins with.",
        )
    ]


def _as_numbers_alone(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns that a word below the rows alone had made text are plain numbers without it."""
    found = {}
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            numbers = pd.to_numeric(frame[name], errors="coerce")
            if numbers.notna().sum() == frame[name].notna().sum():
                found[name] = numbers
    return frame.assign(**found)


def _usual(frame: pd.DataFrame, cell: str) -> bool:
    """Say whether the first column holds such a cell elsewhere, so that it is a row like others."""
    column = frame.iloc[:-_FOOTER, 0]
    return any(tidy(str(one)) == cell for one in column.dropna())
