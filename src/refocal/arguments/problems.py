"""Arguments of a loss, checked and aligned into a problem."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from refocal.arguments.inspection import extremes, readable
from refocal.arguments.tensors import (
    aligned_weight,
    alpha_pair,
    check_device,
    check_kind,
    check_logits,
    check_targets_type,
    class_axis,
    class_weights,
    facts,
    gamma_pair,
    ignored_target,
    round_to,
    shape,
    softmax_gamma,
)
from refocal.arguments.values import alpha_number, flag, gamma_number, ignored_integer, smoothing
from refocal.arguments.wording import (
    fail_bool_classes,
    fail_class_index,
    fail_ignored_probabilities,
    fail_one_class,
    fail_sample_weight,
    fail_sigmoid_shape,
    fail_softmax_shape,
    fail_target_range,
)
from refocal.messages import refuse
from refocal.problem import (
    Number,
    Problem,
    SigmoidProblem,
    SoftmaxProblem,
    class_axis_of,
    has_index_targets,
    is_kept,
    rounding_of,
)
from refocal.torch_state import unwatched, values_of

# settings of these types need no look at the tensors
PLAIN = (float, int, bool, type(None))


def sigmoid_problem(
    function: str,
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: Any,
    gamma: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    detach_modulator: Any,
) -> SigmoidProblem:
    """Checked and aligned arguments of a binary or multi-label loss."""
    dtype = check_logits(function, logits)
    targets = check_targets_type(function, logits, targets)
    if targets.shape != logits.shape:
        fail_sigmoid_shape(function, facts(logits), facts(targets))
    settings = (alpha, gamma, label_smoothing, detach_modulator)
    if (
        sample_weight is None
        and ignore_index is None
        and type(alpha) in PLAIN
        and type(gamma) in PLAIN
        and type(label_smoothing) in PLAIN
        and type(detach_modulator) in PLAIN
    ):
        # torch.compile warns of a cache that it has to look through
        check = plain_settings if torch.compiler.is_compiling() else remembered_plain_settings
        return SigmoidProblem(logits, targets, *check(function, dtype, *settings))
    return SigmoidProblem(
        logits,
        targets,
        alpha_pair(function, alpha, logits, dtype),
        gamma_pair(function, gamma, logits, dtype),
        aligned_weight(function, sample_weight, tuple(logits.shape), logits, dtype),
        ignored_target(function, ignore_index, targets.dtype),
        smoothing(function, label_smoothing),
        flag(function, "detach_modulator", detach_modulator),
    )


def plain_settings(
    function: str,
    dtype: torch.dtype,
    alpha: Any,
    gamma: Any,
    label_smoothing: Any,
    detach_modulator: Any,
) -> tuple[tuple[float, float], tuple[float, float], None, None, float, bool]:
    """The fields of a `SigmoidProblem` behind its tensors, for settings that are plain values."""
    weights = (1.0, 1.0)
    if alpha is not None:
        rounded = round_to(alpha_number(function, alpha), dtype)
        weights = rounded, 1 - rounded
    exponent = round_to(gamma_number(function, gamma, multiclass=False), dtype)
    return (
        weights,
        (exponent, exponent),
        None,
        None,
        smoothing(function, label_smoothing),
        flag(function, "detach_modulator", detach_modulator),
    )


# a small batch takes less time than checking the same numbers at every call
remembered_plain_settings = lru_cache(maxsize=256, typed=True)(plain_settings)


def softmax_problem(
    function: str,
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: Any,
    gamma: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    detach_modulator: Any,
) -> SoftmaxProblem:
    """Checked and aligned arguments of a multi-class loss."""
    dtype = check_logits(function, logits)
    targets = check_targets_type(function, logits, targets)
    axis, classes = class_axis(function, logits)
    if classes == 1:
        fail_one_class(function, facts(logits), facts(targets))
    positions = tuple(logits.shape[:axis]) + tuple(logits.shape[axis + 1 :])
    by_index = not targets.dtype.is_floating_point
    if targets.shape != (positions if by_index else tuple(logits.shape)):
        fail_softmax_shape(function, facts(logits), facts(targets), positions)
    if targets.dtype == torch.bool:
        fail_bool_classes(function, targets.dtype)
    ignored = ignored_integer(function, ignore_index)
    if not by_index:
        if ignored != -100:
            fail_ignored_probabilities(function, ignored)
    elif ignored_target(function, ignored, targets.dtype) is None:
        targets = targets.long()  # torch reads -100 as 156 beside uint8 targets
    return SoftmaxProblem(
        logits,
        targets,
        class_weights(function, alpha, logits, classes, dtype),
        softmax_gamma(function, gamma, logits, targets, positions, dtype),
        aligned_weight(function, sample_weight, positions, logits, dtype),
        ignored,
        smoothing(function, label_smoothing),
        flag(function, "detach_modulator", detach_modulator),
    )


def linear_problem(
    function: str,
    hidden: Any,
    weight: Any,
    targets: Any,
    bias: Any,
    *,
    dtype: torch.dtype | None,
    **keywords: Any,
) -> SoftmaxProblem:
    """Checked arguments of a loss of ``hidden @ weight.T + bias``, before there are logits.

    The problem's logits are a stand-in of their shape that occupies one element. Their dtype is
    ``dtype`` (autocast's) where that is given, and the factors' own otherwise.
    """
    for argument, tensor in (("hidden", hidden), ("weight", weight), ("bias", bias)):
        if tensor is None and argument == "bias":
            continue
        if not isinstance(tensor, Tensor) or not tensor.dtype.is_floating_point:
            known = isinstance(tensor, Tensor)
            got = tensor.dtype if known else type(tensor).__name__
            hint = "" if known else "Use torch.as_tensor."
            raise refuse(function, argument, "be a floating tensor", got, hint, TypeError)
        check_kind(function, argument, tensor)
        if dtype is None and tensor.dtype != hidden.dtype:
            raise refuse(
                function,
                argument,
                f"have the dtype of hidden, {hidden.dtype}",
                tensor.dtype,
                "Convert one of them, or use torch.autocast.",
                TypeError,
            )
        if tensor.device != hidden.device:
            raise refuse(
                function,
                argument,
                f"be on the device of hidden, {hidden.device}",
                tensor.device,
                "Move it with .to(hidden.device).",
            )
    if weight.dim() != 2 or hidden.dim() == 0 or weight.shape[1] != hidden.shape[-1]:
        swapped = weight.dim() == 2 and hidden.dim() and weight.shape[0] == hidden.shape[-1]
        hint = "Pass weight.T: torch.nn.Linear's weight has this order." if swapped else ""
        raise refuse(
            function,
            "weight",
            "have shape (classes, features) with the features of hidden",
            f"{shape(weight)} and hidden {shape(hidden)}",
            hint,
        )
    classes = weight.shape[0]
    if bias is not None and tuple(bias.shape) != (classes,):
        raise refuse(function, "bias", f"have shape ({classes},), one per class", shape(bias))
    positions = tuple(hidden.shape[:-1])
    targets = check_targets_type(function, hidden, targets)
    by_index = not targets.dtype.is_floating_point
    if tuple(targets.shape) != (positions if by_index else (*positions, classes)):
        raise refuse(
            function,
            "targets",
            (
                f"be class indices of shape {positions} or probabilities of shape "
                f"{(*positions, classes)}"
            ),
            f"{targets.dtype} of shape {shape(targets)}",
        )
    stand_in = torch.empty((), dtype=dtype or hidden.dtype, device=hidden.device)
    stand_in = stand_in.expand(*positions, classes)
    # the other losses have their classes on axis 1
    if hidden.dim() > 2:
        stand_in = stand_in.movedim(-1, 1)
        targets = targets if by_index else targets.movedim(-1, 1)
        gamma = keywords["gamma"]
        if isinstance(gamma, Tensor) and gamma.shape == (*positions, classes) and not by_index:
            keywords["gamma"] = gamma.movedim(-1, 1)
    return softmax_problem(function, stand_in, targets, **keywords)


def check_values_of(function: str, problem: Problem) -> None:
    """Targets in [0, 1], or class indices in range, for what is not ignored; weights >= 0.

    Where the values may be read: on the CPU, and elsewhere after `check_values`.
    """
    if problem.weight is not None and readable(problem.weight):
        low, high = extremes(problem.weight)
        if not (low >= 0 and high < math.inf):
            fail_sample_weight(function, low if not low >= 0 else high)
    if problem.targets.dtype == torch.bool or not readable(problem.targets):
        return
    with unwatched():
        targets = values_of(problem.targets)
        if problem.ignore_index is not None:
            targets = torch.where(is_kept(targets, problem.ignore_index), targets, 0)
    low, high = extremes(targets)
    if isinstance(problem, SoftmaxProblem) and has_index_targets(problem):
        classes = problem.logits.shape[class_axis_of(problem)]
        if low < 0 or high >= classes:
            fail_class_index(function, int(low if low < 0 else high), classes)
        return
    slack = rounding_of(targets.dtype)
    if not (low >= -slack and high <= 1 + slack):
        link = "sigmoid" if isinstance(problem, SigmoidProblem) else "softmax"
        value = low if not low >= -slack else high
        others = targets[targets != value]
        ends = extremes(others) if others.numel() else None
        fail_target_range(function, value, link, ends)


# ---------------------------------------------------------------------------------------------
# beyond one call's tensors


def check_normalizer_device(function: str, normalizer: Any, logits: Tensor) -> None:
    """Where the logits are, or on the CPU."""
    if isinstance(normalizer, Tensor):
        check_device(function, "normalizer", normalizer, logits)


def check_process_group(function: str, group: Any, reduction: str) -> None:
    """A process group, and a reduction that has a denominator."""
    if not isinstance(group, torch.distributed.ProcessGroup):
        raise refuse(
            function,
            "process_group",
            "be None or a ProcessGroup",
            type(group).__name__,
            "For all ranks use torch.distributed.group.WORLD after init_process_group.",
            TypeError,
        )
    if reduction != "mean":
        raise refuse(
            function,
            "process_group",
            'be None unless reduction is "mean"',
            f"reduction={reduction!r}, which has no denominator to sum over ranks",
        )


def check_constant_denominator(function: str, count: Number) -> None:
    """No gradient through a denominator that other ranks contribute to."""
    if isinstance(count, Tensor) and count.requires_grad:
        raise refuse(
            function,
            "normalizer",
            "not require grad with a process_group",
            "one that does (through alpha or sample_weight)",
            'Detach them or use normalizer="elements".',
        )


def check_class_sharded(
    function: str, problem: SoftmaxProblem, mesh_axes: int, *, differentiated: bool
) -> None:
    """What a softmax over classes that are split over ranks can do."""
    gathered = "Or gather the logits with .full_tensor()."
    if mesh_axes != 1:
        raise refuse(
            function,
            "logits",
            "be on a one-dimensional device mesh if their classes are sharded",
            f"{mesh_axes} dimensions",
            (
                'Pass the local rows on the mesh that shards the classes, as in mesh["tp"], and '
                "the other ranks as process_group."
            ),
        )
    if not has_index_targets(problem):
        raise refuse(
            function,
            "targets",
            "be class indices if the classes of logits are sharded",
            problem.targets.dtype,
            gathered,
        )
    if problem.label_smoothing:
        raise refuse(
            function,
            "label_smoothing",
            "be 0 if the classes of logits are sharded",
            problem.label_smoothing,
            gathered,
        )
    if differentiated:
        raise refuse(
            function,
            "alpha, gamma, sample_weight and normalizer",
            "not require grad if the classes of logits are sharded",
            "one that does",
            f"Detach them. {gathered}",
        )
