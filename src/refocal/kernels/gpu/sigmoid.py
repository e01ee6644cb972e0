"""The Triton kernels of the sigmoid, and those around every loss.

Every program writes its own part: no atomics, the same sum every time. Losses and gradients are
computed in float32 whatever the logits are, and rounded once. Offsets are 64-bit: 2**31 logits are
8 GB. Loads beyond the end read values whose loss is 0.
"""
# Triton reads these functions as source: upper case marks what is fixed when one is compiled.
# mypy: disable-error-code="no-untyped-def, misc"

from __future__ import annotations

import triton.language as tl

from refocal.kernels.gpu.operations import FAR, helper, kernel, sides, smoothed, steepness, weighed
from refocal.kernels.gpu.parts import (
    counts_for_nothing,
    divided,
    parameter,
    piece,
    put,
    soft_target,
    turns_of,
)

# ---------------------------------------------------------------------------------------------
# sigmoid


@helper
def sigmoid_block(
    block,
    logits,
    targets,
    losses,  # one per element, or one sum per program
    gradients,
    alpha_positive,
    alpha_negative,
    gamma_positive,
    gamma_negative,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    count,
    alpha_inner,
    alpha_size,
    gamma_inner,
    gamma_size,
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    smoothing,
    ALPHA,
    GAMMA,
    WEIGHT,
    FACTOR,
    SHARE,
    HARD,
    SMOOTH,
    ZEROS,  # whether alpha may be 0
    IGNORE,
    MODULATOR,
    POWER,
    DETACHED,
    LOSS,
    GRADIENT,
    PRECISE,
    EVEN,
    BLOCK,
):
    """A block of elements; returns the sum of its losses, if that is wanted."""
    base = block * BLOCK
    lanes = tl.arange(0, BLOCK)
    mask = tl.full((BLOCK,), True, tl.int1) if EVEN else base + lanes < count
    # beyond the end: a certain negative, whose loss is 0
    z = piece(logits, base, lanes, count, -float("inf"), EVEN, BLOCK).to(tl.float32)
    y = piece(targets, base, lanes, count, 0, EVEN, BLOCK)
    a_positive = parameter(
        alpha_positive, base, lanes, count, alpha_inner, alpha_size, 0.0, ALPHA, EVEN, BLOCK
    )
    a_negative = parameter(
        alpha_negative, base, lanes, count, alpha_inner, alpha_size, 0.0, ALPHA, EVEN, BLOCK
    )
    gamma = parameter(
        gamma_positive, base, lanes, count, gamma_inner, gamma_size, 0.0, GAMMA, EVEN, BLOCK
    )
    gamma_other = parameter(
        gamma_negative, base, lanes, count, gamma_inner, gamma_size, 0.0, GAMMA, EVEN, BLOCK
    )
    scale = parameter(
        factor, base, lanes, count, factor_inner, factor_size, 0.0, FACTOR, EVEN, BLOCK
    )
    scale = divided(scale, share, SHARE)
    raw = y
    if not HARD:
        y = soft_target(y)
    if WEIGHT != "none" or IGNORE:
        w = 1.0
        if WEIGHT != "none":
            w = parameter(
                weight, base, lanes, count, weight_inner, weight_size, 0.0, WEIGHT, EVEN, BLOCK
            )
        if IGNORE:
            w = tl.where(counts_for_nothing(raw, ignored), 0.0, w)
            y = tl.where(counts_for_nothing(raw, ignored), 0, y)
        z = tl.where(w == 0, 0.0, z)  # what does not count may be NaN
        a_positive = a_positive * w
        a_negative = a_negative * w

    # The larger side of a logit is the class it argues for: `low` is that class' cross-entropy and
    # `small` what is missing of its probability `large`. The other class has `high`, and p and q
    # change places.
    size, low, large, small = sides(z, PRECISE)
    high = size + low
    rising = z >= 0
    if HARD:
        positive = y != 0
        wins = positive == rising
        p = tl.where(wins, large, small)
        q = tl.where(wins, small, large)
        ce = tl.where(wins, 0.0, size) + low
        if GAMMA != "number" or MODULATOR == "compensated":
            gamma = tl.where(positive, gamma, gamma_other)
        m = POWER(tl.where(wins, size, -size), low, q, gamma)
        part = tl.where(positive, a_positive, a_negative) * m
        bracket = steepness(p, q, tl.minimum(ce, FAR), gamma, MODULATOR, DETACHED)
        slope = (part * bracket) * tl.where(positive, -scale, scale)
        value = weighed(part, ce) if ZEROS else part * ce
    else:
        if SMOOTH:
            y_negative = smoothed(1.0 - y, 1.0 - smoothing, 0.5 * smoothing) * a_negative
            y_positive = smoothed(y, 1.0 - smoothing, 0.5 * smoothing) * a_positive
        else:
            y_negative = tl.fma(-y, a_negative, a_negative)  # rounded once, for y near 1
            y_positive = y * a_positive
        gamma_wins = gamma
        gamma_loses = gamma
        if GAMMA != "number" or MODULATOR == "compensated":
            gamma_wins = tl.where(rising, gamma, gamma_other)
            gamma_loses = tl.where(rising, gamma_other, gamma)
        wins = tl.where(rising, y_positive, y_negative)
        loses = tl.where(rising, y_negative, y_positive)
        wins = wins * POWER(size, low, small, gamma_wins)
        loses = loses * POWER(-size, low, large, gamma_loses)
        value = wins * low + tl.where(loses == 0, 0.0, loses * high)  # high may be inf
        against = loses * steepness(
            small, large, tl.minimum(high, FAR), gamma_loses, MODULATOR, DETACHED
        )
        for_ = wins * steepness(large, small, low, gamma_wins, MODULATOR, DETACHED)
        slope = (against - for_) * tl.where(rising, scale, -scale)

    if GRADIENT:
        put(gradients, base, lanes, count, slope, EVEN, BLOCK)
    total = 0.0
    if LOSS == "none":
        put(losses, base, lanes, count, value, EVEN, BLOCK)
    elif LOSS == "sum":
        # what lies beyond the end has the losses of whatever parameters it found
        total = tl.sum(value if EVEN else tl.where(mask, value, 0.0), 0)
    return total


