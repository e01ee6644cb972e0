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
from refocal.kernels.numba_math import (
    add_in_any_order,
    compiled,
    formula_of,
    inlined,
    operations,
    rebound,
    where,
    widest_vectors,
)
from refocal.kernels.numba_pool import pointer
from refocal.kernels.numba_transpose import transpose


class SoftmaxKernel(NamedTuple):
    """What a kernel is compiled for.

    Attributes:
        logits: dtype of logits, gradient and unreduced losses.
        targets: dtype of the class indices.
        layout: "rows", "transposed", "adjacent" or "scattered".
        modulator: a key of `formula.MODULATORS`.
        detached: no gradient through the modulator.
        output: "sum" of the losses, "each" of them, or "nothing".
        gradient: whether the gradient is written.
    """

    logits: str
    targets: str
    layout: str
    modulator: str
    detached: bool
    output: str
    gradient: bool


# ---------------------------------------------------------------------------------------------
# the text: scalar code over names that `address` binds

unbound: Any = None
real = integer = exp = log = ordered = unordered = from_bits = unbound
value = value_and_slope = load = store = Logit = Target = number_at = unbound
reject = describe = margins_of = exponentials_of = scale_of = unbound
largest = exp_into = sum_of = read_tile = write_tile = transpose_all = unbound
ZERO: Any = 0.0
ONE: Any = 1.0
LARGEST: Any = 0.0
INFINITY: Any = 0.0
COUNTERS = frame.COUNTERS
LOGIT_SIZE = TARGET_SIZE = REAL_SIZE = 0
LOSSES = SUM = GRADIENT = ADJACENT = IN_PLACE = False
LANES = 0
# classes per partial sum: of 32,000 exponentials in a row, a float32 sum loses two digits
CHUNK = 1024
CLASS_CHUNK = 16

LOGITS, TARGETS, GRADIENTS, EACH = frame.LOGITS, frame.TARGETS, frame.GRADIENT, frame.LOSSES
COUNT, IGNORING, IGNORED = frame.COUNT, frame.IGNORING, frame.IGNORED
CLASSES, INNER_SIZE, GROUP = frame.CLASSES, frame.INNER_SIZE, frame.GROUP
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
        target = np.int64(targets[i])
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
    the exponentials to the gradient. See `links._against`, whose edge rules these are.
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
        alone = rest == ZERO
        rest = where(alone, ONE, rest)
        base = where(top > LARGEST, LARGEST, where(top < -LARGEST, -LARGEST, top))
        d = own - base
        s = where(alone, own + INFINITY, d - log(rest))
        s = where(top == INFINITY, own - top, s)
        wins = s >= ZERO
        e = exp(where(wins, -d, d))
        x = where(wins, rest * e, e / rest)
        x = where(abs(s) == INFINITY, ZERO, x)
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
        if LOSSES:
            losses[i] = store(loss)
        if SUM:
            total = add_in_any_order(total, loss)
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
    base = where(top > LARGEST, LARGEST, where(top < -LARGEST, -LARGEST, top))
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
                base = where(top > LARGEST, LARGEST, where(top < -LARGEST, -LARGEST, top))
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


def read_adjacent(integers: Any, first: Any, tile: Any) -> None:
    widest_vectors()
    classes, count = tile.shape
    inner = integers[INNER_SIZE]
    start = first // inner * classes * inner + first % inner
    for c in range(classes):
        at = integers[LOGITS] + (start + c * inner) * LOGIT_SIZE
        source = carray(pointer(at), count, Logit)
        for i in range(count):
            tile[c, i] = load(source[i])


def write_adjacent(integers: Any, first: Any, tile: Any) -> None:
    widest_vectors()
    classes, count = tile.shape
    inner = integers[INNER_SIZE]
    start = first // inner * classes * inner + first % inner
    for c in range(classes):
        at = integers[GRADIENTS] + (start + c * inner) * LOGIT_SIZE
        gradient = carray(pointer(at), count, Logit)
        for i in range(count):
            gradient[i] = store(tile[c, i])


def read_scattered(integers: Any, first: Any, tile: Any) -> None:
    classes, count = tile.shape
    inner = integers[INNER_SIZE]
    for i in range(count):
        start = (first + i) // inner * classes * inner + (first + i) % inner
        at = integers[LOGITS] + start * LOGIT_SIZE
        source = carray(pointer(at), classes * inner, Logit)
        for c in range(classes):
            tile[c, i] = load(source[c * inner])


