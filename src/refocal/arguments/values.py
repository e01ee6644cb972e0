"""Plain numbers, flags and integers: their type, their domain. No framework.

A `Real` is more than a float: an integer of 400 digits has no float, a fraction may round to 0 or
to 1. So the domain is checked on the float that is computed with, not on what was passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Set
from numbers import Integral, Real
from operator import index
from typing import Any, NoReturn

from refocal.arguments.adapter import is_foreign
from refocal.messages import refuse

LARGEST_GAMMA = 1e30
SHOWN = 60  # characters of a value in a message
# whose alpha weighs negatives alone and is never off, so that nothing said of a balance holds
WEIGHS_NEGATIVES = ("varifocal_loss",)


def is_number(value: Any) -> bool:
    """A real number, and not a bool, which would be a misplaced flag."""
    kind = type(value)
    return kind is float or kind is int or (isinstance(value, Real) and kind is not bool)


def is_nan(value: Any) -> bool:
    """Whether a number is NaN."""
    return is_number(value) and value != value


def as_float(value: Any) -> float:
    """The nearest float of a real number, an infinity where it is out of range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def shown(value: Any) -> str:
    """A value in a message, numbers without quotes, cut where it is long."""
    try:
        text = str(value) if is_number(value) else repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        return f"{type(value).__name__} of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def quoted(choices: tuple[str, ...]) -> str:
    return ", ".join(f'"{choice}"' for choice in choices)


def article(value: Any) -> str:
    """What a value is, with the value itself where it is short."""
    return (
        f"the {type(value).__name__} {shown(value)}" if is_number(value) else type(value).__name__
    )


def real(
    function: str,
    argument: str,
    value: Any,
    domain: str,
    inside: Callable[[Any], bool],
    hint: str = "",
) -> float:
    """A plain number as a float for which ``inside`` holds."""
    if not is_number(value):
        raise refuse(function, argument, f"be {domain}", shown(value), hint, TypeError)
    number = as_float(value)
    if inside(number):
        return number
    rounded = f", which rounds to {number:g}" if inside(value) else ""
    raise refuse(function, argument, f"be {domain}", f"{shown(value)}{rounded}", hint)


def strictly_between_0_and_1(function: str, argument: str, value: Any) -> float:
    """A probability, a prior or a weight of which neither end makes sense."""
    return real(function, argument, value, "strictly between 0 and 1", lambda one: 0 < one < 1)


def finite_positive(function: str, argument: str, value: Any) -> float:
    """A cost, say."""
    return real(function, argument, value, "finite and > 0", lambda one: 0 < one < math.inf)


def not_negative(function: str, argument: str, value: Any) -> float:
    """A weight or an exponent."""
    return real(function, argument, value, "finite and >= 0", lambda one: 0 <= one < math.inf)


def finite_gamma(function: str, value: Any) -> float:
    """A focusing exponent for a closed form, which needs no upper bound."""
    return not_negative(function, "gamma", value)


def per_class(function: str, argument: str, values: Any) -> list[Any]:
    """A list of one value per class, from a list, a tuple, an array or a tensor of one axis."""
    got = type(values).__name__
    if getattr(values, "is_meta", False):
        raise refuse(
            function,
            argument,
            "hold one number per class",
            "a meta tensor, which has no values",
            "Pass a list.",
            TypeError,
        )
    if isinstance(values, (Mapping, Set, str, bytes)):
        raise refuse(
            function,
            argument,
            "be a list of one number per class in the order of the classes",
            got,
            "Use [counts[c] for c in range(classes)].",
            TypeError,
        )
    listed = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(listed, Iterable):
        raise refuse(
            function, argument, "be a list of one number per class", shown(values), kind=TypeError
        )
    return list(listed)


# ---------------------------------------------------------------------------------------------
# of a loss


def alpha_number(function: str, alpha: Any) -> float:
    """A plain number in [0, 1]."""
    if not is_number(alpha):
        hint = "Use a tensor for one value per class." if isinstance(alpha, (list, tuple)) else ""
        hint = "Use torch.as_tensor." if is_foreign(alpha) else hint
        raise refuse(
            function,
            "alpha",
            f"be {'' if function in WEIGHS_NEGATIVES else 'None, '}a number in [0, 1] or a tensor",
            type(alpha).__name__,
            hint,
            TypeError,
        )
    if not 0 <= alpha <= 1:
        fail_alpha(function, alpha)
    return float(alpha)


def check_alpha_range(function: str, low: float, high: float, *, multiclass: bool) -> None:
    """The ends of a tensor of weights: in [0, 1], or for a softmax finite and >= 0."""
    inside = low >= 0 and (high < math.inf if multiclass else high <= 1)
    if inside:
        return
    value = low if not low >= 0 else high
    if multiclass:
        raise refuse(function, "alpha", "be finite and >= 0 for every class", value)
    fail_alpha(function, value)


