"""Ranks that run out of batches at different times: torch's ``Join``.

With ``process_group`` a loss exchanges its count inside the forward pass. A rank that has joined
early answers what DDP exchanges, in the order in which DDP does, and knows of no exchange between:
the two meet messages of different sizes, and gloo ends the process. Here the count is exchanged
before the forward pass, by an object that ``Join`` knows and answers for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.algorithms.join import Join, Joinable, JoinHook

from refocal.linear import LinearFocalLoss
from refocal.losses import SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.messages import refuse
from refocal.ranks import RankSum
from refocal.reduction import at_least


class JoinedDenominator(Joinable):
    """What "mean" divides by, over the ranks that still have batches.

    For ``with Join([denominator, ddp])``, in this order, in the place of ``with ddp.join()``, which
    does not work beside a ``process_group``. Call it before the model, once per step, and pass what
    it returns as ``normalizer`` to the loss, without a ``process_group``. The gradient that DDP
    averages over all ranks is then that of one mean over the rows of those that have any.

    Args:
        loss: the loss, whose own ``normalizer`` says what is counted.
        process_group: that of the model; None is the default group.
        device: where the exchange runs: the CPU for gloo, this rank's GPU for NCCL.

    Raises:
        TypeError: loss is not the module of a focal loss.

    Example:
        >>> from refocal import SigmoidFocalLoss
        >>> from refocal.integrations.join import JoinedDenominator
        >>> def train(ddp, optimizer, batches):  # of any number on each rank
        ...     loss = SigmoidFocalLoss(normalizer="positives")
        ...     denominator = JoinedDenominator(loss)
        ...     with Join([denominator, ddp]):
        ...         for x, y in batches:
        ...             count = denominator(y)
        ...             optimizer.zero_grad()
        ...             loss(ddp(x), y, normalizer=count).backward()
        ...             optimizer.step()
    """

    def __init__(
        self,
        loss: SigmoidFocalLoss | SoftmaxFocalLoss | LinearFocalLoss,
        process_group: Any = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        if not isinstance(loss, (SigmoidFocalLoss, SoftmaxFocalLoss, LinearFocalLoss)):
            raise refuse(
                "JoinedDenominator",
                "loss",
                "be a SigmoidFocalLoss, SoftmaxFocalLoss or LinearFocalLoss",
                type(loss).__name__,
                "Pass the module, not the function or the model.",
                TypeError,
            )
        self.loss = loss
        self._group = process_group if process_group is not None else dist.group.WORLD
        self._device = torch.device(device)

    def __call__(self, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return this step's ``normalizer``: the count of all ranks, less the factor that DDP
        averages by.

        Args:
            targets: this rank's targets.
            sample_weight: this rank's weights.

        Returns:
            A 0-d float64 tensor > 0.
        """
        Join.notify_join_context(self)
        local = self.loss.denominator(targets, sample_weight)
        return self._sum(local)

    def _sum(self, local: Any) -> Tensor:
        count = RankSum(local, self._group, self._device)
        normalizer: Any = self.loss.normalizer  # a Module's attributes have no type
        return torch.as_tensor(at_least(count.result(), normalizer)) / count.world

    def join_hook(self, **keywords: Any) -> JoinHook:
        """Return what a rank without batches does while others go on."""
        return _NothingToCount(self)

    @property
    def join_device(self) -> torch.device:
        """The device on which the ranks exchange numbers."""
        return self._device

    @property
    def join_process_group(self) -> Any:
        """The ranks that exchange numbers."""
        return self._group


class _NothingToCount(JoinHook):
    """Adds a count of 0 to every step of the other ranks."""

    def __init__(self, denominator: JoinedDenominator) -> None:
        self._denominator = denominator

    def main_hook(self) -> None:
        self._denominator._sum(0.0)
