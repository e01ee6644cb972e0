"""The Triton carrier: launches on CUDA and ROCm, or on CPU tensors in Triton's interpreter.

Nothing here reads a value of a device tensor: what depends on values is decided inside the kernels.
Launch configurations are fixed, so that a call never pauses to tune, and a result never depends on
which configuration won.
"""

from __future__ import annotations

import importlib.util
import math
import os
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from refocal import formula
from refocal.arguments import LARGEST_GAMMA
from refocal.problem import (
    Number,
    Problem,
    SigmoidProblem,
    SoftmaxProblem,
    class_axis_of,
    has_index_targets,
    loss_shape,
)
from refocal.reduction import Reduction, reduce

checks_values = False

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# threads of a warp, which AMD calls a wavefront
LANES = 64 if torch.version.hip else 32
LARGEST_PROGRAM = 1024  # threads
WARPS = 4

# softmax rows are held in registers up to so many classes, and read in a loop beyond
LARGEST_ROW = {"index": 16384, "classes": 2048}
LOOP_WARPS = 8
SCALE_BLOCK = 8192


@cache
def interpreted() -> bool:
    """Whether Triton interprets kernels on CPU tensors. Asked of Triton, once it is needed."""
    from refocal.kernels import triton_text

    return triton_text.INTERPRETED


@cache
def installed() -> bool:
    """Whether there is a Triton to import; on ROCm its distribution has another name."""
    return importlib.util.find_spec("triton") is not None


def unsupported(problem: Problem) -> str | None:
    """A device without Triton, no Triton, or float64."""
    logits = problem.logits
    if logits.device.type != "cuda" and not (
        logits.device.type == "cpu"
        and os.environ.get("TRITON_INTERPRET")
        and installed()
        and interpreted()
    ):
        return f"needs logits on cuda, got {logits.device.type}."
    if not installed():
        return "needs Triton, which is not installed."
    if logits.dtype not in DTYPES:
        return f"needs float32, bfloat16 or float16 logits, got {logits.dtype}."
    return None


