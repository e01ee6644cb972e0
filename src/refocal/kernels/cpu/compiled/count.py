"""How many targets are not ignored: what a mean divides by, before the kernel of the loss runs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import pool
from refocal.kernels.cpu.compiled.dtypes import STORAGE
from refocal.kernels.cpu.compiled.math import rebound, widest_vectors
from refocal.kernels.cpu.compiled.memory import view

if TYPE_CHECKING:  # bound over a dtype
    from refocal.kernels.cpu.compiled.bound import Target

TARGET_SIZE = 0
COUNTERS, TARGETS, COUNT, IGNORED = frame.COUNTERS, frame.TARGETS, frame.COUNT, frame.IGNORED
BLOCK = frame.COUNTED_BLOCK


def kept_of_block(base: Any, block: Any) -> Any:
    """The number of targets of a block that are not the ignored one."""
    widest_vectors()
    integers = view(base, COUNTERS, np.int64)
    first = block * BLOCK
    count = min(BLOCK, integers[COUNT] - first)
    targets = view(integers[TARGETS] + first * TARGET_SIZE, count, Target)
    ignored = integers[IGNORED]
    kept = 0
    for i in range(count):
        kept += np.int64(targets[i]) != ignored
    return np.float64(kept)


@cache
def address(targets: str) -> int:
    """Returns the address of the kernel for targets of an integer dtype."""
    storage = STORAGE[targets]
    names = {**globals(), "Target": storage.raw, "TARGET_SIZE": storage.size}
    return pool.kernel_address(rebound(kept_of_block, names), f"count-{targets}")
