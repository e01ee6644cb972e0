"""Torch's side of the softmax kernel: which kernel, on which memory, with which numbers."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from refocal.formula import modulator_for
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.launch import (
    DTYPES,
    address,
    dense,
    launch,
    number,
    packer,
    representable,
    scalar,
)
from refocal.kernels.cpu.pages import fresh_like
from refocal.problem import Number, SoftmaxProblem, class_axis_of, has_index_targets, loss_shape

# Up to this many classes a vector over positions is worth the transposing.
FEW_CLASSES = 64
# Numbers in the buffer of a group, so that it stays in the L1 cache.
GROUP_NUMBERS = 8_192
# Positions come in four vectors of 16: by one at a time, ten classes take an eighth longer.
VECTORS = 64
LARGEST_TILE = 8 * VECTORS
# The same of a block of rows, which goes through the cache row by row.
LEAST_BLOCK, LARGEST_BLOCK = 8_192, 32_768
ENOUGH_BLOCKS = 64
# A margin per class takes four buffers of a group: 4 MiB for this many classes. Beyond, groups are
# of one vector.
MANY_CLASSES = 4_096
LEAST_GROUP = 16


def run(
    problem: SoftmaxProblem, output: str, factor: Number, *, gradient: bool
) -> tuple[Tensor | None, Tensor | None, bool]:
    """One pass.

    Args:
        problem: of dtypes that there are kernels for.
        output: "sum" of the losses times ``factor``, "each" of them, or "nothing".
        factor: what the gradient is multiplied by: a number or, unless the output is the sum, one
            per position.
        gradient: whether the gradient is wanted.

    Returns:
        The loss, the gradient, and whether some target may be no class or no probability.
    """
    axis = class_axis_of(problem)
    logits, inner = _classes_in_place(problem.logits, axis)
    beside = inner == 1 and logits.dim() > 2 and not logits.is_contiguous()
    shape = loss_shape(problem)
    classes, positions = logits.shape[axis], math.prod(shape)
    # one margin per position, or one per class of every position
    single = has_index_targets(problem) and problem.label_smoothing == 0
    targets = (
        dense(problem.targets)
        if has_index_targets(problem)
        else _laid_out(problem.targets, classes_last=beside)
    )
    double = logits.dtype == torch.float64
    dtype = torch.float64 if double else torch.float32

    gamma, kind = number(problem.gamma), frame.BY_POSITION
    alpha = None if problem.alpha is None else dense(problem.alpha.to(dtype))
    weight = _per_position(problem.weight, shape, dtype)
    factors = _per_position(factor if isinstance(factor, Tensor) else None, shape, dtype)
    gammas = None
    if isinstance(gamma, Tensor):
        gammas, kind = _gammas(gamma.to(dtype), logits, axis, classes_last=beside)

    slopes = fresh_like(logits) if gradient else None
    losses = total = None
    if output == "each":
        losses = logits.new_empty(shape)
    elif output == "sum":
        total = scalar(double=double)

    layout, group, blocks = _groups(classes, inner, positions, rows=single)
    smoothing = problem.label_smoothing
    values = (
        double,
        address(total),
        0.0 if total is None else factor,
        address(logits),
        address(targets),
        address(slopes),
        address(losses),
        positions,
        1,
        problem.ignore_index,
        0.0 if isinstance(gamma, Tensor) else gamma,
        0.0,
        1.0 if isinstance(factor, Tensor) else representable(factor, double=double),
        1 - smoothing,
        smoothing / classes if classes else 0.0,
        classes,
        inner,
        group,
        address(alpha),
        address(weight),
        address(factors),
        address(gammas),
        kind,
    )
    features = Features(
        logits.dtype,
        targets.dtype,
        layout,
        modulator_for(gamma, "compensated"),
        None if single else gammas is not None,
        problem.detach_modulator,
        gradient,
    )
    slots = launch(
        _kernel(features), packer(frame.SOFTMAX_LAYOUT, double), values, blocks, logits.numel()
    )
    return total if losses is None else losses, slopes, bool(slots[frame.REJECTED])


class Features(NamedTuple):
    """What the choice of a kernel depends on.

    ``gammas`` is None for one margin per position, else whether gamma differs between the margins.
    """

    logits: torch.dtype
    targets: torch.dtype
    layout: str
    modulator: str
    gammas: bool | None
    detached: bool
    gradient: bool


@lru_cache(maxsize=512)
def _kernel(features: Features) -> int:
    """The address of a kernel, compiled on first use."""
    names = features._asdict()
    names["logits"], names["targets"] = DTYPES[features.logits], DTYPES[features.targets]
    if features.gammas is None:
        from refocal.kernels.cpu.compiled import softmax

        del names["gammas"]
        return softmax.address(softmax.SoftmaxKernel(**names))
    from refocal.kernels.cpu.compiled import expectation

    return expectation.address(expectation.ExpectationKernel(**names))


def _groups(classes: int, inner: int, positions: int, *, rows: bool) -> tuple[str, int, int]:
    """Groups positions into blocks: returns the layout, positions per block, and blocks.

    By sizes alone: the number of threads must not change the result.
    """
    group = max(GROUP_NUMBERS // max(classes, 1) // VECTORS, 1) * VECTORS
    group = min(group, LARGEST_TILE if rows else LARGEST_TILE // 2)
    if not rows and classes > MANY_CLASSES:
        group = LEAST_GROUP
    if positions and inner >= 16:
        group = min(group, inner)
        return "adjacent", group, positions // inner * -(-inner // group)
    if rows and classes > FEW_CLASSES and inner == 1:
        # the first and the last rows of a block are slower than those between, but there should be
        # enough blocks for every core
        most, least = max(LARGEST_BLOCK // classes, 16), max(LEAST_BLOCK // classes, 1)
        group = min(max(min(most, positions // ENOUGH_BLOCKS), least), frame.LARGEST_GROUP)
        return "rows", group, -(-positions // group)
    scattered = positions and inner > 1
    return "scattered" if scattered else "transposed", group, -(-positions // group)


def _classes_in_place(logits: Tensor, axis: int) -> tuple[Tensor, int]:
    """Logits without gaps, and how many positions lie between one class and the next.

    Channels-last memory has its classes side by side, as ``(N, C)`` has: no copy.
    """
    if logits.is_neg():
        logits = logits.resolve_neg()
    if logits.dim() > 2 and not logits.is_contiguous() and logits.movedim(1, -1).is_contiguous():
        return logits, 1
    inner = 1
    for size in logits.shape[axis + 1 :]:
        inner *= size
    return logits.contiguous(), inner


def _laid_out(tensor: Tensor, *, classes_last: bool) -> Tensor:
    """A tensor of the logits' shape with its values in the order in which theirs lie in memory."""
    return dense(tensor.movedim(1, -1) if classes_last else tensor)


def _gammas(gamma: Tensor, logits: Tensor, axis: int, *, classes_last: bool) -> tuple[Tensor, int]:
    """Gammas in order, and what there is one of."""
    if gamma.shape[axis] == 1:
        shape = (*logits.shape[:axis], 1, *logits.shape[axis + 1 :])
        return dense(gamma.expand(shape)), frame.BY_POSITION
    if gamma.numel() == gamma.shape[axis]:
        return dense(gamma.reshape(-1)), frame.BY_CLASS
    return _laid_out(gamma.expand_as(logits), classes_last=classes_last), frame.BY_ELEMENT


def _per_position(
    value: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor | None:
    """One number per position, side by side."""
    return None if value is None else dense(value.to(dtype).expand(shape))
