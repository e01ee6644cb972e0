"""What only a posterior asks of its arguments."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refocal.arguments.inspection import is_number, readable
from refocal.arguments.tensors import class_axis, softmax_gamma
from refocal.arguments.wording import fail_gamma_per_example, shape
from refocal.problem import Number


def check_posterior_alpha(function: str, alpha: Any, *, multiclass: bool) -> None:
    """No class weight of 0, under which a class is never learned."""
    if isinstance(alpha, Tensor):
        if not readable(alpha):
            return
        low, high = (bound.item() for bound in torch.aminmax(alpha.detach()))
    elif alpha is None:
        return
    else:
        low = high = alpha
    if multiclass:
        if low <= 0:
            raise ValueError(
                f"{function}: alpha must be > 0 for every class, got {low}. A class of weight 0 is "
                "not learned, so it has no posterior."
            )
    elif low <= 0 or high >= 1:
        raise ValueError(
            f"{function}: alpha must be strictly between 0 and 1, got "
            f"{low if low <= 0 else high}. A class of weight 0 is not learned, so it has no "
            "posterior."
        )


def check_posterior_gamma(function: str, gammas: tuple[Number, Number], logits: Tensor) -> None:
    """One gamma for all examples: scalar, or per class along axis 1."""
    for gamma in gammas:
        if not isinstance(gamma, Tensor) or gamma.dim() == 0:
            continue
        per_example = [size for axis, size in enumerate(gamma.shape) if axis != 1]
        if logits.dim() == 1 or any(size != 1 for size in per_example):
            fail_gamma_per_example(function, shape(gamma))


def softmax_posterior_gamma(
    function: str, gamma: Any, logits: Tensor, dtype: torch.dtype
) -> Number:
    """A number, or a 0-d or (C,) tensor that broadcasts to the logits."""
    axis, classes = class_axis(function, logits)
    if isinstance(gamma, Tensor) and gamma.dim() and tuple(gamma.shape) != (classes,):
        fail_gamma_per_example(function, shape(gamma))
    positions = tuple(logits.shape[:axis]) + tuple(logits.shape[axis + 1 :])
    return softmax_gamma(function, gamma, logits, logits, positions, dtype)


def check_temperature(function: str, temperature: Any) -> None:
    """A finite number > 0, or a 0-d tensor."""
    if isinstance(temperature, Tensor) and temperature.dim() == 0:
        if not readable(temperature):
            return
        temperature = temperature.item()
    if not is_number(temperature):
        raise TypeError(
            f"{function}: temperature must be a number > 0, got {type(temperature).__name__}."
        )
    if not 0 < temperature < math.inf:
        raise ValueError(f"{function}: temperature must be finite and > 0, got {temperature}.")


def check_posterior_smoothing(function: str, label_smoothing: float) -> None:
    """Below 1: at 1 the targets carry no information."""
    if label_smoothing == 1:
        raise ValueError(
            f"{function}: label_smoothing must be below 1, got 1.0. Targets smoothed completely "
            "carry no class."
        )
