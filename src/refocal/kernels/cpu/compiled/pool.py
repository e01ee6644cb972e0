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

import hashlib
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import cfunc
from numba import types as nt
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled.binding import rebound
from refocal.kernels.cpu.compiled.memory import view

KERNEL = nt.float64(nt.voidptr, nt.int64)
TEAM_MEMBER = nt.void(nt.voidptr)


@intrinsic
def atomic_add(typingctx: Any, base: Any, slot: Any, amount: Any) -> Any:
    """Adds to a slot of the frame; returns what was there."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, slot, amount = arguments
        slots = builder.bitcast(base, ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", builder.gep(slots, [slot]), amount, "acq_rel")

    return nt.int64(nt.voidptr, nt.int64, nt.int64), emit


@intrinsic
def thread_number(typingctx: Any, function: Any) -> Any:
    """Calls `omp_get_thread_num` by its address; 0 where there is none (the serial call).

    By address, because a symbol baked into the code could not be cached on disk.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (address,) = arguments
        result = builder.alloca(ir.IntType(32))
        builder.store(ir.Constant(ir.IntType(32), 0), result)
        with builder.if_then(builder.icmp_signed("!=", address, ir.Constant(address.type, 0))):
            kind = ir.FunctionType(ir.IntType(32), ())
            builder.store(builder.call(builder.inttoptr(address, kind.as_pointer()), ()), result)
        return builder.sext(builder.load(result), ir.IntType(64))

    return nt.int64(nt.int64), emit


@intrinsic
def call_kernel(typingctx: Any, kernel: Any, base: Any, block: Any) -> Any:
    """Calls a kernel by its address."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, base, block = arguments
        kind = ir.FunctionType(ir.DoubleType(), (base.type, block.type))
        return builder.call(builder.inttoptr(address, kind.as_pointer()), (base, block))

    return nt.float64(nt.int64, nt.voidptr, nt.int64), emit


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


@cache
def fingerprint() -> str:
    """Returns a hash of all that a kernel is made of: Numba's cache watches one file only."""
    here = Path(__file__).parent
    root = here.parents[2]
    # the latter for what rounding may do to a target
    others = (here.parent / "frame.py", root / "problem.py")
    digest = hashlib.sha256()
    for path in (*sorted((root / "formula").glob("*.py")), *others, *sorted(here.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


_functions: list[Any] = []  # they must live as long as their addresses: as the process

# seconds of compiling from which on a user asks what is going on
LONG = 1.0
QUIET = "REFOCAL_QUIET"  # set to anything, nothing is said


def address_of(function: Callable[..., Any], signature: Any, name: str) -> int:
    """Returns the address of a function in C, compiled or from the disk cache under this name."""
    function.__qualname__ = f"{name}-{fingerprint()}"
    started = time.perf_counter()
    try:
        compiled = _cached(function, signature)
    except Exception:
        # nowhere to write, or a full disk: compiling again is slower, not wrong
        compiled = cfunc(signature, error_model="numpy")(function)
    _functions.append(compiled)
    if not compiled.cache_hits:
        _tell(time.perf_counter() - started)
    return int(compiled.address)


def _cached(function: Callable[..., Any], signature: Any) -> Any:
    """Compiles or loads a function; over a file that cannot be read a new one is written."""
    compile_or_load = cfunc(signature, cache=True, error_model="numpy")
    try:
        return compile_or_load(function)
    except Exception:
        # a truncated file, as after a full disk or a machine that went down
        FunctionCache(function).flush()
        return compile_or_load(function)


_told = False


def say_nothing() -> None:
    """Leaves it to the caller to tell a user what is going on."""
    global _told
    _told = True


def _tell(seconds: float) -> None:
    """Says once per process why a first call takes so long, and that the next one will not."""
    if _told or seconds < LONG or os.environ.get(QUIET) or sys.stderr is None:
        return
    say_nothing()
    folder = cache_folder()
    kept = (
        f"It is kept in {folder}, where the next process finds it; `refocal warm-up` does that "
        "ahead."
        if folder
        else "It is not kept, as no folder can be written to: NUMBA_CACHE_DIR names one."
    )
    sys.stderr.write(
        f"refocal: a CPU kernel was compiled, which took {seconds:.1f} s. {kept} {QUIET}=1 hides "
        "this line.\n"
    )


def cache_folder() -> str | None:
    """Returns where the last function lies on disk; None where nothing can be written."""
    folder: str | None = _functions[-1]._cache.cache_path if _functions else None
    return folder


def kernel_address(function: Callable[..., Any], name: str) -> int:
    """Returns the address of a kernel; ``name`` tells it from all others of the same code."""
    return address_of(function, KERNEL, name)


@cache
def team_address() -> int:
    """Address of what runs the kernels."""
    return address_of(rebound(team_member, globals()), TEAM_MEMBER, "team")
