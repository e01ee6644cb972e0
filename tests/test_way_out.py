"""Whoever follows the way out of a message ends at the right number, by the oracle of torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cases import sigmoid_focal_loss, softmax_focal_loss
from refocal import linear_focal_loss

N, C = 6, 3
GENERATOR = torch.Generator().manual_seed(3)
COLUMN = torch.randn(N, 1, generator=GENERATOR)
TABLE = torch.randn(N, C, generator=GENERATOR)
QUERIES = torch.randn(2, 5, C, generator=GENERATOR)
INDEX = torch.tensor([0, 2, 1, 1, 0, 2])
LABELS = torch.tensor([0, 1, 1, 0, 1, 0])
SOME_UNKNOWN = torch.tensor([0.0, 1.0, torch.nan, 0.0, 1.0, torch.nan])
PER_CLASS = torch.tensor([0.2, 0.5, 0.9])


def oracle(z: Tensor, y: Tensor, alpha: float | Tensor = 0.25) -> float:
    """The mean of alpha_t (1 - p_t)**2 (-log p_t) in float64, written out."""
    z, y = z.double(), y.double()
    p = torch.sigmoid(torch.where(y == 1, z, -z))
    weight = torch.where(y == 1, alpha, 1 - alpha)
    return float((-weight * (1 - p) ** 2 * torch.log(p)).mean())


one_hot = functional.one_hot
Z = COLUMN[:, 0]

# what was called, what the message says, the same followed, the right number
WAYS: list[tuple[Callable[[], Any], str, Callable[[], Any], float]] = [
    (
        lambda: sigmoid_focal_loss(COLUMN, LABELS),
        "targets[:, None]",
        lambda: sigmoid_focal_loss(COLUMN, LABELS[:, None]),
        oracle(COLUMN, LABELS[:, None]),
    ),
    (
        lambda: softmax_focal_loss(COLUMN, LABELS),
        "sigmoid_focal_loss(logits, targets[:, None])",
        lambda: sigmoid_focal_loss(COLUMN, LABELS[:, None]),
        oracle(COLUMN, LABELS[:, None]),
    ),
    (
        lambda: softmax_focal_loss(COLUMN.view(1, 1, 2, 3), LABELS.view(1, 2, 3)),
        "sigmoid_focal_loss(logits, targets[:, None])",
        lambda: sigmoid_focal_loss(COLUMN.view(1, 1, 2, 3), LABELS.view(1, 2, 3)[:, None]),
        oracle(COLUMN, LABELS[:, None]),
    ),
    (
        lambda: linear_focal_loss(TABLE, TABLE[:1], LABELS),
        "sigmoid_focal_loss((hidden @ weight.T).squeeze(-1), targets)",
        lambda: sigmoid_focal_loss((TABLE @ TABLE[:1].T).squeeze(-1), LABELS),
        oracle(TABLE.double() @ TABLE[0].double(), LABELS),
    ),
    (
        lambda: sigmoid_focal_loss(Z, LABELS * 255),
        "targets > 0",
        lambda: sigmoid_focal_loss(Z, LABELS * 255 > 0),
        oracle(Z, LABELS),
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.tensor([0, 1, 255, 0, 1, 255])),
        "ignore_index=255",
        lambda: sigmoid_focal_loss(Z, torch.tensor([0, 1, 255, 0, 1, 255]), ignore_index=255),
        oracle(Z[[0, 1, 3, 4]], LABELS[[0, 1, 3, 4]]),
    ),
    (
        lambda: sigmoid_focal_loss(Z, 2 * LABELS - 1),
        "targets > 0",
        lambda: sigmoid_focal_loss(Z, 2 * LABELS - 1 > 0),
        oracle(Z, LABELS),
    ),
    (
        lambda: sigmoid_focal_loss(TABLE, INDEX),
        "torch.nn.functional.one_hot(targets.long(), 3).to(logits.dtype)",
        lambda: sigmoid_focal_loss(TABLE, one_hot(INDEX, 3).to(TABLE.dtype)),
        oracle(TABLE, one_hot(INDEX, 3)),
    ),
    (
        lambda: sigmoid_focal_loss(TABLE.T[None], INDEX[None]),
        "one_hot(targets.long(), 3).movedim(-1, 1).to(logits.dtype)",
        lambda: sigmoid_focal_loss(TABLE.T[None], one_hot(INDEX[None], 3).movedim(-1, 1)),
        oracle(TABLE, one_hot(INDEX, 3)),
    ),
    (
        lambda: sigmoid_focal_loss(Z, SOME_UNKNOWN),
        "ignore_index=math.nan",
        lambda: sigmoid_focal_loss(Z, SOME_UNKNOWN, ignore_index=math.nan),
        oracle(Z[[0, 1, 3, 4]], LABELS[[0, 1, 3, 4]]),
    ),
    (
        lambda: sigmoid_focal_loss(Z, LABELS, alpha=7.0, gamma=0),
        "alpha=7.0 / (1 + 7.0), times 1 + 7.0",
        lambda: sigmoid_focal_loss(Z, LABELS, alpha=7.0 / (1 + 7.0), gamma=0) * (1 + 7.0),
        functional.binary_cross_entropy_with_logits(
            Z, LABELS.float(), pos_weight=torch.tensor(7.0)
        ).item(),
    ),
    (
        lambda: sigmoid_focal_loss(QUERIES, torch.ones_like(QUERIES), alpha=PER_CLASS),
        "alpha.view(1, 1, 3)",
        lambda: sigmoid_focal_loss(
            QUERIES, torch.ones_like(QUERIES), alpha=PER_CLASS.view(1, 1, 3)
        ),
        oracle(QUERIES, torch.ones_like(QUERIES), PER_CLASS.double()),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "way_out", "followed", "number"), WAYS)
def test_the_way_out_ends_well(
    wrong: Callable[[], Any], way_out: str, followed: Callable[[], Any], number: float
) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        wrong()
    assert way_out in str(caught.value)
    torch.testing.assert_close(followed().item(), number, rtol=2e-6, atol=0)
