"""The unreduced losses by the fastest way of the backend that Keras runs on.

On torch the kernels of `refocal.losses`, on JAX `refocal.jax`, elsewhere `refocal.keras.terms`.
What a backend does not need is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import backend, ops

from refocal.keras import terms
from refocal.keras.focal import Tensor
from refocal.keras.problem import Settings, computing_dtype, dtype_of, is_floating, shape_of


def sigmoid(logits: Tensor, targets: Tensor, settings: Settings, axis: int) -> Tensor:
    """The loss of every logit, in its dtype."""
    return _unreduced("sigmoid", logits, targets, settings, axis)


def softmax(logits: Tensor, targets: Tensor, settings: Settings, axis: int) -> Tensor:
    """The loss of every position, in the dtype of the logits; targets are indices or floating."""
    return _unreduced("softmax", logits, targets, settings, axis)


def _unreduced(link: str, logits: Tensor, targets: Tensor, settings: Settings, axis: int) -> Tensor:
    name = backend.backend()
    if name == "torch":
        from refocal import losses

        function = getattr(losses, f"{link}_focal_loss")
        return _by_torch(function, logits, targets, settings, axis, multiclass=link == "softmax")
    if name == "jax":
        from refocal import jax

        return _by_jax(getattr(jax, f"{link}_focal_loss"), logits, targets, settings, axis)
    return ops.cast(getattr(terms, link)(logits, targets, settings, axis), dtype_of(logits))


def _by_torch(
    function: Callable[..., Any],
    logits: Tensor,
    targets: Tensor,
    settings: Settings,
    axis: int,
    *,
    multiclass: bool,
) -> Tensor:
    """There the classes are on axis 1."""
    home = min(1, max(len(logits.shape) - 1, 0))
    shares = len(targets.shape) == len(logits.shape)
    loss = function(
        logits.movedim(axis, home) if logits.dim() else logits,
        targets.movedim(axis, home) if shares and targets.dim() else targets,
        **_keywords(settings, logits, targets),
        reduction="none",
    )
    return loss if multiclass or not loss.dim() else loss.movedim(home, axis)


def _by_jax(
    function: Callable[..., Any], logits: Tensor, targets: Tensor, settings: Settings, axis: int
) -> Tensor:
    keywords = _keywords(settings, logits, targets)
    axes = {"axis": axis} if logits.ndim else {}
    return function(logits, targets, **keywords, **axes, reduction="none")


def _keywords(settings: Settings, logits: Tensor, targets: Tensor) -> dict[str, Any]:
    """The settings as keywords of the functions, their lists as tensors."""
    dtype = computing_dtype(dtype_of(logits))

    def held(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(held, value))
        return ops.convert_to_tensor(value, dtype) if isinstance(value, list) else value

    keywords = {name: held(value) for name, value in settings._asdict().items()}
    del keywords["axis"]
    ignored = settings.ignore_index
    if ignored is not None and ignored != ignored and not is_floating(targets):
        keywords["ignore_index"] = None  # integers hold no NaN
    return keywords


def as_tensor(value: Any) -> Tensor:
    """A tensor of the backend, in the dtype that it has or that the backend has for it; dense."""
    if isinstance(value, (np.ndarray, np.generic)) and backend.backend() == "jax":
        import jax.numpy as jnp

        return jnp.asarray(value)  # Keras asks for float64 by name, of which JAX warns
    return ops.convert_to_tensor(value, sparse=False)


def checks_values() -> bool:
    """Whether the functions of this backend look into targets themselves."""
    return backend.backend() in ("torch", "jax")


def readable(tensor: Tensor) -> Any:
    """The values of a tensor, where reading them does not wait for a device; None elsewhere."""
    name = backend.backend()
    if 0 in shape_of(tensor):
        return None
    if name == "tensorflow":
        if not hasattr(tensor, "numpy"):  # of a graph
            return None
    elif name == "torch":
        from refocal.arguments import inspection

        if not inspection.readable(tensor):
            return None
        tensor = tensor.detach().cpu()  # Keras' own way warns of NumPy's
        return (tensor.double() if is_floating(tensor) else tensor).numpy()
    elif name == "jax":
        from refocal.jax import arguments

        if not arguments.readable(tensor):
            return None
    elif not isinstance(tensor, np.ndarray):
        return None
    held = ops.convert_to_numpy(tensor)
    return held.astype(np.float64) if is_floating(tensor) else held
