"""The Triton kernels of the softmax.

Four of them: a class index or every class a target, and the classes of a position all at once in
registers, or some at a time. The latter takes long rows, BLOCK classes of one at a time, and
images, whose classes lie ``inner`` apart: there neighbouring positions are what is read together,
ROWS of them, and a few classes at a time.
"""
# Triton reads these functions as source: upper case marks what is fixed when one is compiled.
# mypy: disable-error-code="no-untyped-def, misc"

from __future__ import annotations

import triton.language as tl

from refocal.kernels.gpu.operations import (
    INFINITY,
    LARGEST,
    against,
    finite,
    helper,
    kernel,
    quick_exp,
    smoothed,
    term,
    weighed,
)
from refocal.kernels.gpu.parts import (
    divided,
    parameter,
    piece,
    put,
    soft_target,
    turns_of,
)

# ---------------------------------------------------------------------------------------------
# where things lie


@helper
def sizes_of(units, inner_units, UNIT, INNER, INNER_UNIT):
    """Classes, and positions behind the class axis, with what is known to divide them."""
    return units * UNIT, inner_units * INNER_UNIT if INNER else 1


@helper
def span_of(block, count, inner, spans, ROWS, INNER):
    """The first position of a block, and the end of those that it may cover: of an image, one
    sample's, so that they are neighbours in memory.
    """
    if INNER:
        sample = block // spans
        base = sample * inner + (block - sample * spans) * ROWS
        end = (sample + 1) * inner
    else:
        base = block * ROWS
        end = count
    return base, end


@helper
def origin_of(block, base, classes, inner, spans, INNER):
    """Where the first class of a block's first position lies.

    ``block`` and ``base`` have 64 bits, and so has every product: ``classes * inner`` by itself
    would have 32, and one sample of 2**31 logits overflow it.
    """
    if INNER:
        sample = block // spans
        origin = base + sample * inner * (classes - 1)
    else:
        origin = base * classes
    return origin


@helper
def along_row(columns, inner, INNER):
    """How far some classes are from the first one of their position."""
    return columns.to(tl.int64) * inner if INNER else columns


@helper
def index_of(targets, weight, base, lanes, end, classes, ignored, inner, size, WEIGHT, ROWS):
    """Class index and weight of some positions: 0 where ignored, NaN for an index out of range.

    The host does not read the targets, so this is how such an index shows.
    """
    y = piece(targets, base, lanes, end, 0, False, ROWS)
    kept = (base + lanes < end) & (y != ignored)
    known = (y >= 0) & (y < classes)
    w = 1.0
    if WEIGHT != "none":
        w = parameter(weight, base, lanes, end, inner, size, 0.0, WEIGHT, False, ROWS)
    w = tl.where(known, w, float("nan"))
    return tl.where(kept & known, y, 0).to(tl.int32), tl.where(kept, w, 0.0)


@helper
def weight_of(weight, base, lanes, end, inner, size, WEIGHT, ROWS):
    """Weight of some positions whose targets are probabilities."""
    w = tl.where(base + lanes < end, 1.0, 0.0)
    if WEIGHT != "none":
        w = w * parameter(weight, base, lanes, end, inner, size, 0.0, WEIGHT, False, ROWS)
    return w


@helper
def part(pointer, offsets, columns, here, classes, first, other, SHIFT, BLOCK, HINT):
    """Some classes of some positions; ``other`` beyond the last of either.

    With SHIFT a row begins at any address: its blocks begin at whole 16 bytes, before it if need
    be, and only the first and the last of them are masked, which makes a load narrow.
    """
    if SHIFT:
        if (first >= 0) & (first + BLOCK <= classes):
            found = tl.load(pointer + offsets, eviction_policy=HINT)
        else:
            inside = ((columns >= 0) & (columns < classes))[:, None] & here[None, :]
            found = tl.load(pointer + offsets, mask=inside, other=other, eviction_policy=HINT)
    else:
        inside = (columns < classes)[:, None] & here[None, :]
        found = tl.load(pointer + offsets, mask=inside, other=other, eviction_policy=HINT)
    return found


