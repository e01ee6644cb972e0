"""Says whether a file would fit in memory, before it is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from refocal.comparison.data import columnar_files, excel_files
from refocal.comparison.data.opening import BROKEN, packing
from refocal.comparison.data.text_files import read_text
from refocal.comparison.errors import CompareError, argument

_SAMPLE = 1_000  # rows of a text file to measure how large it will be
# Reading, cleaning and encoding hold about this many copies at the worst moment.
_COPIES = 3.0


@dataclass(frozen=True)
class Memory:
    """What a file would take, and what there is.

    Attributes:
        needed: bytes, about.
        available: bytes; infinite where the system does not tell.
    """

    needed: float
    available: float

    @property
    def enough(self) -> bool:
        """Whether it fits."""
        return self.needed <= self.available

    def words(self, path: Path) -> str:
        """Write both down."""
        return (
            f"{path} would take about {self.needed / 1e9:.1f} GB of memory and"
            f" {self.available / 1e9:.1f} GB are free"
        )


def memory_for(path: Path) -> Memory:
    """Estimate what reading a file would take; nothing where reading it says better why not."""
    try:
        needed = _COPIES * estimate_bytes(path)
    except (CompareError, *BROKEN):
        needed = 0.0
    available = available_bytes()
    return Memory(needed, float("inf") if available is None else available)


class TooLarge(CompareError):
    """A file would not fit in memory.

    Attributes:
        memory: the estimate.
    """

    def __init__(self, text: str, memory: Memory) -> None:
        super().__init__(text)
        self.memory = memory


def check_memory(path: Path) -> None:
    """Refuse a file that would not fit, before reading it.

    Raises:
        TooLarge: with the estimate.
    """
    memory = memory_for(path)
    if not memory.enough:
        raise TooLarge(
            f"{memory.words(path)}. Take a sample of its rows, or only the columns that matter; or"
            f" save it as CSV or Parquet, of which {argument('rows')} reads a part.",
            memory,
        )


def estimate_bytes(path: Path) -> float:
    """Return size in memory once read, from the first rows or the metadata."""
    if path.is_dir():
        return sum(estimate_bytes(one) for one in columnar_files.parquet_files(path))
    size = path.stat().st_size
    kind = path.suffix.lower()
    if kind in columnar_files.PARQUET:
        try:
            from pyarrow import parquet
        except ImportError:
            return size
        metadata = parquet.read_metadata(path)
        return float(max(metadata.num_rows * metadata.num_columns * 8, size))
    if kind in columnar_files.ARROW:
        return size
    if kind in excel_files.SUFFIXES:
        return 30.0 * size  # packed text, and every cell an object of its own
    if packing(path) is not None:
        return 8.0 * size  # text packs to about an eighth
    sample = read_text(path, rows=_SAMPLE).frame
    memory = float(sample.memory_usage(deep=True).sum())
    if len(sample) < _SAMPLE:
        return memory
    with open(path, "rb") as file:
        text = sum(len(file.readline()) for _ in range(_SAMPLE + 1))
    return memory * max(1.0, size / text)


def available_bytes() -> float | None:
    """Return memory that is free or can be freed; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):
        return None
