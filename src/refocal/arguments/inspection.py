"""Whether the values inside a tensor may be read, and which are the smallest and the largest."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import torch
from torch import Tensor

from refocal.torch_state import is_readable, unwatched, values_of

_values_checked_everywhere = False

LARGE = 1000  # so many logits are rarely all in [0, 1] by chance

# what torch computes little with, but converts
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def check_values(everywhere: bool) -> None:
    """Check values inside tensors on every device, not only on the CPU.

    Targets in [0, 1], class indices in range, gamma >= 0 and alpha in its domain are checked on the
    CPU in any case. On other devices a check makes the host wait for the device, so it is off
    unless asked for here. Never checked under torch.compile, torch.export or torch.func.

    With True, a warning says where the logits of a large batch all lie between 0 and 1: they are
    probabilities, as a model returns them that ends in a sigmoid or a softmax.

    Args:
        everywhere: True to check on every device, False for the CPU alone (the default).

    Example:
        >>> import refocal
        >>> refocal.check_values(True)
        >>> refocal.check_values(False)
    """
    global _values_checked_everywhere
    _values_checked_everywhere = bool(everywhere)


def readable(tensor: Tensor) -> bool:
    """Whether the values of a tensor may be read here and now: where that does not synchronise."""
    return (
        (tensor.device.type == "cpu" or _values_checked_everywhere)
        and tensor.numel() > 0
        and is_readable(tensor)
    )


def suspect_probabilities(function: str, logits: Tensor) -> None:
    """Warn of a large batch of logits that are all in [0, 1], if values are checked everywhere.

    Constant ones are those of a last layer of zeros, and are none.
    """
    # readable first: asking a traced tensor for its size would make that a condition of the graph
    if not _values_checked_everywhere or not readable(logits) or logits.numel() < LARGE:
        return
    low, high = extremes(logits)
    if 0 <= low < high <= 1:
        warnings.warn(
            f"{function}: logits must be what a network returns before its sigmoid or softmax, got "
            f"{logits.numel():,} numbers between 0 and 1. If they are probabilities, leave out the "
            "network's last step, or pass torch.logit(p), for a softmax p.log(), which lose what "
            "was rounded to 0 or 1.",
            stacklevel=_line_of_the_caller(),
        )


def _line_of_the_caller() -> int:
    """The stack level, seen from who asks, of the line that called the library or its module."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("refocal.", "torch.")):
        level, frame = level + 1, frame.f_back
    return level


def extremes(tensor: Tensor) -> tuple[Any, Any]:
    """The smallest and the largest value that this process holds, as numbers; NaN if any is NaN."""
    with unwatched():
        values = values_of(tensor)
        if values.numel() == 0:  # a shard may have nothing
            return 0, 0
        if values.dtype in UNSIGNED or (values.dtype.itemsize == 1 and values.is_floating_point()):
            values = values.double()  # torch finds no extremes of unsigned integers and of float8
        low, high = torch.aminmax(values)
        return low.item(), high.item()
