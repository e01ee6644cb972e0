"""Softmax focal loss of ``hidden @ weight.T + bias`` without ever holding all logits.

The logits of a large vocabulary outweigh everything else: 8,192 rows by 128,000 classes are 4.2 GB
in float32, and the loss needs as much again for their gradient. But a row's loss needs no other
row, so the rows pass in chunks: logits, loss and logit gradient of one chunk, then the two products
that lead from its gradient to ``hidden`` and ``weight``, then the next chunk in the same memory.
The gradients are finished when the forward is; backward only scales them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.utils.checkpoint import checkpoint

from refocal import arguments, gate, kernels
from refocal.kernels import eager
from refocal.kernels.gpu import backend as gpu
from refocal.kernels.packing import tensors_of, with_tensors, without_tensors
from refocal.modules import FocalModule
from refocal.overrides import overridable
from refocal.posterior import softmax_posterior
from refocal.problem import (
    Number,
    SoftmaxProblem,
    class_axis_of,
    computing_dtype,
    has_index_targets,
    loss_shape,
)
from refocal.ranks import mean_over_ranks
from refocal.reduction import Reduction, reduce, reduction_for
from refocal.torch_state import is_transformed

NAME = "linear_focal_loss"

# A chunk is a trade: each one adds its product to the whole weight gradient, which is read and
# written for it, and from about 256 rows on that traffic hides behind the product itself. Few
# classes take more rows: products of a few million logits spread over all cores.
CHUNK_ROWS = 256
CHUNK_LOGITS = 2**23
# A GPU's product outruns that traffic only from thousands of rows on: with 128,000 classes of 4,096
# features a chunk moves 6 GB for it, however few rows it has.
DEVICE_CHUNK_ROWS = 2048


@overridable
def linear_focal_loss(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: Tensor | None = None,
    gamma: float | Tensor = 2.0,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    process_group: ProcessGroup | None = None,
    chunk_size: int | None = None,
) -> Tensor:
    r"""Multi-class focal loss of a last linear layer with many classes, in the memory of a chunk.

    $$ \mathrm{FL} = -\alpha_y\,(1 - p_y)^\gamma \log p_y, \qquad p = \mathrm{softmax}(W h + b) $$

    The same loss and the same gradients as ``softmax_focal_loss(F.linear(hidden, weight, bias),
    targets, ...)`` on rows, but only ``chunk_size`` rows of logits exist at a time. Use it where
    the logits are what fills the memory: vocabularies, large label spaces.

    "mean" and "sum" compute all gradients during the forward, which then takes most of the time;
    those of half-precision factors are accumulated in float32. "none" computes the logits a second
    time in backward. With gradients for targets, alpha, gamma or sample_weight, and under
    torch.compile, every chunk is a checkpoint: the same memory, one product more. Under torch.func
    transforms and in a second derivative all chunks are held.

    Args:
        hidden: rows of features. Floating, ``(*, D)``.
        weight: one row per class, as in `torch.nn.Linear`. ``(C, D)``, dtype of ``hidden``
            (under autocast any).
        targets: class indices ``(*)``, or floating probabilities ``(*, C)``.
        bias: None or ``(C,)``.
        alpha: None, or a tensor of C class weights >= 0.
        gamma: focusing exponent >= 0; 0 is cross-entropy. A tensor may be 0-d, ``(C,)`` (the
            exponent of each target class), or of the shape of ``targets``.
        reduction: "none" (one loss per row of ``hidden``, in the dtype of the logits), "sum", or
            "mean" = sum / normalizer. Of half-precision logits "sum" and "mean" are float32.
        normalizer: what "mean" divides by: "elements", "weights", "sample_weight" or a number,
            as in `softmax_focal_loss`.
        sample_weight: None, or a tensor of the loss' shape or of its leading axes.
        ignore_index: class index that adds nothing to loss, gradient or denominator. Must stay
            -100 with probability targets. An ignored row of ``hidden`` must be finite all the same,
            as in `torch.nn.Linear`: 0 times inf is NaN in the gradient of ``weight``.
        label_smoothing: e in [0, 1]; targets are read as ``y (1 - e) + e / C``.
        detach_modulator: no gradient through ``(1 - p_y)**gamma``.
        process_group: ranks that share one batch, for reduction "mean"; as in
            `softmax_focal_loss`. Each passes its local rows, and the whole weight.
        chunk_size: rows of logits held at a time. None: at least 256, on a GPU 2,048, and up to 8
            million logits.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: factors of different dtypes outside autocast, or another wrong type.

    Example:
        >>> import torch
        >>> from refocal import linear_focal_loss
        >>> hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> weight = torch.tensor([[2.0, 0.0], [0.0, 0.0], [-1.0, 3.0]])
        >>> linear_focal_loss(hidden, weight, torch.tensor([0, 1]), reduction="none")
        tensor([0.0041, 2.8210])

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5.
        https://arxiv.org/abs/1708.02002 The chunks follow Hsu et al., "Liger Kernel", 2024, section
        3.2. https://arxiv.org/abs/2410.10989
    """
    dtype = _autocast_dtype(hidden)
    problem = arguments.linear_problem(
        NAME,
        hidden,
        weight,
        targets,
        bias,
        dtype=dtype,
        alpha=alpha,
        gamma=gamma,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        detach_modulator=detach_modulator,
    )
    hidden, weight, bias = (
        gate.together(NAME, name, factor, hidden)
        for name, factor in (("hidden", hidden), ("weight", weight), ("bias", bias))
    )
    # a stand-in, which holds no logits, for what is as plain or as distributed as the hidden state
    problem, normalizer = gate.admit(NAME, problem, normalizer, lead=hidden)
    shared = process_group is not None
    arguments.check_reduction(NAME, reduction, normalizer, multiclass=True, shared=shared)
    arguments.check_normalizer_device(NAME, normalizer, hidden)
    arguments.check_chunk_size(NAME, chunk_size)
    positions = tuple(hidden.shape[:-1])
    problem = _as_rows(problem)
    factors = Factors(hidden.reshape(-1, hidden.shape[-1]), weight, bias)
    rows = chunk_size or _chunk_rows(hidden, weight.shape[0])
    if process_group is None:
        counter = kernels.counter(problem, "auto")
        how = reduction_for(problem, reduction, normalizer, counter)
        loss = _run(factors, problem, how, rows)
        return loss.view(positions) if reduction == "none" else loss

    def run(reduction: Reduction) -> Tensor:
        return _run(factors, problem, reduction, rows)

    # gradients are accumulated undivided, so the ranks' count may come when they are finished
    return mean_over_ranks(NAME, problem, reduction, normalizer, process_group, run)


def _chunk_rows(hidden: Tensor, classes: int) -> int:
    """Rows of a chunk where the caller has no wish."""
    least = CHUNK_ROWS if hidden.device.type == "cpu" else DEVICE_CHUNK_ROWS
    return max(least, CHUNK_LOGITS // classes)


def _autocast_dtype(hidden: Any) -> torch.dtype | None:
    """What autocast multiplies in, or None where it is off or leaves the factors alone."""
    if not isinstance(hidden, Tensor) or hidden.dtype == torch.float64:
        return None
    kind = hidden.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def _without_autocast(kind: str) -> AbstractContextManager[Any]:
    """Products in the dtypes of their factors; some devices, as meta, know no other."""
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def _as_rows(problem: SoftmaxProblem) -> SoftmaxProblem:
    """The same problem with logits ``(N, C)``, and gamma and weight that can be cut into rows."""
    axis = class_axis_of(problem)
    positions = loss_shape(problem)
    count = math.prod(positions)
    targets = problem.targets if has_index_targets(problem) else problem.targets.movedim(axis, -1)
    gamma, weight = problem.gamma, problem.weight
    if isinstance(gamma, Tensor) and gamma.dim():
        gamma = gamma.movedim(axis, -1)
        if gamma.numel() > gamma.shape[-1]:
            gamma = gamma.expand(*positions, -1)
        gamma = gamma.reshape(-1, gamma.shape[-1])
    if weight is not None:
        weight = weight.expand(positions).reshape(count)
    logits = problem.logits.new_empty(()).expand(count, problem.logits.shape[axis])
    return _of_rows(
        problem, logits, targets.reshape(count, *targets.shape[len(positions) :]), gamma, weight
    )


def _of_rows(
    problem: SoftmaxProblem, logits: Tensor, targets: Tensor, gamma: Number, weight: Tensor | None
) -> SoftmaxProblem:
    """Other rows under the same settings: `_replace`, for older versions of torch.compile."""
    return SoftmaxProblem(
        logits,
        targets,
        problem.alpha,
        gamma,
        weight,
        problem.ignore_index,
        problem.label_smoothing,
        problem.detach_modulator,
    )


def _slices(count: int, rows: int) -> Iterator[slice]:
    """Consecutive chunks of rows; one empty chunk where there are none."""
    for start in range(0, max(count, 1), rows):
        yield slice(start, min(start + rows, count))


# ---------------------------------------------------------------------------------------------
# one chunk, there and back


class Factors(NamedTuple):
    """What the logits are made of: ``(N, D)``, ``(C, D)`` and ``(C,)``."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None

    def to(self, dtype: torch.dtype) -> Factors:
        """All in one dtype."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return Factors(self.hidden.to(dtype), self.weight.to(dtype), bias)

    def chunk(
        self, problem: SoftmaxProblem, rows: slice, *, widened: bool = True
    ) -> SoftmaxProblem:
        """The problem of some rows.

        Its logits are rounded to the factors' dtype, as the unfused loss has them, and then carried
        in the computing dtype: backends return the gradient of such in the same pass. Not
        ``widened``, they stay as they are, for the GPU kernels compute in float32 anyway.
        """
        logits = F.linear(self.hidden[rows], self.weight, self.bias)
        gamma, weight = problem.gamma, problem.weight
        if isinstance(gamma, Tensor) and gamma.dim() and gamma.shape[0] > 1:
            gamma = gamma[rows]
        return _of_rows(
            problem,
            logits.to(computing_dtype(logits)) if widened else logits,
            problem.targets[rows],
            gamma,
            None if weight is None else weight[rows],
        )


class Gradients(NamedTuple):
    """Sums over the rows seen so far, in the computing dtype; None where nothing is learned."""

    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    @classmethod
    def zeros(cls, factors: Factors, learns: Sequence[bool]) -> Gradients:
        """No rows seen."""
        dtype = computing_dtype(factors.hidden)
        return cls(
            *(
                torch.zeros_like(one, dtype=dtype, memory_format=torch.contiguous_format)
                if one is not None and learn
                else None
                for one, learn in zip(factors, learns, strict=True)
            )
        )

    def add(self, factors: Factors, rows: slice, slopes: Tensor) -> None:
        """Adds what the logit gradients of some rows mean for the factors, as multiplied."""
        dtype = factors.weight.dtype
        if self.hidden is not None:
            self.hidden[rows] = slopes.to(dtype) @ factors.weight
        if self.weight is not None:
            hidden = factors.hidden[rows]
            if self.weight.dtype == dtype or slopes.device.type == "cpu":
                self.weight.addmm_(slopes.to(self.weight.dtype).mT, hidden.to(self.weight.dtype))
            else:
                _accumulate(self.weight, slopes.mT.to(dtype), hidden)
        if self.bias is not None:
            self.bias.add_(slopes.sum(0, dtype=self.bias.dtype))

    def rounded(self, factors: Factors, factor: Tensor | None) -> tuple[Tensor | None, ...]:
        """What the factors get: times ``factor``, and rounded once to the dtype of each."""
        scaled = (one if one is None or factor is None else one * factor for one in self)
        return tuple(
            None if one is None or like is None else one.to(like.dtype)
            for one, like in zip(scaled, factors, strict=True)
        )


def _accumulate(sums: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds the product of two half-precision matrices to a float32 one.

    Matrix units multiply half precision and sum in float32. Where torch hands their sums on as they
    are, nothing is rounded to half precision in between, and no product is written and read.
    """
    if sums.is_cuda and not torch.version.hip and hasattr(torch.ops.aten.addmm, "dtype_out"):
        torch.ops.aten.addmm.dtype_out(sums, left, right, sums.dtype, out=sums)
    else:
        sums.add_(left @ right)


