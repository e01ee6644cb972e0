"""The softmax kernel for probability targets and smoothed labels: ``sum_c y_c a_c F(s_c)``.

Every class has a margin of its own, against all others. As in `links.softmax_margins`, the others'
sum is the total minus one's own term, except for the top class, where that would cancel: its rivals
are summed apart, relative to the largest of them.

A block is a tile (see `tiles`), and every vector runs over positions.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import pool
from refocal.kernels.cpu.compiled.binding import compiled, part, rebound
from refocal.kernels.cpu.compiled.common import real_type, softmax_names
from refocal.kernels.cpu.compiled.dtypes import STORAGE, target_limits
from refocal.kernels.cpu.compiled.math import where, widest_vectors
from refocal.kernels.cpu.compiled.memory import view
from refocal.kernels.cpu.compiled.tiles import reader, writer


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
        read_gammas,
        read_targets,
        read_tile,
        real,
        store,
        write_tile,
    )
    from refocal.kernels.cpu.compiled.common import accumulated, group_of
    from refocal.kernels.cpu.compiled.math import where
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

# classes per partial sum, as in `softmax`
CLASS_CHUNK = 16
# rows of the buffer that holds what is known of each position of a group; sums come with the part
# of them that the classes at hand make up
WEIGHTS, FIRST, SECOND, REST_OF_TOP, OTHERS, OWN_TOP, SHARES, SHARE_OF_TOP, TOTAL, PART = range(10)
OTHER_PART = PART + 1
# what two sums have lost to rounding
LOST = PART + 2
OTHER_LOST = PART + 3
KNOWN = 13


def targets_by_index(integers: Any, first: Any, y: Any, known: Any) -> Any:
    """One-hot targets; an ignored position gets the weight 0. Counts targets that are no class."""
    classes, count = y.shape
    targets = view(integers[TARGETS] + first * TARGET_SIZE, count, Target)
    rejected = 0
    y[:] = ZERO
    for i in range(count):
        target = np.int64(targets[i])
        if target == integers[IGNORED]:
            known[WEIGHTS, i] = ZERO
        elif target < 0 or target >= classes:
            rejected += 1
        else:
            y[target, i] = ONE
    return rejected


def targets_by_probability(integers: Any, first: Any, y: Any, known: Any) -> Any:
    """The given targets; counts those outside [0, 1]."""
    read_targets(integers, first, y.shape[1], y)
    rejected = 0
    for c in range(y.shape[0]):
        for i in range(y.shape[1]):
            share = y[c, i]
            rejected += not ((share >= LEAST_TARGET) & (share <= MOST_TARGET))
            # what only rounding has put outside of [0, 1] is moved in
            y[c, i] = where(share > ONE, ONE, where(share < ZERO, ZERO, share))
    return rejected


prepare = targets_by_index  # or the other


def coefficients_of(integers: Any, first: Any, z: Any, y: Any, known: Any) -> Any:
    """Turns targets into what the loss of each class is multiplied by.

    Positions that count for nothing get zeros for logits: padding may hold anything.
    """
    widest_vectors()
    classes, count = y.shape
    kept_share = number_at(integers, KEPT_SHARE)
    spread_share = number_at(integers, SPREAD_SHARE)
    alpha = view(integers[ALPHA], classes, real)
    weight = view(integers[WEIGHT] + first * REAL_SIZE, count, real)
    for i in range(count):
        known[WEIGHTS, i] = weight[i] if integers[WEIGHT] != 0 else ONE
    rejected = 0
    if integers[WEIGHT] != 0:
        for i in range(count):
            rejected += not ((weight[i] >= ZERO) & (weight[i] <= LARGEST))
    rejected += prepare(integers, first, y, known)
    for c in range(classes):
        a = alpha[c] if integers[ALPHA] != 0 else ONE
        for i in range(count):
            w = known[WEIGHTS, i]
            y[c, i] = smoothed(y[c, i], kept_share, spread_share) * a * w
            z[c, i] = where(w == ZERO, ZERO, z[c, i])
    return rejected


def two_largest(z: Any, known: Any, top: Any) -> None:
    """The largest logit of each position, which class it is, and the largest of the others."""
    widest_vectors()
    classes, count = z.shape
    for i in range(count):
        known[FIRST, i] = z[0, i]
        known[SECOND, i] = -INFINITY
        top[i] = ZERO
    for c in range(1, classes):
        number = real(c)
        for i in range(count):
            logit, best, second = z[c, i], known[FIRST, i], known[SECOND, i]
            # of NaN, neither is true: it stays where it is, and the sums will be NaN
            wins = logit > best
            known[SECOND, i] = where(wins, best, where(logit > second, logit, second))
            known[FIRST, i] = where(wins, logit, best)
            top[i] = where(wins, number, top[i])


def exponentials_of(z: Any, e: Any, known: Any, top: Any) -> None:
    """exp(z - largest) of every class; their sums without and with the top class' own, and the sum
    over the top class' rivals relative to the largest of them.
    """
    widest_vectors()
    classes, count = z.shape
    for i in range(count):
        known[OTHERS, i] = known[OWN_TOP, i] = known[REST_OF_TOP, i] = ZERO
        known[LOST, i] = known[OTHER_LOST, i] = ZERO
    for start in range(0, classes, CLASS_CHUNK):
        for i in range(count):
            known[PART, i] = known[OTHER_PART, i] = ZERO
        for c in range(start, min(start + CLASS_CHUNK, classes)):
            number = real(c)
            for i in range(count):
                is_top = top[i] == number
                share = term(z[c, i], finite(known[FIRST, i]))
                e[c, i] = share
                known[PART, i] += where(is_top, ZERO, share)
                known[OWN_TOP, i] += where(is_top, share, ZERO)
                rival = where(is_top, -INFINITY, z[c, i])
                known[OTHER_PART, i] += term(rival, finite(known[SECOND, i]))
        for i in range(count):
            known[OTHERS, i], known[LOST, i] = accumulated(
                known[OTHERS, i], known[LOST, i], known[PART, i]
            )
            known[REST_OF_TOP, i], known[OTHER_LOST, i] = accumulated(
                known[REST_OF_TOP, i], known[OTHER_LOST, i], known[OTHER_PART, i]
            )
    for i in range(count):
        known[OTHERS, i] += known[LOST, i]
        known[REST_OF_TOP, i] += known[OTHER_LOST, i]


def expectation_of(
    integers: Any, z: Any, y: Any, e: Any, gammas: Any, shares: Any, known: Any, top: Any
) -> None:
    """Sums the classes' losses per position; leaves each class' slope where its coefficient was,
    and beside it what the slope of every rival is a multiple of.
    """
    widest_vectors()
    classes, count = z.shape
    gamma = number_at(integers, GAMMA)
    for i in range(count):
        known[TOTAL, i] = known[SHARES, i] = known[SHARE_OF_TOP, i] = ZERO
        known[LOST, i] = known[OTHER_LOST, i] = ZERO
    for start in range(0, classes, CLASS_CHUNK):
        for i in range(count):
            known[PART, i] = known[OTHER_PART, i] = ZERO
        for c in range(start, min(start + CLASS_CHUNK, classes)):
            number = real(c)
            for i in range(count):
                own = z[c, i]
                w = y[c, i]
                is_top = top[i] == number
                rest = where(
                    is_top, known[REST_OF_TOP, i], (known[OTHERS, i] + known[OWN_TOP, i]) - e[c, i]
                )
                rival = where(is_top, known[SECOND, i], known[FIRST, i])
                # several +inf leave their margins indeterminate, which must not matter at weight 0
                gap = where((own == INFINITY) & (w == ZERO), INFINITY, own - rival)
                s, x, rest = against(own, finite(rival), rest, rival, gap)
                if GRADIENT:
                    loss, slope = value_and_slope(s, x, gamma_of(gamma, gammas, c, i))
                    slope *= w
                    share = slope / rest
                    y[c, i] = slope
                    shares[c, i] = share
                    known[OTHER_PART, i] += where(is_top, ZERO, share)
                    known[SHARE_OF_TOP, i] += where(is_top, share, ZERO)
                else:
                    loss = value(s, x, gamma_of(gamma, gammas, c, i))
                known[PART, i] += weighed(w, loss)
        for i in range(count):
            known[TOTAL, i], known[LOST, i] = accumulated(
                known[TOTAL, i], known[LOST, i], known[PART, i]
            )
            known[SHARES, i], known[OTHER_LOST, i] = accumulated(
                known[SHARES, i], known[OTHER_LOST, i], known[OTHER_PART, i]
            )
    for i in range(count):
        # of an infinite loss nothing is lost, and inf - inf would be NaN
        known[TOTAL, i] += where(abs(known[TOTAL, i]) > LARGEST, ZERO, known[LOST, i])
        known[SHARES, i] += where(abs(known[SHARES, i]) > LARGEST, ZERO, known[OTHER_LOST, i])


def gradient_of(
    integers: Any, first: Any, z: Any, y: Any, e: Any, shares: Any, known: Any, top: Any
) -> None:
    """``slope_k - sum over c != k of slope_c r_k`` of class c, in place of the slopes."""
    widest_vectors()
    classes, count = z.shape
    factors = view(integers[FACTORS] + first * REAL_SIZE, count, real)
    factor = number_at(integers, FACTOR)
    for i in range(count):
        known[WEIGHTS, i] = factors[i] if integers[FACTORS] != 0 else factor
    for c in range(classes):
        number = real(c)
        for i in range(count):
            is_top = top[i] == number
            beside = term(where(is_top, -INFINITY, z[c, i]), finite(known[SECOND, i]))
            rivals = where(is_top, known[SHARES, i], known[SHARES, i] - shares[c, i])
            step = y[c, i] - e[c, i] * rivals - beside * known[SHARE_OF_TOP, i]
            y[c, i] = step * known[WEIGHTS, i]


def gammas_of(integers: Any, first: Any, gammas: Any) -> None:
    """A gamma for every class of every position."""
    classes, count = gammas.shape
    mode = integers[GAMMA_BY_CLASS]
    if mode == BY_CLASS:
        of_class = view(integers[GAMMAS], classes, real)
        for c in range(classes):
            for i in range(count):
                gammas[c, i] = of_class[c]
    elif mode == BY_POSITION:
        of_position = view(integers[GAMMAS] + first * REAL_SIZE, count, real)
        for c in range(classes):
            for i in range(count):
                gammas[c, i] = of_position[i]
    else:
        read_gammas(integers, first, gammas.shape[1], gammas)


def gamma_of_all(gamma: Any, gammas: Any, c: Any, i: Any) -> Any:
    return gamma


def gamma_of_each(gamma: Any, gammas: Any, c: Any, i: Any) -> Any:
    return gammas[c, i]


gamma_of = gamma_of_all  # or the other


def kernel_of_groups(base: Any, block: Any) -> Any:
    """One group of positions; the sum of their losses."""
    integers = view(base, COUNTERS, np.int64)
    classes = integers[CLASSES]
    first, count = group_of(integers, block)
    known = np.empty((KNOWN, count), real)
    top = np.empty(count, real)
    z = np.empty((classes, count), real)
    y = np.empty((classes, count), real)
    e = np.empty((classes, count), real)
    shares = np.empty((classes if GRADIENT else 1, count), real)
    gammas = np.empty((classes if GAMMAS_GIVEN else 1, count), real)
    read_tile(integers, first, z.shape[1], z)
    if GAMMAS_GIVEN:
        gammas_of(integers, first, gammas)
    if coefficients_of(integers, first, z, y, known):
        return reject(base)
    two_largest(z, known, top)
    exponentials_of(z, e, known, top)
    expectation_of(integers, z, y, e, gammas, shares, known, top)
    if integers[EACH] != 0:
        losses = view(integers[EACH] + first * LOGIT_SIZE, count, Logit)
        for i in range(count):
            losses[i] = store(known[TOTAL, i])
    if GRADIENT:
        gradient_of(integers, first, z, y, e, shares, known, top)
        write_tile(integers, first, y.shape[1], y)
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
        **limits,
    }

    def bind(name: str, function: Any) -> None:
        names[name] = part(compiled, function, names)

    if targets.floating:
        names["read_targets"] = reader(layout, TARGETS, targets, number)
    if kernel.gammas:
        names["read_gammas"] = reader(layout, GAMMAS, STORAGE[np.dtype(number).name], number)
        bind("gammas_of", gammas_of)
    names["read_tile"] = reader(layout, LOGITS, logits, number)
    names["write_tile"] = writer(layout, GRADIENTS, logits, number)
    bind("prepare", targets_by_probability if targets.floating else targets_by_index)
    bind("coefficients_of", coefficients_of)
    bind("two_largest", two_largest)
    bind("exponentials_of", exponentials_of)
    bind("gamma_of", gamma_of_each if kernel.gammas else gamma_of_all)
    bind("expectation_of", expectation_of)
    bind("gradient_of", gradient_of)
    return pool.kernel_address(
        rebound(kernel_of_groups, names), pool.name_of("expectation", kernel)
    )
