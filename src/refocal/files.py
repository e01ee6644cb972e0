"""Files that are whole at any moment: every writer of the library goes through `replacing`."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` when the block ends without an error.

    Until then `path` is what it was; after an error, or a power cut, it still is. What is written
    goes to a hidden ``.part`` file in the same folder, as only a move within one file system is
    atomic. A link is followed, and the permissions of a file that was there are kept. A pipe or a
    device (``/dev/stdout``) is no file that could be replaced: it is written to as it is.

    Args:
        path: the file to write.
        binary: open for bytes; else for UTF-8 text with the line ends as written.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    text: dict[str, str] = {} if binary else {"encoding": "utf-8", "newline": "\n"}
    kind = "b" if binary else ""
    target = os.path.realpath(path)
    there = _mode(target)
    if there is not None and not stat.S_ISREG(there):
        with open(target, "w" + kind, **text) as file:  # type: ignore[call-overload]
            yield file
        return
    # opened by its name, unlike what tempfile makes, it has the permissions of any new file
    part = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.part")
    with open(part, "x" + kind, **text) as file:  # type: ignore[call-overload]
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if there is not None:
                os.chmod(part, stat.S_IMODE(there))
            file.close()  # before the move, which Windows asks for
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk cannot take what is still buffered
                file.close()
            os.unlink(part)
            raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as file:
        file.write(text)


def _mode(path: str) -> int | None:
    """Return kind and permissions of what is there; None for nothing."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None
