"""What the checks of all frameworks say of tensors, in the words of JAX."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from jax import Array

from refocal.messages import refuse

# these make a program what it is; JAX knows their values while it traces, and compiles for each
STATIC = (
    "ignore_index",
    "label_smoothing",
    "detach_modulator",
    "reduction",
    "axis",
    "checkify",
    "log_odds",
    "log_probabilities",
)

F = TypeVar("F", bound=Callable[..., Any])

# in this order: the longer ones first
WORDS = (
    (r"torch\.nn\.functional\.one_hot\(targets\.long\(\), (\d+)\)", r"jax.nn.one_hot(targets, \1)"),
    (r"\.movedim\(-1, 1\)\.to\(logits\.dtype\)", ""),
    (r"\.to\(logits\.dtype\)", ".astype(logits.dtype)"),
    (r"\.view_as\(logits\)", ".reshape(logits.shape)"),
    (r"targets\.nan_to_num\(0\)", "jnp.nan_to_num(targets)"),
    (r"\.long\(\)", ".astype(int)"),
    (r"\.float\(\)", ".astype(float)"),
    (r"torch\.tensor\(", "jnp.array("),
    (r"torch\.as_tensor", "jnp.asarray"),
    (r"\.view\(", ".reshape("),
    (r"\b([Aa]) tensor\b", r"\1n array"),
    (r"\btensor\b", "array"),
)


def in_words(text: str) -> str:
    """A message of the shared checks as a user of JAX is to read it."""
    for pattern, words in WORDS:
        text = re.sub(pattern, words, text)
    return text


def check_static(function: str, keywords: dict[str, Any]) -> None:
    """No array, and so nothing traced, where a Python value decides what is computed."""
    for name in STATIC:
        if isinstance(keywords.get(name), Array):
            raise refuse(
                function,
                name,
                "be a Python value",
                "an array",
                "It is a part of the program: under jit name it in static_argnames, or close over "
                "it.",
                TypeError,
            )


def spoken(function: F) -> F:
    """A public function whose own refusals speak of arrays."""

    @wraps(function)
    def wrapper(*positional: Any, **keywords: Any) -> Any:
        check_static(function.__name__, keywords)
        try:
            return function(*positional, **keywords)
        except (TypeError, ValueError) as error:
            text = str(error)
            kind = type(error)
            if kind not in (TypeError, ValueError) or not text.startswith(f"{function.__name__}: "):
                raise
            said = kind(in_words(text))
        raise said

    return wrapper  # type: ignore[return-value]
