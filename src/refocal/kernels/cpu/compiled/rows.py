"""Many classes, side by side: vectors run along the classes of one position."""

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
    view,
)
from refocal.kernels.cpu.compiled.positions import KNOWN, OWN, REST, SHARE, STEP, TOP
from refocal.kernels.cpu.compiled.values import LANES as VECTOR

# code over names that `softmax.address` binds over a computing dtype
if TYPE_CHECKING:
    from refocal.formula.margin import finite, plain_term
    from refocal.formula.plain import INFINITY, ZERO
    from refocal.kernels.cpu.compiled.bound import (
        Logit,
        integer,
        put_slopes,
        real,
        store,
        take,
        take_logits,
    )
    from refocal.kernels.cpu.compiled.common import accumulated
    from refocal.kernels.cpu.compiled.pool import reject
    from refocal.kernels.cpu.compiled.positions import describe, total_losses
    from refocal.kernels.cpu.compiled.vectors import (
        all_of,
        lane_numbers,
        largest_of,
        put,
        sum_of,
    )

LOGIT_SIZE = REAL_SIZE = 0
GRADIENT = False

COUNTERS, CLASSES = frame.COUNTERS, frame.CLASSES
LOGITS, GRADIENTS = frame.LOGITS, frame.GRADIENT
COUNT, GROUP = frame.COUNT, frame.GROUP

# classes per partial sum
CHUNK = 16 * VECTOR
# numbers in the ring of rows, a fraction of the L1 cache, through which logits and gradients stream
# as well, and rows in a batch
RING = 4096
LARGEST_BATCH = 16
# rows between the one that comes and the one that becomes exponentials
AHEAD = 2
# bytes from what is read or written to what is asked for
SOON = 512


def fetch(ahead: Any, classes: Any, coming: Any) -> Any:
    """Copies a row of logits into the ring; returns the largest.

    Whole vectors from the first class on and, where classes are left, one of the last ones in
    which those that an earlier vector has are -inf: nothing beyond a row is read.
    """
    widest_vectors()
    top = all_of(-INFINITY)
    whole = classes // VECTOR * VECTOR
    for c in range(0, whole, VECTOR):
        z = take_logits(ahead + c * LOGIT_SIZE)
        put(coming + c * REAL_SIZE, z)
        top = where(z > top, z, top)
    if whole < classes:
        z = rear_of(ahead, classes, whole)
        put(coming + whole * REAL_SIZE, z)
        top = where(z > top, z, top)
    return largest_of(top)


def rear_of(row: Any, classes: Any, whole: Any) -> Any:
    """The last classes of a row, those that are in whole vectors as -inf."""
    rear = classes - VECTOR
    seen = lane_numbers(integer) < whole - rear
    return where(seen, -INFINITY, take_logits(row + rear * LOGIT_SIZE))


def largest_in(row: Any, width: Any) -> Any:
    """The largest of a row of the ring."""
    widest_vectors()
    top = all_of(-INFINITY)
    for c in range(0, width, VECTOR):
        z = take(row + c * REAL_SIZE)
        top = where(z > top, z, top)
    return largest_of(top)


def hold(row: Any, width: Any) -> None:
    """Infinite rivals in a row of the ring become the largest number."""
    widest_vectors()
    for c in range(0, width, VECTOR):
        put(row + c * REAL_SIZE, finite(take(row + c * REAL_SIZE)))


def advance(
    now: Any, base: Any, ahead: Any, coming: Any, share: Any, gradient: Any, classes: Any
) -> Any:
    """Turns a row into exponentials, while an earlier one leaves and a later one takes its place.

    All in one loop, because the first waits for arithmetic and the others for memory. Returns the
    sum of the exponentials and the largest logit of the later row.
    """
    widest_vectors()
    top = all_of(-INFINITY)
    rest = all_of(ZERO)
    lost = all_of(ZERO)
    whole = classes // VECTOR * VECTOR
    if whole < classes:
        # first, as its slopes of earlier vectors' classes are written once more below
        here = whole * REAL_SIZE
        if GRADIENT:
            put_slopes(gradient + (classes - VECTOR) * LOGIT_SIZE, take(coming + here) * share)
        rest = plain_term(take(now + here), base)
        put(now + here, rest)
        top = rear_of(ahead, classes, whole)
        put(coming + here, top)
        top = where(top == top, top, -INFINITY)
    for begin in range(0, whole, CHUNK):
        part = all_of(ZERO)
        for c in range(begin, min(begin + CHUNK, whole), VECTOR):
            here = c * REAL_SIZE
            there = c * LOGIT_SIZE
            prefetch_to_read(ahead + there + SOON)
            if GRADIENT:
                prefetch_to_write(gradient + there + SOON)
                put_slopes(gradient + there, take(coming + here) * share)
            e = plain_term(take(now + here), base)
            put(now + here, e)
            part = part + e
            z = take_logits(ahead + there)
            put(coming + here, z)
            top = where(z > top, z, top)
        rest, lost = accumulated(rest, lost, part)
    return sum_of(rest + lost), largest_of(top)


