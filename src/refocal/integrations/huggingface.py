"""Hugging Face Trainer: ``Trainer(..., compute_loss_func=TrainerLoss(SoftmaxFocalLoss()))``."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from refocal.integrations.modules import check_module
from refocal.losses import SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.messages import refuse


class TrainerLoss:
    """A loss as the Trainer calls it, exact under gradient accumulation and on several devices.

    With a ``compute_loss_func`` the Trainer no longer divides by the accumulation steps, and
    multiplies by the number of processes: a function that returns a mean trains with gradients that
    many times too large. It hands over the count of all labels of the step instead, which this
    divides by, so that the update is that of the large batch. At evaluation, where there may be no
    count, it is the mean of the batch.

    Logits of three axes are (batch, sequence, classes), all others have their classes on axis 1. A
    single logit column is matched with labels of one axis. Tensors of the loss follow the logits'
    device.

    Args:
        loss: reduction "mean", and normalizer "elements" or a number: the Trainer counts the labels
            other than -100 and nothing else, and sums over processes itself.
        causal: labels are the input tokens, and position t is to predict t + 1. Must be set for
            causal language models, whose own loss does this shift. The Trainer leaves the first
            label of each row out of its count where ``model.loss_type`` is "ForCausalLM"; set that
            on models whose class is not named so, GPT2LMHeadModel among them.

    Beside a ``compute_loss_func`` the Trainer ignores ``label_smoothing_factor``, without a word:
    the first call refuses it, unless the loss has it as its own ``label_smoothing``.

    Raises:
        TypeError: a loss of another kind.
        ValueError: settings that the Trainer's count does not fit.

    Example:
        >>> import torch
        >>> from refocal import SoftmaxFocalLoss
        >>> loss = TrainerLoss(SoftmaxFocalLoss(gamma=0))
        >>> micro_batch = {"logits": torch.zeros(2, 4)}
        >>> loss(micro_batch, torch.tensor([0, 3]), num_items_in_batch=8)  # 2 of 8 labels
        tensor(0.3466)
    """

    loss: SigmoidFocalLoss | SoftmaxFocalLoss
    causal: bool

    def __init__(self, loss: SigmoidFocalLoss | SoftmaxFocalLoss, *, causal: bool = False) -> None:
        check_module("TrainerLoss", loss)
        if loss.reduction != "mean":
            raise refuse(
                "TrainerLoss",
                "reduction",
                'be "mean"',
                repr(loss.reduction),
                "The Trainer adds micro-batches up to one mean.",
            )
        if loss.normalizer in ("positives", "weights"):
            raise refuse(
                "TrainerLoss",
                "normalizer",
                'be "elements" or a number',
                repr(loss.normalizer),
                "The Trainer counts labels before it calls the loss.",
            )
        if loss.ignore_index not in (None, -100):
            raise refuse(
                "TrainerLoss",
                "ignore_index",
                "be -100",
                loss.ignore_index,
                "The Trainer leaves out -100 alone when it counts: relabel in the data collator.",
            )
        if loss.process_group is not None:
            raise refuse(
                "TrainerLoss",
                "process_group",
                "be None",
                "a group",
                "The Trainer sums its count over processes itself.",
            )
        self.loss = loss
        self.causal = causal
        self._arguments_seen = False

    def __call__(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Return the loss of one micro-batch, as `Trainer.compute_loss` calls it."""
        if not self._arguments_seen:
            self._check_smoothing(_smoothing_of_the_caller())
            self._arguments_seen = True
        if labels is None:
            raise refuse(
                "TrainerLoss",
                "labels",
                "be in the batch",
                "None",
                (
                    'Name the targets "labels" in the data set, or set label_names in '
                    "TrainingArguments."
                ),
            )
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        if self.causal:
            logits, labels = logits[:, :-1], labels[:, 1:]
        logits, labels = self._layout(logits, labels)
        normalizer = None
        if num_items_in_batch is not None and self.loss.normalizer == "elements":
            normalizer = torch.as_tensor(num_items_in_batch).clamp(min=1)
            if isinstance(self.loss, SoftmaxFocalLoss) and labels.is_floating_point():
                # counted entry by entry, but a row of probabilities is one element of a softmax
                normalizer = normalizer / logits.shape[1]
        loss: Tensor = self.loss.to(logits.device)(logits, labels, normalizer=normalizer)
        return loss

    def _check_smoothing(self, ignored: float) -> None:
        if ignored and ignored != self.loss.label_smoothing:
            raise refuse(
                "TrainerLoss",
                "label_smoothing_factor",
                "be 0 in TrainingArguments beside a compute_loss_func, which it has no effect on",
                ignored,
                f"Pass {type(self.loss).__name__}(label_smoothing={ignored}).",
            )

    def _layout(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return classes on axis 1, or for the sigmoid labels and logits of one shape."""
        if isinstance(self.loss, SigmoidFocalLoss):
            one_column = logits.shape == (*labels.shape, 1)
            return (logits.squeeze(-1) if one_column else logits), labels
        if logits.dim() == 3:
            by_row = labels.shape == logits.shape
            return logits.movedim(-1, 1), labels.movedim(-1, 1) if by_row else labels
        return logits, labels

    def __repr__(self) -> str:
        return f"TrainerLoss({self.loss}, causal={self.causal})"


def _smoothing_of_the_caller() -> float:
    """Return the ``label_smoothing_factor`` of the Trainer that is calling; 0 where there is none.

    The Trainer hands its arguments to no loss, so that nothing but the frames above can tell. A few
    of them are looked at: a subclass, or a function of the user's, may stand between.
    """
    frame = sys._getframe(2)
    for _ in range(5):
        trainer: Any = frame.f_locals.get("self")
        if hasattr(trainer, "compute_loss_func"):
            return float(getattr(trainer.args, "label_smoothing_factor", 0.0))
        if frame.f_back is None:
            break
        frame = frame.f_back
    return 0.0
