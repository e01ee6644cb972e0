"""What the Triton kernels share: how neighbouring values are read and written, and where they lie.

A load is as wide as Triton can prove that address and mask allow, and it learns of a size whether
16 divides it, and nothing else. So sizes come as ``units`` of a constant number of elements; the
mask of a last, ragged part is a branch beside the plain load; and products have 64 bits.
"""
# Triton reads these functions as source: upper case marks what is fixed when one is compiled.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton.language as tl

from refocal.kernels.gpu.operations import (
    ROUNDING_OF_BRAIN,
    ROUNDING_OF_HALF,
    ROUNDING_OF_SINGLES,
    helper,
)


@helper
def turns_of(program, blocks):
    """How many blocks a program takes, of which there are more than programs."""
    return tl.cdiv(blocks - program, tl.num_programs(0))


@helper
def whole(base, count, BLOCK):
    """Whether a block ends before the last element."""
    return base + BLOCK <= count


@helper
def piece(pointer, base, lanes, count, other, EVEN, BLOCK):
    """Neighbouring values from ``base`` on, ``other`` from ``count`` on.

    A branch, because a mask by a ``count`` that no power of two divides makes every load narrow,
    and only the last program needs one.
    """
    if EVEN:
        found = tl.load(pointer + (base + lanes))
    else:
        if whole(base, count, BLOCK):
            found = tl.load(pointer + (base + lanes))
        else:
            found = tl.load(pointer + (base + lanes), mask=base + lanes < count, other=other)
    return found


@helper
def put(pointer, base, lanes, count, values, EVEN, BLOCK):
    """Writes what `piece` reads, rounded once."""
    values = values.to(pointer.dtype.element_ty)
    if EVEN:
        tl.store(pointer + (base + lanes), values)
    else:
        if whole(base, count, BLOCK):
            tl.store(pointer + (base + lanes), values)
        else:
            tl.store(pointer + (base + lanes), values, mask=base + lanes < count)


@helper
def turn(base, lanes, inner, size):
    """``(i // inner) % size`` of the elements ``i = base + lanes``.

    The 64-bit divisions are of the block's first element alone; those of each lane have 32 bits.
    """
    before = base // inner
    begun = (base - before * inner).to(tl.int32)
    number = (before % size).to(tl.int32)
    return (number + (begun + lanes) // inner) % size


@helper
def parameter(value, base, lanes, count, inner, size, other, LAYOUT, EVEN, BLOCK):
    """alpha, gamma, a weight or a factor of some elements, as `gpu.Spread` lays them out."""
    if LAYOUT == "number":
        found = value
    elif LAYOUT == "single":
        found = tl.load(value).to(tl.float32)
    elif LAYOUT == "cycle":
        # whatever lies behind the last element finds a value, too
        found = tl.load(value + turn(base, lanes, inner, size)).to(tl.float32)
    elif LAYOUT == "wide cycle":
        found = tl.load(value + ((base + lanes) // inner) % size).to(tl.float32)
    else:
        found = piece(value, base, lanes, count, other, EVEN, BLOCK).to(tl.float32)
    return found


@helper
def divided(factor, share, SHARE):
    """A factor over the denominator: ``share`` is its inverse, or where a device counted it, it."""
    if SHARE == "number":
        factor = factor * share
    elif SHARE == "count":
        factor = factor * tl.div_rn(1.0, tl.load(share).to(tl.float32))
    return factor


@helper
def counts_for_nothing(y, ignored):
    """Where targets are the ignored value; NaN is NaN."""
    return (y == ignored) | ((y != y) & (ignored != ignored))


@helper
def soft_target(y):
    """Soft targets in float32, with what only rounding has put outside of [0, 1] moved in.

    As `problem.shares`, by the dtype they are stored in.
    """
    if y.dtype.is_floating():
        slack = ROUNDING_OF_SINGLES
        if y.dtype == tl.float16:
            slack = ROUNDING_OF_HALF
        elif y.dtype == tl.bfloat16:
            slack = ROUNDING_OF_BRAIN
        y = y.to(tl.float32)
        inside = tl.minimum(tl.maximum(y, 0.0), 1.0)
        y = tl.where(tl.abs(y - inside) <= slack, inside, y)
    else:
        y = y.to(tl.float32)
    return y
