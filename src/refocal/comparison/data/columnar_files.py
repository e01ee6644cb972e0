"""Reads Parquet and Arrow files, whose columns have types of their own, and folders of Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from refocal import extras
from refocal.comparison.data.layout import with_index
from refocal.comparison.data.opening import unreadable
from refocal.comparison.data.table import Integers

if TYPE_CHECKING:
    import pyarrow

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")


def read_columnar(path: Path, kind: str) -> pd.DataFrame:
    """Return all rows and columns; an index that the file kept is a column like the others.

    Args:
        path: the file, or a folder of Parquet.
        kind: "Parquet" or "Arrow".

    Raises:
        CompareError: it cannot be read as what it should be.
        ImportError: pyarrow is not installed.
    """
    extras.need(path.name, "parquet")
    with _told(path):
        if path.is_dir():
            pieces = ParquetPieces(path)
            return pieces.take(np.arange(pieces.rows))
        frame = pd.read_parquet(path) if kind == "Parquet" else _read_arrow(path)
    return with_index(frame)


def _read_arrow(path: Path) -> pd.DataFrame:
    from pyarrow import feather, ipc

    try:
        frame: pd.DataFrame = feather.read_feather(path)
    except ValueError:  # a stream has no footer
        with open(path, "rb") as file, ipc.open_stream(file) as stream:
            frame = stream.read_pandas()
    return frame


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, EOFError, NotImplementedError, TypeError) as error:
        raise unreadable(path, error) from error


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder and below, in the order of their paths; what begins
    with a dot or an underscore is none of them, as writers keep their own notes there.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PARQUET
        and path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )


class ParquetPieces:
    """A Parquet file, or all those of a folder one below the other.

    The names of folders like `year=2024` are columns.

    Raises:
        CompareError: it cannot be read, or two of its files have columns of one name and of types
            that nothing unites.
    """

    typed = True
    decimal = None
    findings: tuple[()] = ()

    def __init__(self, path: Path) -> None:
        extras.need(path.name, "parquet")
        import pyarrow
        from pyarrow import dataset

        self.path = path
        with _told(path):
            files = [str(one) for one in parquet_files(path)] if path.is_dir() else [str(path)]
            base = str(path) if path.is_dir() else None
            ways: dict[str, Any] = {"format": "parquet", "partitioning": None}
            if base is not None:
                ways |= {
                    "partition_base_dir": base,
                    "partitioning": dataset.partitioning(flavor="hive"),
                }
            found = dataset.dataset(files, **ways)
            schemas = [fragment.physical_schema for fragment in found.get_fragments()]
            united = pyarrow.unify_schemas([found.schema, *schemas], promote_options="permissive")
            self._set = dataset.dataset(files, schema=united, **ways)
        self.schema = united

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(self.schema.names)

    @property
    def rows(self) -> int:
        """How many there are."""
        with _told(self.path):
            return int(self._set.count_rows())

    def columns(self, names: Sequence[str]) -> pd.DataFrame:
        """Return some columns of all rows."""
        import pyarrow

        with _told(self.path):
            batches = list(self._batches(names))
            schema = pyarrow.schema([self.schema.field(name) for name in names])
            frame = pyarrow.Table.from_batches(batches, schema).to_pandas()
        return pd.DataFrame(frame.reset_index(drop=True))

    def take(self, rows: Integers) -> pd.DataFrame:
        """Return some rows.

        Args:
            rows: their numbers, rising.
        """
        import pyarrow

        parts, start = [], 0
        with _told(self.path):
            for batch in self._batches(self.names):
                end = start + batch.num_rows
                inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
                whole = len(inside) == batch.num_rows
                parts.append(batch if whole else batch.take(pyarrow.array(inside - start)))
                start = end
            table = pyarrow.Table.from_batches(parts, self.schema)
            return with_index(table.to_pandas())

    def _batches(self, names: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows in the order of the files."""
        for fragment in self._set.get_fragments():
            yield from fragment.to_batches(schema=self.schema, columns=list(names))
