"""Settings that need no logits: reduction, normalizer, implementation. No framework."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from refocal.arguments.adapter import adapter_of, is_foreign
from refocal.arguments.values import (
    alpha_number,
    check_alpha_range,
    check_gamma_range,
    check_ignore_index,
    fail_choice,
    fail_class_weights_type,
    fail_gamma_count,
    fail_gamma_pair,
    flag,
    gamma_number,
    integer,
    is_number,
    quoted,
    shown,
    smoothing,
)
from refocal.messages import refuse

REDUCTIONS = ("none", "mean", "sum")

NORMALIZERS = ("elements", "positives", "weights", "sample_weight")

IMPLEMENTATIONS = ("auto", "eager", "cpu", "gpu")


def check_reduction(
    function: str,
    reduction: Any,
    normalizer: Any,
    *,
    multiclass: bool,
    shared: bool = False,
    own: tuple[str, ...] = (),
    framework: str = "torch",
) -> None:
    """The reduction, and a normalizer that goes with it; a rank's share of one may be 0.

    ``own`` are further normalizers of the function, for the list in an error: it knows them itself.
    ``framework`` is whose tensors are taken.
    """
    choices = (*own, *NORMALIZERS)
    if reduction not in REDUCTIONS:
        fail_choice(function, "reduction", REDUCTIONS, reduction)
    if isinstance(normalizer, str):
        if normalizer == "elements":
            return
        if normalizer not in NORMALIZERS:
            fail_choice(function, "normalizer", choices, normalizer, "or a positive number")
        if normalizer == "positives" and multiclass:
            raise refuse(
                function,
                "normalizer",
                'be "elements", "weights", "sample_weight" or a positive number',
                '"positives"',
                "A softmax has no negatives; pass the count of foreground targets as a number.",
            )
    elif is_number(normalizer):
        if not _counts(normalizer, shared):
            fail_normalizer(function, normalizer)
    elif adapter := adapter_of(framework, normalizer):
        adapter.check_usable(function, "normalizer", normalizer)
        if shape := adapter.facts(normalizer).shape:
            raise refuse(
                function,
                "normalizer",
                "be a number or a 0-d tensor",
                f"a tensor of shape {shape}",
                "Sum it first.",
            )
        ends = adapter.ends(normalizer)
        if ends is not None and not _counts(ends[0], shared):
            fail_normalizer(function, ends[0])
    else:
        raise refuse(
            function,
            "normalizer",
            f"be one of {quoted(choices)}, or a positive number",
            type(normalizer).__name__,
            "Pass it as a number, float(normalizer)." if is_foreign(normalizer) else "",
            TypeError,
        )
    if reduction != "mean":
        raise refuse(
            function,
            "normalizer",
            'be "elements" unless reduction is "mean"',
            f"{normalizer!r} with reduction={reduction!r}",
            "Divide the result yourself.",
        )


def _counts(number: float, shared: bool) -> bool:
    if not isinstance(number, int):
        number = float(number)  # NumPy's single would have the largest double rounded to its dtype
    return 0 < number <= sys.float_info.max or (shared and number == 0)


def fail_normalizer(function: str, value: float) -> NoReturn:
    raise refuse(
        function,
        "normalizer",
        "be > 0 and finite",
        shown(value),
        "For a count that may be zero pass max(1, count).",
    )


def check_implementation(function: str, impl: Any) -> None:
    """A known name."""
    if impl not in IMPLEMENTATIONS:
        fail_choice(function, "impl", IMPLEMENTATIONS, impl)


def fail_implementation(function: str, impl: str, reason: str) -> NoReturn:
    raise ValueError(f'{function}: impl="{impl}" {reason} Use impl="auto".')


def check_settings(
    function: str, settings: dict[str, Any], *, multiclass: bool, framework: str = "torch"
) -> None:
    """Whatever of a module's settings can be checked before there are logits."""
    check_reduction(
        function,
        settings["reduction"],
        settings["normalizer"],
        multiclass=multiclass,
        framework=framework,
    )
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
        framework=framework,
    )


def check_loss_parameters(
    function: str,
    alpha: Any,
    gamma: Any,
    label_smoothing: Any,
    *,
    multiclass: bool,
    framework: str = "torch",
) -> None:
    """alpha, gamma and label_smoothing on their own, without logits to align them with."""
    smoothing(function, label_smoothing)
    if adapter := adapter_of(framework, alpha):
        if ends := adapter.ends(alpha):
            check_alpha_range(function, *ends, multiclass=multiclass)
    elif alpha is not None:
        if multiclass:
            fail_class_weights_type(function, alpha, "C")
        alpha_number(function, alpha)
    pair = isinstance(gamma, tuple)
    if pair and multiclass:
        fail_gamma_pair(function)
    if pair and len(gamma) != 2:
        fail_gamma_count(function, len(gamma))
    for one in gamma if pair else (gamma,):
        if adapter := adapter_of(framework, one):
            adapter.check_real(function, "gamma", one)
            if ends := adapter.ends(one):
                check_gamma_range(function, *ends)
        else:
            gamma_number(function, one, multiclass=multiclass)


def check_chunk_size(function: str, chunk_size: Any) -> None:
    """None, or how many rows of logits are held at a time."""
    if chunk_size is not None and integer(function, "chunk_size", chunk_size) < 1:
        raise refuse(function, "chunk_size", "be None or at least 1 row", chunk_size)
