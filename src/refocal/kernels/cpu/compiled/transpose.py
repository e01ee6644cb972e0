"""Small matrices transposed in registers.

Left to the compiler, transposing is one scattered store per element. As shuffles, a square as wide
as a 512-bit register takes a quarter of an instruction per element and direction, and masks take
care of what is no whole square. On a processor without such registers (Zen 3) masked stores took
longer than the elements one by one; there a square is half as wide, and what is no whole one is
left to `tiles`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features

from refocal.kernels.cpu.compiled.values import Kind, Value, spread
from refocal.kernels.cpu.compiled.writer import Writer, instruction

# whether this processor masks what it stores at no price
MASKS = bool(get_host_cpu_features().get("avx512f"))


def side_of(kind: Kind, *, masks: bool) -> int:
    """Rows and columns of a square."""
    return (64 if masks else 32) // kind.size


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
    kind = Kind("signed", 64, lanes)
    numbers = ir.Constant(kind.llvm, list(range(lanes)))
    return builder.icmp_signed("<", numbers, spread(builder, limit, kind))


@instruction
def transpose_square(
    writer: Writer,
    kind: Kind,
    source: Value,
    source_stride: Value,
    target: Value,
    target_stride: Value,
) -> None:
    """Transposes as many rows as a row has numbers; both lie at addresses so many bytes apart."""
    build, side = writer.build, side_of(kind, masks=False)
    vector = ir.VectorType(kind.llvm, side)

    def place(base: Any, stride: Any, position: int) -> Any:
        offset = build.mul(stride, ir.Constant(stride.type, position))
        return build.inttoptr(build.add(base, offset), vector.as_pointer())

    loaded = [
        build.load(place(source.llvm, source_stride.llvm, i), align=kind.size) for i in range(side)
    ]
    for i, column in enumerate(_transposed(build, loaded)):
        build.store(column, place(target.llvm, target_stride.llvm, i), align=kind.size)


@instruction
def transpose_masked(
    writer: Writer,
    kind: Kind,
    source: Value,
    source_stride: Value,
    rows: Value,
    columns: Value,
    target: Value,
    target_stride: Value,
) -> None:
    """Transposes what is at most a square.

    Reads ``columns`` numbers at each of ``rows`` addresses ``source_stride`` bytes apart, and
    nothing beyond; writes ``rows`` numbers at each of ``columns`` addresses.
    """
    build = writer.build
    lanes = side_of(kind, masks=True)
    vector = ir.VectorType(kind.llvm, lanes)
    mask = ir.VectorType(ir.IntType(1), lanes)
    align = ir.Constant(ir.IntType(32), kind.size)
    name = f"v{lanes}f{kind.bits}.p0"
    pointer = vector.as_pointer()
    load = writer.declared(
        f"llvm.masked.load.{name}", vector, (pointer, ir.IntType(32), mask, vector)
    )
    store = writer.declared(
        f"llvm.masked.store.{name}", ir.VoidType(), (vector, pointer, ir.IntType(32), mask)
    )
    nothing = ir.Constant(mask, None)

    def place(base: Any, stride: Any, position: int, filled: Any, limit: Any) -> Any:
        """Address and mask of a row. One that is not there is the first with nothing of it: a
        masked store to a page that is not there costs AMD's processors hundreds of cycles.
        """
        number = ir.Constant(limit.type, position)
        there = build.icmp_signed(">", limit, number)
        skip = build.select(there, build.mul(stride, number), ir.Constant(stride.type, 0))
        address = build.inttoptr(build.add(base, skip), pointer)
        return address, build.select(there, filled, nothing)

    across = _below(build, columns.llvm, lanes)
    down = _below(build, rows.llvm, lanes)
    loaded = []
    for i in range(lanes):
        address, those = place(source.llvm, source_stride.llvm, i, across, rows.llvm)
        empty = ir.Constant(vector, None)
        loaded.append(build.call(load, (address, align, those, empty)))
    for i, column in enumerate(_transposed(build, loaded)):
        address, those = place(target.llvm, target_stride.llvm, i, down, columns.llvm)
        build.call(store, (column, address, align, those))
