"""Calls of the CPU kernels whose tensors lie between two pages that cannot be touched.

A program of its own, run by test_bounds.py: what reads or writes out of bounds ends it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import torch

from refocal import sigmoid_focal_loss, softmax_focal_loss
from refocal.kernels.cpu import sigmoid, softmax

PAGE = mmap.PAGESIZE
NO_ACCESS, READ_AND_WRITE, PRIVATE_AND_OF_NO_FILE = 0, 3, 0x22
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
LENGTHS = (1, 15, 17, 129, 1025)
SHAPES = (
    (1, 2),
    (17, 10),
    (65, 65),
    (7, 127),
    (2, 1000),
    (2, 21, 5, 7),
    (1, 3, 16, 16),
    (2, 5, 9, 31),
)

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

at_the_end = True


def guarded(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that begins where a page begins before which nothing may be touched, or ends so."""
    length = tensor.numel() * tensor.element_size()
    room = -(-length // PAGE) * PAGE
    base = libc.mmap(None, room + 2 * PAGE, READ_AND_WRITE, PRIVATE_AND_OF_NO_FILE, -1, 0)
    for guard in (base, base + PAGE + room):
        assert libc.mprotect(guard, PAGE, NO_ACCESS) == 0
    start = base + PAGE + (room - length if at_the_end else 0)
    memory = (ctypes.c_char * length).from_address(start)
    return torch.frombuffer(memory, dtype=tensor.dtype).view(tensor.shape).copy_(tensor)


def call(loss: Any, logits: torch.Tensor, targets: torch.Tensor, **keywords: Any) -> None:
    """Forward and backward with every tensor guarded."""
    given = {
        name: guarded(value) if isinstance(value, torch.Tensor) else value
        for name, value in keywords.items()
    }
    leaf = guarded(logits).requires_grad_()
    found = loss(leaf, guarded(targets), impl="cpu", **given)
    torch.autograd.backward(found, torch.ones_like(found))
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def main() -> None:
    global at_the_end
    for room in (sigmoid, softmax):  # gradients and unreduced losses, too
        room.fresh_like = lambda like: guarded(torch.zeros_like(like))  # type: ignore[attr-defined]
    calls = 0
    for side in (True, False):
        at_the_end = side
        for dtype in DTYPES:
            for length in LENGTHS:
                z, q = torch.randn(length).to(dtype), torch.rand(length).to(dtype)
                y = (q < 0.5).to(dtype)
                call(sigmoid_focal_loss, z, y)
                call(sigmoid_focal_loss, z, q, gamma=1.5, reduction="none")
                call(sigmoid_focal_loss, z, y.long(), ignore_index=1, sample_weight=q)
                call(sigmoid_focal_loss, z, y.bool(), gamma=q, reduction="none")
                calls += 4
            for shape in SHAPES:
                z, p = torch.randn(shape).to(dtype), torch.rand(shape).softmax(1).to(dtype)
                y = torch.randint(shape[1], shape[:1] + shape[2:])
                per_class, per_position = p.flatten()[: shape[1]], torch.rand(y.shape).to(dtype)
                call(softmax_focal_loss, z, y)
                call(softmax_focal_loss, z, y.int(), gamma=1.5, alpha=per_class, reduction="none")
                call(softmax_focal_loss, z, y, gamma=per_position, sample_weight=per_position)
                call(softmax_focal_loss, z, p, gamma=per_class, reduction="none")
                call(softmax_focal_loss, z, y, label_smoothing=0.1, sample_weight=per_position)
                calls += 5
    sys.stdout.write(f"{calls} calls\n")


if __name__ == "__main__":
    main()
