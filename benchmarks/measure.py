"""Time: all providers of a case in one process, interleaved, medians with spread.

And a health check of the machine, without which nothing is quoted.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.cases import Case
from refocal.kernels.cpu.pages import fresh_like

LEAST_ROUNDS, MOST_ROUNDS = 7, 60
LEAST_SAMPLE = 2e-3  # seconds: what is shorter is repeated


class Stats(NamedTuple):
    """Milliseconds: the median, and half the distance of the quartiles."""

    runtime_ms: float
    spread_ms: float
    rounds: int


def timed(run: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - start) / repeat


def measure(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, Stats]:
    """Every provider in every round, so that a slow minute hits all of them."""
    repeats = {}
    for name, run in runs.items():
        for _ in range(3):
            run()
        repeats[name] = max(1, round(LEAST_SAMPLE / max(timed(run, 3), 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in runs}
    begin = time.perf_counter()
    for number in range(MOST_ROUNDS):
        for name, run in runs.items():
            samples[name].append(1e3 * timed(run, repeats[name]))
        if number + 1 >= LEAST_ROUNDS and time.perf_counter() - begin > seconds:
            break
    return {name: summary(values) for name, values in samples.items()}


def summary(values: list[float]) -> Stats:
    low, middle, high = statistics.quantiles(values, n=4)
    return Stats(middle, (high - low) / 2, len(values))


# ---------------------------------------------------------------------------------------------
# floors: what a loss cannot undercut


def stream(elements: int, inputs: int) -> Callable[[], object]:
    """The kernel's traffic: so many float32 arrays read, one written, all of whose pages are there
    already.
    """
    a, b, c = (torch.zeros(elements) for _ in range(3))
    return (lambda: torch.add(a, b, out=c)) if inputs == 2 else (lambda: c.copy_(a))


def fresh_stream(elements: int) -> Callable[[], object]:
    """The same into a new array on huge pages, as a gradient is."""
    a, b = (torch.zeros(elements) for _ in range(2))
    return lambda: torch.add(a, b, out=fresh_like(a))


class Empty(torch.autograd.Function):
    """Computes nothing, and keeps one tensor."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return logits.new_empty(())

    @staticmethod
    def backward(ctx: Any, *upstreams: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0], None


def empty_function(elements: int) -> Callable[[], object]:
    """Forward and backward of a Function written in Python."""
    logits = torch.zeros(elements, requires_grad=True)
    gradient = torch.zeros(elements)

    def run() -> object:
        logits.grad = None
        Empty.apply(logits, gradient).backward()
        return logits.grad

    return run


def floors(case: Case) -> dict[str, Callable[[], object]]:
    """What is measured beside the providers of a case, to tell how far it could be taken."""
    if case.mode != "full" or case.dtype != "float32":
        return {}
    elements = math.prod(case.shape)
    if case.link == "softmax":
        return {"stream": stream(elements, inputs=1)}
    if elements == 1_000:
        return {"empty Function": empty_function(elements)}
    if elements < 10_000_000:
        return {}
    return {"stream": stream(elements, inputs=2), "fresh stream": fresh_stream(elements)}


def warm_library_pages() -> None:
    """Reads a byte of every read-only page of torch's library: cold, they can slow log1p by 8."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, _, _, _, *path = line.split(maxsplit=5)
        if path and path[0].endswith("libtorch_cpu.so") and rights.startswith("r-"):
            start, end = (int(one, 16) for one in addresses.split("-"))
            import ctypes

            for page in range(start, end, 4096):
                ctypes.string_at(page, 1)


def healthy_log1p(processor: str) -> float:
    """Most nanoseconds per element that it may take.

    Where its pages came cold it takes 9, otherwise 1.05, and with vectors of half the width 1.9 to
    2.9.
    """
    return 5.0 if processor.endswith("AVX2") else 2.5


def log1p_ns() -> float:
    """Nanoseconds per element of torch's log1p, one thread, in the cache."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.rand(16_384)
    out = torch.empty_like(x)
    best = min(timed(lambda: torch.log1p(x, out=out), 50) for _ in range(20))
    torch.set_num_threads(threads)
    return 1e9 * best / x.numel()
