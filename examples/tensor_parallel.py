"""A language model's head whose vocabulary is split over ranks; the logits are never gathered.

torchrun --nproc-per-node 2 examples/tensor_parallel.py
"""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

from refocal import softmax_focal_loss

WORDS, WIDTH, ROWS = 5000, 64, 256

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
torch.manual_seed(0)
hidden, words = torch.randn(ROWS, WIDTH), torch.randint(0, WORDS, (ROWS,))
model = nn.Sequential(nn.Linear(WIDTH, WORDS))
whole = copy.deepcopy(model)

# --8<-- [start:train]
plan = {"0": ColwiseParallel(output_layouts=Shard(-1), use_local_output=False)}
model = parallelize_module(model, mesh, plan)
logits = model(hidden)  # a DTensor: every rank holds its words' columns
loss = softmax_focal_loss(logits, words, gamma=2.0)
loss.backward()
# --8<-- [end:train]

with CommDebugMode() as communication:
    softmax_focal_loss(logits.detach().requires_grad_(), words).backward()
expected = softmax_focal_loss(whole(hidden), words, gamma=2.0)
expected.backward()
difference = model[0].weight.grad.full_tensor() - whole[0].weight.grad
if dist.get_rank() == 0:
    print(f"loss {loss.full_tensor():.6f}, in one process {expected:.6f}")
    print(f"largest difference of a gradient {difference.abs().max():.0e}")
    print(f"collectives of loss and backward: {communication.get_total_counts()}")
    print(f"numbers in them: {3 * ROWS:,}; in the logits: {ROWS * WORDS:,}")
dist.destroy_process_group()
