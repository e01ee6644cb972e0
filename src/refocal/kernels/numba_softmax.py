"""The softmax kernel for class indices: each logit is read once, its gradient written once.

A block is a group of positions, small enough to stay in the cache between the passes that a softmax
takes: the largest rival, the rivals' exponentials and their sum, the margin, the gradient. What
differs is how a group lies in memory, and with it what a vector runs over:

* "rows": many classes, side by side. Vectors run along the classes of one position.
* "transposed": few classes, side by side. The group is transposed into a buffer, and vectors run
  over positions: of the classes of one, a vector of 16 has 10 at work, or 16 and then 4.
* "adjacent": classes along axis 1, positions behind it side by side (images, volumes). As
  "transposed", but nothing has to be transposed.
* "scattered": the same with too few positions behind a class to fill a vector.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import carray

from refocal.kernels import frame, numba_pool
from refocal.kernels.numba_dtypes import STORAGE
from refocal.kernels.numba_links import common_names, real_type
from refocal.kernels.numba_math import add_in_any_order, compiled, rebound, where, widest_vectors
from refocal.kernels.numba_pool import pointer
from refocal.kernels.numba_tiles import reader, writer


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
# the text: scalar code over names that `address` binds

unbound: Any = None
real = integer = exp = ordered = unordered = finite = against = group_of = unbound
value = value_and_slope = load = store = Logit = Target = number_at = unbound
reject = describe = margins_of = exponentials_of = scale_of = unbound
largest = exp_into = sum_of = read_tile = write_tile = unbound
ZERO: Any = 0.0
ONE: Any = 1.0
LARGEST: Any = 0.0
INFINITY: Any = 0.0
COUNTERS = frame.COUNTERS
LOGIT_SIZE = TARGET_SIZE = REAL_SIZE = 0
GRADIENT = IN_PLACE = False
# classes per partial sum: of 32,000 exponentials in a row, a float32 sum loses two digits
CHUNK = 1024
CLASS_CHUNK = 16

LOGITS, TARGETS, GRADIENTS, EACH = frame.LOGITS, frame.TARGETS, frame.GRADIENT, frame.LOSSES
COUNT, IGNORED = frame.COUNT, frame.IGNORED
CLASSES, GROUP = frame.CLASSES, frame.GROUP
ALPHA, WEIGHT, FACTOR, FACTORS = frame.ALPHA, frame.WEIGHT, frame.FACTOR, frame.FACTORS
GAMMA, GAMMAS, GAMMA_BY_CLASS = frame.GAMMA_POSITIVE, frame.GAMMAS, frame.GAMMA_BY_CLASS

# rows of the buffer that holds what is known of each position of a group
OWN, TOP, REST, COEFFICIENT, EXPONENT, STEP, SHARE = range(7)
KNOWN = 7


def describe_positions(integers: Any, first: Any, index: Any, known: Any) -> Any:
    """Class, coefficient and gamma of each position; counts targets that are no class.

    A position that counts for nothing gets the coefficient 0 and the class -1: its logits are not
    looked at, as a row of padding may hold anything.
    """
    classes = integers[CLASSES]
    ignored = integers[IGNORED]
    count = len(index)
    targets = carray(pointer(integers[TARGETS] + first * TARGET_SIZE), count, Target)
    alpha = carray(pointer(integers[ALPHA]), classes, real)
    weight = carray(pointer(integers[WEIGHT] + first * REAL_SIZE), count, real)
    gammas = carray(pointer(integers[GAMMAS]), 1 << 62, real)
    gamma = number_at(integers, GAMMA)
    rejected = 0
    for i in range(count):
        target: Any = np.int64(targets[i])
        coefficient = ONE
        if target == ignored:
            target = -1
        elif target < 0 or target >= classes:
            rejected += 1
            target = -1
        elif integers[WEIGHT] != 0:
            coefficient = weight[i]
            if coefficient == ZERO:
                target = -1
        if target < 0:
            coefficient = ZERO
        else:
            if integers[ALPHA] != 0:
                coefficient = alpha[target] * coefficient
            if integers[GAMMAS] != 0:
                gamma = gammas[target if integers[GAMMA_BY_CLASS] else first + i]
        index[i] = target
        known[COEFFICIENT, i] = coefficient
        known[EXPONENT, i] = gamma
    return rejected


def margins(integers: Any, first: Any, count: Any, known: Any) -> Any:
    """From each position's logit, largest rival and sum of rivals: its loss, and what leads from
    the exponentials to the gradient.
    """
    widest_vectors()
    losses = carray(pointer(integers[EACH] + first * LOGIT_SIZE), count, Logit)
    factors = carray(pointer(integers[FACTORS] + first * REAL_SIZE), count, real)
    by_position = integers[FACTORS] != 0
    factor = number_at(integers, FACTOR)
    if not by_position:
        # any address that can be read
        factors = known[OWN]
    total = ZERO
    for i in range(count):
        own = known[OWN, i]
        top = known[TOP, i]
        rest = known[REST, i]
        coefficient = known[COEFFICIENT, i]
        s, x, rest = against(own, finite(top), rest, top, own - top)
        gamma = known[EXPONENT, i]
        if GRADIENT:
            loss, slope = value_and_slope(s, x, gamma)
            step = coefficient * where(by_position, factors[i], factor) * slope
            known[STEP, i] = step
            known[SHARE, i] = -(step / rest)
        else:
            loss = value(s, x, gamma)
        # 0 * inf is 0
        loss = coefficient * where((coefficient == ZERO) & (loss > LARGEST), ZERO, loss)
        known[COEFFICIENT, i] = loss
        total = add_in_any_order(total, loss)
    if integers[EACH] != 0:
        for i in range(count):
            losses[i] = store(known[COEFFICIENT, i])
    return total


# ---------------------------------------------------------------------------------------------
# "rows"


def largest_of(row: Any) -> Any:
    """The largest of a row, as an integer that compares like it."""
    widest_vectors()
    top = ordered(-INFINITY)
    for j in range(len(row)):
        key = ordered(load(row[j]))
        top = max(top, key)
    return integer(top)


def exp_into_row(row: Any, out: Any, base: Any) -> Any:
    """Writes the exponentials of a row; returns their sum."""
    widest_vectors()
    total = ZERO
    for j in range(len(row)):
        z = load(row[j])
        e = exp(where(z > LARGEST, LARGEST, z) - base)
        out[j] = e
        total = add_in_any_order(total, e)
    return total


def sum_of_row(row: Any) -> Any:
    widest_vectors()
    total = ZERO
    for j in range(len(row)):
        total = add_in_any_order(total, row[j])
    return total


def scale_row(exponentials: Any, gradient: Any, share: Any) -> None:
    widest_vectors()
    for j in range(len(exponentials)):
        gradient[j] = store(exponentials[j] * share)


def exponentials_of_row(row: Any, out: Any, target: Any) -> Any:
    """Largest rival of the target and the rivals' sum, their exponentials in ``out``."""
    classes = len(row)
    top = integer(max(largest(row[:target]), largest(row[target + 1 :])))
    top = unordered(top)
    base = finite(top)
    rest = 0.0
    for start in range(0, classes, CHUNK):
        stop = min(start + CHUNK, classes)
        part = exp_into(row[start:stop], out[start:stop], base)
        if start <= target < stop:
            # summed again without the target, not subtracted: that would cancel
            out[target] = ZERO
            part = sum_of(out[start:stop])
        rest += np.float64(part)
    return top, real(rest)


