"""Vectors that are written, not found: so many numbers that an expression takes at once.

LLVM makes a vector of a loop where it sees that it may, and that it pays. Where loops over classes
lie around short ones over positions it does not: it unrolls what is short, checks at run time what
may overlap, spills between loops what was in a register, and writes each loop three times. As
values `LANES` numbers wide, scalar code of this room and the book are written over vectors as over
numbers, a loop over classes keeps its sums in registers, and there is less to compile. LLVM splits
what a processor has no register for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from refocal.kernels.cpu.compiled.values import (
    INDEX,
    KINDS,
    LANES,
    TRUTH,
    Kind,
    Value,
    converted,
    kind_of,
)
from refocal.kernels.cpu.compiled.writer import Writer, instruction


def _folded(build: Any, value: Any, join: Callable[[Any, Any], Any]) -> Any:
    """One number of a vector's: each half joined with the other, until one is left."""
    width = LANES
    while width > 1:
        width //= 2
        halves = [_selected(build, value, range(at, at + width)) for at in (0, width)]
        value = join(*halves)
    return build.extract_element(value, ir.Constant(INDEX, 0))


def _selected(build: Any, value: Any, lanes: range) -> Any:
    mask = ir.Constant(ir.VectorType(INDEX, len(lanes)), list(lanes))
    return build.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


@instruction
def sum_of(writer: Writer, value: Value) -> Value:
    """The sum of a vector's numbers, in an order that is the same on every processor."""
    return Value(value.kind.element, _folded(writer.build, value.llvm, writer.build.fadd))


@instruction
def largest_of(writer: Writer, value: Value) -> Value:
    """The largest of a vector's numbers, none of which is NaN."""
    build = writer.build

    def larger(one: Any, other: Any) -> Any:
        return build.select(build.fcmp_ordered(">", one, other), one, other)

    return Value(value.kind.element, _folded(build, value.llvm, larger))


@instruction
def any_of(writer: Writer, truths: Value) -> Value:
    """Whether any of a vector's truths holds."""
    bits = writer.build.bitcast(truths.llvm, ir.IntType(LANES))
    return Value(TRUTH, writer.build.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0)))


@instruction
def lane_numbers(writer: Writer, kind: Kind) -> Value:
    """0, 1, 2, … in an integer kind."""
    return Value(kind.vector, ir.Constant(kind.vector.llvm, list(range(LANES))))


@instruction
def all_of(writer: Writer, number: Any) -> Value:
    """A number, so many times."""
    return converted(writer.build, number, kind_of(number).vector)


# ---------------------------------------------------------------------------------------------
# memory


@instruction
def take(writer: Writer, address: Value, kind: Any) -> Value:
    """What lies at an address and behind it."""
    kind = KINDS.get(kind, kind)
    at = writer.build.inttoptr(address.llvm, kind.vector.llvm.as_pointer())
    return Value(kind.vector, writer.build.load(at, align=kind.size))


@instruction
def put(writer: Writer, address: Value, value: Value) -> None:
    """Writes to an address and behind it."""
    at = writer.build.inttoptr(address.llvm, value.kind.llvm.as_pointer())
    writer.build.store(value.llvm, at, align=value.kind.size)
