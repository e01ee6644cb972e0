"""One rank of the joined case of tests/test_distributed.py: python joined.py RANK WORLD FOLDER.

The ranks have 1, 3, ... batches of different sizes. In every step the gradient of a rank that still
trains is to be that of all rows of the step in one process.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.integrations.join import JoinedDenominator

FEATURES, CLASSES = 5, 3
LOSSES = {
    "elements": SigmoidFocalLoss(ignore_index=255),
    "positives": SigmoidFocalLoss(normalizer="positives"),
    "sample_weight": SoftmaxFocalLoss(normalizer="sample_weight"),
    "weights": SoftmaxFocalLoss(normalizer="weights", alpha=torch.tensor([1.0, 2.0, 0.5])),
}


def batch(rank: int, step: int, loss: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Some rows of one rank, of which the second step of rank 1 has no positives at all."""
    generator = torch.Generator().manual_seed(100 * rank + step)
    rows = 3 + rank + step
    x = torch.randn(rows, FEATURES, generator=generator, dtype=torch.float64)
    if isinstance(loss, SoftmaxFocalLoss):
        return x, torch.randint(0, CLASSES, (rows,), generator=generator)
    y = torch.randint(0, 2, (rows, CLASSES), generator=generator)
    return x, y * 0 if (rank, step) == (1, 1) else y


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(FEATURES, CLASSES).double()  # what is compared are sums, not their roundings


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    steps = [1 + 2 * one for one in range(world)]
    found = []
    for name, loss in LOSSES.items():
        ddp, single = DistributedDataParallel(model()), model()
        denominator = JoinedDenominator(loss)
        with Join([denominator, ddp]):
            for step in range(steps[rank]):
                x, y = batch(rank, step, loss)
                count = denominator(y)
                ddp.zero_grad()
                loss(ddp(x), y, normalizer=count).backward()
                at_work = [batch(one, step, loss) for one in range(world) if step < steps[one]]
                single.zero_grad()
                rows, targets = (torch.cat(parts) for parts in zip(*at_work, strict=True))
                loss(single(rows), targets).backward()
                gradients = [
                    torch.cat([one.grad.flatten() for one in which.parameters()]).tolist()
                    for which in (ddp, single)
                ]
                found.append({"case": f"{name} {step}", "gradients": gradients})
    (folder / f"found{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
