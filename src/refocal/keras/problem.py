"""What a call of a loss is once it has been checked, in Keras; see `refocal.problem`."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from keras import backend, ops

from refocal.keras.focal import Tensor

Number: TypeAlias = float | Tensor


class Settings(NamedTuple):
    """What a loss was set up with, checked; a list has one number per class.

    Attributes:
        alpha: of a sigmoid None, a number or a list, of a softmax None or a list.
        gamma: a number, a list, or of a sigmoid a pair of them.
        ignore_index: the target that is left out, or None.
        label_smoothing: in [0, 1].
        detach_modulator: whether the modulator is held constant.
        axis: the class axis, as given.
    """

    alpha: float | list[float] | None
    gamma: Any
    ignore_index: float | None
    label_smoothing: float
    detach_modulator: bool
    axis: int


def computing_dtype(dtype: str) -> str:
    """float64 for float64, float32 for all others."""
    return "float64" if dtype == "float64" else "float32"


def dtype_of(tensor: Tensor) -> str:
    """By its name."""
    return str(backend.standardize_dtype(tensor.dtype))


def is_floating(tensor: Tensor) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return bool(backend.is_float_dtype(dtype_of(tensor)))


def is_kept(targets: Tensor, value: float | None) -> Tensor | None:
    """Tells where targets are not the ignored value, NaN is NaN; None where nothing is ignored."""
    if value is None:
        return None
    if not is_floating(targets):
        targets = as_integers(targets)
        if value != value or not abs(value) < LARGEST_INTEGER[dtype_of(targets)]:
            return ops.ones_like(targets, dtype="bool")  # these cannot hold it
        return ops.not_equal(targets, ops.convert_to_tensor(int(value), dtype_of(targets)))
    if value != value:
        return ops.logical_not(ops.isnan(targets))
    return ops.not_equal(targets, ops.convert_to_tensor(value, dtype_of(targets)))


LARGEST_INTEGER = {"int32": 2**31, "int64": 2**63}


def as_integers(targets: Tensor) -> Tensor:
    """Signed and wide enough for every index: -100 beside uint8 is not the class 156."""
    dtype = dtype_of(targets)
    wide = dtype in ("int64", "uint32", "uint64") and backend.backend() != "jax"
    return ops.cast(targets, "int64" if wide else "int32")


# How far a soft label may lie outside of [0, 1] by rounding alone; see `refocal.problem`.
ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
ROUNDING_OF_SINGLES = 2.0**-21


def shares(targets: Tensor, dtype: str) -> Tensor:
    """Targets in the computing dtype; what only rounding has put outside of [0, 1] is moved in."""
    y = ops.cast(targets, dtype)
    if not is_floating(targets):
        return y
    inside = ops.where(y > 1, 1.0, ops.where(y < 0, 0.0, y))
    slack = ROUNDING.get(dtype_of(targets), ROUNDING_OF_SINGLES)
    return ops.where(ops.abs(y - inside) <= slack, inside, y)


def shape_of(tensor: Tensor) -> tuple[int | None, ...]:
    """Its sizes; None where a graph does not know one."""
    return tuple(tensor.shape)


def along(values: Any, axis: int, like: Tensor) -> Any:
    """A setting beside a tensor: a number rounded as its dtype has it, a list along the classes."""
    dtype = computing_dtype(dtype_of(like))
    if not isinstance(values, list):
        return values if values is None else float(np.dtype(dtype).type(values))
    shape = [-1 if one == axis else 1 for one in range(len(like.shape))]
    return ops.reshape(ops.convert_to_tensor(values, dtype), shape)
