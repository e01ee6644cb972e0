"""The commands of ``refocal``, one file each: options, checks, and one call into the library.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys


def refuse(command: str, reason: object) -> int:
    """One line on standard error, and the exit status of a refused command.

    An error of the library names its arguments; here they are called as the options are.
    """
    if hasattr(reason, "on_command_line"):
        reason = reason.on_command_line()
    print(f"refocal {command}: {reason}", file=sys.stderr)
    return 2
