"""Groups of positions as tiles, a row per class: vectors run over positions.

From the logits to the gradient in four steps, each a loop over vectors of positions and in it one
over classes, whose sums stay in registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled.math import where, widest_vectors
from refocal.kernels.cpu.compiled.memory import (
    LINE,
    place,
    prefetch_to_read,
    prefetch_to_write,
    table,
    view,
)
from refocal.kernels.cpu.compiled.positions import KNOWN, OWN, REST, SHARE, STEP, STRIDE, TOP
from refocal.kernels.cpu.compiled.values import LANES as VECTOR

# code over names that `softmax.address` binds over a computing dtype
if TYPE_CHECKING:
    from refocal.formula.margin import finite, term
    from refocal.formula.plain import INFINITY, ZERO
    from refocal.kernels.cpu.compiled.bound import (
        Logit,
        integer,
        put_slopes,
        read_tile,
        real,
        take,
        take_classes,
        take_logits,
        write_tile,
    )
    from refocal.kernels.cpu.compiled.common import accumulated, group_of
    from refocal.kernels.cpu.compiled.pool import reject
    from refocal.kernels.cpu.compiled.positions import describe, total_losses
    from refocal.kernels.cpu.compiled.vectors import all_of, put

LOGIT_SIZE = REAL_SIZE = SOURCE_SIZE = 0
GRADIENT = ADJACENT = False

COUNTERS, CLASSES, INNER_SIZE = frame.COUNTERS, frame.CLASSES, frame.INNER_SIZE
LOGITS, GRADIENTS = frame.LOGITS, frame.GRADIENT

# classes per partial sum
CLASS_CHUNK = 16


def rivals_of(
    source: Any, step: Any, tile: Any, row: Any, classes: Any, index: Any, known: Any
) -> None:
    """Reads logits into a tile, all but the one of each position's class; finds the largest.

    By comparing every class with the index: a logit fetched by its index is a load that no vector
    has, and whether a label is ignored a branch that nobody can guess.

    Args:
        source: address of the logits of the first class, ``step`` bytes before the next one's.
        step: see above.
        tile: address of a tile's first row, ``row`` bytes before the next one; may be the source.
        row: see above.
        classes: how many.
        index: each position's class, or -1 for one whose logits are not looked at.
        known: of each position.
    """
    widest_vectors()
    labels = place(index)
    facts = place(known)
    for start in range(0, len(index), VECTOR):
        at = tile + start * REAL_SIZE
        here = facts + start * REAL_SIZE
        label = take_classes(labels + start * REAL_SIZE, integer)
        ignored = label < 0
        own = all_of(ZERO)
        top = where(ignored, ZERO, all_of(-INFINITY))
        for c in range(classes):
            z = where(ignored, ZERO, take_logits(source + c * step + start * SOURCE_SIZE))
            is_own = label == c
            rival = where(is_own, -INFINITY, z)
            put(at + c * row, rival)
            own = where(is_own, z, own)
            top = where(rival > top, rival, top)
        put(here + OWN * REAL_SIZE, own)
        put(here + TOP * REAL_SIZE, top)


def exponentials_of(
    tile: Any, row: Any, classes: Any, count: Any, known: Any, ahead: Any, writes: Any, step: Any
) -> None:
    """The rivals become their exponentials, relative to the largest; sums them per position.

    The processor computes here and waits for no memory, so this is where what follows is asked for:
    with each vector one of the next group's logits and one of this one's gradient, ``ahead`` and
    ``writes``, or 0.
    """
    widest_vectors()
    facts = place(known)
    for start in range(0, count, VECTOR):
        at = tile + start * REAL_SIZE
        here = facts + start * REAL_SIZE
        base = finite(take(here + TOP * REAL_SIZE))
        rest = all_of(ZERO)
        lost = all_of(ZERO)
        for begin in range(0, classes, CLASS_CHUNK):
            part = all_of(ZERO)
            for c in range(begin, min(begin + CLASS_CHUNK, classes)):
                if ahead != 0:
                    prefetch_to_read(ahead + c * step + start * SOURCE_SIZE)
                if writes != 0:
                    prefetch_to_write(writes + c * step + start * SOURCE_SIZE)
                e = term(take(at + c * row), base)
                put(at + c * row, e)
                part = part + e
            rest, lost = accumulated(rest, lost, part)
        put(here + REST * REAL_SIZE, rest + lost)


def slopes_of(
    tile: Any, row: Any, classes: Any, target: Any, step: Any, index: Any, known: Any
) -> None:
    """The exponentials become the gradient, at an address as `rivals_of` reads from one."""
    widest_vectors()
    labels = place(index)
    facts = place(known)
    for start in range(0, len(index), VECTOR):
        at = tile + start * REAL_SIZE
        here = facts + start * REAL_SIZE
        label = take_classes(labels + start * REAL_SIZE, integer)
        own = take(here + STEP * REAL_SIZE)
        share = take(here + SHARE * REAL_SIZE)
        for c in range(classes):
            slope = where(label == c, own, take(at + c * row) * share)
            put_slopes(target + c * step + start * SOURCE_SIZE, slope)


def copy_rows(
    source: Any, source_step: Any, classes: Any, count: Any, target: Any, target_step: Any
) -> None:
    """Raw elements of each class, fewer than a vector, from one address to another."""
    for c in range(classes):
        elements = view(source + c * source_step, count, Logit)
        copies = view(target + c * target_step, count, Logit)
        for i in range(count):
            copies[i] = elements[i]


STEPS = (rivals_of, exponentials_of, slopes_of, copy_rows)


def kernel(base: Any, block: Any) -> Any:
    """One group of positions with a vector over them.

    Adjacent ones are read where they lie and their slopes written there, unless the last vector
    would reach beyond them: then the group is copied, which happens once per image.
    """
    integers = view(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    first, count = group_of(integers, block)
    width = -(-count // VECTOR) * VECTOR
    # of one piece of memory, from the start of a cache line on
    room = np.empty(KNOWN + STRIDE + 2 * classes * width + LINE, real)
    at = (place(room) + LINE - 1) // LINE * LINE
    known = view(at, KNOWN, real)
    index = view(at + KNOWN * REAL_SIZE, count, integer)
    if describe(integers, first, index, known):
        return reject(base)
    beyond = view(at + KNOWN * REAL_SIZE, width, integer)
    for i in range(count, width):
        beyond[i] = integer(-1)
    tile = at + (KNOWN + STRIDE) * REAL_SIZE
    row = width * REAL_SIZE
    source = target = tile
    step = row
    ahead = writes = np.int64(0)
    if ADJACENT:
        inner = integers[INNER_SIZE]
        start = (first // inner * classes * inner + first % inner) * LOGIT_SIZE
        logits_at, slopes_at = integers[LOGITS] + start, integers[GRADIENTS] + start
        if count == width:
            source, target = logits_at, slopes_at
            step = inner * LOGIT_SIZE
            ahead = source + count * LOGIT_SIZE
            writes = target if GRADIENT else np.int64(0)
        else:
            source = target = tile + classes * row
            step = width * LOGIT_SIZE
            copy_rows(logits_at, inner * LOGIT_SIZE, classes, count, source, step)
    else:
        read_tile(integers, first, count, table(tile, classes, width, real))
    rivals_of(source, step, tile, row, classes, index, known)
    exponentials_of(tile, row, classes, count, known, ahead, writes, step)
    total = total_losses(integers, first, 0, count, index, known)
    if GRADIENT:
        slopes_of(tile, row, classes, target, step, index, known)
        if not ADJACENT:
            write_tile(integers, first, count, table(tile, classes, width, real))
        elif count != width:
            copy_rows(target, step, classes, count, slopes_at, inner * LOGIT_SIZE)
    return np.float64(total)
