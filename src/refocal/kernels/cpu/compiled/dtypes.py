"""Elements in memory to numbers and back, per dtype. Half precision travels as its 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import types as nt

from refocal.kernels.cpu.compiled.binding import inlined
from refocal.kernels.cpu.compiled.math import (
    bits_of,
    from_bits,
    half_to_single,
    single_to_half,
    where,
)
from refocal.problem import rounding_of


def _as_single(raw: Any) -> Any:
    return nt.float32(raw)


def _as_double(raw: Any) -> Any:
    return nt.float64(raw)


def _as_integer(raw: Any) -> Any:
    return nt.int64(raw)


def _brain_to_single(raw: Any) -> Any:
    return from_bits(nt.int32(nt.int32(raw) << 16))


def _single_to_brain(value: Any) -> Any:
    """To nearest, ties to even, by carrying into the upper half; NaN would carry into infinity."""
    bits = bits_of(value)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return nt.uint16(where(value != value, nt.int64(0x7FC0), nt.int64(rounded)))


class Storage(NamedTuple):
    """How a dtype lies in memory.

    Attributes:
        raw: what a `view` of it is declared as.
        size: bytes.
        load: raw element to a number.
        store: number to raw element, rounded once.
        floating: whether it may hold anything between 0 and 1.
    """

    raw: Any
    size: int
    load: Callable[[Any], Any]
    store: Callable[[Any], Any]
    floating: bool


STORAGE = {
    "float32": Storage(np.float32, 4, inlined(_as_single), inlined(_as_single), True),
    "float64": Storage(np.float64, 8, inlined(_as_double), inlined(_as_double), True),
    "bfloat16": Storage(np.uint16, 2, inlined(_brain_to_single), inlined(_single_to_brain), True),
    "float16": Storage(np.uint16, 2, half_to_single, single_to_half, True),
    **{
        name: Storage(
            raw, np.dtype(raw).itemsize, inlined(_as_integer), inlined(_as_integer), False
        )
        for name, raw in (
            ("bool", np.uint8),
            ("uint8", np.uint8),
            ("int8", np.int8),
            ("int16", np.int16),
            ("int32", np.int32),
            ("int64", np.int64),
        )
    },
}


def target_limits(name: str) -> dict[str, Any]:
    """Between what soft targets of a dtype lie, rounding included, as what `load` makes of them."""
    if not STORAGE[name].floating:
        return {"LEAST_TARGET": 0, "MOST_TARGET": 1}
    number = np.float64 if name == "float64" else np.float32
    slack = rounding_of(getattr(torch, name))
    return {"LEAST_TARGET": number(-slack), "MOST_TARGET": number(1 + slack)}
