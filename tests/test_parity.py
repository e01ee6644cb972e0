"""docs/migration.md, row by row: their call and ours return the same number.

A row runs where its library is installed. Libraries that do not install beside ours are stood in
for by their formula, written out below.
"""

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torch.testing import assert_close

import refocal
from refocal import sigmoid_focal_loss, softmax_focal_loss, variants
from refocal.variants import (
    asymmetric_loss,
    blend_focal_loss,
    exp_bce_focal_loss,
    quality_focal_loss,
)

os.environ.setdefault("KERAS_BACKEND", "torch")

PAGE = Path(__file__).parent.parent / "docs" / "migration.md"

# what to import for a name at the start of a call
LIBRARIES = {
    "torchvision": ["torchvision.ops"],
    "monai": ["monai.losses"],
    "kornia": ["kornia.losses"],
    "segmentation_models_pytorch": ["segmentation_models_pytorch"],
    "keras": ["keras"],
    "optax": ["optax"],
    "timm": ["timm.loss"],
    "transformers": [
        "transformers.loss.loss_for_object_detection",
        "transformers.loss.loss_grounding_dino",
        "transformers.models.maskformer.modeling_maskformer",
    ],
    "catboost": ["catboost.utils"],
    "exacta": ["exacta.losses"],
    "imbalanced_losses": ["imbalanced_losses"],
}
# Keras works with probabilities, whose complement has lost digits
LOOSE = {"keras": 1e-4}

pytestmark = [
    # of the libraries about themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*__array__.*copy keyword:UserWarning"),
]


def rows(columns: int) -> list[tuple[str, ...]]:
    """The cells of the page's tables of so many columns, without their headers."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [
        tuple(cell.strip().strip("`") for cell in line.strip("| ").split(" | ")) for line in lines
    ]
    assert {len(row) for row in cells} == {2, 4}
    return [row for row in cells if len(row) == columns]


# ---------------------------------------------------------------------------------------------
# formulas of libraries that are not installed here


def reduced(losses, reduction):
    return losses if reduction == "none" else getattr(losses, reduction)()


def miss(z, y):
    """1 - p_t by the rule that blends the classes of a soft target."""
    p = torch.sigmoid(z)
    return y * (1 - p) + (1 - y) * p


def balance(y, alpha):
    return y * alpha + (1 - y) * (1 - alpha)


def fvcore_sigmoid_focal_loss(z, y, alpha=-1, gamma=2, reduction="none"):
    """fvcore@3378afe, fvcore/nn/focal_loss.py."""
    losses = miss(z, y) ** gamma * binary_cross_entropy_with_logits(z, y, reduction="none")
    return reduced(losses * balance(y, alpha) if alpha >= 0 else losses, reduction)


def fvcore_sigmoid_focal_loss_star(z, y, alpha=-1, gamma=1, reduction="none"):
    """The same file: cross-entropy of gamma times the signed logit, over gamma."""
    losses = torch.nn.functional.softplus(-gamma * (2 * y - 1) * z) / gamma
    return reduced(losses * balance(y, alpha) if alpha >= 0 else losses, reduction)


def foreground(z, label):
    """One-hot rows without the last class, the background."""
    return one_hot(label, z.shape[1] + 1)[:, :-1].to(z.dtype)


def mmdet_focal_loss():
    """mmdet 3.3.0, mmdet/models/losses/focal_loss.py and utils.py: mean over all entries."""

    def call(z, label, weight=None, avg_factor=None):
        losses = mmcv_sigmoid_focal_loss(z, label, 2.0, 0.25, None, "none")
        if weight is not None:
            losses = losses * weight[:, None]
        return losses.mean() if avg_factor is None else losses.sum() / avg_factor

    return call


def mmdet_quality_focal_loss():
    """mmdet 3.3.0, mmdet/models/losses/gfocal_loss.py: summed over classes, mean over rows."""

    def call(z, label, score):
        losses = torch.zeros_like(z)
        for row, (position, quality) in enumerate(zip(label, score, strict=True)):
            for column, logit in enumerate(z[row]):
                y = quality if column == position else torch.tensor(0.0)
                distance = (y - torch.sigmoid(logit)).abs()
                losses[row, column] = distance**2 * binary_cross_entropy_with_logits(logit, y)
        return losses.sum(1).mean()

    return call


def mmdet_varifocal_loss():
    """mmdet 3.3.0, mmdet/models/losses/varifocal_loss.py, weighted by quality."""

    def call(z, quality, avg_factor):
        negative = (torch.sigmoid(z) - quality).abs() ** 2
        factor = torch.where(quality > 0, quality, 0.75 * negative)
        losses = factor * binary_cross_entropy_with_logits(z, quality, reduction="none")
        return losses.sum() / avg_factor

    return call


def mmdet_gaussian_focal_loss(alpha, gamma):
    """mmdet 3.3.0, mmdet/models/losses/gaussian_focal_loss.py: of probabilities, held by 1e-12."""

    def call(p, heat, avg_factor):
        positive = -torch.log(p + 1e-12) * (1 - p) ** alpha
        negative = -torch.log(1 - p + 1e-12) * p**alpha * (1 - heat) ** gamma
        return torch.where(heat == 1, positive, negative).sum() / avg_factor

    return call


def mmdet_distribution_focal_loss():
    """mmdet 3.3.0, mmdet/models/losses/gfocal_loss.py: two cross-entropies, mean over rows."""

    def call(z, sides):
        left = sides.long()
        share = sides - left
        first, second = (cross_entropy(z, one, reduction="none") for one in (left, left + 1))
        return (first * (1 - share) + second * share).mean()

    return call


def mmcv_sigmoid_focal_loss(z, label, gamma, alpha, weight, reduction):
    """mmcv@a8073c74b, sigmoid_focal_loss_cuda_kernel.cuh and mmcv/ops/focal_loss.py: sum / rows."""
    assert weight is None
    y = foreground(z, label)
    losses = balance(y, alpha) * miss(z, y) ** gamma
    losses = losses * binary_cross_entropy_with_logits(z, y, reduction="none")
    return losses if reduction == "none" else losses.sum() / len(z)


def mmcv_softmax_focal_loss(z, index, gamma, alpha, weight, reduction):
    """mmcv@a8073c74b, softmax_focal_loss_cuda_kernel.cuh: alpha scales every class alike."""
    assert weight is None
    assert reduction == "mean"
    p = torch.softmax(z, 1)[torch.arange(len(z)), index]
    return (-alpha * (1 - p) ** gamma * torch.log(p)).sum() / len(z)


def rt_detr_varifocal(z, quality, matched, boxes):
    """transformers 5.24, loss/loss_rt_detr.py, loss_labels_vfl: of one image, z is (queries, C)."""
    weight = 0.75 * torch.sigmoid(z.detach()) ** 2 * (1 - matched) + quality
    losses = weight * binary_cross_entropy_with_logits(z, quality, reduction="none")
    return losses.sum() / boxes


def ultralytics_varifocal_loss():
    """ultralytics 8.4, utils/loss.py: mean over axis 1, then summed."""

    def call(z, quality, label):
        weight = 0.75 * torch.sigmoid(z) ** 2 * (1 - label) + quality * label
        losses = weight * binary_cross_entropy_with_logits(z, quality, reduction="none")
        return losses.mean(1).sum()

    return call


def ultralytics_focal_loss():
    """The same file: the paper's, mean over classes, then summed."""

    def call(z, y):
        losses = binary_cross_entropy_with_logits(z, y, reduction="none") * balance(y, 0.25)
        return (losses * miss(z, y) ** 1.5).mean(1).sum()

    return call


