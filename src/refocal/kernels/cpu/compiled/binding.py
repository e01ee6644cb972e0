"""The same text over other names: how a kernel's parts are bound and compiled, each of them once.

A part finds under its names what its kernel put there: a computing dtype, a way to read a target, a
modulator. Most parts look at few of them. What is compiled is kept by what it looks at, so that
kernels that differ elsewhere share it: compiling takes seconds, nearly all of it for finding types.
"""

from __future__ import annotations

import os
import types
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
from numba import njit

# no entry from Python, which takes as long to compile as a small function itself; and division as
# in C, without a branch for ZeroDivisionError
INTERNAL = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}


def inlined(function: Callable[..., Any]) -> Any:
    """Compiled into its caller."""
    return njit(inline="always", **INTERNAL)(function)


def called(function: Callable[..., Any]) -> Any:
    """Compiled once for all its callers, and inlined into them by LLVM.

    For what several loops share: inlining Numba's IR would infer its types anew for each of them.
    """
    return njit(forceinline=True, **INTERNAL)(alone(function))


def compiled(function: Callable[..., Any]) -> Any:
    """A part of a kernel that LLVM may leave a function."""
    return njit(**INTERNAL)(alone(function))


PROCESS = uuid.uuid4().hex
_numbers = count()


def alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """Under a name that no other process gives.

    The symbol of a compiled part is its name and a number that counts within the process. Kernels
    that two processes have put into the disk cache may hold different parts of one symbol, and a
    third process that loads both would link the second kernel to the first one's part: a detached
    kernel was seen to return attached gradients. (The process number, because a fork copies
    PROCESS; a number of our own, because it copies Numba's.)
    """
    function.__qualname__ = f"{function.__name__}-{PROCESS}-{os.getpid()}-{next(_numbers)}"
    return function


def rebound(function: Callable[..., Any], names: dict[str, Any]) -> Any:
    """The same code over other globals."""
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    return copy


_parts: dict[tuple[Any, ...], Any] = {}


def part(
    wrap: Callable[[Callable[..., Any]], Any], function: Callable[..., Any], names: dict[str, Any]
) -> Any:
    """The code over these names as they are now, wrapped; the same one where it was wrapped before
    over the same names.

    Args:
        wrap: `inlined`, `called` or `compiled`.
        function: whose code it is.
        names: among them all that the code looks at.
    """
    seen = {name: names[name] for name in sorted(set(_names_in(function.__code__)) & names.keys())}
    key = (wrap, function.__module__, function.__code__, *map(_mark, seen.items()))
    if key not in _parts:
        _parts[key] = wrap(rebound(function, {**seen, "__builtins__": __builtins__}))
    return _parts[key]


def _names_in(code: types.CodeType) -> Iterator[str]:
    """All names that a text may look up, those of what is written within it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _mark(named: tuple[str, Any]) -> tuple[Any, ...]:
    """What tells two values of a name apart: 0, False, 0.0 and -0.0 are equal and are not the same,
    and NaN is the same and not equal.
    """
    name, value = named
    if isinstance(value, (float, np.floating)):
        return name, type(value), float(value).hex()
    return name, type(value), value
