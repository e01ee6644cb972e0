"""What a value is, and whether the values inside a tensor may be read."""

from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from torch import Tensor

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


def readable(tensor: Tensor) -> bool:
    """Whether the values of a small tensor may be read here and now."""
    return (
        tensor.numel() > 0
        and values_checked_on(tensor)
        and not torch.compiler.is_compiling()
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and torch._C._functorch.peek_interpreter_stack() is None
    )


def is_number(value: Any) -> bool:
    """A real number, and not a bool, which would be a misplaced flag."""
    kind = type(value)
    return kind is float or kind is int or (isinstance(value, Real) and kind is not bool)
