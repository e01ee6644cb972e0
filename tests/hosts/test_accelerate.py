"""accelerate: the plain module, bf16, and accumulation that equals the large batch."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from refocal import SigmoidFocalLoss

accelerate = pytest.importorskip("accelerate", reason="pip install accelerate")

ROWS, FEATURES, CLASSES = 14, 4, 3


@pytest.fixture(autouse=True)
def fresh_state():
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def test_bf16(tmp_path):
    accelerator = accelerate.Accelerator(mixed_precision="bf16", cpu=True)
    model = accelerator.prepare(nn.Linear(FEATURES, CLASSES))
    loss = SigmoidFocalLoss(alpha=torch.full((CLASSES,), 0.3))(
        model(torch.randn(ROWS, FEATURES)), torch.randint(0, 2, (ROWS, CLASSES))
    )
    accelerator.backward(loss)
    assert loss.dtype == torch.float32
    assert model.weight.grad.abs().max() > 0


@pytest.mark.parametrize("normalizer", ["elements", "positives"])
def test_accumulated_update_is_that_of_the_large_batch(normalizer):
    torch.manual_seed(0)
    x, y = torch.randn(ROWS, FEATURES), torch.randint(0, 2, (ROWS, CLASSES))
    focal = SigmoidFocalLoss(normalizer=normalizer)
    model = nn.Linear(FEATURES, CLASSES)
    whole = copy.deepcopy(model)
    focal(whole(x), y).backward()

    accelerator = accelerate.Accelerator(gradient_accumulation_steps=4, cpu=True)
    model, rows = accelerator.prepare(model, DataLoader(TensorDataset(x, y), batch_size=4))
    batches = list(rows)
    count = sum(focal.denominator(targets) for _, targets in batches)
    for features, targets in batches:  # the last of the four has two rows
        # accelerate divides by the number of steps, which the count already does
        loss = focal(model(features), targets, normalizer=count) * 4
        accelerator.backward(loss)
    assert_close(model.weight.grad, whole.weight.grad)
