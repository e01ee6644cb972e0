"""Two revisions of refocal, run in turn: what a change costs the two main losses.

python -m benchmarks.pairs REVISION
python -m benchmarks.pairs REVISION OTHER --pairs 10

Each run is a process of its own over a checkout of its revision. Kernels are compiled into a cache
of each before anything is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.__main__ import WARM

CASES = {
    "sigmoid, 1e3": ("sigmoid", "torch.randn(1_000), torch.randint(2, (1_000,)).float()"),
    "sigmoid, 1e6": ("sigmoid", "torch.randn(10**6), torch.randint(2, (10**6,)).float()"),
    "softmax, 1,024 × 10": ("softmax", "torch.randn(1024, 10), torch.randint(10, (1024,))"),
    "softmax, 65,536 × 10": ("softmax", "torch.randn(65536, 10), torch.randint(10, (65536,))"),
    "softmax, 65,536 × 32": ("softmax", "torch.randn(65536, 32), torch.randint(32, (65536,))"),
    "softmax, 8,192 × 1,000": ("softmax", "torch.randn(8192, 1000), torch.randint(1000, (8192,))"),
}
# the least of many short samples: neighbours only ever add to a time
SCRIPT = """
import time, torch, refocal
for link, text in {cases!r}:
    logits, targets = eval(text)
    logits.requires_grad_()
    def run():
        logits.grad = None
        getattr(refocal, link + "_focal_loss")(logits, targets).backward()
    for _ in range(5):
        run()
    repeat = max(1, 20_000 // logits.numel())
    samples = []
    for _ in range(60):
        start = time.perf_counter()
        for _ in range(repeat):
            run()
        samples.append((time.perf_counter() - start) / repeat)
    print(min(samples))
"""


@contextlib.contextmanager
def checkout(revision: str, into: Path) -> Iterator[Path]:
    """The sources of a revision in a folder of their own."""
    folder = into / revision.replace("/", "-")
    subprocess.run(["git", "worktree", "add", "--detach", "--quiet", folder, revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", folder], check=True)


def timed(folder: Path) -> list[float]:
    """Microseconds of each case in a new process."""
    script = SCRIPT.format(cases=list(CASES.values()))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            **WARM,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(folder / "src"),
            "REFOCAL_QUIET": "1",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [1e6 * float(line) for line in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--pairs", type=int, default=10)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        before = stack.enter_context(checkout(options.before, room))
        after = stack.enter_context(checkout(options.after, room))
        timed(before), timed(after)
        runs = [(timed(before), timed(after)) for _ in range(options.pairs)]
    print(f"| forward + backward, µs | {options.before} | {options.after} | after / before |")
    print("| --- | ---: | ---: | ---: |")
    for number, case in enumerate(CASES):
        old = [one[number] for one, _ in runs]
        new = [other[number] for _, other in runs]
        ratios = sorted(b / a for a, b in zip(old, new, strict=True))
        middle = statistics.median(ratios)
        print(
            f"| {case} | {statistics.median(old):.1f} | {statistics.median(new):.1f} "
            f"| {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )
    print(f"\nMedians of {options.pairs} pairs of processes, run in turn; least and largest ratio.")


if __name__ == "__main__":
    main()
