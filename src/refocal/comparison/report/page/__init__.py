"""The report's page: one file, no network, readable without JavaScript."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from refocal.comparison.report import rows, wording
from refocal.comparison.report.recommend import about_focal, is_overfit, picks, takes_line
from refocal.comparison.report.winner import why_not
from refocal.comparison.results import Results

# Up to so many classes a matrix of them is read; beyond, what each is mostly taken for.
_MATRIX = 6
_OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*( \d+)?")


def html(results: Results, drawn: dict[str, str]) -> str:
    """The page.

    Args:
        results: every string in it is escaped.
        drawn: SVG elements by name.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_source),
    )
    environment.filters["unbroken"] = _unbroken
    answer = results.recommendation
    return environment.get_template("report.html.j2").render(
        r=results,
        first=about_focal([one for one in results.questions if one.model == answer.model]),
        rows=rows,
        families=rows.families(results),
        matrix=_MATRIX,
        e=results.explore,
        embedded=_embedded(results.explore),
        explore_top=_top,
        css=Markup(_source("report.css")),
        js=Markup(_source("report.js")),
        plots={name: Markup(svg) for name, svg in drawn.items()},
        overfit=[
            loss.title if len(results.models) > 1 else loss.name
            for loss in results.losses
            if is_overfit(loss, results.data.base_rate_log_loss)
        ],
        line=takes_line(results.chosen(), results.data.base_rate_log_loss),
        picks=picks,
        no_winner=why_not(results),
        w=wording,
    )


def _source(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


def _unbroken(text: str) -> Markup:
    """A text whose options of the command no line breaks in two: hyphens are where lines break."""
    return Markup(_OPTION.sub(r'<span class="whole">\g<0></span>', str(escape(text))))


def _embedded(data: Any) -> Markup:
    """JSON inside a script element, which no string in it can close."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def _top(explore: dict[str, Any]) -> float:
    """Where the axes of the reliability end: nothing any gamma says lies beyond."""
    said: list[float] = [p for by_gamma in explore["said"] for row in by_gamma for p in row]
    observed: list[float] = explore["observed"]
    return min(1.0, 1.05 * max(*said, *observed))
