"""A million training steps of a small model: memory stays flat, and a seed gives the same losses.

``python -m trust.long_run`` takes some minutes and writes the table for the documentation.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

import refocal

TABLE = Path("docs/tables/long-run.md")
ROWS, FEATURES, CLASSES = 32, 8, 4
BATCHES = 64
STATM = Path("/proc/self/statm")


class Run(NamedTuple):
    """What a training leaves behind.

    Attributes:
        resident: memory of the process, in bytes, by step.
        digests: a hash of every loss so far, by step.
        loss: the last loss.
    """

    resident: dict[int, int]
    digests: dict[int, str]
    loss: float

    @property
    def growth(self) -> int:
        """Bytes gained since the first look, which is after the warm-up."""
        first, *others = self.resident.values()
        return max(others) - first


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def train(
    steps: int,
    *,
    seed: int = 0,
    warm_up: int,
    every: int,
    look: Callable[[int, float], None] = lambda step, loss: None,
) -> Run:
    """Trains with both losses in turn, by whatever implementation is fastest.

    Args:
        steps: how many.
        seed: of the data and of the model.
        warm_up: the step of the first look at memory.
        every: looks are this many steps apart from then on.
        look: called at each of them.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(BATCHES, ROWS, FEATURES, generator=generator)
    classes = torch.randint(CLASSES, (BATCHES, ROWS), generator=generator)
    labels = (torch.rand(BATCHES, ROWS, CLASSES, generator=generator) < 0.1).float()
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 16), torch.nn.ReLU(), torch.nn.Linear(16, CLASSES)
    )
    losses = (refocal.SigmoidFocalLoss(), refocal.SoftmaxFocalLoss(gamma=1.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    digest = hashlib.sha256()
    resident, digests = {}, {}
    value = 0.0
    for step in range(1, steps + 1):
        batch = step % BATCHES
        targets = (labels if step % 2 else classes)[batch]
        optimizer.zero_grad()
        loss = losses[1 - step % 2](model(inputs[batch]), targets)
        loss.backward()
        optimizer.step()
        value = loss.item()
        digest.update(struct.pack("d", value))
        if step >= warm_up and (step - warm_up) % every == 0:
            resident[step] = resident_bytes()
            digests[step] = digest.hexdigest()
            look(step, value)
    return Run(resident, digests, value)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--again", type=int, default=100_000, help="steps of the second run")
    parser.add_argument("--warm-up", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=20_000)
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()

    def look(step: int, loss: float) -> None:
        seconds = time.monotonic() - started
        print(
            f"step {step:,}: loss {loss:.6f}, {resident_bytes() / 2**20:.2f} MiB, {seconds:.0f} s",
            flush=True,
        )

    looks = {"warm_up": options.warm_up, "every": options.every, "look": look}
    first = train(options.steps, **looks)
    second = train(options.again, **looks)
    same = all(first.digests[step] == digest for step, digest in second.digests.items())
    lines = [
        "| steps | resident after warm-up, MiB | growth, KiB | last loss |"
        f" losses of a second run, {options.again:,} steps |",
        "|---|---|---|---|---|",
        f"| {options.steps:,} | {next(iter(first.resident.values())) / 2**20:.1f} |"
        f" {first.growth / 2**10:.0f} | {first.loss!r} | {'the same' if same else 'different'} |",
    ]
    options.table.parent.mkdir(parents=True, exist_ok=True)
    options.table.write_text("\n".join(lines) + "\n")
    print(options.table.read_text())


if __name__ == "__main__":
    main()
