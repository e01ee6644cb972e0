"""Other losses that the field calls focal, or trains beside it, under names of their own.

* `soft_targets`: other readings of a soft target, for migration;
* `detection`: qualities, heatmaps and distances of detectors;
* `overlap`: the losses of regions, Tversky and Dice;
* `modules`: all of them with settings that stay.

Plain torch on every device, differentiable to any order. No closed-form posterior exists for them.
"""

from refocal.variants.detection import (
    distribution_focal_loss,
    gaussian_focal_loss,
    varifocal_loss,
)
from refocal.variants.modules import (
    AsymmetricLoss,
    BlendFocalLoss,
    DiceLoss,
    DistributionFocalLoss,
    ExpBCEFocalLoss,
    GaussianFocalLoss,
    QualityFocalLoss,
    SoftmaxDiceLoss,
    SoftmaxTverskyLoss,
    TverskyLoss,
    VarifocalLoss,
)
from refocal.variants.overlap import (
    dice_loss,
    softmax_dice_loss,
    softmax_tversky_loss,
    tversky_loss,
)
from refocal.variants.soft_targets import (
    asymmetric_loss,
    blend_focal_loss,
    exp_bce_focal_loss,
    quality_focal_loss,
)

__all__ = [
    "AsymmetricLoss",
    "BlendFocalLoss",
    "DiceLoss",
    "DistributionFocalLoss",
    "ExpBCEFocalLoss",
    "GaussianFocalLoss",
    "QualityFocalLoss",
    "SoftmaxDiceLoss",
    "SoftmaxTverskyLoss",
    "TverskyLoss",
    "VarifocalLoss",
    "asymmetric_loss",
    "blend_focal_loss",
    "dice_loss",
    "distribution_focal_loss",
    "exp_bce_focal_loss",
    "gaussian_focal_loss",
    "quality_focal_loss",
    "softmax_dice_loss",
    "softmax_tversky_loss",
    "tversky_loss",
    "varifocal_loss",
]
