"""What a batch of rows says of a network's weights: by autograd, or written out for our own.

Our network is so small that what autograd does around its layers takes longer than they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from refocal.comparison.training.losses import Loss


class Gradients(Protocol):
    """Leaves in `grad` of the parameters what a batch says of them."""

    parameters: list[Tensor]

    def of(self, rows: Tensor) -> None:
        """Take the mean loss of these training rows."""


class Differentiated:
    """Those of any module, by autograd.

    Args:
        model: gives logits `(n, K)`, or `(n,)` for one.
        loss: of which the mean is taken.
        features: of all training rows.
        targets: of all training rows, as the loss takes them.
        outputs: K.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, features: Tensor, targets: Tensor, outputs: int
    ) -> None:
        self.parameters = [one for one in model.parameters() if one.requires_grad]
        self._model, self._loss, self._outputs = model, loss, outputs
        self._features, self._targets = features, targets

    def of(self, rows: Tensor) -> None:
        """Take the mean loss of these training rows."""
        # Rows are picked from tensors: a DataLoader takes longer than the network.
        logits = as_columns(self._model(self._features.index_select(0, rows)), self._outputs)
        mean = self._loss.mean(logits, self._targets.index_select(0, rows))
        for parameter in self.parameters:  # what zero_grad does, and a trace of it
            parameter.grad = None
        mean.backward()  # type: ignore[no-untyped-call]


class WrittenOut:
    """Those of fully connected layers, with a ReLU after each but the last, into memory that is
    kept.

    The same up to rounding as by autograd, in a third of the time where batches are small. The
    weights of the module become parts of one tensor, which is what there is to optimise.

    Args:
        model: of `nn.Linear` and `nn.ReLU`, as `networks.hidden_layers` makes it.
        loss: of which the mean is taken.
        features: of all training rows, `(n, ...)`.
        targets: of all training rows, as the loss takes them.
        outputs: K.
    """

    def __init__(
        self, model: nn.Sequential, loss: Loss, features: Tensor, targets: Tensor, outputs: int
    ) -> None:
        own = list(model.parameters())
        weights = torch.cat([one.detach().flatten() for one in own])
        weights.grad = torch.zeros_like(weights)
        values, slopes = _parts(weights, own), _parts(weights.grad, own)
        for one, value in zip(own, values, strict=True):
            one.data = value
        self.parameters = [weights]
        self._layers = [
            _Layer(values[k], values[k + 1], slopes[k], slopes[k + 1])
            for k in range(0, len(own), 2)
        ]
        self._loss, self._outputs = loss, outputs
        self._features, self._targets = features.flatten(1), targets
        self._batches: dict[int, _Batch] = {}

    def of(self, rows: Tensor) -> None:
        """Take the mean loss of these training rows."""
        batch = self._batch(len(rows))
        torch.index_select(self._features, 0, rows, out=batch.levels[0])
        torch.index_select(self._targets, 0, rows, out=batch.targets)
        last = len(self._layers) - 1
        for k, layer in enumerate(self._layers):
            above = batch.levels[k + 1]
            torch.addmm(layer.bias, batch.levels[k], layer.weight.t(), out=above)
            if k < last:
                above.relu_()
        slope = batch.slope()
        for k in range(last, -1, -1):
            layer, below = self._layers[k], batch.levels[k]
            torch.mm(slope.t(), below, out=layer.weight_slope)
            torch.sum(slope, 0, out=layer.bias_slope)
            if k:
                slope = torch.mm(slope, layer.weight, out=batch.slopes[k - 1])
                slope.mul_(below.sign_())  # a ReLU's slope; its values are not needed again

    def _batch(self, rows: int) -> _Batch:
        """Return the memory for so many rows: all batches but an epoch's last are equally large."""
        if rows not in self._batches:
            widths = [self._features.shape[1], *(len(layer.bias) for layer in self._layers)]
            levels = [torch.zeros(rows, width) for width in widths]
            targets = torch.zeros_like(self._targets[:rows])
            slopes = [torch.empty_like(level) for level in levels[1:-1]]
            slope = self._loss.slopes(levels[-1], targets)
            self._batches[rows] = _Batch(levels, targets, slopes, slope)
        return self._batches[rows]


@dataclass(frozen=True)
class _Layer:
    weight: Tensor
    bias: Tensor
    weight_slope: Tensor
    bias_slope: Tensor


@dataclass(frozen=True)
class _Batch:
    """Memory of one batch.

    Attributes:
        levels: the inputs, what each hidden layer makes of them, and the logits.
        targets: of its rows.
        slopes: of the loss with respect to the hidden levels.
        slope: gives that of the logits.
    """

    levels: list[Tensor]
    targets: Tensor
    slopes: list[Tensor]
    slope: Callable[[], Tensor]


def as_columns(logits: Tensor, outputs: int) -> Tensor:
    """Return logits `(n, K)` of a network that may give `(n,)` for one output."""
    return logits.reshape(len(logits), outputs)


def _parts(whole: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return parts of a tensor with the shapes of others."""
    parts = torch.split(whole, [one.numel() for one in like])
    return [part.view(one.shape) for part, one in zip(parts, like, strict=True)]
