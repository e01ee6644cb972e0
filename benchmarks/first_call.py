"""What the first call of a kernel takes: compiled anew, and from the cache on disk.

python -m benchmarks.first_call
python -m benchmarks.first_call --save
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import table

RESULTS = Path(__file__).parent / "results" / "first_call.csv"
CALL = "refocal.{link}_focal_loss(({logits}).requires_grad_(), {targets}).backward()"
CASES = {
    "sigmoid": CALL.format(link="sigmoid", logits="torch.randn(100)", targets="torch.ones(100)"),
    "softmax, 10 classes": CALL.format(
        link="softmax", logits="torch.randn(100, 10)", targets="torch.zeros(100).long()"
    ),
    "softmax, 1,000 classes": CALL.format(
        link="softmax", logits="torch.randn(100, 1000)", targets="torch.zeros(100).long()"
    ),
    "softmax, probabilities": CALL.format(
        link="softmax", logits="torch.randn(100, 10)", targets="torch.rand(100, 10).softmax(1)"
    ),
    "19 typical calls": "from refocal import warm_up; assert len(list(warm_up.fill())) == 19",
}
# torch is loaded and has its backward ready, Numba is not
SCRIPT = """
import time, torch, refocal
torch.ones(3, requires_grad=True).sum().backward()
start = time.perf_counter()
{call}
print(time.perf_counter() - start)
"""


def first_call(case: str, cache: str) -> float:
    """Seconds of forward and backward in a process of its own."""
    script = SCRIPT.format(call=CASES[case])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS}")
    options = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
    for _ in range(options.rounds):
        for case, found in times.items():
            with tempfile.TemporaryDirectory() as cache:
                found.append((first_call(case, cache), first_call(case, cache)))
    rows = []
    for case, found in times.items():
        anew, cached = zip(*found, strict=True)
        rows.append(
            {
                "case": case,
                "compiled_s": f"{median(anew):.2f}",
                "compiled_spread_s": f"{max(anew) - min(anew):.2f}",
                "cached_s": f"{median(cached):.2f}",
            }
        )
        print(*rows[-1].values(), sep="\t")
    if options.save:
        table.save(RESULTS, rows)


if __name__ == "__main__":
    main()
