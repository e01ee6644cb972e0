"""Public functions of tensors, at home among torch's: classes may override them, or are named.

torch's protocol (https://docs.pytorch.org/docs/stable/notes/extending.html): the class of an
argument is asked first, by its ``__torch_function__``. What it usually does is to call the function
again with its own rules switched off, on which everything inside sees plain tensors, and to return
the result as it returns that of any function: as its own class, or as a plain tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from refocal.torch_state import wrappers_among

P = ParamSpec("P")
R = TypeVar("R")


def overridable(function: Callable[P, R]) -> Callable[P, R]:
    """A function of tensors that asks their classes first, and names those that fail it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # torch.compile applies the classes' rules to each operation itself
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        given = (*args, *kwargs.values())
        if has_torch_function(given):
            result: R = handle_torch_function(call, _tensors(given), *args, **kwargs)
            return result
        try:
            return function(*args, **kwargs)
        except Exception as error:
            _explain(function.__name__, _tensors(given), error)
            raise

    return call


def _tensors(given: tuple[Any, ...]) -> list[Tensor]:
    pairs = (value if isinstance(value, tuple) else (value,) for value in given)
    return [value for pair in pairs for value in pair if isinstance(value, Tensor)]


def _explain(function: str, tensors: list[Tensor], error: Exception) -> None:
    """Says which tensors were the cause, if an operation is one that their class does not have."""
    wrappers = wrappers_among(tensors)
    if not wrappers or str(error).startswith(f"{function}: "):
        return
    raise TypeError(
        f"{function}: tensors must be plain, or of a class that carries out torch's elementwise "
        f"operations, got {wrappers}, which raised {type(error).__name__}: {error} Pass plain "
        "tensors; for masked ones the values, with the mask as sample_weight."
    ) from error
