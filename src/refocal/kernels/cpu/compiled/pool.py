"""How a compiled kernel meets its arguments and its threads.

A kernel is a C function of a frame and the number of a block, ``double kernel(void *, int64_t)``.
The frame is a row of 64-bit slots: the addresses and numbers of the call, one counter per thread,
one partial sum per block. One more C function, the same for all kernels, takes a frame and goes
through its blocks. Calling it through ctypes costs less than a microsecond and releases the GIL;
handing it to `GOMP_parallel` (see `refocal.kernels.cpu.threads`) runs it on torch's own workers.
Numba's own threading layers are not used: they choose an OpenMP runtime by import order, change
torch's number of threads, and abort after a fork or on concurrent use.

Work is cut into blocks by size alone, never by the number of threads; each block's sum has its own
slot, and the thread that finishes last adds them in order. So the result has the same bits for any
number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled.machine import address_of
from refocal.kernels.cpu.compiled.memory import view
from refocal.kernels.cpu.compiled.values import FLOAT64, INT64, Value, converted
from refocal.kernels.cpu.compiled.writer import BYTES, Writer, instruction


@instruction
def atomic_add(writer: Writer, base: Any, slot: Any, amount: Any) -> Value:
    """Adds to a slot of the frame; returns what was there."""
    build = writer.build
    slots = build.bitcast(base, INT64.llvm.as_pointer())
    slot, amount = (converted(build, value, INT64).llvm for value in (slot, amount))
    return Value(INT64, build.atomic_rmw("add", build.gep(slots, [slot]), amount, "acq_rel"))


@instruction
def thread_number(writer: Writer, function: Value) -> Value:
    """Calls `omp_get_thread_num` by its address; 0 where there is none (the serial call).

    By address, because a symbol baked into the code could not be cached on disk.
    """
    build, number = writer.build, ir.IntType(32)
    result = writer.room(number)
    build.store(ir.Constant(number, 0), result)
    with build.if_then(build.icmp_signed("!=", function.llvm, ir.Constant(INT64.llvm, 0))):
        kind = ir.FunctionType(number, ())
        build.store(build.call(build.inttoptr(function.llvm, kind.as_pointer()), ()), result)
    return Value(INT64, build.sext(build.load(result), INT64.llvm))


@instruction
def call_kernel(writer: Writer, kernel: Value, base: Any, block: Value) -> Value:
    """Calls a kernel by its address."""
    build = writer.build
    kind = ir.FunctionType(ir.DoubleType(), (base.type, block.llvm.type))
    called = build.call(build.inttoptr(kernel.llvm, kind.as_pointer()), (base, block.llvm))
    return Value(FLOAT64, called)


THREADS = frame.THREADS
THREAD_NUMBER = frame.THREAD_NUMBER
BLOCKS = frame.BLOCKS
FINISHED = frame.FINISHED
REJECTED = frame.REJECTED
REDO = frame.REDO
UNDONE = -1.0  # no sum of losses: they are not negative
KERNEL_ADDRESS = frame.KERNEL
RESULT = frame.RESULT
RESULT_IS_DOUBLE = frame.RESULT_IS_DOUBLE
RESULT_FACTOR = frame.RESULT_FACTOR
COUNTERS = frame.COUNTERS
COUNTER_STRIDE = frame.COUNTER_STRIDE


def team_member(base: Any) -> None:
    """What each thread does: its own share of the blocks, then what others have left."""
    integers = view(base, COUNTERS, np.int64)
    numbers = view(base, COUNTERS, np.float64)
    threads = integers[THREADS]
    blocks = integers[BLOCKS]
    partials = COUNTERS + COUNTER_STRIDE * threads
    sums = view(base, partials + blocks, np.float64)
    number = thread_number(integers[THREAD_NUMBER])
    finished = 0
    for step in range(threads):
        # One's own share first: the same thread meets the same addresses in every call, and finds
        # them in its cache.
        share = (number + step) % threads
        last = (share + 1) * blocks // threads
        while True:
            taken = atomic_add(base, COUNTERS + COUNTER_STRIDE * share, 1)
            block = share * blocks // threads + taken
            if block >= last:
                break
            if not integers[REDO] or sums[partials + block] == UNDONE:
                sums[partials + block] = call_kernel(integers[KERNEL_ADDRESS], base, block)
            finished += 1
    if atomic_add(base, FINISHED, finished) + finished == blocks and integers[RESULT]:
        total = 0.0
        for block in range(blocks):
            total += sums[partials + block]
        total *= numbers[RESULT_FACTOR]
        if integers[RESULT_IS_DOUBLE]:
            view(integers[RESULT], 1, np.float64)[0] = total
        else:
            view(integers[RESULT], 1, np.float32)[0] = total


if TYPE_CHECKING:  # bound over a computing dtype
    from refocal.kernels.cpu.compiled.bound import integer
    from refocal.kernels.cpu.compiled.math import from_bits


def number_at(integers: Any, slot: Any) -> Any:
    """A number of the frame, stored in the computing dtype: read as double and rounded here, LLVM
    would move the rounding behind the choice of class, into the loop.
    """
    return from_bits(integer(integers[slot]))


def reject(base: Any) -> Any:
    """Marks a block as having targets that the kernel is not for; returns its sum."""
    atomic_add(base, REJECTED, 1)
    return UNDONE


def name_of(kind: str, kernel: tuple[Any, ...]) -> str:
    """A name that no other kernel has."""
    marks = "".join(str(int(part)) for part in kernel if isinstance(part, bool))
    words = "-".join(part for part in kernel if isinstance(part, str))
    return f"{kind}-{words}-{marks}"


def kernel_address(function: Callable[..., Any], name: str) -> int:
    """Returns the address of a kernel; ``name`` tells it from all others of the same code."""
    address: int = address_of(function, name, (BYTES, INT64.llvm))
    return address


@cache
def team_address() -> int:
    """Address of what runs the kernels."""
    address: int = address_of(team_member, "team")
    return address
