"""The report's page: one file, no network, readable without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from refocal.comparison.report.recommend import is_overfit, picks, signed
from refocal.comparison.results import Results


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
    several = len(results.models) > 1
    return environment.get_template("report.html.j2").render(
        r=results,
        e=results.explore,
        embedded=_embedded(results.explore),
        explore_top=_top,
        css=Markup(_source("report.css")),
        js=Markup(_source("report.js")),
        plots={name: Markup(svg) for name, svg in drawn.items()},
        overfit=[
            loss.title if several else loss.name
            for loss in results.losses
            if is_overfit(loss, results.data.base_rate_log_loss)
        ],
        fixed=fixed,
        signed=_signed,
        percent=_percent,
        listed=_listed,
        picks=picks,
    )


def fixed(value: float | None, digits: int = 3) -> str:
    """A number for a table."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _source(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


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


def _signed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else signed(value, digits)


def _percent(value: float, digits: int | None = None) -> str:
    if digits is None:
        digits = 2 if value < 0.0995 else 0
    return f"{100 * value:.{digits}f} %"


def _listed(numbers: Sequence[float]) -> str:
    """Numbers in their order; a single one where all are the same."""
    texts = [f"{number:g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
