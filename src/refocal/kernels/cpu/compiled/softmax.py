"""The softmax kernel for class indices: each logit is read once, its gradient written once.

A block is a group of positions, small enough to stay in the cache between the passes that a softmax
takes: the largest rival, the rivals' exponentials and their sum, the margin, the gradient. What
differs is how a group lies in memory, and with it what a vector runs over:

* "rows": many classes, side by side. Vectors run along the classes of one position. One loop has
  three positions under way: one comes, one becomes exponentials, one leaves as a gradient.
* "transposed": few classes, side by side. The group is transposed into a buffer, and vectors run
  over positions: of the classes of one, a vector of 16 has 10 at work, or 16 and then 4.
* "adjacent": classes along axis 1, positions behind it side by side (images, volumes). As
  "transposed", but nothing has to be transposed.
* "scattered": the same with too few positions behind a class to fill a vector.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import pool
from refocal.kernels.cpu.compiled.common import real_type, softmax_names
from refocal.kernels.cpu.compiled.dtypes import STORAGE
from refocal.kernels.cpu.compiled.math import (
    add_in_any_order,
    compiled,
    rebound,
    where,
    widest_vectors,
)
from refocal.kernels.cpu.compiled.memory import LINE, place, table, view
from refocal.kernels.cpu.compiled.tiles import reader, writer


class SoftmaxKernel(NamedTuple):
    """What a kernel is compiled for.

    Attributes:
        logits: dtype of logits, gradient and unreduced losses.
        targets: dtype of the class indices.
        layout: "rows", "transposed", "adjacent" or "scattered".
        modulator: a key of `formula.MODULATORS`.
        detached: no gradient through the modulator.
        gradient: whether the gradient is written.
    """

    logits: str
    targets: str
    layout: str
    modulator: str
    detached: bool
    gradient: bool


# ---------------------------------------------------------------------------------------------
# scalar code over names that `address` binds

if TYPE_CHECKING:  # bound over a computing dtype
    from refocal.formula.focal import value_and_slope_from as value_and_slope
    from refocal.formula.focal import value_from as value
    from refocal.formula.margin import against, finite, term, weighed
    from refocal.formula.plain import INFINITY, LARGEST, ONE, ZERO
    from refocal.kernels.cpu.compiled.bound import (
        Logit,
        Target,
        integer,
        load,
        read_tile,
        real,
        store,
        write_tile,
    )
    from refocal.kernels.cpu.compiled.common import accumulated, group_of
    from refocal.kernels.cpu.compiled.math import log1p, ordered, unordered
    from refocal.kernels.cpu.compiled.pool import number_at, reject

COUNTERS = frame.COUNTERS
LOGIT_SIZE = TARGET_SIZE = REAL_SIZE = 0
GRADIENT = False
# classes per partial sum: of 32,000 exponentials in a row, a float32 sum loses two digits
CHUNK = 1024
CLASS_CHUNK = 16
# what four vectors of 16 hold: so many elements of a loop the compiler handles at once
LANES = 64
# numbers in the ring of rows, a fraction of the L1 cache, through which logits and gradients stream
# as well (with 5,120 rows of 1,000 took a third longer), and rows in a batch
RING = 2048
LARGEST_BATCH = 16

LOGITS, TARGETS, GRADIENTS, EACH = frame.LOGITS, frame.TARGETS, frame.GRADIENT, frame.LOSSES
COUNT, IGNORED = frame.COUNT, frame.IGNORED
CLASSES, GROUP = frame.CLASSES, frame.GROUP
ALPHA, WEIGHT, FACTOR, FACTORS = frame.ALPHA, frame.WEIGHT, frame.FACTOR, frame.FACTORS
GAMMA, GAMMAS, GAMMA_BY_CLASS = frame.GAMMA_POSITIVE, frame.GAMMAS, frame.GAMMA_BY_CLASS

# What is known of each position of a group: rows of a buffer, a constant distance apart, so that
# the compiler sees that they do not overlap. A vector longer than any group, as the last positions
# are computed with whatever stands behind them.
VECTOR = 16
STRIDE = frame.LARGEST_GROUP + VECTOR
KNOWN = 9 * STRIDE
OWN, TOP, REST, COEFFICIENT, EXPONENT, FACTOR_OF, LOSS, STEP, SHARE = range(0, KNOWN, STRIDE)
LOST = LOSS  # until there are losses: what the sum of rivals has lost to rounding
MARGIN, DECAY, LOGARITHM = OWN, TOP, STEP  # from one loop over them to the next


def describe(integers: Any, first: Any, index: Any, known: Any) -> Any:
    """Class, coefficient and gamma of each position; counts targets that are no class.

    A position that counts for nothing gets the coefficient 0 and the class -1: its logits are not
    looked at, as a row of padding may hold anything. A loop for each question, so that those that
    every call asks are vectors without a branch: which labels are ignored cannot be guessed.
    """
    widest_vectors()
    classes = integers[CLASSES]
    ignored = integers[IGNORED]
    count = len(index)
    targets = view(integers[TARGETS] + first * TARGET_SIZE, count, Target)
    rejected = 0
    for i in range(count):
        target: Any = np.int64(targets[i])
        none = target == ignored
        wrong = ((target < 0) | (target >= classes)) & (not none)
        rejected += wrong
        index[i] = integer(where(none | wrong, np.int64(-1), target))
    if integers[WEIGHT] != 0:
        weight = view(integers[WEIGHT] + first * REAL_SIZE, count, real)
        for i in range(count):
            coefficient = weight[i]
            rejected += not ((coefficient >= ZERO) & (coefficient <= LARGEST))
            index[i] = where(coefficient == ZERO, integer(-1), index[i])
            known[COEFFICIENT + i] = where(index[i] < 0, ZERO, coefficient)
    else:
        for i in range(count):
            known[COEFFICIENT + i] = where(index[i] < 0, ZERO, ONE)
    if integers[ALPHA] != 0:
        alpha = view(integers[ALPHA], classes, real)
        for i in range(count):
            if index[i] >= 0:
                known[COEFFICIENT + i] = alpha[index[i]] * known[COEFFICIENT + i]
    gamma = number_at(integers, GAMMA)
    for i in range(count):
        known[EXPONENT + i] = gamma
    if integers[GAMMAS] != 0:
        gammas = view(integers[GAMMAS], 1 << 62, real)
        by_class = integers[GAMMA_BY_CLASS] != 0
        for i in range(count):
            if index[i] >= 0:
                known[EXPONENT + i] = gammas[np.int64(index[i]) if by_class else first + i]
    if integers[FACTORS] != 0:
        factors = view(integers[FACTORS] + first * REAL_SIZE, count, real)
        for i in range(count):
            known[FACTOR_OF + i] = factors[i]
    else:
        factor = number_at(integers, FACTOR)
        for i in range(count):
            known[FACTOR_OF + i] = factor
    return rejected


def margins_of(integers: Any, first: Any, low: Any, high: Any, known: Any) -> Any:
    """From each position's logit, largest rival and sum of rivals: its loss, and what leads from
    the exponentials to the gradient. Of the positions from low to high of a group.

    In whole vectors: an inner loop of constant length has no remainder, whose elements would be
    taken one by one. What comes of positions from high on is overwritten later or never read.
    In two loops, as from a logit to its slope is one chain of a hundred operations that wait for
    each other.
    """
    widest_vectors()
    # views of it, as an index from 0 on needs no care for negative ones
    for start in range(low, high, VECTOR):
        some = view(place(known) + start * REAL_SIZE, KNOWN - start, real)
        for lane in range(VECTOR):
            own = some[OWN + lane]
            top = some[TOP + lane]
            s, x, rest = against(own, finite(top), some[REST + lane], top, own - top)
            some[MARGIN + lane] = s
            some[DECAY + lane] = x
            some[LOGARITHM + lane] = log1p(x)
            some[REST + lane] = rest
    for start in range(low, high, VECTOR):
        some = view(place(known) + start * REAL_SIZE, KNOWN - start, real)
        for lane in range(VECTOR):
            s = some[MARGIN + lane]
            x = some[DECAY + lane]
            logarithm = some[LOGARITHM + lane]
            coefficient = some[COEFFICIENT + lane]
            gamma = some[EXPONENT + lane]
            if GRADIENT:
                loss, slope = value_and_slope(s, x, logarithm, gamma)
                step = coefficient * some[FACTOR_OF + lane] * slope
                some[STEP + lane] = step
                some[SHARE + lane] = -(step / some[REST + lane])
            else:
                loss = value(s, x, logarithm, gamma)
            some[LOSS + lane] = weighed(coefficient, loss)
    if integers[EACH] != 0:
        losses = view(integers[EACH] + first * LOGIT_SIZE, high, Logit)
        for i in range(low, high):
            losses[i] = store(known[LOSS + i])
    return total_of(place(known) + (LOSS + low) * REAL_SIZE, high - low)


def total_of(at: Any, count: Any) -> Any:
    """The sum of so many numbers at an address, which are lost.

    Each half is added to the other: an order that is written here, so that no bit depends on the
    processor's vectors, and that rounds less often than adding one after another.
    """
    widest_vectors()
    while count > 1:
        half = (count + 1) // 2
        one = view(at, half, real)
        other = view(at + half * REAL_SIZE, half, real)
        for i in range(count - half):
            one[i] += other[i]
        count = half
    return view(at, 1, real)[0]


# ---------------------------------------------------------------------------------------------
# "rows"


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
    index = np.empty(count, integer)
    known = np.empty(KNOWN, real)
    if describe(integers, first, index, known):
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
            losses += np.float64(margins_of(integers, first, i // batch * batch, i + 1, known))
    if GRADIENT:
        for i in range(max(count - batch, 0), count):
            past = ring_at + i % (batch + 1) * stride
            leave(past, to + i * row_size, classes, index[i], known[SHARE + i], known[STEP + i])
    # an address does not keep its array alive
    ring[0, 0] = ZERO
    edge[0, 0] = store(ZERO)
    return losses


# ---------------------------------------------------------------------------------------------
# "transposed", "adjacent" and "scattered"


def rivals_of(tile: Any, index: Any, known: Any) -> None:
    """Takes the logit of each position's class out of the tile, and finds the largest that stays.

    By comparing every class with the index: a logit fetched by its index is a load that no vector
    has, and whether a label is ignored a branch that nobody can guess.
    """
    widest_vectors()
    classes, count = tile.shape
    for i in range(count):
        known[OWN + i] = ZERO
        known[TOP + i] = where(
            index[i] < 0, ZERO, where(index[i] == integer(0), -INFINITY, tile[0, i])
        )
    for c in range(classes):
        number = integer(c)
        for i in range(count):
            z = where(index[i] < 0, ZERO, tile[c, i])
            is_own = index[i] == number
            rival = where(is_own, -INFINITY, z)
            tile[c, i] = rival
            known[OWN + i] = where(is_own, z, known[OWN + i])
            known[TOP + i] = where(rival > known[TOP + i], rival, known[TOP + i])


def exponentials_of(tile: Any, known: Any) -> None:
    """The rivals become their exponentials, relative to the largest; sums them per position."""
    widest_vectors()
    classes, count = tile.shape
    for i in range(count):
        known[REST + i] = known[LOST + i] = ZERO
    for start in range(0, classes, CLASS_CHUNK):
        for i in range(count):
            known[SHARE + i] = ZERO
        for c in range(start, min(start + CLASS_CHUNK, classes)):
            for i in range(count):
                base = finite(known[TOP + i])
                e = term(tile[c, i], base)
                tile[c, i] = e
                known[SHARE + i] += e
        for i in range(count):
            known[REST + i], known[LOST + i] = accumulated(
                known[REST + i], known[LOST + i], known[SHARE + i]
            )
    for i in range(count):
        known[REST + i] += known[LOST + i]


def slopes_of(tile: Any, index: Any, known: Any) -> None:
    """The exponentials become the gradient."""
    widest_vectors()
    classes, count = tile.shape
    for c in range(classes):
        number = integer(c)
        for i in range(count):
            slope = tile[c, i] * known[SHARE + i]
            tile[c, i] = where(index[i] == number, known[STEP + i], slope)


def kernel_of_tile(base: Any, block: Any) -> Any:
    """One group of positions with a vector over them."""
    integers = view(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    first, count = group_of(integers, block)
    # of one piece of memory, from the start of a cache line on
    room = np.empty(KNOWN + STRIDE + classes * count + LINE, real)
    at = (place(room) + LINE - 1) // LINE * LINE
    known = view(at, KNOWN, real)
    index = view(at + KNOWN * REAL_SIZE, count, integer)
    tile = table(at + (KNOWN + STRIDE) * REAL_SIZE, classes, count, real)
    if describe(integers, first, index, known):
        return reject(base)
    read_tile(integers, first, tile)
    rivals_of(tile, index, known)
    exponentials_of(tile, known)
    total = margins_of(integers, first, 0, count, known)
    if GRADIENT:
        slopes_of(tile, index, known)
        write_tile(integers, first, tile)
    room[0] = ZERO  # an address does not keep its array alive
    return np.float64(total)


# ---------------------------------------------------------------------------------------------
# binding


@cache
def address(kernel: SoftmaxKernel) -> int:
    """Returns the address of a kernel's C function, compiled or from the cache on disk."""
    number, logits = real_type(kernel), STORAGE[kernel.logits]
    names: dict[str, Any] = {
        **globals(),
        **softmax_names(kernel, log1p_given=True),
    }

    def bind(name: str, function: Any) -> None:
        names[name] = compiled(rebound(function, names))

    bind("describe", describe)
    bind("total_of", total_of)
    bind("margins_of", margins_of)
    if kernel.layout == "rows":
        bind("largest", largest)
        bind("fetch", fetch)
        bind("advance", advance)
        bind("leave", leave)
        kernel_function = kernel_of_rows
    else:
        bind("exponentials_of", exponentials_of)
        bind("rivals_of", rivals_of)
        bind("slopes_of", slopes_of)
        names["read_tile"] = reader(kernel.layout, LOGITS, logits, number)
        names["write_tile"] = writer(kernel.layout, GRADIENTS, logits, number)
        kernel_function = kernel_of_tile
    return pool.kernel_address(rebound(kernel_function, names), pool.name_of("softmax", kernel))