def leave(past: Any, gradient: Any, classes: Any, label: Any, share: Any, step: Any) -> None:
    """Writes the gradient of a row by itself."""
    widest_vectors()
    slopes = view(gradient, classes, Logit)
    if label < 0:
        slopes[:] = store(ZERO)
        return
    whole = classes // VECTOR * VECTOR
    if whole < classes:
        put_slopes(
            gradient + (classes - VECTOR) * LOGIT_SIZE, take(past + whole * REAL_SIZE) * share
        )
    for c in range(0, whole, VECTOR):
        put_slopes(gradient + c * LOGIT_SIZE, take(past + c * REAL_SIZE) * share)
    slopes[label] = store(step)


def settle(row: Any, classes: Any, label: Any, top: Any) -> Any:
    """Takes the class of a position out of its row; returns its logit and the largest rival.

    Some rows before its turn: a processor waits where it reads a vector of which it has just
    written a number.
    """
    width = -(-classes // VECTOR) * VECTOR
    whole = classes // VECTOR * VECTOR
    logits = view(row, width, real)
    # the last classes lie at the end of the last vector
    at = label if label < whole else label + width - classes
    own = logits[at]
    logits[at] = -INFINITY
    if own >= top:
        top = largest_in(row, width)
    if top == INFINITY:
        hold(row, width)
    return own, top


STEPS = (fetch, largest_in, hold, advance, leave, settle)


def kernel(base: Any, block: Any) -> Any:
    """One group of positions whose classes lie side by side.

    A row is fetched, becomes exponentials some steps later and a gradient when the margins of a
    batch of rows have been computed together. In between it stays in a ring of buffers.
    """
    integers = view(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    first = block * integers[GROUP]
    count = min(integers[GROUP], integers[COUNT] - first)
    row_size = classes * LOGIT_SIZE
    at = integers[LOGITS] + first * row_size
    to = integers[GRADIENTS] + first * row_size
    # a vector longer, as the last positions are read with what stands behind them
    index = np.empty(count + VECTOR, integer)
    known = np.empty(KNOWN, real)
    if describe(integers, first, index[:count], known):
        return reject(base)
    width = -(-classes // VECTOR) * VECTOR
    batch = min(max(RING // width - AHEAD, 1), LARGEST_BATCH)
    rows = batch + AHEAD
    stride = width * REAL_SIZE
    # and a row to which gradients go before there are any
    room = np.empty((rows + 1) * width + 2 * AHEAD + LINE, real)
    ring = (place(room) + LINE - 1) // LINE * LINE
    nowhere = ring + rows * stride
    # what is known of a row before its turn: the margins of a batch are computed in whole vectors,
    # which write over what stands behind them
    owns = view(nowhere + stride, AHEAD, real)
    tops = view(nowhere + stride + AHEAD * REAL_SIZE, AHEAD, real)
    losses = 0.0
    for i in range(min(AHEAD, count)):
        coming = ring + i * stride
        top = fetch(at + i * row_size, classes, coming)
        if index[i] >= 0:
            owns[i], tops[i] = settle(coming, classes, index[i], top)
    for i in range(count):
        now = ring + i % rows * stride
        # where one row leaves and the other comes
        coming = ring + (i + AHEAD) % rows * stride
        following = min(i + AHEAD, count - 1)
        ahead = at + following * row_size
        leaving = i - batch if GRADIENT else -1
        gradient = nowhere
        share = ZERO
        if leaving >= 0:
            gradient = to + leaving * row_size
            share = known[SHARE + leaving]
            if index[leaving] < 0 or index[i] < 0:
                leave(coming, gradient, classes, index[leaving], share, known[STEP + leaving])
                leaving = -1
                gradient = nowhere
                share = ZERO
        if index[i] < 0:
            known[OWN + i] = known[TOP + i] = known[REST + i] = ZERO
            top = fetch(ahead, classes, coming)
        else:
            known[OWN + i], known[TOP + i] = owns[i % AHEAD], tops[i % AHEAD]
            held = finite(known[TOP + i])
            rest, top = advance(now, held, ahead, coming, share, gradient, classes)
            known[REST + i] = rest
            if leaving >= 0:
                slopes = view(gradient, classes, Logit)
                slopes[index[leaving]] = store(known[STEP + leaving])
        if i + AHEAD < count and index[following] >= 0:
            owns[i % AHEAD], tops[i % AHEAD] = settle(coming, classes, index[following], top)
        if (i + 1) % batch == 0 or i + 1 == count:
            low = i // batch * batch
            losses += np.float64(total_losses(integers, first, low, i + 1, index, known))
    if GRADIENT:
        for i in range(max(count - batch, 0), count):
            past = ring + i % rows * stride
            leave(past, to + i * row_size, classes, index[i], known[SHARE + i], known[STEP + i])
    return losses
