"""The folder of a comparison: one run at a time, every file whole, other people's left alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from refocal.comparison.errors import CompareError, argument
from refocal.comparison.results import SCHEMA
from refocal.files import replacing

RUN = "run.json"
FITS = "fits"
STUDY = "search.journal"
WINNER = "winner.py"
PLOTS = "plots"
# focal.svg is what `refocal plot` is often told to put beside the report
FILES = (
    "report.html",
    "results.json",
    "results.csv",
    RUN,
    WINNER,
    STUDY,
    f"{STUDY}.lock",
    "focal.svg",
    ".lock",
)
_FAMILY = SCHEMA.split("/")[0] + "/"


def free_folder(name: Path, *, last: bool = False) -> Path:
    """Return the first of `name`, `name-2`, `name-3`, ... that is not there yet.

    Args:
        name: the first of them.
        last: the last that is there instead, if any is: what was done before goes on.
    """
    number, before = 1, name
    folder = name
    while folder.exists():
        number, before = number + 1, folder
        folder = name.with_name(f"{name.name}-{number}")
    return before if last else folder


def check_folder(folder: Path, *, resume: bool = False, force: bool = False) -> None:
    """Refuse a folder that could not be written in the end, before the work begins.

    Args:
        folder: where the comparison goes.
        resume: what is in it is continued.
        force: what is in it is replaced.

    Raises:
        CompareError: the folder holds files of something else or another comparison, or cannot be
            written.
    """
    try:
        folder = folder.resolve()
        _check_place(folder)
        if folder.exists():
            with _locked(folder):
                _check_content(folder, resume, force)
        above = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryDirectory(dir=above, prefix=".refocal-"):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def _check_place(folder: Path) -> None:
    out = argument("out")
    if folder.exists() and not folder.is_dir():
        raise CompareError(f"{folder} is not a folder. Name another one with {out}.")
    if folder == Path.cwd():
        raise CompareError(f"the folder is the current one. Name a new one with {out}.")
    foreign = _foreign(folder)
    if foreign is not None:
        raise CompareError(
            f"{folder} holds {foreign}, which this command did not write. Name another folder with"
            f" {out}."
        )


def _check_content(folder: Path, resume: bool, force: bool) -> None:
    """Refuse to lose what a comparison left; asked while nobody else is at work there."""
    stopped = _unfinished(folder)
    if resume or force or not (stopped or (folder / "results.json").exists()):
        return
    left, way_on = ("was stopped", "Continue") if stopped else ("is finished", "Extend")
    raise CompareError(
        f"{folder} holds a comparison that {left}. {way_on} it with {argument('resume', True)},"
        f" replace it with {argument('force', True)}, or name another folder with"
        f" {argument('out')}."
    )


@contextlib.contextmanager
def workplace(folder: Path, *, resume: bool = False, force: bool = False) -> Iterator[Path]:
    """Hand out the folder for the time of a run, locked against another one.

    With `force` what an earlier comparison trained is forgotten; its report stays until the new
    one is written. A run that fails before its first training is finished leaves nothing behind.

    Raises:
        CompareError: as `check_folder`, or another run is at work in the folder.
    """
    check_folder(folder, resume=resume, force=force)
    folder = folder.resolve()
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _check_place(folder)
            _check_content(folder, resume, force)
            if not resume:
                shutil.rmtree(folder / FITS, ignore_errors=True)
                (folder / STUDY).unlink(missing_ok=True)
            for part in folder.glob(f"{FITS}/.*.part"):
                part.unlink()  # what a killed run was writing
            ours = not (folder / RUN).exists()
            if ours:
                write_files(folder, {RUN: json.dumps({"schema": SCHEMA, "finished": None}) + "\n"})
            try:
                yield folder
            except BaseException:
                if not _kept(folder):
                    shutil.rmtree(folder / FITS, ignore_errors=True)
                    if ours:
                        (folder / RUN).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # not empty: something was finished
                path.rmdir()


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files, by relative name: each is whole at any moment, and none changes if one fails.

    Plots and a script that are not among them are removed when plots are.
    """
    try:
        with contextlib.ExitStack() as written:
            # they are moved into place from the last to the first, once all of them are complete
            for name, text in reversed(files.items()):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                file = written.enter_context(replacing(path))
                file.write(text)
                file.flush()
    except OSError as error:
        raise unwritable(folder, error) from error
    if any(name.startswith(f"{PLOTS}/") for name in files):
        for plot in (folder / PLOTS).glob("*.svg"):
            if f"{PLOTS}/{plot.name}" not in files:
                plot.unlink()
        if WINNER not in files:  # that of another comparison would train something else
            (folder / WINNER).unlink(missing_ok=True)


def unwritable(folder: Path, error: OSError) -> CompareError:
    """Return the one line for a folder that cannot be written."""
    return CompareError(
        f"{folder} cannot be written: {error.strerror or error}. Name another folder with"
        f" {argument('out')}."
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it however the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows: no lock on folders, but open files cannot be removed
        path = folder / ".lock"
        try:
            path.unlink(missing_ok=True)
            with open(path, "x", encoding="ascii"):
                yield
        except OSError as error:
            raise _busy(folder) from error
        path.unlink(missing_ok=True)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy(folder) from error
        yield
    finally:
        os.close(descriptor)


def _busy(folder: Path) -> CompareError:
    return CompareError(
        f"another comparison is at work in {folder}. Wait for it, or name another folder with"
        f" {argument('out')}."
    )


def _kept(folder: Path) -> bool:
    """Say whether finished trainings lie in the folder."""
    return any((folder / FITS).glob("*.npz")) or (folder / STUDY).exists()


def _unfinished(folder: Path) -> bool:
    """Say whether trainings lie in the folder that no report speaks of."""
    if not _kept(folder):
        return False
    try:
        finished = json.loads((folder / RUN).read_text("utf-8")).get("finished")
    except (OSError, ValueError):
        return True
    return finished is None


def _foreign(folder: Path) -> str | None:
    """Return something in the folder that no comparison wrote."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    if not any(_is_ours(folder / name) for name in ("results.json", RUN)):
        return "files"
    for path in sorted(folder.iterdir()):
        if path.name in (PLOTS, FITS) and path.is_dir():
            suffixes = (".svg",) if path.name == PLOTS else (".npz", ".part")
            others = [one for one in path.iterdir() if one.suffix not in suffixes]
            if others:
                return f"{path.name}/{others[0].name}"
        elif path.name not in FILES and path.suffix != ".part":
            return path.name
    return None


def _is_ours(path: Path) -> bool:
    return path.is_file() and _FAMILY in path.read_text("utf-8", "replace")[:200]
