"""The network, the losses that compete, and one training run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from refocal.compare.data import Floats
from refocal.compare.prepare import Part, Prepared
from refocal.losses import sigmoid_focal_loss

_HIDDEN = (64, 32)
_WEIGHT_DECAY = 1e-4
# Batches are as large as they can be with this many updates an epoch, within the two bounds.
_UPDATES = 64
_SMALLEST_BATCH, _LARGEST_BATCH = 32, 2048


@dataclass(frozen=True)
class Candidate:
    """One loss of the comparison; every one is `sigmoid_focal_loss` with these two numbers."""

    name: str
    alpha: float | None
    gamma: float


@dataclass(frozen=True)
class Settings:
    """How much work a comparison does.

    Attributes:
        learning_rates: each loss is trained with each and keeps the best on validation data.
        epochs: the most one training may take.
        patience: epochs without a better validation average precision before it stops.
        resamples: bootstrap resamples behind every interval.
        focal: (alpha, gamma) of the focal losses: by default that of the paper, a milder one, and
            one that weighs positives up.
    """

    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    epochs: int = 40
    patience: int = 3
    resamples: int = 300
    focal: tuple[tuple[float, float], ...] = ((0.25, 1.0), (0.25, 2.0), (0.75, 2.0))


QUICK = Settings(learning_rates=(3e-3,), epochs=4, resamples=100, focal=((0.25, 2.0),))


@dataclass(frozen=True)
class Fit:
    """What a training run leaves: the logits at its best epoch on validation data."""

    learning_rate: float
    epochs: int
    average_precision: float
    valid_logits: Floats
    test_logits: Floats


def candidates(base_rate: float, settings: Settings) -> list[Candidate]:
    """Cross-entropy, cross-entropy with balanced classes, and the focal losses."""
    focal = [Candidate(f"focal, α {a:g}, γ {g:g}", a, g) for a, g in settings.focal]
    # With alpha = 1 - base rate both classes weigh the same in total.
    balanced = Candidate("balanced cross-entropy", 1.0 - base_rate, 0.0)
    return [Candidate("cross-entropy", None, 0.0), balanced, *focal]


def network(inputs: int, *, seed: int) -> nn.Sequential:
    """A small network with weights that depend on the seed alone."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for width in _HIDDEN:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        return nn.Sequential(*layers, nn.Linear(inputs, 1), nn.Flatten(0))


def fit(
    candidate: Candidate,
    learning_rate: float,
    start: nn.Sequential,
    data: Prepared,
    settings: Settings,
    *,
    seed: int,
    report: Callable[[int, float], None],
) -> Fit:
    """Train one network with one loss until validation average precision stops rising.

    Args:
        candidate: the loss.
        learning_rate: of AdamW.
        start: the network to start from, which stays as it is.
        data: training and validation rows; the test rows are scored at the end.
        settings: the length of the training.
        seed: of the order of the rows.
        report: called with the epoch and its validation average precision after each epoch.
    """
    model = copy.deepcopy(start)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY, fused=True
    )
    generator = torch.Generator().manual_seed(seed)
    best, best_epoch, kept = -1.0, 0, copy.deepcopy(model.state_dict())
    for epoch in range(1, settings.epochs + 1):
        for features, targets in _batches(data.train, generator):
            loss = sigmoid_focal_loss(
                model(features), targets, alpha=candidate.alpha, gamma=candidate.gamma
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        score = float(average_precision_score(data.valid.labels, _logits(model, data.valid)))
        report(epoch, score)
        if score > best:
            best, best_epoch, kept = score, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    model.load_state_dict(kept)
    return Fit(
        learning_rate=learning_rate,
        epochs=best_epoch,
        average_precision=best,
        valid_logits=_logits(model, data.valid),
        test_logits=_logits(model, data.test),
    )


def _logits(model: nn.Module, part: Part) -> Floats:
    """In float64, so that what is computed from them adds no rounding of its own."""
    with torch.no_grad():
        logits: Floats = model(part.features).double().numpy()
    return logits


def _batches(part: Part, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    rows = len(part.targets)
    size = min(max(rows // _UPDATES, _SMALLEST_BATCH), _LARGEST_BATCH)
    order = torch.randperm(rows, generator=generator)
    # Rows are picked straight from the tensors: a DataLoader would take longer than the network.
    for batch in torch.split(order, size):
        yield part.features[batch], part.targets[batch]
