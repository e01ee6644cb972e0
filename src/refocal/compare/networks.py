"""Training a torch network: small loop, early stopping on validation rows."""

from __future__ import annotations

import copy
import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from refocal.compare.candidates import Candidate
from refocal.compare.data.prepare import Prepared
from refocal.compare.data.table import Bools, Floats
from refocal.compare.errors import CompareError
from refocal.compare.models import NAMES, Effort, Fit, Report, validation_score
from refocal.parameters import prior_bias, prior_biases

_WEIGHT_DECAY = 1e-4
# Batches are as large as they can be with this many updates an epoch, within the two bounds.
_UPDATES = 64
_SMALLEST_BATCH, _LARGEST_BATCH = 32, 2048
_SCORED_AT_ONCE = 65_536

_DRAWING = threading.Lock()

ModelFn: TypeAlias = Callable[[int, int], nn.Module]


def hidden_layers(*widths: int) -> ModelFn:
    """A function that makes a network with these hidden layers; without any it is linear."""

    def build(inputs: int, outputs: int) -> nn.Module:
        layers: list[nn.Module] = []
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
        rates: of AdamW.
    """

    name: str
    build: ModelFn
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    network: bool = True

    def identity(self, data: Prepared, seed: int) -> str:
        """The name of one of ours; the text and the first weights of someone else's."""
        if self.name in NAMES:
            return f"{self.name} torch {torch.__version__}"
        start = self.start(data.train.shape[1:], data.table.targets.shape[1], seed)
        return f"{weights_hash(start)} torch {torch.__version__}"

    def supports(self, candidate: Candidate) -> bool:
        """Any loss."""
        return True

    def fit(
        self,
        candidate: Candidate,
        rate: float,
        data: Prepared,
        effort: Effort,
        *,
        seed: int,
        report: Report,
    ) -> Fit:
        """Train until the loss stops falling on validation rows, and keep the best epoch.

        Not until average precision stops rising: that wavers while the network is still on its
        way, and what is kept is then not at the optimum that the closed-form posterior is of.
        """
        outputs = data.table.targets.shape[1]
        model = self.start(data.train.shape[1:], outputs, seed)
        if candidate.prior_bias:
            start_from_base_rates(model, candidate, data.base_rates)
        labels = data.labels("valid")
        targets, valid = (_targets(part, candidate) for part in (data.labels("train"), labels))
        parameters = [one for one in model.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=_WEIGHT_DECAY, fused=True)
        generator = torch.Generator().manual_seed(seed)
        curve: list[float] = []
        best, lowest, kept = 0, math.inf, copy.deepcopy(model.state_dict())
        with _own_numbers(model, data.train, seed):
            for epoch in range(1, effort.epochs + 1):
                model.train()
                for rows in _batches(len(targets), generator):
                    # Rows are picked from tensors: a DataLoader takes longer than the network.
                    logits = _as_columns(model(data.train[rows]), outputs)
                    loss = candidate.loss(logits, targets[rows])
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                scores = _logits(model, data.valid, outputs)
                curve.append(validation_score(candidate, scores, labels))
                report(epoch, curve[-1])
                reached = candidate.loss(torch.from_numpy(scores), valid).item()
                if epoch == 1 or reached < lowest:
                    best, lowest, kept = epoch, reached, copy.deepcopy(model.state_dict())
                elif epoch - best >= effort.patience:
                    break
        model.load_state_dict(kept)
        return Fit(
            valid_logits=_logits(model, data.valid, outputs),
            test_logits=_logits(model, data.test, outputs),
            curve=tuple(curve),
            steps=best,
        )

    def start(self, shape: torch.Size, outputs: int, seed: int) -> nn.Module:
        """The untrained network, whose weights depend on the seed alone."""
        # Trainings run side by side, and torch has one random generator for all threads: without
        # the lock two networks that start together draw from each other's numbers.
        with _seeded(seed):
            return self.build(shape.numel() if len(shape) == 1 else shape[0], outputs)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The generator of torch for oneself, seeded; as it was afterwards."""
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
    """Whether a step of training draws from torch's generator."""
    probe = copy.deepcopy(model).train()
    with _seeded(0), torch.no_grad():
        before = torch.get_rng_state()
        probe(features[:_SMALLEST_BATCH])
        return bool((before != torch.get_rng_state()).any())


def start_from_base_rates(model: nn.Module, candidate: Candidate, rates: list[float]) -> None:
    """Set the bias of the last linear or convolutional layer so that it predicts the base rates.

    Raises:
        CompareError: there is no such layer, or it has no bias.
    """
    layers = [one for one in model.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    if not layers or layers[-1].bias is None or layers[-1].bias.numel() != len(rates):
        raise CompareError(
            "the network has no last layer whose bias could start from the base rate; pass"
            " candidates without prior_bias."
        )
    if candidate.link == "softmax":
        alpha = candidate.alpha if isinstance(candidate.alpha, tuple) else None
        biases = prior_biases(rates, alpha=alpha, gamma=candidate.gamma)
    else:
        biases = [
            prior_bias(rate, alpha=alpha, gamma=candidate.gamma)
            for rate, alpha in zip(rates, candidate.alphas(len(rates)), strict=True)
        ]
    with torch.no_grad():
        layers[-1].bias.copy_(torch.tensor(biases))


def _targets(labels: Bools, candidate: Candidate) -> Tensor:
    """What the loss takes: indices for the softmax, 0 and 1 in float32 for the sigmoid."""
    targets = torch.from_numpy(labels)
    return targets.int().argmax(1) if candidate.link == "softmax" else targets.float()


def _logits(model: nn.Module, features: Tensor, outputs: int) -> Floats:
    model.eval()
    with torch.no_grad():
        chunks = [
            _as_columns(model(chunk), outputs) for chunk in torch.split(features, _SCORED_AT_ONCE)
        ]
    logits: Floats = torch.cat(chunks).float().numpy()
    return logits


def _as_columns(logits: Tensor, outputs: int) -> Tensor:
    return logits.reshape(len(logits), outputs)


def _batches(rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    size = min(max(rows // _UPDATES, _SMALLEST_BATCH), _LARGEST_BATCH)
    yield from torch.split(torch.randperm(rows, generator=generator), size)


def weights_hash(model: nn.Module) -> str:
    """A hash of a module's text and weights."""
    digest = hashlib.sha256(repr(model).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
