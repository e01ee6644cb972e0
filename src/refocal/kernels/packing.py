"""Problems as a flat list of tensors plus a skeleton of everything else.

Autograd's ``save_for_backward`` and custom operators see the tensors of a problem only when these
are handed over one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

# Most parts are of these: asking for the type spares them two questions of isinstance, in a path
# that every call of a loss takes several times.
PLAIN = frozenset((float, int, bool, str, type(None)))


def tensors_of(parts: Iterable[Any]) -> list[Tensor]:
    """All tensors in nested tuples, in order."""
    found: list[Tensor] = []
    for part in parts:
        kind = type(part)
        if kind in PLAIN:
            continue
        if kind is Tensor or isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, tuple):
            found.extend(tensors_of(part))
    return found


def without_tensors(parts: Iterable[Any]) -> tuple[Any, ...]:
    """The same tuples with the class `Tensor` where a tensor stood."""
    return tuple(
        [
            part
            if type(part) in PLAIN
            else Tensor
            if isinstance(part, Tensor)
            else of_kind(part, without_tensors(part))
            if isinstance(part, tuple)
            else part
            for part in parts
        ]
    )


def with_tensors(skeleton: tuple[Any, ...], tensors: list[Tensor]) -> tuple[Any, ...]:
    """The inverse of `without_tensors`; takes from the front of ``tensors``."""
    return tuple(
        tensors.pop(0)
        if part is Tensor
        else of_kind(part, with_tensors(part, tensors))
        if isinstance(part, tuple)
        else part
        for part in skeleton
    )


def of_kind(like: tuple[Any, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Other values in a tuple of the same class, which may name them."""
    return values if type(like) is tuple else type(like)(*values)
