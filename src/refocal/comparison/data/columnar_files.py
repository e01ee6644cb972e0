"""Reads Parquet and Arrow files, whose columns have types of their own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from refocal import extras
from refocal.comparison.errors import CompareError

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")


def read_columnar(path: Path, kind: str) -> pd.DataFrame:
    """Return all rows and columns; an index that the file kept is a column like the others.

    Args:
        path: the file.
        kind: "Parquet" or "Arrow".

    Raises:
        CompareError: it cannot be read as what it should be.
        ImportError: pyarrow is not installed.
    """
    extras.need(path.name, "parquet")
    try:
        frame = pd.read_parquet(path) if kind == "Parquet" else _read_arrow(path)
    except (ValueError, OSError, EOFError, NotImplementedError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        raise CompareError(f"{path} cannot be read: {reason}.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        names = [name or f"index {k}" for k, name in enumerate(frame.index.names)]
        kept = frame.index.to_frame(index=False).set_axis(names, axis=1)
        kept = kept[[name for name in names if name not in frame.columns]]
        frame = pd.concat([kept, frame.reset_index(drop=True)], axis=1)
    return frame


def _read_arrow(path: Path) -> pd.DataFrame:
    from pyarrow import feather, ipc

    try:
        frame: pd.DataFrame = feather.read_feather(path)
    except ValueError:  # a stream has no footer
        with open(path, "rb") as file, ipc.open_stream(file) as stream:
            frame = stream.read_pandas()
    return frame
