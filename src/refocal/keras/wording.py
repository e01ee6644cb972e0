"""What the checks of all frameworks say of tensors, in the words of Keras."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# in this order: the longer ones first
WORDS = (
    (
        r"torch\.nn\.functional\.one_hot\(targets\.long\(\), (\d+)\)",
        r"keras.ops.one_hot(y_true, \1)",
    ),
    (r"jax\.nn\.one_hot\(targets, (\d+)\)", r"keras.ops.one_hot(y_true, \1)"),
    (r"\.movedim\(-1, 1\)", ""),
    (r"\.(to|astype)\(logits\.dtype\)", ""),
    (r"sigmoid_focal_loss\(logits, targets[^)]*\)+", "SigmoidFocalLoss"),
    (r"targets\.nan_to_num\(0\)", "keras.ops.nan_to_num(y_true)"),
    (r"jnp\.nan_to_num\(targets\)", "keras.ops.nan_to_num(y_true)"),
    (r"Use torch\.tensor\(\.\.\.\)\.", "Use a list."),
    (r"Use \.long\(\) for indices, \.float\(\) for a one-hot encoding\.", "Use numbers."),
    (r"torch\.tensor\((\[.*?\])\)", r"\1"),
    (r"targets\.squeeze\((-?\d)\)", r"keras.ops.squeeze(y_true, \1)"),
    (r"sigmoid_focal_loss", "SigmoidFocalLoss"),
    (r"softmax_focal_loss", "SoftmaxFocalLoss"),
    (r"\btargets\b", "y_true"),
    (r"\blogits\b", "y_pred"),
    (r"\b([Aa]) (tensor|array)\b", r"\1 list"),
)


def in_words(text: str) -> str:
    """A message of the shared checks as a user of Keras is to read it."""
    for pattern, words in WORDS:
        text = re.sub(pattern, words, text)
    return text


def spoken(method: F) -> F:
    """A method whose own refusals, and those of the functions below it, speak of Keras' terms."""

    @wraps(method)
    def wrapper(self: Any, *positional: Any, **keywords: Any) -> Any:
        try:
            return method(self, *positional, **keywords)
        except (TypeError, ValueError) as error:
            kind, (name, colon, text) = type(error), str(error).partition(": ")
            if kind not in (TypeError, ValueError) or name not in (type(self).__name__, *OURS):
                raise
            said = kind(f"{type(self).__name__}{colon}{in_words(text)}")
        raise said

    return wrapper  # type: ignore[return-value]


# as functions of the backends below say it
OURS = ("sigmoid_focal_loss", "softmax_focal_loss")
