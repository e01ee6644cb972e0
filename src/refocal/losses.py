"""The losses, each function with its module beside it: check, link, kernel, reduce."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from refocal import arguments, gate, kernels
from refocal.modules import FocalModule
from refocal.overrides import overridable
from refocal.posterior import sigmoid_posterior, softmax_posterior
from refocal.problem import Number, Problem
from refocal.ranks import mean_over_ranks
from refocal.reduction import reduction_for

Gamma: TypeAlias = float | Tensor | tuple[float | Tensor, float | Tensor]


@overridable
def sigmoid_focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float | Tensor | None = 0.25,
    gamma: Gamma = 2.0,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    process_group: ProcessGroup | None = None,
    impl: str = "auto",
) -> Tensor:
    r"""Binary or multi-label focal loss: one independent decision per logit.

    $$ \mathrm{FL} = -\alpha_t\,(1 - p_t)^\gamma \log p_t, \qquad p_t = \sigma((2y - 1)\,z) $$

    Finite loss and gradient for every finite logit and every gamma >= 0, in every dtype. With
    ``gamma=0, alpha=None`` it is the binary cross-entropy with logits.

    Soft targets are an expectation, linear in y: ``y a F(z) + (1 - y)(1 - a) F(-z)``, so mixing
    targets mixes losses. (`refocal.variants` has the other rules found in the field.) What counts
    with weight 0 contributes exactly 0, also where the loss is infinite.

    Args:
        logits: scores before the sigmoid, any real number. Floating, any shape.
        targets: 0, 1 or between, of the shape of ``logits``; bool, integer or floating.
        alpha: weight of the positive class in [0, 1]; negatives get ``1 - alpha``. None: no
            weight. A tensor may be 0-d, ``(C,)`` along axis 1 (axis 0 of 1-d logits), or of the
            logits' number of axes and broadcastable: for ``(B, Q, C)`` logits, whose classes are on
            the last axis, ``alpha.view(1, 1, C)``.
        gamma: focusing exponent >= 0; 0 is cross-entropy. A tensor as for ``alpha``, or a tuple
            ``(gamma_pos, gamma_neg)``.
        reduction: "none" (shape and dtype of ``logits``), "sum", or "mean" = sum / normalizer. Of
            half-precision logits "sum" and "mean" are float32.
        normalizer: what "mean" divides by. "elements": the count of elements not ignored.
            "positives": the sum of targets not ignored, at least 1. "weights": the sum of
            ``sample_weight * alpha_t``. "sample_weight": the sum of that alone, so that weights of
            0 and 1 give the mean over what they keep; without any, "elements". Or a number or 0-d
            tensor > 0. The posterior of a trained model holds for "elements", and for
            "sample_weight" where the weights know nothing of the targets; the label-dependent
            denominators bias it.
        sample_weight: None, or a tensor of the logits' shape or of its leading axes.
        ignore_index: targets of this value add nothing to loss, gradient or denominator. An
            integer, which floating targets hold as nearly as their dtype can, or NaN for missing
            labels.
        label_smoothing: e in [0, 1]; targets are read as ``y (1 - e) + e / 2``.
        detach_modulator: no gradient through ``(1 - p_t)**gamma``. The loss that remains is convex
            in the logits, and its posterior is a temperature.
        process_group: ranks that share one batch, for reduction "mean". Each passes its local part;
            the denominator is summed over them (a number too), and what is returned is ``world *
            local sum / global denominator``, so that averaging gradients over ranks, as DDP and
            FSDP do, gives exactly the gradient of the whole batch in one process.
        impl: "auto", or "eager" for plain PyTorch.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: integer logits, a list for gamma, or another wrong type.

    Example:
        >>> import torch
        >>> from refocal import sigmoid_focal_loss
        >>> logits = torch.tensor([2.0, -1.0, 0.5])
        >>> targets = torch.tensor([1.0, 0.0, 0.0])
        >>> sigmoid_focal_loss(logits, targets, reduction="none")
        tensor([0.0005, 0.0170, 0.2831])

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5.
        https://arxiv.org/abs/1708.02002
    """
    name = "sigmoid_focal_loss"
    problem = arguments.sigmoid_problem(
        name,
        logits,
        targets,
        alpha=alpha,
        gamma=gamma,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        detach_modulator=detach_modulator,
    )
    return reduced_loss(name, problem, reduction, normalizer, process_group, impl, multiclass=False)


@overridable
def softmax_focal_loss(
    logits: Tensor,
    targets: Tensor,
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
    impl: str = "auto",
) -> Tensor:
    r"""Multi-class focal loss: one of C classes per position.

    $$ \mathrm{FL} = -\alpha_y\,(1 - p_y)^\gamma \log p_y, \qquad p = \mathrm{softmax}(z) $$

    Computed from the margin ``s = z_y - logsumexp of the other logits``, of which ``p_y`` is the
    sigmoid: ``1 - p_y`` is never a difference. With ``gamma=0, alpha=None`` it is cross-entropy.

    Probability targets are an expectation: ``sum_c y_c a_c F(s_c)``. Classes masked with ``-inf``
    drop out of loss and gradient; with label smoothing, which asks for every class, the loss is
    infinite there.

    Args:
        logits: scores before the softmax. Floating, ``(C,)``, ``(N, C)`` or ``(N, C, *)``.
        targets: class indices of the logits' shape without the class axis, or floating
            probabilities of the logits' shape (rows need not sum to 1).
        alpha: None, or a tensor of C class weights >= 0. A single number is refused: the field
            disagrees on its meaning.
        gamma: focusing exponent >= 0; 0 is cross-entropy. A tensor may be 0-d, ``(C,)`` (the
            exponent of each target class), or of the shape of ``targets``. Where both fit, ``(C,)``
            holds.
        reduction: "none" (one loss per position, dtype of ``logits``), "sum", or "mean" = sum /
            normalizer. Of half-precision logits "sum" and "mean" are float32.
        normalizer: what "mean" divides by. "elements": the count of positions not ignored.
            "weights": the sum of ``sample_weight * alpha_y``, as in `torch.nn.CrossEntropyLoss`
            with a weight. "sample_weight": the sum of that alone, "elements" without any. Or a
            number or 0-d tensor > 0.
        sample_weight: None, or a tensor of the loss' shape or of its leading axes.
        ignore_index: class index that adds nothing to loss, gradient or denominator. Must stay
            -100 with probability targets.
        label_smoothing: e in [0, 1]; targets are read as ``y (1 - e) + e / C``.
        detach_modulator: no gradient through ``(1 - p_y)**gamma``.
        process_group: ranks that share one batch, for reduction "mean". Each passes its local part;
            the denominator is summed over them (a number too), and what is returned is ``world *
            local sum / global denominator``, so that averaging gradients over ranks, as DDP and
            FSDP do, gives exactly the gradient of the whole batch in one process.
        impl: "auto", or "eager" for plain PyTorch.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: integer logits, a number for alpha, a list for gamma, or another wrong type.

    Example:
        >>> import torch
        >>> from refocal import softmax_focal_loss
        >>> logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 3.0]])
        >>> softmax_focal_loss(logits, torch.tensor([0, 1]), reduction="none")
        tensor([0.0041, 2.8210])

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5,
        with softmax probabilities. https://arxiv.org/abs/1708.02002
    """
    name = "softmax_focal_loss"
    problem = arguments.softmax_problem(
        name,
        logits,
        targets,
        alpha=alpha,
        gamma=gamma,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        detach_modulator=detach_modulator,
    )
    return reduced_loss(name, problem, reduction, normalizer, process_group, impl, multiclass=True)


def reduced_loss(
    name: str,
    problem: Problem,
    reduction: str,
    normalizer: str | float | Tensor,
    process_group: ProcessGroup | None,
    impl: str,
    *,
    multiclass: bool,
) -> Tensor:
    """The loss of a problem from its checked arguments on: the gate, the denominator, the kernel.

    Args:
        name: whose name the errors bear.
        problem: checked arguments.
        reduction: as given by the user.
        normalizer: as given by the user.
        process_group: as given by the user.
        impl: as given by the user.
        multiclass: whether it is a softmax.
    """
    shared = process_group is not None
    problem, normalizer = gate.admit(name, problem, normalizer)
    arguments.check_reduction(name, reduction, normalizer, multiclass=multiclass, shared=shared)
    arguments.check_normalizer_device(name, normalizer, problem.logits)
    arguments.check_implementation(name, impl)
    if process_group is None:
        counter = kernels.counter(problem, impl)
        how = reduction_for(problem, reduction, normalizer, counter)
        return kernels.run(name, problem, how, impl)
    run = partial(kernels.run, name, problem, impl=impl)
    return mean_over_ranks(name, problem, reduction, normalizer, process_group, run)


class SigmoidFocalLoss(FocalModule):
    """Module form of `sigmoid_focal_loss`; same keywords.

    A tensor ``alpha`` or ``gamma`` moves with the module, stays in float32 whatever ``.bfloat16()``
    says, and stays out of the state dict, so a checkpoint loads after the loss has changed.

    Example:
        >>> import torch
        >>> from refocal import SigmoidFocalLoss
        >>> loss = SigmoidFocalLoss(alpha=None, gamma=0)
        >>> loss(torch.tensor([0.0]), torch.tensor([1.0]))
        tensor(0.6931)
    """

    def __init__(
        self,
        *,
        alpha: float | Tensor | None = 0.25,
        gamma: Gamma = 2.0,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: float | None = None,
        label_smoothing: float = 0.0,
        detach_modulator: bool = False,
        process_group: ProcessGroup | None = None,
        impl: str = "auto",
    ) -> None:
        super().__init__(
            multiclass=False,
            alpha=alpha,
            gamma=gamma,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            detach_modulator=detach_modulator,
            process_group=process_group,
            impl=impl,
        )

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        *,
        sample_weight: Tensor | None = None,
        normalizer: str | float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; see `sigmoid_focal_loss`. ``normalizer`` replaces the module's."""
        keywords = self.keywords(normalizer)
        return sigmoid_focal_loss(logits, targets, sample_weight=sample_weight, **keywords)

    def denominator(self, targets: Tensor, sample_weight: Tensor | None = None) -> Number:
        """What "mean" divides by for these targets, to be summed over micro-batches up front.

        With gradient accumulation every micro-batch must divide by the count of the whole batch:
        pass the sum as ``normalizer``. It is a local count: with a ``process_group`` it is summed
        over the ranks in the call of the loss.

        Args:
            targets: the targets of one micro-batch.
            sample_weight: its weights.

        Returns:
            A number or a 0-d tensor >= 0; "positives" is not raised to 1 here.

        Example:
            >>> import torch
            >>> from refocal import SigmoidFocalLoss
            >>> loss = SigmoidFocalLoss(normalizer="positives")
            >>> sum(loss.denominator(torch.tensor(y)) for y in ([1.0, 0.0, 0.0], [1.0, 1.0, 0.0]))
            tensor(3.)
        """
        logits = torch.zeros((), device=targets.device).expand(targets.shape)
        return self._denominator(arguments.sigmoid_problem, logits, targets, sample_weight)

    def posterior(self, logits: Tensor, **keywords: Any) -> Tensor:
        """Calibrated probabilities under this loss' settings; see `sigmoid_posterior`."""
        return sigmoid_posterior(logits, **self.posterior_keywords(), **keywords)


