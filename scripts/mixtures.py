"""Planted problems: Gaussian mixtures met by a linear model, and which loss is truly best on each.

    python scripts/mixtures.py   # those of 6,000 mixtures with the clearest answers; ten minutes

A linear model cannot fit such a mixture, so losses end in different models, and with rows without
end the better one is known. Every loss of the comparison is tried, since a mixture on which only
one of them loses to cross-entropy shows nothing.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from refocal import comparison
from refocal.comparison.training.losses import Loss, families
from refocal.metrics import average_precision

BASE_RATE = 0.02


def mixture(seed: int, rows: int, draw: int) -> comparison.Table:
    """Positives from one Gaussian, 2 % of the rows; negatives from two to four others."""
    generator = np.random.default_rng(seed)
    parts = int(generator.integers(2, 5))
    centres = generator.normal(size=(parts, 2)) * 3
    spread = np.exp(generator.normal(size=(parts, 2)) * 0.7)
    share = generator.dirichlet(np.full(parts, 0.5))
    positive = generator.normal(size=(1, 2)) * 1.5
    sample = np.random.default_rng([seed, draw])
    part = sample.choice(parts, rows, p=share)
    y = sample.random(rows) < BASE_RATE
    x = centres[part] + spread[part] * sample.normal(size=(rows, 2))
    x[y] = (positive + sample.normal(size=(rows, 2)))[y]
    frame = pd.DataFrame(x, columns=["a", "b"])
    return comparison.Table(f"mixture {seed}", frame, y[:, None], "y", ("yes",))


def losses() -> list[Loss]:
    """The comparison's, without a prior bias: trained out, where training began is forgotten."""
    every = families("binary", [BASE_RATE], network=False)
    return [loss for family in every for loss in family.losses]


def truth(seed: int, rows: int = 300_000) -> dict[str, float]:
    """Average precision of every loss, trained out on so many rows, measured on as many others."""
    train, test = mixture(seed, rows, 1_000), mixture(seed, rows, 1_001)
    x, y = (torch.tensor(np.asarray(one)) for one in (train.features, train.targets))
    unseen = np.asarray(test.features)
    return {
        loss.name: average_precision(unseen @ trained_out(loss, x, y.double()), test.targets[:, 0])
        for loss in losses()
    }


def trained_out(loss: Loss, x: Tensor, y: Tensor) -> np.ndarray:
    """The direction of a linear model at the minimum of its loss."""
    weight = torch.zeros(x.shape[1] + 1, 1, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        mean = loss.mean(x @ weight[:-1] + weight[-1], y)
        mean.backward()
        return mean.item()

    optimizer.step(closure)
    return weight.detach()[:-1, 0].numpy()


def lead(found: dict[str, float]) -> tuple[str, float]:
    """The best loss, and how far it is ahead of every other kind of loss.

    The kinds: cross-entropy, balanced cross-entropy, focal losses.
    """
    best = max(found, key=lambda name: found[name])
    others = [value for name, value in found.items() if kind(name) != kind(best)]
    return best, found[best] - max(others)


def kind(loss: str) -> str:
    return loss.split(",")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=6000, help="mixtures to try, from 0 on")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--best", type=int, default=5, help="mixtures of each kind to print")
    options = parser.parse_args()
    clearest: dict[str, list[tuple[float, int, str]]] = {}
    for seed in range(options.count):
        best, ahead = lead(truth(seed, options.rows))
        clearest.setdefault(kind(best), []).append((ahead, seed, best))
    for same in clearest.values():
        for ahead, seed, best in sorted(same, reverse=True)[: options.best]:
            print(f"mixture {seed}: {best} by {ahead:.3f}")


if __name__ == "__main__":
    main()
