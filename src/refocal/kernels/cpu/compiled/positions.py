"""What the softmax kernels know of each position of a group, and how it becomes a loss.

A group's facts are rows of one buffer: coefficient, gamma and factor by `describe`; the logit of
the class, the largest rival and the sum of rivals by the kernels; loss and slopes by `losses_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled.math import where, widest_vectors
from refocal.kernels.cpu.compiled.memory import place, view
from refocal.kernels.cpu.compiled.values import LANES as VECTOR

# code over names that `softmax.address` binds over a computing dtype
if TYPE_CHECKING:
    from refocal.formula.focal import value_and_slope_from as value_and_slope
    from refocal.formula.focal import value_from as value
    from refocal.formula.margin import against, finite, weighed
    from refocal.formula.plain import LARGEST, ONE, ZERO
    from refocal.kernels.cpu.compiled.bound import (
        Logit,
        Target,
        integer,
        real,
        store,
        take,
        take_classes,
    )
    from refocal.kernels.cpu.compiled.math import log1p
    from refocal.kernels.cpu.compiled.pool import number_at
    from refocal.kernels.cpu.compiled.vectors import all_of, put

LOGIT_SIZE = TARGET_SIZE = REAL_SIZE = 0
GRADIENT = False

TARGETS, EACH = frame.TARGETS, frame.LOSSES
IGNORED, CLASSES = frame.IGNORED, frame.CLASSES
ALPHA, WEIGHT, FACTOR, FACTORS = frame.ALPHA, frame.WEIGHT, frame.FACTOR, frame.FACTORS
GAMMA, GAMMAS, GAMMA_BY_CLASS = frame.GAMMA_POSITIVE, frame.GAMMAS, frame.GAMMA_BY_CLASS

# Rows a constant distance apart, a vector longer than any group: the last positions are computed
# with whatever stands behind them.
STRIDE = frame.LARGEST_GROUP + VECTOR
KNOWN = 9 * STRIDE
OWN, TOP, REST, COEFFICIENT, EXPONENT, FACTOR_OF, LOSS, STEP, SHARE = range(0, KNOWN, STRIDE)
MARGIN, DECAY, LOGARITHM = OWN, TOP, STEP  # from one loop over them to the next


def describe(integers: Any, first: Any, index: Any, known: Any) -> Any:
    """Class, and in `known` coefficient, gamma and factor of each position; counts targets that are
    no class.

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
    if is_plain(integers):
        return rejected
    facts = place(known)
    if integers[WEIGHT] != 0:
        weight = view(integers[WEIGHT] + first * REAL_SIZE, count, real)
        for i in range(count):
            coefficient = weight[i]
            rejected += not ((coefficient >= ZERO) & (coefficient <= LARGEST))
            index[i] = where(coefficient == ZERO, integer(-1), index[i])
            known[COEFFICIENT + i] = where(index[i] < 0, ZERO, coefficient)
    else:
        for i in range(0, count, VECTOR):
            label = take_classes(place(index) + i * REAL_SIZE, integer)
            put(facts + (COEFFICIENT + i) * REAL_SIZE, where(label < 0, ZERO, all_of(ONE)))
    if integers[ALPHA] != 0:
        alpha = view(integers[ALPHA], classes, real)
        for i in range(count):
            if index[i] >= 0:
                known[COEFFICIENT + i] = alpha[index[i]] * known[COEFFICIENT + i]
    gamma = all_of(number_at(integers, GAMMA))
    for i in range(0, count, VECTOR):
        put(facts + (EXPONENT + i) * REAL_SIZE, gamma)
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
        factor = all_of(number_at(integers, FACTOR))
        for i in range(0, count, VECTOR):
            put(facts + (FACTOR_OF + i) * REAL_SIZE, factor)
    return rejected


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


def is_plain(integers: Any) -> Any:
    """Whether all positions have one gamma and one factor, and a coefficient of 1 or 0."""
    given = integers[WEIGHT] | integers[ALPHA] | integers[GAMMAS] | integers[FACTORS]
    return given == 0


def losses_of(integers: Any, low: Any, high: Any, index: Any, known: Any) -> None:
    """From each position's logit, largest rival and sum of rivals: its loss, and what leads from
    the exponentials to the gradient. Of the positions from low to high of a group.

    In whole vectors: what comes of positions from high on is overwritten later or never read, and
    must not come into the sum.
    In two loops, as from a logit to its slope is one chain of a hundred operations that wait for
    each other.
    """
    widest_vectors()
    facts = place(known)
    labels = place(index)
    for start in range(low, high, VECTOR):
        here = facts + start * REAL_SIZE
        own = take(here + OWN * REAL_SIZE)
        top = take(here + TOP * REAL_SIZE)
        rest = take(here + REST * REAL_SIZE)
        s, x, rest = against(own, finite(top), rest, top, own - top)
        put(here + MARGIN * REAL_SIZE, s)
        put(here + DECAY * REAL_SIZE, x)
        put(here + LOGARITHM * REAL_SIZE, log1p(x))
        put(here + REST * REAL_SIZE, rest)
    plain = is_plain(integers)
    gamma = all_of(number_at(integers, GAMMA))
    factor = all_of(number_at(integers, FACTOR))
    for start in range(low, high, VECTOR):
        here = facts + start * REAL_SIZE
        s = take(here + MARGIN * REAL_SIZE)
        x = take(here + DECAY * REAL_SIZE)
        logarithm = take(here + LOGARITHM * REAL_SIZE)
        label = take_classes(labels + start * REAL_SIZE, integer)
        coefficient = where(label < 0, ZERO, all_of(ONE))
        if not plain:
            coefficient = where(label < 0, ZERO, take(here + COEFFICIENT * REAL_SIZE))
            gamma = take(here + EXPONENT * REAL_SIZE)
            factor = take(here + FACTOR_OF * REAL_SIZE)
        if GRADIENT:
            loss, slope = value_and_slope(s, x, logarithm, gamma)
            step = coefficient * factor * slope
            put(here + STEP * REAL_SIZE, step)
            put(here + SHARE * REAL_SIZE, -(step / take(here + REST * REAL_SIZE)))
        else:
            loss = value(s, x, logarithm, gamma)
        put(here + LOSS * REAL_SIZE, weighed(coefficient, loss))


def total_losses(integers: Any, first: Any, low: Any, high: Any, index: Any, known: Any) -> Any:
    """Computes the losses of the positions from low to high of a group, stores each where that is
    asked for, and returns their sum.

    By itself, as only this looks at how a logit is stored: `losses_of` is compiled for all.
    """
    losses_of(integers, low, high, index, known)
    if integers[EACH] != 0:
        losses = view(integers[EACH] + first * LOGIT_SIZE, high, Logit)
        for i in range(low, high):
            losses[i] = store(known[LOSS + i])
    return total_of(place(known) + (LOSS + low) * REAL_SIZE, high - low)


STEPS = (describe, losses_of, total_of, total_losses)
