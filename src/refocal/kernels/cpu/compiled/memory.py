"""Memory as the kernels see it: addresses, arrays at them, cache lines of which they are made."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types as nt
from numba.core.typing.npydecl import parse_dtype
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from refocal.kernels.cpu import frame


@intrinsic
def view(typingctx: Any, address: Any, count: Any, dtype: Any) -> Any:
    """The array of so many elements at an address: as `numba.carray`, in a tenth of its time."""
    array_type = nt.Array(parse_dtype(dtype), 1, "C")

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, count, _ = arguments
        element = context.get_data_type(array_type.dtype)
        size = ir.Constant(ir.IntType(64), context.get_abi_sizeof(element))
        from_address = builder.bitcast if signature.args[0] is nt.voidptr else builder.inttoptr
        array = context.make_array(array_type)(context, builder)
        populate_array(
            array,
            data=from_address(address, element.as_pointer()),
            shape=[count],
            strides=[size],
            itemsize=size,
            meminfo=None,
        )
        return array._getvalue()

    return array_type(address, nt.int64, dtype), emit


@intrinsic
def table(typingctx: Any, address: Any, rows: Any, columns: Any, dtype: Any) -> Any:
    """The matrix of so many rows and columns at an address.

    An array of Numba's own counts its references by atomic operations, a dozen in a block that
    takes but a microsecond; one at an address counts none.
    """
    array_type = nt.Array(parse_dtype(dtype), 2, "C")

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, rows, columns, _ = arguments
        element = context.get_data_type(array_type.dtype)
        size = ir.Constant(ir.IntType(64), context.get_abi_sizeof(element))
        array = context.make_array(array_type)(context, builder)
        populate_array(
            array,
            data=builder.inttoptr(address, element.as_pointer()),
            shape=[rows, columns],
            strides=[builder.mul(columns, size), size],
            itemsize=size,
            meminfo=None,
        )
        return array._getvalue()

    return array_type(nt.int64, nt.int64, nt.int64, dtype), emit


@intrinsic
def place(typingctx: Any, array: Any) -> Any:
    """The address of an array as an integer: `array.ctypes.data` takes longer to compile."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return nt.int64(array), emit


@intrinsic
def tile_on_stack(typingctx: Any, dtype: Any) -> Any:
    """Returns an array of `frame.LARGEST_TILE` numbers that lives as long as its function runs."""
    array_type = nt.Array(parse_dtype(dtype), 1, "C")

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = context.get_data_type(array_type.dtype)
        with builder.goto_entry_block():
            room = builder.alloca(ir.ArrayType(element, frame.LARGEST_TILE))
        room.align = 64
        size = ir.Constant(ir.IntType(64), context.get_abi_sizeof(element))
        array = context.make_array(array_type)(context, builder)
        populate_array(
            array,
            data=builder.bitcast(room, element.as_pointer()),
            shape=[ir.Constant(ir.IntType(64), frame.LARGEST_TILE)],
            strides=[size],
            itemsize=size,
            meminfo=None,
        )
        return array._getvalue()

    return array_type(dtype), emit


LINE = 64  # bytes
BYTES = ir.IntType(8).as_pointer()
INT = ir.IntType(32)
FIRST_CACHE, DATA = INT(3), INT(1)


def _prefetching(*, writing: bool) -> Any:
    """What has a cache line come that is read, or written, soon. It may lie out of bounds."""

    def prefetch(typingctx: Any, address: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), (BYTES, INT, INT, INT))
            function = builder.module.declare_intrinsic("llvm.prefetch", (BYTES,), kind)
            line = builder.inttoptr(arguments[0], BYTES)
            builder.call(function, (line, INT(int(writing)), FIRST_CACHE, DATA))
            return context.get_dummy_value()

        return nt.none(address), emit

    return intrinsic(prefetch)


prefetch_to_read = _prefetching(writing=False)
prefetch_to_write = _prefetching(writing=True)
