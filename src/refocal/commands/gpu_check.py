"""``refocal gpu-check``: the GPU kernels on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from refocal.commands import refuse


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "gpu-check",
        help="check and time the GPU kernels on this machine's GPU",
        description="Compare the GPU kernels with float64 and time them beside torch's losses.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("refocal-gpu-check.json"), metavar="FILE.json"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check and time the kernels, print the table and return the exit status."""
    from refocal import gpu_check

    reason = gpu_check.why_not()
    if reason is not None:
        return refuse("gpu-check", reason)
    import torch

    report = gpu_check.examine(torch.device("cuda"), "gpu", gpu_check.Sizes())
    gpu_check.write(report, options.out)
    print(gpu_check.table(report))
    print(f"\nReport: {options.out}")
    return 0 if all(row["passed"] for row in report["checks"]) else 1
