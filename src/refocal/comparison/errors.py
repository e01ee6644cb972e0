"""The one exception of this package that a user is meant to read, and how it names arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

# an argument, and the value to give it: None for the argument as such
Spelling: TypeAlias = Callable[[str, object], str]


class CompareError(Exception):
    """What was asked for cannot be done; the text says why and what to do instead."""


def _in_python(name: str, value: object) -> str:
    return f"{name}={'' if value is None else repr(value)}"


_SPELLING: ContextVar[Spelling] = ContextVar("spelling", default=_in_python)


def argument(name: str, value: object = None) -> str:
    """Return name an argument in a message, as the reader of the message calls it: `drop='x'`.

    Args:
        name: as `compare` and `Plan` call it.
        value: to give it; None for the argument as such, True for a switch.
    """
    return _SPELLING.get()(name, value)


@contextmanager
def spelled(spelling: Spelling) -> Iterator[None]:
    """Let messages of the block, errors and findings, name arguments otherwise than Python does."""
    before = _SPELLING.set(spelling)
    try:
        yield
    finally:
        _SPELLING.reset(before)
