"""Tensors: dtype, device, shape, and the alignment of parameters with the logits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refocal.arguments.inspection import UNSIGNED, extremes, readable
from refocal.arguments.numbers import alpha_number, gamma_number, round_to
from refocal.arguments.wording import (
    fail_alpha,
    fail_class_weights_type,
    fail_gamma,
    fail_gamma_count,
    fail_softmax_gamma_tuple,
    shape,
)
from refocal.problem import Number
from refocal.torch_state import is_freed, is_traced

TARGETS = frozenset(
    (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *UNSIGNED)
)


def check_logits(function: str, logits: Any) -> torch.dtype:
    """Floating logits; returns the dtype in which alpha and gamma are rounded and used."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"{function}: logits must be a tensor, got {type(logits).__name__}. "
            "Use torch.as_tensor."
        )
    if not logits.dtype.is_floating_point:
        raise TypeError(
            f"{function}: logits must be floating, got {logits.dtype}. Pass the network's raw "
            "output; if these are the labels, the arguments are swapped."
        )
    check_kind(function, "logits", logits)
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def class_axis(function: str, logits: Tensor) -> tuple[int, int]:
    """The class axis of softmax logits and its length."""
    if logits.dim() == 0:
        raise ValueError(
            f"{function}: logits must have a class axis, (C,) or (N, C, *), got shape (). "
            "For one binary decision use the sigmoid form."
        )
    axis = 0 if logits.dim() == 1 else 1
    if logits.shape[axis] == 0:
        raise ValueError(f"{function}: logits must have at least one class, got {shape(logits)}.")
    return axis, logits.shape[axis]


def check_targets_type(function: str, logits: Tensor, targets: Any) -> Tensor:
    """A real tensor on the logits' device; returned in a dtype that torch computes with."""
    if not isinstance(targets, Tensor):
        raise TypeError(
            f"{function}: targets must be a tensor, got {type(targets).__name__}. "
            "Use torch.as_tensor."
        )
    check_kind(function, "targets", targets)
    if targets.device != logits.device:
        check_device(function, "targets", targets, logits)
    dtype = targets.dtype
    if dtype.is_floating_point:
        return targets
    if dtype not in TARGETS:
        raise TypeError(f"{function}: targets must be bool, integer or floating, got {dtype}.")
    return targets.long() if dtype in UNSIGNED else targets


# each of these lies in memory in a way of its own
UNUSUAL_LAYOUTS = {
    "sparse": "Use .to_dense().",
    "mkldnn": "Use .to_dense().",
    "nested": "Pass its .values(), or pad it with torch.nested.to_padded_tensor and leave the "
    "padding out by sample_weight or ignore_index.",
}


def check_kind(function: str, argument: str, tensor: Tensor) -> None:
    """Dense: the elements lie where the strides tell."""
    if tensor.layout is torch.strided and not tensor.is_nested:
        return
    kind = "nested" if tensor.is_nested else "mkldnn" if tensor.is_mkldnn else "sparse"
    raise TypeError(
        f"{function}: {argument} must be a dense tensor, got a {kind} one. {UNUSUAL_LAYOUTS[kind]}"
    )


def check_memory(function: str, argument: str, tensor: Tensor) -> None:
    """Values that are there: torch reads at address 0 where a storage has been freed."""
    if type(tensor) is Tensor and is_freed(tensor):
        raise ValueError(
            f"{function}: {argument} must have its values in memory, got a tensor of shape "
            f"{shape(tensor)} whose storage has been freed, as FSDP frees parameters between "
            "their uses."
        )


def check_usable(function: str, argument: str, tensor: Tensor) -> None:
    """Dense, real numbers that are there."""
    check_kind(function, argument, tensor)
    if tensor.is_quantized or tensor.dtype.is_complex:
        way_out = " Use .dequantize()." if tensor.is_quantized else ""
        raise TypeError(f"{function}: {argument} must be real, got {tensor.dtype}.{way_out}")
    if not is_traced():
        check_memory(function, argument, tensor)


