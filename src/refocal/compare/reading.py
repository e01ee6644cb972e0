"""Reads a table from a CSV, Parquet or Arrow file, or says why it cannot."""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from refocal.compare.errors import CompareError

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst")
# ParserError, UnicodeDecodeError and pyarrow's ArrowInvalid are ValueErrors; an encrypted archive
# is a RuntimeError, a compression whose package is not there an ImportError.
_UNREADABLE = (
    *(ValueError, OSError, EOFError, RuntimeError, ImportError),
    *(zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error),
)
_SAMPLE = 1_000  # lines of a CSV file to measure how large it will be
# Reading, cleaning and encoding hold about this many copies at the worst moment.
_COPIES = 3.0


def read_frame(path: Path) -> pd.DataFrame:
    """All rows and columns of a file.

    Raises:
        CompareError: it is missing, empty, of another kind, or larger than memory.
        ImportError: it is Parquet or Arrow and pyarrow is not installed.
    """
    try:
        there = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise CompareError(f"{path} cannot be read: {error.strerror}.") from error
    if not there:
        raise CompareError(f"there is no file {path}.")
    kind = path.suffix.lower()
    check_memory(path)
    if kind in PARQUET + ARROW:
        _require_pyarrow(path)
    try:
        if kind in PARQUET:
            frame = pd.read_parquet(path)
        elif kind in ARROW:
            frame = _read_arrow(path)
        else:
            frame = pd.read_csv(path, low_memory=False)
    except pd.errors.EmptyDataError:
        raise CompareError(f"{path} is empty.") from None
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        if kind in PARQUET + ARROW:
            raise CompareError(f"{path} cannot be read: {reason}.") from error
        raise CompareError(
            f"{path} cannot be read as a CSV file: {reason}."
            " It must be UTF-8 text with a header line and commas between the fields."
        ) from error
    if frame.empty:
        raise CompareError(f"{path} has a header but no rows.")
    frame.columns = [str(name) for name in frame.columns]
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise CompareError(f"{path} has more than one column {repeated[0]!r}. Rename them.")
    return frame


def _read_arrow(path: Path) -> pd.DataFrame:
    from pyarrow import feather, ipc

    try:
        frame: pd.DataFrame = feather.read_feather(path)
    except ValueError:  # a stream has no footer
        with open(path, "rb") as file, ipc.open_stream(file) as stream:
            frame = stream.read_pandas()
    return frame


def check_memory(path: Path) -> None:
    """Refuse a file that would not fit, before reading it.

    Raises:
        CompareError: with the estimate.
    """
    try:
        needed = _COPIES * estimate_bytes(path)
    except _UNREADABLE:  # reading it says so better
        return
    available = available_bytes()
    if available is not None and needed > available:
        raise CompareError(
            f"{path} would take about {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB"
            " are free. Take a sample of its rows, or only the columns that matter."
        )


def estimate_bytes(path: Path) -> float:
    """Size in memory once read, from the first rows or the metadata."""
    size = path.stat().st_size
    kind = path.suffix.lower()
    if kind in PARQUET:
        try:
            from pyarrow import parquet
        except ImportError:
            return size
        metadata = parquet.read_metadata(path)
        return float(max(metadata.num_rows * metadata.num_columns * 8, size))
    if kind in ARROW:
        return size
    if kind in _COMPRESSED:
        return 8.0 * size  # text packs to about an eighth
    sample = pd.read_csv(path, nrows=_SAMPLE)
    if len(sample) < _SAMPLE:
        return float(sample.memory_usage(deep=True).sum())
    with open(path, "rb") as file:
        text = sum(len(file.readline()) for _ in range(_SAMPLE + 1))
    return float(sample.memory_usage(deep=True).sum()) * size / text


def available_bytes() -> float | None:
    """Memory that is free or can be freed; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):
        return None


def _require_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ImportError(
            f"pyarrow is not installed, and {path.name} needs it. Install it with:"
            " pip install 'refocal[parquet]'"
        ) from None


def column(frame: pd.DataFrame, path: Path, name: str, option: str) -> pd.Series[Any]:
    """A column by name.

    Raises:
        CompareError: there is none.
    """
    if name in frame.columns:
        return frame[name]
    columns = [str(one) for one in frame.columns]
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        raise CompareError(
            f"{path} has the single column {columns[0]!r}. Separate its fields by commas."
        )
    shown = ", ".join(repr(one) for one in columns[:20])
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    raise CompareError(f"{path} has no column {name!r} for {option}. It has {shown}{more}.")
