"""Losses of detectors: qualities as targets, heatmaps of centres, distances as distributions.

With p = sigmoid(z), BCE(z, y) = -(y log p + (1 - y) log(1 - p)):

    varifocal     q BCE(z, q) where q > 0, else alpha p**gamma BCE(z, 0)     VarifocalNet, RT-DETR
    Gaussian      (1 - p)**gamma BCE(z, 1) where h = 1,
                  else (1 - h)**beta p**gamma BCE(z, 0)                      CornerNet, CenterNet
    distribution  cross-entropy with the two bins beside a distance          Generalized Focal Loss
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refocal import arguments, gate
from refocal.formula.in_torch import LARGEST_POWER
from refocal.losses import reduced_loss
from refocal.messages import refuse
from refocal.overrides import overridable
from refocal.problem import Heatmap, Quality, SigmoidProblem, computing_dtype
from refocal.torch_state import is_traced
from refocal.variants.pointwise import elementwise


@overridable
def varifocal_loss(
    logits: Tensor,
    quality: Tensor,
    *,
    alpha: float | Tensor = 0.75,
    gamma: float | Tensor = 2.0,
    positives: Tensor | None = None,
    detach_modulator: bool = False,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Varifocal loss: positives learn their quality and weigh as much, negatives are focal.

    $$ q\,\mathrm{BCE}(z, q) \quad (q > 0), \qquad
       \alpha\,p^\gamma\,\mathrm{BCE}(z, 0) \quad \text{else} $$

    Args:
        logits: floating, any shape.
        quality: q in [0, 1], the IoU of a matched box, of the shape of ``logits``; it gets no
            gradient.
        alpha: weight of negatives in [0, 1], or a tensor that aligns.
        gamma: exponent of negatives >= 0, or a tensor that aligns.
        positives: which elements are positive, bool, of the shape of ``logits``; None for those of
            q > 0. A positive of quality 0 weighs nothing, where by itself it would be a negative.
        detach_modulator: no gradient through ``p**gamma``, as RT-DETR trains.
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by; see `sigmoid_focal_loss`. "positives" is the sum of q,
            at least 1.
        sample_weight: None, or a tensor of the logits' shape or of its leading axes.
        ignore_index: qualities of this value add nothing.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> varifocal_loss(torch.tensor([0.7, -1.0]), torch.tensor([0.8, 0.0]), reduction="none")
        tensor([0.4345, 0.0170])

    References:
        Zhang et al., "VarifocalNet: An IoU-aware Dense Object Detector", 2021, eq. 2.
        https://arxiv.org/abs/2008.13367
    """
    name = "varifocal_loss"
    if alpha is None:
        raise refuse(
            name,
            "alpha",
            "be a number in [0, 1] or a tensor",
            "None",
            "Use 1.0 for no weight.",
            TypeError,
        )
    detached = arguments.flag(name, "detach_modulator", detach_modulator)
    if positives is not None:
        positives = arguments.positives(name, positives, logits)
        positives = gate.together(name, "positives", positives, logits)

    def read(problem: SigmoidProblem) -> SigmoidProblem:
        weight = problem.alpha[0]
        return problem._replace(
            alpha=(weight, weight), detach_modulator=detached, reading=Quality(positives)
        )

    return elementwise(
        name,
        read,
        logits,
        _constant(quality),
        alpha=alpha,
        exponent=gamma,
        reduction=reduction,
        normalizer=normalizer,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
    )