def check_device(function: str, argument: str, tensor: Tensor, logits: Tensor) -> None:
    """Usable, on the logits' device; 0-d tensors may live on the CPU, as everywhere in torch."""
    check_usable(function, argument, tensor)
    if tensor.device != logits.device and not (tensor.dim() == 0 and tensor.device.type == "cpu"):
        raise ValueError(
            f"{function}: {argument} must be on the device of logits, {logits.device}, got "
            f"{tensor.device}. Move it with .to(logits.device)."
        )


def alpha_pair(
    function: str, alpha: Any, logits: Tensor, dtype: torch.dtype
) -> tuple[Number, Number]:
    """Weights of positives and negatives: (alpha, 1 - alpha), or (1, 1) for None."""
    if alpha is None:
        return 1.0, 1.0
    if isinstance(alpha, Tensor):
        aligned = aligned_parameter(function, "alpha", alpha, logits, dtype)
        check_alpha_values(function, alpha, multiclass=False)
        return aligned, 1 - aligned
    rounded = round_to(alpha_number(function, alpha), dtype)
    return rounded, 1 - rounded


def class_weights(
    function: str, alpha: Any, logits: Tensor, classes: int, dtype: torch.dtype
) -> Tensor | None:
    """None or a tensor of C non-negative class weights."""
    if alpha is None:
        return None
    if not isinstance(alpha, Tensor):
        fail_class_weights_type(function, alpha, str(classes))
    check_device(function, "alpha", alpha, logits)
    if tuple(alpha.shape) != (classes,):
        raise ValueError(
            f"{function}: alpha must have shape ({classes},), one weight per class of logits "
            f"{shape(logits)}, got {shape(alpha)}."
        )
    weights = alpha.to(dtype)
    check_alpha_values(function, weights, multiclass=True)  # 1e300 is infinite in float32
    return weights


def check_alpha_values(function: str, alpha: Tensor, *, multiclass: bool) -> None:
    """In [0, 1], or for a softmax finite and >= 0, where the values may be read."""
    if not readable(alpha):
        return
    low, high = extremes(alpha)
    if multiclass:
        if not (low >= 0 and high < math.inf):
            raise ValueError(
                f"{function}: alpha must be finite and >= 0 for every class, got "
                f"{low if not low >= 0 else high}."
            )
    elif not (low >= 0 and high <= 1):
        fail_alpha(function, low if not low >= 0 else high)


def check_gamma_values(function: str, gamma: Tensor) -> None:
    """Finite and >= 0, where the values may be read."""
    if gamma.dtype.is_complex:
        raise TypeError(f"{function}: gamma must be real, got {gamma.dtype}.")
    if readable(gamma):
        low, high = extremes(gamma)
        if not (low >= 0 and high < math.inf):
            fail_gamma(function, low if not low >= 0 else high)


def gamma_pair(
    function: str, gamma: Any, logits: Tensor, dtype: torch.dtype
) -> tuple[Number, Number]:
    """Exponents of positives and negatives."""
    if isinstance(gamma, tuple):
        if len(gamma) != 2:
            fail_gamma_count(function, len(gamma))
        positive, negative = (one_gamma(function, one, logits, dtype) for one in gamma)
        return positive, negative
    one = one_gamma(function, gamma, logits, dtype)
    return one, one


def one_gamma(function: str, gamma: Any, logits: Tensor, dtype: torch.dtype) -> Number:
    """A sigmoid exponent: a number, or a tensor aligned with the logits."""
    if isinstance(gamma, Tensor):
        aligned = aligned_parameter(function, "gamma", gamma, logits, dtype)
        check_gamma_values(function, aligned)
        return aligned
    return round_to(gamma_number(function, gamma, multiclass=False), dtype)


