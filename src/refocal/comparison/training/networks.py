"""Training a torch network to the end: rates decay to 0, the last quarter of weights is averaged.

What is kept is neither the moment at which a validation figure happened to be best nor the last
step's noise, so that two losses are compared and not two moments on the way.
"""

from __future__ import annotations

import copy
import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.errors import CompareError
from refocal.comparison.training.gradients import (
    Differentiated,
    Gradients,
    WrittenOut,
    as_columns,
)
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Fit, Work, validation_score
from refocal.comparison.training.settings import Axis
from refocal.parameters import prior_bias, prior_biases

_AVERAGED = 0.25  # of the steps, the last ones
_WARM_UP = 0.05  # of the steps, in which the rate rises
# Batches are as large as they can be with this many updates an epoch, within the two bounds.
_UPDATES = 32
_SMALLEST_BATCH, _LARGEST_BATCH = 32, 2048
_SCORED_AT_ONCE = 65_536

_DRAWING = threading.Lock()

ModelFn: TypeAlias = Callable[[int, int], nn.Module]


def hidden_layers(*widths: int) -> ModelFn:
    """Return a function that makes a network with these hidden layers; without any it is linear.

    Features of several axes are taken as one row of numbers.
    """

    def build(inputs: int, outputs: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in widths:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        return nn.Sequential(*layers, nn.Linear(inputs, outputs))

    return build


@dataclass(frozen=True)
class Network:
    """A torch network.

    Attributes:
        name: what the report calls it.
        build: makes the module from the numbers of inputs and outputs. It gets float32 features
            `(n, ...)` and returns logits `(n, outputs)`, or `(n,)` for one output.
        ours: whether it is made of `hidden_layers`, so that its name says what it is, as that of
            one that `by_name` makes.
    """

    name: str
    build: ModelFn
    ours: bool = False
    network: bool = True
    starts: bool = True
    unit: str = "epoch"

    axes: ClassVar[dict[str, Axis]] = {
        "rate": Axis((1e-3, 3e-3, 1e-2), 3e-3, "learning rate", 3.0, 1e-5, 0.5),
        "epochs": Axis((10, 30), 10, "epochs", costly=True),
        "decay": Axis((1e-4, 1e-2), 1e-4, "weight decay"),
    }

    def identity(self, data: Prepared, seed: int) -> str:
        """Return the name of one of ours; the text and the first weights of someone else's."""
        if self.ours:
            return f"{self.name} torch {torch.__version__}"
        start = self.start(data.train.shape[1:], data.table.targets.shape[1], seed)
        return f"{weights_hash(start)} torch {torch.__version__}"

    def supports(self, loss: Loss) -> bool:
        """Say yes to any loss."""
        return True

    def fit(self, work: Work) -> Fit:
        """Train for all the epochs of the setting."""
        loss, setting, data, seed = work.loss, work.setting, work.data, work.seed
        outputs = data.table.targets.shape[1]
        model = self.start(data.train.shape[1:], outputs, seed)
        if loss.prior_bias:
            start_from_base_rates(model, loss, data.base_rates)
        targets = _targets(data.labels("train"), loss)
        kind: Any = WrittenOut if self.ours else Differentiated
        gradients: Gradients = kind(model, loss, data.train, targets, outputs)
        optimizer = torch.optim.AdamW(
            gradients.parameters, lr=setting["rate"], weight_decay=setting["decay"], fused=True
        )
        generator = torch.Generator().manual_seed(seed)
        epochs = int(setting["epochs"])
        steps = epochs * math.ceil(len(targets) / batch_size(len(targets)))
        average = _Average(gradients.parameters, first=steps - max(1, round(_AVERAGED * steps)))
        curve: list[float] = []
        step = 0
        with _own_numbers(model, data.train, seed):
            for epoch in range(1, epochs + 1):
                model.train()
                for rows in _batches(len(targets), generator):
                    rate = setting["rate"] * schedule(step, steps)
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    gradients.of(rows)
                    optimizer.step()
                    average.add(step)
                    step += 1
                if work.effort.scored and epoch < epochs:
                    curve.append(validation_score(loss, _logits(model, data.valid, outputs), data))
                work.watch(epoch, curve[-1] if work.effort.scored and epoch < epochs else None)
            average.copy_back()
            _settle_batch_norm(model, data.train)
        valid = _logits(model, data.valid, outputs)
        curve.append(validation_score(loss, valid, data))
        work.watch(epochs, curve[-1])
        return Fit(valid, _logits(model, data.test, outputs), tuple(curve), epochs)

    def start(self, shape: torch.Size, outputs: int, seed: int) -> nn.Module:
        """Return the untrained network, whose weights depend on the seed alone."""
        # Trainings run side by side, and torch has one random generator for all threads: without
        # the lock two networks that start together draw from each other's numbers.
        with _seeded(seed):
            return self.build(shape.numel() if self.ours else shape[0], outputs)


def schedule(step: int, steps: int) -> float:
    """Return the rate of a step as a share of the highest: a short rise, then half a cosine down to
    0.
    """
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class _Average:
    """The mean of the weights over the last steps."""

    def __init__(self, parameters: Sequence[Tensor], first: int) -> None:
        self.parameters, self.first, self.count = list(parameters), first, 0
        self.sums = [torch.zeros_like(parameter) for parameter in parameters]

    def add(self, step: int) -> None:
        """Take the weights after this step in, if it is one of the last."""
        if step >= self.first:
            self.count += 1
            with torch.no_grad():
                torch._foreach_add_(self.sums, self.parameters)

    def copy_back(self) -> None:
        """Put the mean in the place of the last step's weights."""
        with torch.no_grad():
            for one, total in zip(self.parameters, self.sums, strict=True):
                one.copy_(total / self.count)


def _settle_batch_norm(model: nn.Module, features: Tensor) -> None:
    """Running statistics belong to the last step's weights: measure those of the averaged ones."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if any(isinstance(module, kinds) for module in model.modules()):
        torch.optim.swa_utils.update_bn(torch.split(features, batch_size(len(features))), model)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generator of torch for oneself, and leave it as it was."""
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _own_numbers(model: nn.Module, features: Tensor, seed: int) -> Iterator[None]:
    """Trains a network that draws random numbers, as dropout does, while no other one does.

    Drawn beside another's, its numbers would depend on who comes first. Most networks draw none and
    train side by side.
    """
    if not _draws(model, features):
        yield
        return
    with _seeded(seed):
        yield


def _draws(model: nn.Module, features: Tensor) -> bool:
    """Say whether a step of training draws from torch's generator."""
    probe = copy.deepcopy(model).train()
    with _seeded(0), torch.no_grad():
        before = torch.get_rng_state()
        probe(features[:_SMALLEST_BATCH])
        return bool((before != torch.get_rng_state()).any())


def start_from_base_rates(model: nn.Module, loss: Loss, rates: list[float]) -> None:
    """Set the bias of the last linear or convolutional layer so that it predicts the base rates.

    Raises:
        CompareError: there is no such layer, or it has no bias.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    if not layers or layers[-1].bias is None or layers[-1].bias.numel() != len(rates):
        raise CompareError(
            "the network has no last layer whose bias could start from the base rate; leave out"
            " losses with prior_bias."
        )
    if loss.link == "softmax":
        alpha = loss.alpha if isinstance(loss.alpha, tuple) else None
        biases = prior_biases(rates, alpha=alpha, gamma=loss.gamma)
    else:
        biases = [
            prior_bias(rate, alpha=alpha, gamma=loss.gamma)
            for rate, alpha in zip(rates, loss.alphas(len(rates)), strict=True)
        ]
    with torch.no_grad():
        layers[-1].bias.copy_(torch.tensor(biases))


def _targets(labels: Bools, loss: Loss) -> Tensor:
    """Return what the loss takes: indices for the softmax, 0 and 1 in float32 for the sigmoid."""
    targets = torch.from_numpy(labels)
    return targets.int().argmax(1) if loss.link == "softmax" else targets.float()


def _logits(model: nn.Module, features: Tensor, outputs: int) -> Floats:
    model.eval()
    with torch.no_grad():
        chunks = [
            as_columns(model(chunk), outputs) for chunk in torch.split(features, _SCORED_AT_ONCE)
        ]
    logits: Floats = torch.cat(chunks).float().numpy()
    return logits


def batch_size(rows: int) -> int:
    """Return rows of one step."""
    return min(max(rows // _UPDATES, _SMALLEST_BATCH), _LARGEST_BATCH)


def _batches(rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    yield from torch.split(torch.randperm(rows, generator=generator), batch_size(rows))


def weights_hash(model: nn.Module) -> str:
    """Return a hash of a module's text and weights."""
    digest = hashlib.sha256(repr(model).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
