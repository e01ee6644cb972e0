"""The Triton kernels. Every program writes its own part: no atomics, the same sum every time.

Losses and gradients are computed in float32 whatever the logits are, and rounded once. Offsets are
64-bit: 2**31 logits are 8 GB. Loads beyond the end read values whose loss is 0.
"""
# Triton reads these functions as source: upper case marks what is fixed when one is compiled.
# mypy: disable-error-code="no-untyped-def, misc"

from __future__ import annotations

import triton
import triton.language as tl

from refocal.kernels.triton_text import (
    FAR,
    INFINITY,
    LARGEST,
    exp,
    helper,
    modulator_of,
    quick_exp,
    sides,
    steepness,
)


@helper
def parameter(value, offsets, mask, inner, size, LAYOUT, default):
    """alpha, gamma, a weight or a factor of some elements, as `gpu.Spread` lays them out."""
    if LAYOUT == "number":
        found = value
    elif LAYOUT == "single":
        found = tl.load(value)
    elif LAYOUT == "cycle":
        found = tl.load(value + (offsets // inner) % size, mask=mask, other=default)
    else:
        found = tl.load(value + offsets, mask=mask, other=default)
    return found


@helper
def weighed(coefficient, value):
    """Coefficient * value where 0 * inf is 0. NaN stays."""
    return coefficient * tl.where((coefficient == 0) & (value == INFINITY), 0.0, value)


# ---------------------------------------------------------------------------------------------
# sigmoid


@triton.jit
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
    factor,  # multiplies the gradient
    unless,  # if this is 1, the gradient stands already
    count,
    alpha_inner,
    alpha_size,
    gamma_inner,
    gamma_size,
    weight_inner,
    weight_size,
    ignored,
    smoothing,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    UNLESS: tl.constexpr,
    HARD: tl.constexpr,
    SMOOTH: tl.constexpr,
    ZEROS: tl.constexpr,  # whether alpha may be 0
    IGNORE: tl.constexpr,
    MODULATOR: tl.constexpr,
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
    offsets = program * BLOCK + tl.arange(0, BLOCK)
    mask = tl.full((BLOCK,), True, tl.int1) if EVEN else offsets < count
    # beyond the end: a certain negative, whose loss is 0
    z = tl.load(logits + offsets, mask=mask, other=-float("inf")).to(tl.float32)
    y = tl.load(targets + offsets, mask=mask, other=0)
    a_positive = parameter(alpha_positive, offsets, mask, alpha_inner, alpha_size, ALPHA, 0.0)
    a_negative = parameter(alpha_negative, offsets, mask, alpha_inner, alpha_size, ALPHA, 0.0)
    gamma = parameter(gamma_positive, offsets, mask, gamma_inner, gamma_size, GAMMA, 0.0)
    gamma_other = parameter(gamma_negative, offsets, mask, gamma_inner, gamma_size, GAMMA, 0.0)
    scale = parameter(factor, offsets, mask, 1, 1, FACTOR, 0.0)
    if not HARD:
        y = y.to(tl.float32)
    if WEIGHT != "none" or IGNORE:
        w = 1.0
        if WEIGHT != "none":
            w = parameter(weight, offsets, mask, weight_inner, weight_size, WEIGHT, 0.0)
        if IGNORE:
            w = tl.where(y == ignored, 0.0, w)
            y = tl.where(y == ignored, 0, y)
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
        m = modulator_of(tl.where(wins, size, -size), low, q, gamma, MODULATOR)
        part = tl.where(positive, a_positive, a_negative) * m
        bracket = steepness(p, q, tl.minimum(ce, FAR), gamma, MODULATOR, DETACHED)
        slope = (part * bracket) * tl.where(positive, -scale, scale)
        value = weighed(part, ce) if ZEROS else part * ce
    else:
        if SMOOTH:
            # each share by itself: one minus the other would cancel, relative to a small e / 2
            y_negative = ((1.0 - y) * (1.0 - smoothing) + 0.5 * smoothing) * a_negative
            y_positive = (y * (1.0 - smoothing) + 0.5 * smoothing) * a_positive
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
        wins = wins * modulator_of(size, low, small, gamma_wins, MODULATOR)
        loses = loses * modulator_of(-size, low, large, gamma_loses, MODULATOR)
        value = wins * low + tl.where(loses == 0, 0.0, loses * high)  # high may be inf
        against = loses * steepness(
            small, large, tl.minimum(high, FAR), gamma_loses, MODULATOR, DETACHED
        )
        for_ = wins * steepness(large, small, low, gamma_wins, MODULATOR, DETACHED)
        slope = (against - for_) * tl.where(rising, scale, -scale)

    if GRADIENT:
        tl.store(gradients + offsets, slope.to(gradients.dtype.element_ty), mask=mask)
    if LOSS == "none":
        tl.store(losses + offsets, value.to(losses.dtype.element_ty), mask=mask)
    elif LOSS == "sum":
        if SMOOTH and not EVEN:
            value = tl.where(mask, value, 0.0)
        tl.store(losses + program, tl.sum(value, 0))


@triton.jit
def scale_kernel(gradients, upstream, count, BLOCK: tl.constexpr):
    """Multiplies in place, unless by 1: then nothing but ``upstream`` is read, on the device."""
    factor = tl.load(upstream).to(tl.float32)
    if factor != 1.0:
        offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < count
        gradient = tl.load(gradients + offsets, mask=mask, other=0.0).to(tl.float32) * factor
        tl.store(gradients + offsets, gradient.to(gradients.dtype.element_ty), mask=mask)


# ---------------------------------------------------------------------------------------------
# softmax: rows of classes, at whatever stride


@helper
def margin_of(own, base, rest, top, gap):
    """`links.against`: s, x and the safe rest of a class whose rivals sum to ``rest e**base``."""
    alone = rest == 0
    rest = tl.where(alone, 1.0, rest)
    d = own - base
    s = tl.where(alone, own + INFINITY, d - tl.log(rest))
    s = tl.where(top == INFINITY, gap, s)
    wins = s >= 0
    e = exp(tl.where(wins, -d, d))
    x = tl.where(wins, rest * e, e / rest)
    return s, tl.where(tl.abs(s) == INFINITY, 0.0, x), rest


@helper
def held(z, base):
    """e**(z - base); an infinite rival counts as the largest float."""
    return quick_exp(tl.minimum(z, LARGEST, propagate_nan=tl.PropagateNan.ALL) - base)


@helper
def finite(top):
    """What exponentials are formed relative to: the largest logit, held finite."""
    return tl.minimum(tl.maximum(top, -LARGEST), LARGEST)


@helper
def row_part(logits, start, columns, inner, classes, dead, INNER):
    """Some logits of a long row; 0 if the row does not count, when it may be NaN."""
    offsets = start + along_row(columns, inner, INNER)
    z = tl.load(logits + offsets, mask=columns < classes, other=-float("inf")).to(tl.float32)
    return tl.where(dead, 0.0, z)


@helper
def position_of(positions, classes, inner, INNER):
    """Where the classes of a position begin. ``positions`` have 64 bits, and so has every product:
    ``classes * inner`` by itself would have 32, and one sample of 2**31 logits overflow it.
    """
    if INNER:
        start = (positions // inner) * classes * inner + positions % inner
    else:
        start = positions * classes
    return start


@helper
def along_row(columns, inner, INNER):
    """How far some classes are from the first one of their position."""
    return columns.to(tl.int64) * inner if INNER else columns


@helper
def index_of(targets, weight, positions, mask, classes, ignored, WEIGHT):
    """Class index and weight of some positions: 0 where ignored, NaN for an index out of range.

    The host does not read the targets, so this is how such an index shows.
    """
    y = tl.load(targets + positions, mask=mask, other=0)
    kept = mask & (y != ignored)
    known = (y >= 0) & (y < classes)
    w = 1.0
    if WEIGHT:
        w = tl.load(weight + positions, mask=mask, other=0.0)
    w = tl.where(known, w, float("nan"))
    return tl.where(kept & known, y, 0).to(tl.int32), tl.where(kept, w, 0.0)


@helper
def index_terms(own, base, rest, top, index, w, alpha, gamma, positions, mask, BOTH, ALPHA, GAMMA):
    """Loss and slope of the target class of some positions, times their weights; safe rest."""
    s, x, rest = margin_of(own, base, rest, top, own - top)
    exponent = gamma
    if GAMMA == "single":
        exponent = tl.load(gamma)
    elif GAMMA == "class":
        exponent = tl.load(gamma + index)
    elif GAMMA == "position":
        exponent = tl.load(gamma + positions, mask=mask, other=0.0)
    value, slope = BOTH(s, x, exponent)
    if ALPHA:
        w = w * tl.load(alpha + index)
    return weighed(w, value), w * slope, rest


@triton.jit
def softmax_index_kernel(
    logits,
    targets,
    losses,
    gradients,
    alpha,
    gamma,
    weight,
    factor,
    unless,
    count,
    classes,
    inner,
    ignored,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    UNLESS: tl.constexpr,
    INNER: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Class indices, all classes of a position in registers."""
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    program = tl.program_id(0).to(tl.int64)
    positions = program * ROWS + tl.arange(0, ROWS)
    here = positions < count
    columns = tl.arange(0, BLOCK)
    offsets = position_of(positions, classes, inner, INNER)[:, None]
    offsets += along_row(columns, inner, INNER)[None, :]
    mask = here[:, None] & (columns < classes)[None, :]
    index, w = index_of(targets, weight, positions, here, classes, ignored, WEIGHT)
    z = tl.load(logits + offsets, mask=mask, other=-float("inf")).to(tl.float32)
    z = tl.where((w == 0)[:, None], 0.0, z)  # what does not count may be NaN
    own_class = columns[None, :] == index[:, None]
    own = tl.sum(tl.where(own_class, z, 0.0), 1)
    z = tl.where(own_class, -float("inf"), z)
    top = tl.max(z, 1)
    base = finite(top)
    e = held(z, base[:, None])
    value, slope, rest = index_terms(
        own, base, tl.sum(e, 1), top, index, w, alpha, gamma, positions, here, BOTH, ALPHA, GAMMA
    )
    if GRADIENT:
        slope = slope * parameter(factor, positions, here, 1, 1, FACTOR, 0.0)
        gradient = tl.where(own_class, slope[:, None], e * (-slope / rest)[:, None])
        tl.store(gradients + offsets, gradient.to(gradients.dtype.element_ty), mask=mask)
    if LOSS == "none":
        tl.store(losses + positions, value.to(losses.dtype.element_ty), mask=here)
    elif LOSS == "sum":
        tl.store(losses + program, tl.sum(value, 0))


@triton.jit
def softmax_index_loop_kernel(
    logits,
    targets,
    losses,
    gradients,
    alpha,
    gamma,
    weight,
    factor,
    unless,
    count,
    classes,
    inner,
    ignored,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    UNLESS: tl.constexpr,
    INNER: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Class indices, one position per program: a running maximum and sum, then the gradient."""
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    position = tl.program_id(0).to(tl.int64)
    start = position_of(position, classes, inner, INNER)
    here = position < count
    index, w = index_of(targets, weight, position, here, classes, ignored, WEIGHT)
    dead = w == 0
    own = tl.load(logits + start + along_row(index, inner, INNER)).to(tl.float32)
    own = tl.where(dead, 0.0, own)
    # one maximum and sum per lane, brought together after the loop
    tops = tl.full((BLOCK,), -float("inf"), tl.float32)
    bases = tl.full((BLOCK,), -LARGEST, tl.float32)
    sums = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, classes, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        z = row_part(logits, start, columns, inner, classes, dead, INNER)
        z = tl.where(columns == index, -float("inf"), z)
        tops = tl.maximum(tops, z)
        raised = tl.minimum(tl.maximum(bases, z), LARGEST)
        sums = sums * quick_exp(bases - raised) + held(z, raised)
        bases = raised
    base = tl.max(bases, 0)
    rest = tl.sum(sums * quick_exp(bases - base), 0)
    value, slope, rest = index_terms(
        own, base, rest, tl.max(tops, 0), index, w, alpha, gamma, position, here, BOTH, ALPHA, GAMMA
    )
    if GRADIENT:
        slope = slope * parameter(factor, position, here, 1, 1, FACTOR, 0.0)
        share = -slope / rest
        for first in range(0, classes, BLOCK):
            columns = first + tl.arange(0, BLOCK)
            mask = columns < classes
            offsets = start + along_row(columns, inner, INNER)
            z = row_part(logits, start, columns, inner, classes, dead, INNER)
            gradient = tl.where(columns == index, slope, held(z, base) * share)
            tl.store(gradients + offsets, gradient.to(gradients.dtype.element_ty), mask=mask)
    if LOSS != "no":
        tl.store(losses + position, value.to(losses.dtype.element_ty))


# every class a target: probabilities, or smoothed indices


@helper
def class_weights(
    targets, alpha, offsets, columns, mask, index, w, classes, smoothing, PROBABILITIES, ALPHA
):
    """y_c a_c w of some classes; 0 beyond the last."""
    if PROBABILITIES:
        y = tl.load(targets + offsets, mask=mask, other=0.0).to(tl.float32)
    else:
        y = tl.where(columns == index, 1.0, 0.0)
    y = (y * (1.0 - smoothing) + smoothing / classes) * w
    if ALPHA:
        y = y * tl.load(alpha + columns, mask=columns < classes, other=0.0)
    return tl.where(mask, y, 0.0)


@helper
def class_gammas(gamma, offsets, positions, columns, classes, mask, here, GAMMA):
    """The exponents of some classes."""
    exponent = gamma
    if GAMMA == "single":
        exponent = tl.load(gamma)
    elif GAMMA == "class":
        exponent = tl.load(gamma + columns, mask=columns < classes, other=0.0)
    elif GAMMA == "position":
        exponent = tl.load(gamma + positions, mask=here, other=0.0)
    elif GAMMA == "element":
        exponent = tl.load(gamma + offsets, mask=mask, other=0.0)
    return exponent


@helper
def class_terms(z, weights, top, base, second, second_base, total, beside, is_top, exponent, BOTH):
    """Loss and slope of some classes times their weights, e**(z - base) and the rivals' sum.

    The rivals' sum is the total minus one's own term, but for the top class, where that would
    cancel: its rivals are summed apart, relative to the largest of them (`links.softmax_margins`).
    """
    e = held(z, base)
    rest = tl.where(is_top, beside, total - e)
    rival = tl.where(is_top, second, top)
    gap = tl.where((z == INFINITY) & (weights == 0), INFINITY, z - rival)
    s, x, rest = margin_of(z, tl.where(is_top, second_base, base), rest, rival, gap)
    value, slope = BOTH(s, x, exponent)
    return weighed(weights, value), weights * slope, e, rest


@helper
def class_gradient(slope, share, e, z, second_base, others, of_top, is_top):
    """slope_k - the sum over c != k of slope_c r_k."""
    beside = tl.where(is_top, 0.0, held(z, second_base))
    return slope - e * tl.where(is_top, others, others - share) - beside * of_top


@triton.jit
def softmax_classes_kernel(
    logits,
    targets,
    losses,
    gradients,
    alpha,
    gamma,
    weight,
    factor,
    unless,
    count,
    classes,
    inner,
    ignored,
    smoothing,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    UNLESS: tl.constexpr,
    PROBABILITIES: tl.constexpr,
    INNER: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Every class a target, all classes of a position in registers."""
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    program = tl.program_id(0).to(tl.int64)
    positions = program * ROWS + tl.arange(0, ROWS)
    here = positions < count
    columns = tl.arange(0, BLOCK)[None, :]
    offsets = position_of(positions, classes, inner, INNER)[:, None]
    offsets += along_row(columns, inner, INNER)
    mask = here[:, None] & (columns < classes)
    if PROBABILITIES:
        index = positions
        w = tl.where(here, 1.0, 0.0)
        if WEIGHT:
            w = tl.load(weight + positions, mask=here, other=0.0)
    else:
        index, w = index_of(targets, weight, positions, here, classes, ignored, WEIGHT)
    z = tl.load(logits + offsets, mask=mask, other=-float("inf")).to(tl.float32)
    z = tl.where((w == 0)[:, None], 0.0, z)  # what does not count may be NaN
    weights = class_weights(
        targets,
        alpha,
        offsets,
        columns,
        mask,
        index[:, None],
        w[:, None],
        classes,
        smoothing,
        PROBABILITIES,
        ALPHA,
    )
    exponent = class_gammas(
        gamma, offsets, positions[:, None], columns, classes, mask, here[:, None], GAMMA
    )
    top = tl.max(z, 1)[:, None]
    base = finite(top)
    is_top = columns == tl.min(tl.where(z == top, columns, BLOCK), 1)[:, None]
    rivals = tl.where(is_top, -float("inf"), z)
    second = tl.max(rivals, 1)[:, None]
    second_base = finite(second)
    total = tl.sum(held(z, base), 1)[:, None]
    beside = tl.sum(held(rivals, second_base), 1)[:, None]
    value, slope, e, rest = class_terms(
        z, weights, top, base, second, second_base, total, beside, is_top, exponent, BOTH
    )
    if GRADIENT:
        slope = slope * parameter(factor, positions[:, None], here[:, None], 1, 1, FACTOR, 0.0)
        share = slope / rest
        others = tl.sum(tl.where(is_top, 0.0, share), 1)[:, None]
        of_top = tl.sum(tl.where(is_top, share, 0.0), 1)[:, None]
        gradient = class_gradient(slope, share, e, z, second_base, others, of_top, is_top)
        tl.store(gradients + offsets, gradient.to(gradients.dtype.element_ty), mask=mask)
    value = tl.sum(value, 1)
    if LOSS == "none":
        tl.store(losses + positions, value.to(losses.dtype.element_ty), mask=here)
    elif LOSS == "sum":
        tl.store(losses + program, tl.sum(value, 0))


@triton.jit
def softmax_classes_loop_kernel(
    logits,
    targets,
    losses,
    gradients,
    alpha,
    gamma,
    weight,
    factor,
    unless,
    count,
    classes,
    inner,
    ignored,
    smoothing,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    UNLESS: tl.constexpr,
    PROBABILITIES: tl.constexpr,
    INNER: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Every class a target, one position per program, in three passes over its classes."""
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    position = tl.program_id(0).to(tl.int64)
    here = position < count
    start = position_of(position, classes, inner, INNER)
    if PROBABILITIES:
        index = 0
        w = 1.0
        if WEIGHT:
            w = tl.load(weight + position)
    else:
        index, w = index_of(targets, weight, position, here, classes, ignored, WEIGHT)
    dead = w == 0

    tops = tl.full((BLOCK,), -float("inf"), tl.float32)
    firsts = tl.full((BLOCK,), classes, tl.int32)
    for first in range(0, classes, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        z = row_part(logits, start, columns, inner, classes, dead, INNER)
        firsts = tl.where((z > tops) | ((z == tops) & (columns < firsts)), columns, firsts)
        tops = tl.maximum(tops, z)
    top = tl.max(tops, 0)
    base = finite(top)
    top_column = tl.min(tl.where(tops == top, firsts, classes), 0)

    # the largest rival of the top class, and their sum, brought together as it rises
    totals = tl.zeros((BLOCK,), tl.float32)
    besides = tl.zeros((BLOCK,), tl.float32)
    bases = tl.full((BLOCK,), -LARGEST, tl.float32)
    seconds = tl.full((BLOCK,), -float("inf"), tl.float32)
    for first in range(0, classes, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        z = row_part(logits, start, columns, inner, classes, dead, INNER)
        totals += held(z, base)
        rivals = tl.where(columns == top_column, -float("inf"), z)
        raised = tl.minimum(tl.maximum(bases, rivals), LARGEST)
        besides = besides * quick_exp(bases - raised) + held(rivals, raised)
        bases = raised
        seconds = tl.maximum(seconds, rivals)
    total = tl.sum(totals, 0)
    second = tl.max(seconds, 0)
    second_base = finite(second)
    beside = tl.sum(besides * quick_exp(bases - second_base), 0)

    scale = parameter(factor, position, here, 1, 1, FACTOR, 0.0)
    values = tl.zeros((BLOCK,), tl.float32)
    shares = tl.zeros((BLOCK,), tl.float32)
    top_shares = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, classes, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        mask = columns < classes
        offsets = start + along_row(columns, inner, INNER)
        z = row_part(logits, start, columns, inner, classes, dead, INNER)
        weights = class_weights(
            targets,
            alpha,
            offsets,
            columns,
            mask,
            index,
            w,
            classes,
            smoothing,
            PROBABILITIES,
            ALPHA,
        )
        exponent = class_gammas(gamma, offsets, position, columns, classes, mask, here, GAMMA)
        is_top = columns == top_column
        value, slope, e, rest = class_terms(
            z, weights, top, base, second, second_base, total, beside, is_top, exponent, BOTH
        )
        values += value
        share = slope * scale / rest
        shares += tl.where(is_top, 0.0, share)
        top_shares += tl.where(is_top, share, 0.0)
    if GRADIENT:
        others = tl.sum(shares, 0)
        of_top = tl.sum(top_shares, 0)
        for first in range(0, classes, BLOCK):
            columns = first + tl.arange(0, BLOCK)
            mask = columns < classes
            offsets = start + along_row(columns, inner, INNER)
            z = row_part(logits, start, columns, inner, classes, dead, INNER)
            weights = class_weights(
                targets,
                alpha,
                offsets,
                columns,
                mask,
                index,
                w,
                classes,
                smoothing,
                PROBABILITIES,
                ALPHA,
            )
            exponent = class_gammas(gamma, offsets, position, columns, classes, mask, here, GAMMA)
            is_top = columns == top_column
            value, slope, e, rest = class_terms(
                z, weights, top, base, second, second_base, total, beside, is_top, exponent, BOTH
            )
            slope = slope * scale
            share = slope / rest
            gradient = class_gradient(slope, share, e, z, second_base, others, of_top, is_top)
            tl.store(gradients + offsets, gradient.to(gradients.dtype.element_ty), mask=mask)
    if LOSS != "no":
        tl.store(losses + position, tl.sum(values, 0).to(losses.dtype.element_ty))
