"""Tensors: dtype, device, shape, and the alignment of parameters with the logits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refocal.arguments.adapter import Facts, register
from refocal.arguments.inspection import UNSIGNED, extremes, readable
from refocal.arguments.values import (
    alpha_number,
    check_alpha_range,
    check_gamma_range,
    fail_class_weights_type,
    fail_gamma_count,
    fail_gamma_pair,
    gamma_number,
    ignored_integer,
    is_nan,
)
from refocal.arguments.wording import (
    fail_class_weights_shape,
    fail_integer_logits,
    fail_scalar_logits,
    fail_softmax_gamma_shape,
    fail_weight_shape,
)
from refocal.messages import refuse
from refocal.problem import Number
from refocal.torch_state import is_freed, is_traced


def facts(tensor: Tensor) -> Facts:
    """What messages say of a tensor."""
    return Facts(
        tuple(tensor.shape),
        str(tensor.dtype),
        tensor.dtype.is_floating_point,
        str(tensor.device),
    )


def shape(tensor: Tensor) -> tuple[int, ...]:
    """Sizes as they are written."""
    return tuple(tensor.shape)


TARGETS = frozenset(
    (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *UNSIGNED)
)


def check_logits(function: str, logits: Any) -> torch.dtype:
    """Floating logits; returns the dtype in which alpha and gamma are rounded and used."""
    if not isinstance(logits, Tensor):
        raise refuse(
            function,
            "logits",
            "be a tensor",
            type(logits).__name__,
            "Use torch.as_tensor.",
            TypeError,
        )
    if not logits.dtype.is_floating_point:
        fail_integer_logits(function, logits.dtype)
    check_kind(function, "logits", logits)
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def class_axis(function: str, logits: Tensor) -> tuple[int, int]:
    """The class axis of softmax logits and its length."""
    if logits.dim() == 0:
        fail_scalar_logits(function)
    axis = 0 if logits.dim() == 1 else 1
    if logits.shape[axis] == 0:
        raise refuse(function, "logits", "have at least one class", shape(logits))
    return axis, logits.shape[axis]


def check_targets_type(function: str, logits: Tensor, targets: Any) -> Tensor:
    """A real tensor on the logits' device; returned in a dtype that torch computes with."""
    if not isinstance(targets, Tensor):
        raise refuse(
            function,
            "targets",
            "be a tensor",
            type(targets).__name__,
            "Use torch.as_tensor.",
            TypeError,
        )
    check_kind(function, "targets", targets)
    if targets.device != logits.device:
        check_device(function, "targets", targets, logits)
    dtype = targets.dtype
    if dtype.is_floating_point:
        return targets
    if dtype not in TARGETS:
        raise refuse(function, "targets", "be bool, integer or floating", dtype, kind=TypeError)
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
    raise refuse(
        function, argument, "be a dense tensor", f"a {kind} one", UNUSUAL_LAYOUTS[kind], TypeError
    )


def check_memory(function: str, argument: str, tensor: Tensor) -> None:
    """Values that are there: torch reads at address 0 where a storage has been freed."""
    if type(tensor) is Tensor and is_freed(tensor):
        raise refuse(
            function,
            argument,
            "have its values in memory",
            (
                f"a tensor of shape {shape(tensor)} whose storage has been freed, as FSDP frees "
                "parameters between their uses"
            ),
        )


def check_usable(function: str, argument: str, tensor: Tensor) -> None:
    """Dense, real numbers that are there."""
    check_kind(function, argument, tensor)
    if tensor.is_quantized or tensor.dtype.is_complex:
        way_out = "Use .dequantize()." if tensor.is_quantized else ""
        raise refuse(function, argument, "be real", tensor.dtype, way_out, TypeError)
    if not is_traced():
        check_memory(function, argument, tensor)


def check_real(function: str, argument: str, tensor: Tensor) -> None:
    """Not complex."""
    if tensor.dtype.is_complex:
        raise refuse(function, argument, "be real", tensor.dtype, kind=TypeError)


