"""Memory of one forward and backward, every provider in a process of its own.

python -m benchmarks.memory
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks import table

RESULTS = Path(__file__).parent / "results" / "memory.csv"
ELEMENTS = 10_000_000


def probe(provider: str, elements: int) -> dict[str, object]:
    """Peak resident memory beyond the inputs, and what autograd keeps for backward."""
    import torch

    from benchmarks.cases import Case, setup

    case = Case("sigmoid", (elements,))
    few = setup(case._replace(shape=(64,)), provider)
    few.run()  # libraries loaded, threads started, kernels compiled
    ready = setup(case, provider)
    if provider.endswith("compiled"):
        ready.run()  # compiled for this size
        ready.logits.grad = None
    # the peak so far may lie above what is held now: fill up to it
    held = current_bytes()
    filler = torch.ones(max(0, peak_bytes() - held) // 4)
    before = peak_bytes() - max(0, filler.nbytes - (peak_bytes() - held))
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in (ready.logits.data_ptr(), ready.targets.data_ptr()):
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = ready.loss(ready.logits, ready.targets)
    loss.backward()
    return {
        "provider": provider,
        "dtype": case.dtype,
        "elements": elements,
        "peak_bytes_per_element": round((peak_bytes() - before) / elements, 2),
        "saved_bytes_per_element": round(sum(saved.values()) / elements, 2),
    }


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def current_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(probe(sys.argv[1], ELEMENTS)))
        return
    from benchmarks.cases import Case, providers

    rows = []
    for provider in providers(Case("sigmoid", (ELEMENTS,))):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", provider],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576"},
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    table.save(RESULTS, rows)


if __name__ == "__main__":
    main()
