"""The losses of regions: how far a soft mask and the true one fail to overlap.

With the sums over a region I = sum p y, FP = sum p (1 - y), FN = sum (1 - p) y:

    TI = (I + smooth) / (I + false_positives FP + false_negatives FN + smooth)
    loss = (1 - TI)**gamma

Dice is Tversky with one half each, where TI = (2 I + 2 smooth) / (sum p + sum y + 2 smooth). The
loss is formed from what was missed, not by a subtraction from 1, so that it is exact near 0.

Names differ in the field: what is weighed with false positives is alpha in Salehi et al., MONAI and
segmentation-models-pytorch, and beta in Abraham and Khan, whose exponent is 1 / gamma.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from refocal import arguments, gate, links
from refocal.formula.in_torch import BOOK
from refocal.overrides import overridable
from refocal.problem import Number, computing_dtype, shares
from refocal.reduction import Reduction, kept_positions, reduce
from refocal.variants.pointwise import power


@overridable
def tversky_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    false_positives: float = 0.5,
    false_negatives: float = 0.5,
    gamma: float = 1.0,
    smooth: float = 1.0,
    per: str = "image",
    ignore_index: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Tversky and focal Tversky loss of masks, one yes or no per logit.

    $$ (1 - TI)^\gamma, \qquad TI = \frac{I + s}{I + a\,FP + b\,FN + s} $$

    I, FP and FN are sums of p y, p (1 - y) and (1 - p) y over the positions of a mask; for
    exclusive classes see `softmax_tversky_loss`. Where nothing is true and nothing said the loss is
    0; an empty mask costs ``1 - s / (a FP + s)``.

    Args:
        logits: floating, ``(N, C, *)`` with at least one axis of positions: C independent masks of
            each of N images, C = 1 for one.
        targets: in [0, 1], of the shape of ``logits``.
        false_positives: a, the weight of what is said and not true, >= 0.
        false_negatives: b, the weight of what is true and not said, >= 0.
        gamma: exponent > 0; Abraham and Khan's 4/3 is 0.75 here. Below 1 the gradient of a mask
            that is hit exactly is 0 and not infinite.
        smooth: s >= 0, in positions; 1 here is 2 in ``(2 I + s) / (sum p + sum y + s)``.
        per: "image" sums over the positions of every image, "batch" over those of all.
        ignore_index: positions with a target of this value belong to no region.
        reduction: "none" (``(N, C)``, or ``(C,)`` per batch), "sum" or "mean" over these.

    Returns:
        The loss, in [0, 1] for each region.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> logits, mask = torch.tensor([[[3.0, -1.0, 0.5]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
        >>> tversky_loss(logits, mask)
        tensor(0.1187)

    References:
        Salehi et al., "Tversky loss function for image segmentation", 2017, eq. 3 and 4.
        https://arxiv.org/abs/1706.05721
        Abraham and Khan, "A novel focal Tversky loss function", 2019, eq. 4.
        https://arxiv.org/abs/1810.07842
    """
    how = _overlap("tversky_loss", false_positives, false_negatives, gamma, smooth, per, reduction)
    return _binary(how, logits, targets, ignore_index)


