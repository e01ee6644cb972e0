"""Every check of user input and every message.

A message is `<function>: <argument> must be <domain>, got <value>. <likely cause or way out>`:
ValueError for values and shapes, TypeError for types. Shapes, dtypes, devices and plain numbers are
always checked. Values inside tensors are checked on the CPU in eager mode; elsewhere reading them
would synchronise the device, so only after :func:`check_values`.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from numbers import Real
from typing import Any, NoReturn

import torch
from torch import Tensor

from refocal.problem import Number, Problem, SigmoidProblem, SoftmaxProblem

REDUCTIONS = ("none", "mean", "sum")
NORMALIZERS = ("elements", "positives", "weights")
IMPLEMENTATIONS = ("auto", "eager", "cpu", "gpu")

LARGEST_GAMMA = 1e30

# settings of these types need no look at the tensors
PLAIN = frozenset({float, int, bool, type(None)})

_values_checked_everywhere = False


def check_values(everywhere: bool) -> None:
    """Check values inside tensors on every device, not only on the CPU.

    Targets in [0, 1], class indices in range, gamma >= 0 and alpha in its domain are checked on the
    CPU in any case. On other devices a check makes the host wait for the device, so it is off
    unless asked for here. Never checked under torch.compile, torch.export or torch.func.

    Args:
        everywhere: True to check on every device, False for the CPU alone (the default).

    Example:
        >>> import refocal
        >>> refocal.check_values(True)
        >>> refocal.check_values(False)
    """
    global _values_checked_everywhere
    _values_checked_everywhere = bool(everywhere)


def values_checked_on(tensor: Tensor) -> bool:
    """Whether values inside this tensor may be read."""
    return _values_checked_everywhere or tensor.device.type == "cpu"


# ---------------------------------------------------------------------------------------------
# whole problems


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
    check_targets_type(function, logits, targets)
    if targets.shape != logits.shape:
        fail_sigmoid_shape(function, logits, targets)
    settings = (alpha, gamma, label_smoothing, detach_modulator)
    if sample_weight is None and ignore_index is None and PLAIN.issuperset(map(type, settings)):
        # torch.compile warns of a cache that it has to look through
        check = plain_settings if torch.compiler.is_compiling() else remembered_plain_settings
        return SigmoidProblem(logits, targets, *check(function, dtype, *settings))
    return SigmoidProblem(
        logits,
        targets,
        alpha_pair(function, alpha, logits, dtype),
        gamma_pair(function, gamma, logits, dtype),
        aligned_weight(function, sample_weight, tuple(logits.shape), logits, dtype),
        optional_ignore_index(function, ignore_index, targets),
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
    check_targets_type(function, logits, targets)
    axis, classes = class_axis(function, logits)
    positions = tuple(logits.shape[:axis]) + tuple(logits.shape[axis + 1 :])
    by_index = not targets.dtype.is_floating_point
    if targets.shape != (positions if by_index else tuple(logits.shape)):
        fail_softmax_shape(function, logits, targets, positions)
    if targets.dtype == torch.bool:
        raise TypeError(
            f"{function}: targets must be class indices or probabilities, got torch.bool. "
            "Use .long() for indices, .float() for a one-hot encoding."
        )
    ignored = integer(function, "ignore_index", ignore_index)
    if not by_index and ignored != -100:
        raise ValueError(
            f"{function}: ignore_index must be left at -100 with probability targets, got "
            f"{ignored}. Mask positions with sample_weight=0."
        )
    if by_index and not holds(targets.dtype, ignored):
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


def check_reduction(function: str, reduction: Any, normalizer: Any, *, multiclass: bool) -> None:
    """The reduction, and a normalizer that goes with it."""
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
        if normalizer.dim() != 0:
            raise ValueError(
                f"{function}: normalizer must be a number or a 0-d tensor, got a tensor of shape "
                f"{shape(normalizer)}. Sum it first."
            )
        if readable(normalizer) and not 0 < (value := normalizer.item()) < math.inf:
            fail_normalizer(function, value)
    elif not is_number(normalizer):
        raise TypeError(
            f"{function}: normalizer must be one of {quoted(NORMALIZERS)}, or a positive number, "
            f"got {type(normalizer).__name__}."
        )
    elif not 0 < normalizer < math.inf:
        fail_normalizer(function, normalizer)
    if reduction != "mean":
        raise ValueError(
            f'{function}: normalizer must be "elements" unless reduction is "mean", got '
            f"{normalizer!r} with reduction={reduction!r}. Divide the result yourself."
        )


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


def check_target_values(function: str, problem: Problem) -> None:
    """Targets in [0, 1], or class indices in range, for what is not ignored."""
    targets = problem.targets
    if targets.numel() == 0 or not values_checked_on(targets):
        return
    if isinstance(problem, SigmoidProblem):
        if targets.dtype == torch.bool:
            return
        if problem.ignore_index is not None:
            targets = torch.where(targets == problem.ignore_index, 0, targets)
        low, high = (bound.item() for bound in torch.aminmax(targets))
        if not (low >= 0 and high <= 1):
            fail_target_range(function, low if not low >= 0 else high, "sigmoid")
    elif problem.has_index_targets:
        classes = problem.logits.shape[problem.class_axis]
        targets = torch.where(targets == problem.ignore_index, 0, targets)
        low, high = (bound.item() for bound in torch.aminmax(targets))
        if low < 0 or high >= classes:
            fail_class_index(function, int(low if low < 0 else high), classes)
    else:
        low, high = (bound.item() for bound in torch.aminmax(targets))
        if not (low >= 0 and high <= 1):
            fail_target_range(function, low if not low >= 0 else high, "softmax")


def check_settings(function: str, settings: dict[str, Any], *, multiclass: bool) -> None:
    """Whatever of a module's settings can be checked before there are logits."""
    check_reduction(function, settings["reduction"], settings["normalizer"], multiclass=multiclass)
    if "impl" in settings:
        check_implementation(function, settings["impl"])
    flag(function, "detach_modulator", settings["detach_modulator"])
    if settings["ignore_index"] is not None or multiclass:
        integer(function, "ignore_index", settings["ignore_index"])
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
    if not problem.has_index_targets:
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


