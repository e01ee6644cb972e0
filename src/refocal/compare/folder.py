"""The folder of a comparison: all of it or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from refocal.compare.errors import CompareError
from refocal.compare.results import SCHEMA

FILES = ("report.html", "results.json", "results.csv", "run.json")
PLOTS = "plots"


def check_folder(folder: Path) -> None:
    """Refuse a folder that could not be written in the end, before the work begins.

    Raises:
        CompareError: the folder holds files of something else, or cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise CompareError(f"{folder} is not a folder. Name another one with --out.")
    if folder == Path.cwd():
        raise CompareError("the folder is the current one. Name a new one with --out.")
    try:
        foreign = _foreign(folder)
        if foreign is not None:
            raise CompareError(
                f"{folder} holds {foreign}, which this command did not write. Name another folder"
                " with --out."
            )
        above = next(path for path in folder.parents if path.exists())
        with tempfile.TemporaryDirectory(dir=above, prefix=".refocal-"):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_folder(folder: Path, files: dict[str, str]) -> None:
    """Write the files, by relative name; an earlier comparison in the folder is replaced.

    They are written to a new folder next to it, which takes its name when it is complete.
    """
    folder = folder.resolve()
    check_folder(folder)
    made: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        new, old = made / "new", made / "old"
        for name, text in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def _foreign(folder: Path) -> str | None:
    """Something in the folder that no comparison wrote."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    results = folder / "results.json"
    if not results.is_file() or SCHEMA not in results.read_text("utf-8", "replace")[:200]:
        return "files"
    for path in sorted(folder.iterdir()):
        if path.name == PLOTS and path.is_dir():
            others = [plot for plot in path.iterdir() if plot.suffix != ".svg"]
            if others:
                return f"{PLOTS}/{others[0].name}"
        elif path.name not in FILES:
            return path.name
    return None


def _unwritable(folder: Path, error: OSError) -> CompareError:
    return CompareError(
        f"{folder} cannot be written: {error.strerror or error}. Name another folder with --out."
    )