@overridable
def dice_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 1.0,
    smooth: float = 1.0,
    per: str = "image",
    ignore_index: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Dice loss of masks, one yes or no per logit: `tversky_loss` with one half each.

    Args:
        logits: floating, ``(N, C, *)`` with at least one axis of positions.
        targets: in [0, 1], of the shape of ``logits``.
        gamma: exponent > 0.
        smooth: >= 0, in positions; 1 here is 2 in ``(2 I + s) / (sum p + sum y + s)``.
        per: "image" or "batch".
        ignore_index: positions with a target of this value belong to no region.
        reduction: "none", "sum" or "mean"; see `tversky_loss`.

    Returns:
        The loss, in [0, 1] for each region.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> dice_loss(torch.tensor([[[3.0, -1.0, 0.5]]]), torch.tensor([[[1.0, 0.0, 1.0]]]))
        tensor(0.1187)

    References:
        Milletari et al., "V-Net", 2016, sec. 3. https://arxiv.org/abs/1606.04797
    """
    how = _overlap("dice_loss", 0.5, 0.5, gamma, smooth, per, reduction)
    return _binary(how, logits, targets, ignore_index)


@overridable
def softmax_tversky_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    false_positives: float = 0.5,
    false_negatives: float = 0.5,
    gamma: float = 1.0,
    smooth: float = 1.0,
    per: str = "image",
    background: bool = True,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    r"""Tversky and focal Tversky loss of exclusive classes, as `tversky_loss` of each of them.

    The probabilities are the softmax over the classes, and (1 - TI)**gamma is formed of every class
    before any mean. A class that is absent from the targets has FP alone, and counts in the mean.

    Args:
        logits: floating, ``(N, C, *)`` with at least two classes and one axis of positions.
        targets: class indices ``(N, *)``.
        false_positives: weight of what is said and not true, >= 0.
        false_negatives: weight of what is true and not said, >= 0.
        gamma: exponent > 0.
        smooth: >= 0, in positions; 1 here is 2 in ``(2 I + s) / (sum p + sum y + s)``.
        per: "image" or "batch".
        background: whether class 0 counts.
        ignore_index: positions of this class belong to no region.
        reduction: "none" (``(N, C)``, or ``(C,)`` per batch; C - 1 without the background), "sum"
            or "mean" over these.

    Returns:
        The loss, in [0, 1] for each region.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
        >>> softmax_tversky_loss(logits, torch.tensor([[0, 1]]))
        tensor(0.0972)

    References:
        Salehi et al. 2017, https://arxiv.org/abs/1706.05721; Abraham and Khan 2019,
        https://arxiv.org/abs/1810.07842.
    """
    name = "softmax_tversky_loss"
    how = _overlap(name, false_positives, false_negatives, gamma, smooth, per, reduction)
    return _exclusive(how, logits, targets, background, ignore_index)


@overridable
def softmax_dice_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 1.0,
    smooth: float = 1.0,
    per: str = "image",
    background: bool = True,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    r"""Dice loss of exclusive classes: `softmax_tversky_loss` with one half each.

    Args:
        logits: floating, ``(N, C, *)`` with at least two classes and one axis of positions.
        targets: class indices ``(N, *)``.
        gamma: exponent > 0.
        smooth: >= 0, in positions; 1 here is 2 in ``(2 I + s) / (sum p + sum y + s)``.
        per: "image" or "batch".
        background: whether class 0 counts.
        ignore_index: positions of this class belong to no region.
        reduction: "none", "sum" or "mean"; see `softmax_tversky_loss`.

    Returns:
        The loss, in [0, 1] for each region.

    Raises:
        ValueError: a shape, a device or a value outside its domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> softmax_dice_loss(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 1]]))
        tensor(0.0972)

    References:
        Milletari et al., "V-Net", 2016, sec. 3. https://arxiv.org/abs/1606.04797
    """
    how = _overlap("softmax_dice_loss", 0.5, 0.5, gamma, smooth, per, reduction)
    return _exclusive(how, logits, targets, background, ignore_index)


class _Overlap(NamedTuple):
    """What is made of the sums over a region, checked."""

    name: str  # whose name the errors bear
    above: float
    below: float
    gamma: float
    smooth: float
    per: str
    reduction: str


def _overlap(
    name: str,
    false_positives: float,
    false_negatives: float,
    gamma: float,
    smooth: float,
    per: str,
    reduction: str,
) -> _Overlap:
    arguments.check_part(name, per)
    arguments.check_reduction(name, reduction, "elements", multiclass=False)
    return _Overlap(
        name,
        arguments.not_negative(name, "false_positives", false_positives),
        arguments.not_negative(name, "false_negatives", false_negatives),
        arguments.finite_positive(name, "gamma", gamma),
        arguments.not_negative(name, "smooth", smooth),
        per,
        reduction,
    )


def _binary(how: _Overlap, logits: Tensor, targets: Tensor, ignore_index: float | None) -> Tensor:
    problem = arguments.binary_regions(how.name, logits, targets, ignore_index)
    problem, _ = gate.admit(how.name, problem, "elements")
    arguments.check_values_of(how.name, problem)
    dtype = computing_dtype(problem.logits)
    z, targets = problem.logits.to(dtype), problem.targets
    kept = kept_positions(problem)
    if kept is not None:
        z, targets = torch.where(kept, z, 0.0), torch.where(kept, targets, 0)
    x = BOOK.decay(z)
    p, q = BOOK.probability(z, x), BOOK.complement(z, x)
    return _missed(how, p, q, shares(targets, dtype), kept, logits.dtype)


def _exclusive(
    how: _Overlap, logits: Tensor, targets: Tensor, background: bool, ignore_index: int
) -> Tensor:
    first = 0 if arguments.flag(how.name, "background", background) else 1
    problem = arguments.class_regions(how.name, logits, targets, ignore_index)
    problem, _ = gate.admit(how.name, problem, "elements")
    arguments.check_values_of(how.name, problem)
    dtype = computing_dtype(problem.logits)
    kept = kept_positions(problem)
    z, index = problem.logits.to(dtype), problem.targets
    if kept is not None:
        index = torch.where(kept, index, 0)
        kept = kept.unsqueeze(1)
        z = torch.where(kept, z, 0.0)
    margins = links.softmax_margins(z, 1)
    p, q = (of(margins.s, margins.x) for of in (BOOK.probability, BOOK.complement))
    y = torch.zeros_like(z).detach().scatter(1, index.long().unsqueeze(1), 1.0)
    p, q, y = (part[:, first:] for part in (p, q, y))
    return _missed(how, p, q, y, kept, logits.dtype)


def _missed(
    how: _Overlap, p: Tensor, q: Tensor, y: Tensor, kept: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """(1 - TI)**gamma of every region, from probabilities, what they lack, and what is true."""
    axes = list(range(2, p.dim()))
    if how.per == "batch":
        axes.insert(0, 0)

    def over(parts: Tensor) -> Tensor:
        return (parts if kept is None else torch.where(kept, parts, 0.0)).sum(axes)

    missed = how.above * over(p * (1 - y)) + how.below * over(q * y)
    whole = over(p * y) + missed + how.smooth
    losses = power(missed / torch.where(whole == 0, 1.0, whole), how.gamma)
    regions: Number = max(1, losses.numel()) if how.reduction == "mean" else 1
    return reduce(losses, Reduction(how.reduction, regions), dtype)
