"""Small matrices transposed in registers.

Left to the compiler, transposing is one scattered store per element. As shuffles, a square as wide
as a 512-bit register takes a quarter of an instruction per element and direction.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types as nt
from numba.extending import intrinsic

LANES = {nt.float32: 16, nt.float64: 8}
ELEMENTS = {nt.float32: ir.FloatType(), nt.float64: ir.DoubleType()}


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """log2(n) rounds of exchanging off-diagonal blocks of half the size each."""
    lanes = len(rows)
    index = ir.IntType(32)
    size = lanes // 2
    while size:
        first = [lane if not lane & size else lanes + lane - size for lane in range(lanes)]
        second = [lane + size if not lane & size else lanes + lane for lane in range(lanes)]
        masks = [ir.Constant(ir.VectorType(index, lanes), one) for one in (first, second)]
        for i in range(lanes):
            if not i & size:
                pair = rows[i], rows[i + size]
                rows[i], rows[i + size] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        size //= 2
    return rows


def _below(builder: Any, limit: Any, lanes: int) -> Any:
    """The mask of lanes below a limit."""
    integer = ir.IntType(64)
    vector = ir.VectorType(integer, lanes)
    one = builder.insert_element(ir.Constant(vector, None), limit, ir.Constant(ir.IntType(32), 0))
    spread = builder.shuffle_vector(
        one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    )
    return builder.icmp_signed("<", ir.Constant(vector, list(range(lanes))), spread)


@intrinsic
def transpose(
    typingctx: Any,
    element: Any,
    source: Any,
    source_stride: Any,
    rows: Any,
    columns: Any,
    target: Any,
    target_stride: Any,
) -> Any:
    """Transposes up to 16 rows of up to 16 numbers (8 of float64).

    Reads ``columns`` numbers at each of ``rows`` addresses ``source_stride`` bytes apart, and
    nothing beyond; writes ``rows`` numbers at each of ``columns`` addresses.
    """
    number = element.dtype
    lanes, kind = LANES[number], ELEMENTS[number]
    vector = ir.VectorType(kind, lanes)
    mask = ir.VectorType(ir.IntType(1), lanes)
    align = ir.Constant(ir.IntType(32), 64 // lanes)
    name = f"v{lanes}f{512 // lanes}"

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, source, source_stride, rows, columns, target, target_stride = arguments
        pointer = vector.as_pointer()
        load = builder.module.declare_intrinsic(
            f"llvm.masked.load.{name}.p0",
            (),
            ir.FunctionType(vector, (pointer, ir.IntType(32), mask, vector)),
        )
        store = builder.module.declare_intrinsic(
            f"llvm.masked.store.{name}.p0",
            (),
            ir.FunctionType(ir.VoidType(), (vector, pointer, ir.IntType(32), mask)),
        )
        nothing = ir.Constant(mask, None)

        def place(base: Any, stride: Any, position: int, filled: Any, limit: Any) -> Any:
            """Address and mask of a row. One that is not there is the first with nothing of it:
            a masked store to a page that is not there costs AMD's processors hundreds of cycles.
            """
            number = ir.Constant(limit.type, position)
            there = builder.icmp_signed(">", limit, number)
            skip = builder.select(there, builder.mul(stride, number), ir.Constant(stride.type, 0))
            address = builder.inttoptr(builder.add(base, skip), pointer)
            return address, builder.select(there, filled, nothing)

        across = _below(builder, columns, lanes)
        down = _below(builder, rows, lanes)
        loaded = []
        for i in range(lanes):
            address, those = place(source, source_stride, i, across, rows)
            empty = ir.Constant(vector, None)
            loaded.append(builder.call(load, (address, align, those, empty)))
        for i, column in enumerate(_transposed(builder, loaded)):
            address, those = place(target, target_stride, i, down, columns)
            builder.call(store, (column, address, align, those))
        return context.get_dummy_value()

    return nt.none(element, *[nt.int64] * 6), emit
