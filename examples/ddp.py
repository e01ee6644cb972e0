"""Data parallel training with the gradient of the whole batch, to the last digit but rounding.

torchrun --nproc-per-node 2 examples/ddp.py                  errors of the gradient
torchrun --nproc-per-node 2 examples/ddp.py --plot FOLDER    and of each of the batches

The ranks hold different numbers of rows and of positives. Divided by its own positives, each rank's
gradient would weigh its rare positives differently, and DDP would average that.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from refocal import SigmoidFocalLoss

BATCHES = 50


def batch(seed):
    """1,000 rows, of which one in forty is positive; the same on every rank."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1000, 8, generator=random)
    y = (x[:, :1] + 0.3 * torch.randn(1000, 1, generator=random) > 2).float()
    return x, y


def gradient(start, x, y, part, group):
    """What DDP leaves on every rank."""
    model = copy.deepcopy(start)
    # --8<-- [start:train]
    focal = SigmoidFocalLoss(normalizer="positives", process_group=group)
    model = DistributedDataParallel(model)
    focal(model(x[part]), y[part]).backward()
    # --8<-- [end:train]
    return model.module.weight.grad


def whole(start, x, y):
    """The gradient of the whole batch in one process."""
    model = copy.deepcopy(start)
    SigmoidFocalLoss(normalizer="positives")(model(x), y).backward()
    return model.weight.grad


def main(plot=None):
    dist.init_process_group("gloo")  # "nccl" where every rank has a GPU
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    start = nn.Linear(8, 1)
    bounds = [0, *range(900, 1000, -(-100 // (world - 1)) if world > 1 else 100), 1000]
    part = slice(bounds[rank], bounds[rank + 1])  # rank 0 has most of the rows
    off = {"with process_group": [], "each rank by its own count": []}
    for seed in range(BATCHES):
        x, y = batch(seed)
        exact = whole(start, x, y)
        for errors, group in zip(off.values(), (dist.group.WORLD, None), strict=True):
            found = gradient(start, x, y, part, group)
            errors.append(((found - exact).norm() / exact.norm()).item())
    if rank == 0:
        _, y = batch(0)
        print(f"positives: {y[:900].sum():.0f} on rank 0, {y[900:].sum():.0f} on the others")
        for name, errors in off.items():
            worst = torch.tensor(errors).max().item()
            shown = f"{worst:.0e}" if worst < 1e-3 else f"{worst:.0%}"
            print(f"{name}: gradient off by up to {shown} in {BATCHES} batches")
        if plot is not None:
            draw(off, plot)
    dist.destroy_process_group()


def draw(off, folder):
    from refocal.comparison.drawing import COLOURS, axes, standalone, style, to_svg

    with style():
        figure, (panel,) = axes(6.4, 3.2)
        for k, (name, errors) in enumerate(off.items()):
            panel.plot(sorted(errors), "o", markersize=3, color=COLOURS[k], label=name)
        panel.set(yscale="log", ylim=(1e-9, 10), xlabel="batches, sorted by error")
        panel.set_ylabel("relative error of the gradient")
        panel.legend(loc="center right")
        svg = standalone(to_svg(figure, name="ddp", title="Error of the gradient by batch"))
        (folder / "ddp.svg").write_text(svg + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    main(parser.parse_args().plot)
