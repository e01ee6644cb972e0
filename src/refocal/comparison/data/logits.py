"""Logits and targets that lie in a file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.comparison.data.columnar_files import PARQUET
from refocal.comparison.data.files import read_file
from refocal.comparison.data.table import Floats
from refocal.comparison.errors import CompareError

if TYPE_CHECKING:
    from torch import Tensor


def read_logits(path: Path) -> tuple[Tensor, Tensor]:
    """Return `logits` and `targets` from an .npz archive or a Parquet file.

    In Parquet the logits are one column `logits`, or several, `logits_0`, `logits_1`, ...

    Raises:
        CompareError: the file cannot be read, or holds something else.
    """
    if not path.exists():
        raise CompareError(f"there is no file {path}.")
    found = _from_npz(path) if path.suffix == ".npz" else _from_parquet(path)
    arrays: list[Floats] = []
    for name, array in zip(("logits", "targets"), found, strict=True):
        if array.dtype.kind not in "biuf":
            raise CompareError(f"{name} in {path} must be numbers, got {array.dtype}.")
        arrays.append(array.astype(np.float64))
    import torch  # a file that is refused needs no framework

    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])


def _from_npz(path: Path) -> tuple[Any, Any]:
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = {"logits", "targets"} - set(file.files)
            if missing:
                raise CompareError(
                    f"{path} has no array {min(missing)!r}. It has {', '.join(file.files)}."
                )
            return file["logits"], file["targets"]
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise CompareError(f"{path} cannot be read as an .npz archive: {error}") from error


def _from_parquet(path: Path) -> tuple[Any, Any]:
    if path.suffix.lower() not in PARQUET:
        raise CompareError(f"{path} must be an .npz or a .parquet file.")
    frame = read_file(path).frame
    several = [name for name in frame.columns if name.startswith("logits_")]
    several.sort(key=lambda name: (len(name), name))
    columns = ["logits"] if "logits" in frame.columns else several
    if not columns or "targets" not in frame.columns:
        shown = ", ".join(map(repr, frame.columns[:10]))
        raise CompareError(f"{path} needs columns 'logits' and 'targets'. It has {shown}.")
    logits = frame[columns].to_numpy()
    return (logits[:, 0] if columns == ["logits"] else logits), frame["targets"].to_numpy()
