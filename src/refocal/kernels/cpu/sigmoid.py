"""Torch's side of the sigmoid kernel: which kernel, on which memory, with which numbers."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

import torch
from torch import Tensor

from refocal.formula import modulator_for
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.launch import (
    DTYPES,
    address,
    dense,
    double_bits,
    launch,
    number,
    packer,
    relaunch,
    representable,
    scalar,
)
from refocal.kernels.cpu.pages import fresh_like
from refocal.problem import Heatmap, Number, Quality, SigmoidProblem


class Read(NamedTuple):
    """How a kernel reads targets that are no labels.

    Attributes:
        kind: as in `SigmoidKernel`.
        beta: of a heatmap.
    """

    kind: str
    beta: float


LABELS = Read("label", 0.0)


class Features(NamedTuple):
    """What the choice of a kernel depends on.

    ``alpha`` and ``gamma`` are None for the general kernel, which reads them per element, ``read``
    for labels.
    """

    logits: torch.dtype
    targets: torch.dtype
    alpha: tuple[Number, Number] | None
    gamma: Number | None
    smoothing: float
    detached: bool
    read: Read | None
    output: str
    gradient: bool


class Plan(NamedTuple):
    """What follows from the features; remembered, as a small batch takes but a microsecond.

    Attributes:
        kernel: address of the kernel to start with.
        numbers: the slots around FACTOR: two before it, four behind it, and beta.
        layout: of the slots from RESULT on, where nothing is read per element.
    """

    kernel: int
    numbers: tuple[Number, ...]
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
    logits, targets, alpha, gamma, weight, ignored, smoothing, detached, reading = problem
    positives = reading.positives if type(reading) is Quality else None
    table = None
    if _is_common(problem, factor):
        if (
            not (logits.is_contiguous() and targets.is_contiguous())
            or logits.is_neg()
            or not (positives is None or positives.is_contiguous())
        ):
            logits, targets, positives = _side_by_side(logits, targets, positives)
    else:
        logits, targets = dense(logits), dense(targets)
        positives = None if positives is None else dense(positives)
        table = _table((*alpha, *gamma, 1.0 if weight is None else weight, factor), logits)
    dtype = logits.dtype
    double = dtype == torch.float64
    elements = logits.numel()

    slopes = fresh_like(logits) if gradient else None
    losses = fresh_like(logits) if output == "each" else None
    total = scalar(double=double) if output == "sum" else None
    features = Features(
        dtype,
        targets.dtype,
        None if table else alpha,
        None if table else gamma[0],
        smoothing,
        detached,
        None if reading is None else _read(reading),
        output,
        gradient,
    )
    kernel, numbers, layout = _plan(features)
    values: tuple[Any, ...] = (
        double,
        address(total),
        0.0 if total is None else factor,
        address(logits),
        address(targets),
        address(slopes),
        address(losses),
        elements,
        ignored is not None,
        double_bits(ignored) if isinstance(ignored, float) else ignored or 0,
        *numbers[:2],
        0.0 if table else representable(factor, double=double),  # type: ignore[arg-type]
        *numbers[2:],
        address(positives),
    )
    block = frame.BLOCK
    if table:
        layout, block = packer(frame.SIGMOID_LAYOUT + table.layout, double), frame.BLOCK_OF_ARRAYS
        values += table.values
    slots = launch(kernel, layout, values, -(-elements // block), elements)
    softens = reading is None and smoothing == 0 and targets.dtype.is_floating_point
    if slots[frame.REJECTED] and softens:
        relaunch(_kernel(features, soft=True), slots)
    return total if losses is None else losses, slopes, bool(slots[frame.REJECTED])


def _read(reading: Quality | Heatmap) -> Read:
    if isinstance(reading, Quality):
        return Read("quality" if reading.positives is None else "matched", 0.0)
    return Read("heatmap4" if reading.beta == 4 else "heatmap", reading.beta)


FLOAT = frozenset({float})


def _is_common(problem: SigmoidProblem, factor: Number) -> bool:
    """Plain numbers, one gamma, no weights, nothing ignored, no coefficient of 0."""
    alpha, gamma = problem.alpha, problem.gamma
    return bool(
        problem.weight is None
        and problem.ignore_index is None
        and FLOAT.issuperset(map(type, (*alpha, *gamma, factor)))
        and gamma[0] == gamma[1]
        and alpha[0] != 0
        and alpha[1] != 0
    )


@lru_cache(maxsize=512)
def _plan(features: Features) -> Plan:
    smoothing = features.smoothing
    alpha, gamma = features.alpha or (0.0, 0.0), features.gamma or 0.0
    return Plan(
        _kernel(features, soft=smoothing != 0),
        (gamma, gamma, 1 - smoothing, smoothing / 2, *alpha, (features.read or LABELS).beta),
        packer(frame.SIGMOID_LAYOUT, features.logits == torch.float64),
    )


def _kernel(features: Features, *, soft: bool) -> int:
    """The address of a kernel, compiled on first use."""
    from refocal.kernels.cpu.compiled import sigmoid

    general = features.gamma is None
    return sigmoid.address(
        sigmoid.SigmoidKernel(
            logits=DTYPES[features.logits],
            targets=DTYPES[features.targets],
            modulator=modulator_for(features.gamma, "compensated"),
            detached=features.detached,
            general=general,
            soft=soft,
            reading=(features.read or LABELS).kind,
            output=features.output,
            gradient=features.gradient,
        )
    )


def _side_by_side(
    logits: Tensor, targets: Tensor, positives: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All in memory in the same order, which need not be the order of their axes.

    Outputs of convolutions are often channels-last. Where all tensors are, their memory is as good
    as contiguous.
    """
    if (
        logits.stride() == targets.stride()
        and (positives is None or positives.stride() == logits.stride())
        and not (logits.is_neg() or targets.is_neg())
        and torch.empty_like(logits, device="meta").stride() == logits.stride()
    ):
        return logits, targets, positives
    return dense(logits), dense(targets), None if positives is None else dense(positives)


