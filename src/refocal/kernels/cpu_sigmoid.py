"""Torch's side of the sigmoid kernel: which kernel, on which memory, with which numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refocal import formula
from refocal.kernels import frame
from refocal.kernels.cpu_call import (
    DTYPES,
    dense,
    launch,
    number,
    packer,
    relaunch,
    representable,
)
from refocal.kernels.memory import fresh_like
from refocal.problem import Number, SigmoidProblem

# RESULT, RESULT_FACTOR, REDO; LOGITS to IGNORED; GAMMA_POSITIVE to ALPHA_NEGATIVE
LAYOUT = "qdq" + "qqqqqqq" + "rrrrrrr"
# per parameter read per element: an address or 0, a stride or the number, two strides
ARRAY_LAYOUT, NUMBER_LAYOUT, SIZES_LAYOUT = "qqqq", "qrqq", "qq"
# elements per block, as in numba_sigmoid
BLOCK, BLOCK_OF_ARRAYS = 4096, 1024

_kernels: dict[tuple[Any, ...], int] = {}


def run(
    problem: SigmoidProblem, output: str, factor: Number, *, gradient: bool
) -> tuple[Tensor | None, Tensor | None, bool]:
    """One pass.

    Args:
        problem: of dtypes that there are kernels for.
        output: "sum" of the losses times ``factor``, "each" of them, or "nothing".
        factor: what the gradient is multiplied by: a number or, unless the output is the sum, one
            per element.
        gradient: whether the gradient is wanted.

    Returns:
        The loss, the gradient, and whether some target may be outside its domain.
    """
    logits, targets, alpha, gamma, weight, ignored, smoothing, detached = problem
    alpha_p, alpha_n = number(alpha[0]), number(alpha[1])
    gamma_p, gamma_n = number(gamma[0]), number(gamma[1])
    scale = 1.0 if weight is None else number(weight)
    parameters = (alpha_p, alpha_n, gamma_p, gamma_n, scale, factor)
    arrays = weight is not None or any(isinstance(one, Tensor) for one in parameters)
    if not (logits.is_contiguous() and targets.is_contiguous()) or logits.is_neg():
        logits, targets = _side_by_side(logits, targets, reorder=not arrays)
    double = logits.dtype == torch.float64
    elements = logits.numel()

    slopes = fresh_like(logits) if gradient else None
    losses = total = None
    if output == "each":
        losses = fresh_like(logits)
    elif output == "sum":
        total = torch.empty((), dtype=torch.float64 if double else torch.float32)
    values: tuple[Any, ...] = (
        0 if total is None else total.data_ptr(),
        0.0 if total is None else factor,
        0,
        logits.data_ptr(),
        targets.data_ptr(),
        0 if slopes is None else slopes.data_ptr(),
        0 if losses is None else losses.data_ptr(),
        elements,
        ignored is not None,
        ignored or 0,
    )
    layout, block = LAYOUT, BLOCK
    if arrays:
        table_layout, table, _held = _table(parameters, logits)
        values += (0.0, 0.0, 0.0, 1 - smoothing, smoothing / 2, 0.0, 0.0, *table)
        layout, block = LAYOUT + table_layout, BLOCK_OF_ARRAYS
    else:
        scaled = representable(factor, double=double)
        values += (gamma_p, gamma_n, scaled, 1 - smoothing, smoothing / 2, alpha_p, alpha_n)

    pair = arrays or gamma_p != gamma_n
    modulator = "compensated" if pair else formula.EXACT_MODULATORS.get(gamma_p, "compensated")
    guarded = arrays or alpha_p == 0 or alpha_n == 0
    features = (logits.dtype, targets.dtype, modulator, pair, detached, arrays, guarded)
    features += (arrays or ignored is not None, smoothing != 0, output, gradient)
    slots = launch(
        _kernel(features), packer(layout, double), values, -(-elements // block), elements
    )
    if slots[frame.REJECTED] and smoothing == 0 and targets.dtype.is_floating_point:
        relaunch(_kernel((*features[:8], True, output, gradient)), slots)
    return total if losses is None else losses, slopes, bool(slots[frame.REJECTED])


def _kernel(features: tuple[Any, ...]) -> int:
    """The address of a kernel, compiled on first use."""
    try:
        return _kernels[features]
    except KeyError:
        from refocal.kernels import numba_sigmoid

        logits, targets, *others = features
        kernel = numba_sigmoid.SigmoidKernel(DTYPES[logits], DTYPES[targets], *others)
        return _kernels.setdefault(features, numba_sigmoid.build(kernel))


def _side_by_side(logits: Tensor, targets: Tensor, *, reorder: bool) -> tuple[Tensor, Tensor]:
    """Both in memory in the same order, which need not be the order of their axes.

    Outputs of convolutions are often channels-last. Where both tensors are, and nothing else has
    to be read along, their memory is as good as contiguous.
    """
    if (
        reorder
        and logits.stride() == targets.stride()
        and not (logits.is_neg() or targets.is_neg())
        and torch.empty_like(logits, device="meta").stride() == logits.stride()
    ):
        return logits, targets
    return dense(logits), dense(targets)


# ---------------------------------------------------------------------------------------------
# parameters that are read per element


def _table(
    parameters: tuple[Number, ...], logits: Tensor
) -> tuple[str, tuple[Any, ...], list[Tensor]]:
    """Slots from PARAMETERS on, their layout, and the tensors whose addresses they hold."""
    shape = logits.shape
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    tensors = [one.to(dtype).expand(shape) for one in parameters if isinstance(one, Tensor)]
    axes = _common_axes(tuple(shape), [tensor.stride() for tensor in tensors])
    if len(axes) > 3:
        tensors = [tensor.contiguous() for tensor in tensors]
        axes = _common_axes(tuple(shape), [tensor.stride() for tensor in tensors])
    axes = [(1, (0,) * len(tensors))] * (3 - len(axes)) + axes
    layout, values, position = "", [], 0
    for one in parameters:
        if isinstance(one, Tensor):
            layout += ARRAY_LAYOUT
            values += [tensors[position].data_ptr(), *(strides[position] for _, strides in axes)]
            position += 1
        else:
            layout += NUMBER_LAYOUT
            values += [0, representable(one, double=dtype == torch.float64), 0, 0]
    return layout + SIZES_LAYOUT, (*values, axes[1][0], axes[2][0]), tensors


def _common_axes(
    shape: tuple[int, ...], strides: list[tuple[int, ...]]
) -> list[tuple[int, tuple[int, ...]]]:
    """Axes (size, stride of each tensor), outermost first, after merging neighbours that all
    tensors run through without a jump.
    """
    axes: list[tuple[int, tuple[int, ...]]] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        own = tuple(stride[axis] for stride in strides)
        if axes and all(a == b * size for a, b in zip(axes[-1][1], own, strict=True)):
            axes[-1] = (axes[-1][0] * size, own)
        else:
            axes.append((size, own))
    return axes
