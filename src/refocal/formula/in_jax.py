"""The book over jax.numpy: under jit, grad and vmap, and on any device.

"compensated" is the accurate general modulator, whose derivatives are the book's own slope and
curvature; "exponential" may be differentiated by machine, to any order.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from refocal.formula.binding import bind, modulator_for
from refocal.formula.focal import EXACT


def _upper(a: Array) -> Array:
    """The leading half of a number's digits, so that products of two halves are exact.

    By its bits, and not as Veltkamp did by a product with a power of two plus one: a compiler that
    fuses that product with its difference takes the splitting away.
    """
    bits, mask = (
        (jnp.uint64, 0xFFFFFFFFF8000000) if a.dtype == jnp.float64 else (jnp.uint32, 0xFFFFF000)
    )
    kept = jax.lax.bitcast_convert_type(a, bits) & jnp.asarray(mask, bits)
    return jax.lax.bitcast_convert_type(kept, a.dtype)


def fma(a: Array, b: Array, c: Array) -> Array:
    """The sum a * b + c with the product's rounding error kept; XLA has no such instruction.

    Exact where c is about -a * b, as in the compensated modulator (Dekker, "A floating-point
    technique for extending the available precision", 1971).

    There c is the rounded product itself, and LLVM, which XLA lets fuse any product with any sum,
    could take it unrounded here and rounded elsewhere; whether it does depends on shapes and on
    what stands beside. It does not look through a comparison, so c passes one.
    """
    least = jnp.finfo(c.dtype).min
    c = jnp.where(c < least, least, c)
    a_upper, b_upper = _upper(a), _upper(b)
    a_lower, b_lower = a - a_upper, b - b_upper
    upper = a_upper * b_upper + c
    return (upper + (a_upper * b_lower + a_lower * b_upper)) + a_lower * b_lower


# None in versions of JAX that have no name for it
_HIGHEST = getattr(getattr(jax.lax, "AccuracyMode", None), "HIGHEST", None)


def exp(a: Array) -> Array:
    """The most accurate that a device has: on TPUs of any age within 1.5 units, not up to 116.

    On CPUs the same bits, as JAX' table says (https://docs.jax.dev/en/latest/accuracy.html).
    """
    return jax.lax.exp(a, accuracy=_HIGHEST if a.dtype == jnp.float32 else None)


OPERATIONS: dict[str, Any] = {
    "exp": exp,
    "log1p": jnp.log1p,
    "log": jnp.log,
    "where": jnp.where,
    "power": jnp.power,
    "LARGEST": float(jnp.finfo(jnp.float32).max),
}

# of every gamma that has one its exact modulator; of all others "compensated"
ACCURATE: dict[str, SimpleNamespace] = {
    **{
        modulator: bind(OPERATIONS, modulator)
        for modulator in (modulator_for(gamma, "") for gamma in EXACT)
    },
    "compensated": bind({**OPERATIONS, "fma": fma}, "compensated"),
}
# what depends on no modulator, and what may be differentiated
BOOK = bind(OPERATIONS, "exponential")
DOUBLE = bind({**OPERATIONS, "LARGEST": float(jnp.finfo(jnp.float64).max)}, "exponential")


def for_dtype(dtype: Any) -> SimpleNamespace:
    """The book of a computing dtype, for what holds numbers within it."""
    return DOUBLE if dtype == jnp.float64 else BOOK
