"""Which backend runs a problem, and how autograd sees it.

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
from refocal.kernels import backward as policy
from refocal.kernels import eager, operator, sharded
from refocal.kernels.cpu import backend as cpu
from refocal.kernels.cpu import count as counting
from refocal.kernels.gpu import backend as gpu
from refocal.kernels.packing import tensors_of, with_tensors, without_tensors
from refocal.kernels.readings import by_elements, is_read
from refocal.problem import Number, Problem, SoftmaxProblem, is_kept
from refocal.reduction import Reduction
from refocal.torch_state import (
    PLAIN,
    graph_is_kept,
    has_memory,
    is_batched,
    is_traced,
    is_transformed,
    is_watched,
    wrappers_among,
)


class Backend(Protocol):
    """What runs a problem. All tensors are plain, and autograd does not look inside."""

    checks_values: bool
    """Whether `evaluate` checks the values of targets and weights itself, in its pass."""

    reads: bool
    """Whether it takes targets that are no labels; otherwise it is given `readings.by_elements`."""

    keeping: policy.Keeping
    """Which gradients are kept with the loss."""

    sees_upstream: bool
    """Whether the host may ask an upstream gradient for its value, which waits for a device."""

    def unsupported(self, problem: Problem) -> str | None:
        """Why this problem cannot run here, or None if it can."""

    def evaluate(
        self, function: str, problem: Problem, reduction: Reduction, *, gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The reduced loss and, if wanted, its gradient: already divided by the denominator."""

    def gradient(self, problem: Problem, factor: Tensor) -> Tensor:
        """The gradient of the unreduced loss times ``factor``, in the logits' dtype, rounded once.

        ``factor`` is in the computing dtype: a scalar, or of the loss shape.
        """

    def pulled_back(
        self,
        problem: Problem,
        reduction: Reduction,
        kept: Tensor | None,
        upstream: Tensor,
        *,
        in_place: bool,
    ) -> Tensor:
        """The gradient of the reduced loss times ``upstream``, from what has been ``kept`` of it,
        which may be overwritten if ``in_place``.
        """


BACKENDS: dict[str, Backend] = {"eager": eager, "cpu": cpu, "gpu": gpu}
# what "auto" tries, fastest first, before eager
FASTEST = ("cpu", "gpu")


def run(function: str, problem: Problem, reduction: Reduction, impl: str) -> Tensor:
    """The reduced loss of a problem from the gate; ``function`` is whose name the messages bear."""
    held = tensors_of((*problem, *reduction))
    if not runs_plainly(held):
        return _by_operations(function, problem, reduction, impl, held)
    backend = choose(function, problem, impl, held)
    if not backend.reads and is_read(problem):
        return _read(function, problem, reduction, impl)
    learns = torch.is_grad_enabled() and any([tensor.requires_grad for tensor in held[1:]])
    if learns or not backend.checks_values:
        arguments.check_values_of(function, problem)
    if learns:
        return eager.differentiable_loss(problem, reduction)
    if torch.is_grad_enabled() and problem.logits.requires_grad:
        return _record(problem.logits, (function, problem, reduction, backend, held))
    return backend.evaluate(function, problem, reduction, gradient=False)[0]


def _read(function: str, problem: Any, reduction: Reduction, impl: str) -> Tensor:
    """The same by the elements' labels, whose values tell nothing of the targets'."""
    arguments.check_values_of(function, problem)
    return run(function, by_elements(problem), reduction, impl)


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
    if is_read(problem):
        return _read(function, problem, reduction, impl)
    if isinstance(problem, SoftmaxProblem) and sharded.splits_classes(problem):
        return sharded.run(function, problem, reduction, impl)
    if impl in FASTEST and not is_traced() and (wrappers := wrappers_among(held)):
        arguments.fail_implementation(
            function, impl, f"needs tensors with memory of their own, got {wrappers}."
        )
    arguments.check_values_of(function, problem)
    return eager.differentiable_loss(problem, reduction)


def choose(function: str, problem: Problem, impl: str, held: list[Tensor]) -> Backend:
    """The backend asked for, or for "auto" the fastest that supports the problem.

    ``held`` are the tensors of the call; a kernel is not given one without memory.
    """
    in_memory = all(map(has_memory, held))
    if not in_memory:
        arguments.check_memory(function, "logits", problem.logits)
    if impl == "auto":
        for name in FASTEST:
            if in_memory and BACKENDS[name].unsupported(problem) is None:
                return BACKENDS[name]
        return eager
    backend = BACKENDS[impl]
    reason = backend.unsupported(problem)
    if not reason and backend is not eager and not in_memory:
        reason = "needs tensors with memory of their own."
    if reason:
        arguments.fail_implementation(function, impl, reason)
    return backend


def counter(problem: Problem, impl: str) -> Callable[[Problem], Number | None] | None:
    """What counts the targets that are kept in fewer passes than plain operations, if anything.

    Asked before the reduction, which needs the count, is there.
    """
    if impl == "eager" or problem.ignore_index is None:
        return None
    if is_traced() or is_watched():  # where a size may be a symbol, which is not to be compared
        return None
    backend = cpu if problem.logits.is_cpu and impl != "gpu" else gpu
    if backend is cpu and problem.targets.numel() < counting.WORTHWHILE:
        return None
    held = [problem.logits, problem.targets]
    if not runs_plainly(held) or not all(map(has_memory, held)):
        return None
    return backend.count if backend.unsupported(problem) is None else None


def occurrences(targets: Tensor, value: float) -> Number:
    """How many targets are a value that their dtype holds; NaN is NaN."""
    if runs_plainly([targets]) and has_memory(targets) and cpu.counts(targets):
        return cpu.occurrences(targets, value)
    return targets.numel() - torch.count_nonzero(is_kept(targets, value))


class OnePass(torch.autograd.Function):
    """The loss with its gradient from the same pass of a backend; see `kernels.backward`."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        call: tuple[str, Problem, Reduction, Backend, list[Tensor]],
    ) -> Tensor:
        function, problem, reduction, backend, held = call
        keep = policy.keeps(backend.keeping, logits.dtype, reduction.kind)
        loss, gradient = backend.evaluate(function, problem, reduction, gradient=keep)
        ctx.backend = backend
        _save(ctx, problem, reduction, held, gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstreams: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = upstreams
        again = torch.is_grad_enabled()  # create_graph: the gradient must itself be differentiable
        asks = ctx.has_gradient and ctx.backend.sees_upstream and not again
        if asks and policy.is_one(upstream):
            gradient = ctx.saved_tensors[-1]
            # The tensor itself, unless the graph needs it again: who is handed it may write to it.
            return gradient.clone() if graph_is_kept() else gradient, None
        problem, reduction, kept = _load(ctx)
        if again:
            return eager.differentiable_gradient(problem, reduction, upstream), None
        # under vmap upstream stands for several, and operations can follow it, but no kernel
        backend = ctx.backend if is_plain_upstream(upstream) else eager
        in_place = not graph_is_kept()
        return backend.pulled_back(problem, reduction, kept, upstream, in_place=in_place), None


# `OnePass.apply` without its layer for torch.func, which `runs_plainly` has ruled out, and which
# takes as long as the kernel of a small batch.
_record: Callable[..., Tensor] = super(torch.autograd.Function, OnePass).apply


def is_plain_upstream(upstream: Tensor) -> bool:
    """Whether backward may give an upstream gradient to a kernel: it is not several, as in vmap."""
    return runs_plainly([upstream]) and not is_batched(upstream)


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
