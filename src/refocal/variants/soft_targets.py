"""Losses that read a soft target otherwise than as an expectation over hard ones, for migration.

`sigmoid_focal_loss` reads a soft target as an expectation over hard ones, so mixing targets mixes
losses. These read it otherwise, and agree with it (the quality and blend rules exactly, for hard
targets) only where targets are 0 or 1.

With p = sigmoid(z), BCE = -(y log p + (1 - y) log(1 - p)), alpha_t = y alpha + (1 - y)(1 - alpha):

    blend      alpha_t (y (1 - p) + (1 - y) p)**gamma BCE    torchvision, fvcore, optax, Keras
    exp_bce    alpha_t (1 - exp(-BCE))**gamma BCE            segmentation-models-pytorch, catalyst
    quality    alpha_t |y - p|**beta BCE                     Generalized Focal Loss, YOLOv5
    asymmetric two exponents and a probability shift         Asymmetric Loss
"""

from __future__ import annotations

import torch
from torch import Tensor

from refocal import arguments
from refocal.formula.in_torch import BOOK
from refocal.overrides import overridable
from refocal.problem import SigmoidProblem
from refocal.variants.pointwise import Point, modulated, pointwise


@overridable
def blend_focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float | Tensor | None = 0.25,
    gamma: float | Tensor = 2.0,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Focal loss whose p_t blends the two classes of a soft target.

    $$ \alpha_t\,\bigl(y(1-p) + (1-y)p\bigr)^\gamma\;\mathrm{BCE}(z, y) $$

    The rule of torchvision, fvcore, detectron2, mmdet, optax and Keras. Equal to
    `sigmoid_focal_loss` for hard targets; for soft ones it is not linear in y.

    Args:
        logits: floating, any shape.
        targets: in [0, 1], of the shape of ``logits``.
        alpha: weight of positives in [0, 1], a tensor that aligns, or None.
        gamma: focusing exponent >= 0, or a tensor that aligns.
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by; see `sigmoid_focal_loss`.
        sample_weight: None, or a tensor of the logits' shape or of its leading axes.
        ignore_index: targets of this value add nothing.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> blend_focal_loss(torch.tensor([0.7]), torch.tensor([0.3]), alpha=None)
        tensor(0.2874)

    References:
        Lin et al. 2017, eq. 5, as written for soft targets in torchvision.ops.sigmoid_focal_loss.
    """

    def rule(at: Point, problem: SigmoidProblem) -> Tensor:
        return modulated(at.bce, at.y * at.q + (1 - at.y) * at.p, problem.gamma[0])

    return pointwise(
        "blend_focal_loss",
        rule,
        logits,
        targets,
        alpha=alpha,
        exponent=gamma,
        reduction=reduction,
        normalizer=normalizer,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
    )


@overridable
def exp_bce_focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float | Tensor | None = 0.25,
    gamma: float | Tensor = 2.0,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Focal loss whose p_t is read off the cross-entropy, ``exp(-BCE)``.

    $$ \alpha_t\,\bigl(1 - e^{-\mathrm{BCE}}\bigr)^\gamma\;\mathrm{BCE}(z, y) $$

    The rule of segmentation-models-pytorch and catalyst. Equal to `sigmoid_focal_loss` for hard
    targets; for soft ones BCE is never 0, so neither is the modulator.

    Args:
        logits: floating, any shape.
        targets: in [0, 1], of the shape of ``logits``.
        alpha: weight of positives in [0, 1], a tensor that aligns, or None.
        gamma: focusing exponent >= 0, or a tensor that aligns.
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by; see `sigmoid_focal_loss`.
        sample_weight: None, or a tensor of the logits' shape or of its leading axes.
        ignore_index: targets of this value add nothing.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> exp_bce_focal_loss(torch.tensor([0.7]), torch.tensor([0.3]), alpha=None)
        tensor(0.3116)

    References:
        segmentation_models_pytorch 0.6.0, ``losses/_functional.py``.
    """

    def rule(at: Point, problem: SigmoidProblem) -> Tensor:
        return modulated(at.bce, -torch.expm1(-at.bce), problem.gamma[0])

    return pointwise(
        "exp_bce_focal_loss",
        rule,
        logits,
        targets,
        alpha=alpha,
        exponent=gamma,
        reduction=reduction,
        normalizer=normalizer,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
    )


