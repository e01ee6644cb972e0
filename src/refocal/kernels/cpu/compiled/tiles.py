"""Groups of positions as tiles: a row per class, so that vectors run over positions.

Three ways in and out of memory, by how the classes lie there; see `softmax`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.formula.binding import rebound
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled.dtypes import Storage
from refocal.kernels.cpu.compiled.math import operations, widest_vectors
from refocal.kernels.cpu.compiled.memory import place, view
from refocal.kernels.cpu.compiled.text import apart
from refocal.kernels.cpu.compiled.transpose import (
    MASKS,
    side_of,
    transpose_masked,
    transpose_square,
)
from refocal.kernels.cpu.compiled.values import KINDS

if TYPE_CHECKING:  # bound over a computing dtype
    from refocal.kernels.cpu.compiled.bound import Element, load, real, store

SLOT = ELEMENT_SIZE = REAL_SIZE = SIDE = 0
SAME = MASKED = False

INNER_SIZE = frame.INNER_SIZE


def read_adjacent(integers: Any, first: Any, count: Any, tile: Any) -> None:
    widest_vectors()
    classes = len(tile)
    inner = integers[INNER_SIZE]
    start = first // inner * classes * inner + first % inner
    for c in range(classes):
        at = integers[SLOT] + (start + c * inner) * ELEMENT_SIZE
        source = view(at, count, Element)
        for i in range(count):
            tile[c, i] = load(source[i])


def write_adjacent(integers: Any, first: Any, count: Any, tile: Any) -> None:
    widest_vectors()
    classes = len(tile)
    inner = integers[INNER_SIZE]
    start = first // inner * classes * inner + first % inner
    for c in range(classes):
        at = integers[SLOT] + (start + c * inner) * ELEMENT_SIZE
        target = view(at, count, Element)
        for i in range(count):
            target[i] = store(tile[c, i])


def read_scattered(integers: Any, first: Any, count: Any, tile: Any) -> None:
    classes = len(tile)
    inner = integers[INNER_SIZE]
    for i in range(count):
        start = (first + i) // inner * classes * inner + (first + i) % inner
        at = integers[SLOT] + start * ELEMENT_SIZE
        source = view(at, classes * inner, Element)
        for c in range(classes):
            tile[c, i] = load(source[c * inner])


def write_scattered(integers: Any, first: Any, count: Any, tile: Any) -> None:
    classes = len(tile)
    inner = integers[INNER_SIZE]
    for i in range(count):
        start = (first + i) // inner * classes * inner + (first + i) % inner
        at = integers[SLOT] + start * ELEMENT_SIZE
        target = view(at, classes * inner, Element)
        for c in range(classes):
            target[c * inner] = store(tile[c, i])


def transpose_singly(
    source: Any, source_row: Any, rows: Any, columns: Any, target: Any, target_row: Any
) -> None:
    """One number after another."""
    for i in range(rows):
        row = view(source + i * source_row, columns, real)
        for j in range(columns):
            view(target + j * target_row + i * REAL_SIZE, 1, real)[0] = row[j]


def transpose_all(
    source: Any, source_row: Any, rows: Any, columns: Any, target: Any, target_row: Any
) -> None:
    """A matrix at an address into one at another; of both, so many numbers from row to row."""
    widest_vectors()
    step, target_step = source_row * REAL_SIZE, target_row * REAL_SIZE
    for i in range(0, rows, SIDE):
        for j in range(0, columns, SIDE):
            here = source + (i * source_row + j) * REAL_SIZE
            there = target + (j * target_row + i) * REAL_SIZE
            height, width = rows - i, columns - j
            if MASKED:
                transpose_masked(real, here, step, height, width, there, target_step)
            elif (height >= SIDE) & (width >= SIDE):
                transpose_square(real, here, step, there, target_step)
            else:
                height, width = min(height, SIDE), min(width, SIDE)
                transpose_singly(here, step, height, width, there, target_step)


def read_transposed(integers: Any, first: Any, count: Any, tile: Any) -> None:
    widest_vectors()
    classes = len(tile)
    at = integers[SLOT] + first * classes * ELEMENT_SIZE
    if SAME:
        transpose_all(at, classes, count, classes, place(tile), tile.shape[1])
    else:
        source = view(at, count * classes, Element)
        numbers = np.empty(count * classes, real)
        for i in range(count * classes):
            numbers[i] = load(source[i])
        transpose_all(place(numbers), classes, count, classes, place(tile), tile.shape[1])


def write_transposed(integers: Any, first: Any, count: Any, tile: Any) -> None:
    widest_vectors()
    classes = len(tile)
    at = integers[SLOT] + first * classes * ELEMENT_SIZE
    if SAME:
        transpose_all(place(tile), tile.shape[1], classes, count, at, classes)
    else:
        target = view(at, count * classes, Element)
        numbers = np.empty(count * classes, real)
        transpose_all(place(tile), tile.shape[1], classes, count, place(numbers), classes)
        for i in range(count * classes):
            target[i] = store(numbers[i])


READERS = {
    "transposed": read_transposed,
    "adjacent": read_adjacent,
    "scattered": read_scattered,
}
WRITERS = {
    "transposed": write_transposed,
    "adjacent": write_adjacent,
    "scattered": write_scattered,
}


def reader(layout: str, slot: int, storage: Storage, number: type) -> Any:
    """Fills a tile from the tensor whose address is in a slot."""
    return _bound(READERS[layout], slot, storage, number)


def writer(layout: str, slot: int, storage: Storage, number: type) -> Any:
    """Stores a tile into the tensor whose address is in a slot."""
    return _bound(WRITERS[layout], slot, storage, number)


def _bound(function: Any, slot: int, storage: Storage, number: type) -> Any:
    names: dict[str, Any] = {
        **globals(),
        **operations(number),
        "SLOT": slot,
        "Element": storage.raw,
        "ELEMENT_SIZE": storage.size,
        "SAME": storage.raw is number,
        "load": storage.load,
        "store": storage.store,
        "transpose_all": transposer(number, MASKS),
    }
    return apart(rebound(function, names))


@cache
def transposer(number: type, masked: bool) -> Any:
    """Transposes any matrix; the same one for all that read or write tiles of a kernel."""
    kind = KINDS[number]
    names: dict[str, Any] = {
        **globals(),
        **operations(number),
        "REAL_SIZE": kind.size,
        "SIDE": side_of(kind, masks=masked),
        "MASKED": masked,
    }
    names["transpose_singly"] = rebound(transpose_singly, names)
    return apart(rebound(transpose_all, names))