# ---------------------------------------------------------------------------------------------
# parameters that are read per element


class Table(NamedTuple):
    """Slots from PARAMETERS on, their layout, and the tensors whose addresses they hold."""

    layout: str
    values: tuple[Any, ...]
    tensors: list[Tensor]


def _table(parameters: tuple[Number, ...], logits: Tensor) -> Table:
    parameters = tuple(map(number, parameters))
    shape = logits.shape
    double = logits.dtype == torch.float64
    dtype = torch.float64 if double else torch.float32
    tensors = [one.to(dtype).expand(shape) for one in parameters if isinstance(one, Tensor)]
    axes = _common_axes(tuple(shape), [tensor.stride() for tensor in tensors])
    if len(axes) > 3 or any(tensor.is_neg() for tensor in tensors):
        tensors = [dense(tensor) for tensor in tensors]
        axes = _common_axes(tuple(shape), [tensor.stride() for tensor in tensors])
    axes = [(1, (0,) * len(tensors))] * (3 - len(axes)) + axes
    values: list[float] = []
    layout, position = "", 0
    for one in parameters:
        if isinstance(one, Tensor):
            layout += frame.ARRAY_LAYOUT
            values += [address(tensors[position]), *(strides[position] for _, strides in axes)]
            position += 1
        else:
            layout += frame.NUMBER_LAYOUT
            values += [0, representable(one, double=double), 0, 0]
    return Table(layout + frame.SIZES_LAYOUT, (*values, axes[1][0], axes[2][0]), tensors)


def _common_axes(
    shape: tuple[int, ...], strides: list[tuple[int, ...]]
) -> list[tuple[int, tuple[int, ...]]]:
    """Axes (size, stride of each tensor), outermost first, after merging neighbours that all
    tensors run through without a jump.
    """
    axes: list[tuple[int, tuple[int, ...]]] = []
    if 0 in shape:  # nothing to run through, and torch's strides are those of no array
        return axes
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        own = tuple(stride[axis] for stride in strides)
        if axes and all(a == b * size for a, b in zip(axes[-1][1], own, strict=True)):
            axes[-1] = (axes[-1][0] * size, own)
        else:
            axes.append((size, own))
    return axes
