"""The figures of the documents that are drawn from the formula alone.

python docs/figures.py       writes docs/img/*.svg
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from refocal.comparison.drawing import COLOURS, DASHES, axes, standalone, style, to_svg
from refocal.formula import focal

FOLDER = Path(__file__).parent / "img"


def save(figure: Figure, name: str, title: str, folder: Path = FOLDER) -> None:
    """Write an SVG with colours for light and dark pages."""
    folder.mkdir(parents=True, exist_ok=True)
    svg = standalone(to_svg(figure, name=name, title=title))
    (folder / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")


def at(p: float) -> tuple[float, float]:
    """Margin and exp(-|margin|) of a probability of the true class."""
    s = math.log(p) - math.log1p(-p)
    return s, math.exp(-abs(s))


def loss_and_slope() -> Figure:
    """The loss and the size of its gradient against p_t."""
    figure, (left, right) = axes(9.0, 3.6, columns=2)
    grid = np.linspace(0.002, 0.998, 499)
    for k, gamma in enumerate((0.0, 1.0, 2.0, 5.0)):
        look = {"color": COLOURS[k], "linestyle": DASHES[k]}
        name = "cross-entropy" if gamma == 0 else f"gamma {gamma:g}"
        left.plot(grid, [focal.value(*at(p), gamma) for p in grid], label=name, **look)
        right.plot(grid, [-focal.slope(*at(p), gamma) for p in grid], **look)
    left.set(xlabel="probability of the true class", ylabel="loss (nats)", ylim=(0, 4))
    right.set(xlabel="probability of the true class", ylabel="size of the gradient", ylim=(0, 1.3))
    left.legend()
    return figure


def gamma_to_infinity() -> Figure:
    """The loss against p_t for growing gamma, over a logarithmic p_t."""
    figure, (plot,) = axes(6.4, 3.6)
    grid = np.logspace(-5, -0.01, 400)
    for k, gamma in enumerate((0.0, 2.0, 10.0, 100.0, 1000.0)):
        name = "cross-entropy" if gamma == 0 else f"gamma {gamma:g}"
        values = [focal.value(*at(p), gamma) for p in grid]
        plot.plot(grid, values, label=name, color=COLOURS[k], linestyle=DASHES[k])
    plot.set(
        xscale="log", xlabel="probability of the true class", ylabel="loss (nats)", ylim=(0, 12)
    )
    plot.legend()
    return figure


def lost_digits() -> Figure:
    """Relative error of the loss in float32, written plainly and as the library has it."""
    figure, (plot,) = axes(6.4, 3.6)
    margins = np.linspace(0.0, 20.0, 801)
    exact = np.array([focal.value(s, math.exp(-s), 2.0) for s in margins])
    narrow = margins.astype(np.float32)
    x = np.exp(-narrow)
    ce, p = np.log1p(x), 1 / (1 + x)
    plain = (1 - p) ** 2 * ce
    steady = (x / (1 + x)) ** 2 * ce
    exact = np.array([focal.value(float(s), math.exp(-float(s)), 2.0) for s in narrow])
    for k, (values, name) in enumerate(((plain, "1 - p_t"), (steady, "1 - p_t formed directly"))):
        error = np.abs(values / exact - 1)
        plot.plot(margins, np.maximum(error, 1e-9), color=COLOURS[1 - k], label=name)
    plot.set(yscale="log", xlabel="margin", ylabel="relative error of the loss", ylim=(1e-9, 3))
    plot.legend()
    return figure


FIGURES = {
    "loss-and-slope": (loss_and_slope, "Loss and gradient against the probability of the class"),
    "gamma-to-infinity": (gamma_to_infinity, "Loss for gamma from 0 to 1000"),
    "lost-digits": (lost_digits, "Relative error in float32 against the margin"),
}


def main() -> None:
    """Draw all of them."""
    for name, (draw, title) in FIGURES.items():
        with style():
            save(draw(), name, title)


if __name__ == "__main__":
    main()
