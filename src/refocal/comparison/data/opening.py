"""The bytes of a file, unpacked where it is compressed, whatever its name says."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from refocal.comparison.errors import CompareError

PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without a member
}
SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zip": "zip", ".zst": "Zstandard"}
# What unpacking broken or encrypted files raises besides OSError and ValueError.
BROKEN = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, lzma.LZMAError, zlib.error),
)


def unreadable(path: Path, error: Exception, as_what: str = "") -> CompareError:
    """Say in one line why a file cannot be read."""
    reason = " ".join(str(error).split()).rstrip(".")[:300]
    return CompareError(f"{path} cannot be read{as_what}: {reason}.")


def packing(path: Path) -> str | None:
    """Say how a file is compressed, by its first bytes; by its name where these tell nothing."""
    with open(path, "rb") as file:
        start = file.read(8)
    for mark, kind in PACKED.items():
        if start.startswith(mark):
            return kind
    return SUFFIXES.get(path.suffix.lower())


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Hand out the bytes of a file, one reader over what it holds.

    Raises:
        CompareError: a zip archive of several files, or a compression that needs a package.
    """
    kind = packing(path)
    if kind == "zip":
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive, path)) as file:
            yield file
        return
    with _opened(path, kind) as file:
        yield file


def _opened(path: Path, kind: str | None) -> Any:
    if kind == "gzip":
        return gzip.open(path, "rb")
    if kind == "bzip2":
        return bz2.open(path, "rb")
    if kind == "xz":
        return lzma.open(path, "rb")
    if kind == "Zstandard":
        try:
            import zstandard
        except ImportError:
            raise CompareError(
                f"{path} is compressed with Zstandard, which needs a package of its own. Unpack it"
                " first, or: pip install zstandard."
            ) from None
        return zstandard.open(path, "rb")
    return open(path, "rb")


def _member(archive: zipfile.ZipFile, path: Path) -> str:
    names = [
        member.filename
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]
    if len(names) == 1:
        return names[0]
    if not names:
        raise CompareError(f"{path} holds no file.")
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    raise CompareError(f"{path} holds {len(names)} files ({shown}). Unpack the one to read.")
