"""Matplotlib figures as SVG that takes the page's text colour, in the report and as a file."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Written to the file as `currentColor`: lines and letters follow light and dark pages.
INK = "#010203"
# Contrast of at least 3 : 1 with white and with the report's dark background.
COLOURS = ("#2f7fd6", "#d0700f", "#2a9755", "#d64550", "#9161d8", "#128f99")
DASHES: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
_STYLE = {
    "svg.fonttype": "none",  # letters stay letters: small, selectable, readable aloud
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_PAGE = (
    "<style>svg{color:#1c2026;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e4e7ea;background:#14171b}}</style>"
)


@contextmanager
def style(size: float = 10) -> Iterator[None]:
    """Set the look of every figure; open around drawing and `to_svg`.

    Args:
        size: of the letters, in points.
    """
    sizes = {"font.size": size, "axes.titlesize": size + 1, "legend.fontsize": size - 1}
    with mpl.rc_context(_STYLE | sizes):
        yield


def axes(width: float = 5.2, height: float = 3.6, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure that leaves pyplot's global state alone."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(1, columns, squeeze=False)
    return figure, list(grid[0])


def to_svg(figure: Figure, *, name: str, title: str) -> str:
    """Return the figure as an SVG element; the same figure gives the same text.

    Args:
        figure: what to write.
        name: prefix of the ids in it, because the ids of a page must differ.
        title: what the picture shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    start, rest = svg.split(">", 1)
    return f'{start} role="img" aria-label="{escape(title)}">{rest}'


def standalone(svg: str) -> str:
    """Return an SVG element as a file of its own, with colours for light and dark."""
    start, rest = svg.split(">", 1)
    return f"{start}>{_PAGE}{rest}"
