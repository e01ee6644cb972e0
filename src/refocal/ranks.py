"""The mean over a batch that ranks share: one number is summed over them, its denominator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from refocal import arguments
from refocal.problem import Number, Problem
from refocal.reduction import Reduction, at_least, denominator
from refocal.torch_state import is_distributed


def mean_over_ranks(
    function: str,
    problem: Problem,
    reduction: str,
    normalizer: str | float | Tensor,
    group: Any,
    run: Callable[[Reduction], Tensor],
) -> Tensor:
    """This rank's part of the mean: the average over the ranks is the mean of the whole batch.

    Args:
        function: whose name the messages bear.
        problem: this rank's.
        reduction: as the user gave it; must be "mean".
        normalizer: checked.
        group: the process group.
        run: computes this rank's loss under a reduction. It runs beside the sum over the ranks.
    """
    arguments.check_process_group(function, group, reduction)
    local = denominator(problem, normalizer)
    arguments.check_constant_denominator(function, local)
    count = RankSum(local, group, problem.logits.device)
    total = run(Reduction("sum", 1.0))
    # DDP averages gradients over the ranks: world times the local share makes that the whole mean
    scale = count.world / at_least(count.result(), normalizer)
    return total * torch.as_tensor(scale, dtype=total.dtype, device=total.device)


class RankSum:
    """A sum over ranks that runs beside the kernel: start it, compute, then ask for it.

    Costs one all-reduce of one float64 scalar, 8 bytes a rank, whatever the batch.

    Args:
        local: this rank's number.
        group: the process group.
        device: where the reduction runs: the device of the logits.
    """

    def __init__(self, local: Number, group: Any, device: torch.device) -> None:
        # MPS has no float64; counts up to 2**24 are exact in float32 too
        dtype = torch.float32 if device.type == "mps" else torch.float64
        if is_distributed(local):
            local = local.full_tensor()  # type: ignore[union-attr]
        if isinstance(local, Tensor):
            self._total = local.detach().to(device, dtype, copy=True)
        else:
            # filled on the device: torch.tensor would copy it there, and wait
            self._total = torch.full((), local, dtype=dtype, device=device)
        # torch.compile traces the blocking form only
        work = dist.all_reduce(self._total, group=group, async_op=not torch.compiler.is_compiling())
        self._work = work
        self.world = dist.get_world_size(group)

    def result(self) -> Tensor:
        """Return the sum over ranks, once it is there."""
        if self._work is not None:
            self._work.wait()
        return self._total
