"""The report's plots, drawn from the results alone.

They are as wide as a phone, so that their letters are read there and stand beside each other on a
wide screen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from refocal.comparison.curves import draw_loss, draw_slope
from refocal.comparison.data.table import Floats
from refocal.comparison.drawing import COLOURS, DASHES, INK, axes, style, to_svg
from refocal.comparison.report.recommend import about_focal
from refocal.comparison.results import Curve, Estimate, LossResult, Question, Results

WIDTH, HEIGHT = 4.8, 3.9
_PALE = 0.13  # of the band that does not matter


def plots(results: Results) -> dict[str, str]:
    """Every plot of the report as an SVG element, by name."""
    shown = results.of_model(results.recommendation.model)
    gammas = tuple(sorted({loss.gamma for loss in shown}))
    bars = 0.42 * len(shown)
    links = " or ".join(sorted({loss.link for loss in shown}))
    with style(size=11):
        drawn = {
            "gain": _plot(
                "gain",
                "Difference in average precision from cross-entropy, with its interval",
                lambda plot: _gain(plot, results),
                height=1.1 + 0.5 * len(shown),
                width=4.1,
            ),
            "precision-recall": _plot(
                "precision-recall",
                "Precision against recall on test data",
                lambda plot: _precision_recall(plot, results),
            ),
            "reliability-raw": _plot(
                "reliability-raw",
                f"Observed rate against predicted probability, plain {links} of the logits",
                lambda plot: _reliability(plot, shown, f"plain {links}", "raw"),
            ),
            "reliability-posterior": _plot(
                "reliability-posterior",
                "Observed rate against predicted probability, closed-form posterior",
                lambda plot: _reliability(plot, shown, "closed form", "posterior"),
            ),
            "gradient-start": _plot(
                "gradient-start",
                "Share of the gradient by kind of example, on cross-entropy's logits",
                lambda plot: _gradient(plot, shown, start=True),
                height=2.3 + bars,
            ),
            "gradient-fitted": _plot(
                "gradient-fitted",
                "Share of the gradient by kind of example, on each loss's own logits",
                lambda plot: _gradient(plot, shown, start=False),
                height=2.3 + bars,
            ),
            "loss": _plot(
                "loss",
                "Loss against the probability of the true class",
                lambda plot: draw_loss(plot, gammas),
            ),
            "slope": _plot(
                "slope",
                "Size of the slope against the probability of the true class",
                lambda plot: draw_slope(plot, gammas),
            ),
        }
        if results.protocol.repeats > 1:
            drawn["splits"] = _plot(
                "splits",
                "Difference in average precision from cross-entropy on each split",
                lambda plot: _splits(plot, results),
            )
    return drawn


def _plot(
    name: str,
    title: str,
    draw: Callable[[Axes], None],
    height: float = HEIGHT,
    width: float = WIDTH,
) -> str:
    figure, (plot,) = axes(width, height)
    draw(plot)
    return to_svg(figure, name=name, title=title)


def _colour(index: int) -> str:
    """Cross-entropy comes first and is drawn in the colour of the text."""
    return INK if index == 0 else COLOURS[(index - 1) % len(COLOURS)]


# --- the difference ------------------------------------------------------------------------------


def _gain(plot: Axes, results: Results) -> None:
    """The intervals of one model against 0 and the margin: the picture of the answer."""
    asked = _asked(results)
    margin = about_focal(asked).margin
    rows: list[tuple[str, Estimate, str]] = [
        (loss.name, found, _colour(index))
        for index, loss in enumerate(results.of_model(results.recommendation.model))
        if index > 0
        for found in (loss.gains["average_precision"],)
    ]
    _matters(plot, margin)
    for row, (name, found, colour) in enumerate(rows):
        note = name
        if found.value is None or found.low is None or found.high is None:
            note += ": undefined"
        else:
            ends = [found.low, found.high]
            plot.plot(ends, [row, row], color=colour, linewidth=4, solid_capstyle="round")
            plot.plot([found.value], [row], "o", color=colour, markersize=10)
        plot.annotate(
            note,
            (0.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(2, 9),
            textcoords="offset points",
            color=INK,
            fontweight="bold",
        )
    _widen(plot, [found for _, found, _ in rows], margin)
    plot.set_ylim(len(rows) - 0.5, -0.85)
    plot.set_yticks([])
    plot.spines["left"].set_visible(False)
    _directions(plot, "worse than cross-entropy", "better")
    plot.set_xlabel("difference in average precision")


def _splits(plot: Axes, results: Results) -> None:
    """What each split says of focal loss, and what they say together."""
    question = about_focal(_asked(results))
    found = question.difference
    _matters(plot, question.margin)
    if found.value is not None and found.low is not None and found.high is not None:
        plot.axvspan(found.low, found.high, color=COLOURS[0], alpha=0.22, linewidth=0)
        plot.axvline(found.value, color=COLOURS[0], linewidth=1.5)
    known = [(x, k) for k, x in enumerate(question.by_split, start=1) if x is not None]
    plot.plot([x for x, _ in known], [k for _, k in known], "o", color=COLOURS[0], markersize=9)
    _widen(plot, [found, *(Estimate(x, x, x) for x, _ in known)], question.margin)
    plot.set_ylim(len(question.by_split) + 0.6, 0.4)
    plot.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    plot.grid(visible=False, axis="y")
    _directions(plot, "cross-entropy is better", "focal loss is better")
    plot.set_xlabel("difference in average precision")
    plot.set_ylabel("split")


def _asked(results: Results) -> list[Question]:
    model = results.recommendation.model
    return [one for one in results.questions if one.model == model]


def _matters(plot: Axes, margin: float) -> None:
    """0, and around it the band of differences that are too small to matter."""
    plot.axvspan(-margin, margin, color=INK, alpha=_PALE, linewidth=0)
    plot.axvline(0, color=INK, linewidth=1.2)


def _widen(plot: Axes, found: list[Estimate], margin: float) -> None:
    """0 in the middle, the margin and every interval in sight."""
    ends = [abs(x) for one in found for x in (one.value, one.low, one.high) if x is not None]
    reach = 1.12 * max([1.6 * margin, *ends])
    plot.set_xlim(-reach, reach)
    plot.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))


def _directions(plot: Axes, left: str, right: str) -> None:
    for x, side, text in ((0.0, "left", f"← {left}"), (1.0, "right", f"{right} →")):
        plot.text(x, 1.02, text, transform=plot.transAxes, ha=side, va="bottom", fontsize=10)


# --- ranking and probabilities -------------------------------------------------------------------


def _precision_recall(plot: Axes, results: Results) -> None:
    shown = results.of_model(results.recommendation.model)
    for index, loss in enumerate(shown):
        curve = loss.precision_recall
        plot.plot(
            curve.x, curve.y, color=_colour(index), linestyle=DASHES[index % 6], label=loss.name
        )
    rates = results.data.parts[-1].rates
    base_rate = sum(rates) / len(rates)
    plot.axhline(base_rate, color=INK, linewidth=0.8, alpha=0.6, label="guessing")
    plot.set_xlim(0, 1)
    # The first few rows make any precision from 0 to 1; the scale is set by the rest.
    settled = [y for loss in shown for x, y in _points(loss.precision_recall) if x > 0.02]
    plot.set_ylim(0, min(1.02, 1.1 * max(settled, default=1.0)))
    for axis in (plot.xaxis, plot.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_major_locator(MaxNLocator(5))
    plot.legend()
    plot.set_title("precision and recall")
    plot.set_xlabel("recall: share of the positives found")
    plot.set_ylabel("precision: share of hits")


def _points(curve: Curve) -> list[tuple[float, float]]:
    return list(zip(curve.x, curve.y, strict=True))


def _reliability(plot: Axes, shown: list[LossResult], name: str, reading: str) -> None:
    curves = [loss.readings[reading].reliability for loss in shown]
    for index, (loss, curve) in enumerate(zip(shown, curves, strict=True)):
        plot.plot(
            curve.x,
            curve.y,
            color=_colour(index),
            linestyle=DASHES[index % 6],
            marker="o",
            markersize=5,
            label=loss.name,
        )
    plot.axline((0, 0), (1, 1), color=INK, linewidth=0.8, alpha=0.6)
    # The square root opens the end where rare events live and, unlike a logarithm, has a place for
    # a rate of 0.
    ticks = np.array([0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0])
    top = min(1.0, 1.05 * max(max(max(curve.x), max(curve.y)) for curve in curves))
    for axis, limit in ((plot.set_xscale, plot.set_xlim), (plot.set_yscale, plot.set_ylim)):
        axis("function", functions=(_root, np.square))
        limit(0, top)
    for tick_axis in (plot.xaxis, plot.yaxis):
        tick_axis.set_ticks(ticks[ticks <= top])
        tick_axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    plot.legend()
    plot.set_title(name)
    plot.set_xlabel("predicted: mean of a bin")
    plot.set_ylabel("observed rate")


def _root(values: Floats) -> Floats:
    """Square root with a value below 0 too, where Matplotlib tries it."""
    roots: Floats = np.sign(values) * np.sqrt(np.abs(values))
    return roots


# --- the gradient --------------------------------------------------------------------------------


def _gradient(plot: Axes, losses: list[LossResult], *, start: bool) -> None:
    names = [loss.name.replace(" ", "\n", 1) for loss in losses]
    colours = (COLOURS[0], COLOURS[5], COLOURS[1], COLOURS[3])
    left = np.zeros(len(names))
    for kind, colour in enumerate(colours):
        shares = [loss.gradient[kind] for loss in losses]
        widths = np.array([share.start if start else share.fitted for share in shares])
        plot.barh(names, widths, left=left, color=colour, label=shares[0].kind, height=0.7)
        left = left + widths
    plot.invert_yaxis()
    plot.set_xlim(0, 1)
    plot.grid(visible=False, axis="y")
    plot.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    plot.set_title("at the start: all on the same logits" if start else "when fitted: own logits")
    plot.set_xlabel("share of the total gradient")
    # below the whole figure: a kind's name is as long as the axes are wide
    plot.figure.legend(*plot.get_legend_handles_labels(), loc="outside lower left", ncols=1)
