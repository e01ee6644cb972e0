"""F of a margin in JAX, with its derivatives from the book: slope, then curvature.

``value(modulator)`` is a function of ``(s, x, gamma)``. Its derivative along ``s`` is the book's
slope and that one's the book's curvature, in which no power is differentiated; only from the third
derivative on, and along gamma, the book's text is differentiated by machine. ``x`` stands for
``exp(-|s|)``, so what it contributes is in the derivative along ``s`` already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from refocal.formula.in_jax import ACCURATE, BOOK

OfMargin: TypeAlias = Callable[[Array, Array, Array], Array]


@cache
def value(modulator: str) -> OfMargin:
    """F, by a key of `ACCURATE`."""
    return _derived(ACCURATE[modulator].value, BOOK.value, _slope(modulator))


@cache
def _slope(modulator: str) -> OfMargin:
    return _derived(ACCURATE[modulator].slope, BOOK.slope, BOOK.curvature)


@cache
def modulator_of(modulator: str) -> OfMargin:
    """``(1 - p)**gamma`` of a margin that is held constant; gamma may be differentiated."""
    return _derived(_modulator(ACCURATE[modulator]), _modulator(BOOK), None)


def _modulator(book: Any) -> OfMargin:
    def modulator(s: Array, x: Array, gamma: Array) -> Array:
        m = book.modulator(s, jnp.log1p(x), book.complement(s, x), gamma)
        of_each: Array = m * jnp.ones_like(s)  # that of gamma = 0 is a number
        return of_each

    return modulator


def _derived(accurate: OfMargin, by_machine: OfMargin, along_s: OfMargin | None) -> OfMargin:
    """A function with a derivative of its own along s, and along gamma that of another text."""

    @jax.custom_jvp
    def function(s: Array, x: Array, gamma: Array) -> Array:
        return accurate(s, x, gamma)

    def rule(primals: Any, tangents: Any) -> tuple[Array, Array]:
        s, x, gamma = primals
        ds, _, dgamma = tangents
        out = function(s, x, gamma)
        tangent = jnp.zeros_like(out)
        if along_s is not None and not isinstance(ds, SymbolicZero):
            tangent = along_s(s, x, gamma) * ds
        if not isinstance(dgamma, SymbolicZero):
            _, more = jax.jvp(lambda one: by_machine(s, x, one), (gamma,), (dgamma,))
            tangent = tangent + more
        return out, tangent

    function.defjvp(rule, symbolic_zeros=True)
    return function