def softmax_gamma(
    function: str,
    gamma: Any,
    logits: Tensor,
    targets: Tensor,
    positions: tuple[int, ...],
    dtype: torch.dtype,
) -> Number:
    """A softmax exponent: a number, or a tensor that broadcasts to the logits."""
    if isinstance(gamma, tuple):
        fail_softmax_gamma_tuple(function)
    if not isinstance(gamma, Tensor):
        return round_to(gamma_number(function, gamma, multiclass=True), dtype)
    check_device(function, "gamma", gamma, logits)
    check_gamma_values(function, gamma.to(dtype))
    axis = 0 if logits.dim() == 1 else 1
    classes = logits.shape[axis]
    exponent: Tensor = gamma.to(dtype)
    if exponent.dim() == 0:
        return exponent
    if tuple(exponent.shape) == (classes,):
        return exponent.view([-1 if one == axis else 1 for one in range(logits.dim())])
    if tuple(exponent.shape) == positions:
        return exponent.unsqueeze(axis)
    if exponent.shape == logits.shape and targets.dtype.is_floating_point:
        return exponent
    raise ValueError(
        f"{function}: gamma must be 0-d, ({classes},) per class or {tuple(targets.shape)} like "
        f"targets, got {shape(gamma)}."
    )


def aligned_parameter(
    function: str, argument: str, value: Tensor, logits: Tensor, dtype: torch.dtype
) -> Tensor:
    """A sigmoid alpha or gamma: 0-d, (C,) along the class axis, or full ndim that broadcasts."""
    if value.dtype.is_complex:
        raise TypeError(f"{function}: {argument} must be real, got {value.dtype}.")
    check_device(function, argument, value, logits)
    value = value.to(dtype)
    if value.dim() == 0:
        return value
    if value.dim() == logits.dim() and all(
        size in (1, full) for size, full in zip(value.shape, logits.shape, strict=True)
    ):
        return value
    if value.dim() == 1 and logits.dim() > 1 and value.shape[0] == logits.shape[1]:
        return value.view([-1 if axis == 1 else 1 for axis in range(logits.dim())])
    layouts = "0-d"
    if logits.dim():
        classes = logits.shape[min(1, logits.dim() - 1)]
        layouts = f"0-d, ({classes},) per class, or {logits.dim()}-d and broadcastable,"
    hint = ""
    if value.dim() == 1 and logits.dim() > 2 and value.shape[0] in logits.shape[2:]:
        # the rule is axis 1: (B, Q, C) logits, as of a detection transformer, have queries there
        axis = logits.shape[2:].index(value.shape[0]) + 2
        view = ", ".join("-1" if one == axis else "1" for one in range(logits.dim()))
        if axis == logits.dim() - 1:
            view = ", ".join(["1"] * axis + [str(value.shape[0])])
        hint = f" If the classes of these logits are on axis {axis}, use {argument}.view({view})."
    raise ValueError(
        f"{function}: {argument} must be {layouts} for logits {shape(logits)}, got {shape(value)}."
        f"{hint}"
    )


def aligned_weight(
    function: str, weight: Any, positions: tuple[int, ...], logits: Tensor, dtype: torch.dtype
) -> Tensor | None:
    """sample_weight with trailing axes of size 1, so that it broadcasts to the loss."""
    if weight is None:
        return None
    if not isinstance(weight, Tensor):
        raise TypeError(
            f"{function}: sample_weight must be None or a tensor, got {type(weight).__name__}. "
            "Use torch.as_tensor."
        )
    check_device(function, "sample_weight", weight, logits)
    if tuple(weight.shape) != positions[: weight.dim()]:
        raise ValueError(
            f"{function}: sample_weight must have the shape {positions} of the loss or of its "
            f"leading axes, got {shape(weight)}. For one weight per class use alpha."
        )
    return weight.to(dtype)[(...,) + (None,) * (len(positions) - weight.dim())]
