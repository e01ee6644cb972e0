"""Several real gloo processes against one process: the gradient of the whole batch, to 1e-6."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from refocal import LinearFocalLoss, SigmoidFocalLoss, SoftmaxFocalLoss, sigmoid_focal_loss
from refocal.integrations.join import JoinedDenominator

RANKS = Path(__file__).parent / "ranks"
HANG = 1800  # seconds: against ranks that wait for each other, not for a machine that is slow


def run_ranks(script: str, world: int, tmp_path: Path) -> None:
    """Runs a script on every rank."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    ranks = [
        subprocess.Popen(
            [sys.executable, RANKS / script, str(rank), str(world), str(tmp_path)], env=environment
        )
        for rank in range(world)
    ]
    codes = [rank.wait(timeout=HANG) for rank in ranks]
    assert codes == [0] * world


@pytest.mark.parametrize("world", [2, 4])
def test_every_rank_sees_the_gradient_of_the_whole_batch(world, tmp_path):
    run_ranks("worker.py", world, tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found) == 7 * 3 * 4  # losses, splits, ways of averaging
    for case, result in found.items():
        assert_close(
            torch.tensor(result["gradient"]),
            torch.tensor(result["expected"]),
            rtol=1e-6,
            atol=1e-8,
            msg=lambda text, case=case: f"{case}: {text}",
        )
        assert_close(result["loss"], result["expected_loss"], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_that_run_out_of_batches_join(world, tmp_path):
    """Each step is the gradient of the rows of the ranks that still have some."""
    run_ranks("joined.py", world, tmp_path)
    for rank in range(world):
        found = json.loads((tmp_path / f"found{rank}.json").read_text())
        assert len(found) == 4 * (1 + 2 * rank)  # losses, and this rank's steps
        for one in found:
            got, expected = (torch.tensor(gradient) for gradient in one["gradients"])
            assert expected.abs().max() > 1e-4
            assert_close(got, expected, rtol=1e-6, atol=1e-8, msg=one["case"])


def test_what_is_joined_is_a_loss(single_rank):
    with pytest.raises(TypeError, match=r"loss must be a SigmoidFocalLoss, Softmax.* or Linear"):
        JoinedDenominator(sigmoid_focal_loss)
    assert_close(
        JoinedDenominator(SigmoidFocalLoss(normalizer="positives"))(torch.zeros(3)).item(), 1.0
    )
    indices = torch.tensor([0, 1, -100])
    assert_close(JoinedDenominator(LinearFocalLoss())(indices).item(), 2.0)


@pytest.fixture
def single_rank(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_one_rank_equals_no_group(single_rank):
    z, y = torch.randn(8, 3), torch.randint(0, 2, (8, 3))
    for normalizer in ("elements", "positives", "weights", "sample_weight", 7.0):
        with_group = sigmoid_focal_loss(z, y, normalizer=normalizer, process_group=single_rank)
        assert_close(with_group, sigmoid_focal_loss(z, y, normalizer=normalizer))


def test_no_positives_anywhere_divides_by_one(single_rank):
    z = torch.randn(5)
    loss = sigmoid_focal_loss(z, torch.zeros(5), normalizer="positives", process_group=single_rank)
    assert_close(loss, sigmoid_focal_loss(z, torch.zeros(5), reduction="sum"))


def test_a_rank_s_share_of_the_count_may_be_zero_but_not_negative(single_rank):
    z, y = torch.randn(4, requires_grad=True), torch.zeros(4)
    for nothing in (0, torch.tensor(0.0)):
        loss = sigmoid_focal_loss(z[:0], y[:0], normalizer=nothing, process_group=single_rank)
        assert_close(loss, torch.tensor(0.0))
        with pytest.raises(ValueError, match="normalizer must be > 0 and finite, got 0"):
            sigmoid_focal_loss(z, y, normalizer=nothing)
    with pytest.raises(ValueError, match="normalizer must be > 0 and finite, got -1"):
        sigmoid_focal_loss(z, y, normalizer=-1, process_group=single_rank)


def test_wrong_use_of_a_group(single_rank):
    z, y = torch.randn(4), torch.ones(4)
    with pytest.raises(TypeError, match="process_group must be None or a ProcessGroup, got str"):
        sigmoid_focal_loss(z, y, process_group="world")
    with pytest.raises(ValueError, match='unless reduction is "mean"'):
        sigmoid_focal_loss(z, y, reduction="sum", process_group=single_rank)
    weight = torch.ones(4, requires_grad=True)
    with pytest.raises(ValueError, match="must not require grad with a process_group"):
        sigmoid_focal_loss(
            z, y, normalizer="weights", sample_weight=weight, process_group=single_rank
        )


@pytest.mark.parametrize("normalizer", ["elements", "positives", "weights", "sample_weight"])
def test_accumulated_sigmoid_gradient_is_that_of_the_large_batch(normalizer):
    loss = SigmoidFocalLoss(alpha=0.3, normalizer=normalizer, ignore_index=255)
    z = torch.randn(10, 2, requires_grad=True)
    y = torch.randint(0, 2, (10, 2))
    y[3, 1] = 255
    (expected,) = torch.autograd.grad(loss(z, y), z)
    parts = [slice(0, 3), slice(3, 4), slice(4, 10)]
    count = sum(loss.denominator(y[part]) for part in parts)
    for part in parts:
        loss(z[part], y[part], normalizer=count).backward()
    assert_close(z.grad, expected)


@pytest.mark.parametrize("normalizer", ["elements", "weights", "sample_weight"])
@pytest.mark.parametrize("soft", [False, True])
def test_accumulated_softmax_gradient_is_that_of_the_large_batch(normalizer, soft):
    loss = SoftmaxFocalLoss(alpha=torch.tensor([1.0, 2.0, 0.5]), normalizer=normalizer)
    z = torch.randn(10, 3, 4, requires_grad=True)
    y = torch.rand(10, 3, 4).softmax(1) if soft else torch.randint(0, 3, (10, 4))
    (expected,) = torch.autograd.grad(loss(z, y), z)
    parts = [slice(0, 3), slice(3, 4), slice(4, 10)]
    count = sum(loss.denominator(y[part]) for part in parts)
    for part in parts:
        loss(z[part], y[part], normalizer=count).backward()
    assert_close(z.grad, expected)
