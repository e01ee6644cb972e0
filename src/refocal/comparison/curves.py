"""The picture of the idea: loss and slope against p_t, drawn by the library's own formula."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from refocal.comparison.drawing import COLOURS, DASHES, INK, axes, standalone, style, to_svg
from refocal.losses import sigmoid_focal_loss

GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
_TITLE = "Focal loss and the size of its slope against the probability of the true class"


def focal_svg(gammas: tuple[float, ...] = GAMMAS) -> str:
    """Return loss and slope side by side, as an SVG file."""
    with style():
        figure, (left, right) = axes(9.6, 3.9, columns=2)
        draw_loss(left, gammas)
        draw_slope(right, gammas)
        return standalone(to_svg(figure, name="focal", title=_TITLE))


def draw_loss(plot: Axes, gammas: tuple[float, ...]) -> None:
    """Draw the loss in nats."""
    for index, gamma in enumerate(gammas):
        p, loss, _ = _curve(gamma)
        _line(plot, index, gamma, p, loss)
    plot.set_title("loss")
    plot.set_ylabel("nats")
    _finish(plot, 4.0)


def draw_slope(plot: Axes, gammas: tuple[float, ...]) -> None:
    """Draw the size of the gradient by the logit: the weight of an example in training."""
    for index, gamma in enumerate(gammas):
        p, _, slope = _curve(gamma)
        _line(plot, index, gamma, p, slope)
    plot.set_title("size of the gradient with respect to the logit")
    _finish(plot, 1.5)


def _curve(gamma: float) -> tuple[list[float], list[float], list[float]]:
    """Return p_t, loss and slope for positives, by the public loss and its gradient."""
    p = torch.linspace(0.002, 0.998, 250, dtype=torch.float64)
    logits = torch.logit(p).requires_grad_()
    loss = sigmoid_focal_loss(
        logits, torch.ones_like(logits), alpha=None, gamma=gamma, reduction="none"
    )
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    return p.tolist(), loss.tolist(), gradient.abs().tolist()


def _line(plot: Axes, index: int, gamma: float, x: list[float], y: list[float]) -> None:
    plain = gamma == 0
    plot.plot(
        x,
        y,
        color=INK if plain else COLOURS[(index - 1) % len(COLOURS)],
        linestyle=DASHES[index % len(DASHES)],
        label="γ = 0 (cross-entropy)" if plain else f"γ = {gamma:g}",
    )


def _finish(plot: Axes, top: float) -> None:
    plot.set_xlim(0, 1)
    plot.set_ylim(0, top)
    plot.xaxis.set_major_locator(MultipleLocator(0.2))
    plot.set_xlabel("p$_t$: probability given to the true class")
    plot.legend()
