"""How many targets are one value: what a mean divides by, before the kernel of the loss runs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.formula.binding import rebound
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import pool, sigmoid
from refocal.kernels.cpu.compiled.dtypes import STORAGE
from refocal.kernels.cpu.compiled.math import from_bits, widest_vectors
from refocal.kernels.cpu.compiled.memory import view

if TYPE_CHECKING:  # bound over a dtype
    from refocal.kernels.cpu.compiled.bound import Target

TARGET_SIZE = 0
COUNTERS, TARGETS, COUNT, IGNORED = frame.COUNTERS, frame.TARGETS, frame.COUNT, frame.IGNORED
BLOCK = frame.COUNTED_BLOCK


is_value = sigmoid.is_ignored_integer  # or the other


def found_in_block(base: Any, block: Any) -> Any:
    """The number of targets of a block that are the value."""
    widest_vectors()
    integers = view(base, COUNTERS, np.int64)
    first = block * BLOCK
    count = min(BLOCK, integers[COUNT] - first)
    targets = view(integers[TARGETS] + first * TARGET_SIZE, count, Target)
    value = integers[IGNORED]
    found = 0
    for i in range(count):
        found += is_value(targets[i], True, value)
    return np.float64(found)


@cache
def address(targets: str) -> int:
    """Returns the address of the kernel for targets of a dtype."""
    storage = STORAGE[targets]
    names: dict[str, Any] = {
        **vars(sigmoid),
        **globals(),
        "Target": storage.raw,
        "TARGET_SIZE": storage.size,
        "target_number": storage.load,
        "double_of": from_bits,
    }
    of_kind = sigmoid.is_ignored_number if storage.floating else sigmoid.is_ignored_integer
    names["is_value"] = rebound(of_kind, names)
    return pool.kernel_address(rebound(found_in_block, names), f"count-{targets}")