# ---------------------------------------------------------------------------------------------
# all chunks


def _run(factors: Factors, problem: SoftmaxProblem, reduction: Reduction, rows: int) -> Tensor:
    """The reduced loss: `Chunked` where plain reverse mode is all that is asked."""
    recording = torch.is_grad_enabled()
    held = tensors_of((*factors, *problem, *reduction))
    plain = kernels.runs_plainly(held)
    others_learn = any(tensor.requires_grad for tensor in tensors_of((*problem, *reduction)))
    arguments.check_values_of(NAME, problem)
    with _without_autocast(factors.hidden.device.type):
        if plain and not (recording and others_learn):
            return Chunked.apply(  # type: ignore[no-any-return, no-untyped-call]
                *factors, problem, reduction, rows, recording
            )
        # functorch refuses the hooks by which a checkpoint forgets what it computed
        hold = is_transformed() or not recording
        return _differentiable(factors, problem, reduction, rows, hold=hold)


def _differentiable(
    factors: Factors, problem: SoftmaxProblem, reduction: Reduction, rows: int, *, hold: bool
) -> Tensor:
    """The loss by differentiable expressions. What a chunk computed is held, or computed again."""
    everything = (factors.to(problem.logits.dtype), problem)
    skeleton, tensors = without_tensors(everything), tensors_of(everything)

    def losses(rows: slice, *tensors: Tensor) -> Tensor:
        factors, problem = with_tensors(skeleton, list(tensors))
        return eager.losses(Factors(*factors).chunk(SoftmaxProblem(*problem), rows))

    chunks = [
        losses(part, *tensors)
        if hold
        else checkpoint(losses, part, *tensors, use_reentrant=False, preserve_rng_state=False)
        for part in _slices(len(factors.hidden), rows)
    ]
    return reduce(torch.cat(chunks), reduction, problem.logits.dtype)


