"""The Triton backend: launches on CUDA and ROCm, or on CPU tensors in Triton's interpreter.

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

from refocal.arguments import LARGEST_GAMMA
from refocal.formula import modulator_for
from refocal.kernels.backward import Keeping
from refocal.problem import (
    Number,
    Problem,
    SigmoidProblem,
    SoftmaxProblem,
    class_axis_of,
    has_index_targets,
    loss_shape,
)
from refocal.reduction import Reduction

checks_values = False
reads = False
# what is scaled takes as long to move as to compute
keeping = Keeping(each=False, rounded=True)
sees_upstream = False

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# threads of a warp, which AMD calls a wavefront
LANES = 64 if torch.version.hip else 32
LARGEST_PROGRAM = 1024  # threads
WARPS = 4

# softmax rows are held in registers up to so many classes, and read in a loop beyond
LARGEST_ROW = {"index": 16384, "classes": 2048}
LOOP_WARPS = 8
# neighbouring positions that a program takes of an image, whose classes lie apart
PIXELS = 512
SCALE_BLOCK = 8192
FINISH_BLOCK = 2048
COUNT_BLOCK = 4096
# so many targets are counted by one program, in one launch; more by up to so many programs
COUNTED_AT_ONCE, COUNTING_PROGRAMS = 16384, 256
# programs per multiprocessor of a launch that may find nothing to do: leaving takes time, too
LEAVING = 4

# what a remainder of 32 bits is taken of stays below 2**31
LARGEST_CYCLE = 2**30
# classes are numbered in 32 bits, up to the end of the last block of them; offsets have 64
MOST_CLASSES = 2**31 - 2**16


class Choice(NamedTuple):
    """What a kernel leaves open. None: the rule of `block` and `plan`.

    Attributes:
        each: elements per thread.
        warps: per program.
        rows: positions per program of a softmax.
        stages: how many steps of a loop over classes are under way at once.
        hints: whether a first pass asks the cache to keep what it reads, and a last to let it go.
        rescale: what a running sum of exponentials is relative to: the largest of each "lane", or
            of a "chunk" of classes read at once.
        persistent: programs per multiprocessor, which take one block after another; None: one
            program for each block.
    """

    each: int | None = None
    warps: int | None = None
    rows: int | None = None
    stages: int | None = None
    hints: bool = False
    rescale: str | None = None
    persistent: int | None = None


# What `python -m benchmarks.gpu` varies, by family: "sigmoid", or "index" and "classes" with
# "tile", "loop" or "pixels".
CHOICES: dict[str, Choice] = {}


def choice_of(family: str) -> Choice:
    """What has been chosen for a family of kernels."""
    return CHOICES.get(family, Choice())


@cache
def processors(device: torch.device) -> int:
    """Returns how many multiprocessors run programs at once."""
    if device.type != "cuda":
        return 4  # interpreted: few programs that take several blocks each
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@cache
def interpreted() -> bool:
    """Whether Triton interprets kernels on CPU tensors. Asked of Triton, once it is needed."""
    from refocal.kernels.gpu import operations

    return operations.INTERPRETED


@cache
def installed() -> bool:
    """Whether there is a Triton to import; on ROCm its distribution has another name."""
    return importlib.util.find_spec("triton") is not None


def unsupported(problem: Problem) -> str | None:
    """A device without Triton, no Triton, float64, or a row that 32 bits do not number."""
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
    if isinstance(problem, SoftmaxProblem):
        classes = logits.shape[class_axis_of(problem)]
        if classes > MOST_CLASSES:
            return f"takes up to {MOST_CLASSES:,} classes, got {classes:,}."
    return None


def evaluate(
    function: str, problem: Problem, reduction: Reduction, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """The reduced loss and, if wanted, its gradient: complete but for upstream, usually 1."""
    problem = present(problem)
    logits = problem.logits
    gradients = None
    if gradient:
        gradients = torch.empty_like(logits, memory_format=torch.contiguous_format)
    if reduction.kind == "none":
        losses = torch.empty(loss_shape(problem), dtype=logits.dtype, device=logits.device)
        launch(problem, 1.0, losses, gradients, "none")
        return losses, gradients
    total = torch.empty((), dtype=torch.float32, device=logits.device)
    if logits.numel() == 0:
        return total.zero_(), gradients
    denominator = denominator_of(reduction, logits)
    sums = torch.empty(programs(problem), dtype=torch.float32, device=logits.device)
    launch(problem, 1.0, sums, gradients, "sum", denominator=denominator)
    finish(sums, total, denominator)
    return total, gradients


def sums_over(problem: Problem, sums: Tensor, *, overwrite: bool) -> None:
    """The loss as one float32 sum per program; its gradient takes the place of the logits.

    For logits that are nobody else's: a chunk of `refocal.linear`. Every element is written by a
    program that has read all of its row, in half precision rounded once.
    """
    launch(problem, 1.0, sums, problem.logits if overwrite else None, "sum")


def finish(sums: Tensor, total: Tensor, denominator: Number | None) -> None:
    """One float32 per program to the loss: adding them in float64 costs nothing, loses nothing."""
    from refocal.kernels.gpu import sigmoid

    share, layout = 1.0 if denominator is None else denominator, "none"
    if denominator is not None:
        layout = "count" if isinstance(denominator, Tensor) else "number"
    with on(sums):
        sigmoid.finish_kernel[(1,)](
            sums,
            total,
            share if isinstance(share, Tensor) else float(share),
            sums.numel(),
            SHARE=layout,
            BLOCK=FINISH_BLOCK,
            num_warps=8,
            enable_fp_fusion=True,
        )


def count(problem: Problem) -> Tensor | None:
    """Counts the targets that are not ignored, at least 1; None where all are kept.

    One launch instead of the five of a comparison, a sum and a guard against 0; two where one
    program would take long.
    """
    by_index = isinstance(problem, SigmoidProblem) or has_index_targets(problem)
    if problem.ignore_index is None or not by_index or not problem.targets.numel():
        return None
    from refocal.kernels.gpu import sigmoid

    targets = readable(present(problem).targets)
    number = targets.numel()
    several = number > COUNTED_AT_ONCE
    whole = blocks(number, COUNT_BLOCK)
    counts = torch.empty(
        min(whole, COUNTING_PROGRAMS) if several else 1, dtype=torch.int64, device=targets.device
    )
    options = {"BLOCK": COUNT_BLOCK, "num_warps": 8}
    with on(targets):
        sigmoid.count_kernel[(counts.numel(),)](
            targets,
            counts,
            number,
            whole,
            ignored(problem),
            ADD=False,
            FINAL=not several,
            **options,
        )
        if not several:
            return counts.view(())
        total = torch.empty((), dtype=torch.int64, device=targets.device)
        sigmoid.count_kernel[(1,)](
            counts, total, counts.numel(), 1, 0, ADD=True, FINAL=True, **options
        )
    return total


def gradient(problem: Problem, factor: Tensor, denominator: Number | None = None) -> Tensor:
    """The gradient of the unreduced loss times ``factor / denominator``, rounded once."""
    problem = present(problem)
    gradients = torch.empty_like(problem.logits, memory_format=torch.contiguous_format)
    launch(problem, factor, gradients, gradients, "no", denominator=denominator)
    return gradients


def pulled_back(
    problem: Problem,
    reduction: Reduction,
    kept: Tensor | None,
    upstream: Tensor,
    *,
    in_place: bool,
) -> Tensor:
    """The gradient of the reduced loss times ``upstream``, from the one that `evaluate` returned.

    In place, nothing but ``upstream`` is read where that is 1, and the host learns nothing of it. A
    half-precision gradient has been rounded and is formed anew for any other ``upstream``.
    """
    if kept is not None and kept.dtype == torch.float32:
        return _scaled(kept, upstream) if in_place else kept * upstream
    denominator = denominator_of(reduction, upstream)
    if kept is None or not in_place:
        return gradient(problem, upstream, denominator)
    launch(present(problem), upstream, kept, kept, "no", unless=upstream, denominator=denominator)
    return kept


def _scaled(kept: Tensor, upstream: Tensor) -> Tensor:
    """A float32 gradient, multiplied where it lies."""
    if kept.numel():
        from refocal.kernels.gpu import sigmoid

        whole = blocks(kept.numel(), SCALE_BLOCK)
        with on(kept):
            sigmoid.scale_kernel[(min(whole, LEAVING * processors(kept.device)),)](
                kept,
                upstream,
                kept.numel(),
                whole,
                BLOCK=SCALE_BLOCK,
                num_warps=8,
                enable_fp_fusion=True,
            )
    return kept


def denominator_of(reduction: Reduction, like: Tensor) -> Number | None:
    """What a gradient is divided by, or None."""
    return present_number(reduction.denominator, like) if reduction.kind == "mean" else None


def present_number(value: Number, like: Tensor) -> Number:
    """A number that is none of the device's as a number."""
    return value.item() if is_elsewhere(value, like) else value  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------
