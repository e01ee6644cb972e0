"""Class indices in JAX: as integers, as masks, and the values that they name.

A gather is what costs least, but where a mesh has explicit axes (the only ones that `jax.make_mesh`
makes by itself now) JAX does not place what is gathered by itself.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def as_indices(targets: Array) -> Array:
    """Signed and wide enough for every index: -100 beside uint8 is not the class 156.

    Not by JAX' promotion, which has none for 4 bits, makes a float of 64 unsigned ones, and may be
    switched off.
    """
    wide = targets.dtype.itemsize == 8 or targets.dtype == jnp.uint32
    return targets.astype(jax.dtypes.canonicalize_dtype(jnp.int64) if wide else jnp.int32)


def class_mask(index: Array, logits: Array, axis: int) -> Array:
    """True at one class of every position; ``index`` has size 1 along ``axis``."""
    return lax.broadcasted_iota(index.dtype, logits.shape, axis) == index


def own_logit(logits: Array, index: Array, axis: int) -> Array:
    """The logit of every position's class; NaN where its index is out of range."""
    # not gathered where out of range, or counted from the end
    inside = (index >= 0) & (index < logits.shape[axis])
    of_each = jnp.expand_dims(jnp.where(inside, index, 0), axis)
    placed = placement(logits)
    if placed is not None and placed.spec[axis] is not None:  # of classes that are split
        own = jnp.sum(jnp.where(class_mask(of_each, logits, axis), logits, 0.0), axis)
    else:
        own = jnp.squeeze(jnp.take_along_axis(logits, of_each, axis), axis)
    return jnp.where(inside, own, jnp.nan)


def picked(parameter: Array, index: Array) -> Array:
    """The value of every position's class; of a class that there is none of, some value."""
    flat = parameter.reshape(-1)
    placed = placement(index)
    if placed is None:
        return jnp.take(flat, index, mode="clip")
    return flat.at[jnp.clip(index, 0, flat.size - 1)].get(out_sharding=placed)


def placement(array: Array) -> Any:
    """How an array lies on a mesh with explicit axes; None elsewhere."""
    sharding = getattr(jax.typeof(array), "sharding", None)
    kinds = getattr(getattr(sharding, "mesh", None), "axis_types", ())
    return sharding if jax.sharding.AxisType.Explicit in kinds else None
