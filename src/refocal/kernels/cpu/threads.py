"""Runs a compiled kernel on this thread, or on torch's own OpenMP threads.

torch's workers spin for a while after every operation, so any second pool loses the cores to them:
measured at 1e6 elements right after a torch operation, .43 ms on torch's pool, .97 ms on a Python
thread pool, and 80 times slower on a second OpenMP pool. So `GOMP_parallel`, the entry point that
compilers call for ``#pragma omp parallel``, is looked up through torch's library itself: whichever
runtime that finds (libgomp, Intel's, LLVM's) is the one torch runs on, whatever else is loaded.
The number of threads travels with each call, and torch's setting is never touched.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from refocal.kernels.cpu import frame

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


# OpenMP's threads do not survive a fork, and libgomp waits for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Pool(NamedTuple):
    """torch's OpenMP runtime."""

    parallel: Any
    thread_number: int  # address of omp_get_thread_num


@cache
def pool() -> Pool | None:
    """The pool, or None where torch has no OpenMP runtime with this entry point (Windows)."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / f"libtorch_cpu.{suffix}"))
        parallel, thread_number = library.GOMP_parallel, library.omp_get_thread_num
    except (OSError, AttributeError):
        return None
    parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    parallel.restype = None
    return Pool(parallel, ctypes.cast(thread_number, ctypes.c_void_p).value or 0)


def threads_for(worthwhile: bool) -> int:
    """Returns how many threads a call should use: all of torch's or one.

    Nothing between, because libgomp ends the threads that a smaller team leaves over.
    """
    if not worthwhile or _forked:
        return 1
    threads = torch.get_num_threads()
    return 1 if threads == 1 or pool() is None else threads


@cache
def _callable(function: int) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)


def run(function: int, slots: Any, threads: int) -> None:
    """Calls a C function by its address, on each of so many threads, and waits for them.

    The GIL is released meanwhile.
    """
    if threads == 1:
        _callable(function)(slots)
        return
    team = pool()
    assert team is not None  # noqa: S101 - threads_for has asked
    slots[frame.THREAD_NUMBER] = team.thread_number
    team.parallel(function, slots, threads, 0)
