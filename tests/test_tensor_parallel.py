"""Classes split over real gloo processes against one process: softmax_focal_loss on DTensors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

WORKER = Path(__file__).parent / "ranks" / "shards.py"


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request, tmp_path_factory):
    """What rank 0 found, with 2 and with 4 ranks."""
    folder = tmp_path_factory.mktemp("shards")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    workers = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), str(request.param), str(folder)], env=environment
        )
        for rank in range(request.param)
    ]
    assert [worker.wait(timeout=1800) for worker in workers] == [0] * request.param
    return torch.load(folder / "found.pt")


def test_classes_on_several_ranks_give_the_loss_and_gradient_of_one_process(ranks):
    assert len(ranks["found"]) == 21
    for case, result in ranks["found"].items():
        for got, expected in (("loss", "expected_loss"), ("gradient", "expected")):
            assert_close(
                result[got],
                result[expected],
                rtol=1e-6,
                atol=1e-7,
                equal_nan=True,
                msg=lambda text, case=case, got=got: f"{case}, {got}: {text}",
            )


def test_nan_on_one_rank_reaches_the_loss_on_all(ranks):
    losses = ranks["found"]["nan"]["loss"]
    # the first two rows hold one NaN each, the third is NaN throughout and ignored
    assert losses.isnan().tolist() == [True, True, False, False, False, False, False]


def test_nothing_of_the_logits_size_travels(ranks):
    plain = ranks["found"]["plain"]["communication"]
    # one MAX and one SUM per row; backward needs nothing, and no gather is among them
    assert plain == {"c10d.allreduce_": 2}


def test_what_would_need_a_gather_is_refused_with_a_way_out(ranks):
    messages = ranks["messages"]
    assert "targets must be class indices if the classes of logits are sharded" in messages["soft"]
    assert "label_smoothing must be 0" in messages["smoothing"]
    assert "must not require grad" in messages["differentiated"]
    assert all(".full_tensor()" in messages[case] for case in ("soft", "smoothing"))
    assert "targets must be class indices from 0 to 9, got 10" in messages["out of range"]
