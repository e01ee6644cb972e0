"""Ultralytics: a focal loss in the place of the class loss of a YOLO model's criterion."""

from __future__ import annotations

from typing import Any

from torch import nn

from refocal.losses import SigmoidFocalLoss
from refocal.messages import refuse


def use_focal_loss(model: Any, **settings: Any) -> Any:
    """Let a model of Ultralytics train its classes with `SigmoidFocalLoss`; boxes as before.

    A criterion that is changed by hand on a ``YOLO`` seems to do nothing: ``train`` builds another
    network with a criterion of its own. This registers a callback that changes the criterion of
    the network that is trained, and of its running average, by which it is validated. Callbacks do
    not reach the processes that Ultralytics starts for several GPUs. A network itself, such as
    ``DetectionModel``, is changed at once.

    The denominator stays Ultralytics': the sum of the target scores. Expect little: its targets are
    soft and its anchors are chosen by the network's own scores, so that there are few easy
    negatives left to silence; its makers report no gain, and nothing uses the FocalLoss they have.

    Args:
        model: a ``YOLO``, or the network within.
        **settings: of `SigmoidFocalLoss`; ``reduction`` is "none", as the criterion asks for.

    Returns:
        The model that was given.

    Raises:
        TypeError: a model that has no criterion with a class loss by the name of ``bce``.
        ValueError: settings that `SigmoidFocalLoss` refuses, a ``reduction`` or ``normalizer``.

    Example:
        >>> from refocal.integrations.ultralytics import use_focal_loss
        >>> class Network:  # as YOLO("yolov8n.yaml").model
        ...     def init_criterion(self):
        ...         return type("v8DetectionLoss", (), {"bce": None})()
        >>> use_focal_loss(Network(), gamma=1.5).criterion.bce.gamma
        1.5
    """
    for name in ("reduction", "normalizer", "process_group"):
        if name in settings:
            raise refuse(
                "use_focal_loss",
                name,
                "be left out",
                repr(settings[name]),
                "Ultralytics' criterion adds the losses up and divides by its target scores.",
            )
    loss = SigmoidFocalLoss(**settings, reduction="none")
    if hasattr(model, "add_callback"):
        model.add_callback("on_train_start", _Change(loss))
    else:
        _change(model, loss)
    return model


class _Change:
    """A callback that pickles and copies, as the checkpoints of a trainer must."""

    def __init__(self, loss: SigmoidFocalLoss) -> None:
        self.loss = loss

    def __call__(self, trainer: Any) -> None:
        _change(trainer.model, self.loss)
        average = getattr(trainer, "ema", None)
        if average is not None:
            _change(average.ema, self.loss)


def _change(network: Any, loss: nn.Module) -> None:
    network = getattr(network, "module", network)  # of one that is distributed
    made: Any = network.init_criterion() if hasattr(network, "init_criterion") else None
    # of a network without suppression of overlaps there are two, one for each of its heads
    parts = [getattr(made, name, None) for name in ("one2many", "one2one")]
    several = [one for one in parts if hasattr(one, "bce")]
    holders: list[Any] = several or [made]
    if not all(hasattr(one, "bce") for one in holders):
        raise refuse(
            "use_focal_loss",
            "model",
            "have a criterion with a class loss, bce",
            type(network).__name__,
            "Pass a YOLO for boxes, masks, poses or oriented boxes.",
            TypeError,
        )
    for one in holders:
        one.bce = loss
    network.criterion = made
