"""The files of a comparison: the page, the numbers, the plots."""

from __future__ import annotations

import csv
import io
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from refocal.comparison.drawing import standalone
from refocal.comparison.folder import RUN, WINNER, write_files
from refocal.comparison.report.page import html
from refocal.comparison.report.plots import plots
from refocal.comparison.report.recommend import picks
from refocal.comparison.report.winner import script, why_not
from refocal.comparison.report.wording import fixed
from refocal.comparison.results import SCHEMA, Results

SHOWN = ("raw", "posterior", "platt")


def report_files(results: Results) -> dict[str, str]:
    """Every file of the folder, by relative name."""
    drawn = plots(results)
    return {
        "report.html": html(results, drawn),
        "results.json": json.dumps(results.to_dict(), indent=1, allow_nan=False) + "\n",
        "results.csv": table(results),
        **({} if why_not(results) else {WINNER: script(results)}),
        **{f"plots/{name}.svg": standalone(svg) for name, svg in drawn.items()},
    }


def write(results: Results, folder: Path, *, seconds: float) -> None:
    """Write the files of a comparison into its folder.

    Args:
        results: what `run` returned.
        folder: as `workplace` gives it; an earlier report in it is replaced.
        seconds: what the run took. It goes to `run.json` with all that differs between two runs
            with the same results.

    Raises:
        CompareError: the folder cannot be written.
    """
    run = {
        "schema": SCHEMA,
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("refocal", "torch", "numpy", "scikit-learn")},
    }
    # run.json last: without it the run counts as unfinished
    write_files(folder, report_files(results) | {RUN: json.dumps(run, indent=1) + "\n"})


def summary(results: Results) -> str:
    """The answer and the figures behind it, for a terminal."""
    rows = [["", "", "average precision", "ROC AUC", "log loss of:  raw", "posterior", "Platt"]]
    for loss in results.losses:
        precision, area = loss.figures["average_precision"], loss.figures["roc_auc"]
        losses = [fixed(loss.readings[name].log_loss.value, 4) for name in SHOWN]
        interval = f"{fixed(precision.value)} ({fixed(precision.low)} to {fixed(precision.high)})"
        rows.append([loss.model, loss.name, interval, fixed(area.value), *losses])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    answer = results.recommendation
    text = [answer.headline, answer.sure, *answer.reasons, *answer.more]
    text += [f"The loss: {answer.call}", answer.probabilities]
    picked = [f"{loss.title}: {picks(loss)}" for loss in results.losses if loss.role != "baseline"]
    return "\n".join([*lines, "", *picked, "", *text])


def table(results: Results) -> str:
    """One row a loss."""
    rows = []
    for loss in results.losses:
        row: dict[str, object] = {
            "model": loss.model,
            "family": loss.name,
            "loss": loss.loss,
            "alpha": "" if loss.alpha is None else loss.alpha,
            "gamma": loss.gamma,
            "link": loss.link,
            "picked": "; ".join(f"{name}, {count}" for name, count in loss.picked.items()),
            "steps": " ".join(str(pick.steps) for pick in loss.picks),
            "valid_average_precision": loss.valid_average_precision,
        }
        of_readings = {
            f"{name}_{what}": getattr(reading, what)
            for name, reading in loss.readings.items()
            for what in ("mean", "slope")
        }
        for suffix, estimates in (("", loss.figures), ("_gain", loss.gains), ("", of_readings)):
            for name, estimate in estimates.items():
                row[f"{name}{suffix}"] = estimate.value
                row[f"{name}{suffix}_low"] = estimate.low
                row[f"{name}{suffix}_high"] = estimate.high
        rows.append(row)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
