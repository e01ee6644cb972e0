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
    return (
        f"the {type(value).__name__} {shown(value)}" if is_number(value) else type(value).__name__
    )


def fail_choice(
    function: str, argument: str, choices: tuple[str, ...], value: Any, more: str = ""
) -> NoReturn:
    more = f", {more}" if more else ""
    raise ValueError(
        f"{function}: {argument} must be one of {quoted(choices)}{more}, got {shown(value)}."
    )


def fail_implementation(function: str, impl: str, reason: str) -> NoReturn:
    raise ValueError(f'{function}: impl="{impl}" {reason} Use impl="auto".')


def fail_alpha(function: str, value: float) -> NoReturn:
    hint = ""
    if value < 0:
        hint = " To switch the weighting off use alpha=None."
    elif 1 < value < math.inf:
        # positives weighed w times as much as negatives: w : 1 is w/(1+w) : 1/(1+w)
        hint = (
            " A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is alpha=w / (1 + w) and the loss "
            f"times 1 + w: here alpha={shown(value)} / (1 + {shown(value)}), times 1 + "
            f"{shown(value)}."
        )
    raise ValueError(f"{function}: alpha must be in [0, 1], got {shown(value)}.{hint}")


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
        f"{function}: normalizer must be > 0 and finite, got {shown(value)}. "
        "For a count that may be zero pass max(1, count)."
    )


def fail_target_range(function: str, value: float, link: str, targets: Tensor) -> NoReturn:
    """What ``value`` outside [0, 1] means, by what else occurs: read here alone, on failure."""
    hint = "Probabilities are expected, not logits or percentages."
    if math.isnan(value):
        hint = "If NaN marks what has no label, pass ignore_index=math.nan."
        if link == "softmax":
            hint = (
                "If NaN marks what has no label, use targets.nan_to_num(0) with sample_weight=0 "
                "there."
            )
    elif link == "sigmoid" and abs(value) < 2**63 and value == int(value):
        hint = f"If {int(value)} marks what to leave out, pass ignore_index={int(value)}."
        others = targets.detach()[targets.detach() != value]
        if value == -1 and others.numel() and bool((others == 1).all()):
            hint = f"Only -1 and 1 occur: if -1 is the negative class, use targets > 0. {hint}"
        elif value > 1 and bool((others == 0).all()):
            hint = (
                f"Only 0 and {int(value)} occur: if {int(value)} is the positive class, as in a "
                f"mask of grey levels, use targets > 0. {hint}"
            )
        elif value > 1 and bool((others > 1).any()):
            hint = (
                "Several values above 1 occur: for class indices use softmax_focal_loss or one-hot "
                f"targets, for grey levels divide by their largest. {hint}"
            )
    raise ValueError(f"{function}: targets must be in [0, 1], got {value}. {hint}")


def fail_sample_weight(function: str, value: float) -> NoReturn:
    raise ValueError(
        f"{function}: sample_weight must be finite and >= 0, got {value}. A negative weight would "
        "reward the wrong answer; 0 leaves an element out."
    )


def fail_class_index(function: str, value: int, classes: int) -> NoReturn:
    raise ValueError(
        f"{function}: targets must be class indices from 0 to {classes - 1}, got {value}. "
        f"If {value} marks what to leave out, pass ignore_index={value}."
    )


def fail_one_class(function: str, logits: Tensor, targets: Tensor) -> NoReturn:
    way_out = "sigmoid_focal_loss(logits, targets[:, None])"
    if targets.shape == logits.shape:
        way_out = "sigmoid_focal_loss(logits, targets)"
    elif logits.dim() == 1:
        way_out = "sigmoid_focal_loss(logits, targets.to(logits.dtype).view_as(logits))"
    if function.lower().startswith("linear"):
        way_out = "sigmoid_focal_loss((hidden @ weight.T).squeeze(-1), targets)"
    raise ValueError(
        f"{function}: logits must have at least two classes, got {shape(logits)}. The softmax of "
        "one class is 1, so its loss is 0 and nothing is learned. One column is a binary problem: "
        f"use {way_out}."
    )


def fail_sigmoid_shape(function: str, logits: Tensor, targets: Tensor) -> NoReturn:
    positions = logits.shape[:1] + logits.shape[2:]
    hint = ""
    if logits.dim() >= 2 and logits.shape[1] == 1 and targets.shape == positions:
        hint = " Use targets[:, None]: the logits have an axis of one column."
    elif logits.dim() >= 2 and targets.shape == positions and not targets.dtype.is_floating_point:
        one_hot = f"torch.nn.functional.one_hot(targets.long(), {logits.shape[1]})"
        if logits.dim() > 2:
            one_hot += ".movedim(-1, 1)"
        hint = (
            " For class indices use softmax_focal_loss, where classes exclude each other, or "
            f"{one_hot}.to(logits.dtype) for one decision per class."
        )
    elif logits.dim() >= 1 and logits.shape[-1] == 1 and targets.shape == logits.shape[:-1]:
        hint = " Use targets[..., None]: the logits have an axis of one column."
    elif targets.dim() == logits.dim() + 1 and logits.shape in (
        targets.shape[:1] + targets.shape[2:],
        targets.shape[:-1],
    ):
        axis = 1 if logits.shape == targets.shape[:1] + targets.shape[2:] else -1
        if targets.shape[axis] == 1:
            hint = f" Use targets.squeeze({axis}): they have an axis of one column more."
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
