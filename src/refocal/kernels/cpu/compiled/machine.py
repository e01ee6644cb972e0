"""From a text to machine code: LLVM by way of Numba, and the cache on disk.

Of Numba this takes what stands between a module of LLVM's and an address: the passes, the target,
and files of compiled code that are found by processor. Its own front end is not asked, see
`text`, and so not loaded with all that it knows of NumPy.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from llvmlite import ir
from llvmlite.binding import add_symbol
from numba.core.caching import make_library_cache
from numba.core.codegen import JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock

from refocal.formula.binding import rebound
from refocal.kernels.cpu import LOADED
from refocal.kernels.cpu.compiled.text import Text, source_of
from refocal.kernels.cpu.compiled.values import FLOAT64, INT64, Value, converted
from refocal.kernels.cpu.compiled.writer import BYTES, Writer


@cache
def _sources(beside: tuple[str, ...]) -> tuple[Path, ...]:
    """All that a kernel is made of."""
    here = Path(__file__).parent
    root = here.parents[2]
    # the latter for what rounding may do to a target
    others = (here.parent / "frame.py", root / "problem.py", *map(Path, beside))
    found = (*sorted((root / "formula").glob("*.py")), *others, *sorted(here.glob("*.py")))
    return tuple(path.resolve() for path in found)


@cache
def fingerprint(beside: tuple[str, ...] = ()) -> str:
    """Returns a hash of the sources: Numba's cache watches one file."""
    digest = hashlib.sha256()
    for path in _sources(beside):
        digest.update(source_of(path).encode())
    return digest.hexdigest()[:12]


@cache
def _as_loaded(beside: tuple[str, ...]) -> bool:
    """Whether no source has changed since this process imported refocal, as where it was installed
    anew meanwhile: what is made then is a mixture of both, and must not be found by the next one.
    """
    return all(path.stat().st_ctime <= LOADED for path in _sources(beside))


@cache
def _codegen() -> Any:
    if sys.platform == "win32":
        # of several libraries of C in a process, both from the same one
        for name in ("malloc", "free"):
            address = ctypes.cast(getattr(ctypes.cdll.msvcrt, name), ctypes.c_void_p).value
            add_symbol(name, address)
    return JITCPUCodegen("refocal")


class _Target:
    """What Numba's cache asks for the processor, and has its libraries made by."""

    codegen = staticmethod(_codegen)

    def refresh(self) -> None:
        """Nothing that could be out of date."""


_target = _Target()
_Cache = make_library_cache("refocal")
_libraries: list[Any] = []  # they must live as long as their addresses: as the process
_folder: str | None = None  # of the last one that is kept there
hits = misses = 0  # found on disk, and compiled

# seconds of compiling from which on a user asks what is going on
LONG = 1.0
QUIET = "REFOCAL_QUIET"  # set to anything, nothing is said


@global_compiler_lock
def address_of(
    text: Callable[..., Any],
    name: str,
    arguments: tuple[Any, ...] = (BYTES,),
    *,
    beside: tuple[str, ...] = (),
    kept: bool = True,
) -> int:
    """Returns the address of a text as a function in C, compiled or from the cache on disk.

    Args:
        text: a function of the frame, and in a kernel of the number of a block.
        name: tells it from all others.
        arguments: LLVM's types of what it takes. What it returns is a double.
        beside: files that it is made of and the kernels are not.
        kept: on disk.
    """
    global hits, misses, _folder
    name = f"{name}-{fingerprint(beside)}"
    kept = kept and _as_loaded(beside)
    started = time.perf_counter()
    file: Any = _file_of(text, name) if kept else None
    library = _loaded(file)
    if library is not None:
        hits += 1
        _folder = file.cache_path
    else:
        misses += 1
        library = _compiled(text, name, arguments)
        _folder = file.cache_path if _keep(file, library) else None
        _tell(time.perf_counter() - started, wanted=kept)
    _libraries.append(library)
    return int(library.get_pointer_to_function(name))


def _compiled(text: Callable[..., Any], name: str, arguments: tuple[Any, ...]) -> Any:
    library = _codegen().create_library(name)
    library.enable_object_caching()
    module = library.create_ir_module(name)
    function = ir.Function(module, ir.FunctionType(ir.DoubleType(), arguments), name)
    writer = Writer(function, {})
    frame, *numbers = function.args
    result = Text(writer, text, [frame, *(Value(INT64, one) for one in numbers)]).result
    writer.end(converted(writer.build, 0.0 if result is None else result, FLOAT64).llvm)
    library.add_ir_module(module)
    library.finalize()
    return library


# ---------------------------------------------------------------------------------------------
# the cache on disk: without it, or over a file that cannot be read, everything is compiled anew


def _file_of(text: Callable[..., Any], name: str) -> Any:
    named = rebound(text, {})
    named.__qualname__ = name
    try:
        return _Cache(named)
    except Exception:  # nowhere to write
        return None


def _loaded(file: Any) -> Any:
    try:
        return file and file.load_overload((), _target)
    except Exception:
        # a truncated file, as after a full disk or a machine that went down
        return None


def _keep(file: Any, library: Any) -> bool:
    """Whether it is kept."""
    if file is None:
        return False
    try:
        file.save_overload((), library)
    except Exception:
        try:
            # what is there may be a truncated index
            file.flush()
            file.save_overload((), library)
        except Exception:  # a full disk
            return False
    return True


_told = False


def say_nothing() -> None:
    """Leaves it to the caller to tell a user what is going on."""
    global _told
    _told = True


def _tell(seconds: float, *, wanted: bool) -> None:
    """Says once per process why a first call takes so long, and that the next one will not."""
    if _told or seconds < LONG or os.environ.get(QUIET) or sys.stderr is None:
        return
    say_nothing()
    if _folder:
        kept = (
            f"It is kept in {_folder}, where the next process finds it; `refocal warm-up` does "
            "that ahead."
        )
    elif wanted:
        kept = "It is not kept, as no folder can be written to: NUMBA_CACHE_DIR names one."
    else:
        kept = "It is not kept, as refocal has changed on disk since it was imported: start anew."
    sys.stderr.write(
        f"refocal: a CPU kernel was compiled, which took {seconds:.1f} s. {kept} {QUIET}=1 hides "
        "this line.\n"
    )


def cache_folder() -> str | None:
    """Returns where kernels lie on disk; None where nothing can be written, or nothing was."""
    return _folder
