"""The command line: ``refocal compare``, ``refocal plot`` and ``refocal gpu-check``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from refocal import __version__


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
    options = _parser().parse_args(argv)
    try:
        status: int = options.run(options)
    except ImportError as error:
        if "pip install 'refocal[" not in str(error):
            raise
        return _refuse(options.command, error)
    except KeyboardInterrupt:
        print(f"refocal {options.command}: stopped, nothing was written.", file=sys.stderr)
        return 130
    return status


def _parser() -> _Parser:
    parser = _Parser(prog="refocal", description="Focal loss: is it worth it on your data?")
    parser.add_argument("--version", action="version", version=f"refocal {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    compare = commands.add_parser(
        "compare",
        help="train with cross-entropy and with focal losses, and say which to use",
        description="Train the same small network with cross-entropy, balanced cross-entropy and"
        " focal losses on a table, and write a report that recommends one. Without FILE: 336,776"
        " flights, 2.45 % of them cancelled, in about a minute.",
    )
    compare.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a CSV file")
    compare.add_argument("--target", metavar="COLUMN", help="column of FILE to predict")
    compare.add_argument(
        "--positive", metavar="VALUE", help="its positive value (default: the rarer of two)"
    )
    compare.add_argument(
        "--model",
        type=_names,
        action="extend",
        metavar="NAME[,NAME]",
        help="mlp (default), logistic, xgboost, lightgbm, catboost; several by commas",
    )
    compare.add_argument("--seed", type=_seed, default=0, metavar="N", help="default: 0")
    compare.add_argument(
        "--out",
        type=Path,
        default=Path("refocal-compare"),
        metavar="DIR",
        help="folder of the report (default: refocal-compare)",
    )
    compare.add_argument("--quick", action="store_true", help="a first look with little training")
    compare.set_defaults(run=_compare)

    plot = commands.add_parser(
        "plot",
        help="draw focal loss and its slope as an SVG file",
        description="Draw loss and slope against the probability of the true class.",
    )
    plot.add_argument("--out", type=Path, default=Path("focal.svg"), metavar="FILE.svg")
    plot.set_defaults(run=_plot)

    check = commands.add_parser(
        "gpu-check",
        help="check and time the GPU kernels on this machine's GPU",
        description="Compare the GPU kernels with float64 and time them beside torch's losses.",
    )
    check.add_argument(
        "--out", type=Path, default=Path("refocal-gpu-check.json"), metavar="FILE.json"
    )
    check.set_defaults(run=_gpu_check)
    return parser


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**32:  # what NumPy takes
        raise ValueError
    return seed


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


_seed.__name__ = "seed"  # argparse says "invalid seed value"


def _compare(options: argparse.Namespace) -> int:
    if options.file is None and (options.target or options.positive):
        return _refuse("compare", "--target and --positive belong to a FILE, and there is none.")
    if options.file is not None and options.target is None:
        return _refuse(
            "compare", f"which column of {options.file} to predict? Add --target COLUMN."
        )

    from refocal import compare

    started = time.monotonic()
    try:
        models = compare.by_name(options.model or ["mlp"])
        compare.check_folder(options.out)
        if options.file is None:
            table = compare.flights_table()
        else:
            table = compare.read_table(
                options.file, target=options.target, positive=options.positive
            )
        results = compare.run(table, models, compare.Plan(seed=options.seed, quick=options.quick))
        compare.write(results, options.out, seconds=time.monotonic() - started)
    except compare.CompareError as error:
        return _refuse("compare", error)
    print(compare.summary(results))
    print(f"\nReport: {options.out / 'report.html'}")
    return 0


def _plot(options: argparse.Namespace) -> int:
    from refocal import compare

    svg = compare.focal_svg()
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(svg, encoding="utf-8")
    except OSError as error:
        return _refuse("plot", f"{options.out} cannot be written: {error.strerror or error}.")
    print(options.out)
    return 0


def _gpu_check(options: argparse.Namespace) -> int:
    from refocal import gpu_check

    reason = gpu_check.why_not()
    if reason is not None:
        return _refuse("gpu-check", reason)
    import torch

    report = gpu_check.examine(torch.device("cuda"), "gpu", gpu_check.Sizes())
    gpu_check.write(report, options.out)
    print(gpu_check.table(report))
    print(f"\nReport: {options.out}")
    return 0 if all(row["passed"] for row in report["checks"]) else 1


def _refuse(command: str, reason: object) -> int:
    print(f"refocal {command}: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
