"""Torch's side of the softmax kernel: which kernel, on which memory, with which numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from refocal import formula
from refocal.kernels import frame
from refocal.kernels.cpu_call import DTYPES, dense, launch, number, packer, representable, scalar
from refocal.kernels.memory import fresh_like
from refocal.problem import Number, SoftmaxProblem

# RESULT_IS_DOUBLE, RESULT, RESULT_FACTOR; LOGITS to IGNORED; GAMMA_POSITIVE to SPREAD_SHARE; from
# CLASSES on
LAYOUT = "qqd" + "qqqqqqq" + "rrrrr" + "qqqqqqqq"
# Up to this many classes a vector over positions is worth the transposing.
FEW_CLASSES = 128
# Numbers in the buffer of a group, so that it stays in the L1 cache.
GROUP_NUMBERS = 8_192
# Positions come in four vectors of 16: that many the compiler handles at once, and what is left
# over one by one.
VECTORS = 64
LARGEST_GROUP = 4 * VECTORS


def run(
    problem: SoftmaxProblem, output: str, factor: Number, *, gradient: bool
) -> tuple[Tensor | None, Tensor | None, bool]:
    """One pass.

    Args:
        problem: with class indices, of dtypes that there are kernels for.
        output: "sum" of the losses times ``factor``, "each" of them, or "nothing".
        factor: what the gradient is multiplied by: a number or, unless the output is the sum, one
            per position.
        gradient: whether the gradient is wanted.

    Returns:
        The loss, the gradient, and whether some target may be no class.
    """
    axis = problem.class_axis
    logits, inner = _classes_in_place(problem.logits, axis)
    targets = dense(problem.targets)
    classes, positions = logits.shape[axis], targets.numel()
    double = logits.dtype == torch.float64
    dtype = torch.float64 if double else torch.float32

    gamma = number(problem.gamma)
    alpha = None if problem.alpha is None else dense(problem.alpha.to(dtype))
    weight = _per_position(problem.weight, targets, dtype)
    factors = _per_position(factor if isinstance(factor, Tensor) else None, targets, dtype)
    gammas, by_class = None, False
    if isinstance(gamma, Tensor):
        by_class = gamma.shape[axis] != 1
        gammas = (
            dense(gamma.reshape(-1))
            if by_class
            else dense(gamma.expand_as(targets.unsqueeze(axis)))
        )

    slopes = fresh_like(logits) if gradient else None
    losses = total = None
    if output == "each":
        losses = torch.empty(targets.shape, dtype=logits.dtype)
    elif output == "sum":
        total = scalar(double=double)

    layout, group, blocks = _groups(classes, inner, positions)
    plain = 1.0 if isinstance(factor, Tensor) else representable(factor, double=double)
    values = (
        double,
        0 if total is None else total.data_ptr(),
        0.0 if total is None else factor,
        logits.data_ptr(),
        targets.data_ptr(),
        0 if slopes is None else slopes.data_ptr(),
        0 if losses is None else losses.data_ptr(),
        positions,
        1,
        problem.ignore_index,
        0.0 if isinstance(gamma, Tensor) else gamma,
        0.0,
        plain,
        0.0,
        0.0,
        classes,
        inner,
        group,
        0 if alpha is None else alpha.data_ptr(),
        0 if weight is None else weight.data_ptr(),
        0 if factors is None else factors.data_ptr(),
        0 if gammas is None else gammas.data_ptr(),
        by_class,
    )
    modulator = "compensated"
    if not isinstance(gamma, Tensor):
        modulator = formula.EXACT_MODULATORS.get(gamma, modulator)
    features = (
        logits.dtype,
        targets.dtype,
        layout,
        modulator,
        problem.detach_modulator,
        output,
        gradient,
    )
    slots = launch(_kernel(features), packer(LAYOUT, double), values, blocks, logits.numel())
    return total if losses is None else losses, slopes, bool(slots[frame.REJECTED])


@lru_cache(maxsize=512)
def _kernel(features: tuple[Any, ...]) -> int:
    """The address of a kernel, compiled on first use."""
    from refocal.kernels import numba_softmax

    logits, targets, *others = features
    return numba_softmax.address(
        numba_softmax.SoftmaxKernel(DTYPES[logits], DTYPES[targets], *others)
    )


def _groups(classes: int, inner: int, positions: int) -> tuple[str, int, int]:
    """How positions are grouped into blocks: the layout, positions per block, and blocks.

    By sizes alone: the number of threads must not change the result.
    """
    group = min(max(GROUP_NUMBERS // classes // VECTORS, 1) * VECTORS, LARGEST_GROUP)
    if inner >= 16:
        group = min(group, inner)
        return "adjacent", group, positions // inner * -(-inner // group)
    if classes > FEW_CLASSES and inner == 1:
        group = max(16_384 // classes, 1)
        return "rows", group, -(-positions // group)
    return "transposed" if inner == 1 else "scattered", group, -(-positions // group)


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


def _per_position(value: Tensor | None, targets: Tensor, dtype: torch.dtype) -> Tensor | None:
    """One number per position, side by side."""
    return None if value is None else dense(value.to(dtype).expand_as(targets))
