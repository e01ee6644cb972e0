"""What the hosts take: modules of the two losses, whose settings can be read."""

from __future__ import annotations

from refocal.losses import SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.messages import refuse


def check_module(host: str, loss: object) -> None:
    """Refuse what is neither a `SigmoidFocalLoss` nor a `SoftmaxFocalLoss`.

    Args:
        host: the class that was given it.
        loss: what was given.

    Raises:
        TypeError: with the way out.
    """
    if not isinstance(loss, (SigmoidFocalLoss, SoftmaxFocalLoss)):
        raise refuse(
            host,
            "loss",
            "be a SigmoidFocalLoss or a SoftmaxFocalLoss",
            type(loss).__name__,
            f"Pass a module, as in {host}(SoftmaxFocalLoss()).",
            TypeError,
        )
