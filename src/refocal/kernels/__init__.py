"""Which carrier runs a problem, and how autograd sees it.

Plain reverse-mode training in eager mode runs `OnePass`: value and gradient in one pass, one tensor
saved beyond the inputs. Everything else (inside torch.compile or export, under a torch.func
transform, forward mode or a dispatch mode, wrapper tensors, gradients for targets, weights, alpha
or gamma) runs plain torch operations that autograd may differentiate to any order. One
hand-written Function cannot do both: `torch.compile(torch.func.grad(f))` and `torch.export` inline
its forward and drop its backward, and a Function with a `jvp` refuses torch.compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from refocal import arguments
from refocal.kernels import eager, operator, sharded
from refocal.kernels.cpu import backend as cpu
from refocal.kernels.gpu import backend as gpu
from refocal.kernels.packing import tensors_of, with_tensors, without_tensors
from refocal.problem import Problem, SoftmaxProblem, class_axis_of
from refocal.reduction import Reduction, reduce
from refocal.torch_state import (
    PLAIN,
    has_memory,
    is_batched,
    is_traced,
    is_transformed,
    is_watched,
    wrappers_among,
)


class Carrier(Protocol):
    """What a kernel module offers. All tensors are plain, and autograd does not look inside."""

    checks_values: bool
    """Whether `evaluate` checks the values of targets and weights itself, in its pass."""

    def unsupported(self, problem: Problem) -> str | None:
        """Why this problem cannot run here, or None if it can."""

    def evaluate(
        self, function: str, problem: Problem, reduction: Reduction, *, gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The reduced loss and, if wanted, its gradient: in the logits' dtype and already divided
        by the denominator, or None where `gradient` should compute it in backward.
        """

    def gradient(self, problem: Problem, factor: Tensor) -> Tensor:
        """The gradient of the unreduced loss times ``factor``, in the logits' dtype, rounded once.

        ``factor`` is in the computing dtype: a scalar, or of the loss shape.
        """


CARRIERS: dict[str, Carrier] = {"eager": eager, "cpu": cpu, "gpu": gpu}
# what "auto" tries, fastest first, before eager
FASTEST = ("cpu", "gpu")


def run(function: str, problem: Problem, reduction: Reduction, impl: str) -> Tensor:
    """The reduced loss of a problem from the gate; ``function`` is whose name the messages bear."""
    held = tensors_of((*problem, *reduction))
    if not runs_plainly(held):
        return _by_operations(function, problem, reduction, impl, held)
    carrier = choose(function, problem, impl, held)
    learns = torch.is_grad_enabled() and any([tensor.requires_grad for tensor in held[1:]])
    if learns or not carrier.checks_values:
        arguments.check_values_of(function, problem)
    if learns:
        return _differentiable(problem, reduction)
    if torch.is_grad_enabled() and problem.logits.requires_grad:
        return _record(problem.logits, (function, problem, reduction, carrier, held))
    return carrier.evaluate(function, problem, reduction, gradient=False)[0]


def runs_plainly(tensors: list[Tensor]) -> bool:
    """Whether these are all plain tensors that nothing traces, transforms or watches."""
    if is_traced() or is_transformed() or is_watched():
        return False
    return PLAIN_CLASSES.issuperset(map(type, tensors))


PLAIN_CLASSES = frozenset(PLAIN)


def _by_operations(
    function: str, problem: Problem, reduction: Reduction, impl: str, held: list[Tensor]
) -> Tensor:
    """Plain operations, which whatever watches, transforms or replaces them can follow.

    Or the CPU kernel as an operator where compiled code gains by it.
    """
    learns = torch.is_grad_enabled() and any([tensor.requires_grad for tensor in held[1:]])
    if not learns and operator.takes(problem, impl, held) and not is_transformed():
        return operator.run(problem, reduction)
    if isinstance(problem, SoftmaxProblem) and sharded.splits_classes(problem):
        return sharded.run(function, problem, reduction, impl)
    if impl in FASTEST and not is_traced() and (wrappers := wrappers_among(held)):
        arguments.fail_implementation(
            function, impl, f"needs tensors with memory of their own, got {wrappers}."
        )
    arguments.check_values_of(function, problem)
    return _differentiable(problem, reduction)


def choose(function: str, problem: Problem, impl: str, held: list[Tensor]) -> Carrier:
    """The carrier asked for, or for "auto" the fastest that supports the problem.

    ``held`` are the tensors of the call; a kernel is not given one without memory.
    """
    in_memory = all(map(has_memory, held))
    if not in_memory:
        arguments.check_memory(function, "logits", problem.logits)
    if impl == "auto":
        for name in FASTEST:
            if in_memory and CARRIERS[name].unsupported(problem) is None:
                return CARRIERS[name]
        return eager
    carrier = CARRIERS[impl]
    reason = carrier.unsupported(problem)
    if not reason and carrier is not eager and not in_memory:
        reason = "needs tensors with memory of their own."
    if reason:
        arguments.fail_implementation(function, impl, reason)
    return carrier