# what a kernel is given


class Spread(NamedTuple):
    """A parameter as kernels find it.

    Attributes:
        value: a number or a contiguous tensor.
        layout: "none", "number", "single" (0-d), "full" (one per element), or "cycle": element i
            has value ``(i // inner) % size``, which covers per-class and per-row values. A "wide
            cycle" is one whose sizes need 64 bits.
        inner: how many neighbouring elements share a value.
        size: how many values there are.
    """

    value: Any
    layout: str
    inner: int = 1
    size: int = 1


def without_copies(value: Tensor) -> Tensor:
    """The tensor with one element along every axis along which `expand` has repeated it."""
    if 0 not in value.stride():
        return value
    pairs = zip(value.shape, value.stride(), strict=True)
    shape = [min(size, 1) if stride == 0 else size for size, stride in pairs]
    return value.as_strided(shape, value.stride())


def spread(value: Number | None, like: Tensor) -> Spread:
    """A number or a tensor that broadcasts to ``like``, without copying it to full size.

    A tensor keeps its dtype: kernels compute in float32 whatever they read.
    """
    if value is None:
        return Spread(like, "none")  # a kernel without it never looks at the pointer
    if not isinstance(value, Tensor):
        return Spread(float(value), "number")
    value = without_copies(value)
    if value.numel() == 1:
        return Spread(value.contiguous(), "single")
    if value.shape == like.shape:
        return Spread(value.contiguous(), "full")
    long = [axis for axis, size in enumerate(value.shape) if size > 1]
    block = slice(long[0], long[-1] + 1)
    if value.shape[block] != like.shape[block]:
        return Spread(value.expand(like.shape).contiguous(), "full")
    inner, size = like.shape[long[-1] + 1 :].numel(), value.numel()
    layout = "cycle" if max(inner, size) < LARGEST_CYCLE else "wide cycle"
    return Spread(value.contiguous(), layout, inner, size)


