"""Settings that need no logits: reduction, normalizer, process group, implementation."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from refocal.arguments.inspection import extremes, is_number, readable
from refocal.arguments.numbers import (
    alpha_number,
    check_ignore_index,
    flag,
    gamma_number,
    integer,
    smoothing,
)
from refocal.arguments.tensors import (
    check_alpha_values,
    check_device,
    check_gamma_values,
    check_usable,
)
from refocal.arguments.wording import (
    fail_choice,
    fail_class_weights_type,
    fail_gamma_count,
    fail_normalizer,
    fail_softmax_gamma_tuple,
    quoted,
    shape,
)
from refocal.problem import Number, SoftmaxProblem, has_index_targets

REDUCTIONS = ("none", "mean", "sum")

NORMALIZERS = ("elements", "positives", "weights")

IMPLEMENTATIONS = ("auto", "eager", "cpu", "gpu")


def check_reduction(
    function: str, reduction: Any, normalizer: Any, *, multiclass: bool, shared: bool = False
) -> None:
    """The reduction, and a normalizer that goes with it; a rank's share of one may be 0."""
    if reduction not in REDUCTIONS:
        fail_choice(function, "reduction", REDUCTIONS, reduction)
    if isinstance(normalizer, str):
        if normalizer == "elements":
            return
        if normalizer not in NORMALIZERS:
            fail_choice(function, "normalizer", NORMALIZERS, normalizer, "or a positive number")
        if normalizer == "positives" and multiclass:
            raise ValueError(
                f'{function}: normalizer must be "elements", "weights" or a positive number, got '
                '"positives". A softmax has no negatives; pass the count of foreground targets '
                "as a number."
            )
    elif isinstance(normalizer, Tensor):
        check_usable(function, "normalizer", normalizer)
        if normalizer.dim() != 0:
            raise ValueError(
                f"{function}: normalizer must be a number or a 0-d tensor, got a tensor of shape "
                f"{shape(normalizer)}. Sum it first."
            )
        if readable(normalizer) and not _counts(value := extremes(normalizer)[0], shared):
            fail_normalizer(function, value)
    elif not is_number(normalizer):
        raise TypeError(
            f"{function}: normalizer must be one of {quoted(NORMALIZERS)}, or a positive number, "
            f"got {type(normalizer).__name__}."
        )
    elif not _counts(normalizer, shared):
        fail_normalizer(function, normalizer)
    if reduction != "mean":
        raise ValueError(
            f'{function}: normalizer must be "elements" unless reduction is "mean", got '
            f"{normalizer!r} with reduction={reduction!r}. Divide the result yourself."
        )


def check_normalizer_device(function: str, normalizer: Any, logits: Tensor) -> None:
    """Where the logits are, or on the CPU."""
    if isinstance(normalizer, Tensor):
        check_device(function, "normalizer", normalizer, logits)


def _counts(number: float, shared: bool) -> bool:
    return 0 < number <= sys.float_info.max or (shared and number == 0)


def check_process_group(function: str, group: Any, reduction: str) -> None:
    """A process group, and a reduction that has a denominator."""
    if not isinstance(group, torch.distributed.ProcessGroup):
        raise TypeError(
            f"{function}: process_group must be None or a ProcessGroup, got "
            f"{type(group).__name__}. For all ranks use torch.distributed.group.WORLD after "
            "init_process_group."
        )
    if reduction != "mean":
        raise ValueError(
            f'{function}: process_group must be None unless reduction is "mean", got '
            f"reduction={reduction!r}, which has no denominator to sum over ranks."
        )


def check_constant_denominator(function: str, count: Number) -> None:
    """No gradient through a denominator that other ranks contribute to."""
    if isinstance(count, Tensor) and count.requires_grad:
        raise ValueError(
            f"{function}: normalizer must not require grad with a process_group, got one that does "
            '(through alpha or sample_weight). Detach them or use normalizer="elements".'
        )


def check_implementation(function: str, impl: Any) -> None:
    """A known name."""
    if impl not in IMPLEMENTATIONS:
        fail_choice(function, "impl", IMPLEMENTATIONS, impl)


def check_settings(function: str, settings: dict[str, Any], *, multiclass: bool) -> None:
    """Whatever of a module's settings can be checked before there are logits."""
    check_reduction(function, settings["reduction"], settings["normalizer"], multiclass=multiclass)
    if "impl" in settings:
        check_implementation(function, settings["impl"])
    flag(function, "detach_modulator", settings["detach_modulator"])
    check_ignore_index(function, settings["ignore_index"], multiclass=multiclass)
    check_loss_parameters(
        function,
        settings["alpha"],
        settings["gamma"],
        settings["label_smoothing"],
        multiclass=multiclass,
    )


def check_loss_parameters(
    function: str, alpha: Any, gamma: Any, label_smoothing: Any, *, multiclass: bool
) -> None:
    """alpha, gamma and label_smoothing on their own, without logits to align them with."""
    smoothing(function, label_smoothing)
    if isinstance(alpha, Tensor):
        check_alpha_values(function, alpha, multiclass=multiclass)
    elif alpha is not None:
        if multiclass:
            fail_class_weights_type(function, alpha, "C")
        alpha_number(function, alpha)
    pair = isinstance(gamma, tuple)
    if pair and multiclass:
        fail_softmax_gamma_tuple(function)
    if pair and len(gamma) != 2:
        fail_gamma_count(function, len(gamma))
    for one in gamma if pair else (gamma,):
        if isinstance(one, Tensor):
            check_gamma_values(function, one)
        else:
            gamma_number(function, one, multiclass=multiclass)


def check_chunk_size(function: str, chunk_size: Any) -> None:
    """None, or how many rows of logits are held at a time."""
    if chunk_size is not None and integer(function, "chunk_size", chunk_size) < 1:
        raise ValueError(
            f"{function}: chunk_size must be None or at least 1 row, got {chunk_size}."
        )


def check_class_sharded(
    function: str, problem: SoftmaxProblem, mesh_axes: int, *, differentiated: bool
) -> None:
    """What a softmax over classes that are split over ranks can do."""
    gathered = "Or gather the logits with .full_tensor()."
    if mesh_axes != 1:
        raise ValueError(
            f"{function}: logits must be on a one-dimensional device mesh if their classes are "
            f"sharded, got {mesh_axes} dimensions. Pass the local rows on the mesh that shards the "
            'classes, as in mesh["tp"], and the other ranks as process_group.'
        )
    if not has_index_targets(problem):
        raise ValueError(
            f"{function}: targets must be class indices if the classes of logits are sharded, got "
            f"{problem.targets.dtype}. {gathered}"
        )
    if problem.label_smoothing:
        raise ValueError(
            f"{function}: label_smoothing must be 0 if the classes of logits are sharded, got "
            f"{problem.label_smoothing}. {gathered}"
        )
    if differentiated:
        raise ValueError(
            f"{function}: alpha, gamma, sample_weight and normalizer must not require grad if the "
            f"classes of logits are sharded, got one that does. Detach them. {gathered}"
        )
