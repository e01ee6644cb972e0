"""fastai: ``Learner(..., loss_func=LearnerLoss(SoftmaxFocalLoss()))``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from refocal.integrations.modules import check_module
from refocal.losses import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)


class LearnerLoss(nn.Module):
    """A loss as a fastai Learner calls it, with the layouts that fastai's own "flat" losses take.

    The modules are `loss_func` as they are where logits are ``(N, C)`` or ``(N, C, H, W)`` and
    labels lack the axis of classes, as with images: ``get_preds`` and ``predict`` ask them for
    probabilities (``activation``) and decisions (``decodes``) and get the posterior. Tables of
    fastai have their labels in a column, ``(N, 1)``, and its language models their classes on the
    last axis: this takes those, too. ``get_preds(with_loss=True)`` sets ``reduction`` to "none";
    the normalizer, which belongs to a mean, is then left out.

    Metrics of fastai see logits: `accuracy_multi` takes their sigmoid, which a focal-trained model
    has moved. Write ``lambda z, y: ((loss.activation(z) > 0.5) == y).float().mean()``.

    Args:
        loss: a `SoftmaxFocalLoss` or a `SigmoidFocalLoss`.
        axis: of the classes, in logits of more than two axes; fastai's default is -1.

    Raises:
        TypeError: a loss of another kind.

    Example:
        >>> import torch
        >>> from refocal import SoftmaxFocalLoss
        >>> from refocal.integrations.fastai import LearnerLoss
        >>> loss = LearnerLoss(SoftmaxFocalLoss(gamma=0))
        >>> loss(torch.zeros(2, 4), torch.tensor([[0], [3]]))
        tensor(1.3863)
        >>> loss.decodes(loss.activation(torch.eye(3)))
        tensor([0, 1, 2])
    """

    def __init__(self, loss: SigmoidFocalLoss | SoftmaxFocalLoss, *, axis: int = 1) -> None:
        super().__init__()
        check_module("LearnerLoss", loss)
        self.loss = loss
        self.axis = axis
        self.reduction = loss.reduction
        self.y_int = isinstance(loss, SoftmaxFocalLoss)  # MixUp: of losses, or of labels

    def forward(self, logits: Tensor, targets: Tensor, **keywords: Any) -> Tensor:
        """The loss of a batch, reduced as ``reduction`` says at this moment."""
        settings = self.loss.keywords() | {"reduction": self.reduction} | keywords
        if settings["reduction"] != "mean":
            settings |= {"normalizer": "elements", "process_group": None}
        if isinstance(self.loss, SigmoidFocalLoss):
            column = logits.shape[-1:] == (1,) or targets.shape[-1:] == (1,)
            if column and logits.numel() == targets.numel():
                targets = targets.reshape(logits.shape)
            return sigmoid_focal_loss(logits, targets, **settings)
        if targets.shape == (len(logits), 1) and logits.dim() == 2:
            targets = targets[:, 0]
        return softmax_focal_loss(self._moved(logits), targets, **settings)

    def activation(self, logits: Tensor) -> Tensor:
        """The posterior, in the shape of the logits."""
        if isinstance(self.loss, SigmoidFocalLoss):
            return self.loss.posterior(logits)
        return self.loss.posterior(self._moved(logits)).movedim(1, self.axis)

    def decodes(self, probabilities: Tensor) -> Tensor:
        """The most probable class, or which probabilities are above one half."""
        if isinstance(self.loss, SigmoidFocalLoss):
            return self.loss.decodes(probabilities)
        return probabilities.argmax(self.axis)

    def _moved(self, logits: Tensor) -> Tensor:
        return logits.movedim(self.axis, 1)
