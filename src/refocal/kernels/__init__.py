"""Which carrier runs a problem, and how autograd sees it.

Plain reverse-mode training in eager mode runs `OnePass`: value and gradient in one pass, one tensor
saved beyond the inputs. Everything else (inside torch.compile or export, under a torch.func
transform or forward mode, tensor subclasses, gradients for targets, weights, alpha or gamma, or no
gradient at all) runs plain torch operations that autograd may differentiate to any order. One
hand-written Function cannot do both: `torch.compile(torch.func.grad(f))` and `torch.export` inline
its forward and drop its backward, and a Function with a `jvp` refuses torch.compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad

from refocal import arguments
from refocal.kernels import cpu, eager, gpu, operator, sharded
from refocal.kernels.packing import tensors_of, with_tensors, without_tensors
from refocal.problem import Problem, SoftmaxProblem, class_axis_of
from refocal.reduction import Reduction, reduce


class Carrier(Protocol):
    """What a kernel module offers. All tensors are plain, and autograd does not look inside."""

    checks_targets: bool
    """Whether `evaluate` checks the values of the targets itself, in its pass."""

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
    """The reduced loss of a problem; ``function`` is whose name the messages bear."""
    if not runs_plainly(problem.logits):
        if isinstance(problem, SoftmaxProblem) and sharded.splits_classes(problem):
            return sharded.run(function, problem, reduction, impl)
        return _traced(problem, reduction, impl)
    carrier = choose(function, problem, impl)
    if not carrier.checks_targets:
        arguments.check_target_values(function, problem)
    if torch.is_grad_enabled():
        held = tensors_of((*problem, *reduction))
        if any([tensor.requires_grad for tensor in held[1:]]):
            return _differentiable(problem, reduction)
        if problem.logits.requires_grad:
            return _record(problem.logits, (function, problem, reduction, carrier, held))
    return carrier.evaluate(function, problem, reduction, gradient=False)[0]


def _traced(problem: Problem, reduction: Reduction, impl: str) -> Tensor:
    """Plain operations, or the CPU kernel as an operator where compiled code gains by it."""
    if operator.takes(problem, impl) and not is_transformed():
        learns = torch.is_grad_enabled() and any(
            [tensor.requires_grad for tensor in tensors_of((*problem, *reduction))[1:]]
        )
        if not learns:
            return operator.run(problem, reduction)
    return _differentiable(problem, reduction)


def runs_plainly(logits: Tensor) -> bool:
    """No tracing, no function transform, no forward mode, no tensor subclass.

    The one place that asks torch for its state, partly by private names: a torch version that
    renames them fails tests/test_transforms.py.
    """
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return False
    return (
        type(logits) in (Tensor, torch.nn.Parameter)
        and not is_transformed()
        and forward_ad._current_level < 0
    )


def is_transformed() -> bool:
    """Whether a transform of torch.func is active, also while torch.compile traces it."""
    # traced, the None of an empty stack is an object whose class is known, but not that it is None
    return not isinstance(torch._C._functorch.peek_interpreter_stack(), type(None))


def choose(function: str, problem: Problem, impl: str) -> Carrier:
    """The carrier asked for, or for "auto" the fastest that supports the problem."""
    if impl == "auto":
        for name in FASTEST:
            if CARRIERS[name].unsupported(problem) is None:
                return CARRIERS[name]
        return eager
    carrier = CARRIERS[impl]
    reason = carrier.unsupported(problem)
    if reason:
        arguments.fail_implementation(function, impl, reason)
    return carrier


def counter(problem: Problem, impl: str) -> Callable[[Problem], Tensor | None] | None:
    """What counts the targets that are kept in fewer launches than plain operations, if anything.

    Asked before the reduction, which needs the count, is there.
    """
    if impl == "eager" or not runs_plainly(problem.logits) or gpu.unsupported(problem) is not None:
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
            # The tensor itself. Autograd has let go of it when nothing else keeps the graph, and
            # adds to it in place only then.
            return ctx.saved_tensors[-1], None
        problem, reduction, gradient = _load(ctx)
        if torch.is_grad_enabled():
            # create_graph: the gradient must itself be differentiable
            loss = _differentiable(problem, reduction)
            (gradient,) = torch.autograd.grad(loss, problem.logits, upstream, create_graph=True)
        elif ctx.carrier is gpu:
            gradient = gpu.pulled_back(
                problem, reduction, gradient, upstream, in_place=not _graph_is_kept()
            )
        elif gradient is None or gradient.dtype in (torch.float16, torch.bfloat16):
            factor = upstream.to(eager.computing_dtype(problem.logits))
            if reduction.kind == "mean":
                factor = factor / reduction.denominator
            gradient = ctx.carrier.gradient(problem, factor)
        elif reduction.kind == "none":
            gradient = gradient * _per_logit(upstream, problem)
        else:
            gradient = gradient * upstream
        return gradient, None


# `OnePass.apply` without its layer for torch.func, which `runs_plainly` has ruled out, and which
# takes as long as the kernel of a small batch.
_record: Callable[..., Tensor] = super(torch.autograd.Function, OnePass).apply


def _is_one(upstream: Tensor) -> bool:
    """Whether an upstream gradient is 1, where asking costs nothing: not on other devices."""
    return upstream.dim() == 0 and upstream.is_cpu and upstream.item() == 1


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
