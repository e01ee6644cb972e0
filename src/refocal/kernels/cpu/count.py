"""Torch's side of counting targets: those that are kept, those that are peaks."""

from __future__ import annotations

from torch import Tensor

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.launch import (
    DTYPES,
    SERIAL_BELOW,
    address,
    dense,
    double_bits,
    launch,
    packer,
    scalar,
)
from refocal.problem import Problem, SigmoidProblem, has_index_targets

WORTHWHILE = SERIAL_BELOW  # targets: fewer are counted in the time that a launch takes


def kept(problem: Problem) -> int | None:
    """How many targets are not ignored; None where none can be.

    A comparison and a count by torch take a fifth of the time of a segmentation's kernel, this a
    third of that.
    """
    targets, value = problem.targets, problem.ignore_index
    if value is None or not (isinstance(problem, SigmoidProblem) or has_index_targets(problem)):
        return None
    return targets.numel() - occurrences(targets, value)


def occurrences(targets: Tensor, value: float) -> int:
    """How many targets are a value that their dtype holds; NaN is NaN."""
    from refocal.kernels.cpu.compiled import count

    targets = dense(targets)
    total = scalar(double=True)
    number = targets.numel()
    sought = double_bits(value) if targets.dtype.is_floating_point else int(value)
    values = (1, address(total), 1.0, 0, address(targets), 0, 0, number, 1, sought)
    blocks = -(-number // frame.COUNTED_BLOCK)
    kernel = count.address(DTYPES[targets.dtype])
    launch(kernel, packer(frame.COUNT_LAYOUT, True), values, blocks, number)
    return int(total)
