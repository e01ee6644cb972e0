"""Cells by their shape: every digit a 9, so that a million cells have a few dozen shapes.

A pattern is matched once for each shape; where its groups lie holds for every cell of that shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_DIGITS = str.maketrans("012345678", "999999999")


@dataclass(frozen=True)
class Shape:
    """Cells of one shape.

    Attributes:
        text: the shape, `9,999.99`.
        rows: which of the cells have it.
        cells: these cells.
    """

    text: str
    rows: npt.NDArray[np.int64]
    cells: Sequence[str]

    def whole(self, span: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Return the whole numbers, of digits alone, in one span of every cell."""
        start, end = span
        letters = np.array(self.cells, dtype=f"U{len(self.text)}").view(np.uint32)
        digits = letters.reshape(len(self.cells), -1)[:, start:end].astype(np.int64) - ord("0")
        powers = 10 ** np.arange(end - start - 1, -1, -1, dtype=np.int64)
        values: npt.NDArray[np.int64] = digits @ powers
        return values


def shapes(cells: Sequence[str]) -> Iterator[Shape]:
    """Yield the shapes of cells, each once."""
    rows: dict[str, list[int]] = {}
    for k, cell in enumerate(cells):
        rows.setdefault(cell.translate(_DIGITS), []).append(k)
    for text, of in rows.items():
        yield Shape(text, np.array(of, dtype=np.int64), [cells[k] for k in of])
