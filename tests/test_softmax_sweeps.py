"""The softmax swept by structure: gaps, ties, rivals at -inf, from 1 to 100,000 classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import oracle
from cases import FULL_DTYPES, SOFTMAX, assert_matches, assert_within, eps, numbers, wide
from refocal import softmax_focal_loss
from refocal.kernels.cpu import backend as cpu

BACKENDS = ["eager", *(["cpu"] if cpu.NUMBA_IS_INSTALLED else [])]
every_backend = pytest.mark.parametrize("implementation", BACKENDS)
every_dtype = pytest.mark.parametrize("dtype", FULL_DTYPES, ids=str)
# an exact modulator, and one that takes an exponential
GAMMAS = {torch.float32: (2.0, 0.5), torch.float64: (1.5,)}
GAPS = torch.cat([torch.logspace(-8, 2.5, 43, dtype=torch.float64), torch.zeros(1)])
MANY = (2, 3, 16, 17, 128, 129, 1000, 4097, 100_000)


def sweep(implementation: str, z: Tensor, targets: Tensor, **keywords: object) -> None:
    for gamma in GAMMAS[z.dtype]:
        assert_matches(
            implementation, SOFTMAX, z, targets, gamma=gamma, reduction="none", **keywords
        )


@every_backend
@every_dtype
def test_gaps(implementation: str, dtype: torch.dtype) -> None:
    """The true class ahead of the best rival, or behind it, by 1e-8 to 316."""
    gaps = torch.cat([GAPS, -GAPS])
    z = torch.zeros(len(gaps), 5, dtype=torch.float64)
    z[:, 1] = gaps
    z[:, 2:] = torch.tensor([-1e-3, -40.0, -300.0])
    targets = torch.ones(len(gaps), dtype=torch.long)
    for shift in (0.0, 1000.0, -1e5):
        sweep(implementation, (z + shift).to(dtype), targets)


@every_backend
@every_dtype
def test_ties(implementation: str, dtype: torch.dtype) -> None:
    """1 to 16 classes share the top, the true class among them or below by a gap."""
    rows, targets = [], []
    for tied in range(1, 17):
        for gap in (0.0, 1e-6, 1.0, 30.0):
            for target in (0, tied - 1, 16):
                row = torch.full((17,), -gap, dtype=torch.float64)
                row[:tied] = 0
                rows.append(row)
                targets.append(target)
    sweep(implementation, torch.stack(rows).to(dtype), torch.tensor(targets))


@every_backend
@every_dtype
def test_rivals_at_minus_infinity(implementation: str, dtype: torch.dtype) -> None:
    """Any number of masked rivals: the loss and gradient of the classes that are left."""
    classes = 9
    rows, targets = [], []
    generator = torch.Generator().manual_seed(0)
    for masked in range(classes):
        for repeat in range(4):
            row = 6 * torch.randn(classes, generator=generator, dtype=torch.float64)
            order = torch.randperm(classes, generator=generator)
            row[order[:masked]] = -torch.inf
            rows.append(row)
            # one that is left or, once, one that is masked, whose loss is infinite
            targets.append(int(order[-1] if repeat or masked < 2 else order[0]))
    z, y = torch.stack(rows).to(dtype), torch.tensor(targets)
    sweep(implementation, z, y)
    masked = z.isneginf() & ~torch.nn.functional.one_hot(y, classes).bool()
    leaf = z.clone().requires_grad_()
    softmax_focal_loss(
        leaf, y, gamma=GAMMAS[dtype][0], reduction="sum", impl=implementation
    ).backward()
    assert leaf.grad[masked].eq(0).all()


@every_backend
@every_dtype
@pytest.mark.parametrize("classes", MANY)
def test_from_two_classes_to_100_000(implementation: str, dtype: torch.dtype, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    z = torch.randn(4, classes, generator=generator, dtype=torch.float64)
    z *= torch.tensor([[0.0], [1.0], [5.0], [20.0]])
    targets = torch.tensor([0, classes - 1, classes // 2, classes // 3])
    z[3, targets[3]] += 15.0
    sweep(implementation, z.to(dtype), targets)


@pytest.mark.skipif(not cpu.NUMBA_IS_INSTALLED, reason="Numba is not installed")
@pytest.mark.parametrize(("classes", "positions"), [(10, 16_384), (65, 40_000), (129, 20_000)])
def test_blocks_as_large_as_they_become(classes: int, positions: int) -> None:
    """A position has the same bits among hundreds as among seven, two of them ignored."""
    generator = torch.Generator().manual_seed(classes)
    few = 4 * torch.randn(7, classes, generator=generator)
    y = torch.tensor([0, classes - 1, -100, 1, 2, -100, 3])
    times = -(-positions // 7)
    gradients = []
    for z, targets in ((few, y), (few.repeat(times, 1), y.repeat(times))):
        leaf = z.clone().requires_grad_()
        softmax_focal_loss(leaf, targets, gamma=1.5, reduction="sum", impl="cpu").backward()
        gradients.append(leaf.grad)
    alone, among_many = gradients
    torch.testing.assert_close(
        among_many.view(times, 7, classes), alone.expand(times, 7, classes), rtol=0, atol=0
    )


@every_backend
@every_dtype
@pytest.mark.parametrize("classes", [2, 1000, 100_000])
def test_equal_logits_have_an_answer_in_closed_form(
    implementation: str, dtype: torch.dtype, classes: int
) -> None:
    """p_y = 1 / C: the margin is -log(C - 1), and every rival has an equal share."""
    z = torch.full((3, classes), 7.0, dtype=dtype, requires_grad=True)
    gamma = GAMMAS[dtype][0]
    loss = softmax_focal_loss(z, torch.zeros(3, dtype=torch.long), gamma=gamma, impl=implementation)
    loss.backward()
    s = -np.log(wide(classes - 1))
    allowed = 3 * 8 * eps(dtype)
    value, slope = oracle.value(s, gamma), oracle.slope(s, gamma) / 3
    assert_within(loss.detach(), value, allowed * value)
    assert_within(z.grad[:, 0], slope, allowed * abs(slope))
    share = abs(slope) / (classes - 1)
    assert_within(z.grad[:, 1:], share, allowed * share)
    assert abs(numbers(z.grad).sum()) < allowed * 6 * abs(slope)


@every_backend
@pytest.mark.parametrize("classes", [17, 5000])
def test_probabilities_over_gaps_and_masks(implementation: str, classes: int) -> None:
    """Targets that are spread over a few classes, some of which no logit can reach."""
    generator = torch.Generator().manual_seed(classes)
    z = torch.randn(12, classes, generator=generator) * torch.logspace(-3, 1.5, 12)[:, None]
    y = torch.zeros(12, classes)
    for row in range(12):
        few = torch.randperm(classes, generator=generator)[:4]
        y[row, few] = torch.tensor([0.5, 0.25, 0.125, 0.125])
        z[row, few[0]] += row
    left_out = (y == 0) & (torch.rand(12, classes, generator=generator) < 0.3)
    sweep(implementation, torch.where(left_out, -torch.inf, z), y)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 37, 200])
@pytest.mark.parametrize("image", [False, True], ids=["rows", "image"])
def test_losses_of_a_block_are_added_by_halves(count, image):
    """In an order that does not depend on the processor's vectors."""
    pytest.importorskip("numba")
    shape = (1, 5, count) if image else (count, 5)
    logits = 3 * torch.randn(shape)
    targets = torch.randint(0, 5, (1, count) if image else (count,))
    losses = softmax_focal_loss(logits, targets, reduction="none", impl="cpu").flatten()
    while len(losses) > 1:
        half = (len(losses) + 1) // 2
        losses = torch.cat(
            [losses[: len(losses) - half] + losses[half:], losses[len(losses) - half : half]]
        )
    found = softmax_focal_loss(logits, targets, reduction="sum", impl="cpu")
    torch.testing.assert_close(found, losses[0], rtol=0, atol=0)