def evaluate(
    function: str, problem: Problem, reduction: Reduction, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """The reduced loss and, for the sum or mean of float32 or bfloat16 logits, its gradient.

    That gradient is complete but for upstream, which is usually 1. "none" and float16 compute it in
    backward, where upstream is known and only one rounding is left.
    """
    logits = problem.logits
    now = gradient and reduction.kind != "none" and logits.dtype != torch.float16
    gradients = torch.empty_like(logits, memory_format=torch.contiguous_format) if now else None
    if reduction.kind == "none":
        losses = torch.empty(loss_shape(problem), dtype=logits.dtype, device=logits.device)
        launch(problem, 1.0, losses, gradients, "none")
        return losses, gradients
    denominator = reduction.denominator
    factor: Number = 1 / denominator if reduction.kind == "mean" else 1.0
    sums = torch.empty(programs(problem), dtype=torch.float32, device=logits.device)
    launch(problem, factor, sums, gradients, "sum")
    # one float32 per block: adding them in float64 costs nothing and loses nothing
    total = reduce(sums.double(), reduction, torch.float64)
    return total.float(), gradients


def gradient(problem: Problem, factor: Tensor) -> Tensor:
    """The gradient of the unreduced loss times ``factor``, rounded once."""
    gradients = torch.empty_like(problem.logits, memory_format=torch.contiguous_format)
    launch(problem, factor, gradients, gradients, "no")
    return gradients


def scaled(
    problem: Problem, reduction: Reduction, kept: Tensor, upstream: Tensor, *, in_place: bool
) -> Tensor:
    """The gradient that `evaluate` returned, times ``upstream``.

    In place, nothing but ``upstream`` is read where that is 1, and the host learns nothing of it. A
    half-precision gradient has been rounded and is formed anew for any other ``upstream``.
    """
    if kept.dtype != torch.float32:
        factor = upstream.float()
        if reduction.kind == "mean":
            factor = factor / reduction.denominator
        if not in_place:
            return gradient(problem, factor)
        launch(problem, factor, kept, kept, "no", upstream)
    elif not in_place:
        return kept * upstream
    elif kept.numel():
        from refocal.kernels import triton_kernels

        count = kept.numel()
        with on(kept):
            triton_kernels.scale_kernel[(blocks(count, SCALE_BLOCK),)](
                kept,
                upstream,
                count,
                BLOCK=SCALE_BLOCK,
                num_warps=8,
                enable_fp_fusion=True,
            )
    return kept


# ---------------------------------------------------------------------------------------------
# what a kernel is given


class Spread(NamedTuple):
    """A parameter as kernels find it.

    Attributes:
        value: a number or a contiguous tensor.
        layout: "none", "number", "single" (0-d), "full" (one per element), or "cycle": element i
            has value ``(i // inner) % size``, which covers per-class and per-row values.
        inner: how many neighbouring elements share a value.
        size: how many values there are.
    """

    value: Any
    layout: str
    inner: int = 1
    size: int = 1


def spread(value: Number | None, like: Tensor) -> Spread:
    """A number or a tensor that broadcasts to ``like``, without copying it to full size."""
    if value is None:
        return Spread(like, "none")  # a kernel without it never looks at the pointer
    if not isinstance(value, Tensor):
        return Spread(float(value), "number")
    value = value.to(device=like.device, dtype=torch.float32)
    if value.numel() == 1:
        return Spread(value.contiguous(), "single")
    if value.shape == like.shape:
        return Spread(value.contiguous(), "full")
    long = [axis for axis, size in enumerate(value.shape) if size > 1]
    block = slice(long[0], long[-1] + 1)
    if value.shape[block] != like.shape[block]:
        return Spread(value.expand(like.shape).contiguous(), "full")
    inner = like.shape[long[-1] + 1 :].numel()
    return Spread(value.contiguous(), "cycle", inner, value.numel())


def spread_pair(pair: tuple[Number, Number], like: Tensor) -> tuple[Spread, Spread]:
    """Both of a pair in one layout."""
    if any(isinstance(one, Tensor) for one in pair):
        tensors = (torch.as_tensor(one, dtype=torch.float32, device=like.device) for one in pair)
        pair = tuple(torch.broadcast_tensors(*tensors))  # type: ignore[no-untyped-call]
    return spread(pair[0], like), spread(pair[1], like)


def modulator_for(gamma: Number | tuple[Number, Number]) -> str:
    """Which of the formula's modulators: an exact one for 0, 1 and 2, else the compensated."""
    first, second = gamma if isinstance(gamma, tuple) else (gamma, gamma)
    if isinstance(first, Tensor) or isinstance(second, Tensor) or first != second:
        return "compensated"
    return formula.EXACT_MODULATORS.get(first, "compensated")


def tame(gamma: Number) -> Number:
    """Gamma no larger than makes a difference: gamma * 1000 must stay finite."""
    return gamma.clamp(max=LARGEST_GAMMA) if isinstance(gamma, Tensor) else gamma


def readable(targets: Tensor) -> Tensor:
    """Contiguous targets; bool as the bytes they are."""
    targets = targets.contiguous()
    return targets.view(torch.uint8) if targets.dtype == torch.bool else targets


def blocks(count: int, size: int) -> int:
    return -(-count // size)


def on(tensor: Tensor) -> Any:
    """Launches go to the current device, which need not be the tensor's."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------------------------------------
# launches


class Tile(NamedTuple):
    """What a program of a softmax covers; no rows where a row is read in a loop."""

    rows: int
    columns: int
    warps: int


def kind(problem: SoftmaxProblem) -> str:
    """Whether one class of a position is a target, or every class."""
    return "index" if has_index_targets(problem) and not problem.label_smoothing else "classes"


def tile(problem: SoftmaxProblem) -> Tile:
    """Several short rows, one long row, or a part of a longer one, within 80 registers a thread."""
    classes = problem.logits.shape[class_axis_of(problem)]
    columns = 1 << (classes - 1).bit_length()
    looped = classes > LARGEST_ROW[kind(problem)]
    if kind(problem) == "classes":
        each = 4  # elements per thread: each has many intermediates
    elif looped:
        each = 8
    else:
        each = 16 if columns >= 128 else 4  # of short rows, what is held per row counts
    if looped:
        return Tile(0, LANES * each * LOOP_WARPS, LOOP_WARPS)
    rows = max(1, WARPS * LANES * each // columns)
    warps = columns // (LANES * each)
    return Tile(rows, columns, min(LARGEST_PROGRAM // LANES, max(WARPS, warps)))


def block(problem: SigmoidProblem) -> int:
    """Elements of a program of a sigmoid: as many per thread as stay within 80 registers."""
    exact = modulator_for(problem.gamma) != "compensated"
    each = 16 if problem.logits.dtype == torch.float32 and exact else 8
    return WARPS * LANES * each


def programs(problem: Problem) -> int:
    """How many programs a problem takes."""
    if isinstance(problem, SigmoidProblem):
        return blocks(problem.logits.numel(), block(problem))
    return blocks(math.prod(loss_shape(problem)), max(1, tile(problem).rows))


def launch(
    problem: Problem,
    factor: Number,
    losses: Tensor,
    gradients: Tensor | None,
    loss: str,
    unless: Tensor | None = None,
) -> None:
    """Runs the kernel of a problem.

    Args:
        problem: the problem.
        factor: multiplies the gradient; a number, or a tensor: 0-d or of the loss shape.
        losses: where the loss goes.
        gradients: where the gradient goes, or None.
        loss: what of the loss is wanted: "none" for each, "sum" for one sum per program, or "no".
        unless: the kernel does nothing if this 0-d tensor is 1.
    """
    if problem.logits.numel() == 0:
        losses.zero_()
        return
    with on(problem.logits):
        if isinstance(problem, SigmoidProblem):
            _launch_sigmoid(problem, factor, losses, gradients, loss, unless)
        else:
            _launch_softmax(problem, factor, losses, gradients, loss, unless)


def _launch_sigmoid(
    problem: SigmoidProblem,
    factor: Number,
    losses: Tensor,
    gradients: Tensor | None,
    loss: str,
    unless: Tensor | None,
) -> None:
    from refocal.kernels import triton_kernels

    logits, targets = problem.logits.contiguous(), readable(problem.targets)
    count = logits.numel()
    alpha = spread_pair(problem.alpha, logits)
    first, second = problem.gamma
    gamma = spread_pair((tame(first), tame(second)), logits)
    weight, scaled = spread(problem.weight, logits), spread(factor, logits)
    certain = not targets.dtype.is_floating_point and not problem.label_smoothing
    size = block(problem)
    triton_kernels.sigmoid_kernel[(blocks(count, size),)](
        logits,
        targets,
        losses,
        losses if gradients is None else gradients,
        alpha[0].value,
        alpha[1].value,
        gamma[0].value,
        gamma[1].value,
        weight.value,
        scaled.value,
        logits if unless is None else unless,
        count,
        alpha[0].inner,
        alpha[0].size,
        gamma[0].inner,
        gamma[0].size,
        weight.inner,
        weight.size,
        problem.ignore_index or 0,
        problem.label_smoothing,
        ALPHA=alpha[0].layout,
        GAMMA=gamma[0].layout,
        WEIGHT=weight.layout,
        FACTOR=scaled.layout,
        UNLESS=unless is not None,
        HARD=certain,
        SMOOTH=problem.label_smoothing != 0,
        ZEROS=alpha[0].layout != "number" or 0 in problem.alpha,
        IGNORE=problem.ignore_index is not None,
        MODULATOR=modulator_for(problem.gamma),
        DETACHED=problem.detach_modulator,
        LOSS=loss,
        GRADIENT=gradients is not None,
        PRECISE=logits.dtype == torch.float32,
        EVEN=count % size == 0,
        BLOCK=size,
        num_warps=WARPS,
        enable_fp_fusion=True,
    )


def class_gamma(problem: SoftmaxProblem) -> tuple[Any, str]:
    """A softmax' exponents, and by what they differ: nothing, "class", "position" or "element"."""
    gamma, axis = tame(problem.gamma), class_axis_of(problem)
    if not isinstance(gamma, Tensor):
        return gamma, "number"
    gamma = gamma.to(device=problem.logits.device, dtype=torch.float32)
    if gamma.numel() == 1:
        return gamma.contiguous(), "single"
    if gamma.numel() == gamma.shape[axis]:
        return gamma.contiguous(), "class"
    if gamma.shape[axis] == 1:
        return gamma.squeeze(axis).expand(loss_shape(problem)).contiguous(), "position"
    return gamma.expand(problem.logits.shape).contiguous(), "element"


def _launch_softmax(
    problem: SoftmaxProblem,
    factor: Number,
    losses: Tensor,
    gradients: Tensor | None,
    loss: str,
    unless: Tensor | None,
) -> None:
    from refocal.kernels import triton_kernels, triton_text

    logits = problem.logits.contiguous()
    positions = math.prod(loss_shape(problem))
    classes = logits.shape[class_axis_of(problem)]
    inner = logits.shape[class_axis_of(problem) + 1 :].numel()
    rows, columns, warps = tile(problem)
    gamma, gamma_layout = class_gamma(problem)
    functions = triton_text.bound(modulator_for(problem.gamma))
    weight = problem.weight
    if weight is not None:
        weight = weight.to(torch.float32).expand(loss_shape(problem)).contiguous()
    alpha = problem.alpha
    if alpha is not None:
        alpha = alpha.to(torch.float32).contiguous()
    scaled = spread(factor, losses if loss != "no" else factor)  # type: ignore[arg-type]
    arguments: tuple[Any, ...] = (
        logits,
        readable(problem.targets),
        losses,
        losses if gradients is None else gradients,
        logits if alpha is None else alpha,
        gamma,
        logits if weight is None else weight,
        scaled.value,
        logits if unless is None else unless,
        positions,
        classes,
        inner,
        problem.ignore_index,
    )
    meta = {
        "BOTH": (
            functions.value_and_detached_slope
            if problem.detach_modulator
            else functions.value_and_slope
        ),
        "ALPHA": alpha is not None,
        "GAMMA": gamma_layout,
        "WEIGHT": weight is not None,
        "FACTOR": scaled.layout,
        "UNLESS": unless is not None,
        "INNER": inner > 1,
        "LOSS": loss,
        "GRADIENT": gradients is not None,
        "BLOCK": columns,
        "enable_fp_fusion": True,
        "num_warps": warps,
    }
    if rows:
        meta["ROWS"] = rows
    grid = (blocks(positions, max(1, rows)),)
    if kind(problem) == "index":
        tiled, looped = (
            triton_kernels.softmax_index_kernel,
            triton_kernels.softmax_index_loop_kernel,
        )
    else:
        tiled = triton_kernels.softmax_classes_kernel
        looped = triton_kernels.softmax_classes_loop_kernel
        arguments = (*arguments, problem.label_smoothing)
        meta["PROBABILITIES"] = not has_index_targets(problem)
    (tiled if rows else looped)[grid](*arguments, **meta)