def yolov5_focal_loss(criterion, gamma=1.5, alpha=0.25):
    """yolov5 v7.0, utils/loss.py: wraps a criterion of binary cross-entropy, mean over elements."""

    def call(z, y):
        losses = binary_cross_entropy_with_logits(z, y, reduction="none") * balance(y, alpha)
        return reduced(losses * miss(z, y) ** gamma, criterion.reduction)

    return call


def yolov5_quality_focal_loss(criterion, gamma=1.5, alpha=0.25):
    """The same file, QFocalLoss: the distance to the target in the place of 1 - p_t."""

    def call(z, y):
        losses = binary_cross_entropy_with_logits(z, y, reduction="none") * balance(y, alpha)
        return reduced(losses * (y - torch.sigmoid(z)).abs() ** gamma, criterion.reduction)

    return call


STAND_INS = {
    "rt_detr": SimpleNamespace(loss_labels_vfl=rt_detr_varifocal),
    "ultralytics": SimpleNamespace(
        VarifocalLoss=ultralytics_varifocal_loss, FocalLoss=ultralytics_focal_loss
    ),
    "yolov5": SimpleNamespace(FocalLoss=yolov5_focal_loss, QFocalLoss=yolov5_quality_focal_loss),
    "fvcore": SimpleNamespace(
        nn=SimpleNamespace(
            sigmoid_focal_loss=fvcore_sigmoid_focal_loss,
            sigmoid_focal_loss_star=fvcore_sigmoid_focal_loss_star,
        )
    ),
    "mmdet": SimpleNamespace(
        FocalLoss=mmdet_focal_loss,
        QualityFocalLoss=mmdet_quality_focal_loss,
        VarifocalLoss=mmdet_varifocal_loss,
        GaussianFocalLoss=mmdet_gaussian_focal_loss,
        DistributionFocalLoss=mmdet_distribution_focal_loss,
    ),
    "mmcv": SimpleNamespace(
        ops=SimpleNamespace(
            sigmoid_focal_loss=mmcv_sigmoid_focal_loss, softmax_focal_loss=mmcv_softmax_focal_loss
        )
    ),
}


# ---------------------------------------------------------------------------------------------


def gradient(function, at):
    x = torch.tensor(at, requires_grad=True)
    (slope,) = torch.autograd.grad(function(x), x)
    return slope


