"""Compiles the CPU kernels that most programs need, so that their first call does not wait.

A kernel is compiled when it is first needed and kept on disk (where Numba keeps what it compiles;
``NUMBA_CACHE_DIR`` names another folder). For an image that is built once and started often, or a
test machine, `refocal warm-up` does that ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from refocal.extras import need
from refocal.losses import sigmoid_focal_loss, softmax_focal_loss

ROWS, CLASSES = 64, 10


def _train(loss: Callable[..., Tensor], logits: Tensor, targets: Tensor, **keywords: Any) -> None:
    found = loss(logits.requires_grad_(), targets, impl="cpu", **keywords)
    torch.autograd.backward(found, torch.ones_like(found))


def _judge(loss: Callable[..., Tensor], logits: Tensor, targets: Tensor, **keywords: Any) -> None:
    with torch.no_grad():
        loss(logits, targets, impl="cpu", **keywords)


def typical_calls() -> dict[str, Callable[[], None]]:
    """Return what most programs call, by what it is; each call compiles a kernel, or two."""
    calls: dict[str, Callable[[], None]] = {}

    def add(name: str, loss: Any, logits: Tensor, targets: Tensor, **keywords: Any) -> None:
        calls[name] = partial(_train, loss, logits, targets, **keywords)

    sigmoid, softmax = sigmoid_focal_loss, softmax_focal_loss
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        z, y = torch.zeros(ROWS, dtype=dtype), torch.ones(ROWS, dtype=dtype)
        add(f"sigmoid, {name}", sigmoid, z, y)
        z, y = torch.zeros(ROWS, CLASSES, dtype=dtype), torch.zeros(ROWS, dtype=torch.int64)
        add(f"softmax, {name}", softmax, z, y)
    z, y, integers = torch.zeros(ROWS), torch.ones(ROWS), torch.ones(ROWS, dtype=torch.int64)
    calls["sigmoid, evaluation"] = partial(_judge, sigmoid, torch.zeros(ROWS), y)
    add("sigmoid, integer targets", sigmoid, z, integers)
    add("sigmoid, another gamma", sigmoid, z.clone(), y, gamma=1.5)
    add("sigmoid, unreduced", sigmoid, z.clone(), y, reduction="none")
    add("sigmoid, label smoothing", sigmoid, z.clone(), y, label_smoothing=0.1)
    add("sigmoid, sample weights", sigmoid, z.clone(), y, sample_weight=torch.ones(ROWS))
    add("sigmoid, ignored labels", sigmoid, z.clone(), integers, ignore_index=255)
    z, y = torch.zeros(ROWS, CLASSES), torch.zeros(ROWS, dtype=torch.int64)
    calls["softmax, evaluation"] = partial(_judge, softmax, torch.zeros(ROWS, CLASSES), y)
    add("softmax, many classes", softmax, torch.zeros(2, 1000), y[:2])
    add("softmax, another gamma", softmax, z, y, gamma=1.5)
    add("softmax, label smoothing", softmax, z.clone(), y, label_smoothing=0.1)
    add("softmax, probabilities", softmax, z.clone(), torch.full((ROWS, CLASSES), 1 / CLASSES))
    images = torch.zeros(1, CLASSES, 8, 8)
    add("softmax, segmentation", softmax, images, torch.zeros(1, 8, 8, dtype=torch.int64))
    return calls


def fill() -> Iterator[str]:
    """Compile the kernels of `typical_calls`, and yield the name of each when it is there.

    Raises:
        MissingExtra: Numba is not installed.
        RuntimeError: Numba is installed and cannot be used.
    """
    need("warm-up", "cpu")
    from refocal.kernels.cpu import backend

    if why := backend.trouble():
        raise RuntimeError(f"the CPU kernels cannot use Numba: {why}")
    from refocal.kernels.cpu.compiled import machine

    machine.say_nothing()
    for name, call in typical_calls().items():
        call()
        yield name


def cache_folder() -> str | None:
    """Return where compiled kernels are kept on disk, or None where nothing can be written."""
    from refocal.kernels.cpu.compiled import machine

    return machine.cache_folder()
