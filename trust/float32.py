"""Float32 results beside exact ones, in units in the last place (ulp)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

import refocal
from trust.reference import margin, value_and_slope

SMALLEST_NORMAL = torch.finfo(torch.float32).tiny
SMALLEST = 2.0**-149


class Worst(NamedTuple):
    """The largest errors of a sweep, and where they are.

    Attributes:
        ulp: largest error in ulp, among exact results that are normal numbers.
        logit: where.
        beyond_one: how many of these are off by more than 1 ulp.
        tiny: largest error below that, in units of the smallest float, 2**-149.
        tiny_logit: where.
        wrong: results that are NaN or infinite.
    """

    ulp: float = 0.0
    logit: float = 0.0
    beyond_one: int = 0
    tiny: float = 0.0
    tiny_logit: float = 0.0
    wrong: int = 0

    def joined(self, other: Worst) -> Worst:
        """Of both sweeps together."""
        ulp = max((self.ulp, self.logit), (other.ulp, other.logit))
        tiny = max((self.tiny, self.tiny_logit), (other.tiny, other.tiny_logit))
        beyond = self.beyond_one + other.beyond_one
        return Worst(*ulp, beyond, *tiny, self.wrong + other.wrong)


class Key(NamedTuple):
    """What a worst error belongs to."""

    implementation: str
    gamma: float
    quantity: str


def logits_of(bits: Tensor) -> Tensor:
    """Bit patterns 0 to 2**32 - 1 as the floats that they are, the finite ones."""
    logits = bits.to(torch.int32).view(torch.float32)
    return logits[logits.isfinite()]


def evaluate(implementation: str, logits: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Loss and gradient of a positive, unreduced."""
    leaf = logits.detach().requires_grad_()
    targets = torch.ones(leaf.shape, dtype=torch.bool)
    loss = refocal.sigmoid_focal_loss(
        leaf, targets, alpha=None, gamma=gamma, reduction="none", impl=implementation
    )
    (gradient,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss))
    return loss.detach(), gradient


class Ruler:
    """Measures results against the exact ones."""

    def __init__(self, logits: Tensor, exact: Tensor) -> None:
        self.logits, self.exact = logits, exact
        normal = exact.abs() >= SMALLEST_NORMAL
        # a float's exponent alone is the power of two below it
        power = (exact.float().abs().view(torch.int32) & 0x7F800000).view(torch.float32)
        self.per_ulp = torch.where(normal, 2.0**23 / power.double(), 0.0)
        self.tiny = (~normal).nonzero().squeeze(1)

    def worst(self, actual: Tensor) -> Worst:
        """The largest errors."""
        error = (actual.double() - self.exact).abs_()
        wrong = int(error.isfinite().logical_not_().sum())
        if wrong:
            error.nan_to_num_(0.0, posinf=0.0)
        low, low_at = 0.0, torch.tensor(0)
        if len(self.tiny):
            below = error[self.tiny]
            low_at = self.tiny[below.argmax()]
            low = float(error[low_at]) / SMALLEST
        error *= self.per_ulp
        at = error.argmax()
        return Worst(
            float(error[at]),
            float(self.logits[at]),
            int((error > 1).sum()),
            low,
            float(self.logits[low_at]),
            wrong,
        )


def sweep(
    logits: Tensor, implementations: Iterable[str], gammas: Iterable[float]
) -> dict[Key, Worst]:
    """Value and slope of every logit by each implementation at each gamma."""
    found = {}
    at = margin(logits)
    implementations = tuple(implementations)
    for gamma in gammas:
        rulers = [Ruler(logits, exact) for exact in value_and_slope(at, gamma)]
        for implementation in implementations:
            results = evaluate(implementation, logits, gamma)
            for quantity, actual, ruler in zip(("value", "slope"), results, rulers, strict=True):
                found[Key(implementation, gamma, quantity)] = ruler.worst(actual)
    return found
