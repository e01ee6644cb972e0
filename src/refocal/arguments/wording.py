"""The messages that several checks give, and how values are quoted in them."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from torch import Tensor

from refocal.arguments.inspection import is_number
from refocal.arguments.reals import shown


def shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def quoted(choices: tuple[str, ...]) -> str:
    return ", ".join(f'"{choice}"' for choice in choices)


def article(value: Any) -> str:
    """What a value is, with the value itself where it is short."""
    return f"the {type(value).__name__} {shown(value)}" if is_number(value) else type(value).__name__


def fail_choice(
    function: str, argument: str, choices: tuple[str, ...], value: Any, more: str = ""
) -> NoReturn:
    more = f", {more}" if more else ""
    raise ValueError(
        f"{function}: {argument} must be one of {quoted(choices)}{more}, got {shown(value) if is_number(value) else repr(value)}."
    )


def fail_implementation(function: str, impl: str, reason: str) -> NoReturn:
    raise ValueError(f'{function}: impl="{impl}" {reason} Use impl="auto".')


def fail_alpha(function: str, value: float) -> NoReturn:
    hint = " To switch the weighting off use alpha=None." if value < 0 else ""
    raise ValueError(f"{function}: alpha must be in [0, 1], got {value}.{hint}")


def fail_class_weights_type(function: str, alpha: Any, classes: str) -> NoReturn:
    way_out = "Use torch.tensor(...)."
    if is_number(alpha):
        way_out = (
            "One number has no agreed meaning for several classes. To weigh a background class 0 "
            "use torch.tensor([1 - a, a, a, ...]); to scale the whole loss, multiply it."
        )
    raise TypeError(
        f"{function}: alpha must be None or a tensor of shape ({classes},), got {article(alpha)}. "
        f"{way_out}"
    )


def fail_gamma_count(function: str, count: int) -> NoReturn:
    raise ValueError(
        f"{function}: gamma must be a number, a tensor or a tuple of exactly two, (gamma_pos, "
        f"gamma_neg), got {count} values. For one value per class use a tensor."
    )


def fail_softmax_gamma_tuple(function: str) -> NoReturn:
    raise TypeError(
        f"{function}: gamma must be a number >= 0 or a tensor, got tuple. A pair (gamma_pos, "
        "gamma_neg) belongs to sigmoid_focal_loss; for one value per class use a tensor."
    )


def fail_gamma(function: str, value: float) -> NoReturn:
    raise ValueError(f"{function}: gamma must be finite and >= 0, got {shown(value)}.")


def fail_normalizer(function: str, value: float) -> NoReturn:
    raise ValueError(
        f"{function}: normalizer must be > 0 and finite, got {value}. "
        "For a count that may be zero pass max(1, count)."
    )


def fail_target_range(function: str, value: float, link: str) -> NoReturn:
    label = link == "sigmoid" and value == int(value) if math.isfinite(value) else False
    hint = (
        f" If {int(value)} marks what to leave out, pass ignore_index={int(value)}."
        if label
        else " Probabilities are expected, not logits or percentages."
    )
    raise ValueError(f"{function}: targets must be in [0, 1], got {value}.{hint}")


def fail_class_index(function: str, value: int, classes: int) -> NoReturn:
    raise ValueError(
        f"{function}: targets must be class indices from 0 to {classes - 1}, got {value}. "
        f"If {value} marks what to leave out, pass ignore_index={value}."
    )


def fail_sigmoid_shape(function: str, logits: Tensor, targets: Tensor) -> NoReturn:
    by_class = (
        logits.dim() >= 2
        and targets.shape == logits.shape[:1] + logits.shape[2:]
        and not targets.dtype.is_floating_point
    )
    hint = ""
    if by_class:
        hint = " For class indices use softmax_focal_loss."
    elif logits.numel() == targets.numel():
        hint = " Reshape one of them: broadcasting here would pair every logit with every target."
    raise ValueError(
        f"{function}: targets must have the shape of logits, got {shape(targets)} and "
        f"{shape(logits)}.{hint}"
    )


def fail_softmax_shape(
    function: str, logits: Tensor, targets: Tensor, positions: tuple[int, ...]
) -> NoReturn:
    hint = ""
    if targets.dtype.is_floating_point:
        if tuple(targets.shape) == positions:
            hint = " For class indices use targets.long()."
    elif targets.shape == logits.shape:
        hint = " For a one-hot encoding use targets.float(); for multi-label sigmoid_focal_loss."
    raise ValueError(
        f"{function}: targets must be class indices of shape {positions} or probabilities of shape "
        f"{shape(logits)}, got {targets.dtype} of shape {shape(targets)}.{hint}"
    )


def fail_gamma_per_example(function: str, got: str) -> NoReturn:
    raise ValueError(
        f"{function}: gamma must be a number or one value per class, got shape {got}. No posterior "
        "exists for a gamma that depends on the example."
    )
