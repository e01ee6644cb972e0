"""The losses of `refocal.jax` called as torch's are, so that one list of cases drives both."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

import refocal.jax

FUNCTIONS = {"sigmoid": refocal.jax.sigmoid_focal_loss, "softmax": refocal.jax.softmax_focal_loss}
FLOATING = {
    torch.float16: jnp.float16,
    torch.bfloat16: jnp.bfloat16,
    torch.float32: jnp.float32,
    torch.float64: jnp.float64,
}


def wide_if(dtype: torch.dtype) -> AbstractContextManager[Any]:
    """JAX has float64 only where it has been asked for."""
    return jax.enable_x64(dtype == torch.float64)


def given(value: Any) -> Any:
    """A tensor, alone or in a pair, as an array; everything else as it is."""
    if isinstance(value, tuple):
        return tuple(given(one) for one in value)
    if not isinstance(value, Tensor):
        return value
    value = value.detach().resolve_neg()
    if not value.is_floating_point():
        return jnp.asarray(value.numpy())
    wanted = FLOATING[value.dtype]
    kept = value.double() if value.dtype == torch.float64 else value.float()
    return jnp.asarray(kept.numpy()).astype(jax.dtypes.canonicalize_dtype(wanted))


def back(array: Any) -> Tensor:
    """An array as a tensor of the same dtype."""
    dtype = next(torch_ for torch_, own in FLOATING.items() if own == array.dtype)
    exact = np.float64 if dtype == torch.float64 else np.float32
    return torch.tensor(np.asarray(array.astype(exact))).to(dtype)


def evaluate(
    link: str, logits: Tensor, targets: Tensor, upstream: Tensor | None = None, **keywords: Any
) -> tuple[Tensor, Tensor]:
    """Loss and gradient; the upstream gradient is 1 unless given."""
    with wide_if(logits.dtype):
        settings = {name: given(value) for name, value in keywords.items()}
        y = given(targets)
        loss, pull = jax.vjp(lambda z: FUNCTIONS[link](z, y, **settings), given(logits))
        seed = jnp.ones_like(loss) if upstream is None else given(upstream).astype(loss.dtype)
        (gradient,) = pull(seed)
        return back(loss), back(gradient)
