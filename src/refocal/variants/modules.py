"""The variants as modules: the functions, with settings that stay.

A tensor among the settings moves with its module and stays out of the state dict; see
`refocal.modules`. Numbers are checked when a module is made, tensors when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, TypeAlias

import torch
from torch import Tensor

from refocal.messages import refuse
from refocal.modules import SettingsModule
from refocal.variants import detection, overlap, soft_targets

# of logits and of targets, and the targets' dtype
Sizes: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class VariantModule(SettingsModule):
    """A function of logits and targets, under settings."""

    function: ClassVar[Callable[..., Tensor]]
    # of the least batch there is
    sizes: ClassVar[Sizes] = (
        (1,),
        (1,),
        torch.float,
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not any(isinstance(value, Tensor) for value in settings.values()):
            logits, targets, dtype = self.sizes
            type(self).function(
                # shapes alone: settings are checked, and no kernel is compiled for them
                torch.zeros(logits, device="meta"),
                torch.zeros(targets, dtype=dtype, device="meta"),
                **settings,
            )

    def posterior(self, logits: Tensor) -> NoReturn:
        """Refuses: no closed form leads from these logits to class probabilities.

        Raises:
            TypeError: always, with the way out.
        """
        raise refuse(
            type(self).__name__,
            "posterior",
            "be that of SigmoidFocalLoss or SoftmaxFocalLoss",
            "a loss whose logits have no closed form of class probabilities",
            "Fit one on held-out rows: fit_temperature(logits, labels, alpha=None, gamma=0).",
            TypeError,
        )


class WeightedVariant(VariantModule):
    """A variant that takes weights of the elements in its call."""

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        *,
        sample_weight: Tensor | None = None,
        normalizer: str | float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; see the function. ``normalizer`` replaces the module's."""
        keywords = self.keywords(normalizer)
        return type(self).function(logits, targets, sample_weight=sample_weight, **keywords)


