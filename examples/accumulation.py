"""Gradient accumulation with the gradient of the large batch.

python examples/accumulation.py

Every micro-batch divides by the count of the whole batch, so that the sum of the losses is the loss
of the whole. The mean of the means is not, where the count differs from part to part.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from refocal import SigmoidFocalLoss

torch.manual_seed(0)
x = torch.randn(1000, 8)
y = (x[:, :1] + 0.3 * torch.randn(1000, 1) > 2).float()
batches = list(zip(x.split(100), y.split(100), strict=True))
model = nn.Linear(8, 1)
whole, mean = copy.deepcopy(model), copy.deepcopy(model)

# --8<-- [start:train]
focal = SigmoidFocalLoss(normalizer="positives")
count = sum(focal.denominator(targets) for _, targets in batches)
for features, targets in batches:
    focal(model(features), targets, normalizer=count).backward()
# --8<-- [end:train]

focal(whole(x), y).backward()
for features, targets in batches:
    (focal(mean(features), targets) / len(batches)).backward()


def off(gradient):
    return ((gradient - whole.weight.grad).norm() / whole.weight.grad.norm()).item()


positives = [int(targets.sum()) for _, targets in batches]
print(f"positives in the micro-batches: {min(positives)} to {max(positives)}")
print(f"with the count of the whole: gradient off by {off(model.weight.grad):.0e}")
print(f"mean of the means: gradient off by {off(mean.weight.grad):.0%}")
