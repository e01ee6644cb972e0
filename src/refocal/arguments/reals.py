"""Plain numbers outside a loss: probabilities, counts, costs, each turned into a float first.

A `Real` is more than a float: an integer of 400 digits has no float, a fraction may round to 0 or
to 1. So the domain is checked on the float that is computed with, not on what was passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from torch import Tensor

from refocal.arguments.inspection import is_number

SHOWN = 60  # characters of a value in a message


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
        message = f"{function}: {argument} must be {domain}, got {shown(value)}. {hint}"
        raise TypeError(message.rstrip())
    number = as_float(value)
    if inside(number):
        return number
    rounded = f", which rounds to {number:g}" if inside(value) else ""
    message = f"{function}: {argument} must be {domain}, got {shown(value)}{rounded}. {hint}"
    raise ValueError(message.rstrip())


def strictly_between_0_and_1(function: str, argument: str, value: Any) -> float:
    """A probability, a prior or a weight of which neither end makes sense."""
    return real(function, argument, value, "strictly between 0 and 1", lambda one: 0 < one < 1)


def finite_positive(function: str, argument: str, value: Any) -> float:
    """A cost, say."""
    return real(function, argument, value, "finite and > 0", lambda one: 0 < one < math.inf)


def finite_gamma(function: str, value: Any) -> float:
    """A focusing exponent for a closed form, which needs no upper bound."""
    return real(function, "gamma", value, "finite and >= 0", lambda one: 0 <= one < math.inf)


def per_class(function: str, argument: str, values: Any) -> list[Any]:
    """A list of one value per class, from a list, a tuple, an array or a tensor of one axis."""
    got = type(values).__name__
    if isinstance(values, Tensor) and values.is_meta:
        raise TypeError(
            f"{function}: {argument} must hold one number per class, got a meta tensor, which has "
            "no values. Pass a list."
        )
    if isinstance(values, (Mapping, Set, str, bytes)):
        raise TypeError(
            f"{function}: {argument} must be a list of one number per class in the order of the "
            f"classes, got {got}. Use [counts[c] for c in range(classes)]."
        )
    listed = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(listed, Iterable):
        raise TypeError(
            f"{function}: {argument} must be a list of one number per class, got {shown(values)}."
        )
    return list(listed)
