"""The files of a comparison: the page, the numbers, the plots."""

from __future__ import annotations

import csv
import io
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from refocal.compare.drawing import standalone
from refocal.compare.folder import write_folder
from refocal.compare.plots import plots
from refocal.compare.recommend import is_overfit
from refocal.compare.results import Estimate, Results


def report_files(results: Results) -> dict[str, str]:
    """Every file of the folder, by relative name."""
    drawn = plots(results)
    return {
        "report.html": html(results, drawn),
        "results.json": json.dumps(results.to_dict(), indent=1, allow_nan=False) + "\n",
        "results.csv": table(results),
        **{f"plots/{name}.svg": standalone(svg) for name, svg in drawn.items()},
    }


def write(results: Results, folder: Path, *, seconds: float) -> None:
    """Write the folder of a comparison.

    Args:
        results: what `run` returned.
        folder: made if need be; an earlier comparison in it is replaced.
        seconds: what the run took. It goes to `run.json` with all that differs between two runs
            with the same results.

    Raises:
        CompareError: the folder holds files of something else, or cannot be written.
    """
    run = {
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("refocal", "torch", "numpy", "scikit-learn")},
    }
    files = report_files(results) | {"run.json": json.dumps(run, indent=1) + "\n"}
    write_folder(folder, files)


def summary(results: Results) -> str:
    """The answer and the figures behind it, for a terminal."""
    width = max(len(loss.name) for loss in results.losses)
    lines = [
        f"{'':{width}}  average precision        ROC AUC  log loss of: sigmoid  posterior   Platt"
    ]
    for loss in results.losses:
        precision = loss.average_precision
        lines.append(
            f"{loss.name:{width}}  {precision.value:.3f} ({precision.low:.3f} to"
            f" {precision.high:.3f})  {loss.roc_auc.value:8.3f}  {loss.raw.log_loss:20.4f}"
            f"  {loss.posterior.log_loss:9.4f}  {loss.platt.log_loss:6.4f}"
        )
    answer = results.recommendation
    text = [answer.headline, *answer.reasons, f"The loss: {answer.call}", answer.probabilities]
    return "\n".join([*lines, "", *text])


def html(results: Results, drawn: dict[str, str]) -> str:
    """The page: one file, no network, no JavaScript."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((files(__package__) / "report.html.j2").read_text("utf-8"))
    return template.render(
        r=results,
        plots={name: Markup(svg) for name, svg in drawn.items()},
        overfit=[
            loss.name for loss in results.losses if is_overfit(loss, results.base_rate_log_loss)
        ],
        fixed=_fixed,
        signed=_signed,
        percent=_percent,
    )


def table(results: Results) -> str:
    """One row a loss."""
    rows = []
    for loss in results.losses:
        row: dict[str, object] = {
            "loss": loss.name,
            "alpha": "" if loss.alpha is None else loss.alpha,
            "gamma": loss.gamma,
            "learning_rate": loss.learning_rate,
            "epochs": loss.epochs,
            "valid_average_precision": loss.valid_average_precision,
        }
        for name in ("average_precision", "roc_auc", "average_precision_gain", "roc_auc_gain"):
            estimate: Estimate = getattr(loss, name)
            row[name] = estimate.value
            row[f"{name}_low"], row[f"{name}_high"] = estimate.low, estimate.high
        for name in ("raw", "posterior", "platt"):
            reading = getattr(loss, name)
            row[f"{name}_log_loss"] = reading.log_loss
            row[f"{name}_mean"] = reading.mean
            row[f"{name}_slope"] = "" if reading.slope is None else reading.slope
        rows.append(row)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _fixed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
