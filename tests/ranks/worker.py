"""One rank of tests/test_distributed.py: python worker.py RANK WORLD FOLDER.

Each rank backpropagates its own rows through DDP (and FSDP2) with ``process_group``; rank 0 also
computes the whole batch in one process, and writes both.
"""

import contextlib
import copy
import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss, sigmoid_focal_loss, softmax_focal_loss

ROWS, FEATURES, CLASSES = 24, 5, 3


def splits(world: int) -> dict[str, list[slice]]:
    """Rows of every rank: equal, of different sizes, and with nothing for the last rank."""
    step = ROWS // world
    equal = [slice(rank * step, (rank + 1) * step) for rank in range(world)]
    bounds = [0, *range(1, world), ROWS]
    uneven = [slice(a, b) for a, b in pairwise(bounds)]
    bounds = [0, *(round(ROWS * k / (world - 1)) for k in range(1, world)), ROWS]
    empty = [slice(a, b) for a, b in pairwise(bounds)]
    return {"equal": equal, "uneven": uneven, "empty": empty}


def cases() -> dict:
    generator = torch.Generator().manual_seed(0)
    hard = torch.randint(0, 2, (ROWS, CLASSES), generator=generator)
    hard[5] = 255
    soft = torch.rand(ROWS, CLASSES, generator=generator)
    missing = soft.clone()
    missing[[5, 6], 1] = math.nan
    index = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    index[[2, 9]] = -100
    weight = torch.rand(ROWS, generator=generator)
    alpha = torch.tensor([1.0, 2.0, 0.5])
    return {
        "elements": (sigmoid_focal_loss, hard, None, {"ignore_index": 255}),
        "positives": (
            sigmoid_focal_loss,
            hard,
            None,
            {"ignore_index": 255, "normalizer": "positives"},
        ),
        "missing": (sigmoid_focal_loss, missing, None, {"ignore_index": math.nan}),
        "weights": (sigmoid_focal_loss, soft, weight, {"normalizer": "weights"}),
        "sample_weight": (sigmoid_focal_loss, soft, weight, {"normalizer": "sample_weight"}),
        "softmax": (softmax_focal_loss, index, None, {"alpha": alpha, "normalizer": "weights"}),
        "number": (sigmoid_focal_loss, soft, weight, {"normalizer": "local rows"}),
    }


def local_keywords(keywords: dict, rows: int) -> dict:
    """A number as normalizer is local to the rank, and summed."""
    if keywords.get("normalizer") == "local rows":
        return {**keywords, "normalizer": rows}
    return keywords


def accumulated(start, rows, loss, targets, weight, keywords, mine, single, expected) -> dict:
    """Two micro-batches a rank under DDP, divided by the count of both and of all ranks."""
    model = DistributedDataParallel(copy.deepcopy(start))
    middle = (mine.start + mine.stop) // 2
    parts = [slice(mine.start, middle), slice(middle, mine.stop)]
    weights = [None if weight is None else weight[part] for part in parts]
    counts = [
        counted(loss, keywords, targets[part], one)
        for part, one in zip(parts, weights, strict=True)
    ]
    settings = {**keywords, "normalizer": torch.stack(counts).sum()}
    total = torch.zeros(())
    for part, one in zip(parts, weights, strict=True):
        # the last micro-batch averages what has been added up
        with contextlib.nullcontext() if part is parts[-1] else model.no_sync():
            value = loss(
                model(rows[part]),
                targets[part],
                sample_weight=one,
                process_group=dist.group.WORLD,
                **settings,
            )
            value.backward()
        total += value.detach()
    dist.all_reduce(total)
    return {
        "gradient": gradient_of(model),
        "expected": gradient_of(single),
        "loss": total.item() / dist.get_world_size(),
        "expected_loss": expected.item(),
    }


def counted(loss, keywords: dict, targets, weight) -> torch.Tensor:
    """The local denominator of a micro-batch."""
    if keywords.get("normalizer") == "local rows":
        return torch.tensor(float(len(targets)))
    module = {sigmoid_focal_loss: SigmoidFocalLoss, softmax_focal_loss: SoftmaxFocalLoss}[loss]
    return module(**keywords).denominator(targets, weight)


def gradient_of(model: nn.Module) -> list[float]:
    gradients = [parameter.grad for parameter in model.parameters()]
    whole = [one.full_tensor() if hasattr(one, "full_tensor") else one for one in gradients]
    return torch.cat([one.flatten() for one in whole]).tolist()


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    group = dist.group.WORLD
    mesh = init_device_mesh("cpu", (world,))
    torch.manual_seed(0)
    rows = torch.randn(ROWS, FEATURES)
    start = nn.Linear(FEATURES, CLASSES)
    found = {}
    for name, (loss, targets, weight, keywords) in cases().items():
        for split, parts in splits(world).items():
            mine = parts[rank]
            single = copy.deepcopy(start)
            expected = loss(
                single(rows), targets, sample_weight=weight, **local_keywords(keywords, ROWS)
            )
            expected.backward()
            for wrapper in ("ddp", "fsdp2", "fsdp2 that sums"):
                model = copy.deepcopy(start)
                if wrapper == "ddp":
                    model = DistributedDataParallel(model)
                else:
                    fully_shard(model, mesh=mesh)
                # gradients that are added up and not averaged: a share of 1 / world each
                share = world if wrapper == "fsdp2 that sums" else 1
                if share > 1:
                    model.set_gradient_divide_factor(1.0)
                    model.set_force_sum_reduction_for_comms(True)  # all that gloo can
                value = loss(
                    model(rows[mine]),
                    targets[mine],
                    sample_weight=None if weight is None else weight[mine],
                    process_group=group,
                    **local_keywords(keywords, len(rows[mine])),
                )
                (value / share).backward()
                mean = value.detach().clone()
                dist.all_reduce(mean)
                found[f"{name} {split} {wrapper}"] = {
                    "gradient": gradient_of(model),
                    "expected": gradient_of(single),
                    "loss": mean.item() / world,
                    "expected_loss": expected.item(),
                }
            found[f"{name} {split} accumulated"] = accumulated(
                start, rows, loss, targets, weight, keywords, mine, single, expected
            )
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
