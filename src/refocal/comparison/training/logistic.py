"""The logistic model: to the minimum of its loss, by Newton's method, from zero.

Focal loss is not convex in the weights of a linear model, and plain Newton steps from the optimum
of cross-entropy diverge. Two safeguards make every step go down: the curvature of the loss is
clipped at 0, which leaves a positive definite system, and the step is halved until it gains. From
zero the answer depends on the data alone, so equal losses give equal models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from refocal.boosting import numeric
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Fit, Watch, Work, validation_score
from refocal.comparison.training.settings import Axis
from refocal.formula.in_numpy import BOOK, for_gamma

_ROWS = 32_768  # of a block in float64
_STEPS = 200
_HALVINGS = 40
_CLOSE = 1e-12  # of the expected gain, against the loss
_DENSE = 600  # unknowns up to which the system is solved, and beyond which it is approached
_CONJUGATE = 200


@dataclass(frozen=True)
class Logistic:
    """A linear model of the inputs under any loss, with a ridge penalty."""

    name: str = "logistic"
    network: bool = False
    starts: bool = False
    unit: str = "Newton step"

    # Of the mean curvature that the loss has at its first step, so that it means the same under
    # every loss: a focal loss is a fraction of cross-entropy in size.
    axes: ClassVar[dict[str, Axis]] = {
        "ridge": Axis(
            tuple(float(f"{10**exponent:.2g}") for exponent in np.arange(-6.0, -0.4, 0.5)),
            1e-4,
            "ridge",
            factor=10.0,
            lowest=1e-6,
            highest=1e4,
        )
    }

    def identity(self, data: Prepared, seed: int) -> str:
        """Return name the method: the answer depends on nothing else but the data."""
        return f"{self.name}, Newton"

    def supports(self, loss: Loss) -> bool:
        """Say yes to any loss."""
        return True

    def fit(self, work: Work) -> Fit:
        """Train to the minimum; the seed is not looked at."""
        loss, ridge = work.loss, work.setting["ridge"]
        data, watch = work.data, work.watch
        labels = data.labels("train")
        features = _flat(data.train)
        if loss.link == "softmax":
            weights, steps, converged = minimise(features, labels, loss, ridge, watch)
        else:
            parts = [
                minimise(
                    features,
                    labels[:, [k]],
                    Loss(loss.name, alpha, loss.gamma),
                    ridge,
                    watch,
                )
                for k, alpha in enumerate(loss.alphas(labels.shape[1]))
            ]
            weights = torch.cat([part[0] for part in parts], 1)
            steps, converged = max(part[1] for part in parts), all(part[2] for part in parts)
        valid, test = (_scores(_flat(part), weights) for part in (data.valid, data.test))
        score = validation_score(loss, valid, data)
        return Fit(valid, test, (score,), steps, converged)


def minimise(
    features: Tensor, labels: Bools, loss: Loss, ridge: float, watch: Watch | None = None
) -> tuple[Tensor, int, bool]:
    """Return weights `(D + 1, K)` at the minimum of mean loss + ridge, the steps it took, whether
    it is.

    Args:
        features: `(n, D)` float32.
        labels: `(n, K)`: one column for the sigmoid, one-hot for the softmax.
        loss: alpha a number or None for the sigmoid, weights or None for the softmax.
        ridge: times the mean curvature at zero, half the squared weights; the bias is free.
        watch: called with every step, and may raise to stop.
    """
    problem = _Problem(features, labels, loss)
    weights = torch.zeros(features.shape[1] + 1, labels.shape[1], dtype=torch.float64)
    scale = problem.curvature_at(weights)
    penalty = torch.full_like(weights, ridge * scale)
    penalty[-1] = 0.0
    floor = 1e-10 * scale  # what the bias, and a column that is constant, are held by
    value = problem.value(weights)
    for step in range(1, _STEPS + 1):
        gradient, solve = problem.newton(weights, penalty, floor)
        direction = -solve(gradient)
        gain = -float((gradient * direction).sum())
        if gain <= _CLOSE * max(value, 1e-12):
            return weights, step, True
        length = 1.0
        for _ in range(_HALVINGS):
            moved = weights + length * direction
            reached = problem.value(moved) + float((penalty * moved**2).sum()) / 2
            if reached <= value - 1e-4 * length * gain:
                break
            length /= 2
        else:
            return weights, step, gain <= 1e3 * _CLOSE * value
        weights, value = moved, reached
        if watch is not None:
            watch(step, None)
    return weights, _STEPS, False


class _Problem:
    """Mean loss of a linear model, with slope and clipped curvature, in blocks of rows."""

    def __init__(self, features: Tensor, labels: Bools, loss: Loss) -> None:
        self.features, self.loss = features, loss
        self.softmax = loss.link == "softmax"
        self.labels = torch.from_numpy(labels)
        self.rows = len(labels)
        self.gamma = loss.gamma
        if self.softmax:
            each = torch.ones(labels.shape[1], dtype=torch.float64)
            if loss.alpha is not None:
                each = torch.tensor(loss.alpha, dtype=torch.float64)
            self.weight = each[self.labels.int().argmax(1)]
        else:
            positive = self.labels[:, 0]
            alpha = loss.alpha
            self.weight = torch.ones(self.rows, dtype=torch.float64)
            if alpha is not None:
                share = alpha if isinstance(alpha, float) else alpha[0]
                self.weight = torch.where(positive, share, 1.0 - share).double()

    def _blocks(self) -> Iterator[tuple[Tensor, slice]]:
        for first in range(0, self.rows, _ROWS):
            part = slice(first, first + _ROWS)
            block = self.features[part].double()
            yield torch.cat([block, block.new_ones(len(block), 1)], 1), part

    def _margins(self, logits: Tensor, part: slice) -> tuple[Tensor, Tensor | None]:
        """Return the margin of the true class, and what each rival has of the others' weight."""
        labels = self.labels[part]
        if not self.softmax:
            return torch.where(labels[:, 0], logits[:, 0], -logits[:, 0]), None
        rivals = logits.masked_fill(labels, -torch.inf)
        own = logits[labels]
        return own - torch.logsumexp(rivals, 1), torch.softmax(rivals, 1)

    def value(self, weights: Tensor) -> float:
        """Return the mean loss."""
        total = 0.0
        book = for_gamma(self.gamma)
        for block, part in self._blocks():
            s = self._margins(block @ weights, part)[0].numpy()
            each = book.value(s, BOOK.decay(s), self.gamma)
            total += float((self.weight[part].numpy() * each).sum())
        return total / self.rows

    def curvature_at(self, weights: Tensor) -> float:
        """Return the mean clipped curvature by a logit: what a ridge is measured by."""
        total = 0.0
        for block, part in self._blocks():
            margins, rivals = self._margins(block @ weights, part)
            slope, curvature = self._derivatives(margins, part)
            if rivals is not None:  # the trace of F'' g g' - F' (diag(q) - q q')
                level = rivals.square().sum(1)
                curvature = curvature * (1 + level) - slope * (1 - level)
            total += float(curvature.sum())
        return total / self.rows / self.labels.shape[1]

    def _derivatives(self, margins: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Return slope and clipped curvature of the weighted loss by the margin."""
        s = margins.numpy()
        slope, curvature = numeric.slope_and_curvature(s, BOOK.decay(s), self.gamma, "exact", False)
        weight = self.weight[part]
        slopes, curvatures = torch.from_numpy(slope), torch.from_numpy(curvature)
        return weight * slopes, weight * curvatures.clamp(min=0.0)

    def newton(
        self, weights: Tensor, penalty: Tensor, floor: float
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the gradient, and what solves the clipped Newton system for a right-hand side."""
        gradient = penalty * weights
        unknowns, classes = weights.numel(), weights.shape[1]
        dense = not self.softmax and unknowns <= _DENSE
        hessian = torch.diag(penalty.flatten() + floor) if dense else None
        kept: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
        for block, part in self._blocks():
            margins, rivals = self._margins(block @ weights, part)
            slope, curvature = self._derivatives(margins, part)
            labels = self.labels[part]
            if rivals is None:
                sign = torch.where(labels[:, 0], 1.0, -1.0)
                gradient += (block.T @ (sign * slope))[:, None] / self.rows
            else:
                pull = labels.double() - rivals
                gradient += block.T @ (slope[:, None] * pull) / self.rows
            if hessian is not None:
                hessian += block.T @ (block * curvature[:, None]) / self.rows
            else:
                kept.append((curvature, -slope, labels, rivals))
        if hessian is not None:
            factor = torch.linalg.cholesky(hessian)
            return gradient, lambda side: torch.cholesky_solve(side.reshape(-1, 1), factor).reshape(
                -1, classes
            )
        return gradient, lambda side: self._conjugate(side, penalty + floor, kept)

    def _conjugate(
        self,
        side: Tensor,
        penalty: Tensor,
        kept: list[tuple[Tensor, Tensor, Tensor, Tensor | None]],
    ) -> Tensor:
        """Solve the system, whose matrix is too large to form, by conjugate gradients."""

        def times(direction: Tensor) -> Tensor:
            out = penalty * direction
            for (block, _), (curvature, steep, labels, rivals) in zip(
                self._blocks(), kept, strict=True
            ):
                moved = block @ direction
                if rivals is None:
                    out += block.T @ (curvature[:, None] * moved) / self.rows
                    continue
                # F'' g g' - F' (diag(q) - q q') with g = y - q: both parts are positive
                pull = labels.double() - rivals
                bent = curvature[:, None] * pull * (pull * moved).sum(1, keepdim=True)
                level = (rivals * moved).sum(1, keepdim=True)
                bent += steep[:, None] * rivals * (moved - level)
                out += block.T @ bent / self.rows
            return out

        solution = torch.zeros_like(side)
        rest = side.clone()
        direction = rest.clone()
        size = float(rest.square().sum())
        target = 1e-8 * size
        for _ in range(_CONJUGATE):
            if size <= target:
                break
            turned = times(direction)
            length = size / float((direction * turned).sum())
            solution += length * direction
            rest -= length * turned
            last, size = size, float(rest.square().sum())
            direction = rest + size / last * direction
        return solution


def _flat(features: Tensor) -> Tensor:
    return features.reshape(len(features), -1)


def _scores(features: Tensor, weights: Tensor) -> Floats:
    scores: Floats = (features @ weights[:-1].float() + weights[-1].float()).numpy()
    return scores