class Share(NamedTuple):
    """What a gradient is divided by as kernels find it: the inverse of a number, or a tensor."""

    value: Any
    layout: str


def share_of(denominator: Number | None, like: Tensor) -> Share:
    """Nothing is launched to form 1 / N."""
    if denominator is None:
        return Share(like, "none")
    if isinstance(denominator, Tensor):
        return Share(denominator, "count")
    return Share(1.0 / denominator, "number")


def spread_pair(pair: tuple[Number, Number], like: Tensor) -> tuple[Spread, Spread]:
    """Both of a pair in one layout, which is all that a kernel is told of them."""
    if any(isinstance(value, Tensor) for value in pair):
        pair = tuple(_filled(value, torch.float32, like) for value in pair)  # type: ignore[assignment]
    first, second = spread(pair[0], like), spread(pair[1], like)
    if first[1:] == second[1:]:
        return first, second
    whole = (value.expand(like.shape).contiguous() for value in pair)  # type: ignore[union-attr]
    return tuple(Spread(value, "full") for value in whole)  # type: ignore[return-value]


def _filled(value: Number, dtype: torch.dtype, like: Tensor) -> Tensor:
    """A number as a tensor on the device. Filled there: `torch.as_tensor` would copy it from the
    host's memory, which waits for the device and cannot be captured in a graph.
    """
    if isinstance(value, Tensor):
        return value.to(dtype)
    return torch.full((), value, dtype=dtype, device=like.device)


def is_elsewhere(value: Any, like: Tensor) -> bool:
    """A 0-d tensor on the CPU beside logits on a device. Reading one waits for nothing."""
    return isinstance(value, Tensor) and value.is_cpu and not like.is_cpu


