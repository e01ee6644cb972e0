"""The softmax link in JAX: logits and targets to margins ``(s, x)``, as in `refocal.links`.

Differentiable to any order. Nothing is scattered, which XLA does not fuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from refocal.formula.in_jax import for_dtype
from refocal.jax.classes import class_mask, own_logit
from refocal.jax.problem import Number


def softmax_margin(
    logits: Array, index: Array, axis: int, left_out: Array | bool = False
) -> tuple[Array, Array]:
    """``s`` and ``x`` of one class per position, of the shape of ``index``.

    A class index out of range, which cannot be refused while JAX traces, gives NaN. The margin of a
    position that is ``left_out`` is infinite, whatever its logits are, and has no derivative.
    """
    s, x = _margin(axis)(logits, index, jnp.broadcast_to(left_out, index.shape))
    return s, x


@cache
def _margin(axis: int) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
    """The margin with its derivative: 1 along the class' own logit, minus each rival's share.

    By machine it would run through the largest rival as well, which costs more passes over the
    logits; where rivals are infinite their shares are even, as they would be there.

    Four passes: the largest logit, the rivals' terms, their sum, the gradient. The largest of all
    and not of the rivals: without the own one, what a compiler's fastest maximum reads would have
    to be written first. What there is one of per position has no class axis: XLA does not write
    loops over a last axis of size 1 in vectors.
    """

    @jax.custom_jvp
    def margin(logits: Array, index: Array, left_out: Array) -> tuple[Array, Array]:
        s, x, _, _ = parts(logits, index, left_out)
        return s, x

    def parts(logits: Array, index: Array, left_out: Array) -> tuple[Array, Array, Array, Array]:
        book = for_dtype(logits.dtype)
        own = jnp.where(left_out, 0.0, own_logit(logits, index, axis))
        top = lax.stop_gradient(jnp.max(logits, axis))
        # Below an own logit that is the largest, so that terms which are subnormal beside it, and
        # taken for 0, are together less than one subnormal number.
        lower = jnp.where(lax.stop_gradient(own) == top, _log(4 * logits.shape[axis]), 0.0)
        base = jnp.where(left_out, 0.0, book.finite(top) - lower)
        of_each = partial(jnp.expand_dims, axis=axis)
        no_rival = _no_rival(of_each(index), of_each(left_out), logits, axis)
        terms = book.told_term(jnp.where(no_rival, -jnp.inf, logits), of_each(base))
        rest = jnp.sum(terms, axis)
        infinite = jnp.where(book.has_infinite(rest), jnp.inf, base)
        s, x, rest = book.against(own, base, rest, infinite, own - jnp.inf)
        mask = class_mask(of_each(index), logits, axis)
        return s, x, jnp.where(mask, of_each(-rest), terms), -rest

    @margin.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        s, x, terms, scale = parts(*primals)
        # One division per position, and last: what a compiler computes once, and not per class.
        ds = jnp.sum(terms * tangents[0], axis) / scale
        return (s, x), (ds, ds * jnp.where(s >= 0, -x, x))

    return margin


def _log(count: Any) -> Number:
    """The logarithm of a size, also of one that an exported program leaves open."""
    return math.log(count) if isinstance(count, int) else jnp.log(jnp.asarray(count, jnp.float32))


def _no_rival(index: Array, left_out: Array, logits: Array, axis: int) -> Array:
    """True at the own class, and at every class of what is left out.

    By how far a class is from the own one, and not by ``mask | left_out``: a loop over a handful of
    classes that asks for a truth of the whole position is not written in vectors by XLA.
    """
    away = lax.broadcasted_iota(index.dtype, logits.shape, axis) - index
    return away.astype(jnp.uint32) <= jnp.where(left_out, jnp.uint32(2**32 - 1), jnp.uint32(0))


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
