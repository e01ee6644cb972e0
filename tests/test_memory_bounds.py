"""Kernels read nothing beyond their tensors: logits that end where readable memory ends."""

from __future__ import annotations

import ctypes
import mmap
import sys

import pytest
import torch
from torch import Tensor

import refocal
from cases import IMPLEMENTATIONS
from refocal.variants import gaussian_focal_loss, varifocal_loss

PAGE = mmap.PAGESIZE
NO_ACCESS = 0

pytestmark = pytest.mark.skipif(
    "cpu" not in IMPLEMENTATIONS or not sys.platform.startswith("linux"),
    reason="the kernels, on memory that mprotect can close",
)


def at_the_end(tensor: Tensor) -> Tensor:
    """A copy whose last byte is the last before a page that nobody may touch."""
    pages = -(-tensor.nbytes // PAGE)
    memory = mmap.mmap(-1, (pages + 1) * PAGE)
    buffer = (ctypes.c_char * ((pages + 1) * PAGE)).from_buffer(memory)
    libc = ctypes.CDLL(None, use_errno=True)
    closed = ctypes.c_void_p(ctypes.addressof(buffer) + pages * PAGE)
    assert libc.mprotect(closed, ctypes.c_size_t(PAGE), NO_ACCESS) == 0
    copy = torch.frombuffer(
        memory, dtype=tensor.dtype, count=tensor.numel(), offset=pages * PAGE - tensor.nbytes
    ).view(tensor.shape)
    return copy.copy_(tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(70, 3), (70, 64), (70, 65), (9, 1000), (3, 1024), (2, 5000)])
def test_softmax(shape: tuple[int, int], dtype: torch.dtype) -> None:
    z = torch.randn(shape).to(dtype)
    y = torch.randint(shape[1], (shape[0],))
    inside, edge = (leaf.requires_grad_() for leaf in (z, at_the_end(z)))
    for leaf, targets in ((inside, y), (edge, at_the_end(y))):
        refocal.softmax_focal_loss(leaf, targets, impl="cpu").backward()
    torch.testing.assert_close(edge.grad, inside.grad, rtol=0, atol=0)
    with torch.no_grad():
        losses = [refocal.softmax_focal_loss(leaf, y, impl="cpu") for leaf in (inside, edge)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("count", [1, 63, 4097])
def test_sigmoid(count: int, dtype: torch.dtype) -> None:
    z, y = torch.randn(count).to(dtype), torch.rand(count) < 0.5
    inside, edge = (leaf.requires_grad_() for leaf in (z, at_the_end(z)))
    for leaf, targets in ((inside, y), (edge, at_the_end(y))):
        refocal.sigmoid_focal_loss(leaf, targets, impl="cpu").backward()
    torch.testing.assert_close(edge.grad, inside.grad, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("count", [1, 63, 4097, 16_385])
def test_readings(count: int, dtype: torch.dtype) -> None:
    """Qualities, masks and heatmaps, whose peaks are counted too."""
    z, y = torch.randn(count).to(dtype), torch.rand(count).round(decimals=1).to(dtype)
    mask = y > 0.5
    inside, edge = (leaf.requires_grad_() for leaf in (z, at_the_end(z)))
    for leaf, targets, positives in ((inside, y, mask), (edge, at_the_end(y), at_the_end(mask))):
        varifocal_loss(leaf, targets, positives=positives).backward()
        gaussian_focal_loss(leaf, targets, ignore_index=0).backward()
    torch.testing.assert_close(edge.grad, inside.grad, rtol=0, atol=0)
