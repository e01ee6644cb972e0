"""What is wrong with the tensors of a call, in words; of whatever framework they are."""

from __future__ import annotations

import math
from typing import NoReturn

from refocal.arguments.adapter import Facts
from refocal.messages import called, refuse

# what weighs no classes, or no two of them against each other
WITHOUT_CLASS_WEIGHTS = (
    "asymmetric_loss",
    "distribution_focal_loss",
    "gaussian_focal_loss",
    "varifocal_loss",
)
# what to use for classes that exclude each other, unless it is softmax_focal_loss
OF_EXCLUSIVE_CLASSES = {"dice_loss": "softmax_dice_loss", "tversky_loss": "softmax_tversky_loss"}


def fail_target_range(
    function: str,
    value: float,
    link: str,
    others: tuple[float, float] | None,
) -> NoReturn:
    """What ``value`` outside [0, 1] means, by the ends of all others, None where there are none."""
    argument = called(function, "targets")
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
        if argument != "targets":  # what follows is said of labels
            if value > 1:
                hint = f"If they are grey levels or percentages, divide by their largest. {hint}"
        elif value == -1 and others == (1, 1):
            hint = f"Only -1 and 1 occur: if -1 is the negative class, use targets > 0. {hint}"
        elif value > 1 and others in (None, (0, 0)):
            hint = (
                f"Only 0 and {int(value)} occur: if {int(value)} is the positive class, as in a "
                f"mask of grey levels, use targets > 0. {hint}"
            )
        elif value > 1 and others is not None and others[1] > 1:
            exclusive = OF_EXCLUSIVE_CLASSES.get(function, "softmax_focal_loss")
            hint = (
                f"Several values above 1 occur: for class indices use {exclusive} or one-hot "
                f"targets, for grey levels divide by their largest. {hint}"
            )
    raise refuse(function, "targets", "be in [0, 1]", value, hint)


def fail_sample_weight(function: str, value: float) -> NoReturn:
    raise refuse(
        function,
        "sample_weight",
        "be finite and >= 0",
        value,
        "A negative weight would reward the wrong answer; 0 leaves an element out.",
    )


def fail_class_index(function: str, value: int, classes: int) -> NoReturn:
    raise refuse(
        function,
        "targets",
        f"be class indices from 0 to {classes - 1}",
        value,
        f"If {value} marks what to leave out, pass ignore_index={value}.",
    )


def fail_one_class(function: str, logits: Facts, targets: Facts) -> NoReturn:
    way_out = "sigmoid_focal_loss(logits, targets[:, None])"
    if targets.shape == logits.shape:
        way_out = "sigmoid_focal_loss(logits, targets)"
    elif len(logits.shape) == 1:
        way_out = "sigmoid_focal_loss(logits, targets.to(logits.dtype).view_as(logits))"
    if function.lower().startswith("linear"):
        way_out = "sigmoid_focal_loss((hidden @ weight.T).squeeze(-1), targets)"
    raise refuse(
        function,
        "logits",
        "have at least two classes",
        logits.shape,
        (
            "The softmax of one class is 1, so its loss is 0 and nothing is learned. One column is "
            f"a binary problem: use {way_out}."
        ),
    )


def fail_sigmoid_shape(function: str, logits: Facts, targets: Facts) -> NoReturn:
    positions = logits.shape[:1] + logits.shape[2:]
    argument = called(function, "targets")
    labels = argument == "targets"
    hint = ""
    if len(logits.shape) >= 2 and logits.shape[1] == 1 and targets.shape == positions:
        hint = f"Use {argument}[:, None]: the logits have an axis of one column."
    elif labels and len(logits.shape) >= 2 and targets.shape == positions and not targets.floating:
        one_hot = f"torch.nn.functional.one_hot(targets.long(), {logits.shape[1]})"
        if len(logits.shape) > 2:
            one_hot += ".movedim(-1, 1)"
        hint = (
            f"For class indices use {OF_EXCLUSIVE_CLASSES.get(function, 'softmax_focal_loss')}, "
            f"where classes exclude each other, or {one_hot}.to(logits.dtype) for one decision per "
            "class."
        )
    elif len(logits.shape) >= 1 and logits.shape[-1] == 1 and targets.shape == logits.shape[:-1]:
        hint = f"Use {argument}[..., None]: the logits have an axis of one column."
    elif len(targets.shape) == len(logits.shape) + 1 and logits.shape in (
        targets.shape[:1] + targets.shape[2:],
        targets.shape[:-1],
    ):
        axis = 1 if logits.shape == targets.shape[:1] + targets.shape[2:] else -1
        if targets.shape[axis] == 1:
            hint = f"Use {argument}.squeeze({axis}): an axis of one column is too many."
    elif math.prod(logits.shape) == math.prod(targets.shape):
        hint = "Reshape one of them: broadcasting here would pair every logit with every target."
    raise refuse(
        function,
        "targets",
        "have the shape of logits",
        f"{targets.shape} and {logits.shape}",
        hint,
    )