@overridable
def quality_focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float | Tensor | None = None,
    beta: float | Tensor = 2.0,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Quality focal loss: soft targets are qualities, and the loss is 0 where they are met.

    $$ \alpha_t\,|y - p|^\beta\;\mathrm{BCE}(z, y) $$

    The paper has no alpha. YOLOv5 weighs by $\alpha_t = y\alpha + (1-y)(1-\alpha)$, with alpha .25
    and beta 1.5.

    Args:
        logits: floating, any shape.
        targets: qualities in [0, 1] (IoU of a detection, say), of the shape of ``logits``.
        alpha: weight of positives in [0, 1], a tensor that aligns, or None.
        beta: exponent >= 0, or a tensor that aligns; below 1 the gradient is infinite where p = y.
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by; see `sigmoid_focal_loss`.
        sample_weight: None, or a tensor of the logits' shape or of its leading axes.
        ignore_index: targets of this value add nothing.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> quality_focal_loss(torch.tensor([0.7]), torch.tensor([0.3]))
        tensor(0.1211)

    References:
        Li et al., "Generalized Focal Loss", 2020, eq. 2. https://arxiv.org/abs/2006.04388
    """

    def rule(at: Point, problem: SigmoidProblem) -> Tensor:
        # y - p without a subtraction for hard targets
        miss = at.y * at.q - (1 - at.y) * at.p
        return modulated(at.bce, torch.where(miss >= 0, miss, -miss), problem.gamma[0])

    return pointwise(
        "quality_focal_loss",
        rule,
        logits,
        targets,
        alpha=alpha,
        exponent=beta,
        reduction=reduction,
        normalizer=normalizer,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
    )


@overridable
def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    reduction: str = "mean",
    normalizer: str | float | Tensor = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Asymmetric loss: an exponent per class, and negatives below a probability dropped.

    $$ -y\,(1-p)^{\gamma_+} \log p \;-\; (1-y)\,p_m^{\gamma_-} \log(1 - p_m),
    \qquad p_m = \max(p - m, 0) $$

    Without the shift (``clip=0``) it is ``sigmoid_focal_loss(alpha=None, gamma=(gamma_pos,
    gamma_neg))``, which also has a posterior; with it the loss is flat below ``p = clip``.
    Probabilities are not held at 1e-8 as in the original code, which lets the gradient of the
    hardest positives vanish.

    Args:
        logits: floating, any shape.
        targets: in [0, 1], of the shape of ``logits``; soft ones mix the two terms.
        gamma_pos: exponent of positives, >= 0.
        gamma_neg: exponent of negatives, >= 0.
        clip: the shift m in [0, 1).
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by; see `sigmoid_focal_loss`.
        sample_weight: None, or a tensor of the logits' shape or of its leading axes.
        ignore_index: targets of this value add nothing.

    Returns:
        The loss in nats.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> asymmetric_loss(torch.tensor([2.0, -4.0]), torch.tensor([1.0, 0.0]), reduction="none")
        tensor([0.1269, 0.0000])

    References:
        Ridnik et al., "Asymmetric Loss For Multi-Label Classification", 2021, eq. 4 to 7.
        https://arxiv.org/abs/2009.14119
    """
    name = "asymmetric_loss"
    shift = arguments.fraction(name, "clip", clip)
    of_positives = arguments.not_negative(name, "gamma_pos", gamma_pos)
    of_negatives = arguments.not_negative(name, "gamma_neg", gamma_neg)

    def rule(at: Point, problem: SigmoidProblem) -> Tensor:
        shifted = torch.where(at.p > shift, at.p - shift, 0.0)
        kept = at.ce_negative if shift == 0 else -torch.log1p(-shifted)
        positive = modulated(BOOK.weighed(at.y, at.ce_positive), at.q, of_positives)
        return positive + modulated(BOOK.weighed(1 - at.y, kept), shifted, of_negatives)

    return pointwise(
        name,
        rule,
        logits,
        targets,
        alpha=None,
        exponent=1.0,
        reduction=reduction,
        normalizer=normalizer,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
    )
