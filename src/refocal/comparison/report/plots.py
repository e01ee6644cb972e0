"""The report's plots, drawn from the results alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from refocal.comparison.curves import draw_loss, draw_slope
from refocal.comparison.data.table import Floats
from refocal.comparison.drawing import COLOURS, DASHES, INK, axes, style, to_svg
from refocal.comparison.results import LossResult, Probabilities, Results


def plots(results: Results) -> dict[str, str]:
    """Every plot of the report as an SVG element, by name."""
    shown = results.of_model(results.recommendation.model)
    gammas = tuple(sorted({loss.gamma for loss in shown}))
    bars = 0.42 * len(shown)
    with style():
        return {
            "gain": _plot(
                "gain",
                "Difference in average precision from cross-entropy, with intervals",
                lambda plot: _gain(plot, results),
                height=1.3 + 0.42 * len(results.losses),
            ),
            "precision-recall": _plot(
                "precision-recall",
                "Precision against recall on test data",
                lambda plot: _precision_recall(plot, results),
            ),
            "reliability-raw": _plot(
                "reliability-raw",
                "Observed rate against predicted probability, sigmoid of the logit",
                lambda plot: _reliability(
                    plot, results, "raw logit", lambda loss: loss.readings["raw"]
                ),
            ),
            "reliability-posterior": _plot(
                "reliability-posterior",
                "Observed rate against predicted probability, closed-form posterior",
                lambda plot: _reliability(
                    plot, results, "closed-form posterior", lambda loss: loss.readings["posterior"]
                ),
            ),
            "gradient-start": _plot(
                "gradient-start",
                "Share of the gradient by kind of example, on cross-entropy's logits",
                lambda plot: _gradient(plot, results, start=True),
                height=1.9 + bars,
            ),
            "gradient-fitted": _plot(
                "gradient-fitted",
                "Share of the gradient by kind of example, on each loss's own logits",
                lambda plot: _gradient(plot, results, start=False),
                height=1.9 + bars,
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


def _plot(name: str, title: str, draw: Callable[[Axes], None], height: float = 3.9) -> str:
    figure, (plot,) = axes(height=height)
    draw(plot)
    return to_svg(figure, name=name, title=title)


def _colour(index: int) -> str:
    """Cross-entropy comes first and is drawn in the colour of the text."""
    return INK if index == 0 else COLOURS[(index - 1) % len(COLOURS)]


def _gain(plot: Axes, results: Results) -> None:
    names: list[str] = []
    for model in results.models:
        for index, loss in enumerate(results.of_model(model)):
            gain = loss.gains["average_precision"]
            if index == 0 or gain.value is None or gain.low is None or gain.high is None:
                continue
            names.append(f"{model}:\n{loss.name}" if len(results.models) > 1 else loss.name)
            row = [len(names)] * 2
            plot.plot([gain.low, gain.high], row, color=_colour(index), linewidth=3)
            plot.plot([gain.value], row[:1], "o", color=_colour(index), markersize=8)
    plot.axvline(0, color=INK, linewidth=1.2)
    plot.set_yticks(range(1, len(names) + 1), names)
    plot.invert_yaxis()
    plot.margins(y=0.25)
    plot.grid(visible=False, axis="y")
    plot.set_title("gain over cross-entropy")
    plot.set_xlabel("average precision, 95 % interval")


def _precision_recall(plot: Axes, results: Results) -> None:
    test = results.data.parts[-1]
    shown = results.of_model(results.recommendation.model)
    for index, loss in enumerate(shown):
        curve = loss.precision_recall
        plot.plot(
            curve.x, curve.y, color=_colour(index), linestyle=DASHES[index % 6], label=loss.name
        )
    base_rate = sum(test.positives) / (test.rows * len(test.positives))
    plot.axhline(base_rate, color=INK, linewidth=0.8, alpha=0.6, label="base rate")
    plot.set_xlim(0, 1)
    # The first few rows make any precision from 0 to 1; the scale is set by the rest.
    settled = [y for loss in shown for x, y in _points(loss) if x > 0.02]
    plot.set_ylim(0, min(1.02, 1.1 * max(settled, default=1.0)))
    plot.legend()
    plot.set_title("precision and recall on test data")
    plot.set_xlabel("recall: share of the positives found")
    plot.set_ylabel("precision")


def _points(loss: LossResult) -> list[tuple[float, float]]:
    return list(zip(loss.precision_recall.x, loss.precision_recall.y, strict=True))


def _reliability(
    plot: Axes, results: Results, name: str, reading: Callable[[LossResult], Probabilities]
) -> None:
    shown = results.of_model(results.recommendation.model)
    for index, loss in enumerate(shown):
        curve = reading(loss).reliability
        plot.plot(
            curve.x,
            curve.y,
            color=_colour(index),
            linestyle=DASHES[index % 6],
            marker="o",
            markersize=4,
            label=loss.name,
        )
    plot.axline((0, 0), (1, 1), color=INK, linewidth=0.8, alpha=0.6)
    # The square root opens the end where rare events live and, unlike a logarithm, has a place for
    # a rate of 0.
    largest = max(max(reading(loss).reliability.x) for loss in shown)
    observed = max(max(reading(loss).reliability.y) for loss in shown)
    ticks = np.array([0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
    top = min(1.0, 1.05 * max(largest, observed))
    for axis, limit in ((plot.set_xscale, plot.set_xlim), (plot.set_yscale, plot.set_ylim)):
        axis("function", functions=(_root, np.square))
        limit(0, top)
    for tick_axis in (plot.xaxis, plot.yaxis):
        tick_axis.set_ticks(ticks[ticks <= top])
        tick_axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    plot.legend()
    plot.set_title(name)
    plot.set_xlabel("mean predicted probability of a bin")
    plot.set_ylabel("observed rate")


def _root(values: Floats) -> Floats:
    """Square root with a value below 0 too, where Matplotlib tries it."""
    roots: Floats = np.sign(values) * np.sqrt(np.abs(values))
    return roots


def _gradient(plot: Axes, results: Results, *, start: bool) -> None:
    losses = results.of_model(results.recommendation.model)
    names = [loss.name for loss in losses]
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
    plot.legend(loc="upper center", bbox_to_anchor=(0.4, -0.28), ncols=2)