def fail_softmax_shape(
    function: str, logits: Facts, targets: Facts, positions: tuple[int, ...]
) -> NoReturn:
    hint = ""
    if targets.floating:
        if targets.shape == positions:
            hint = "For class indices use targets.long()."
    elif targets.shape == logits.shape:
        hint = "For a one-hot encoding use targets.float(); for multi-label sigmoid_focal_loss."
    raise refuse(
        function,
        "targets",
        f"be class indices of shape {positions} or probabilities of shape {logits.shape}",
        f"{targets.dtype} of shape {targets.shape}",
        hint,
    )


def fail_gamma_per_example(function: str, got: tuple[int, ...]) -> NoReturn:
    raise refuse(
        function,
        "gamma",
        "be a number or one value per class",
        f"shape {got}",
        "No posterior exists for a gamma that depends on the example.",
    )


def fail_integer_logits(function: str, dtype: object) -> NoReturn:
    raise refuse(
        function,
        "logits",
        "be floating",
        dtype,
        "Pass the network's raw output; if these are the labels, the arguments are swapped.",
        TypeError,
    )


def fail_scalar_logits(function: str) -> NoReturn:
    raise refuse(
        function,
        "logits",
        "have a class axis, (C,) or (N, C, *)",
        "shape ()",
        "For one binary decision use the sigmoid form.",
    )


def fail_bool_classes(function: str, dtype: object) -> NoReturn:
    raise refuse(
        function,
        "targets",
        "be class indices or probabilities",
        dtype,
        "Use .long() for indices, .float() for a one-hot encoding.",
        TypeError,
    )


def fail_ignored_probabilities(function: str, ignored: object) -> NoReturn:
    raise refuse(
        function,
        "ignore_index",
        "be left at -100 with probability targets",
        ignored,
        "Mask positions with sample_weight=0.",
    )


def fail_class_weights_shape(
    function: str, classes: int, logits: tuple[int, ...], got: tuple[int, ...]
) -> NoReturn:
    raise refuse(
        function,
        "alpha",
        f"have shape ({classes},), one weight per class of logits {logits}",
        got,
    )


def fail_softmax_gamma_shape(
    function: str, classes: int, targets: tuple[int, ...], got: tuple[int, ...]
) -> NoReturn:
    raise refuse(
        function, "gamma", f"be 0-d, ({classes},) per class or {targets} like targets", got
    )


def fail_weight_shape(function: str, positions: tuple[int, ...], got: tuple[int, ...]) -> NoReturn:
    raise refuse(
        function,
        "sample_weight",
        f"have the shape {positions} of the loss or of its leading axes",
        got,
        "" if function in WITHOUT_CLASS_WEIGHTS else "For one weight per class use alpha.",
    )


def fail_unlearned(function: str, domain: str, got: str) -> NoReturn:
    raise refuse(
        function,
        "alpha",
        f"be {domain}",
        got,
        "A class of weight 0 is not learned, so it has no posterior.",
    )


def check_posterior_smoothing(function: str, label_smoothing: float) -> None:
    """Below 1: at 1 the targets carry no information."""
    if label_smoothing == 1:
        raise refuse(
            function,
            "label_smoothing",
            "be below 1",
            "1.0",
            "Targets smoothed completely carry no class.",
        )
