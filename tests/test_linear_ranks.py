"""`linear_focal_loss` over several real gloo processes: the gradient of the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from refocal import LinearFocalLoss, linear_focal_loss

WORKER = Path(__file__).parent / "ranks" / "linear.py"


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_see_the_gradient_of_the_whole_batch(world, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    ranks = [
        subprocess.Popen([sys.executable, WORKER, str(rank), str(world), tmp_path], env=environment)
        for rank in range(world)
    ]
    assert [rank.wait(timeout=1800) for rank in ranks] == [0] * world
    for rank in range(world):
        for name, found in json.loads((tmp_path / f"found-{rank}.json").read_text()).items():
            for key in ("loss", "gradient", "rows"):
                expected = found["expected" if key == "gradient" else f"expected_{key}"]
                assert_close(
                    torch.tensor(found[key]),
                    torch.tensor(expected),
                    rtol=1e-5,
                    atol=1e-7,
                    msg=lambda text, case=(rank, name, key): f"{case}: {text}",
                )


def test_wrong_use_of_a_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        hidden, weight, targets = torch.randn(4, 3), torch.randn(5, 3), torch.arange(4)
        group = dist.group.WORLD
        alone = linear_focal_loss(hidden, weight, targets, process_group=group)
        module = LinearFocalLoss(process_group=group)
        assert_close(module(hidden, weight, targets), alone)
        assert_close(alone, linear_focal_loss(hidden, weight, targets))
        with pytest.raises(ValueError, match='unless reduction is "mean"'):
            linear_focal_loss(hidden, weight, targets, reduction="sum", process_group=group)
        with pytest.raises(TypeError, match="process_group must be None or a ProcessGroup"):
            linear_focal_loss(hidden, weight, targets, process_group="world")
    finally:
        dist.destroy_process_group()
