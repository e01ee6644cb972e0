"""Checks of what the variants alone take: masks of positives, distances, regions."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from refocal.arguments.inspection import extremes, readable
from refocal.arguments.problems import sigmoid_problem, softmax_problem
from refocal.arguments.tensors import (
    aligned_weight,
    check_device,
    check_logits,
    check_targets_type,
    ignored_target,
    shape,
)
from refocal.arguments.values import fail_choice, shown
from refocal.messages import refuse
from refocal.problem import SigmoidProblem, SoftmaxProblem, is_kept

PARTS = ("image", "batch")
ONE_HOT = "Use .argmax(1) of a one-hot encoding; for independent classes use tversky_loss."

# what these losses have not: cross-entropy, if it were taken of their problems
PLAIN: dict[str, Any] = {
    "alpha": None,
    "gamma": 0.0,
    "label_smoothing": 0.0,
    "detach_modulator": False,
}


def positives(function: str, mask: Any, logits: Any) -> Tensor:
    """A bool tensor of the logits' shape."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise refuse(
            function, "positives", "be None or a bool tensor", got, "Use mask.bool().", TypeError
        )
    check_logits(function, logits)
    check_device(function, "positives", mask, logits)
    if mask.shape != logits.shape:
        raise refuse(
            function, "positives", f"have the shape {shape(logits)} of logits", shape(mask)
        )
    return mask


def kept_distances(function: str, logits: Tensor, targets: Any, ignore_index: Any) -> Tensor:
    """Where targets are not the ignored value, as their dtype holds it."""
    check_logits(function, logits)
    targets = check_targets_type(function, logits, targets)
    ignored = ignored_target(function, ignore_index, targets.dtype)
    if ignored is None or shape(targets) != shape(logits)[:-1]:  # `distances` says the latter
        return torch.ones_like(targets, dtype=torch.bool)
    return is_kept(targets, ignored)


def distances(function: str, logits: Tensor, targets: Tensor, sample_weight: Any) -> SoftmaxProblem:
    """A softmax over bins, whose target is shared by the two beside a distance; all in rows."""
    dtype = check_logits(function, logits)
    targets = check_targets_type(function, logits, targets)
    sizes = shape(logits)
    if not sizes or sizes[-1] < 2:
        raise refuse(function, "logits", "have shape (*, bins) with two bins or more", sizes)
    if not targets.dtype.is_floating_point:
        raise refuse(
            function,
            "targets",
            "be floating",
            targets.dtype,
            "Distances that are whole bins are .float(), too.",
            TypeError,
        )
    if shape(targets) != sizes[:-1]:
        raise refuse(
            function,
            "targets",
            f"have the shape {sizes[:-1]} of logits without its bins",
            shape(targets),
        )
    weight = aligned_weight(function, sample_weight, sizes[:-1], logits, dtype)
    bins = sizes[-1]
    # half precision cannot hold a distance and its shares
    y = targets.detach().to(torch.promote_types(targets.dtype, torch.float32))
    if readable(y):
        low, high = extremes(y)
        if not (low >= 0 and high <= bins - 1):
            way_out = "Clamp distances that no bin reaches."
            if low != low:
                way_out = "If NaN marks a missing one, use ignore_index=math.nan."
            raise refuse(
                function,
                "targets",
                f"be in [0, {bins - 1}], in units of a bin",
                shown(low if not low >= 0 else high),
                way_out,
            )
    # a bin's share falls from 1 to 0 over the distance to the next; made of the logits, so that
    # the bins are of their class and on their device
    bin_numbers = torch.ones_like(logits, dtype=y.dtype).detach().cumsum(-1) - 1
    spread = (1 - (y.unsqueeze(-1) - bin_numbers).abs()).clamp(min=0)
    return softmax_problem(
        function,
        logits.reshape(-1, bins),
        spread.reshape(-1, bins),
        sample_weight=None if weight is None else weight.expand(sizes[:-1]).reshape(-1),
        ignore_index=-100,
        **PLAIN,
    )


def binary_regions(
    function: str, logits: Tensor, targets: Tensor, ignore_index: Any
) -> SigmoidProblem:
    """One yes or no per logit, with positions to sum over."""
    problem = sigmoid_problem(
        function, logits, targets, sample_weight=None, ignore_index=ignore_index, **PLAIN
    )
    if logits.dim() < 3:
        _fail_positions(function, logits, "For one mask per image use logits.unsqueeze(1).")
    return problem


def class_regions(
    function: str, logits: Tensor, targets: Tensor, ignore_index: Any
) -> SoftmaxProblem:
    """One class per position."""
    check_logits(function, logits)
    targets = check_targets_type(function, logits, targets)
    if targets.dtype.is_floating_point:
        raise refuse(
            function,
            "targets",
            "be class indices",
            targets.dtype,
            ONE_HOT,
            TypeError,
        )
    if logits.dim() < 3:
        _fail_positions(function, logits, "")
    if logits.shape[1] == 1:
        raise refuse(
            function,
            "logits",
            "have at least two classes",
            shape(logits),
            "One mask is not the softmax of anything: use tversky_loss or dice_loss.",
        )
    positions = shape(logits)[:1] + shape(logits)[2:]
    if targets.dtype == torch.bool or shape(targets) != positions:
        way_out = ""
        kind: type[Any] = ValueError
        if targets.dtype == torch.bool:
            way_out, kind = "Use .long().", TypeError
        elif targets.shape == logits.shape:
            way_out = ONE_HOT
        elif shape(targets) == (positions[0], 1, *positions[1:]):
            way_out = "Use targets[:, 0]: an axis of one column is too many."
        raise refuse(
            function,
            "targets",
            f"be class indices of shape {positions}",
            f"{targets.dtype} of shape {shape(targets)}",
            way_out,
            kind,
        )
    return softmax_problem(
        function, logits, targets, sample_weight=None, ignore_index=ignore_index, **PLAIN
    )


def check_part(function: str, per: Any) -> None:
    """What a region is taken over."""
    if per not in PARTS:
        fail_choice(function, "per", PARTS, per)


def _fail_positions(function: str, logits: Tensor, way_out: str) -> NoReturn:
    raise refuse(
        function,
        "logits",
        "have shape (N, C, *) with at least one axis of positions",
        shape(logits),
        way_out,
    )
