"""The softmax kernel for probability targets and smoothed labels: ``sum_c y_c a_c F(s_c)``.

Every class has a margin of its own, against all others. As in `links.softmax_margins`, the others'
sum is the total minus one's own term, except for the top class, where that would cancel: its rivals
are summed apart, relative to the largest of them.

A block is a tile (see `tiles`), and every vector runs over positions; sums over classes stay in
registers.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refocal.formula.binding import rebound
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import pool
from refocal.kernels.cpu.compiled.common import real_type, softmax_names
from refocal.kernels.cpu.compiled.dtypes import STORAGE, target_limits, vectors_of
from refocal.kernels.cpu.compiled.math import where, widest_vectors
from refocal.kernels.cpu.compiled.memory import place, view
from refocal.kernels.cpu.compiled.text import apart
from refocal.kernels.cpu.compiled.tiles import reader, writer
from refocal.kernels.cpu.compiled.values import LANES as VECTOR
from refocal.kernels.cpu.compiled.vectors import all_of, any_of, lane_numbers, put


class ExpectationKernel(NamedTuple):
    """What a kernel is compiled for.

    Attributes:
        logits: dtype of logits, gradient and unreduced losses.
        targets: dtype of class indices, to be smoothed, or of probabilities.
        layout: "transposed", "adjacent" or "scattered".
        modulator: a key of `formula.MODULATORS`.
        gammas: gamma differs between classes or positions.
        detached: no gradient through the modulator.
        gradient: whether the gradient is written.
    """

    logits: str
    targets: str
    layout: str
    modulator: str
    gammas: bool
    detached: bool
    gradient: bool


# names that `address` binds
if TYPE_CHECKING:  # bound over a computing dtype
    from refocal.formula.focal import value, value_and_slope
    from refocal.formula.margin import against, finite, smoothed, term, weighed
    from refocal.formula.plain import INFINITY, LARGEST, ONE, ZERO
    from refocal.kernels.cpu.compiled.bound import (
        LEAST_TARGET,
        MOST_TARGET,
        Logit,
        Target,
        integer,
        read_gammas,
        read_targets,
        read_tile,
        real,
        store,
        take,
        write_tile,
    )
    from refocal.kernels.cpu.compiled.common import accumulated, group_of
    from refocal.kernels.cpu.compiled.pool import number_at, reject

LOGIT_SIZE = TARGET_SIZE = REAL_SIZE = 0
GRADIENT = GAMMAS_GIVEN = False

COUNTERS = frame.COUNTERS
LOGITS, TARGETS, GRADIENTS, EACH = frame.LOGITS, frame.TARGETS, frame.GRADIENT, frame.LOSSES
IGNORED, CLASSES = frame.IGNORED, frame.CLASSES
ALPHA, WEIGHT, FACTOR, FACTORS = frame.ALPHA, frame.WEIGHT, frame.FACTOR, frame.FACTORS
GAMMA, GAMMAS, GAMMA_BY_CLASS = frame.GAMMA_POSITIVE, frame.GAMMAS, frame.GAMMA_BY_CLASS
BY_CLASS, BY_POSITION = frame.BY_CLASS, frame.BY_POSITION
KEPT_SHARE, SPREAD_SHARE = frame.KEPT_SHARE, frame.SPREAD_SHARE

# classes per partial sum, as in `columns`
CLASS_CHUNK = 16
# rows of the buffer that holds what is known of each position of a group
KNOWN = 9
WEIGHTS, FIRST, SECOND, CLASS, REST_OF_TOP, OTHERS, SHARES, SHARE_OF_TOP, TOTAL = range(KNOWN)

# Tables have a column for each position and, up to a whole vector, some more that hold anything:
# what comes of them is never looked at.


def targets_by_index(integers: Any, first: Any, count: Any, y: Any, known: Any) -> Any:
    """One-hot targets; an ignored position gets the weight 0. Whether any target is no class."""
    classes = len(y)
    targets = view(integers[TARGETS] + first * TARGET_SIZE, count, Target)
    rejected = False
    y[:] = ZERO
    for i in range(count):
        target = np.int64(targets[i])
        if target == integers[IGNORED]:
            known[WEIGHTS, i] = ZERO
        elif target < 0 or target >= classes:
            rejected = True
        else:
            y[target, i] = ONE
    return rejected


def targets_by_probability(integers: Any, first: Any, count: Any, y: Any, known: Any) -> Any:
    """The given targets; whether any is outside [0, 1]."""
    read_targets(integers, first, count, y)
    classes, width = y.shape
    row = width * REAL_SIZE
    rejected = False
    for start in range(0, width, VECTOR):
        at = place(y) + start * REAL_SIZE
        there = lane_numbers(integer) < count - start
        for c in range(classes):
            share = take(at + c * row)
            inside = (share >= LEAST_TARGET) & (share <= MOST_TARGET)
            rejected |= any_of(there & (not inside))
            # what only rounding has put outside of [0, 1] is moved in
            put(at + c * row, where(share > ONE, ONE, where(share < ZERO, ZERO, share)))
    return rejected


prepare = targets_by_index  # or the other


def coefficients_of(integers: Any, first: Any, count: Any, z: Any, y: Any, known: Any) -> Any:
    """Turns targets into what the loss of each class is multiplied by; whether any target or weight
    is none.

    Positions that count for nothing get zeros for logits: padding may hold anything.
    """
    widest_vectors()
    classes, width = y.shape
    row = width * REAL_SIZE
    kept_share = number_at(integers, KEPT_SHARE)
    spread_share = number_at(integers, SPREAD_SHARE)
    alpha = view(integers[ALPHA], classes, real)
    rejected = False
    for i in range(width):
        known[WEIGHTS, i] = ONE
    if integers[WEIGHT] != 0:
        weight = view(integers[WEIGHT] + first * REAL_SIZE, count, real)
        for i in range(count):
            rejected |= not ((weight[i] >= ZERO) & (weight[i] <= LARGEST))
            known[WEIGHTS, i] = weight[i]
    rejected |= prepare(integers, first, count, y, known)
    for start in range(0, width, VECTOR):
        here = start * REAL_SIZE
        w = take(place(known) + WEIGHTS * row + here)
        for c in range(classes):
            a = alpha[c] if integers[ALPHA] != 0 else ONE
            share = smoothed(take(place(y) + c * row + here), kept_share, spread_share)
            put(place(y) + c * row + here, share * a * w)
            logit = take(place(z) + c * row + here)
            put(place(z) + c * row + here, where(w == ZERO, ZERO, logit))
    return rejected


def two_largest(z: Any, known: Any) -> None:
    """The largest logit of each position, which class it is, and the largest of the others."""
    widest_vectors()
    classes, width = z.shape
    row = width * REAL_SIZE
    for start in range(0, width, VECTOR):
        at = place(z) + start * REAL_SIZE
        facts = place(known) + start * REAL_SIZE
        best = take(at)
        second = all_of(-INFINITY)
        top = all_of(ZERO)
        for c in range(1, classes):
            logit = take(at + c * row)
            # of NaN, neither is true: it stays where it is, and the sums will be NaN
            wins = logit > best
            second = where(wins, best, where(logit > second, logit, second))
            best = where(wins, logit, best)
            top = where(wins, real(c), top)
        put(facts + FIRST * row, best)
        put(facts + SECOND * row, second)
        put(facts + CLASS * row, top)


def exponentials_of(z: Any, e: Any, known: Any) -> None:
    """exp(z - largest) of every class; their sum without the top class' own, and the sum over the
    top class' rivals relative to the largest of them.
    """
    widest_vectors()
    classes, width = z.shape
    row = width * REAL_SIZE
    for start in range(0, width, VECTOR):
        here = start * REAL_SIZE
        facts = place(known) + here
        first = finite(take(facts + FIRST * row))
        second = finite(take(facts + SECOND * row))
        top = take(facts + CLASS * row)
        others = all_of(ZERO)
        own = all_of(ZERO)
        rest = all_of(ZERO)
        lost = all_of(ZERO)
        lost_of_rest = all_of(ZERO)
        for begin in range(0, classes, CLASS_CHUNK):
            part = all_of(ZERO)
            part_of_rest = all_of(ZERO)
            for c in range(begin, min(begin + CLASS_CHUNK, classes)):
                is_top = top == real(c)
                logit = take(place(z) + c * row + here)
                share = term(logit, first)
                put(place(e) + c * row + here, share)
                part += where(is_top, ZERO, share)
                own += where(is_top, share, ZERO)
                part_of_rest += term(where(is_top, -INFINITY, logit), second)
            others, lost = accumulated(others, lost, part)
            rest, lost_of_rest = accumulated(rest, lost_of_rest, part_of_rest)
        # of each class' rivals in the sum, beside its own exponential
        put(facts + OTHERS * row, (others + lost) + own)
        put(facts + REST_OF_TOP * row, rest + lost_of_rest)


def expectation_of(
    integers: Any, z: Any, y: Any, e: Any, gammas: Any, shares: Any, known: Any
) -> None:
    """Sums the classes' losses per position; leaves each class' slope where its coefficient was,
    and beside it what the slope of every rival is a multiple of.
    """
    widest_vectors()
    classes, width = z.shape
    row = width * REAL_SIZE
    gamma = number_at(integers, GAMMA)
    for start in range(0, width, VECTOR):
        here = start * REAL_SIZE
        facts = place(known) + here
        top = take(facts + CLASS * row)
        first = take(facts + FIRST * row)
        second = take(facts + SECOND * row)
        all_others = take(facts + OTHERS * row)
        rest_of_top = take(facts + REST_OF_TOP * row)
        total = all_of(ZERO)
        lost = all_of(ZERO)
        slopes = all_of(ZERO)
        lost_of_slopes = all_of(ZERO)
        of_top = all_of(ZERO)
        for begin in range(0, classes, CLASS_CHUNK):
            part = all_of(ZERO)
            part_of_slopes = all_of(ZERO)
            for c in range(begin, min(begin + CLASS_CHUNK, classes)):
                own = take(place(z) + c * row + here)
                w = take(place(y) + c * row + here)
                is_top = top == real(c)
                others = all_others - take(place(e) + c * row + here)
                rest = where(is_top, rest_of_top, others)
                rival = where(is_top, second, first)
                # several +inf leave their margins indeterminate, which must not matter at weight 0
                gap = where((own == INFINITY) & (w == ZERO), INFINITY, own - rival)
                s, x, rest_kept = against(own, finite(rival), rest, rival, gap)
                exponent = gamma_of(gamma, gammas, c, start)
                if GRADIENT:
                    loss, steep = value_and_slope(s, x, exponent)
                    slope = steep * w
                    share = slope / rest_kept
                    put(place(y) + c * row + here, slope)
                    put(place(shares) + c * row + here, share)
                    part_of_slopes += where(is_top, ZERO, share)
                    of_top += where(is_top, share, ZERO)
                else:
                    loss = value(s, x, exponent)
                part += weighed(w, loss)
            total, lost = accumulated(total, lost, part)
            slopes, lost_of_slopes = accumulated(slopes, lost_of_slopes, part_of_slopes)
        # of an infinite loss nothing is lost, and inf - inf would be NaN
        put(facts + TOTAL * row, total + where(abs(total) > LARGEST, ZERO, lost))
        slopes = slopes + where(abs(slopes) > LARGEST, ZERO, lost_of_slopes)
        put(facts + SHARES * row, slopes)
        put(facts + SHARE_OF_TOP * row, of_top)


def gradient_of(
    integers: Any, first: Any, count: Any, z: Any, y: Any, e: Any, shares: Any, known: Any
) -> None:
    """``slope_k - sum over c != k of slope_c r_k`` of class c, in place of the slopes."""
    widest_vectors()
    classes, width = z.shape
    row = width * REAL_SIZE
    factor = number_at(integers, FACTOR)
    for i in range(width):
        known[WEIGHTS, i] = factor
    if integers[FACTORS] != 0:
        factors = view(integers[FACTORS] + first * REAL_SIZE, count, real)
        for i in range(count):
            known[WEIGHTS, i] = factors[i]
    for start in range(0, width, VECTOR):
        here = start * REAL_SIZE
        facts = place(known) + here
        top = take(facts + CLASS * row)
        second = finite(take(facts + SECOND * row))
        all_shares = take(facts + SHARES * row)
        of_top = take(facts + SHARE_OF_TOP * row)
        upstream = take(facts + WEIGHTS * row)
        for c in range(classes):
            is_top = top == real(c)
            at = c * row + here
            beside = term(where(is_top, -INFINITY, take(place(z) + at)), second)
            rivals = where(is_top, all_shares, all_shares - take(place(shares) + at))
            step = take(place(y) + at) - take(place(e) + at) * rivals - beside * of_top
            put(place(y) + at, step * upstream)


def gammas_of(integers: Any, first: Any, count: Any, gammas: Any) -> None:
    """A gamma for every class of every position."""
    classes, width = gammas.shape
    mode = integers[GAMMA_BY_CLASS]
    if mode == BY_CLASS:
        of_class = view(integers[GAMMAS], classes, real)
        for c in range(classes):
            for i in range(width):
                gammas[c, i] = of_class[c]
    elif mode == BY_POSITION:
        of_position = view(integers[GAMMAS] + first * REAL_SIZE, count, real)
        for c in range(classes):
            for i in range(count):
                gammas[c, i] = of_position[i]
    else:
        read_gammas(integers, first, count, gammas)


def gamma_of_all(gamma: Any, gammas: Any, c: Any, start: Any) -> Any:
    return all_of(gamma)


def gamma_of_each(gamma: Any, gammas: Any, c: Any, start: Any) -> Any:
    return take(place(gammas) + (c * gammas.shape[1] + start) * REAL_SIZE)


gamma_of = gamma_of_all  # or the other


def kernel_of_groups(base: Any, block: Any) -> Any:
    """One group of positions; the sum of their losses."""
    integers = view(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    first, count = group_of(integers, block)
    width = -(-count // VECTOR) * VECTOR
    known = np.empty((KNOWN, width), real)
    z = np.empty((classes, width), real)
    y = np.empty((classes, width), real)
    e = np.empty((classes, width), real)
    shares = np.empty((classes if GRADIENT else 1, width), real)
    gammas = np.empty((classes if GAMMAS_GIVEN else 1, width), real)
    read_tile(integers, first, count, z)
    if GAMMAS_GIVEN:
        gammas_of(integers, first, count, gammas)
    if coefficients_of(integers, first, count, z, y, known):
        return reject(base)
    two_largest(z, known)
    exponentials_of(z, e, known)
    expectation_of(integers, z, y, e, gammas, shares, known)
    if integers[EACH] != 0:
        losses = view(integers[EACH] + first * LOGIT_SIZE, count, Logit)
        for i in range(count):
            losses[i] = store(known[TOTAL, i])
    if GRADIENT:
        gradient_of(integers, first, count, z, y, e, shares, known)
        write_tile(integers, first, count, y)
    total = 0.0
    for i in range(count):
        total += np.float64(known[TOTAL, i])
    return total


@cache
def address(kernel: ExpectationKernel) -> int:
    """Returns the address of a kernel's C function, compiled or from the cache on disk."""
    number, logits, targets = real_type(kernel), STORAGE[kernel.logits], STORAGE[kernel.targets]
    layout = kernel.layout
    # read into the computing dtype
    limits = {name: number(limit) for name, limit in target_limits(kernel.targets).items()}
    names: dict[str, Any] = {
        **globals(),
        **softmax_names(kernel),
        "GAMMAS_GIVEN": kernel.gammas,
        "take": vectors_of(np.dtype(number).name)[0],
        **limits,
    }
    if targets.floating:
        names["read_targets"] = reader(layout, TARGETS, targets, number)
    if kernel.gammas:
        names["read_gammas"] = reader(layout, GAMMAS, STORAGE[np.dtype(number).name], number)
    names["read_tile"] = reader(layout, LOGITS, logits, number)
    names["write_tile"] = writer(layout, GRADIENTS, logits, number)
    names["gamma_of"] = rebound(gamma_of_each if kernel.gammas else gamma_of_all, names)
    by_target = targets_by_probability if targets.floating else targets_by_index
    names["prepare"] = apart(rebound(by_target, names))
    steps = (coefficients_of, two_largest, exponentials_of, expectation_of, gradient_of, gammas_of)
    for step in steps:
        names[step.__name__] = apart(rebound(step, names))
    return pool.kernel_address(
        rebound(kernel_of_groups, names), pool.name_of("expectation", kernel)
    )
