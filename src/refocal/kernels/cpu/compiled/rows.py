"""Many classes, side by side: vectors run along the classes of one position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled.math import add_in_any_order, where, widest_vectors
from refocal.kernels.cpu.compiled.memory import place, view
from refocal.kernels.cpu.compiled.positions import KNOWN, OWN, REST, SHARE, STEP, TOP
from refocal.kernels.cpu.compiled.vectors import LANES as VECTOR

# scalar code over names that `softmax.address` binds over a computing dtype
if TYPE_CHECKING:
    from refocal.formula.margin import finite, term
    from refocal.formula.plain import INFINITY, ZERO
    from refocal.kernels.cpu.compiled.bound import Logit, integer, load, real, store
    from refocal.kernels.cpu.compiled.math import ordered, unordered
    from refocal.kernels.cpu.compiled.pool import reject
    from refocal.kernels.cpu.compiled.positions import describe, losses_of

LOGIT_SIZE = REAL_SIZE = 0
GRADIENT = False

COUNTERS, CLASSES = frame.COUNTERS, frame.CLASSES
LOGITS, GRADIENTS = frame.LOGITS, frame.GRADIENT
COUNT, GROUP = frame.COUNT, frame.GROUP

# classes per partial sum: of 32,000 exponentials in a row, a float32 sum loses two digits
CHUNK = 1024
# what four vectors of 16 hold: so many elements of a loop the compiler handles at once
LANES = 64
# numbers in the ring of rows, a fraction of the L1 cache, through which logits and gradients stream
# as well (with 5,120 rows of 1,000 took a third longer), and rows in a batch
RING = 2048
LARGEST_BATCH = 16


def largest(row: Any) -> Any:
    """The largest of a row, as an integer that compares like it."""
    widest_vectors()
    top = ordered(-INFINITY)
    for j in range(len(row)):
        top = max(top, ordered(row[j]))
    return integer(top)


def fetch(ahead: Any, classes: Any, spare: Any, width: Any) -> Any:
    """Copies a row of logits, filled up with -inf; returns its largest as `largest_of` does."""
    widest_vectors()
    following = view(ahead, classes, Logit)
    copy = view(spare, width, real)
    top = ordered(-INFINITY)
    for j in range(classes):
        z = load(following[j])
        copy[j] = z
        top = max(top, ordered(z))
    for j in range(classes, width):
        copy[j] = -INFINITY
    return integer(top)


def advance(
    now: Any,
    base: Any,
    ahead: Any,
    spare: Any,
    share: Any,
    gradient: Any,
    count: Any,
    classes: Any,
) -> Any:
    """Turns a row into exponentials, while an earlier one leaves and the next one takes its place.

    All in one loop, because the first waits for arithmetic and the others for memory. Takes
    addresses, as a view of an array costs two atomic operations. Returns the sum of the
    exponentials and the largest logit of the next row.
    """
    widest_vectors()
    present = view(now, count, real)
    following = view(ahead, count, Logit)
    other = view(spare, count, real)
    slopes = view(gradient, count, Logit)
    classes = integer(classes)
    total = ZERO
    top = ordered(-INFINITY)
    for j in range(count):
        if GRADIENT:
            slopes[j] = store(other[j] * share)
        e = term(present[j], base)
        present[j] = e
        total = add_in_any_order(total, e)
        z = where(integer(j) < classes, load(following[j]), -INFINITY)
        other[j] = z
        top = max(top, ordered(z))
    return total, integer(top)


def leave(past: Any, gradient: Any, classes: Any, target: Any, share: Any, step: Any) -> None:
    """Writes the gradient of a row by itself."""
    widest_vectors()
    exponentials = view(past, classes, real)
    slopes = view(gradient, classes, Logit)
    if target < 0:
        slopes[:] = store(ZERO)
    else:
        for j in range(classes):
            slopes[j] = store(exponentials[j] * share)
        slopes[target] = store(step)


def kernel_of_rows(base: Any, block: Any) -> Any:
    """One group of positions whose classes lie side by side.

    A row is fetched, becomes exponentials one step later and a gradient some steps after that, when
    the margins of a batch of rows have been computed together. In between it stays in a ring of
    buffers, filled up with -inf to whole vectors, so that no loop over it has a remainder: there a
    row reads on into the next one, and its gradient is written on into the next one's, which comes
    later. The last rows of group and tensor, which must not, go by themselves.
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
    width = -(-classes // LANES) * LANES
    batch = min(max(RING // width - 1, 1), LARGEST_BATCH)
    ring = np.empty((batch + 1, width), real)
    # a copy of the last row, and where gradients go before there are any
    edge = np.empty((2, width), Logit)
    ring_at = place(ring)
    edge_at = place(edge)
    nowhere = edge_at + width * LOGIT_SIZE
    stride = width * REAL_SIZE
    ring_end = ring_at + (batch + 1) * stride
    # of the tensor, counted from the group's first
    last = integers[COUNT] - 1 - first
    now = ring_at
    spare = now + stride
    losses = 0.0
    top = fetch(at, classes, now, width)
    for i in range(count):
        ahead = at + (i + 1) * row_size
        if i + 1 == count:
            # anything that may be read
            ahead = edge_at
        elif i + 1 == last:
            final = view(ahead, classes, Logit)
            for j in range(classes):
                edge[0, j] = final[j]
            ahead = edge_at
        target = index[i]
        leaving = i - batch if GRADIENT else -1
        gradient = nowhere
        share = ZERO
        if leaving >= 0:
            gradient = to + leaving * row_size
            share = known[SHARE + leaving]
            if index[leaving] < 0 or target < 0:
                leave(spare, gradient, classes, index[leaving], share, known[STEP + leaving])
                leaving = -1
                gradient = nowhere
                share = ZERO
        if target < 0:
            known[OWN + i] = known[TOP + i] = known[REST + i] = ZERO
            top = fetch(ahead, classes, spare, width)
        else:
            # among the rivals the target is no more than what fills the row up
            present = view(now, width, real)
            own = present[target]
            present[target] = -INFINITY
            if ordered(own) == top:
                top = largest(present)
            known[OWN + i] = own
            known[TOP + i] = unordered(top)
            held = finite(known[TOP + i])
            rest = 0.0
            top = ordered(-INFINITY)
            for start in range(0, width, CHUNK):
                skip = start * REAL_SIZE
                skip_logits = start * LOGIT_SIZE
                part, key = advance(
                    now + skip,
                    held,
                    ahead + skip_logits,
                    spare + skip,
                    share,
                    gradient + skip_logits,
                    min(CHUNK, width - start),
                    classes - start,
                )
                rest += np.float64(part)
                top = integer(max(top, key))
            known[REST + i] = real(rest)
            if leaving >= 0:
                slopes = view(gradient, classes, Logit)
                slopes[index[leaving]] = store(known[STEP + leaving])
        now, spare = spare, spare + stride
        if spare == ring_end:
            spare = ring_at
        if (i + 1) % batch == 0 or i + 1 == count:
            low = i // batch * batch
            losses += np.float64(losses_of(integers, first, low, i + 1, index, known))
    if GRADIENT:
        for i in range(max(count - batch, 0), count):
            past = ring_at + i % (batch + 1) * stride
            leave(past, to + i * row_size, classes, index[i], known[SHARE + i], known[STEP + i])
    # an address does not keep its array alive
    ring[0, 0] = ZERO
    edge[0, 0] = store(ZERO)
    return losses
