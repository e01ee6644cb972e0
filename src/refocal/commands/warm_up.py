"""``refocal warm-up``: the CPU kernels compiled ahead."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from refocal.commands import refuse

WIDTH = 24


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "warm-up",
        help="compile the CPU kernels ahead and keep them on disk",
        description=(
            "Compile the CPU kernels that most programs need, for an image that is built once or a"
            " machine that runs tests: a first call then finds them on disk."
        ),
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile, show how far it is, and return the exit status."""
    from refocal import warm_up

    started = time.monotonic()
    total = len(warm_up.typical_calls())
    try:
        for done, name in enumerate(warm_up.fill(), 1):
            if sys.stderr.isatty():
                bar = "#" * (WIDTH * done // total)
                line = f"{bar:<{WIDTH}} {done} of {total}: {name}"
                print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
    except RuntimeError as error:
        return refuse("warm-up", error)
    finally:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    folder = warm_up.cache_folder()
    kept = f"kept in {folder}" if folder else "for this process only: no folder can be written to"
    print(f"{total} kinds of call compiled in {time.monotonic() - started:.1f} s, {kept}")
    return 0
