"""Data parallel training with the gradient of the whole batch, to the last digit but rounding.

torchrun --nproc-per-node 2 examples/ddp.py

The ranks hold different numbers of rows and of positives. Divided by its own positives, each rank's
gradient would weigh its rare positives differently, and DDP would average that.
"""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from refocal import SigmoidFocalLoss

dist.init_process_group("gloo")  # "nccl" where every rank has a GPU
rank, world = dist.get_rank(), dist.get_world_size()

torch.manual_seed(0)  # the same batch everywhere; a rank trains on its part
x = torch.randn(1000, 8)
y = (x[:, :1] + 0.3 * torch.randn(1000, 1) > 2).float()
part = slice(0, 900) if rank == 0 else slice(900, 1000)
model = nn.Linear(8, 1)
whole = copy.deepcopy(model)

# --8<-- [start:train]
focal = SigmoidFocalLoss(normalizer="positives", process_group=dist.group.WORLD)
model = DistributedDataParallel(model)
focal(model(x[part]), y[part]).backward()
# --8<-- [end:train]

SigmoidFocalLoss(normalizer="positives")(whole(x), y).backward()
local = copy.deepcopy(whole)
local.zero_grad()
naive = DistributedDataParallel(local)
SigmoidFocalLoss(normalizer="positives")(naive(x[part]), y[part]).backward()


def off(gradient):
    return ((gradient - whole.weight.grad).norm() / whole.weight.grad.norm()).item()


if rank == 0:
    print(f"positives: {y[:900].sum():.0f} on rank 0, {y[900:].sum():.0f} on the others")
    print(f"with process_group: gradient off by {off(model.module.weight.grad):.0e}")
    print(f"each rank by its own count: gradient off by {off(local.weight.grad):.0%}")
dist.destroy_process_group()