@overridable
def gaussian_focal_loss(
    logits: Tensor,
    heatmap: Tensor,
    *,
    gamma: float | Tensor = 2.0,
    beta: float = 4.0,
    pos_weight: float = 1.0,
    neg_weight: float = 1.0,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "peaks",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Focal loss of heatmaps: peaks are positives, and what lies near a peak is a lesser negative.

    $$ w_+\,(1 - p)^\gamma\,(-\log p) \quad (h = 1), \qquad
       w_-\,(1 - h)^\beta\,p^\gamma\,(-\log(1 - p)) \quad \text{else} $$

    Args:
        logits: floating, any shape; not the probabilities that others clamp at 1e-4 or 1e-12.
        heatmap: h in [0, 1], of the shape of ``logits``; 1, and nothing less, is a peak. It gets no
            gradient.
        gamma: focusing exponent >= 0 (mmdetection's alpha), or a tensor that aligns.
        beta: how fast negatives weigh less towards a peak, >= 0 (mmdetection's gamma).
        pos_weight: of peaks, >= 0.
        neg_weight: of all else, >= 0.
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by. "peaks": the count of targets that are 1 and not
            ignored, at least 1; or as in `sigmoid_focal_loss`.
        sample_weight: None, or a tensor of the logits' shape or of its leading axes.
        ignore_index: targets of this value add nothing.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> logits, heatmap = torch.tensor([0.7, 0.7, -1.0]), torch.tensor([1.0, 0.8, 0.0])
        >>> gaussian_focal_loss(logits, heatmap, reduction="none")
        tensor([0.0444, 0.0008, 0.0227])

    References:
        Law and Deng, "CornerNet", 2018, eq. 1. https://arxiv.org/abs/1808.01244
        Zhou et al., "Objects as Points", 2019, eq. 1. https://arxiv.org/abs/1904.07850
    """
    name = "gaussian_focal_loss"
    fading = arguments.not_negative(name, "beta", beta)
    positive = arguments.not_negative(name, "pos_weight", pos_weight)
    negative = arguments.not_negative(name, "neg_weight", neg_weight)

    def read(problem: SigmoidProblem) -> SigmoidProblem:
        return problem._replace(alpha=(positive, negative), reading=Heatmap(fading))

    return elementwise(
        name,
        read,
        logits,
        _constant(heatmap),
        alpha=None,
        exponent=gamma,
        reduction=reduction,
        normalizer=normalizer,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        peaks=True,
        # beyond, the rounding of 1 - h is all that is left, and the kernel's logarithm adds to it
        impl="auto" if fading <= LARGEST_POWER else "eager",
    )


@overridable
def distribution_focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Distribution focal loss: cross-entropy with the two bins between which a distance lies.

    $$ -(i + 1 - y) \log S_i - (y - i) \log S_{i+1}, \qquad i \le y \le i + 1 $$

    S is the softmax over the bins. It has no gamma: what is focal is that two bins share a target.

    Args:
        logits: floating, ``(*, bins)``, at least two bins.
        targets: floating, ``(*)``, distances y in [0, bins - 1] in units of a bin; the last bin
            itself is a target like any other. They get no gradient.
        reduction: "none" (the shape of ``targets``), "sum" or "mean".
        normalizer: what "mean" divides by: "elements", "sample_weight" or a number > 0.
        sample_weight: None, or a tensor of the targets' shape or of its leading axes.
        ignore_index: None, or a target value that contributes nothing: ``math.nan``, or -1.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> distribution_focal_loss(torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([0.75]))
        tensor(0.7144)

    References:
        Li et al., "Generalized Focal Loss", 2020, eq. 6. https://arxiv.org/abs/2006.04388
    """
    name = "distribution_focal_loss"
    if not is_traced():
        targets = gate.together(name, "targets", targets, logits)
        sample_weight = gate.together(name, "sample_weight", sample_weight, logits)
    kept = None
    if ignore_index is not None:
        kept = arguments.kept_distances(name, logits, targets, ignore_index)
        if targets.shape == logits.shape[:-1]:
            targets = torch.where(kept, targets, 0)
            # what is left out counts for nothing, not even where its logits are NaN
            logits = torch.where(kept.unsqueeze(-1), logits, 0)
    problem = arguments.distances(name, logits, targets, sample_weight)
    if kept is not None:
        weight = problem.weight
        if weight is None:
            dtype = computing_dtype(problem.logits)
            weight = torch.ones_like(problem.logits[:, 0], dtype=dtype)
        weight = torch.where(kept.reshape(-1), weight, 0)
        problem = problem._replace(weight=weight)
        if reduction == "mean" and isinstance(normalizer, str) and normalizer == "elements":
            normalizer = kept.sum().clamp(min=1)
    loss = reduced_loss(name, problem, reduction, normalizer, None, "auto", multiclass=True)
    return loss.reshape(targets.shape) if reduction == "none" else loss


def _constant(truth: Any) -> Any:
    """A quality or a heatmap, which gets no gradient; what is no tensor is refused later."""
    return truth.detach() if isinstance(truth, Tensor) else truth