class Chunked(torch.autograd.Function):
    """The loss chunk by chunk, with the gradients of a sum accumulated on the way.

    They are kept undivided and, for half-precision factors, in float32: backward multiplies them by
    upstream / denominator, formed in float32, and rounds once. Backward writes to nothing that it
    has saved, so it may run twice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        problem: SoftmaxProblem,
        reduction: Reduction,
        rows: int,
        recording: bool,
    ) -> Tensor:
        """The reduced loss."""
        factors = Factors(hidden, weight, bias)
        dtype = problem.logits.dtype
        now = recording and reduction.kind != "none"
        gradients = Gradients.zeros(factors, ctx.needs_input_grad[:3]) if now else None
        ours = factors.to(dtype)
        backend = kernels.choose(NAME, problem, "auto", tensors_of(problem))
        if gradients is not None and backend is gpu:
            total = _overwritten(ours, problem, reduction, rows, gradients)
            _remember(ctx, rows, factors, problem, reduction, gradients)
            return total
        losses = torch.cat(_losses(ours, problem, rows, gradients))
        _remember(ctx, rows, factors, problem, reduction, gradients)
        return reduce(losses, reduction, dtype)

    @staticmethod
    def backward(ctx: Any, *upstreams: Tensor) -> tuple[Tensor | None, ...]:
        """Upstream times what forward accumulated, or the chunks once more for "none"."""
        (upstream,) = upstreams
        parts = with_tensors(ctx.skeleton, list(ctx.saved_tensors))
        factors, problem, reduction = (
            kind(*part)
            for kind, part in zip((Factors, SoftmaxProblem, Reduction), parts[:3], strict=True)
        )
        learns = ctx.needs_input_grad[:3]
        again = torch.is_grad_enabled()  # create_graph: the gradients must be differentiable
        if again or (parts[3] is None and not kernels.is_plain_upstream(upstream)):
            with torch.enable_grad():
                loss = _differentiable(factors, problem, reduction, ctx.rows, hold=True)
            wanted = [one for one, learn in zip(factors, learns, strict=True) if learn]
            found = iter(torch.autograd.grad(loss, wanted, upstream, create_graph=again))
            return (*(next(found) if learn else None for learn in learns), *(None,) * 4)
        factor = upstream.to(computing_dtype(upstream))
        if parts[3] is not None:
            accumulated = Gradients(*parts[3])
            return (*accumulated.rounded(factors, factor / reduction.denominator), *(None,) * 4)
        gradients = Gradients.zeros(factors, learns)
        _pull_back(factors.to(problem.logits.dtype), problem, ctx.rows, factor, gradients)
        return (*gradients.rounded(factors, None), *(None,) * 4)


def _remember(ctx: Any, rows: int, *parts: Any) -> None:
    """Keeps what backward needs."""
    ctx.rows = rows
    ctx.skeleton = without_tensors(parts)
    ctx.save_for_backward(*tensors_of(parts))


def _overwritten(
    factors: Factors,
    problem: SoftmaxProblem,
    reduction: Reduction,
    rows: int,
    gradients: Gradients,
) -> Tensor:
    """The reduced loss by the GPU kernels, one launch a chunk, and its gradients.

    A chunk's logits are nobody else's: they stay in the factors' dtype, and their gradient is
    written over them.
    """
    parts = list(_slices(len(factors.hidden), rows))
    sizes = [
        gpu.programs(_of_part(problem, factors.weight, part.stop - part.start)) for part in parts
    ]
    device = factors.hidden.device
    sums = torch.zeros(sum(sizes), dtype=torch.float32, device=device)
    for part, own in zip(parts, torch.split(sums, sizes), strict=True):
        chunk = gpu.present(factors.chunk(problem, part, widened=False))
        gpu.sums_over(chunk, own, overwrite=True)
        gradients.add(factors, part, chunk.logits)
    total = torch.empty((), dtype=torch.float32, device=device)
    gpu.finish(sums, total, gpu.denominator_of(reduction, factors.hidden))
    return total


def _of_part(problem: SoftmaxProblem, weight: Tensor, rows: int) -> SoftmaxProblem:
    """A problem of so many rows, as far as its size goes."""
    targets = problem.targets[:rows]
    return problem._replace(logits=weight.new_empty(()).expand(rows, len(weight)), targets=targets)


def _losses(
    factors: Factors, problem: SoftmaxProblem, rows: int, gradients: Gradients | None
) -> list[Tensor]:
    """Unreduced losses by chunk, and what each adds to the gradients of their sum."""
    losses = []
    for part in _slices(len(factors.hidden), rows):
        chunk = factors.chunk(problem, part)
        backend = kernels.choose(NAME, chunk, "auto", tensors_of(chunk))
        loss, slopes = backend.evaluate(
            NAME, chunk, Reduction("none", 1.0), gradient=gradients is not None
        )
        if gradients is not None:
            assert slopes is not None  # noqa: S101 - they were asked for
            gradients.add(factors, part, slopes)
        losses.append(loss)
    return losses


def _pull_back(
    factors: Factors, problem: SoftmaxProblem, rows: int, upstream: Tensor, gradients: Gradients
) -> None:
    """Adds the gradients of the unreduced loss times ``upstream``, one per row."""
    for part in _slices(len(factors.hidden), rows):
        chunk = factors.chunk(problem, part)
        backend = kernels.choose(NAME, chunk, "auto", tensors_of(chunk))
        gradients.add(factors, part, backend.gradient(chunk, upstream[part]))


class LinearFocalLoss(FocalModule):
    """Module form of `linear_focal_loss`; same keywords. The weight stays the model's own.

    A tensor ``alpha`` or ``gamma`` moves with the module, stays in float32 whatever ``.bfloat16()``
    says, and stays out of the state dict, so a checkpoint loads after the loss has changed.

    Example:
        >>> import torch
        >>> from refocal import LinearFocalLoss
        >>> loss = LinearFocalLoss(gamma=0)
        >>> loss(torch.zeros(1, 2), torch.zeros(4, 2), torch.tensor([2]))
        tensor(1.3863)
    """

    def __init__(
        self,
        *,
        alpha: Tensor | None = None,
        gamma: float | Tensor = 2.0,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        detach_modulator: bool = False,
        process_group: ProcessGroup | None = None,
        chunk_size: int | None = None,
    ) -> None:
        arguments.check_chunk_size(type(self).__name__, chunk_size)
        super().__init__(
            multiclass=True,
            alpha=alpha,
            gamma=gamma,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            detach_modulator=detach_modulator,
            process_group=process_group,
            chunk_size=chunk_size,
        )

    def forward(
        self,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        bias: Tensor | None = None,
        *,
        sample_weight: Tensor | None = None,
        normalizer: str | float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; see `linear_focal_loss`. ``normalizer`` replaces the module's."""
        keywords = self.keywords(normalizer)
        return linear_focal_loss(
            hidden, weight, targets, bias, sample_weight=sample_weight, **keywords
        )

    def denominator(self, targets: Tensor, sample_weight: Tensor | None = None) -> Number:
        """What "mean" divides by for these targets, to be summed over micro-batches up front.

        See `SigmoidFocalLoss.denominator`.

        Args:
            targets: the targets of one micro-batch: class indices ``(*)`` or probabilities
                ``(*, C)``.
            sample_weight: its weights.

        Returns:
            A number or a 0-d tensor >= 0.

        Example:
            >>> import torch
            >>> from refocal import LinearFocalLoss
            >>> LinearFocalLoss().denominator(torch.tensor([0, 2, -100]))
            tensor(2)
        """
        if targets.dtype.is_floating_point and targets.dim() > 2:
            targets = targets.movedim(-1, 1)  # where the other losses have their classes
        return self._class_denominator(targets, sample_weight)

    def posterior(self, logits: Tensor, **keywords: Any) -> Tensor:
        """Calibrated probabilities of logits under this loss' settings; see `softmax_posterior`."""
        return softmax_posterior(logits, **self.posterior_keywords(), **keywords)