@kernel("count", "blocks", "ignored")
def sigmoid_kernel(
    logits,
    targets,
    losses,  # one per element, or one sum per program
    gradients,
    alpha_positive,
    alpha_negative,
    gamma_positive,
    gamma_negative,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    unless,  # if this is 1, the gradient stands already
    count,
    alpha_inner,
    alpha_size,
    gamma_inner,
    gamma_size,
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    smoothing,
    blocks,
    UNLESS: tl.constexpr,
    PERSISTENT: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    SHARE: tl.constexpr,
    HARD: tl.constexpr,
    SMOOTH: tl.constexpr,
    ZEROS: tl.constexpr,  # whether alpha may be 0
    IGNORE: tl.constexpr,
    MODULATOR: tl.constexpr,
    POWER: tl.constexpr,  # the modulator itself
    DETACHED: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    PRECISE: tl.constexpr,
    EVEN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    program = tl.program_id(0).to(tl.int64)
    total = 0.0
    # one turn is no loop to the compiler
    for turns in range(turns_of(program, blocks) if PERSISTENT else 1):
        total += sigmoid_block(
            program + turns * tl.num_programs(0),
            logits,
            targets,
            losses,
            gradients,
            alpha_positive,
            alpha_negative,
            gamma_positive,
            gamma_negative,
            weight,
            factor,
            share,
            count,
            alpha_inner,
            alpha_size,
            gamma_inner,
            gamma_size,
            weight_inner,
            weight_size,
            factor_inner,
            factor_size,
            ignored,
            smoothing,
            ALPHA,
            GAMMA,
            WEIGHT,
            FACTOR,
            SHARE,
            HARD,
            SMOOTH,
            ZEROS,
            IGNORE,
            MODULATOR,
            POWER,
            DETACHED,
            LOSS,
            GRADIENT,
            PRECISE,
            EVEN,
            BLOCK,
        )
    if LOSS == "sum":
        tl.store(losses + program, total)


# ---------------------------------------------------------------------------------------------
# around them: what scales, counts and adds up


@kernel("count", "blocks")
def scale_kernel(gradients, upstream, count, blocks, BLOCK: tl.constexpr):
    """Multiplies in place, unless by 1: then nothing but ``upstream`` is read, on the device."""
    factor = tl.load(upstream).to(tl.float32)
    if factor != 1.0:
        lanes = tl.arange(0, BLOCK)
        for block in range(tl.program_id(0).to(tl.int64), blocks, tl.num_programs(0)):
            base = block * BLOCK
            gradient = piece(gradients, base, lanes, count, 0.0, False, BLOCK).to(tl.float32)
            put(gradients, base, lanes, count, gradient * factor, False, BLOCK)


@kernel("count", "blocks", "ignored")
def count_kernel(
    values,
    counts,
    count,
    blocks,
    ignored,
    ADD: tl.constexpr,
    FINAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """How many values are not ``ignored``; with ADD their sum, for the counts of several programs.

    With FINAL at least 1, because it will be divided by.
    """
    program = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, BLOCK)
    kept = tl.zeros((BLOCK,), tl.int64)
    for block in range(program, blocks, tl.num_programs(0)):
        base = block * BLOCK
        value = piece(values, base, lanes, count, 0, False, BLOCK)
        here = base + lanes < count
        if ADD:
            kept += tl.where(here, value, 0)
        else:
            if values.dtype.element_ty.is_floating():
                value = value.to(tl.float32)
            kept += (here & ~counts_for_nothing(value, ignored)).to(tl.int64)
    total = tl.sum(kept, 0)
    tl.store(counts + program, tl.maximum(total, 1) if FINAL else total)


@kernel("count")
def finish_kernel(sums, total, share, count, SHARE: tl.constexpr, BLOCK: tl.constexpr):
    """The sums of all programs over the denominator: added and divided in float64, rounded once."""
    lanes = tl.arange(0, BLOCK)
    added = tl.zeros((BLOCK,), tl.float64)
    for base in range(0, count, BLOCK):
        added += tl.load(sums + base + lanes, mask=base + lanes < count, other=0.0).to(tl.float64)
    found = tl.sum(added, 0)
    if SHARE == "number":
        found = found / share
    elif SHARE == "count":
        found = found / tl.load(share).to(tl.float64)
    tl.store(total, found.to(tl.float32))