def kernel_of_rows(base: Any, one: Any) -> Any:
    """One group of positions whose classes lie side by side."""
    integers = carray(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    first = one * integers[GROUP]
    count = min(integers[GROUP], integers[COUNT] - first)
    at = integers[LOGITS] + first * classes * LOGIT_SIZE
    to = integers[GRADIENTS] + first * classes * LOGIT_SIZE
    index = np.empty(count, np.int64)
    known = np.empty((KNOWN, count), real)
    if describe(integers, first, index, known):
        return reject(base)
    # exponentials wait for their sum in the gradient itself where they fit; without a gradient they
    # need not wait
    in_place = IN_PLACE and GRADIENT
    kept = np.empty((count if GRADIENT and not IN_PLACE else 1, classes), real)
    for i in range(count):
        if index[i] < 0:
            known[OWN, i] = known[TOP, i] = known[REST, i] = ZERO
            continue
        row = carray(pointer(at + i * classes * LOGIT_SIZE), classes, Logit)
        if in_place:
            out = carray(pointer(to + i * classes * LOGIT_SIZE), classes, real)
        else:
            out = kept[i if GRADIENT else 0]
        known[OWN, i] = load(row[index[i]])
        top, rest = exponentials_of(row, out, index[i])
        known[TOP, i] = top
        known[REST, i] = rest
    total = margins_of(integers, first, count, known)
    if GRADIENT:
        for i in range(count):
            gradient = carray(pointer(to + i * classes * LOGIT_SIZE), classes, Logit)
            if index[i] < 0:
                gradient[:] = store(ZERO)
                continue
            if in_place:
                out = carray(pointer(to + i * classes * LOGIT_SIZE), classes, real)
            else:
                out = kept[i]
            scale_of(out, gradient, known[SHARE, i])
            gradient[index[i]] = store(known[STEP, i])
    return np.float64(total)


# ---------------------------------------------------------------------------------------------
# "transposed", "adjacent" and "scattered"


def exponentials_of_tile(tile: Any, known: Any) -> None:
    """Largest and sum over the classes of each position; the tile becomes its exponentials."""
    widest_vectors()
    classes = tile.shape[0]
    count = known.shape[1]
    for i in range(count):
        known[TOP, i] = tile[0, i]
        known[REST, i] = ZERO
    for c in range(1, classes):
        for i in range(count):
            known[TOP, i] = where(tile[c, i] > known[TOP, i], tile[c, i], known[TOP, i])
    for start in range(0, classes, CLASS_CHUNK):
        for i in range(count):
            known[SHARE, i] = ZERO
        for c in range(start, min(start + CLASS_CHUNK, classes)):
            for i in range(count):
                top = known[TOP, i]
                base = finite(top)
                z = tile[c, i]
                e = exp(where(z > LARGEST, LARGEST, z) - base)
                tile[c, i] = e
                known[SHARE, i] += e
        for i in range(count):
            known[REST, i] += known[SHARE, i]


def scale_tile(tile: Any, known: Any) -> None:
    widest_vectors()
    for c in range(tile.shape[0]):
        for i in range(known.shape[1]):
            tile[c, i] *= known[SHARE, i]


def kernel_of_tile(base: Any, one: Any) -> Any:
    """One group of positions with a vector over them."""
    integers = carray(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    first, count = group_of(integers, one)
    index = np.empty(count, np.int64)
    known = np.empty((KNOWN, count), real)
    tile = np.empty((classes, count), real)
    if describe(integers, first, index, known):
        return reject(base)
    read_tile(integers, first, tile)
    for i in range(count):
        if index[i] < 0:
            known[OWN, i] = ZERO
            for c in range(classes):
                tile[c, i] = ZERO
        else:
            known[OWN, i] = tile[index[i], i]
            tile[index[i], i] = -INFINITY
    exponentials_of(tile, known)
    total = margins_of(integers, first, count, known)
    if GRADIENT:
        scale_of(tile, known)
        for i in range(count):
            if index[i] >= 0:
                tile[index[i], i] = known[STEP, i]
        write_tile(integers, first, tile)
    return np.float64(total)


# ---------------------------------------------------------------------------------------------
# binding


@cache
def address(kernel: SoftmaxKernel) -> int:
    """Of the C function of a kernel, compiled or from the cache on disk."""
    number, logits = real_type(kernel), STORAGE[kernel.logits]
    names: dict[str, Any] = {
        **globals(),
        **common_names(kernel),
        "IN_PLACE": logits.raw is number,
    }

    def bind(name: str, text: Any) -> None:
        names[name] = compiled(rebound(text, names))

    bind("describe", describe_positions)
    bind("margins_of", margins)
    if kernel.layout == "rows":
        bind("largest", largest_of)
        bind("exp_into", exp_into_row)
        bind("sum_of", sum_of_row)
        bind("exponentials_of", exponentials_of_row)
        bind("scale_of", scale_row)
        text = kernel_of_rows
    else:
        bind("exponentials_of", exponentials_of_tile)
        bind("scale_of", scale_tile)
        names["read_tile"] = reader(kernel.layout, LOGITS, logits, number)
        names["write_tile"] = writer(kernel.layout, GRADIENTS, logits, number)
        text = kernel_of_tile
    return numba_pool.kernel_address(rebound(text, names), numba_pool.name_of("softmax", kernel))
