"""The table of docs/choosing-alpha-and-gamma.md on flights: average precision on the way.

python scripts/alpha_gamma_training.py       some minutes

Cancelled flights; a seed decides which days are held out, the first weights and the order. One
optimiser and one learning rate for every loss, and a last bias that means the base rate under it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from refocal import sigmoid_focal_loss, sigmoid_posterior
from refocal.data import flights
from refocal.metrics import average_precision
from refocal.parameters import initialize_bias

SEEDS, CHECKS, ROWS = 3, (50, 200, 1000), 512
LOSSES = {
    "cross-entropy": {"alpha": None, "gamma": 0.0},
    "alpha .75": {"alpha": 0.75, "gamma": 0.0},
    "alpha .99": {"alpha": 0.99, "gamma": 0.0},
    "gamma 2": {"alpha": None, "gamma": 2.0},
    "gamma 2, alpha .25": {"alpha": 0.25, "gamma": 2.0},
    "gamma 2, alpha .75": {"alpha": 0.75, "gamma": 2.0},
    "gamma 2, alpha .25, detached": {"alpha": 0.25, "gamma": 2.0, "detach_modulator": True},
}


def inputs():
    """Standardised numbers with a flag for missing, one column per carrier, airport and month."""
    columns = flights()
    day, target = columns.pop("day_of_year"), columns.pop("cancelled").astype(np.float32)
    columns.pop("flight")
    parts = []
    for name, column in columns.items():
        if column.dtype.kind in "US" or name in ("month", "weekday"):
            values, index = np.unique(column, return_inverse=True)
            parts.append(np.eye(len(values), dtype=np.float32)[index])
        else:
            missing = np.isnan(column)
            numbers = (column - np.nanmean(column)) / np.nanstd(column)
            parts += [np.where(missing, 0.0, numbers)[:, None], missing[:, None]]
    table = np.concatenate(parts, axis=1, dtype=np.float32)
    return torch.tensor(table), torch.tensor(target), day


def fit(x, y, held_out, seed, loss):
    """Average precision at the checks; log loss of the posterior and of the sigmoid at the end."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
    train = torch.from_numpy(np.flatnonzero(~held_out))
    test = torch.from_numpy(np.flatnonzero(held_out))
    initialize_bias(network[-1], y[train].mean().item(), **loss)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    curve = []
    for step in range(1, CHECKS[-1] + 1):
        batch = train[torch.randint(len(train), (ROWS,))]
        optimizer.zero_grad()
        sigmoid_focal_loss(network(x[batch])[:, 0], y[batch], **loss).backward()
        optimizer.step()
        if step in CHECKS:
            with torch.no_grad():
                z = network(x[test])[:, 0]
            curve.append(average_precision(z.numpy(), y[test].bool().numpy()))
    readings = (sigmoid_posterior(z, **loss), torch.sigmoid(z))
    return curve, [nn.functional.binary_cross_entropy(p, y[test]).item() for p in readings]


def main():
    torch.set_num_threads(1)
    x, y, day = inputs()
    after = " | ".join(f"{check} steps" for check in CHECKS)
    print(f"| loss | AP, {after} | log loss, posterior / sigmoid |")
    print("|---" * (len(CHECKS) + 2) + "|")
    for name, loss in LOSSES.items():
        curves, losses = [], []
        for seed in range(SEEDS):
            held_out = np.random.default_rng(seed).permutation(365)[:122]
            curve, at_end = fit(x, y, np.isin(day, held_out), seed, loss)
            curves.append(curve)
            losses.append(at_end)
        cells = [
            f"{np.mean(column):.3f} ({min(column):.3f} to {max(column):.3f})"
            for column in zip(*curves, strict=True)
        ]
        posterior, sigmoid = np.mean(losses, axis=0)
        print(f"| {name} | {' | '.join(cells)} | {posterior:.3f} / {sigmoid:.3f} |", flush=True)


if __name__ == "__main__":
    main()
