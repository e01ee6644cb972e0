"""One rank of tests/test_tensor_parallel.py: python shards.py RANK WORLD FOLDER.

Each rank holds its classes of every row as a DTensor shard; rank 0 also computes all classes in one
process, and writes both.
"""

import copy
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    loss_parallel,
    parallelize_module,
)

from refocal import SoftmaxFocalLoss, softmax_focal_loss

ROWS, CLASSES = 7, 10  # over 4 ranks: 3, 3, 3 and 1 class


def cases() -> dict:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(ROWS, CLASSES, generator=generator) * 4
    index = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    ignoring = index.clone()
    ignoring[2] = -100
    weight = torch.rand(ROWS, generator=generator)
    alpha = torch.rand(CLASSES, generator=generator)
    gamma = torch.rand(CLASSES, generator=generator) * 3
    steps = torch.randn(3, CLASSES, 4, generator=generator)
    by_step = torch.randint(0, CLASSES, (3, 4), generator=generator)
    masked = z.clone()
    masked[:, :3] = -torch.inf  # the first shard has no finite rival
    masked[1, 3:] = -torch.inf
    masked[1, 5] = 2.0  # only the target is left
    on_masked = torch.tensor([5, 5, 9, 3, 4, 8, 7])
    extreme = z.clone()
    extreme[0, 1] = torch.inf
    extreme[1, 2] = 3e38
    extreme[2, 8] = -3e38
    extreme[3] = 0.0
    extreme[4, 6] = torch.inf
    on_extreme = torch.tensor([5, 2, 8, 0, 6, 1, 1])
    broken = z.clone()
    broken[0, 9] = torch.nan
    broken[1, 0] = torch.nan
    broken[2] = torch.nan
    on_broken = torch.tensor([0, 0, -100, 3, 4, 5, 6])
    return {
        "plain": (z, index, {}),
        "cross-entropy": (z, index, {"gamma": 0.0}),
        "gamma below 1": (z, index, {"gamma": 0.3, "reduction": "sum"}),
        "ignored": (z, ignoring, {}),
        "unreduced": (z, ignoring, {"reduction": "none"}),
        "detached": (z, index, {"detach_modulator": True}),
        "per class": (z, index, {"alpha": alpha, "gamma": gamma, "normalizer": "weights"}),
        "weights": (z, ignoring, {"sample_weight": weight, "normalizer": "weights"}),
        "per row gamma": (z, index, {"gamma": weight * 2}),
        "sequence": (steps, by_step, {"alpha": alpha, "gamma": gamma}),
        "sequence, gamma per position": (steps, by_step, {"gamma": by_step / 3.0}),
        "one position": (z[0], index[0], {"reduction": "none"}),
        "fewer classes than ranks": (z[:, :2], index % 2, {}),
        "no rows": (z[:0], index[:0], {}),
        "masked classes": (masked, on_masked, {"reduction": "none"}),
        "extreme logits": (extreme, on_extreme, {"reduction": "none"}),
        "nan": (broken, on_broken, {"reduction": "none"}),
        "bfloat16": (z.bfloat16(), index, {}),
        "float64": (z.double(), index, {}),
    }


def whole(z: torch.Tensor, y: torch.Tensor, keywords: dict) -> tuple[torch.Tensor, torch.Tensor]:
    z = z.clone().requires_grad_()
    loss = softmax_focal_loss(z, y, **keywords)
    loss.sum().backward()
    return loss.detach(), z.grad


def split(
    z: torch.Tensor, y: torch.Tensor, keywords: dict, mesh: DeviceMesh
) -> tuple[torch.Tensor, torch.Tensor, dict]:
    axis = Shard(0 if z.dim() == 1 else 1)
    z = distribute_tensor(z.clone(), mesh, [axis]).requires_grad_()
    with CommDebugMode() as communication:
        loss = softmax_focal_loss(z, y, **keywords)
        loss.sum().backward()
    assert isinstance(loss, DTensor)
    assert loss.placements == (Replicate(),)
    assert z.grad.placements == (axis,)
    counts = {str(name): count for name, count in communication.get_comm_counts().items()}
    return loss.full_tensor().detach(), z.grad.full_tensor(), counts


def through_a_layer(mesh: DeviceMesh) -> dict:
    """A language model's head: its weight is split, and so are the logits it returns."""
    hidden, index = torch.randn(2, 3, 6), torch.randint(0, CLASSES, (6,))
    single = nn.Sequential(nn.Linear(6, CLASSES))
    spread = copy.deepcopy(single)
    expected = SoftmaxFocalLoss()(single(hidden).flatten(0, 1), index)
    expected.backward()
    plan = {"0": ColwiseParallel(output_layouts=Shard(-1), use_local_output=False)}
    parallelize_module(spread, mesh, plan)
    with loss_parallel():
        loss = SoftmaxFocalLoss()(spread(hidden).flatten(0, 1), index)
        loss.backward()
    return {
        "loss": loss.full_tensor().detach(),
        "expected_loss": expected.detach(),
        "gradient": spread[0].weight.grad.full_tensor(),
        "expected": single[0].weight.grad,
        "communication": {},
    }


def with_a_group(mesh: DeviceMesh) -> dict:
    """The denominator summed over ranks beside classes split over ranks.

    Every rank passes the same rows, so numerator and denominator grow alike.
    """
    z, index, _ = cases()["ignored"]
    keywords = {"process_group": dist.group.WORLD}
    loss, gradient, communication = split(z, index, keywords, mesh)
    expected_loss, expected = whole(z, index, {})
    return {
        "loss": loss,
        "gradient": gradient,
        "expected_loss": expected_loss,
        "expected": expected,
        "communication": communication,
    }


def refused(mesh: DeviceMesh) -> dict[str, str]:
    """What a call answers that is not possible without gathering."""
    z = distribute_tensor(torch.randn(ROWS, CLASSES), mesh, [Shard(1)])
    index = torch.zeros(ROWS, dtype=torch.long)
    weight = torch.ones(ROWS, requires_grad=True)
    calls = {
        "soft": lambda: softmax_focal_loss(z, torch.rand(ROWS, CLASSES)),
        "smoothing": lambda: softmax_focal_loss(z, index, label_smoothing=0.1),
        "differentiated": lambda: softmax_focal_loss(z, index, sample_weight=weight),
        "out of range": lambda: softmax_focal_loss(z, index + CLASSES),
    }
    messages = {}
    for name, call in calls.items():
        try:
            call()
        except ValueError as error:
            messages[name] = str(error)
    return messages


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    mesh = init_device_mesh("cpu", (world,))
    found = {}
    for name, (z, y, keywords) in cases().items():
        loss, gradient, communication = split(z, y, keywords, mesh)
        expected_loss, expected = whole(z, y, keywords)
        found[name] = {
            "loss": loss,
            "gradient": gradient,
            "expected_loss": expected_loss,
            "expected": expected,
            "communication": communication,
        }
    torch.manual_seed(0)
    found["loss_parallel"] = through_a_layer(mesh)
    found["process group"] = with_a_group(mesh)
    messages = refused(mesh)
    if rank == 0:
        torch.save({"found": found, "messages": messages}, folder / "found.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
