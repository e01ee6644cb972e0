"""The CPU kernel inside compiled code, as operators that the compiler does not look into.

Inductor's C++ of the differentiable expressions took 2 to 5 times as long as the Numba kernel
(benchmarks/results/compiled.csv), so under torch.compile on the CPU they give way
to the operators below. Under torch.export, which must not depend on Numba, and under torch.func,
whose transforms differentiate and batch plain operations better than any rule, it does not. On
other devices Inductor fuses the expressions with their neighbours.

An operator takes tensors and numbers, so a problem travels as the list of its tensors, the list of
its numbers, and a word that tells what it is and which of its values were which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from refocal.kernels import eager
from refocal.kernels.backward import Keeping, keeps, pulled_back
from refocal.kernels.cpu import backend as cpu
from refocal.problem import (
    Heatmap,
    Number,
    Problem,
    Quality,
    SigmoidProblem,
    SoftmaxProblem,
    computing_dtype,
)
from refocal.reduction import Reduction
from refocal.torch_state import PLAIN

# a compiled backward cannot see an upstream to be 1
KEEPING = Keeping(each=True, rounded=False)

TENSOR, NUMBER, NOTHING = "t", "n", "-"
# what a word begins with: what a problem is, by the function whose name a refused value bears
SOFTMAX, LABELS, QUALITY, HEATMAP = "m", "s", "q", "h"
FUNCTIONS = {
    SOFTMAX: "softmax_focal_loss",
    LABELS: "sigmoid_focal_loss",
    QUALITY: "varifocal_loss",
    HEATMAP: "gaussian_focal_loss",
}


def takes(problem: Problem, impl: str, held: list[Tensor]) -> bool:
    """Whether these operators run a problem that is being traced; ``held`` are its tensors."""
    return (
        impl in ("auto", "cpu")
        and torch.compiler.is_dynamo_compiling()
        and not torch.compiler.is_exporting()
        and all([type(tensor) in PLAIN for tensor in held])
        and cpu.unsupported(problem) is None
    )


def run(problem: Problem, reduction: Reduction) -> Tensor:
    """The reduced loss, differentiable once or more with respect to the logits."""
    loss: Tensor
    learns = torch.is_grad_enabled() and problem.logits.requires_grad
    loss, _ = one_pass(*pack(problem, reduction), learns)
    return loss


# ---------------------------------------------------------------------------------------------
# problems as arguments


def pack(problem: Problem, reduction: Reduction) -> tuple[Any, ...]:
    """A problem and its reduction as an operator's arguments."""
    values: list[Number | None]
    if isinstance(problem, SoftmaxProblem):
        word, values = SOFTMAX, [problem.alpha, problem.gamma]
    else:
        values = [*problem.alpha, *problem.gamma]
        reading = problem.reading
        if reading is None:
            word = LABELS
        elif isinstance(reading, Quality):
            word = QUALITY
            values += [reading.positives]
        else:
            word = HEATMAP
            values += [reading.beta]
    values += [problem.weight]
    # of integer targets an integer, which a float of 53 bits might not hold, and else a float
    ignored = problem.ignore_index
    values += [ignored if isinstance(ignored, float) else None]
    count = 1  # a count may be symbolic, so it is no float
    if isinstance(reduction.denominator, int):
        count = reduction.denominator
        values += [1.0]
    elif isinstance(reduction.denominator, Tensor) or reduction.kind != "mean":
        values += [reduction.denominator]
    else:
        # as a number of the graph it would be a constant, and each value another graph
        device = problem.logits.device
        values += [torch.full((), reduction.denominator, dtype=torch.float64, device=device)]
    tensors: list[Tensor] = []
    numbers: list[float] = []
    for value in values:
        if value is None:
            word += NOTHING
        elif isinstance(value, Tensor):
            word += TENSOR
            tensors.append(value)
        else:
            word += NUMBER
            numbers.append(float(value))
    return (
        problem.logits,
        problem.targets,
        tensors,
        numbers,
        word,
        None if isinstance(ignored, float) else ignored,
        problem.label_smoothing,
        problem.detach_modulator,
        reduction.kind,
        count,
    )


def unpack(
    logits: Tensor,
    targets: Tensor,
    tensors: Sequence[Tensor],
    numbers: Sequence[float],
    word: str,
    ignore_index: int | None,
    label_smoothing: float,
    detach_modulator: bool,
    kind: str,
    count: int,
) -> tuple[Problem, Reduction]:
    """The inverse of `pack`."""
    lists: dict[str, Iterator[Any]] = {
        TENSOR: iter(tensors),
        NUMBER: iter(numbers),
        NOTHING: repeat(None),
    }
    values: list[Any] = [next(lists[letter]) for letter in word[1:]]
    *parameters, weight, ignored, denominator = values
    problem: Problem
    if word[0] != SOFTMAX:
        alpha, gamma = (parameters[0], parameters[1]), (parameters[2], parameters[3])
        reading: Quality | Heatmap | None = None
        if word[0] == QUALITY:
            reading = Quality(parameters[4])
        elif word[0] == HEATMAP:
            reading = Heatmap(parameters[4])
        problem = SigmoidProblem(
            logits,
            targets,
            alpha,
            gamma,
            weight,
            ignore_index if ignored is None else ignored,
            label_smoothing,
            detach_modulator,
            reading,
        )
    else:
        assert ignore_index is not None  # noqa: S101 - a softmax always has one
        problem = SoftmaxProblem(
            logits,
            targets,
            parameters[0],
            parameters[1],
            weight,
            ignore_index,
            label_smoothing,
            detach_modulator,
        )
    return problem, Reduction(kind, denominator if count == 1 else count)


