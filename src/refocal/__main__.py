"""The command line: ``refocal`` and its commands."""

from __future__ import annotations

import os
import sys

try:
    import argparse
    from collections.abc import Sequence
    from typing import NoReturn

    from refocal import __version__
    from refocal.commands import (
        INTERRUPTED,
        compare,
        diagnose,
        gpu_check,
        nothing,
        plot,
        refuse,
        report,
        stopped,
        warm_up,
    )
    from refocal.extras import MissingExtra
except KeyboardInterrupt:  # from who saw at once that a word of the line was wrong
    print("refocal: stopped, nothing was written.", file=sys.stderr, flush=True)
    os._exit(130)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage that argparse would put before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. Try {self.prog} --help.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, 1 when a check failed, or 2 when the command was refused with one line
        on standard error.
    """
    options = argparse.Namespace(command=None, left=nothing)
    try:
        _parser().parse_args(argv, options)
        status: int = options.run(options)
    except MissingExtra as error:
        return refuse(options.command, error.reason)
    except KeyboardInterrupt:
        # all interrupts come here, so that the last of several does not say less than the first
        return stopped(options.command, lambda: options.left(options))
    return status


def command() -> NoReturn:
    """Run a command as a process of its own.

    One that was interrupted ends at once: Python would wait for the threads that train, and show a
    traceback of this wait to who interrupts again.
    """
    status = main()
    if status == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parser() -> _Parser:
    parser = _Parser(prog="refocal", description="Focal loss: is it worth it on your data?")
    parser.add_argument("--version", action="version", version=f"refocal {__version__}")
    parser.set_defaults(left=nothing)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for room in (compare, diagnose, report, plot, gpu_check, warm_up):
        room.add(commands)
    return parser


if __name__ == "__main__":
    command()