def present(problem: Problem) -> Problem:
    """The problem with what lies on the CPU, which is 0-d, as numbers or filled on the device."""
    logits = problem.logits
    others = (problem.targets, *problem[2:])
    flat = [one for part in others for one in (part if isinstance(part, tuple) else (part,))]
    if not any(is_elsewhere(one, logits) for one in flat):
        return problem

    def number(value: Any) -> Any:
        return value.item() if is_elsewhere(value, logits) else value

    def filled(value: Any) -> Any:
        there = is_elsewhere(value, logits)
        return _filled(value.item(), value.dtype, logits) if there else value

    targets, weight = filled(problem.targets), filled(problem.weight)
    if isinstance(problem, SoftmaxProblem):
        return problem._replace(targets=targets, weight=weight, gamma=number(problem.gamma))
    return problem._replace(
        targets=targets,
        weight=weight,
        alpha=(number(problem.alpha[0]), number(problem.alpha[1])),
        gamma=(number(problem.gamma[0]), number(problem.gamma[1])),
    )


def modulator_of(problem: Problem) -> str:
    """Which of the book's modulators: an exact one, if the exponents of both classes have it."""
    gammas = problem.gamma if isinstance(problem.gamma, tuple) else (problem.gamma,)
    names = {modulator_for(gamma, "compensated") for gamma in gammas}
    return names.pop() if len(names) == 1 else "compensated"


def tame(gamma: Number) -> Number:
    """Gamma no larger than makes a difference: gamma * 1000 must stay finite."""
    return gamma.clamp(max=LARGEST_GAMMA) if isinstance(gamma, Tensor) else gamma


def readable(targets: Tensor) -> Tensor:
    """Contiguous targets; bool as the bytes they are."""
    targets = targets.contiguous()
    return targets.view(torch.uint8) if targets.dtype == torch.bool else targets


def ignored(problem: Problem) -> Number:
    """The target value that counts for nothing, as the targets' dtype holds it."""
    return problem.ignore_index or 0


def unit_of(size: int) -> int:
    """The largest power of two up to 8 that divides a size: what half-precision loads need."""
    return min(8, size & -size)