def counter(problem: Problem, impl: str) -> Callable[[Problem], Tensor | None] | None:
    """What counts the targets that are kept in fewer launches than plain operations, if anything.

    Asked before the reduction, which needs the count, is there.
    """
    if impl == "eager" or (problem.logits.is_cpu and impl != "gpu"):
        return None
    if not runs_plainly([problem.logits, problem.targets]) or gpu.unsupported(problem) is not None:
        return None
    return gpu.count


def _differentiable(problem: Problem, reduction: Reduction) -> Tensor:
    return reduce(eager.losses(problem), reduction, problem.logits.dtype)


class OnePass(torch.autograd.Function):
    """The loss with its gradient from the same pass of a carrier.

    The gradient is kept already divided by the denominator, so that backward of a mean costs
    nothing where the upstream gradient is 1, as after `loss.backward()`, and one scaling into a new
    tensor otherwise. A kept half-precision gradient has been rounded and cannot be scaled: then,
    and where the carrier has kept none, backward computes it anew with ``upstream / N`` formed in
    float32. (Carriers keep no float16 gradient at all: divided by N, 67 % of the gradients of a
    float16 mean over 1e6 elements would flush to zero.)
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        call: tuple[str, Problem, Reduction, Carrier, list[Tensor]],
    ) -> Tensor:
        function, problem, reduction, carrier, held = call
        loss, gradient = carrier.evaluate(function, problem, reduction, gradient=True)
        ctx.carrier = carrier
        _save(ctx, problem, reduction, held, gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstreams: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = upstreams
        asks = ctx.has_gradient and ctx.carrier is not gpu and not torch.is_grad_enabled()
        if asks and _is_one(upstream):
            gradient = ctx.saved_tensors[-1]
            # The tensor itself, unless the graph needs it again: who is handed it may write to it.
            return gradient.clone() if _graph_is_kept() else gradient, None
        problem, reduction, gradient = _load(ctx)
        # under vmap upstream stands for several, and operations can follow it, but no kernel
        carrier = ctx.carrier if is_plain_upstream(upstream) else eager
        if torch.is_grad_enabled():
            # create_graph: the gradient must itself be differentiable
            loss = _differentiable(problem, reduction)
            (gradient,) = torch.autograd.grad(loss, problem.logits, upstream, create_graph=True)
        elif carrier is gpu:
            gradient = gpu.pulled_back(
                problem, reduction, gradient, upstream, in_place=not _graph_is_kept()
            )
        elif gradient is None or gradient.dtype in (torch.float16, torch.bfloat16):
            factor = upstream.to(eager.computing_dtype(problem.logits))
            if reduction.kind == "mean":
                factor = factor / reduction.denominator
            gradient = carrier.gradient(problem, factor)
        elif reduction.kind == "none":
            gradient = gradient * _per_logit(upstream, problem)
        else:
            gradient = gradient * upstream
        return gradient, None


# `OnePass.apply` without its layer for torch.func, which `runs_plainly` has ruled out, and which
# takes as long as the kernel of a small batch.
_record: Callable[..., Tensor] = super(torch.autograd.Function, OnePass).apply


def is_plain_upstream(upstream: Tensor) -> bool:
    """Whether backward may give an upstream gradient to a kernel: it is not several, as in vmap."""
    return runs_plainly([upstream]) and not is_batched(upstream)


def _is_one(upstream: Tensor) -> bool:
    """Whether an upstream gradient is 1, where asking costs nothing: not on other devices, and
    not of one that stands for several or is not there yet.
    """
    return (
        upstream.dim() == 0
        and upstream.is_cpu
        and type(upstream) is Tensor
        and not is_batched(upstream)
        and not torch.compiler.is_compiling()
        and upstream.item() == 1
    )


def _graph_is_kept() -> bool:
    """Whether what backward reads may be read again. A torch that does not say keeps it."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return ask is None or bool(ask())


def _per_logit(upstream: Tensor, problem: Problem) -> Tensor:
    """An upstream gradient of the loss shape made to broadcast to the logits."""
    if isinstance(problem, SoftmaxProblem):
        return upstream.unsqueeze(class_axis_of(problem))
    return upstream


def _save(
    ctx: Any, problem: Problem, reduction: Reduction, held: list[Tensor], gradient: Tensor | None
) -> None:
    """Keeps a problem, whose tensors are ``held``, for `_load`."""
    ctx.kind = type(problem)
    if len(held) == 2:  # logits and targets, as usual
        ctx.skeleton = (Tensor, Tensor, *problem[2:], *reduction)
    else:
        ctx.skeleton = without_tensors((*problem, *reduction))
    ctx.has_gradient = gradient is not None
    ctx.save_for_backward(*held, *([] if gradient is None else [gradient]))


def _load(ctx: Any) -> tuple[Problem, Reduction, Tensor | None]:
    tensors = list(ctx.saved_tensors)
    gradient = tensors.pop() if ctx.has_gradient else None
    *parts, kind, denominator = with_tensors(ctx.skeleton, tensors)
    return ctx.kind(*parts), Reduction(kind, denominator), gradient