class SoftmaxFocalLoss(FocalModule):
    """Module form of `softmax_focal_loss`; same keywords.

    A tensor ``alpha`` or ``gamma`` moves with the module, stays in float32 whatever ``.bfloat16()``
    says, and stays out of the state dict, so a checkpoint loads after the loss has changed.

    Example:
        >>> import torch
        >>> from refocal import SoftmaxFocalLoss
        >>> loss = SoftmaxFocalLoss(gamma=0)
        >>> loss(torch.zeros(1, 4), torch.tensor([2]))
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
        impl: str = "auto",
    ) -> None:
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
            impl=impl,
        )

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        *,
        sample_weight: Tensor | None = None,
        normalizer: str | float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; see `softmax_focal_loss`. ``normalizer`` replaces the module's."""
        keywords = self.keywords(normalizer)
        return softmax_focal_loss(logits, targets, sample_weight=sample_weight, **keywords)

    def denominator(self, targets: Tensor, sample_weight: Tensor | None = None) -> Number:
        """What "mean" divides by for these targets, to be summed over micro-batches up front.

        See `SigmoidFocalLoss.denominator`.

        Args:
            targets: the targets of one micro-batch: class indices ``(N, *)`` or probabilities.
            sample_weight: its weights.

        Returns:
            A number or a 0-d tensor >= 0.

        Example:
            >>> import torch
            >>> from refocal import SoftmaxFocalLoss
            >>> SoftmaxFocalLoss().denominator(torch.tensor([0, 2, -100]))
            tensor(2)
        """
        return self._class_denominator(targets, sample_weight)

    def posterior(self, logits: Tensor, **keywords: Any) -> Tensor:
        """Calibrated probabilities under this loss' settings; see `softmax_posterior`."""
        return softmax_posterior(logits, **self.posterior_keywords(), **keywords)