class RegionVariant(VariantModule):
    """A variant that sums over positions."""

    sizes: ClassVar[Sizes] = ((1, 1, 1), (1, 1, 1), torch.float)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch; see the function."""
        return type(self).function(logits, targets, **self.keywords())


class BlendFocalLoss(WeightedVariant):
    """Module form of `blend_focal_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import BlendFocalLoss
        >>> BlendFocalLoss()(torch.tensor([0.7, -1.0]), torch.tensor([1.0, 0.0]))
        tensor(0.0140)
    """

    function = staticmethod(soft_targets.blend_focal_loss)

    def __init__(
        self,
        *,
        alpha: float | Tensor | None = 0.25,
        gamma: float | Tensor = 2.0,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: float | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            gamma=gamma,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
        )


class ExpBCEFocalLoss(WeightedVariant):
    """Module form of `exp_bce_focal_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import ExpBCEFocalLoss
        >>> ExpBCEFocalLoss()(torch.tensor([0.7, -1.0]), torch.tensor([1.0, 0.0]))
        tensor(0.0140)
    """

    function = staticmethod(soft_targets.exp_bce_focal_loss)

    def __init__(
        self,
        *,
        alpha: float | Tensor | None = 0.25,
        gamma: float | Tensor = 2.0,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: float | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            gamma=gamma,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
        )


class QualityFocalLoss(WeightedVariant):
    """Module form of `quality_focal_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import QualityFocalLoss
        >>> QualityFocalLoss()(torch.tensor([0.7, -1.0]), torch.tensor([1.0, 0.0]))
        tensor(0.0335)
    """

    function = staticmethod(soft_targets.quality_focal_loss)

    def __init__(
        self,
        *,
        alpha: float | Tensor | None = None,
        beta: float | Tensor = 2.0,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: float | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            beta=beta,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
        )


class AsymmetricLoss(WeightedVariant):
    """Module form of `asymmetric_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import AsymmetricLoss
        >>> AsymmetricLoss()(torch.tensor([0.7, -1.0]), torch.tensor([1.0, 0.0]))
        tensor(0.2019)
    """

    function = staticmethod(soft_targets.asymmetric_loss)

    def __init__(
        self,
        *,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: float | None = None,
    ) -> None:
        super().__init__(
            gamma_pos=gamma_pos,
            gamma_neg=gamma_neg,
            clip=clip,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
        )


class VarifocalLoss(WeightedVariant):
    """Module form of `varifocal_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import VarifocalLoss
        >>> VarifocalLoss()(torch.tensor([0.7, -1.0]), torch.tensor([0.8, 0.0]))
        tensor(0.2258)
    """

    function = staticmethod(detection.varifocal_loss)

    def __init__(
        self,
        *,
        alpha: float | Tensor = 0.75,
        gamma: float | Tensor = 2.0,
        detach_modulator: bool = False,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: float | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            gamma=gamma,
            detach_modulator=detach_modulator,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
        )

    def forward(
        self,
        logits: Tensor,
        quality: Tensor,
        *,
        positives: Tensor | None = None,
        sample_weight: Tensor | None = None,
        normalizer: str | float | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; see `varifocal_loss`. ``normalizer`` replaces the module's."""
        return detection.varifocal_loss(
            logits,
            quality,
            positives=positives,
            sample_weight=sample_weight,
            **self.keywords(normalizer),
        )


class GaussianFocalLoss(WeightedVariant):
    """Module form of `gaussian_focal_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import GaussianFocalLoss
        >>> GaussianFocalLoss()(torch.tensor([0.7, -1.0]), torch.tensor([1.0, 0.0]))
        tensor(0.0670)
    """

    function = staticmethod(detection.gaussian_focal_loss)

    def __init__(
        self,
        *,
        gamma: float | Tensor = 2.0,
        beta: float = 4.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "peaks",
        ignore_index: float | None = None,
    ) -> None:
        super().__init__(
            gamma=gamma,
            beta=beta,
            pos_weight=pos_weight,
            neg_weight=neg_weight,
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
        )


class DistributionFocalLoss(WeightedVariant):
    """Module form of `distribution_focal_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import DistributionFocalLoss
        >>> DistributionFocalLoss()(torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([0.75]))
        tensor(0.7144)
    """

    function = staticmethod(detection.distribution_focal_loss)
    sizes: ClassVar[Sizes] = ((1, 2), (1,), torch.float)

    def __init__(
        self,
        *,
        reduction: str = "mean",
        normalizer: str | float | Tensor = "elements",
        ignore_index: float | None = None,
    ) -> None:
        super().__init__(
            reduction=reduction,
            normalizer=normalizer,
            ignore_index=ignore_index,
        )


class TverskyLoss(RegionVariant):
    """Module form of `tversky_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import TverskyLoss
        >>> TverskyLoss()(torch.tensor([[[3.0, -1.0, 0.5]]]), torch.tensor([[[1.0, 0.0, 1.0]]]))
        tensor(0.1187)
    """

    function = staticmethod(overlap.tversky_loss)

    def __init__(
        self,
        *,
        false_positives: float = 0.5,
        false_negatives: float = 0.5,
        gamma: float = 1.0,
        smooth: float = 1.0,
        per: str = "image",
        ignore_index: float | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            false_positives=false_positives,
            false_negatives=false_negatives,
            gamma=gamma,
            smooth=smooth,
            per=per,
            ignore_index=ignore_index,
            reduction=reduction,
        )


class DiceLoss(RegionVariant):
    """Module form of `dice_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import DiceLoss
        >>> DiceLoss()(torch.tensor([[[3.0, -1.0, 0.5]]]), torch.tensor([[[1.0, 0.0, 1.0]]]))
        tensor(0.1187)
    """

    function = staticmethod(overlap.dice_loss)

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        smooth: float = 1.0,
        per: str = "image",
        ignore_index: float | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            gamma=gamma,
            smooth=smooth,
            per=per,
            ignore_index=ignore_index,
            reduction=reduction,
        )


class SoftmaxTverskyLoss(RegionVariant):
    """Module form of `softmax_tversky_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import SoftmaxTverskyLoss
        >>> SoftmaxTverskyLoss()(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 1]]))
        tensor(0.0972)
    """

    function = staticmethod(overlap.softmax_tversky_loss)
    sizes: ClassVar[Sizes] = ((1, 2, 1), (1, 1), torch.long)

    def __init__(
        self,
        *,
        false_positives: float = 0.5,
        false_negatives: float = 0.5,
        gamma: float = 1.0,
        smooth: float = 1.0,
        per: str = "image",
        background: bool = True,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            false_positives=false_positives,
            false_negatives=false_negatives,
            gamma=gamma,
            smooth=smooth,
            per=per,
            background=background,
            ignore_index=ignore_index,
            reduction=reduction,
        )


class SoftmaxDiceLoss(RegionVariant):
    """Module form of `softmax_dice_loss`; same keywords.

    Example:
        >>> import torch
        >>> from refocal.variants import SoftmaxDiceLoss
        >>> SoftmaxDiceLoss()(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 1]]))
        tensor(0.0972)
    """

    function = staticmethod(overlap.softmax_dice_loss)
    sizes: ClassVar[Sizes] = ((1, 2, 1), (1, 1), torch.long)

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        smooth: float = 1.0,
        per: str = "image",
        background: bool = True,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            gamma=gamma,
            smooth=smooth,
            per=per,
            background=background,
            ignore_index=ignore_index,
            reduction=reduction,
        )
