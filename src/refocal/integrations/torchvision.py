"""torchvision's RetinaNet and FCOS with any focal loss: their heads call a fixed one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from refocal import extras
from refocal.losses import SigmoidFocalLoss
from refocal.messages import refuse

extras.need(__name__, "torchvision")
from torchvision.models.detection.fcos import FCOSHead  # noqa: E402
from torchvision.models.detection.retinanet import RetinaNetClassificationHead  # noqa: E402


def use_focal_loss(model: nn.Module, **settings: Any) -> nn.Module:
    """Makes a RetinaNet or FCOS train with this focal loss. At alpha .25, gamma 2 nothing changes.

    The head changes its class in place: parameters, state dict and forward stay as they are. The
    denominators stay torchvision's too: the foreground anchors of each image (RetinaNet) or of the
    batch (FCOS), at least 1.

    Args:
        model: a torchvision RetinaNet or FCOS.
        settings: keywords of `SigmoidFocalLoss` other than those of its reduction: ``alpha``,
            ``gamma``, ``label_smoothing``, ``detach_modulator``, ``impl``. A tensor ``(C,)`` holds
            one value for each of the head's classes.

    Returns:
        The model.

    Raises:
        TypeError: another model, or a keyword that is not of the loss.
        ValueError: a value outside its domain.
    """
    reserved = {"reduction", "normalizer", "ignore_index", "process_group"} & settings.keys()
    if reserved:
        raise refuse(
            "use_focal_loss",
            "settings",
            "be alpha, gamma and the like",
            min(reserved),
            "The detector divides by its foreground anchors.",
            TypeError,
        )
    head = getattr(model, "head", None)
    part = getattr(head, "classification_head", None)
    for name in ("alpha", "gamma"):
        if name in settings:
            settings[name] = _by_class(name, settings[name], part)
    loss = SigmoidFocalLoss(normalizer="positives", **settings)
    if isinstance(part, RetinaNetClassificationHead):
        part.__class__ = FocalRetinaNetHead
        part.focal_loss = loss
    elif isinstance(head, FCOSHead):
        head.__class__ = FocalFCOSHead
        head.focal_loss = loss
    else:
        raise refuse(
            "use_focal_loss",
            "model",
            "be a torchvision RetinaNet or FCOS",
            type(model).__name__,
            "Elsewhere call sigmoid_focal_loss in the place of the loss.",
            TypeError,
        )
    return model


def _by_class(name: str, value: Any, part: Any) -> Any:
    """Return a tensor of C along the last axis of the head's logits, (images, anchors, C)."""
    if isinstance(value, tuple):
        return tuple(_by_class(name, one, part) for one in value)
    if not isinstance(value, Tensor) or value.dim() == 0:
        return value
    classes = getattr(part, "num_classes", len(value))
    if tuple(value.shape) != (classes,):
        raise refuse(
            "use_focal_loss",
            name,
            f"be a number or a tensor of shape ({classes},), one value per class of the head",
            tuple(value.shape),
        )
    return value.view(1, 1, classes)


def _one_hot(logits: Tensor, labels: list[Tensor], matched: list[Tensor]) -> Tensor:
    """Return one-byte targets of every anchor; ``matched`` is the box of an anchor, or negative."""
    y = torch.zeros_like(logits, dtype=torch.uint8)
    for row, label, match in zip(y, labels, matched, strict=True):
        foreground = match >= 0
        row[foreground, label[match[foreground]]] = 1
    return y


class FocalRetinaNetHead(RetinaNetClassificationHead):  # type: ignore[misc]
    """RetinaNet's classification head with `focal_loss`."""

    focal_loss: SigmoidFocalLoss

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        matched_idxs: list[Tensor],
    ) -> Tensor:
        """Return the mean over images of the loss per foreground anchor; anchors in between are
        left out.

        All images in one call: what differs between them is a weight per anchor.
        """
        logits = head_outputs["cls_logits"]
        matched = torch.stack(matched_idxs)
        foreground = (matched >= 0).sum(1, keepdim=True).clamp(min=1)
        counted = (matched != self.BETWEEN_THRESHOLDS) / (foreground * len(matched))
        y = _one_hot(logits, [target["labels"] for target in targets], matched_idxs)
        loss: Tensor = self.focal_loss(logits, y, sample_weight=counted, normalizer=1.0)
        return loss


class FocalFCOSHead(FCOSHead):  # type: ignore[misc]
    """FCOS' head with `focal_loss` for the classes."""

    focal_loss: SigmoidFocalLoss

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        """Return the box and centre losses of torchvision, and the focal loss per foreground
        anchor.
        """
        logits = head_outputs["cls_logits"]
        # torchvision's own classification loss is replaced below: spare it the autograd graph
        without_graph = {**head_outputs, "cls_logits": logits.detach()}
        losses: dict[str, Tensor] = super().compute_loss(
            targets, without_graph, anchors, matched_idxs
        )
        y = _one_hot(logits, [target["labels"] for target in targets], matched_idxs)
        return {**losses, "classification": self.focal_loss(logits, y)}
