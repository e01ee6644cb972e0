"""``refocal compare``: train with each loss, and say which to use."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from refocal.commands import library, nothing, refuse, types

FOLDER = Path("refocal-compare")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="train with cross-entropy and with focal losses, and say which to use",
        description="Train models with cross-entropy, balanced cross-entropy and focal losses on a"
        " table, and write a report that recommends one. Without FILE: 336,776 flights, 2.45 % of"
        " them cancelled, in about a minute and a half on two cores.",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="CSV (any separator and encoding), Excel, Parquet or Arrow; or a folder of Parquet",
    )
    data.add_argument(
        "--target", metavar="COLUMN", help="column of FILE to predict; several by commas"
    )
    data.add_argument(
        "--positive",
        metavar="VALUE",
        help="its positive value, against the rest (default: the rarer of two; more are classes)",
    )
    data.add_argument("--group", metavar="COLUMN", help="rows with the same value stay together")
    data.add_argument("--time", metavar="COLUMN", help="train on the past, test on what follows")
    data.add_argument(
        "--drop",
        type=types.names,
        action="extend",
        default=[],
        metavar="COLUMN[,COLUMN]",
        help="leave columns out",
    )
    data.add_argument(
        "--rows",
        type=types.count,
        metavar="N",
        help="read no more than N rows: the rarer classes whole and a share of the others (default:"
        " all; a million of a CSV or Parquet file that memory is too small for)",
    )
    work = parser.add_argument_group("work")
    work.add_argument(
        "--model",
        type=types.names,
        action="extend",
        metavar="NAME[,NAME]",
        help="mlp (default), logistic, xgboost, lightgbm, catboost",
    )
    work.add_argument(
        "--repeats",
        type=types.count,
        metavar="N",
        help="splits (default: 5, which test on every row; with 1 no verdict is firm)",
    )
    work.add_argument(
        "--epochs", type=types.count, metavar="N", help="of a network (default: 10 or 30)"
    )
    work.add_argument("--seed", type=types.seed, default=0, metavar="N", help="default: 0")
    work.add_argument("--quick", action="store_true", help="a first look with little training")
    work.add_argument(
        "--trials",
        type=types.count,
        default=0,
        metavar="N",
        help="search alpha, gamma and the settings, N trials for each family on each split",
    )
    work.add_argument(
        "--storage",
        metavar="URL",
        help="share the search between machines: sqlite:///FILE, postgresql://..., journal:FILE,"
        " grpc://HOST:PORT (default: a file in the output folder)",
    )
    work.add_argument(
        "--smote",
        action="store_true",
        help="let synthetic rows of the rarer classes (SMOTE) compete among the other remedies",
    )
    work.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="train on the workers of a Dask scheduler: tcp://HOST:PORT",
    )
    points = parser.add_argument_group("decisions")
    points.add_argument(
        "--cost-fn",
        type=types.cost,
        default=10.0,
        metavar="COST",
        help="cost of a missed positive, in false alarms (default: 10)",
    )
    points.add_argument(
        "--at-precision", type=types.share, default=0.5, metavar="P", help="default: 0.5"
    )
    points.add_argument(
        "--at-recall", type=types.share, default=0.8, metavar="R", help="default: 0.8"
    )
    points.add_argument(
        "--margin",
        type=types.share,
        metavar="M",
        help="smallest difference in average precision worth having (default: 5 %% of what there is"
        " to gain or to lose)",
    )
    points.add_argument(
        "--top",
        type=types.count,
        metavar="K",
        help="rows looked at (default: as many as positives)",
    )
    out = parser.add_argument_group("output")
    out.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of the report (default: {FOLDER}, {FOLDER}-2, ...: a new one for each run;"
        " with --resume or --force the last)",
    )
    again = out.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="continue or extend what is in the folder"
    )
    again.add_argument("--force", action="store_true", help="replace what is in the folder")
    parser.set_defaults(run=run, left=left)


def run(options: argparse.Namespace) -> int:
    """Compare, print the summary and return the exit status."""
    wrong = _misused(options)
    if wrong is not None:
        return refuse("compare", wrong)

    started = time.monotonic()
    again = {"resume": options.resume, "force": options.force}
    with library() as comparison:
        out = options.out = options.out or comparison.free_folder(FOLDER, last=any(again.values()))
        try:
            names = options.model or ["mlp"]
            comparison.check_names(names)
            comparison.check_folder(out, **again)
            table = _table(comparison, options)
            models = comparison.by_name(names)
            with comparison.workplace(out, **again) as folder:
                results = comparison.run(table, models, _plan(comparison, options), folder=folder)
                comparison.write(results, folder, seconds=time.monotonic() - started)
            print(_warnings(results) + comparison.summary(results))
        except comparison.CompareError as error:
            return refuse("compare", error)
    print(f"\nReport: {out / 'report.html'}")
    return 0


def left(options: argparse.Namespace) -> str:
    """Say what an interrupt left: nothing, or trainings to go on from."""
    if options.out is None or not (options.out / "fits").is_dir():
        return nothing(options)
    return f"continue it with --resume --out {shlex.quote(str(options.out))}"


def _warnings(results: Any) -> str:
    """Write what a reader must know before the answer, one paragraph a finding."""
    return "".join(
        f"{finding.severity.capitalize()}: {finding.message} {finding.advice}\n\n"
        for finding in results.data.findings
        if finding.severity != "note"
    )


def _misused(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the options that no file is needed to see."""
    if options.file is None:
        for name in ("target", "positive", "group", "time", "drop", "rows"):
            if getattr(options, name):
                return f"--{name} belongs to a FILE, and there is none."
    elif options.target is None:
        return f"which column of {options.file} to predict? Add --target COLUMN."
    if options.storage is not None and not options.trials:
        return "--storage belongs to a search: add --trials N."
    return None


def _table(comparison: ModuleType, options: argparse.Namespace) -> Any:
    if options.file is None:
        return comparison.flights_table()
    return comparison.read_table(
        options.file,
        target=options.target,
        positive=options.positive,
        groups=options.group,
        time_order=options.time,
        drop=options.drop,
        rows=options.rows,
    )


def _plan(comparison: ModuleType, options: argparse.Namespace) -> Any:
    return comparison.Plan(
        seed=options.seed,
        quick=options.quick,
        repeats=options.repeats,
        epochs=options.epochs,
        margin=options.margin,
        trials=options.trials,
        storage=options.storage,
        smote=options.smote,
        cluster=options.cluster,
        costs=comparison.Costs(
            miss=options.cost_fn,
            precision=options.at_precision,
            recall=options.at_recall,
            top=options.top,
        ),
    )
