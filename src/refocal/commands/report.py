"""``refocal report``: build the page again from results.json."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from refocal.commands import library, refuse


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="build the report again from its results.json",
        description="Write report.html, results.csv and the plots of a comparison anew from the"
        " results.json in its folder.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build the report and return the exit status."""
    with library() as comparison:
        try:
            comparison.rebuild(options.folder)
        except comparison.CompareError as error:
            return refuse("report", error)
    print(options.folder / "report.html")
    return 0
