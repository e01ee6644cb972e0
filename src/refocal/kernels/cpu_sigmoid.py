"""Torch's side of the sigmoid kernel: which kernel, on which memory, with which numbers."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

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
    scalar,
)
from refocal.kernels.memory import fresh_like
from refocal.problem import Number, SigmoidProblem

# RESULT, RESULT_FACTOR, REDO; LOGITS to IGNORED; GAMMA_POSITIVE to ALPHA_NEGATIVE
LAYOUT = "qdq" + "qqqqqqq" + "rrrrrrr"
# per parameter that is read per element: an address or 0, a stride or the number, two strides
ARRAY_LAYOUT, NUMBER_LAYOUT, SIZES_LAYOUT = "qqqq", "qrqq", "qq"
# elements per block, as in numba_sigmoid
BLOCK, BLOCK_OF_ARRAYS = 4096, 1024


class Features(NamedTuple):
    """What the choice of a kernel depends on; alpha and gamma None where read per element."""

    logits: torch.dtype
    targets: torch.dtype
    alpha: tuple[float, float] | None
    gamma: tuple[float, float] | None
    ignoring: bool
    smoothing: float
    detached: bool
    output: str
    gradient: bool


class Plan(NamedTuple):
    """What follows from the features: looked up, because a small batch takes less than a microsecond.

    Attributes:
        kernel: address of the kernel to start with.
        numbers: slots from GAMMA_POSITIVE on, save the factor: two before it, four behind.
        layout: of the slots from RESULT on, where nothing is read per element.
    """

    kernel: int
    numbers: tuple[float, ...]
    layout: Struct


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
    table = None
    pairs: tuple[Any, Any] = (alpha, gamma)
    if weight is not None or not FLOAT.issuperset(map(type, (*alpha, *gamma, factor))):
        parameters = [number(one) for one in (*alpha, *gamma, weight, factor)]
        parameters[4] = 1.0 if weight is None else parameters[4]
        if weight is None and FLOAT.issuperset(map(type, parameters)):
            pairs = (tuple(parameters[:2]), tuple(parameters[2:4]))
        else:
            pairs = (None, None)
            logits, targets = dense(logits), dense(targets)
            table = _table(parameters, logits)
    elif not (logits.is_contiguous() and targets.is_contiguous()) or logits.is_neg():
        logits, targets = _side_by_side(logits, targets)
    dtype = logits.dtype
    double = dtype == torch.float64
    elements = logits.numel()

    slopes = fresh_like(logits) if gradient else None
    losses = fresh_like(logits) if output == "each" else None
    total = scalar(double=double) if output == "sum" else None
    features = Features(
        dtype, targets.dtype, *pairs, ignored is not None, smoothing, detached, output, gradient
    )
    kernel, numbers, layout = _plan(features)
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
        *numbers[:2],
        0.0 if table else representable(factor, double=double),  # type: ignore[arg-type]
        *numbers[2:],
    )
    block = BLOCK
    if table:
        layout, block = packer(LAYOUT + table.layout, double), BLOCK_OF_ARRAYS
        values += table.values
    slots = launch(kernel, layout, values, -(-elements // block), elements)
    if slots[frame.REJECTED] and smoothing == 0 and targets.dtype.is_floating_point:
        relaunch(_kernel(features, soft=True), slots)
    return total if losses is None else losses, slopes, bool(slots[frame.REJECTED])


FLOAT = frozenset({float})


@lru_cache(maxsize=512)
def _plan(features: Features) -> Plan:
    smoothing = features.smoothing
    gamma, alpha = features.gamma or (0.0, 0.0), features.alpha or (0.0, 0.0)
    return Plan(
        _kernel(features, soft=smoothing != 0),
        (*gamma, 1 - smoothing, smoothing / 2, *alpha),
        packer(LAYOUT, features.logits == torch.float64),
    )


def _kernel(features: Features, *, soft: bool) -> int:
    """The address of a kernel, compiled on first use."""
    from refocal.kernels import numba_sigmoid

    arrays = features.gamma is None
    pair = features.gamma is None or features.gamma[0] != features.gamma[1]
    modulator = "compensated"
    if features.gamma is not None and not pair:
        modulator = formula.EXACT_MODULATORS.get(features.gamma[0], modulator)
    return numba_sigmoid.address(
        numba_sigmoid.SigmoidKernel(
            logits=DTYPES[features.logits],
            targets=DTYPES[features.targets],
            modulator=modulator,
            pair=pair,
            detached=features.detached,
            arrays=arrays,
            guarded=features.alpha is None or 0 in features.alpha,
            # the general kernel can do it at all times, by asking
            ignoring=arrays or features.ignoring,
            soft=soft,
            output=features.output,
            gradient=features.gradient,
        )
    )


def _side_by_side(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in memory in the same order, which need not be the order of their axes.

    Outputs of convolutions are often channels-last. Where both tensors are, their memory is as good
    as contiguous.
    """
    if (
        logits.stride() == targets.stride()
        and not (logits.is_neg() or targets.is_neg())
        and torch.empty_like(logits, device="meta").stride() == logits.stride()
    ):
        return logits, targets
    return dense(logits), dense(targets)


# ---------------------------------------------------------------------------------------------
# parameters that are read per element


class Table(NamedTuple):
    """Slots from PARAMETERS on, their layout, and the tensors whose addresses they hold."""

    layout: str
    values: tuple[Any, ...]
    tensors: list[Tensor]


def _table(parameters: list[Number], logits: Tensor) -> Table:
    shape = logits.shape
    double = logits.dtype == torch.float64
    dtype = torch.float64 if double else torch.float32
    tensors = [one.to(dtype).expand(shape) for one in parameters if isinstance(one, Tensor)]
    axes = _common_axes(tuple(shape), [tensor.stride() for tensor in tensors])
    if len(axes) > 3 or any(tensor.is_neg() for tensor in tensors):
        tensors = [dense(tensor) for tensor in tensors]
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
            values += [0, representable(one, double=double), 0, 0]
    return Table(layout + SIZES_LAYOUT, (*values, axes[1][0], axes[2][0]), tensors)


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
