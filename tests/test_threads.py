"""The CPU kernels and everybody else's threads: torch's, Python's, a forked child's."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset

from refocal import sigmoid_focal_loss, softmax_focal_loss
from refocal.kernels.cpu import threads as threads_of_torch

pytest.importorskip("numba")

EXACTLY = {"rtol": 0, "atol": 0}
# beyond launch.SERIAL_BELOW, so that several threads are used where there are several
ROWS, CLASSES = 9_001, 7


def example(link: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(ROWS, CLASSES, generator=generator) * 4
    if link == "sigmoid":
        return logits, (torch.rand(ROWS, CLASSES, generator=generator) < 0.2).long()
    if link == "softmax":
        return logits, torch.randint(0, CLASSES, (ROWS,), generator=generator)
    return logits, torch.rand(ROWS, CLASSES, generator=generator)


def both(link: str, gamma: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Loss and gradient."""
    logits, targets = example(link, seed)
    logits.requires_grad_()
    function = sigmoid_focal_loss if link == "sigmoid" else softmax_focal_loss
    loss = function(logits, targets, gamma=gamma, impl="cpu")
    loss.backward()
    return loss.detach(), logits.grad


every_link = pytest.mark.parametrize("link", ["sigmoid", "softmax", "probabilities"])


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@every_link
def test_the_same_bits_for_any_number_of_threads(link, threads):
    threads(1)
    expected = both(link, 1.5)
    for count in (2, 3, 7):
        threads(count)
        assert_close(both(link, 1.5), expected, **EXACTLY)
        assert torch.get_num_threads() == count


def test_one_thread_stays_one(threads):
    threads(1)
    both("sigmoid", 2.0)
    assert torch.get_num_threads() == 1


def test_called_from_several_python_threads_at_once(threads):
    """Each with a gamma of its own: nobody's numbers may reach another's kernel."""
    calls = [
        (link, 0.5 + number / 4, number)
        for number in range(6)
        for link in ("sigmoid", "softmax", "probabilities")
    ]
    threads(1)
    expected = [both(*call) for call in calls]
    threads(2)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda call: both(*call), calls * 5))
    for number, one in enumerate(found):
        assert_close(one, expected[number % len(calls)], **EXACTLY)


@pytest.mark.parametrize("team", [1, 2])
def test_the_gil_is_released(team, threads, monkeypatch):
    """While a kernel computes, another thread's Python goes on: here, a counter.

    A kernel that kept the GIL would never see it move, for nobody else is asked to give it up;
    how soon one that gives it up does see that is up to how busy the machine is.
    """
    seen: list[int] = []
    run, count, done = threads_of_torch.run, itertools.count(), threading.Event()

    def watched(*call: object) -> None:
        before = next(count)
        run(*call)
        seen.append(next(count) - before - 1)

    def go_on() -> None:
        while not done.is_set():
            next(count)
            time.sleep(1e-5)

    logits, targets = torch.randn(1_000_000), torch.zeros(1_000_000)
    threads(team)
    sigmoid_focal_loss(logits, targets, gamma=1.5, impl="cpu")  # compiles
    monkeypatch.setattr(threads_of_torch, "run", watched)
    other = threading.Thread(target=go_on)
    before = sys.getswitchinterval()
    other.start()
    sys.setswitchinterval(1000)
    try:
        end = time.monotonic() + 1800  # a guard against hanging
        while not any(seen) and time.monotonic() < end:
            sigmoid_focal_loss(logits, targets, gamma=1.5, impl="cpu")
    finally:
        sys.setswitchinterval(before)
        done.set()
        other.join()
    assert any(seen)


class Losses(Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Tensor:
        return both("softmax", 1.0 + index)[0]


def test_in_a_forked_worker(threads):
    """OpenMP's threads do not survive a fork: the child must not wait for them."""
    threads(2)
    expected = torch.stack([both("softmax", 1.0 + index)[0] for index in range(3)])
    loader = DataLoader(
        Losses(), batch_size=3, num_workers=2, multiprocessing_context="fork", timeout=1800
    )
    (found,) = list(loader)
    assert_close(found, expected, **EXACTLY)


# a kernel, and whether its code came to lie in the cache directory
SCRIPT = """
import torch
from refocal import sigmoid_focal_loss
z = torch.tensor([2.0, -1.0], requires_grad=True)
sigmoid_focal_loss(z, torch.tensor([1.0, 0.0]), impl="cpu").backward()
print(z.grad.tolist())
"""


@pytest.mark.parametrize("kind", ["missing", "not a directory", "read-only"])
def test_a_cache_directory_that_cannot_be_written(kind, tmp_path):
    cache = tmp_path / "cache"
    if kind == "not a directory":
        cache.write_text("")
    elif kind == "read-only":
        cache.mkdir()
        cache.chmod(0o500)
    if kind == "missing":
        cache = tmp_path / "a" / "b"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    logits = torch.tensor([2.0, -1.0], requires_grad=True)
    sigmoid_focal_loss(logits, torch.tensor([1.0, 0.0]), impl="eager").backward()
    assert_close(torch.tensor(eval(done.stdout)), logits.grad)
