"""The sigmoid kernel: logits and targets in, block sums and gradient out, each touched once.

Three loops, each a kernel of its own. The hard one takes every target for 0 or 1, one margin per
element, and notices any that is neither; blocks with such targets are left to the soft one, the
expectation over both classes. For a target of 0 or 1 both give the same bits, so no gradient
depends on the other elements of its block. A heatmap goes through the hard loop too, a peak being
what is 1, with a weight for what is not; qualities have a loop of their own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite.binding import get_host_cpu_name

from refocal.formula.binding import rebound
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import pool
from refocal.kernels.cpu.compiled.common import kernel_names, real_type
from refocal.kernels.cpu.compiled.dtypes import STORAGE, target_limits
from refocal.kernels.cpu.compiled.math import (
    add_in_any_order,
    formula_of,
    from_bits,
    operations,
    widest_vectors,
)
from refocal.kernels.cpu.compiled.memory import (
    LINE,
    place,
    prefetch_to_read,
    prefetch_to_write,
    tile_on_stack,
    view,
)
from refocal.kernels.cpu.compiled.text import apart
from refocal.kernels.cpu.compiled.values import FLOAT64, INT64


class SigmoidKernel(NamedTuple):
    """What a kernel is compiled for.

    Attributes:
        logits: dtype of logits, gradient and unreduced losses.
        targets: dtype of the targets.
        modulator: a key of `formula.MODULATORS`.
        detached: no gradient through the modulator.
        general: alpha, gamma, weight and factor are read per element, targets may be the ignored
            value, and coefficients may be 0. One kernel for everything that is not the common
            case, at about 1.5 times its price.
        soft: targets may be between 0 and 1.
        reading: "label"; "quality", or "matched" with a mask of positives; "heatmap", or "heatmap4"
            where beta is 4.
        output: "sum" of the losses, "each" of them, or "nothing".
        gradient: whether the gradient is written.
    """

    logits: str
    targets: str
    modulator: str
    detached: bool
    general: bool
    soft: bool
    reading: str
    output: str
    gradient: bool


# ---------------------------------------------------------------------------------------------
# scalar code over names that `address` binds

if TYPE_CHECKING:  # bound over a computing dtype
    from refocal.formula.focal import value_and_slope_from as entropy_and_slope
    from refocal.formula.focal import value_and_slope_from as value_and_slope
    from refocal.formula.focal import value_from as entropy
    from refocal.formula.focal import value_from as value
    from refocal.formula.margin import faded, smoothed, weighed
    from refocal.formula.plain import LARGEST, ONE, ZERO
    from refocal.kernels.cpu.compiled.bound import (
        LEAST_TARGET,
        MOST_TARGET,
        Logit,
        Target,
        double_of,
        load,
        real,
        store,
        target_number,
    )
    from refocal.kernels.cpu.compiled.math import exp, log1p, where
    from refocal.kernels.cpu.compiled.pool import number_at, reject

COUNTERS = frame.COUNTERS
BLOCK = LOGIT_SIZE = TARGET_SIZE = REAL_SIZE = 0
BETWEEN = MATCHED = LOSSES = SUM = GRADIENT = LONG = False
TYPICAL = 16
TILE = AHEAD = 0
UNDONE = pool.UNDONE
LAST_BIT = ~1

LOGITS, TARGETS, GRADIENTS, EACH = frame.LOGITS, frame.TARGETS, frame.GRADIENT, frame.LOSSES
COUNT, IGNORING, IGNORED = frame.COUNT, frame.IGNORING, frame.IGNORED
PARAMETERS = frame.PARAMETERS
MIDDLE, INNER = frame.MIDDLE, frame.INNER
ALPHA_POSITIVE, ALPHA_NEGATIVE = frame.ALPHA_POSITIVE, frame.ALPHA_NEGATIVE
GAMMA_POSITIVE, GAMMA_NEGATIVE = frame.GAMMA_POSITIVE, frame.GAMMA_NEGATIVE
FACTOR, KEPT_SHARE, SPREAD_SHARE = frame.FACTOR, frame.KEPT_SHARE, frame.SPREAD_SHARE
POSITIVES, BETA = frame.POSITIVES, frame.BETA


def product(coefficient: Any, loss: Any) -> Any:
    return coefficient * loss


weigh = product  # or `weighed`


def pick_number(number: Any, array: Any, i: Any) -> Any:
    return number


def pick_element(number: Any, array: Any, i: Any) -> Any:
    return array[i]


pick = pick_number  # or the other


def choose_by_class(positive: Any, of_positive: Any, of_negative: Any) -> Any:
    return where(positive, of_positive, of_negative)


def choose_either(positive: Any, of_positive: Any, of_negative: Any) -> Any:
    return of_positive


choose = choose_either  # or the other


def never(raw: Any) -> Any:
    return False


def never_ignored(raw: Any, ignoring: Any, ignored: Any) -> Any:
    return False


def is_ignored_integer(raw: Any, ignoring: Any, ignored: Any) -> Any:
    return ignoring & (INT64(raw) == ignored)


def is_ignored_number(raw: Any, ignoring: Any, ignored: Any) -> Any:
    y, value = FLOAT64(target_number(raw)), double_of(ignored)
    return ignoring & ((y == value) | ((y != y) & (value != value)))


is_ignored = is_ignored_integer  # or another


def never_unfit(weight: Any) -> Any:
    return False


def is_unfit_weight(weight: Any) -> Any:
    """Negative, infinite or NaN."""
    return not ((weight >= ZERO) & (weight <= LARGEST))


is_unfit = is_unfit_weight  # or the other


def is_irregular_integer(raw: Any) -> Any:
    return (INT64(raw) & LAST_BIT) != 0


def is_irregular_number(raw: Any) -> Any:
    """Neither 0 nor 1; NaN is neither."""
    y = target_number(raw)
    return (y != 0) & (y != 1)


def is_outside(raw: Any) -> Any:
    """Further outside of [0, 1] than rounding takes a target; NaN is."""
    y = target_number(raw)
    return not ((y >= LEAST_TARGET) & (y <= MOST_TARGET))


is_irregular = is_irregular_integer  # or another


def share_of(raw: Any) -> Any:
    """A target between 0 and 1; what only rounding has put outside is moved in."""
    y = real(target_number(raw))
    return where(y > ONE, ONE, where(y < ZERO, ZERO, y))


def is_not_zero(raw: Any) -> Any:
    return target_number(raw) != 0


def is_one(raw: Any) -> Any:
    """As given: the computing dtype may round to 1 what is less."""
    return target_number(raw) == 1


is_positive = is_not_zero  # or the other


def weigh_evenly(positive: Any, raw: Any, beta: Any) -> Any:
    return ONE


def weigh_by_distance(positive: Any, raw: Any, beta: Any) -> Any:
    """That of a heatmap: all peaks count the same, and a negative the less, the nearer it is."""
    return where(positive, ONE, faded(share_of(raw), beta))


own_weight = weigh_evenly  # or the other


def is_above_zero(quality: Any, positives: Any, i: Any) -> Any:
    return quality > ZERO


def is_matched(quality: Any, positives: Any, i: Any) -> Any:
    return positives[i] != 0


is_learned = is_above_zero  # or the other


def fill(logits: Any, decays: Any, logarithms: Any) -> None:
    """exp(-|z|) of each logit z, and where much follows its log1p, in loops of their own.

    From a logit to its slope is a chain of operations each of which waits for the one before. A
    processor looks some 200 operations ahead: in one long loop that is two or three vectors, not
    enough to keep it busy. In short loops it has many at a time.
    """
    widest_vectors()
    for i in range(len(logits)):
        decays[i] = exp(-abs(load(logits[i])))
    if LONG:
        for i in range(len(logits)):
            logarithms[i] = log1p(decays[i])


def fetch_later(integers: Any, start: Any) -> None:
    """Has memory at work on a tile to come while another one is computed.

    One long loop reads a little all the time. Of several short ones the first waits for memory, and
    meanwhile the processor does not look far enough ahead to find the work of the others. A few
    lines at a time: a core has room for some 16 that are on their way, and waits beyond.
    """
    at = integers[LOGITS] + start * LOGIT_SIZE
    for offset in range(0, TILE * LOGIT_SIZE, LINE):
        prefetch_to_read(at + offset)
    at = integers[TARGETS] + start * TARGET_SIZE
    for offset in range(0, TILE * TARGET_SIZE, LINE):
        prefetch_to_read(at + offset)
    if MATCHED:
        at = integers[POSITIVES] + start
        for offset in range(0, TILE, LINE):
            prefetch_to_read(at + offset)
    if GRADIENT:
        at = integers[GRADIENTS] + start * LOGIT_SIZE
        for offset in range(0, TILE * LOGIT_SIZE, LINE):
            prefetch_to_write(at + offset)


def plain(integers: Any) -> Any:
    """Alpha and gamma of both classes, and the factor, where they are not read per element."""
    return (
        number_at(integers, ALPHA_POSITIVE),
        number_at(integers, ALPHA_NEGATIVE),
        number_at(integers, GAMMA_POSITIVE),
        number_at(integers, GAMMA_NEGATIVE),
        number_at(integers, FACTOR),
    )


def hard_loop(
    logits: Any,
    targets: Any,
    first: Any,
    gradient: Any,
    losses: Any,
    decays: Any,
    logarithms: Any,
    integers: Any,
    arrays: Any,
) -> Any:
    """Sum of losses, and whether any target was not what it is read as: neither 0 nor 1, or no
    number of a heatmap (then nothing here counts).

    Of up to TILE elements.
    """
    widest_vectors()
    alpha_positive, alpha_negative, gamma_positive, gamma_negative, factor = plain(integers)
    beta = number_at(integers, BETA)
    ignoring = integers[IGNORING] != 0
    ignored_value = integers[IGNORED]
    total = ZERO
    irregular = False
    for i in range(len(logits)):
        raw = targets[i]
        ignored = is_ignored(raw, ignoring, ignored_value)
        given_weight = pick(ONE, arrays[4], i)
        irregular |= (is_irregular(raw) & (not ignored)) | is_unfit(given_weight)
        positive = is_positive(raw)
        weight = where(ignored, ZERO, given_weight * own_weight(positive, raw, beta))
        z = where(weight == ZERO, ZERO, load(logits[i]))
        coefficient_p = pick(alpha_positive, arrays[0], i) * weight
        coefficient_n = pick(alpha_negative, arrays[1], i) * weight
        gamma = choose(
            positive, pick(gamma_positive, arrays[2], i), pick(gamma_negative, arrays[3], i)
        )
        s = where(positive, z, -z)
        # of what counts for nothing, neither the logit nor what was formed from it is looked at
        x = where(weight == ZERO, ZERO, decays[i])
        log1p_x = where(weight == ZERO, ZERO, logarithms[i]) if LONG else log1p(x)
        if GRADIENT:
            loss, slope = value_and_slope(s, x, log1p_x, gamma)
            each = pick(factor, arrays[5], i)
            # the signs are arranged so that, with plain numbers, one choice outside of
            # the book is all that is left in the loop
            descent = where(positive, -(coefficient_p * each), coefficient_n * each)
            gradient[i] = store(descent * -slope)
        else:
            loss = value(s, x, log1p_x, gamma)
        loss = weigh(where(positive, coefficient_p, coefficient_n), loss)
        if LOSSES:
            losses[i] = store(loss)
        if SUM:
            total = add_in_any_order(total, loss)
    return total, irregular


def soft_loop(
    logits: Any,
    targets: Any,
    first: Any,
    gradient: Any,
    losses: Any,
    decays: Any,
    logarithms: Any,
    integers: Any,
    arrays: Any,
) -> Any:
    """Sum of losses by the expectation ``y a F(z) + (1 - y)(1 - a) F(-z)``, and whether any target
    was outside [0, 1].
    """
    widest_vectors()
    alpha_positive, alpha_negative, gamma_positive, gamma_negative, factor = plain(integers)
    ignoring = integers[IGNORING] != 0
    ignored_value = integers[IGNORED]
    kept_share = number_at(integers, KEPT_SHARE)
    spread_share = number_at(integers, SPREAD_SHARE)
    total = ZERO
    outside = False
    for i in range(len(logits)):
        raw = targets[i]
        ignored = is_ignored(raw, ignoring, ignored_value)
        given_weight = pick(ONE, arrays[4], i)
        outside |= (is_outside(raw) & (not ignored)) | is_unfit(given_weight)
        y = where(ignored, ZERO, share_of(raw))
        weight = where(ignored, ZERO, given_weight)
        z = where(weight == ZERO, ZERO, load(logits[i]))
        share_p = smoothed(y, kept_share, spread_share)
        share_n = smoothed(ONE - y, kept_share, spread_share)
        positive = share_p * pick(alpha_positive, arrays[0], i) * weight
        negative = share_n * pick(alpha_negative, arrays[1], i) * weight
        gamma_p = pick(gamma_positive, arrays[2], i)
        gamma_n = pick(gamma_negative, arrays[3], i)
        x = where(weight == ZERO, ZERO, decays[i])
        log1p_x = where(weight == ZERO, ZERO, logarithms[i]) if LONG else log1p(x)
        if GRADIENT:
            loss_p, slope_p = value_and_slope(z, x, log1p_x, gamma_p)
            loss_n, slope_n = value_and_slope(-z, x, log1p_x, gamma_n)
            each = pick(factor, arrays[5], i)
            gradient[i] = store(positive * each * slope_p - negative * each * slope_n)
        else:
            loss_p = value(z, x, log1p_x, gamma_p)
            loss_n = value(-z, x, log1p_x, gamma_n)
        loss = weighed(positive, loss_p) + weighed(negative, loss_n)
        if LOSSES:
            losses[i] = store(loss)
        if SUM:
            total = add_in_any_order(total, loss)
    return total, outside


def quality_loop(
    logits: Any,
    targets: Any,
    first: Any,
    gradient: Any,
    losses: Any,
    decays: Any,
    logarithms: Any,
    integers: Any,
    arrays: Any,
) -> Any:
    """Sum of losses, ``q BCE(z, q)`` of positives and ``alpha F(-z)`` of all else, and whether any
    quality was outside [0, 1]. Of them ``first`` is the first.
    """
    widest_vectors()
    positives = view(integers[POSITIVES] + first, len(logits), np.uint8)
    _, alpha, _, gamma_negative, factor = plain(integers)
    ignoring = integers[IGNORING] != 0
    ignored_value = integers[IGNORED]
    total = ZERO
    outside = False
    for i in range(len(logits)):
        raw = targets[i]
        ignored = is_ignored(raw, ignoring, ignored_value)
        given_weight = pick(ONE, arrays[4], i)
        outside |= (is_outside(raw) & (not ignored)) | is_unfit(given_weight)
        quality = where(ignored, ZERO, share_of(raw))
        positive = is_learned(quality, positives, i)
        y = where(positive, quality, ZERO)
        own = where(positive, quality, pick(alpha, arrays[1], i))
        weight = where(ignored, ZERO, given_weight * own)
        z = where(weight == ZERO, ZERO, load(logits[i]))
        x = where(weight == ZERO, ZERO, decays[i])
        log1p_x = where(weight == ZERO, ZERO, logarithms[i])
        gamma = pick(gamma_negative, arrays[3], i)
        share_p, share_n = y * weight, (ONE - y) * weight
        if GRADIENT:
            loss_p, slope_p = entropy_and_slope(z, x, log1p_x, ZERO)
            entropy_n, entropy_slope = entropy_and_slope(-z, x, log1p_x, ZERO)
            focal_n, focal_slope = value_and_slope(-z, x, log1p_x, gamma)
            loss_n = where(positive, entropy_n, focal_n)
            slope_n = where(positive, entropy_slope, focal_slope)
            each = pick(factor, arrays[5], i)
            gradient[i] = store(share_p * each * slope_p - share_n * each * slope_n)
        else:
            loss_p = entropy(z, x, log1p_x, ZERO)
            entropy_n = entropy(-z, x, log1p_x, ZERO)
            loss_n = where(positive, entropy_n, value(-z, x, log1p_x, gamma))
        loss = weighed(share_p, loss_p) + weighed(share_n, loss_n)
        if LOSSES:
            losses[i] = store(loss)
        if SUM:
            total = add_in_any_order(total, loss)
    return total, outside


loop = hard_loop  # or another


def no_parameters(integers: Any, start: Any, count: Any) -> Any:
    return 0, 0, 0, 0, 0, 0  # which `pick_number` does not look at


def gather(out: Any, address: Any, stride: Any) -> Any:
    """Copies len(out) numbers, ``stride`` apart."""
    count = len(out)
    source = view(address, (count - 1) * stride + 1, real)
    if stride == 0:
        for i in range(count):
            out[i] = source[0]
    elif stride == 1:
        for i in range(count):
            out[i] = source[i]
    else:
        for i in range(count):
            out[i] = source[i * stride]


def gathered_parameters(integers: Any, start: Any, count: Any) -> Any:
    """The parameters of these elements, gathered from whatever broadcasts to the logits.

    Every one is spread out, numbers too: a loop over six plain arrays is one kernel, where a choice
    for each would be 64.
    """
    gathered = np.empty((6, count), real)
    for parameter in range(6):
        out = gathered[parameter]
        slot = PARAMETERS + 4 * parameter
        address = integers[slot]
        if address == 0:
            number = number_at(integers, slot + 1)
            for i in range(count):
                out[i] = number
            continue
        outer_stride = integers[slot + 1]
        middle_stride = integers[slot + 2]
        inner_stride = integers[slot + 3]
        middle_size = integers[MIDDLE]
        inner_size = integers[INNER]
        inner = start % inner_size
        middle = start // inner_size % middle_size
        outer = start // inner_size // middle_size
        i = 0
        while i < count:
            run = min(inner_size - inner, count - i)
            offset = outer * outer_stride + middle * middle_stride + inner * inner_stride
            gather(out[i : i + run], address + offset * REAL_SIZE, inner_stride)
            i += run
            inner = 0
            middle += 1
            if middle == middle_size:
                middle = 0
                outer += 1
    return gathered


parameters = gathered_parameters  # or the other


def no_parameters_of_tile(arrays: Any, offset: Any, size: Any) -> Any:
    return arrays


def parameters_of_tile(arrays: Any, offset: Any, size: Any) -> Any:
    """Those of some elements of the block."""
    step = arrays.shape[1] * REAL_SIZE
    at = place(arrays) + offset * REAL_SIZE
    return (
        view(at, size, real),
        view(at + step, size, real),
        view(at + 2 * step, size, real),
        view(at + 3 * step, size, real),
        view(at + 4 * step, size, real),
        view(at + 5 * step, size, real),
    )


of_tile = parameters_of_tile  # or the other


def kernel_of_blocks(base: Any, block: Any) -> Any:
    """One block; its sum, or UNDONE if some target was not what the loop is for."""
    integers = view(base, COUNTERS, np.int64)
    start = block * BLOCK
    count = min(BLOCK, integers[COUNT] - start)
    targets = view(integers[TARGETS] + start * TARGET_SIZE, count, Target)
    ignoring = integers[IGNORING] != 0
    ignored = integers[IGNORED]
    if not BETWEEN:
        # the first few tell, for most blocks of soft targets, and spare them a loop for nothing
        unfit = False
        for i in range(min(TYPICAL, count)):
            unfit |= is_irregular(targets[i]) & (not is_ignored(targets[i], ignoring, ignored))
        if unfit:
            return reject(base)
    arrays = parameters(integers, start, count)
    decays = tile_on_stack(real)
    logarithms = tile_on_stack(real)
    total = 0.0
    for tile in range(start, start + count, TILE):
        size = min(TILE, start + count - tile)
        logits = view(integers[LOGITS] + tile * LOGIT_SIZE, size, Logit)
        # a call of its own: in one function with the loop it takes a seventh longer
        fill(logits, decays, logarithms)
        if AHEAD:
            fetch_later(integers, tile + AHEAD)
        part, unfit = loop(
            logits,
            view(integers[TARGETS] + tile * TARGET_SIZE, size, Target),
            tile,
            view(integers[GRADIENTS] + tile * LOGIT_SIZE, size, Logit),
            view(integers[EACH] + tile * LOGIT_SIZE, size, Logit),
            decays,
            logarithms,
            integers,
            of_tile(arrays, tile - start, size),
        )
        if unfit:
            return reject(base)
        total += np.float64(part)
    return total


# ---------------------------------------------------------------------------------------------
# binding


class Stride(NamedTuple):
    """How a kernel goes through memory.

    Attributes:
        tile: elements at once.
        ahead: elements between a tile and the one that memory is asked for meanwhile; 0 to leave
            that to the processor.
    """

    tile: int
    ahead: int


def stride_of(host: str) -> Stride:
    """What is fastest on this kind of processor, by LLVM's name of it.

    Measured on Zen 4 and on Intel's; see docs/decisions/0011. The gradient has the same bits
    whatever the tile, the sum of the losses may differ in its last.
    """
    if host.startswith("znver"):
        return Stride(frame.LARGEST_TILE, 0)
    # what it takes some hundred ns to compute, as long as memory takes to answer
    return Stride(128, 4 * 128)


@cache
def address(kernel: SigmoidKernel) -> int:
    """Returns the address of a kernel's C function, compiled or from the cache on disk."""
    targets = STORAGE[kernel.targets]
    of_quality = kernel.reading in ("quality", "matched")
    of_heatmap = kernel.reading in ("heatmap", "heatmap4")
    between = kernel.soft or of_quality or of_heatmap
    stride = stride_of(get_host_cpu_name())
    names: dict[str, Any] = {
        **globals(),
        **kernel_names(kernel, log1p_given=True),
        "target_number": targets.load,
        "BLOCK": frame.BLOCK_OF_ARRAYS if kernel.general else frame.BLOCK,
        "TILE": stride.tile,
        "AHEAD": stride.ahead,
        "BETWEEN": between,
        "MATCHED": kernel.reading == "matched",
        "LOSSES": kernel.output == "each",
        "SUM": kernel.output == "sum",
        # two evaluations, or an exponential and more behind it
        "LONG": kernel.soft or of_quality or kernel.modulator == "compensated",
        "parameters": parameter_reader(real_type(kernel), kernel.general),
        "double_of": from_bits,
        **target_limits(kernel.targets),
    }
    # of gamma 0 the slope is that of a constant modulator, which is the shorter
    zero = formula_of(real_type(kernel), "zero", detached=True, log1p_given=True)
    names |= {"entropy": zero["value"], "entropy_and_slope": zero["value_and_slope"]}
    if kernel.reading == "heatmap4":
        names["faded"] = names["faded_four"]

    def bind(name: str, function: Any) -> None:
        names[name] = rebound(function, names)

    bind("plain", plain)
    names["weigh"] = names["weighed"]
    if not (kernel.general or of_heatmap):  # no coefficient of 0
        bind("weigh", product)
    bind("of_tile", parameters_of_tile if kernel.general else no_parameters_of_tile)
    bind("choose", choose_by_class if kernel.general else choose_either)
    bind("pick", pick_element if kernel.general else pick_number)
    bind("is_unfit", is_unfit_weight if kernel.general else never_unfit)
    integer_or_number = is_ignored_number if targets.floating else is_ignored_integer
    bind("is_ignored", integer_or_number if kernel.general else never_ignored)
    bind("is_outside", is_outside)
    bind("share_of", share_of)
    bind("is_positive", is_one if of_heatmap else is_not_zero)
    bind("own_weight", weigh_by_distance if of_heatmap else weigh_evenly)
    bind("is_learned", is_matched if kernel.reading == "matched" else is_above_zero)
    if kernel.targets == "bool":
        bind("is_irregular", never)
    elif between:
        bind("is_irregular", is_outside)
    else:
        bind("is_irregular", is_irregular_number if targets.floating else is_irregular_integer)
    loop_of_kind = quality_loop if of_quality else soft_loop if kernel.soft else hard_loop
    for name, step in {"fill": fill, "fetch_later": fetch_later, "loop": loop_of_kind}.items():
        names[name] = apart(rebound(step, names))
    return pool.kernel_address(rebound(kernel_of_blocks, names), pool.name_of("sigmoid", kernel))


def parameter_reader(number: type, general: bool) -> Any:
    """Returns what gives a block its parameters."""
    names = {**globals(), **operations(number), "REAL_SIZE": np.dtype(number).itemsize}
    names["number_at"] = rebound(pool.number_at, names)
    names["gather"] = rebound(gather, names)
    return rebound(gathered_parameters if general else no_parameters, names)
