"""F of a margin over keras.ops, with its derivatives from the book: slope, then curvature.

``x`` stands for ``exp(-|s|)``, so what it contributes is in the derivative along ``s`` already. No
power is differentiated: only from the third derivative on is a text, the one without a power.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from keras import backend, ops

from refocal.formula.in_keras import ACCURATE, BOOK

Tensor: TypeAlias = Any
OfMargin: TypeAlias = Callable[[Tensor, Tensor], Tensor]

DIFFERENTIATE = ("jax", "tensorflow", "torch")


def value(modulator: str, s: Tensor, x: Tensor, gamma: Any) -> Tensor:
    """F, by a key of `ACCURATE`."""
    book = ACCURATE[modulator]

    def slope(s: Tensor, x: Tensor) -> Tensor:
        return _derived(
            lambda s, x: book.slope(s, x, gamma), lambda s, x: BOOK.curvature(s, x, gamma)
        )(s, x)

    return _derived(lambda s, x: book.value(s, x, gamma), slope)(s, x)


def modulator_of(modulator: str, s: Tensor, x: Tensor, gamma: Any) -> Tensor:
    """``(1 - p)**gamma`` of a margin that is held constant."""
    book = ACCURATE[modulator]
    s, x = ops.stop_gradient(s), ops.stop_gradient(x)
    m = book.modulator(s, ops.log1p(x), book.complement(s, x), gamma)
    return ops.stop_gradient(m * ops.ones_like(s))  # that of gamma = 0 is a number


def _derived(function: OfMargin, along_s: OfMargin) -> OfMargin:
    """A function with a derivative of its own along s, where the backend takes derivatives."""
    if backend.backend() not in DIFFERENTIATE:
        return function

    def with_gradient(s: Tensor, x: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        def gradient(*arguments: Any, upstream: Any = None) -> tuple[Tensor, Tensor]:
            if upstream is None:  # torch names it, the others do not
                (upstream,) = arguments
            return upstream * along_s(s, x), ops.zeros_like(x)

        return function(s, x), gradient

    return ops.custom_gradient(with_gradient)