# ---------------------------------------------------------------------------------------------
# tensors


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


def check_targets_type(function: str, logits: Tensor, targets: Any) -> None:
    """A real tensor on the logits' device."""
    if not isinstance(targets, Tensor):
        raise TypeError(
            f"{function}: targets must be a tensor, got {type(targets).__name__}. "
            "Use torch.as_tensor."
        )
    if targets.dtype.is_complex:
        raise TypeError(
            f"{function}: targets must be bool, integer or floating, got {targets.dtype}."
        )
    check_device(function, "targets", targets, logits)


def check_device(function: str, argument: str, tensor: Tensor, logits: Tensor) -> None:
    """On the logits' device; 0-d tensors may live on the CPU, as everywhere in torch."""
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
    if tuple(alpha.shape) != (classes,):
        raise ValueError(
            f"{function}: alpha must have shape ({classes},), one weight per class of logits "
            f"{shape(logits)}, got {shape(alpha)}."
        )
    check_device(function, "alpha", alpha, logits)
    check_alpha_values(function, alpha, multiclass=True)
    return alpha.to(dtype)


def check_alpha_values(function: str, alpha: Tensor, *, multiclass: bool) -> None:
    """In [0, 1], or for a softmax finite and >= 0, where the values may be read."""
    if not readable(alpha):
        return
    low, high = torch.aminmax(alpha.detach())
    if multiclass:
        if not (low >= 0 and high < math.inf):
            raise ValueError(
                f"{function}: alpha must be finite and >= 0 for every class, got "
                f"{(low if not low >= 0 else high).item()}."
            )
    elif not (low >= 0 and high <= 1):
        fail_alpha(function, (low if not low >= 0 else high).item())


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
        check_gamma_values(function, gamma)
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
    check_gamma_values(function, gamma)
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
    raise ValueError(
        f"{function}: {argument} must be {layouts} for logits {shape(logits)}, got {shape(value)}."
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


# ---------------------------------------------------------------------------------------------
# linear


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
            got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"{function}: {argument} must be a floating tensor, got {got}.")
        if dtype is None and tensor.dtype != hidden.dtype:
            raise TypeError(
                f"{function}: {argument} must have the dtype of hidden, {hidden.dtype}, got "
                f"{tensor.dtype}. Convert one of them, or use torch.autocast."
            )
        if tensor.device != hidden.device:
            raise ValueError(
                f"{function}: {argument} must be on the device of hidden, {hidden.device}, got "
                f"{tensor.device}. Move it with .to(hidden.device)."
            )
    if weight.dim() != 2 or hidden.dim() == 0 or weight.shape[1] != hidden.shape[-1]:
        swapped = weight.dim() == 2 and hidden.dim() and weight.shape[0] == hidden.shape[-1]
        hint = " Pass weight.T: torch.nn.Linear's weight has this order." if swapped else ""
        raise ValueError(
            f"{function}: weight must have shape (classes, features) with the features of hidden, "
            f"got {shape(weight)} and hidden {shape(hidden)}.{hint}"
        )
    classes = weight.shape[0]
    if bias is not None and tuple(bias.shape) != (classes,):
        raise ValueError(
            f"{function}: bias must have shape ({classes},), one per class, got {shape(bias)}."
        )
    positions = tuple(hidden.shape[:-1])
    check_targets_type(function, hidden, targets)
    by_index = not targets.dtype.is_floating_point
    if tuple(targets.shape) != (positions if by_index else (*positions, classes)):
        raise ValueError(
            f"{function}: targets must be class indices of shape {positions} or probabilities of "
            f"shape {(*positions, classes)}, got {targets.dtype} of shape {shape(targets)}."
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


def check_chunk_size(function: str, chunk_size: Any) -> None:
    """None, or how many rows of logits are held at a time."""
    if chunk_size is not None and integer(function, "chunk_size", chunk_size) < 1:
        raise ValueError(
            f"{function}: chunk_size must be None or at least 1 row, got {chunk_size}."
        )


# ---------------------------------------------------------------------------------------------
# posteriors


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


def fail_gamma_per_example(function: str, got: str) -> NoReturn:
    raise ValueError(
        f"{function}: gamma must be a number or one value per class, got shape {got}. No posterior "
        "exists for a gamma that depends on the example."
    )


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


# ---------------------------------------------------------------------------------------------
# numbers


def is_number(value: Any) -> bool:
    """A real number, and not a bool, which would be a misplaced flag."""
    kind = type(value)
    return kind is float or kind is int or (isinstance(value, Real) and kind is not bool)


def alpha_number(function: str, alpha: Any) -> float:
    """A plain number in [0, 1]."""
    if not is_number(alpha):
        hint = " Use a tensor for one value per class." if isinstance(alpha, (list, tuple)) else ""
        raise TypeError(
            f"{function}: alpha must be None, a number in [0, 1] or a tensor, got "
            f"{type(alpha).__name__}.{hint}"
        )
    if not 0 <= alpha <= 1:
        fail_alpha(function, alpha)
    return float(alpha)


def gamma_number(function: str, gamma: Any, *, multiclass: bool) -> float:
    """A finite plain number >= 0."""
    if not is_number(gamma):
        pair = "" if multiclass else " or a tuple (gamma_pos, gamma_neg)"
        hint = f" Use a tensor for one value per class{pair}." if isinstance(gamma, list) else ""
        raise TypeError(
            f"{function}: gamma must be a number >= 0 or a tensor, got "
            f"{type(gamma).__name__}.{hint}"
        )
    if not 0 <= gamma < math.inf:
        fail_gamma(function, gamma)
    # held: beyond it q**gamma is 0 or 1 for every float, but gamma * p * ce would overflow
    return min(float(gamma), LARGEST_GAMMA)


def check_gamma_values(function: str, gamma: Tensor) -> None:
    """Finite and >= 0, where the values may be read."""
    if gamma.dtype.is_complex:
        raise TypeError(f"{function}: gamma must be real, got {gamma.dtype}.")
    if readable(gamma):
        low, high = torch.aminmax(gamma.detach())
        if not (low >= 0 and high < math.inf):
            fail_gamma(function, (low if not low >= 0 else high).item())


def smoothing(function: str, label_smoothing: Any) -> float:
    """label_smoothing, a number in [0, 1]."""
    return fraction(function, "label_smoothing", label_smoothing)


def fraction(function: str, argument: str, value: Any) -> float:
    """A number in [0, 1]."""
    if not is_number(value):
        raise TypeError(
            f"{function}: {argument} must be a number in [0, 1], got {type(value).__name__}."
        )
    if not 0 <= value <= 1:
        raise ValueError(f"{function}: {argument} must be in [0, 1], got {value}.")
    return float(value)


def flag(function: str, argument: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(
            f"{function}: {argument} must be True or False, got {type(value).__name__}."
        )
    return value


def integer(function: str, argument: str, value: Any) -> int:
    """A plain integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{function}: {argument} must be an integer, got {type(value).__name__}.")
    return value


def optional_ignore_index(function: str, ignore_index: Any, targets: Tensor) -> int | None:
    """None, or an integer that targets can hold: uint8 targets never equal -100."""
    if ignore_index is None:
        return None
    value = integer(function, "ignore_index", ignore_index)
    if targets.dtype == torch.bool:
        return value if value in (0, 1) else None
    if not targets.dtype.is_floating_point:
        return value if holds(targets.dtype, value) else None
    return value


def holds(dtype: torch.dtype, value: int) -> bool:
    """Whether an integer dtype can represent a value."""
    limits = torch.iinfo(dtype)
    return limits.min <= value <= limits.max


def round_to(value: float, dtype: torch.dtype) -> float:
    """The nearest number of the computing dtype: gamma 2.1 kept in double costs 25 ulp."""
    if dtype == torch.float64:
        return value
    return float(struct.unpack("f", struct.pack("f", value))[0])


def readable(tensor: Tensor) -> bool:
    """Whether the values of a small tensor may be read here and now."""
    return (
        tensor.numel() > 0
        and values_checked_on(tensor)
        and not torch.compiler.is_compiling()
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and torch._C._functorch.peek_interpreter_stack() is None
    )


# ---------------------------------------------------------------------------------------------
# wording


def shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def quoted(choices: tuple[str, ...]) -> str:
    return ", ".join(f'"{choice}"' for choice in choices)


def article(value: Any) -> str:
    """What a value is, with the value itself where it is short."""
    return f"the {type(value).__name__} {value!r}" if is_number(value) else type(value).__name__


def fail_choice(
    function: str, argument: str, choices: tuple[str, ...], value: Any, more: str = ""
) -> NoReturn:
    more = f", {more}" if more else ""
    raise ValueError(
        f"{function}: {argument} must be one of {quoted(choices)}{more}, got {value!r}."
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
    raise ValueError(f"{function}: gamma must be finite and >= 0, got {value}.")


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
