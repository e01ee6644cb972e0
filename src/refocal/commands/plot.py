"""``refocal plot``: the picture of the loss."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from refocal.commands import refuse
from refocal.files import write_text


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "plot",
        help="draw focal loss and its slope as an SVG file",
        description="Draw loss and slope against the probability of the true class.",
    )
    parser.add_argument("--out", type=Path, default=Path("focal.svg"), metavar="FILE.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw the picture and return the exit status."""
    from refocal import comparison

    svg = comparison.focal_svg()
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out, svg)
    except OSError as error:
        return refuse("plot", f"{options.out} cannot be written: {error.strerror or error}.")
    print(options.out)
    return 0
