"""The first steps of the long run: memory flat, losses the same again."""

from __future__ import annotations

import gc

import pytest
from trust.long_run import STATM, train

pytestmark = pytest.mark.skipif(not STATM.exists(), reason="needs Linux to tell the memory in use")

LOOKS = {"warm_up": 500, "every": 500}


def test_memory_is_flat_and_losses_are_the_same_again() -> None:
    first = train(2000, **LOOKS)
    assert first.growth < 2**20
    second = train(2000, **LOOKS)
    assert second.digests == first.digests
    assert second.loss == first.loss
    assert train(500, seed=1, **LOOKS).digests[500] != first.digests[500]


def test_a_leak_would_be_seen() -> None:
    # blocks so large that no memory freed by an earlier test can hold them, nor make up for them
    gc.collect()
    kept = []
    run = train(1500, **LOOKS, look=lambda step, loss: kept.append(bytes([1]) * 2**27))
    assert run.growth > 2**20
