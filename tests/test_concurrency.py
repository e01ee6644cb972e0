"""Python threads, forked and spawned workers, an interpreter that goes away in the midst of a call.

Each in a process of its own under Python's development mode, every warning an error: the same bits
as alone, no crash, no deadlock, nothing on standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

# Problems small and large, of both links, each with a gamma of its own; several threads work on
# those above 32,768 logits. The bits of loss and gradient as text.
PROBLEMS = """
import sys, threading, torch
from refocal import sigmoid_focal_loss, softmax_focal_loss

def problem(number):
    generator = torch.Generator().manual_seed(number)
    rows = 9_001 if number % 8 == 0 else 5 + number
    logits = 4 * torch.randn(rows, 7, generator=generator)
    if number % 2:
        return sigmoid_focal_loss, logits, (torch.rand(rows, 7, generator=generator) < 0.2).long()
    return softmax_focal_loss, logits, torch.randint(7, (rows,), generator=generator)

COUNT = 16
problems = [problem(number) for number in range(COUNT)]

def bits(number):
    function, logits, targets = problems[number]
    leaf = logits.detach().requires_grad_()
    loss = function(leaf, targets, gamma=0.5 + number / 4)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item().hex(), hash(gradient.numpy().tobytes())
"""


def run(script: str, tmp_path: Path, *, timeout: float = 1800) -> str:
    """What a script prints, in a process that must end well and complain of nothing."""
    path = tmp_path / "script.py"
    path.write_text(PROBLEMS + script)
    done = subprocess.run(
        # forking with threads about is what is tested
        [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", str(path)],
        env={**os.environ, "PYTHONDEVMODE": "1", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


THREADS = """
expected = [bits(number) for number in range(COUNT)]
wrong = []

def work(first):
    for call in range(1000):
        number = (first + call) % COUNT
        if call % 25 == 0:
            torch.set_num_threads(1 + (first + call // 25) % 3)
        found = bits(number)
        if found != expected[number]:
            wrong.append((number, found))

threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(wrong), wrong[:3])
"""


def test_eight_threads_of_a_thousand_calls(tmp_path: Path) -> None:
    assert run(THREADS, tmp_path).startswith("0 ")


WORKERS = """
import multiprocessing

def work(number):
    torch.set_num_threads(1 + number % 3)
    return [bits((number + call) % COUNT) for call in range(COUNT)]

if __name__ == "__main__":
    method, busy = METHOD
    expected = [bits(number) for number in range(COUNT)]
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            bits(0)

    others = [threading.Thread(target=keep_busy) for _ in range(busy)]
    for thread in others:
        thread.start()
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(work, range(6), chunksize=1)
        pool.close()
        pool.join()
    stop.set()
    for thread in others:
        thread.join()
    print([expected[number:] + expected[:number] for number in range(6)] == found)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("busy", [0, 2], ids=["alone", "while threads compute"])
def test_forked_workers(tmp_path: Path, busy: int) -> None:
    assert run(WORKERS.replace("METHOD", repr(("fork", busy))), tmp_path) == "True\n"


def test_spawned_workers(tmp_path: Path) -> None:
    assert run(WORKERS.replace("METHOD", repr(("spawn", 0))), tmp_path) == "True\n"


# The thread leaves the kernel for an instant only, and calls nothing of torch there: torch's own
# operations abort in a daemon thread when the interpreter ends (Python below 3.14).
SHUTDOWN = """
import atexit, time
from refocal.kernels.cpu import frame
from refocal.kernels.cpu import threads

expected = bits(3)
original, inside = threads.run, threading.Event()

def again_and_again(function, slots, team):
    inside.set()
    while True:
        slots[frame.FINISHED] = 0
        for thread in range(team):
            slots[frame.COUNTERS + frame.COUNTER_STRIDE * thread] = 0
        original(function, slots, team)

threads.run = again_and_again
logits, targets = torch.randn(4_000_000), torch.zeros(4_000_000)
arguments = {"gamma": 1.5, "impl": "cpu"}
threading.Thread(
    target=sigmoid_focal_loss, args=(logits, targets), kwargs=arguments, daemon=True
).start()
inside.wait()
threads.run = original
time.sleep(DELAY)
atexit.register(lambda: print(bits(3) == expected))
"""


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_the_interpreter_ends_during_a_call(tmp_path: Path, delay: float) -> None:
    """Of a daemon thread; what runs at exit still computes."""
    assert run(SHUTDOWN.replace("DELAY", str(delay)), tmp_path) == "True\n"