@helper
def put_part(pointer, offsets, columns, here, classes, first, values, SHIFT, BLOCK):
    """Writes what `part` reads, rounded once."""
    values = values.to(pointer.dtype.element_ty)
    if SHIFT:
        if (first >= 0) & (first + BLOCK <= classes):
            tl.store(pointer + offsets, values)
        else:
            inside = ((columns >= 0) & (columns < classes))[:, None] & here[None, :]
            tl.store(pointer + offsets, values, mask=inside)
    else:
        inside = (columns < classes)[:, None] & here[None, :]
        tl.store(pointer + offsets, values, mask=inside)


@helper
def row_part(logits, offsets, columns, here, dead, classes, first, SHIFT, BLOCK, HINT):
    """Some logits of some rows; 0 in a row that does not count, which may be NaN."""
    z = part(logits, offsets, columns, here, classes, first, -float("inf"), SHIFT, BLOCK, HINT)
    z = z.to(tl.float32)
    if SHIFT:
        z = tl.where((columns >= 0)[:, None], z, -float("inf"))
    return tl.where(dead[None, :], 0.0, z)


# ---------------------------------------------------------------------------------------------
# arithmetic


@helper
def raised_by(bases, z, RESCALE):
    """What exponentials are formed relative to, after ``z``: of each lane by itself, or of all
    classes read at once. The latter takes one exponential less per class, and a maximum over them.
    """
    if RESCALE == "chunk":
        z = tl.max(z, 0)[None, :]
    return tl.minimum(tl.maximum(bases, z), LARGEST)


@helper
def index_terms(
    own, base, rest, top, index, w, alpha, gamma, first, lanes, end, BOTH, ALPHA, GAMMA, ROWS
):
    """Loss and slope of the target class of some positions, times their weights; safe rest."""
    s, x, rest = against(own, base, rest, top, own - top)
    exponent = gamma
    if GAMMA == "single":
        exponent = tl.load(gamma)
    elif GAMMA == "class":
        exponent = tl.load(gamma + index)
    elif GAMMA == "position":
        exponent = piece(gamma, first, lanes, end, 0.0, False, ROWS)
    value, slope = BOTH(s, x, exponent)
    if ALPHA:
        w = w * tl.load(alpha + index)
    return weighed(w, value), w * slope, rest


# ---------------------------------------------------------------------------------------------
# a class index per position


@helper
def index_block(
    block,
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    BOTH,
    ALPHA,
    GAMMA,
    WEIGHT,
    FACTOR,
    SHARE,
    UNIT,
    LOSS,
    GRADIENT,
    ROWS,
    BLOCK,
):
    """Class indices, all classes of some positions in registers."""
    classes, _ = sizes_of(units, inner_units, UNIT, False, 1)
    base, end = span_of(block, count, 1, spans, ROWS, False)
    lanes = tl.arange(0, ROWS)
    here = base + lanes < end
    columns = tl.arange(0, BLOCK)
    offsets = ((base + lanes) * classes)[:, None] + columns[None, :]
    mask = here[:, None] & (columns < classes)[None, :]
    index, w = index_of(
        targets, weight, base, lanes, end, classes, ignored, weight_inner, weight_size, WEIGHT, ROWS
    )
    z = tl.load(logits + offsets, mask=mask, other=-float("inf")).to(tl.float32)
    z = tl.where((w == 0)[:, None], 0.0, z)  # what does not count may be NaN
    own_class = columns[None, :] == index[:, None]
    own = tl.sum(tl.where(own_class, z, 0.0), 1)
    z = tl.where(own_class, -float("inf"), z)
    top = tl.max(z, 1)
    first = finite(top)
    e = term(z, first[:, None])
    value, slope, rest = index_terms(
        own,
        first,
        tl.sum(e, 1),
        top,
        index,
        w,
        alpha,
        gamma,
        base,
        lanes,
        end,
        BOTH,
        ALPHA,
        GAMMA,
        ROWS,
    )
    if GRADIENT:
        scale = parameter(
            factor, base, lanes, end, factor_inner, factor_size, 0.0, FACTOR, False, ROWS
        )
        scale = divided(scale, share, SHARE) + tl.zeros((ROWS,), tl.float32)
        slope = slope * scale
        gradient = tl.where(own_class, slope[:, None], e * (-slope / rest)[:, None])
        tl.store(gradients + offsets, gradient.to(gradients.dtype.element_ty), mask=mask)
    total = 0.0
    if LOSS == "none":
        put(losses, base, lanes, end, value, False, ROWS)
    elif LOSS == "sum":
        total = tl.sum(tl.where(here, value, 0.0), 0)
    return total


