"""A softmax whose classes are split over ranks (vocabulary parallel): logits are never gathered.

For DTensor logits that are sharded along the class axis, inside
`torch.distributed.tensor.parallel.loss_parallel` or not. The margin needs two numbers per row from
the other ranks' classes: the largest rival (one MAX), and the sum of the rivals' exponentials,
which travels with the true class' own logit (one SUM). From there on everything is local, backward
included: a rank forms the gradient of its own classes from its own logits, and nothing of their
size is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import once_differentiable

from refocal import arguments
from refocal.formula import in_torch
from refocal.kernels.packing import tensors_of
from refocal.problem import SoftmaxProblem, class_axis_of, computing_dtype, is_kept
from refocal.reduction import Reduction, reduce


def splits_classes(problem: SoftmaxProblem) -> bool:
    """Whether the logits are a DTensor whose class axis is sharded."""
    # asked by name, because importing DTensor costs seconds that only its users should pay
    if type(problem.logits).__name__ != "DTensor":
        return False
    placements = problem.logits.placements  # type: ignore[attr-defined]
    return any(one.is_shard(class_axis_of(problem)) for one in placements)


def run(function: str, problem: SoftmaxProblem, reduction: Reduction, impl: str) -> Tensor:
    """The loss as a replicated DTensor; the gradient is sharded as the logits are."""
    from torch.distributed.tensor import DTensor, Replicate

    logits: Any = problem.logits
    mesh = logits.device_mesh
    if impl not in ("auto", "eager"):
        arguments.fail_implementation(function, impl, "does not run on class-sharded logits.")
    # the logits alone are taken apart
    problem = SoftmaxProblem(problem.logits, *map(_local, problem[1:]))
    reduction = reduction._replace(denominator=_local(reduction.denominator))
    arguments.check_class_sharded(
        function,
        problem,
        mesh.ndim,
        differentiated=any(one.requires_grad for one in tensors_of((*problem[1:], *reduction))),
    )
    arguments.check_values_of(function, problem)
    # as DTensor splits an axis: equal pieces, the last ones shorter or empty
    piece = -(-logits.shape[class_axis_of(problem)] // mesh.size())
    loss = ShardedSoftmax.apply(  # type: ignore[no-untyped-call]
        logits.to_local(), problem, reduction, mesh.get_group(), piece * mesh.get_local_rank()
    )
    return DTensor.from_local(loss, mesh, [Replicate()], run_check=False)


def _local(value: Any) -> Any:
    """A replicated DTensor as a plain tensor; anything else as it is."""
    return value.full_tensor() if type(value).__name__ == "DTensor" else value


class ShardedSoftmax(torch.autograd.Function):
    """The loss of class indices, from the logits of the classes ``first``, ``first + 1``, ...

    Every rank of ``group`` calls it with its own classes of the same rows.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        problem: SoftmaxProblem,
        reduction: Reduction,
        group: dist.ProcessGroup,
        first: int,
    ) -> Tensor:
        axis = class_axis_of(problem)
        dtype = computing_dtype(logits)
        book = in_torch.for_dtype(dtype)
        kept = is_kept(problem.targets, problem.ignore_index)
        index = torch.where(kept, problem.targets, 0).long()
        coefficient = kept.to(dtype)
        if problem.weight is not None:
            coefficient = coefficient * problem.weight
        silent = coefficient == 0  # rows of padding may hold NaN
        if problem.alpha is not None:
            coefficient = coefficient * problem.alpha[index]
        gamma = problem.gamma
        if isinstance(gamma, Tensor) and gamma.dim():
            per_class = gamma.shape[axis] != 1
            gamma = gamma.flatten()[index] if per_class else gamma.squeeze(axis)

        z, is_own = _mine(logits, index, silent, axis, first, dtype)
        rivals = torch.where(is_own, -torch.inf, z)
        top = _largest(rivals, axis)
        dist.all_reduce(top, dist.ReduceOp.MAX, group=group)
        base = book.finite(top)
        exponentials = book.term(rivals, base.unsqueeze(axis))
        sums = torch.stack([exponentials.sum(axis), torch.where(is_own, z, 0.0).sum(axis)])
        dist.all_reduce(sums, dist.ReduceOp.SUM, group=group)
        rest, own = sums.unbind()
        s, x, rest = book.against(own, base, rest, top, own - top)

        functions = in_torch.for_gamma(gamma, "power")
        both = (
            functions.value_and_detached_slope
            if problem.detach_modulator
            else functions.value_and_slope
        )
        value, slope = both(s, x, gamma)
        losses = book.weighed(coefficient, value)
        if reduction.kind == "mean":
            slope = slope / reduction.denominator
        ctx.save_for_backward(logits, index, silent, base, rest, coefficient * slope)
        ctx.axis, ctx.first, ctx.per_row = axis, first, reduction.kind == "none"
        return reduce(losses, reduction, logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        logits, index, silent, base, rest, slope = ctx.saved_tensors
        axis = ctx.axis
        slope = (slope * upstream.to(slope.dtype)).unsqueeze(axis)
        z, is_own = _mine(logits, index, silent, axis, ctx.first, slope.dtype)
        exponentials = in_torch.for_dtype(slope.dtype).term(z, base.unsqueeze(axis))
        gradient = torch.where(is_own, slope, exponentials * (-slope / rest.unsqueeze(axis)))
        return gradient.to(logits.dtype), None, None, None, None


def _mine(
    logits: Tensor, index: Tensor, silent: Tensor, axis: int, first: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The local logits with silent rows at zero, and a mask of the true class where it is here."""
    z = torch.where(silent.unsqueeze(axis), 0.0, logits.to(dtype))
    classes = torch.arange(first, first + logits.shape[axis], device=logits.device)
    shape = [1] * logits.dim()
    shape[axis] = -1
    return z, classes.view(shape) == index.unsqueeze(axis)


def _largest(rivals: Tensor, axis: int) -> Tensor:
    """The largest local rival, -inf where there is none.

    Also where one is NaN, whose MAX differs between backends: NaN reaches the others in the SUM.
    """
    if rivals.shape[axis] == 0:
        return rivals.sum(axis) - torch.inf
    top = rivals.amax(axis)
    return torch.where(torch.isnan(top), -torch.inf, top)
