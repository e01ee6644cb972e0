"""The softmax link in JAX: logits and targets to margins ``(s, x)``, as in `refocal.links`.

Differentiated by machine, to any order: of a class' margin 1 along its own logit and minus the
share of each rival among the rivals. No gather and no scatter, which XLA does not fuse.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from refocal.formula.in_jax import for_dtype


def class_mask(index: Array, logits: Array, axis: int) -> Array:
    """True at one class of every position; ``index`` has size 1 along ``axis``."""
    return lax.broadcasted_iota(index.dtype, logits.shape, axis) == index


def softmax_margin(logits: Array, index: Array, axis: int) -> tuple[Array, Array, Array]:
    """``s`` and ``x`` of one class per position, size 1 along ``axis``, and the mask of the class.

    A class index out of range, which cannot be refused while JAX traces, gives NaN.
    """
    mask = class_mask(index, logits, axis)
    own = jnp.sum(jnp.where(mask, logits, 0.0), axis, keepdims=True)
    inside = (index >= 0) & (index < logits.shape[axis])
    own = jnp.where(inside, own, jnp.nan)
    terms, top, base = _terms(jnp.where(mask, -jnp.inf, logits), axis)
    rest = jnp.sum(terms, axis, keepdims=True)
    s, x, _ = for_dtype(logits.dtype).against(own, base, rest, top, own - top)
    return s, x, mask


def softmax_margins(logits: Array, axis: int, idle: Array | bool = False) -> tuple[Array, Array]:
    """``s`` and ``x`` of every class, of the shape of ``logits``.

    The rivals' sum is the total minus one's own term, and for the top class, where that would
    cancel, a sum of its own relative to the largest rival. ``idle`` tells the classes of weight 0,
    whose margin may be indeterminate.
    """
    is_top = class_mask(jnp.argmax(logits, axis, keepdims=True), logits, axis)
    terms, first, base = _terms(logits, axis)
    beside, second, second_base = _terms(jnp.where(is_top, -jnp.inf, logits), axis)
    others = jnp.sum(jnp.where(is_top, 0.0, terms), axis, keepdims=True)
    own_top = jnp.sum(jnp.where(is_top, terms, 0.0), axis, keepdims=True)
    rest = jnp.where(is_top, jnp.sum(beside, axis, keepdims=True), (others + own_top) - terms)
    rival = jnp.where(is_top, second, first)
    gap = jnp.where((logits == jnp.inf) & idle, jnp.inf, logits - rival)
    book = for_dtype(logits.dtype)
    s, x, _ = book.against(logits, jnp.where(is_top, second_base, base), rest, rival, gap)
    return s, x


def _terms(logits: Array, axis: int) -> tuple[Array, Array, Array]:
    """exp(z_j - base), the largest logit, and the base: that logit, held finite and constant."""
    book = for_dtype(logits.dtype)
    top = jnp.max(logits, axis, keepdims=True)
    base = book.finite(lax.stop_gradient(top))
    return book.term(logits, base), top, base
