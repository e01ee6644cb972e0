"""Calls of a kernel's text by itself, over arrays of NumPy."""

from __future__ import annotations

import ctypes
from itertools import count
from typing import Any

import numpy as np

from refocal.formula.binding import rebound
from refocal.kernels.cpu.compiled import machine
from refocal.kernels.cpu.compiled.memory import view

_numbers = count()


def address(text: Any, /, **names: Any) -> int:
    """Where a text over these names lies, compiled anew."""
    over = rebound(text, {**text.__globals__, **names})
    return machine.address_of(over, f"test-{text.__name__}-{next(_numbers)}", kept=False)


def call(text: Any, *slots: Any, **names: Any) -> float:
    """Calls a text with whole numbers and arrays' addresses, and returns what it does."""
    frame = (ctypes.c_int64 * max(len(slots), 1))()
    for i, slot in enumerate(slots):
        frame[i] = slot.ctypes.data if isinstance(slot, np.ndarray) else slot
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(address(text, **names))
    result: float = function(frame)
    return result


def each_of_one(base: Any) -> None:
    """Writes a function of every element of an array to another one."""
    slots = view(base, 3, np.int64)
    given = view(slots[1], slots[0], Given)  # type: ignore[name-defined]  # noqa: F821
    found = view(slots[2], slots[0], Found)  # type: ignore[name-defined]  # noqa: F821
    for i in range(slots[0]):
        found[i] = function(given[i])  # type: ignore[name-defined]  # noqa: F821


def each_of_two(base: Any) -> None:
    """The same of every two elements of two arrays."""
    slots = view(base, 4, np.int64)
    one = view(slots[1], slots[0], Given)  # type: ignore[name-defined]  # noqa: F821
    other = view(slots[2], slots[0], Given)  # type: ignore[name-defined]  # noqa: F821
    found = view(slots[3], slots[0], Found)  # type: ignore[name-defined]  # noqa: F821
    for i in range(slots[0]):
        found[i] = function(one[i], other[i])  # type: ignore[name-defined]  # noqa: F821


def each(function: Any, *arrays: Any, found: Any = None) -> Any:
    """What a function of one number or two gives for each of arrays' elements.

    Args:
        function: a text.
        *arrays: of one dtype.
        found: the dtype of what it returns; theirs by default.
    """
    arrays = tuple(map(np.ascontiguousarray, arrays))
    dtype = arrays[0].dtype.type
    out = np.empty(arrays[0].shape, found or dtype)
    text = each_of_one if len(arrays) == 1 else each_of_two
    names = {"Given": dtype, "Found": found or dtype, "function": function}
    call(text, out.size, *arrays, out, **names)
    return out
