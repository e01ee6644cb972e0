"""The losses of `refocal.keras` called as torch's are, so that one list of cases drives them.

By whatever backend Keras runs on in this process. What a loss in Keras has no setting for, such as
a gamma for every element, is not driven: see `drives`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import torch
from torch import Tensor

import refocal.keras

LOSSES = {"sigmoid": refocal.keras.SigmoidFocalLoss, "softmax": refocal.keras.SoftmaxFocalLoss}
REDUCTIONS = {"mean": "sum_over_batch_size", "sum": "sum", "none": None}
UNUSED = -77  # ignored, but in no targets: a sigmoid then has a loss for every logit
BACKEND = keras.backend.backend()


def drives(logits: Tensor, **keywords: Any) -> bool:
    """Whether Keras' losses have these keywords."""
    for name in ("alpha", "gamma"):
        value = keywords.get(name)
        tensors = [one for one in (value if isinstance(value, tuple) else (value,)) if is_list(one)]
        if any(logits.dim() < 2 or one.shape != logits.shape[1:2] for one in tensors):
            return False
    plain = {"alpha", "gamma", "reduction", "sample_weight", "ignore_index"}
    known = plain | {"label_smoothing", "detach_modulator"}
    return set(keywords) <= known


def is_list(value: Any) -> bool:
    """A tensor that is not a number."""
    return isinstance(value, Tensor) and value.dim() > 0


def given(tensor: Tensor) -> Any:
    """A tensor as one of the backend."""
    value = tensor.detach().contiguous()
    dtype = str(value.dtype).removeprefix("torch.")
    if not value.is_floating_point():
        return keras.ops.convert_to_tensor(value.numpy())
    exact = value.double() if dtype == "float64" else value.float()
    return keras.ops.cast(keras.ops.convert_to_tensor(exact.numpy()), dtype)


def back(tensor: Any) -> Tensor:
    """A tensor of the backend as one of torch."""
    if isinstance(tensor, Tensor):
        return tensor.detach()
    dtype = getattr(torch, keras.backend.standardize_dtype(tensor.dtype))
    return torch.tensor(
        np.asarray(keras.ops.cast(tensor, "float64" if dtype == torch.float64 else "float32"))
    ).to(dtype)


def evaluate(
    link: str, logits: Tensor, targets: Tensor, upstream: Tensor | None = None, **keywords: Any
) -> tuple[Tensor, Tensor]:
    """Loss and gradient; the upstream gradient is 1 unless given."""
    settings = dict(keywords)
    weight = settings.pop("sample_weight", None)
    reduction = REDUCTIONS[settings.pop("reduction", "mean")]
    if link == "sigmoid":
        settings.setdefault("ignore_index", UNUSED)
    dtype = str(logits.dtype).removeprefix("torch.")
    loss = LOSSES[link](
        from_logits=True,
        axis=1 if logits.dim() > 1 else -1,
        reduction=reduction,
        dtype=dtype,
        **settings,
    )
    y = given(targets)
    w = None if weight is None else given(weight)
    return differentiated(lambda z: loss(y, z, w), given(logits), upstream)


def differentiated(function: Any, z: Any, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Value and gradient by the backend."""
    seed = None if upstream is None else given(upstream)
    if BACKEND == "torch":
        z = z.clone().requires_grad_()
        value = function(z)
        (gradient,) = torch.autograd.grad(
            value, z, torch.ones_like(value) if seed is None else seed
        )
    elif BACKEND == "jax":
        import jax

        value, pull = jax.vjp(function, z)
        (gradient,) = pull(jax.numpy.ones_like(value) if seed is None else seed)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(z)
            value = function(z)
        gradient = tape.gradient(value, z, seed)
    return back(value), back(gradient)