@pytest.fixture
def names():
    """Everything that the page's calls refer to."""
    z, maps = torch.randn(8, 4) * 2, torch.randn(2, 4, 5, 6) * 2
    label = torch.tensor([0, 4, 2, 3, 4, 1, 0, 2])
    masks = torch.randint(0, 4, (2, 5, 6))
    void = masks.clone()
    void[0, :2] = 255
    void[1, 3, 4] = 255
    return {
        "torch": torch,
        "refocal": refocal,
        "gradient": gradient,
        "one_hot": lambda index: one_hot(index, 4).float(),
        "sigmoid_focal_loss": sigmoid_focal_loss,
        "softmax_focal_loss": softmax_focal_loss,
        "asymmetric_loss": asymmetric_loss,
        "blend_focal_loss": blend_focal_loss,
        "exp_bce_focal_loss": exp_bce_focal_loss,
        "quality_focal_loss": quality_focal_loss,
        **{name: getattr(variants, name) for name in variants.__all__ if name.islower()},
        "qualities": foreground(z, label) * torch.rand(8, 1),
        "heat": torch.where(foreground(z, label) == 1, 1.0, torch.rand(8, 4) * 0.99),
        "sides": torch.rand(8) * 3,
        "bce": torch.nn.BCEWithLogitsLoss(),
        "z": z,
        "y": (torch.rand(8, 4) < 0.4).float(),
        "soft": torch.rand(8, 4),
        "index": torch.tensor([0, 1, 2, 3, 0, 3, 1, 0]),
        "label": label,
        "hot": foreground(z, label),
        "rows": torch.rand(8) * 0.9 + 0.05,
        "a": torch.tensor([0.5, 2.0, 1.0, 0.7]),
        "maps": maps,
        "masks": masks,
        "void": void,
        "plane": torch.where(void == 255, 255, (void == 1).long()),
        "planes": one_hot(masks, 4).movedim(-1, 1).float(),
        "one": torch.tensor(1.0),
        "zero": torch.tensor(0.0),
        "point": torch.tensor([0.7]),
        "third": torch.tensor([0.3]),
        **STAND_INS,
    }


def evaluate(call, names):
    for library in sorted(set(re.findall(r"\b(\w+)\.", call)) & LIBRARIES.keys()):
        for module in LIBRARIES[library]:
            pytest.importorskip(module, reason=f"{library} is not installed")
        names[library] = sys.modules[library]
    return as_tensor(eval(call, names))


def as_tensor(value):
    if isinstance(value, torch.Tensor):
        return value.detach()
    return torch.as_tensor(np.array(value, dtype=np.float32))


@pytest.mark.parametrize(("theirs", "ours"), rows(2))
def test_same_number(theirs, ours, names):
    expected = evaluate(theirs, names)
    tolerance = LOOSE.get(theirs.split(".")[0], 1e-5)
    got = evaluate(ours, names)
    assert_close(got, expected, rtol=tolerance, atol=1e-7, check_dtype=False)


# a batch without positives: nothing but background; and one without rows
def without_positives(names):
    background = {"label": torch.full((8,), 4), "index": torch.zeros(8, dtype=torch.long)}
    zeros = {
        key: torch.zeros_like(names[key])
        for key in ("y", "soft", "hot", "masks", "planes", "qualities", "heat")
    }
    ignored = {key: torch.where(names[key] == 255, 255, 0) for key in ("void", "plane")}
    return names | background | zeros | ignored


def without_rows(names):
    batch = "z y soft index label hot rows maps masks void plane planes qualities heat sides"
    return names | {key: names[key][:0] for key in batch.split()}


@pytest.mark.parametrize("kind", [without_positives, without_rows])
@pytest.mark.parametrize("ours", [ours for _, ours in rows(2)])
def test_no_row_breaks_on_a_batch_without_positives(ours, kind, names):
    if kind is without_rows and "normalizer=rows.sum()" in ours:
        pytest.xfail("CatBoost's metric of a data set, which no set without weight has")
    got = evaluate(ours, kind(names))
    assert got.isfinite().all()
    assert (got >= 0).all()


@pytest.mark.parametrize(("theirs", "their_number", "ours", "our_number"), rows(4))
def test_number_on_the_page(theirs, their_number, ours, our_number, names):
    for call, number in ((ours, our_number), (theirs, their_number)):
        # as many digits as the page gives
        digits = len(re.sub(r"e.*|\D", "", number).lstrip("0")) if number != "nan" else 1
        assert_close(
            evaluate(call, names).double().squeeze(),
            torch.tensor(float(number)).double(),
            rtol=0.6 * 10.0 ** (1 - max(digits, 1)),
            atol=0.0 if float(number) else 1e-11,
            equal_nan=True,
        )


def test_every_library_of_the_page_is_known():
    calls = " ".join(row[0] for row in rows(2))
    assert {*STAND_INS, *LIBRARIES} <= set(re.findall(r"\b(\w+)\.", calls))
