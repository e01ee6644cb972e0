"""The commands of ``refocal``, one file each: options, checks, and one call into the library.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

INTERRUPTED = 130

# Options that are called otherwise than the library's arguments.
_OPTIONS = {"groups": "group", "time_order": "time"}


def refuse(command: str, reason: object) -> int:
    """Print one line on standard error, and return the exit status of a refused command."""
    print(f"refocal {command}: {reason}", file=sys.stderr)
    return 2


def stopped(command: str, left: str) -> int:
    """Print one line on what an interrupt left, and return the exit status of one."""
    print(f"refocal {command}: stopped, {left}.", file=sys.stderr)
    return INTERRUPTED


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