@kernel("count", "units", "inner_units", "spans", "ignored", "blocks")
def softmax_index_kernel(
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    unless,  # if this is 1, the gradient stands already
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    blocks,
    UNLESS: tl.constexpr,
    PERSISTENT: tl.constexpr,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    SHARE: tl.constexpr,
    UNIT: tl.constexpr,
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
    total = 0.0
    # one turn is no loop to the compiler
    for turns in range(turns_of(program, blocks) if PERSISTENT else 1):
        total += index_block(
            program + turns * tl.num_programs(0),
            logits,
            targets,
            losses,
            gradients,
            alpha,
            gamma,
            weight,
            factor,
            share,
            count,
            units,
            inner_units,
            spans,
            weight_inner,
            weight_size,
            factor_inner,
            factor_size,
            ignored,
            BOTH,
            ALPHA,
            GAMMA,
            WEIGHT,
            FACTOR,
            SHARE,
            UNIT,
            LOSS,
            GRADIENT,
            ROWS,
            BLOCK,
        )
    if LOSS == "sum":
        tl.store(losses + program, total)


@helper
def index_loop_block(
    block,
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    BOTH,
    ALPHA,
    GAMMA,
    WEIGHT,
    FACTOR,
    SHARE,
    UNIT,
    LOSS,
    GRADIENT,
    ROWS,
    BLOCK,
    INNER,
    INNER_UNIT,
    SHIFT,
    STAGES,
    HINTS,
    RESCALE,
):
    """Class indices: a running maximum and sum of some positions, then the gradient."""
    classes, inner = sizes_of(units, inner_units, UNIT, INNER, INNER_UNIT)
    base, end = span_of(block, count, inner, spans, ROWS, INNER)
    origin = origin_of(block, base, classes, inner, spans, INNER)
    lanes = tl.arange(0, ROWS)
    here = base + lanes < end
    shift = 0
    if SHIFT:
        aligned = origin // SHIFT * SHIFT
        shift = (origin - aligned).to(tl.int32)
        origin = aligned
    start = origin + (lanes if INNER else lanes.to(tl.int64) * classes)
    index, w = index_of(
        targets, weight, base, lanes, end, classes, ignored, weight_inner, weight_size, WEIGHT, ROWS
    )
    dead = w == 0
    own_offsets = start + along_row(index + shift, inner, INNER)
    own = tl.load(logits + own_offsets, mask=here, other=0.0).to(tl.float32)
    own = tl.where(dead, 0.0, own)
    # maxima and sums per lane, brought together after the loop
    lanes_apart: tl.constexpr = 1 if RESCALE == "chunk" else BLOCK
    tops = tl.full((lanes_apart, ROWS), -float("inf"), tl.float32)
    bases = tl.full((lanes_apart, ROWS), -LARGEST, tl.float32)
    sums = tl.zeros((BLOCK, ROWS), tl.float32)
    for begin in tl.range(0, classes + shift, BLOCK, num_stages=STAGES):
        steps = begin + tl.arange(0, BLOCK)
        columns = steps - shift
        offsets = start[None, :] + along_row(steps, inner, INNER)[:, None]
        z = row_part(
            logits,
            offsets,
            columns,
            here,
            dead,
            classes,
            begin - shift,
            SHIFT,
            BLOCK,
            "evict_last" if HINTS else "",
        )
        z = tl.where(columns[:, None] == index[None, :], -float("inf"), z)
        tops = tl.maximum(tops, tl.max(z, 0)[None, :] if RESCALE == "chunk" else z)
        raised = raised_by(bases, z, RESCALE)
        sums = sums * quick_exp(bases - raised) + term(z, raised)
        bases = raised
    first = tl.max(bases, 0)
    rest = tl.sum(sums * quick_exp(bases - first[None, :]), 0)
    value, slope, rest = index_terms(
        own,
        first,
        rest,
        tl.max(tops, 0),
        index,
        w,
        alpha,
        gamma,
        base,
        lanes,
        end,
        BOTH,
        ALPHA,
        GAMMA,
        ROWS,
    )
    if GRADIENT:
        scale = parameter(
            factor, base, lanes, end, factor_inner, factor_size, 0.0, FACTOR, False, ROWS
        )
        scale = divided(scale, share, SHARE) + tl.zeros((ROWS,), tl.float32)
        slope = slope * scale
        share_of_rivals = -slope / rest
        for begin in tl.range(0, classes + shift, BLOCK, num_stages=STAGES):
            steps = begin + tl.arange(0, BLOCK)
            columns = steps - shift
            offsets = start[None, :] + along_row(steps, inner, INNER)[:, None]
            z = row_part(
                logits,
                offsets,
                columns,
                here,
                dead,
                classes,
                begin - shift,
                SHIFT,
                BLOCK,
                "evict_first" if HINTS else "",
            )
            gradient = tl.where(
                columns[:, None] == index[None, :],
                slope[None, :],
                term(z, first[None, :]) * share_of_rivals[None, :],
            )
            put_part(
                gradients, offsets, columns, here, classes, begin - shift, gradient, SHIFT, BLOCK
            )
    total = 0.0
    if LOSS == "none":
        put(losses, base, lanes, end, value, False, ROWS)
    elif LOSS == "sum":
        total = tl.sum(tl.where(here, value, 0.0), 0)
    return total


@kernel("count", "units", "inner_units", "spans", "ignored", "blocks")
def softmax_index_loop_kernel(
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    unless,  # if this is 1, the gradient stands already
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    blocks,
    UNLESS: tl.constexpr,
    PERSISTENT: tl.constexpr,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    SHARE: tl.constexpr,
    UNIT: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    INNER: tl.constexpr,
    INNER_UNIT: tl.constexpr,
    SHIFT: tl.constexpr,
    STAGES: tl.constexpr,
    HINTS: tl.constexpr,
    RESCALE: tl.constexpr,
):
    """Class indices, some classes of some positions at a time."""
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    program = tl.program_id(0).to(tl.int64)
    total = 0.0
    # one turn is no loop to the compiler
    for turns in range(turns_of(program, blocks) if PERSISTENT else 1):
        total += index_loop_block(
            program + turns * tl.num_programs(0),
            logits,
            targets,
            losses,
            gradients,
            alpha,
            gamma,
            weight,
            factor,
            share,
            count,
            units,
            inner_units,
            spans,
            weight_inner,
            weight_size,
            factor_inner,
            factor_size,
            ignored,
            BOTH,
            ALPHA,
            GAMMA,
            WEIGHT,
            FACTOR,
            SHARE,
            UNIT,
            LOSS,
            GRADIENT,
            ROWS,
            BLOCK,
            INNER,
            INNER_UNIT,
            SHIFT,
            STAGES,
            HINTS,
            RESCALE,
        )
    if LOSS == "sum":
        tl.store(losses + program, total)


# ---------------------------------------------------------------------------------------------
# every class a target: probabilities, or smoothed indices


@helper
def class_weights(y, alpha, columns, here, w, classes, smoothing, ALPHA):
    """y_c a_c w of some classes; 0 beyond the last. ``columns`` and ``w`` broadcast to ``y``."""
    y = smoothed(y, 1.0 - smoothing, smoothing / classes) * w
    inside = (columns >= 0) & (columns < classes)
    if ALPHA:
        y = y * tl.load(alpha + columns, mask=inside, other=0.0)
    return tl.where(inside & here, y, 0.0)


@helper
def class_gammas(gamma, offsets, positions, columns, classes, here, GAMMA):
    """The exponents of some classes. ``columns`` and ``here`` broadcast to ``offsets``."""
    exponent = gamma
    inside = (columns >= 0) & (columns < classes)
    if GAMMA == "single":
        exponent = tl.load(gamma)
    elif GAMMA == "class":
        exponent = tl.load(gamma + columns, mask=inside, other=0.0)
    elif GAMMA == "position":
        exponent = tl.load(gamma + positions, mask=here, other=0.0)
    elif GAMMA == "element":
        exponent = tl.load(gamma + offsets, mask=inside & here, other=0.0)
    return exponent


@helper
def class_terms(z, weights, top, base, second, second_base, total, beside, is_top, exponent, BOTH):
    """Loss and slope of some classes times their weights, e**(z - base) and the rivals' sum.

    The rivals' sum is the total minus one's own term, but for the top class, where that would
    cancel: its rivals are summed apart, relative to the largest of them (`links.softmax_margins`).
    """
    e = term(z, base)
    rest = tl.where(is_top, beside, total - e)
    rival = tl.where(is_top, second, top)
    gap = tl.where((z == INFINITY) & (weights == 0), INFINITY, z - rival)
    s, x, rest = against(z, tl.where(is_top, second_base, base), rest, rival, gap)
    value, slope = BOTH(s, x, exponent)
    return weighed(weights, value), weights * slope, e, rest


@helper
def class_gradient(slope, share, e, z, second_base, others, of_top, is_top):
    """slope_k - the sum over c != k of slope_c r_k."""
    beside = tl.where(is_top, 0.0, term(z, second_base))
    return slope - e * tl.where(is_top, others, others - share) - beside * of_top


@helper
def classes_block(
    block,
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    smoothing,
    BOTH,
    ALPHA,
    GAMMA,
    WEIGHT,
    FACTOR,
    SHARE,
    UNIT,
    LOSS,
    GRADIENT,
    ROWS,
    BLOCK,
    PROBABILITIES,
):
    """Every class a target, all classes of some positions in registers."""
    classes, _ = sizes_of(units, inner_units, UNIT, False, 1)
    base, end = span_of(block, count, 1, spans, ROWS, False)
    lanes = tl.arange(0, ROWS)
    here = base + lanes < end
    columns = tl.arange(0, BLOCK)
    offsets = ((base + lanes) * classes)[:, None] + columns[None, :]
    mask = here[:, None] & (columns < classes)[None, :]
    if PROBABILITIES:
        index = lanes
        w = weight_of(weight, base, lanes, end, weight_inner, weight_size, WEIGHT, ROWS)
    else:
        index, w = index_of(
            targets,
            weight,
            base,
            lanes,
            end,
            classes,
            ignored,
            weight_inner,
            weight_size,
            WEIGHT,
            ROWS,
        )
    columns = columns[None, :]
    z = tl.load(logits + offsets, mask=mask, other=-float("inf")).to(tl.float32)
    z = tl.where((w == 0)[:, None], 0.0, z)  # what does not count may be NaN
    if PROBABILITIES:
        y = soft_target(tl.load(targets + offsets, mask=mask, other=0.0))
    else:
        y = tl.where(columns == index[:, None], 1.0, 0.0)
    there = here[:, None]
    weights = class_weights(y, alpha, columns, there, w[:, None], classes, smoothing, ALPHA)
    positions = (base + lanes)[:, None]
    exponent = class_gammas(gamma, offsets, positions, columns, classes, there, GAMMA)
    top = tl.max(z, 1)[:, None]
    first = finite(top)
    is_top = columns == tl.min(tl.where(z == top, columns, BLOCK), 1)[:, None]
    rivals = tl.where(is_top, -float("inf"), z)
    second = tl.max(rivals, 1)[:, None]
    second_base = finite(second)
    total = tl.sum(term(z, first), 1)[:, None]
    beside = tl.sum(term(rivals, second_base), 1)[:, None]
    value, slope, e, rest = class_terms(
        z, weights, top, first, second, second_base, total, beside, is_top, exponent, BOTH
    )
    if GRADIENT:
        scale = parameter(
            factor, base, lanes, end, factor_inner, factor_size, 0.0, FACTOR, False, ROWS
        )
        scale = divided(scale, share, SHARE) + tl.zeros((ROWS,), tl.float32)
        slope = slope * scale[:, None]
        share_of = slope / rest
        others = tl.sum(tl.where(is_top, 0.0, share_of), 1)[:, None]
        of_top = tl.sum(tl.where(is_top, share_of, 0.0), 1)[:, None]
        gradient = class_gradient(slope, share_of, e, z, second_base, others, of_top, is_top)
        tl.store(gradients + offsets, gradient.to(gradients.dtype.element_ty), mask=mask)
    value = tl.sum(value, 1)
    total = 0.0
    if LOSS == "none":
        put(losses, base, lanes, end, value, False, ROWS)
    elif LOSS == "sum":
        total = tl.sum(tl.where(here, value, 0.0), 0)
    return total


@kernel("count", "units", "inner_units", "spans", "ignored", "blocks")
def softmax_classes_kernel(
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    unless,  # if this is 1, the gradient stands already
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    smoothing,
    blocks,
    UNLESS: tl.constexpr,
    PERSISTENT: tl.constexpr,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    SHARE: tl.constexpr,
    UNIT: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PROBABILITIES: tl.constexpr,
):
    """Every class a target, all classes of a position in registers."""
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    program = tl.program_id(0).to(tl.int64)
    total = 0.0
    # one turn is no loop to the compiler
    for turns in range(turns_of(program, blocks) if PERSISTENT else 1):
        total += classes_block(
            program + turns * tl.num_programs(0),
            logits,
            targets,
            losses,
            gradients,
            alpha,
            gamma,
            weight,
            factor,
            share,
            count,
            units,
            inner_units,
            spans,
            weight_inner,
            weight_size,
            factor_inner,
            factor_size,
            ignored,
            smoothing,
            BOTH,
            ALPHA,
            GAMMA,
            WEIGHT,
            FACTOR,
            SHARE,
            UNIT,
            LOSS,
            GRADIENT,
            ROWS,
            BLOCK,
            PROBABILITIES,
        )
    if LOSS == "sum":
        tl.store(losses + program, total)


@helper
def classes_loop_block(
    block,
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    smoothing,
    BOTH,
    ALPHA,
    GAMMA,
    WEIGHT,
    FACTOR,
    SHARE,
    UNIT,
    LOSS,
    GRADIENT,
    ROWS,
    BLOCK,
    PROBABILITIES,
    INNER,
    INNER_UNIT,
    SHIFT,
    STAGES,
    HINTS,
    RESCALE,
):
    """Every class a target, in three passes over the classes of some positions, or four."""
    classes, inner = sizes_of(units, inner_units, UNIT, INNER, INNER_UNIT)
    base, end = span_of(block, count, inner, spans, ROWS, INNER)
    origin = origin_of(block, base, classes, inner, spans, INNER)
    lanes = tl.arange(0, ROWS)
    here = base + lanes < end
    shift = 0
    if SHIFT:
        aligned = origin // SHIFT * SHIFT
        shift = (origin - aligned).to(tl.int32)
        origin = aligned
    start = origin + (lanes if INNER else lanes.to(tl.int64) * classes)
    if PROBABILITIES:
        index = lanes
        w = weight_of(weight, base, lanes, end, weight_inner, weight_size, WEIGHT, ROWS)
    else:
        index, w = index_of(
            targets,
            weight,
            base,
            lanes,
            end,
            classes,
            ignored,
            weight_inner,
            weight_size,
            WEIGHT,
            ROWS,
        )
    dead = w == 0

    tops = tl.full((BLOCK, ROWS), -float("inf"), tl.float32)
    firsts = tl.full((BLOCK, ROWS), classes, tl.int32)
    for begin in tl.range(0, classes + shift, BLOCK, num_stages=STAGES):
        steps = begin + tl.arange(0, BLOCK)
        columns = steps - shift
        offsets = start[None, :] + along_row(steps, inner, INNER)[:, None]
        z = row_part(
            logits,
            offsets,
            columns,
            here,
            dead,
            classes,
            begin - shift,
            SHIFT,
            BLOCK,
            "evict_last" if HINTS else "",
        )
        down = columns[:, None]
        firsts = tl.where((z > tops) | ((z == tops) & (down < firsts)), down, firsts)
        tops = tl.maximum(tops, z)
    top = tl.max(tops, 0)[None, :]
    first = finite(top)
    top_column = tl.min(tl.where(tops == top, firsts, classes), 0)[None, :]

    # the largest rival of the top class, and their sum, brought together as it rises
    totals = tl.zeros((BLOCK, ROWS), tl.float32)
    besides = tl.zeros((BLOCK, ROWS), tl.float32)
    lanes_apart: tl.constexpr = 1 if RESCALE == "chunk" else BLOCK
    bases = tl.full((lanes_apart, ROWS), -LARGEST, tl.float32)
    seconds = tl.full((lanes_apart, ROWS), -float("inf"), tl.float32)
    for begin in tl.range(0, classes + shift, BLOCK, num_stages=STAGES):
        steps = begin + tl.arange(0, BLOCK)
        columns = steps - shift
        offsets = start[None, :] + along_row(steps, inner, INNER)[:, None]
        z = row_part(
            logits,
            offsets,
            columns,
            here,
            dead,
            classes,
            begin - shift,
            SHIFT,
            BLOCK,
            "evict_last" if HINTS else "",
        )
        totals += term(z, first)
        rivals = tl.where(columns[:, None] == top_column, -float("inf"), z)
        raised = raised_by(bases, rivals, RESCALE)
        besides = besides * quick_exp(bases - raised) + term(rivals, raised)
        bases = raised
        seconds = tl.maximum(seconds, tl.max(rivals, 0)[None, :] if RESCALE == "chunk" else rivals)
    all_sum = tl.sum(totals, 0)[None, :]
    second = tl.max(seconds, 0)[None, :]
    second_base = finite(second)
    beside = tl.sum(besides * quick_exp(bases - second_base), 0)[None, :]

    scale = parameter(factor, base, lanes, end, factor_inner, factor_size, 0.0, FACTOR, False, ROWS)
    scale = divided(scale, share, SHARE) + tl.zeros((ROWS,), tl.float32)
    scale = scale[None, :]
    values = tl.zeros((BLOCK, ROWS), tl.float32)
    shares = tl.zeros((BLOCK, ROWS), tl.float32)
    top_shares = tl.zeros((BLOCK, ROWS), tl.float32)
    for begin in tl.range(0, classes + shift, BLOCK, num_stages=STAGES):
        steps = begin + tl.arange(0, BLOCK)
        columns = steps - shift
        offsets = start[None, :] + along_row(steps, inner, INNER)[:, None]
        z = row_part(
            logits,
            offsets,
            columns,
            here,
            dead,
            classes,
            begin - shift,
            SHIFT,
            BLOCK,
            "evict_last" if HINTS else "",
        )
        if PROBABILITIES:
            y = soft_target(
                part(
                    targets,
                    offsets,
                    columns,
                    here,
                    classes,
                    begin - shift,
                    0.0,
                    SHIFT,
                    BLOCK,
                    "evict_last" if HINTS else "",
                )
            )
        else:
            y = tl.where(columns[:, None] == index[None, :], 1.0, 0.0)
        down = columns[:, None]
        there = here[None, :]
        weights = class_weights(y, alpha, down, there, w[None, :], classes, smoothing, ALPHA)
        positions = (base + lanes)[None, :]
        exponent = class_gammas(gamma, offsets, positions, down, classes, there, GAMMA)
        is_top = down == top_column
        value, slope, e, rest = class_terms(
            z, weights, top, first, second, second_base, all_sum, beside, is_top, exponent, BOTH
        )
        values += value
        share_of = slope * scale / rest
        shares += tl.where(is_top, 0.0, share_of)
        top_shares += tl.where(is_top, share_of, 0.0)
    if GRADIENT:
        others = tl.sum(shares, 0)[None, :]
        of_top = tl.sum(top_shares, 0)[None, :]
        for begin in tl.range(0, classes + shift, BLOCK, num_stages=STAGES):
            steps = begin + tl.arange(0, BLOCK)
            columns = steps - shift
            offsets = start[None, :] + along_row(steps, inner, INNER)[:, None]
            z = row_part(
                logits,
                offsets,
                columns,
                here,
                dead,
                classes,
                begin - shift,
                SHIFT,
                BLOCK,
                "evict_first" if HINTS else "",
            )
            if PROBABILITIES:
                y = soft_target(
                    part(
                        targets,
                        offsets,
                        columns,
                        here,
                        classes,
                        begin - shift,
                        0.0,
                        SHIFT,
                        BLOCK,
                        "evict_first" if HINTS else "",
                    )
                )
            else:
                y = tl.where(columns[:, None] == index[None, :], 1.0, 0.0)
            down = columns[:, None]
            there = here[None, :]
            weights = class_weights(y, alpha, down, there, w[None, :], classes, smoothing, ALPHA)
            positions = (base + lanes)[None, :]
            exponent = class_gammas(gamma, offsets, positions, down, classes, there, GAMMA)
            is_top = down == top_column
            value, slope, e, rest = class_terms(
                z, weights, top, first, second, second_base, all_sum, beside, is_top, exponent, BOTH
            )
            slope = slope * scale
            share_of = slope / rest
            gradient = class_gradient(slope, share_of, e, z, second_base, others, of_top, is_top)
            put_part(
                gradients, offsets, columns, here, classes, begin - shift, gradient, SHIFT, BLOCK
            )
    value = tl.sum(values, 0)
    total = 0.0
    if LOSS == "none":
        put(losses, base, lanes, end, value, False, ROWS)
    elif LOSS == "sum":
        total = tl.sum(tl.where(here, value, 0.0), 0)
    return total


@kernel("count", "units", "inner_units", "spans", "ignored", "blocks")
def softmax_classes_loop_kernel(
    logits,
    targets,
    losses,  # one per position, or one sum per program
    gradients,
    alpha,
    gamma,
    weight,
    factor,  # multiplies the gradient, and so does
    share,  # one over the denominator
    unless,  # if this is 1, the gradient stands already
    count,  # positions
    units,  # classes are so many UNITs
    inner_units,  # and positions behind the class axis so many INNER_UNITs,
    spans,  # which are so many blocks
    weight_inner,
    weight_size,
    factor_inner,
    factor_size,
    ignored,
    smoothing,
    blocks,
    UNLESS: tl.constexpr,
    PERSISTENT: tl.constexpr,
    BOTH: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    WEIGHT: tl.constexpr,
    FACTOR: tl.constexpr,
    SHARE: tl.constexpr,
    UNIT: tl.constexpr,
    LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PROBABILITIES: tl.constexpr,
    INNER: tl.constexpr,
    INNER_UNIT: tl.constexpr,
    SHIFT: tl.constexpr,
    STAGES: tl.constexpr,
    HINTS: tl.constexpr,
    RESCALE: tl.constexpr,
):
    """Every class a target, some classes of some positions at a time."""
    if UNLESS:  # noqa: SIM102 - decided when compiled, the other when run
        if tl.load(unless) == 1.0:
            return
    program = tl.program_id(0).to(tl.int64)
    total = 0.0
    # one turn is no loop to the compiler
    for turns in range(turns_of(program, blocks) if PERSISTENT else 1):
        total += classes_loop_block(
            program + turns * tl.num_programs(0),
            logits,
            targets,
            losses,
            gradients,
            alpha,
            gamma,
            weight,
            factor,
            share,
            count,
            units,
            inner_units,
            spans,
            weight_inner,
            weight_size,
            factor_inner,
            factor_size,
            ignored,
            smoothing,
            BOTH,
            ALPHA,
            GAMMA,
            WEIGHT,
            FACTOR,
            SHARE,
            UNIT,
            LOSS,
            GRADIENT,
            ROWS,
            BLOCK,
            PROBABILITIES,
            INNER,
            INNER_UNIT,
            SHIFT,
            STAGES,
            HINTS,
            RESCALE,
        )
    if LOSS == "sum":
        tl.store(losses + program, total)
