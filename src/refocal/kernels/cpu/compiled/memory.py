"""Memory as the kernels see it: addresses, arrays at them, cache lines of which they are made."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled.values import INT64, KINDS, Kind, Value, View, converted
from refocal.kernels.cpu.compiled.writer import BYTES, Writer, instruction


def _pointer(build: Any, address: Any, kind: Kind) -> Any:
    """An address, which is a number, or the pointer that the frame is given by."""
    pointer = kind.llvm.as_pointer()
    if isinstance(address, Value):
        return build.inttoptr(address.llvm, pointer)
    return build.bitcast(address, pointer)


@instruction
def view(writer: Writer, address: Any, count: Any, kind: Any) -> View:
    """The array of so many elements at an address."""
    kind = KINDS.get(kind, kind)
    return View(kind, _pointer(writer.build, address, kind), (count,))


@instruction
def table(writer: Writer, address: Any, rows: Any, columns: Any, kind: Any) -> View:
    """The matrix of so many rows and columns at an address."""
    kind = KINDS.get(kind, kind)
    return View(kind, _pointer(writer.build, address, kind), (rows, columns))


@instruction
def place(writer: Writer, array: View) -> Value:
    """The address of an array as an integer."""
    return Value(INT64, writer.build.ptrtoint(array.at, INT64.llvm))


@instruction
def tile_on_stack(writer: Writer, kind: Kind) -> View:
    """Returns an array of `frame.LARGEST_TILE` numbers that lives as long as its function runs."""
    room = writer.room(ir.ArrayType(kind.llvm, frame.LARGEST_TILE), align=64)
    at = writer.build.bitcast(room, kind.llvm.as_pointer())
    return View(kind, at, (frame.LARGEST_TILE,))


LINE = 64  # bytes
INT = ir.IntType(32)
FIRST_CACHE, DATA = INT(3), INT(1)


def _prefetching(*, writing: bool) -> Any:
    """What has a cache line come that is read, or written, soon. It may lie out of bounds."""

    def prefetch(writer: Writer, address: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), (BYTES, INT, INT, INT))
        function = writer.module.declare_intrinsic("llvm.prefetch", (BYTES,), kind)
        line = writer.build.inttoptr(converted(writer.build, address, INT64).llvm, BYTES)
        writer.build.call(function, (line, INT(int(writing)), FIRST_CACHE, DATA))

    return instruction(prefetch)


prefetch_to_read = _prefetching(writing=False)
prefetch_to_write = _prefetching(writing=True)
