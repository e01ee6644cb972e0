"""The commands of ``refocal``, one file each: options, checks, and one call into the library.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

INTERRUPTED = 130

# Options that are called otherwise than the library's arguments.
_OPTIONS = {"groups": "group", "time_order": "time"}


def refuse(command: str, reason: object) -> int:
    """Print one line on standard error, and return the exit status of a refused command."""
    print(f"refocal {command}: {reason}", file=sys.stderr)
    return 2


def stopped(command: str | None, left: Callable[[], str]) -> int:
    """Print one line on what an interrupt left, and return the exit status of one.

    The command is None where it was not read yet.

    Another interrupt does not come between: the process ends here.
    """
    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ours else None
    try:
        said = "refocal" if command is None else f"refocal {command}"
        print(f"{said}: stopped, {left()}.", file=sys.stderr)
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
    return INTERRUPTED


def nothing(options: object) -> str:
    """Say what an interrupt left of a command that writes at its end."""
    return "nothing was written"


@contextmanager
def library() -> Iterator[ModuleType]:
    """Hand out `refocal.comparison`, whose messages name options in the block, not arguments."""
    from refocal import comparison
    from refocal.comparison.errors import spelled

    with spelled(option):
        yield comparison


def option(name: str, value: object = None) -> str:
    """Spell an argument of the library as an option: ``--drop x`` for ``drop='x'``."""
    text = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    return text if value is None or value is True else f"{text} {shlex.quote(str(value))}"
