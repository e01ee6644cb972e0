"""What the softmax kernels share: groups of positions, sums, and the names both are bound to."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from refocal.formula.binding import rebound
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import pool
from refocal.kernels.cpu.compiled.dtypes import STORAGE
from refocal.kernels.cpu.compiled.math import formula_of, operations


class Kernel(Protocol):
    """What every kernel is described by."""

    @property
    def logits(self) -> str: ...
    @property
    def targets(self) -> str: ...
    @property
    def modulator(self) -> str: ...
    @property
    def detached(self) -> bool: ...
    @property
    def gradient(self) -> bool: ...


class SoftmaxKind(Kernel, Protocol):
    """A softmax' kernel, whose classes lie in one of several ways."""

    @property
    def layout(self) -> str: ...


# what `softmax_names` binds
ADJACENT = False

INNER_SIZE, GROUP, COUNT = frame.INNER_SIZE, frame.GROUP, frame.COUNT


def accumulated(total: Any, lost: Any, part: Any) -> Any:
    """A sum with one more part, and what its roundings have lost so far (Neumaier).

    For the sums of chunks: of a million classes, a plain float32 sum loses three digits.
    """
    grown = total + part
    of_part = grown - total
    return grown, lost + ((total - (grown - of_part)) + (part - of_part))


def group_of(integers: Any, block: Any) -> Any:
    """First position of a block and how many positions it has."""
    group = integers[GROUP]
    if ADJACENT:
        # a group never crosses from one image into the next
        inner = integers[INNER_SIZE]
        per_image = -(-inner // group)
        begin = (block % per_image) * group
        return block // per_image * inner + begin, min(group, inner - begin)
    first = block * group
    return first, min(group, integers[COUNT] - first)


def real_type(kernel: Kernel) -> type:
    """What a kernel computes in."""
    return np.float64 if kernel.logits == "float64" else np.float32


def kernel_names(kernel: Kernel, *, log1p_given: bool = False) -> dict[str, Any]:
    """What the functions of every kernel find under the names they use."""
    number = real_type(kernel)
    logits, targets = STORAGE[kernel.logits], STORAGE[kernel.targets]
    names: dict[str, Any] = {
        **operations(number),
        "Logit": logits.raw,
        "Target": targets.raw,
        "LOGIT_SIZE": logits.size,
        "TARGET_SIZE": targets.size,
        "REAL_SIZE": np.dtype(number).itemsize,
        "load": logits.load,
        "store": logits.store,
        "GRADIENT": kernel.gradient,
        **formula_of(number, kernel.modulator, kernel.detached, log1p_given),
        "reject": pool.reject,
    }
    names["number_at"] = rebound(pool.number_at, names)
    return names


def softmax_names(kernel: SoftmaxKind, *, log1p_given: bool = False) -> dict[str, Any]:
    """What those of a softmax find beside."""
    names = kernel_names(kernel, log1p_given=log1p_given)
    names |= {
        "ADJACENT": kernel.layout == "adjacent",
        "INNER_SIZE": INNER_SIZE,
        "GROUP": GROUP,
        "COUNT": COUNT,
    }
    names["accumulated"] = rebound(accumulated, names)
    names["group_of"] = rebound(group_of, names)
    return names