def write_scattered(integers: Any, first: Any, tile: Any) -> None:
    classes, count = tile.shape
    inner = integers[INNER_SIZE]
    for i in range(count):
        start = (first + i) // inner * classes * inner + (first + i) % inner
        at = integers[GRADIENTS] + start * LOGIT_SIZE
        gradient = carray(pointer(at), classes * inner, Logit)
        for c in range(classes):
            gradient[c * inner] = store(tile[c, i])


def transpose_squares(source: Any, rows: Any, columns: Any, target: Any) -> None:
    """A matrix at an address into one at another."""
    widest_vectors()
    for i in range(0, rows, LANES):
        for j in range(0, columns, LANES):
            transpose(
                real,
                source + (i * columns + j) * REAL_SIZE,
                columns * REAL_SIZE,
                rows - i,
                columns - j,
                target + (j * rows + i) * REAL_SIZE,
                rows * REAL_SIZE,
            )


def read_transposed(integers: Any, first: Any, tile: Any) -> None:
    widest_vectors()
    classes, count = tile.shape
    at = integers[LOGITS] + first * classes * LOGIT_SIZE
    if IN_PLACE:
        transpose_all(at, count, classes, tile.ctypes.data)
    else:
        source = carray(pointer(at), count * classes, Logit)
        numbers = np.empty(count * classes, real)
        for i in range(count * classes):
            numbers[i] = load(source[i])
        transpose_all(numbers.ctypes.data, count, classes, tile.ctypes.data)
        numbers[0] = ZERO  # an address does not keep its array alive


def write_transposed(integers: Any, first: Any, tile: Any) -> None:
    widest_vectors()
    classes, count = tile.shape
    at = integers[GRADIENTS] + first * classes * LOGIT_SIZE
    if IN_PLACE:
        transpose_all(tile.ctypes.data, classes, count, at)
    else:
        gradient = carray(pointer(at), count * classes, Logit)
        numbers = np.empty(count * classes, real)
        transpose_all(tile.ctypes.data, classes, count, numbers.ctypes.data)
        for i in range(count * classes):
            gradient[i] = store(numbers[i])


def kernel_of_tile(base: Any, one: Any) -> Any:
    """One group of positions with a vector over them."""
    integers = carray(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    inner = integers[INNER_SIZE]
    group = integers[GROUP]
    if ADJACENT:
        per_image = -(-inner // group)
        image = one // per_image
        begin = (one % per_image) * group
        count = min(group, inner - begin)
        first = image * inner + begin
    else:
        first = one * group
        count = min(group, integers[COUNT] - first)
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

# ---------------------------------------------------------------------------------------------
# binding


@cache
def address(kernel: SoftmaxKernel) -> int:
    """Of the C function of a kernel, compiled or from the cache on disk."""
    number = np.float64 if kernel.logits == "float64" else np.float32
    logits, targets = STORAGE[kernel.logits], STORAGE[kernel.targets]
    names: dict[str, Any] = {
        **globals(),
        **operations(number),
        "Logit": logits.raw,
        "Target": targets.raw,
        "LOGIT_SIZE": logits.size,
        "TARGET_SIZE": targets.size,
        "REAL_SIZE": np.dtype(number).itemsize,
        "load": logits.load,
        "store": logits.store,
        "LOSSES": kernel.output == "each",
        "SUM": kernel.output == "sum",
        "GRADIENT": kernel.gradient,
        "IN_PLACE": logits.raw is number,
        "LANES": 64 // np.dtype(number).itemsize,
        "ADJACENT": kernel.layout == "adjacent",
        **formula_of(number, kernel.modulator, kernel.detached),
        "reject": compiled(numba_pool.reject),
    }

    def bind(name: str, text: Any, wrap: Any = compiled) -> None:
        names[name] = wrap(rebound(text, names))

    bind("number_at", numba_pool.number_at, inlined)
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
        if kernel.layout == "transposed":
            bind("transpose_all", transpose_squares)
        bind("exponentials_of", exponentials_of_tile)
        bind("scale_of", scale_tile)
        bind("read_tile", READERS[kernel.layout])
        bind("write_tile", WRITERS[kernel.layout])
        text = kernel_of_tile
    marks = "".join(str(int(one)) for one in kernel if isinstance(one, bool))
    words = "-".join(one for one in kernel if isinstance(one, str))
    return numba_pool.kernel_address(rebound(text, names), f"softmax-{words}-{marks}")