def check_device(function: str, argument: str, tensor: Tensor, logits: Tensor) -> None:
    """Usable, on the logits' device; 0-d tensors may live on the CPU, as everywhere in torch."""
    check_usable(function, argument, tensor)
    if tensor.device != logits.device and not (tensor.dim() == 0 and tensor.device.type == "cpu"):
        raise refuse(
            function,
            argument,
            f"be on the device of logits, {logits.device}",
            tensor.device,
            "Move it with .to(logits.device).",
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
        fail_class_weights_shape(function, classes, shape(logits), shape(alpha))
    weights = alpha.to(dtype)
    check_alpha_values(function, weights, multiclass=True)  # 1e300 is infinite in float32
    return weights


def check_alpha_values(function: str, alpha: Tensor, *, multiclass: bool) -> None:
    """Checks alpha: in [0, 1], or for a softmax finite and >= 0, where values may be read."""
    if readable(alpha):
        check_alpha_range(function, *extremes(alpha), multiclass=multiclass)


def check_gamma_values(function: str, gamma: Tensor) -> None:
    """Finite and >= 0, where the values may be read."""
    check_real(function, "gamma", gamma)
    if readable(gamma):
        check_gamma_range(function, *extremes(gamma))


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
        fail_gamma_pair(function)
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
    fail_softmax_gamma_shape(function, classes, shape(targets), shape(gamma))


def aligned_parameter(
    function: str, argument: str, value: Tensor, logits: Tensor, dtype: torch.dtype
) -> Tensor:
    """A sigmoid alpha or gamma: 0-d, (C,) along the class axis, or full ndim that broadcasts."""
    check_real(function, argument, value)
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
        hint = f"If the classes of these logits are on axis {axis}, use {argument}.view({view})."
    raise refuse(function, argument, f"be {layouts} for logits {shape(logits)}", shape(value), hint)


def aligned_weight(
    function: str, weight: Any, positions: tuple[int, ...], logits: Tensor, dtype: torch.dtype
) -> Tensor | None:
    """sample_weight with trailing axes of size 1, so that it broadcasts to the loss."""
    if weight is None:
        return None
    if not isinstance(weight, Tensor):
        raise refuse(
            function,
            "sample_weight",
            "be None or a tensor",
            type(weight).__name__,
            "Use torch.as_tensor.",
            TypeError,
        )
    check_device(function, "sample_weight", weight, logits)
    if tuple(weight.shape) != positions[: weight.dim()]:
        fail_weight_shape(function, positions, shape(weight))
    return weight.to(dtype)[(...,) + (None,) * (len(positions) - weight.dim())]


# ---------------------------------------------------------------------------------------------
# what a dtype holds


def ignored_target(function: str, ignore_index: Any, dtype: torch.dtype) -> float | None:
    """The target value that is ignored as targets of a dtype hold it, or None where none can be.

    One rule for every comparison: floating targets hold the nearest number of their dtype (-9984
    for -9999 in bfloat16), and an integer that an integer dtype cannot hold equals no target (-100
    beside uint8 is not the class 156).
    """
    if ignore_index is None:
        return None
    if dtype.is_floating_point:
        if is_nan(ignore_index):
            return math.nan
        return round_to(float(ignored_integer(function, ignore_index)), dtype)
    value = ignored_integer(function, ignore_index)
    if dtype == torch.bool:
        return value if value in (0, 1) else None
    return value if holds(dtype, value) else None


def holds(dtype: torch.dtype, value: int) -> bool:
    """Whether an integer dtype can represent a value."""
    if dtype == torch.int64:  # the usual one, and asking takes longer than comparing
        return -(2**63) <= value < 2**63
    limits = torch.iinfo(dtype)
    return limits.min <= value <= limits.max


def round_to(value: float, dtype: torch.dtype) -> float:
    """The nearest number of a floating dtype: gamma 2.1 kept in double costs 25 ulp.

    By arithmetic, because torch.compile of older versions breaks the graph at `struct`.
    """
    if dtype == torch.float64:
        return value
    bits, lowest, largest = SHAPES.get(dtype) or shape_of(dtype)
    # as many bits as the dtype has, or fewer among its subnormal numbers
    exponent = max(math.frexp(value)[1], lowest) - bits
    rounded = math.ldexp(round(math.ldexp(value, -exponent)), exponent)
    return rounded if -largest <= rounded <= largest else math.copysign(math.inf, rounded)


def shape_of(dtype: torch.dtype) -> tuple[int, int, float]:
    """Bits of a floating dtype, the exponent of its smallest normal number, its largest number."""
    limits = torch.finfo(dtype)
    return 2 - math.frexp(limits.eps)[1], math.frexp(limits.tiny)[1], limits.max


# asking torch each time takes as long as the rounding
SHAPES = {dtype: shape_of(dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)}


# ---------------------------------------------------------------------------------------------
# for checks that know no framework


class Torch:
    """torch's answers."""

    facts = staticmethod(facts)
    check_usable = staticmethod(check_usable)
    check_real = staticmethod(check_real)

    @staticmethod
    def ends(tensor: Tensor) -> tuple[Any, Any] | None:
        """The smallest and the largest value, where they may be read."""
        return extremes(tensor) if readable(tensor) else None


register("torch", Tensor, Torch())
