"""``refocal diagnose``: what logits that exist say, without training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from refocal.commands import library, refuse
from refocal.files import write_text


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "diagnose",
        help="calibration, gradient budget and (alpha, gamma) candidates from logits",
        description="Read logits and targets, and say what their probabilities are worth, who gets"
        " the gradient, and which alpha and gamma are worth a trial. Nothing is trained.",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="LOGITS",
        help="an .npz with the arrays logits and targets, or a .parquet with such columns",
    )
    parser.add_argument(
        "--alpha", type=float, metavar="A", help="of the focal loss the model was trained with"
    )
    parser.add_argument(
        "--gamma", type=float, metavar="G", help="of that loss (default: cross-entropy)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the findings too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Diagnose, print the findings and return the exit status."""
    with library() as comparison:
        try:
            logits, targets = comparison.read_logits(options.file)
            found = comparison.diagnose(logits, targets, alpha=options.alpha, gamma=options.gamma)
        except comparison.CompareError as error:
            return refuse("diagnose", error)
    if options.out is not None:
        try:
            write_text(options.out, comparison.diagnosis_json(found))
        except OSError as error:
            reason = error.strerror or error
            return refuse("diagnose", f"{options.out} cannot be written: {reason}.")
    print(found)
    return 0
