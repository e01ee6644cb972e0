"""What only a posterior asks of its arguments."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
from torch import Tensor

from refocal.arguments.inspection import extremes, readable
from refocal.arguments.tensors import (
    check_device,
    check_logits,
    check_targets_type,
    class_axis,
    facts,
    round_to,
    shape,
    softmax_gamma,
)
from refocal.arguments.values import fail_choice, real, shown
from refocal.arguments.wording import (
    fail_class_index,
    fail_gamma_per_example,
    fail_one_class,
    fail_sigmoid_shape,
    fail_unlearned,
)
from refocal.messages import refuse
from refocal.problem import Number

LINKS = ("sigmoid", "softmax")


def check_posterior_alpha(
    function: str, alpha: Any, *, multiclass: bool, dtype: torch.dtype = torch.float64
) -> None:
    """No class weight of 0, under which a class is never learned, also after its rounding."""
    if isinstance(alpha, Tensor):
        if not readable(alpha):
            return
        low, high = extremes(alpha)
    elif alpha is None:
        return
    else:
        low = high = alpha
    domain = "> 0 for every class" if multiclass else "strictly between 0 and 1"
    ends = [(low, low > 0)] if multiclass else [(low, low > 0), (high, high < 1)]
    for end, inside in ends:
        # a loss of logits of this dtype saw the rounded weight
        rounded = round_to(float(end), dtype)
        if inside and rounded > 0 and (multiclass or rounded < 1):
            continue
        exact = rounded == end
        becomes = "" if exact else f", which {str(dtype)[6:]} rounds to {rounded:g}"
        fail_unlearned(function, domain, f"{shown(end)}{becomes}")


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
    if isinstance(gamma, Tensor):
        check_device(function, "gamma", gamma, logits)
    if isinstance(gamma, Tensor) and gamma.dim() and tuple(gamma.shape) != (classes,):
        fail_gamma_per_example(function, shape(gamma))
    positions = tuple(logits.shape[:axis]) + tuple(logits.shape[axis + 1 :])
    return softmax_gamma(function, gamma, logits, logits, positions, dtype)


def posterior_temperature(
    function: str, temperature: Any, logits: Tensor, dtype: torch.dtype
) -> Number:
    """A finite number > 0 that the computing dtype holds, or a 0-d tensor."""
    value = temperature
    if isinstance(temperature, Tensor) and temperature.dim() == 0:
        check_device(function, "temperature", temperature, logits)
        if not readable(temperature):
            return temperature
        value = temperature.item()
    number = real(function, "temperature", value, "finite and > 0", lambda one: 0 < one < math.inf)
    if isinstance(temperature, Tensor):
        return temperature
    # divided by a number that rounds to 0 or inf, log-odds of 0 and of inf would become NaN
    limits = torch.finfo(dtype)
    return min(max(number, limits.tiny), limits.max)


def default_alpha(alpha: Any, link: str) -> Any:
    """Alpha of a function that serves both links: "default" is that of the loss."""
    if isinstance(alpha, str) and alpha == "default":
        return 0.25 if link == "sigmoid" else None
    return alpha


def check_outcomes(function: str, logits: Any, targets: Any, link: Any) -> None:
    """Held-out logits without NaN, and what happened: 0 or 1, or class indices."""
    if not isinstance(link, str) or link not in LINKS:
        fail_choice(function, "link", LINKS, link)
    check_logits(function, logits)
    check_targets_type(function, logits, targets)
    if logits.is_meta:
        raise refuse(function, "logits", "have values", "a meta tensor", "Move the model off meta.")
    z = logits.detach()
    if link == "sigmoid":
        if targets.shape != z.shape:
            fail_sigmoid_shape(function, facts(z), facts(targets))
        y = targets.detach()
        wrong = (y != 0) & (y != 1)
        if bool(wrong.any()):
            raise refuse(
                function,
                "targets",
                "be 0 or 1",
                y[wrong][0].item(),
                "Soft targets are no outcomes.",
            )
        if not bool(torch.isfinite(z).all()):
            fail_not_finite(function, z[~torch.isfinite(z)][0].item())
        return
    if z.dim() != 2 or targets.shape != z.shape[:1] or targets.dtype.is_floating_point:
        raise refuse(
            function,
            "logits",
            'be (N, C) and targets class indices (N,) with link="softmax"',
            f"{shape(z)} and {targets.dtype} {shape(targets)}",
        )
    if z.shape[1] < 2:
        fail_one_class(function, facts(z), facts(targets))
    index = targets.detach().long()
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < z.shape[1]:
        bad = int(index.min()) if int(index.min()) < 0 else int(index.max())
        fail_class_index(function, bad, z.shape[1])
    # a class masked with -inf has probability 0, unless it is the only one or the one that happened
    happened = z.gather(1, index[:, None])
    if bool((torch.isnan(z) | (z == torch.inf)).any()) or not bool(torch.isfinite(happened).all()):
        bad = z[~torch.isfinite(z)]
        fail_not_finite(function, bad[0].item())


def fail_not_finite(function: str, value: float) -> NoReturn:
    raise refuse(
        function,
        "logits",
        "be finite",
        value,
        (
            "Drop such rows with their targets, logits[keep] and targets[keep], and find out where "
            "they come from."
        ),
    )