def blocks(count: int, size: int) -> int:
    return -(-count // size)


def on(tensor: Tensor) -> Any:
    """Launches go to the current device, which need not be the tensor's."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------------------------------------
# launches


class Plan(NamedTuple):
    """What a program of a softmax covers.

    Attributes:
        family: of `CHOICES`.
        rows: positions.
        columns: classes at once, which are all of them in a "tile".
        warps: per program.
        inner: positions behind the class axis.
        blocks: how many blocks of rows there are.
    """

    family: str
    rows: int
    columns: int
    warps: int
    inner: int
    blocks: int


def kind(problem: SoftmaxProblem) -> str:
    """Whether one class of a position is a target, or every class."""
    return "index" if has_index_targets(problem) and not problem.label_smoothing else "classes"


def power_of_two(size: int) -> int:
    """The smallest that is not below."""
    return 1 << (size - 1).bit_length()


def plan(problem: SoftmaxProblem) -> Plan:
    """Positions of an image, several short rows, one long row, or a part of a longer one.

    Within 80 registers a thread.
    """
    logits, axis = problem.logits, class_axis_of(problem)
    classes, inner = logits.shape[axis], logits.shape[axis + 1 :].numel()
    positions = math.prod(loss_shape(problem))
    columns, target = power_of_two(classes), kind(problem)
    if inner > 1:
        family = f"{target} pixels"
        choice = choice_of(family)
        # As many threads as read 16 bytes each, so that every one has all classes of its positions;
        # where every class is a target, two positions are what 80 registers hold.
        soft = target == "classes"
        rows = min(choice.rows or (PIXELS // 2 if soft else PIXELS), power_of_two(inner))
        vector = 2 if soft else 16 // logits.element_size()
        warps = choice.warps or max(1, min(WARPS, rows // (LANES * vector)))
        each = choice.each or (2 if soft else 8)
        columns = max(1, min(columns, warps * LANES * each // rows))
        return Plan(family, rows, columns, warps, inner, positions // inner * blocks(inner, rows))
    if classes > LARGEST_ROW[target]:
        family = f"{target} loop"
        choice = choice_of(family)
        each = choice.each or (4 if target == "classes" else 8)
        # a row that begins anywhere has loads of two kinds, and eight warps of those spill
        odd = unit_of(classes) * logits.element_size() < 16
        warps, rows = choice.warps or max(1, LOOP_WARPS // (2 if odd else 1)), choice.rows or 1
        columns = min(columns, max(1, LANES * each * warps // rows))
        return Plan(family, rows, columns, warps, 1, blocks(positions, rows))
    family = f"{target} tile"
    choice = choice_of(family)
    # of short rows, what is held per row counts; every class a target has many intermediates
    held = 16 if columns > 128 else 8 if columns == 128 else 4
    each = choice.each or (held if target == "index" else 4)
    rows = choice.rows or max(1, WARPS * LANES * each // columns)
    warps = choice.warps or max(WARPS, columns // (LANES * each))
    return Plan(
        family, rows, columns, min(LARGEST_PROGRAM // LANES, warps), 1, blocks(positions, rows)
    )


def block(problem: SigmoidProblem) -> int:
    """Elements of a program of a sigmoid: as many per thread as stay within 80 registers."""
    choice = choice_of("sigmoid")
    exact = modulator_of(problem) != "compensated"
    each = choice.each or (16 if problem.logits.dtype == torch.float32 and exact else 8)
    return (choice.warps or WARPS) * LANES * each


def programs(problem: Problem, *, may_leave: bool = False) -> int:
    """Returns how many programs a problem takes; few where they may find nothing to do."""
    if isinstance(problem, SigmoidProblem):
        family, whole = "sigmoid", blocks(problem.logits.numel(), block(problem))
    else:
        family, whole = (planned := plan(problem)).family, planned.blocks
    persistent = choice_of(family).persistent or (LEAVING if may_leave else None)
    if persistent is None:
        return whole
    return min(whole, persistent * processors(problem.logits.device))


def launch(
    problem: Problem,
    factor: Number,
    losses: Tensor,
    gradients: Tensor | None,
    loss: str,
    *,
    unless: Tensor | None = None,
    denominator: Number | None = None,
) -> None:
    """Runs the kernel of a problem.

    Args:
        problem: the problem.
        factor: multiplies the gradient; a number, or a tensor: 0-d or of the loss shape.
        losses: where the loss goes.
        gradients: where the gradient goes, or None.
        loss: what of the loss is wanted: "none" for each, "sum" for one sum per program, or "no".
        unless: the kernel does nothing if this 0-d tensor is 1.
        denominator: divides the gradient; a number, or a 0-d tensor.
    """
    if problem.logits.numel() == 0:
        losses.zero_()
        return
    call = Call(factor, losses, gradients, loss, unless, share_of(denominator, problem.logits))
    with on(problem.logits):
        if isinstance(problem, SigmoidProblem):
            _launch_sigmoid(problem, call)
        else:
            _launch_softmax(problem, call)


class Call(NamedTuple):
    """What `launch` is asked for."""

    factor: Number
    losses: Tensor
    gradients: Tensor | None
    loss: str
    unless: Tensor | None
    share: Share


def _launch_sigmoid(problem: SigmoidProblem, call: Call) -> None:
    from refocal.kernels.gpu import operations, sigmoid

    modulator = modulator_of(problem)
    logits, targets = problem.logits.contiguous(), readable(problem.targets)
    number = logits.numel()
    alpha = spread_pair(problem.alpha, logits)
    first, second = problem.gamma
    gamma = spread_pair((tame(first), tame(second)), logits)
    weight, factor = spread(problem.weight, logits), spread(call.factor, logits)
    certain = not targets.dtype.is_floating_point and not problem.label_smoothing
    size = block(problem)
    whole = blocks(number, size)
    grid = programs(problem, may_leave=call.unless is not None)
    sigmoid.sigmoid_kernel[(grid,)](
        logits,
        targets,
        call.losses,
        call.losses if call.gradients is None else call.gradients,
        alpha[0].value,
        alpha[1].value,
        gamma[0].value,
        gamma[1].value,
        weight.value,
        factor.value,
        call.share.value,
        logits if call.unless is None else call.unless,
        number,
        alpha[0].inner,
        alpha[0].size,
        gamma[0].inner,
        gamma[0].size,
        weight.inner,
        weight.size,
        factor.inner,
        factor.size,
        ignored(problem),
        float(problem.label_smoothing),
        whole,
        UNLESS=call.unless is not None,
        PERSISTENT=grid < whole,
        ALPHA=alpha[0].layout,
        GAMMA=gamma[0].layout,
        WEIGHT=weight.layout,
        FACTOR=factor.layout,
        SHARE=call.share.layout,
        HARD=certain,
        SMOOTH=problem.label_smoothing != 0,
        ZEROS=alpha[0].layout != "number" or 0 in problem.alpha,
        IGNORE=problem.ignore_index is not None,
        MODULATOR=modulator,
        POWER=operations.bound(modulator).modulator,
        DETACHED=problem.detach_modulator,
        LOSS=call.loss,
        GRADIENT=call.gradients is not None,
        PRECISE=logits.dtype == torch.float32,
        EVEN=number % size == 0,
        BLOCK=size,
        num_warps=choice_of("sigmoid").warps or WARPS,
        enable_fp_fusion=True,
    )


def class_gamma(problem: SoftmaxProblem) -> tuple[Any, str]:
    """A softmax' exponents, and by what they differ: nothing, "class", "position" or "element"."""
    gamma, axis = tame(problem.gamma), class_axis_of(problem)
    if not isinstance(gamma, Tensor):
        return float(gamma), "number"
    gamma = gamma.to(device=problem.logits.device, dtype=torch.float32)
    if gamma.numel() == 1:
        return gamma.contiguous(), "single"
    if gamma.numel() == gamma.shape[axis]:
        return gamma.contiguous(), "class"
    if gamma.shape[axis] == 1:
        return gamma.squeeze(axis).expand(loss_shape(problem)).contiguous(), "position"
    return gamma.expand(problem.logits.shape).contiguous(), "element"


def _launch_softmax(problem: SoftmaxProblem, call: Call) -> None:
    from refocal.kernels.gpu import operations, softmax

    logits = problem.logits.contiguous()
    classes = logits.shape[class_axis_of(problem)]
    planned = plan(problem)
    choice = choice_of(planned.family)
    target, form = planned.family.split()
    rows, inner = planned.rows, planned.inner
    shape = logits.new_empty(()).expand(loss_shape(problem))
    gamma, gamma_layout = class_gamma(problem)
    weight, factor = spread(problem.weight, shape), spread(call.factor, shape)
    functions = operations.bound(modulator_of(problem))
    alpha = None if problem.alpha is None else problem.alpha.contiguous()
    unit = unit_of(classes)
    inner_unit = unit_of(inner) if inner < 2**31 else 1  # the product has the bits of its factor
    whole = planned.blocks
    grid = programs(problem, may_leave=call.unless is not None)
    arguments: tuple[Any, ...] = (
        logits,
        readable(problem.targets),
        call.losses,
        call.losses if call.gradients is None else call.gradients,
        logits if alpha is None else alpha,
        gamma,
        logits if weight.value is shape else weight.value,
        factor.value,
        logits if call.share.layout == "none" else call.share.value,
        logits if call.unless is None else call.unless,
        math.prod(loss_shape(problem)),
        classes // unit,
        inner // inner_unit,
        blocks(inner, rows),
        weight.inner,
        weight.size,
        factor.inner,
        factor.size,
        problem.ignore_index,
    )
    meta = {
        "UNLESS": call.unless is not None,
        "PERSISTENT": grid < whole,
        "BOTH": (
            functions.value_and_detached_slope
            if problem.detach_modulator
            else functions.value_and_slope
        ),
        "ALPHA": alpha is not None,
        "GAMMA": gamma_layout,
        "WEIGHT": weight.layout,
        "FACTOR": factor.layout,
        "SHARE": call.share.layout,
        "UNIT": unit,
        "LOSS": call.loss,
        "GRADIENT": call.gradients is not None,
        "ROWS": rows,
        "BLOCK": planned.columns,
        "enable_fp_fusion": True,
        "num_warps": planned.warps,
    }
    if target == "classes":
        arguments = (*arguments, problem.label_smoothing)
        meta["PROBABILITIES"] = not has_index_targets(problem)
    if form != "tile":
        vector = 16 // logits.element_size()
        # rows that begin anywhere: their blocks begin at whole 16 bytes
        shifted = form == "loop" and rows == 1 and unit < vector <= planned.columns
        meta |= {
            "INNER": inner > 1,
            "INNER_UNIT": inner_unit,
            "SHIFT": vector if shifted else 0,
            "STAGES": choice.stages,
            "HINTS": choice.hints,
            "RESCALE": choice.rescale or ("chunk" if inner > 1 else "lane"),
        }
    kernels = {
        ("index", True): softmax.softmax_index_kernel,
        ("index", False): softmax.softmax_index_loop_kernel,
        ("classes", True): softmax.softmax_classes_kernel,
        ("classes", False): softmax.softmax_classes_loop_kernel,
    }
    kernels[target, form == "tile"][(grid,)](*arguments, whole, **meta)
