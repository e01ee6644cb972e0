"""Losses as functions that a tensor class may override, as torch's own losses are.

torch's protocol (https://docs.pytorch.org/docs/stable/notes/extending.html): the class is asked
first, by its ``__torch_function__``. What it usually does is to call the function again with its
own rules switched off, on which everything inside sees plain tensors, and to return the result as
it returns that of any function: as its own class, or as a plain tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

P = ParamSpec("P")
R = TypeVar("R")


def overridable(function: Callable[P, R]) -> Callable[P, R]:
    """A function of tensors that asks their classes first."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # torch.compile applies the classes' rules to each operation itself
        if not torch.compiler.is_compiling():
            given = (*args, *kwargs.values())
            if has_torch_function(given):
                tensors = [value for value in given if isinstance(value, Tensor)]
                result: R = handle_torch_function(call, tensors, *args, **kwargs)
                return result
        return function(*args, **kwargs)

    return call