# ---------------------------------------------------------------------------------------------
# the operators


# what `pack` makes; count may be symbolic
PACKED = (
    "Tensor logits, Tensor targets, Tensor[] tensors, float[] numbers, str word, "
    "SymInt? ignore_index, float label_smoothing, bool detach_modulator, str kind, SymInt count"
)


@torch.library.custom_op(
    "refocal::one_pass",
    mutates_args=(),
    device_types="cpu",
    schema=f"({PACKED}, bool gradient) -> (Tensor, Tensor)",
)
def one_pass(*arguments: Any) -> tuple[Tensor, Tensor]:
    """The reduced loss, and its gradient if that is wanted and worth keeping, else nothing."""
    logits, _, _, _, word, *_, gradient = arguments
    problem, reduction = unpack(*arguments[:-1])
    keep = gradient and keeps(KEEPING, logits.dtype, reduction.kind)
    loss, slopes = cpu.evaluate(FUNCTIONS[word[0]], problem, reduction, gradient=keep)
    # strides as the compiler was promised below; the kernel's are those of logits and targets
    loss = loss.contiguous()
    return loss, logits.new_empty(0) if slopes is None else slopes.contiguous()


@one_pass.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor]:
    # not unpacked, as that would ask a symbolic count for its value
    logits, _, _, _, word, _, _, _, kind, _, gradient = arguments
    shape: Sequence[int] = ()
    dtype = computing_dtype(logits)
    if kind == "none":
        shape, dtype = (_one_class(logits) if word[0] == SOFTMAX else logits).shape, logits.dtype
    loss = logits.new_empty(shape, dtype=dtype)
    if not (gradient and keeps(KEEPING, logits.dtype, kind)):
        return loss, logits.new_empty(0)
    return loss, torch.empty_like(logits, memory_format=torch.contiguous_format)


@torch.library.custom_op(
    "refocal::gradient",
    mutates_args=(),
    device_types="cpu",
    schema=f"({PACKED}, Tensor factor) -> Tensor",
)
def gradient_of(*arguments: Any) -> Tensor:
    """The gradient of the unreduced loss times ``factor``."""
    *packed, factor = arguments
    problem, _ = unpack(*packed)
    return cpu.gradient(problem, factor).contiguous()


@gradient_of.register_fake
def _(logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _one_class(logits: Tensor) -> Tensor:
    return logits.select(0 if logits.dim() == 1 else 1, 0)


# ---------------------------------------------------------------------------------------------
# their derivatives


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, targets, tensors, *settings, kind, count, gradient = inputs
    ctx.rest = (*settings, kind, count)
    ctx.kept = gradient and keeps(KEEPING, logits.dtype, kind)
    ctx.count = len(tensors)
    ctx.save_for_backward(logits, targets, *tensors, output[1])


def _backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Any, ...]:
    logits, targets, *tensors, kept = ctx.saved_tensors
    arguments = (logits, targets, tensors, *ctx.rest)
    # torch takes a list without numbers for a list of tensors, and wants one back
    numbers: list[None] | None = None if ctx.rest[0] else []
    nothing = (None, [None] * ctx.count, numbers, *(None,) * 7)
    problem, reduction = unpack(*arguments)
    if torch.is_grad_enabled():
        # a second derivative: what the operator has computed is constant to autograd
        return eager.differentiable_gradient(problem, reduction, upstream), *nothing

    def anew(_: Problem, factor: Tensor) -> Tensor:
        return gradient_of(*arguments, factor)  # type: ignore[no-any-return]

    there = kept if ctx.kept else None
    return pulled_back(anew, problem, reduction, there, upstream), *nothing


one_pass.register_autograd(_backward, setup_context=_remember)


def _each(operator: Any) -> Any:
    """The rule of `torch.vmap`: one call per example, each the kernel's own."""

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        def pick(value: Any, axis: Any, number: int) -> Any:
            if isinstance(value, (list, tuple)) and isinstance(axis, (list, tuple)):
                return [pick(*pair, number) for pair in zip(value, axis, strict=True)]
            return value if axis is None else value.select(axis, number)

        results = [
            operator(*(pick(*pair, number) for pair in zip(arguments, in_dims, strict=True)))
            for number in range(info.batch_size)
        ]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0, 0)

    return rule


one_pass.register_vmap(_each(one_pass))
gradient_of.register_vmap(_each(gradient_of))
