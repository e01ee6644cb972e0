"""What checks ask of a tensor, whatever its framework: the same question gets the same message.

A framework's room registers its kind of tensor. Where a check runs at every call, that room asks
its tensors itself, and comes here with what it has found, to say what is wrong.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Facts(NamedTuple):
    """What messages say of a tensor.

    Attributes:
        shape: its sizes.
        dtype: as its framework writes it.
        floating: whether it holds floating-point numbers.
        device: as its framework writes it.
    """

    shape: tuple[int, ...]
    dtype: str
    floating: bool
    device: str


class Adapter(Protocol):
    """A framework's answers."""

    def facts(self, tensor: Any) -> Facts:
        """What messages say of it."""

    def check_usable(self, function: str, argument: str, tensor: Any) -> None:
        """Refuses what no loss can read, such as sparse or complex tensors."""

    def check_real(self, function: str, argument: str, tensor: Any) -> None:
        """Refuses complex numbers."""

    def ends(self, tensor: Any) -> tuple[Any, Any] | None:
        """The smallest and the largest value; None where they may not be read."""


_ADAPTERS: dict[str, tuple[type, Adapter]] = {}


def register(framework: str, kind: type, adapter: Adapter) -> None:
    """Makes a framework's class of tensors known."""
    _ADAPTERS[framework] = (kind, adapter)


def adapter_of(framework: str, value: object) -> Adapter | None:
    """The answers for a value, or None if it is no tensor of the framework.

    Not of another one either, whose tensors a call would pass on until something else fails.
    """
    kind, adapter = _ADAPTERS[framework]
    return adapter if isinstance(value, kind) else None


def is_foreign(value: object) -> bool:
    """Whether a value that is no tensor of the framework looks like one of another."""
    return hasattr(value, "shape") and hasattr(value, "dtype")