def fail_alpha(function: str, value: float) -> NoReturn:
    hint = ""
    if function in WEIGHS_NEGATIVES:
        pass
    elif value < 0:
        hint = "To switch the weighting off use alpha=None."
    elif 1 < value < math.inf:
        # positives weighed w times as much as negatives: w : 1 is w/(1+w) : 1/(1+w)
        hint = (
            "A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is alpha=w / (1 + w) and the loss "
            f"times 1 + w: here alpha={shown(value)} / (1 + {shown(value)}), times 1 + "
            f"{shown(value)}."
        )
    raise refuse(function, "alpha", "be in [0, 1]", shown(value), hint)


def fail_class_weights_type(function: str, alpha: Any, classes: str) -> NoReturn:
    way_out = "Use torch.tensor(...)."
    if is_number(alpha):
        way_out = (
            "One number has no agreed meaning for several classes. To weigh a background class 0 "
            "use torch.tensor([1 - a, a, a, ...]); to scale the whole loss, multiply it."
        )
    raise refuse(
        function,
        "alpha",
        f"be None or a tensor of shape ({classes},)",
        article(alpha),
        way_out,
        TypeError,
    )


def gamma_number(function: str, gamma: Any, *, multiclass: bool) -> float:
    """A finite plain number >= 0."""
    if not is_number(gamma):
        pair = "" if multiclass else " or a tuple (gamma_pos, gamma_neg)"
        hint = f"Use a tensor for one value per class{pair}." if isinstance(gamma, list) else ""
        hint = "Use torch.as_tensor." if is_foreign(gamma) else hint
        raise refuse(
            function, "gamma", "be a number >= 0 or a tensor", type(gamma).__name__, hint, TypeError
        )
    if not 0 <= gamma < math.inf:
        fail_gamma(function, gamma)
    # held: beyond it q**gamma is 0 or 1 for every float, but gamma * p * ce would overflow
    return min(as_float(gamma), LARGEST_GAMMA)


def single_gamma(function: str, gamma: Any) -> float:
    """A finite plain number >= 0 of a loss with one exponent for all."""
    if isinstance(gamma, tuple):
        fail_gamma_pair(function)
    return gamma_number(function, gamma, multiclass=True)


def check_gamma_range(function: str, low: float, high: float) -> None:
    """The ends of a tensor of exponents: finite and >= 0."""
    if not (low >= 0 and high < math.inf):
        fail_gamma(function, low if not low >= 0 else high)


def fail_gamma(function: str, value: float) -> NoReturn:
    raise refuse(function, "gamma", "be finite and >= 0", shown(value))


def fail_gamma_count(function: str, count: int) -> NoReturn:
    raise refuse(
        function,
        "gamma",
        "be a number, a tensor or a tuple of exactly two, (gamma_pos, gamma_neg)",
        f"{count} values",
        "For one value per class use a tensor.",
    )


def fail_gamma_pair(function: str) -> NoReturn:
    raise refuse(
        function,
        "gamma",
        "be a number >= 0 or a tensor",
        "tuple",
        (
            "A pair (gamma_pos, gamma_neg) belongs to sigmoid_focal_loss; for one value per class "
            "use a tensor."
        ),
        TypeError,
    )


def smoothing(function: str, label_smoothing: Any) -> float:
    """label_smoothing, a number in [0, 1]."""
    return fraction(function, "label_smoothing", label_smoothing)


def fraction(function: str, argument: str, value: Any) -> float:
    """A number in [0, 1]."""
    if not is_number(value):
        raise refuse(
            function, argument, "be a number in [0, 1]", type(value).__name__, kind=TypeError
        )
    if not 0 <= value <= 1:
        raise refuse(function, argument, "be in [0, 1]", shown(value))
    return float(value)


def flag(function: str, argument: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise refuse(function, argument, "be True or False", type(value).__name__, kind=TypeError)
    return value


def integer(function: str, argument: str, value: Any) -> int:
    """An integer, of Python or NumPy, that 64 bits hold."""
    if type(value) is not int and (not isinstance(value, Integral) or isinstance(value, bool)):
        raise refuse(function, argument, "be an integer", type(value).__name__, kind=TypeError)
    number = index(value)
    if not -(2**63) <= number < 2**63:
        raise refuse(function, argument, "be an integer of 64 bits", shown(number))
    return number


def ignored_integer(function: str, ignore_index: Any) -> int:
    """The integer that marks what is ignored."""
    if is_nan(ignore_index):
        raise refuse(
            function,
            "ignore_index",
            "be an integer",
            type(ignore_index).__name__,
            "No integer target is NaN: mark what is missing by a number.",
            kind=TypeError,
        )
    return integer(function, "ignore_index", ignore_index)


def check_ignore_index(function: str, ignore_index: Any, *, multiclass: bool) -> None:
    """An integer; of a sigmoid also NaN, which floating targets can hold, or None."""
    if multiclass or not (ignore_index is None or is_nan(ignore_index)):
        ignored_integer(function, ignore_index)


def fail_choice(
    function: str, argument: str, choices: tuple[str, ...], value: Any, more: str = ""
) -> NoReturn:
    more = f", {more}" if more else ""
    raise refuse(function, argument, f"be one of {quoted(choices)}{more}", shown(value))
