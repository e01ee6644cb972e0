"""Elements in memory to numbers and back, per dtype. Half precision travels as its 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from refocal.formula.binding import rebound
from refocal.kernels.cpu.compiled.math import (
    bits_of,
    from_bits,
    half_to_single,
    single_to_half,
    where,
)
from refocal.kernels.cpu.compiled.values import FLOAT32, FLOAT64, INT32, INT64, UINT16
from refocal.kernels.cpu.compiled.vectors import put, take
from refocal.problem import rounding_of


def _as_single(raw: Any) -> Any:
    return FLOAT32(raw)


def _as_double(raw: Any) -> Any:
    return FLOAT64(raw)


def _as_integer(raw: Any) -> Any:
    return INT64(raw)


def _brain_to_single(raw: Any) -> Any:
    return from_bits(INT32(INT32(raw) << 16))


def _single_to_brain(value: Any) -> Any:
    """To nearest, ties to even, by carrying into the upper half; NaN would carry into infinity."""
    bits = bits_of(value)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return UINT16(where(value != value, 0x7FC0, rounded))


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
    "float32": Storage(np.float32, 4, _as_single, _as_single, True),
    "float64": Storage(np.float64, 8, _as_double, _as_double, True),
    "bfloat16": Storage(np.uint16, 2, _brain_to_single, _single_to_brain, True),
    "float16": Storage(np.uint16, 2, half_to_single, single_to_half, True),
    **{
        name: Storage(raw, np.dtype(raw).itemsize, _as_integer, _as_integer, False)
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


# under names that `vectors_of` binds
if TYPE_CHECKING:
    from refocal.kernels.cpu.compiled.bound import Element, load, store


def taken(address: Any) -> Any:
    """A vector of numbers, from where they lie."""
    return load(take(address, Element))


def left(address: Any, numbers: Any) -> None:
    """Leaves a vector of numbers at an address, each rounded once."""
    put(address, store(numbers))


def vectors_of(name: str) -> tuple[Any, Any]:
    """A dtype's way from memory into a vector, and back."""
    storage = STORAGE[name]
    names = {**globals(), "Element": storage.raw, "load": storage.load, "store": storage.store}
    return rebound(taken, names), rebound(left, names)


def target_limits(name: str) -> dict[str, Any]:
    """Between what soft targets of a dtype lie, rounding included, as what `load` makes of them."""
    if not STORAGE[name].floating:
        return {"LEAST_TARGET": 0, "MOST_TARGET": 1}
    number = np.float64 if name == "float64" else np.float32
    slack = rounding_of(getattr(torch, name))
    return {"LEAST_TARGET": number(-slack), "MOST_TARGET": number(1 + slack)}
