"""One number summed over the ranks of a process group: the denominator of a distributed mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from refocal.problem import Number
from refocal.torch_state import is_distributed


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
