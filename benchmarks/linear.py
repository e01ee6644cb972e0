"""Time and peak memory of `linear_focal_loss` beside the loss of materialised logits.

    python benchmarks/linear.py                          # 8192 x 768 by 32,000 and 128,000 classes
    python benchmarks/linear.py --classes 32000 --rows 2048

Every provider runs in a process of its own, forward and backward, ``--repeat`` times, and reports
its fastest run and the peak of its resident memory beyond what it held when the inputs stood ready.
``torch`` is plain cross-entropy of the same logits, and ``torch fused`` is
`F.linear_cross_entropy`, where this torch has it (2.14).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "linear.json"
PROVIDERS = ("fused", "unfused", "torch", "torch fused")


def loss_of(provider: str, hidden, weight, targets, chunk_size: int | None):
    import torch.nn.functional as F

    import refocal

    if provider == "fused":
        return refocal.linear_focal_loss(hidden, weight, targets, chunk_size=chunk_size)
    if provider == "unfused":
        return refocal.softmax_focal_loss(F.linear(hidden, weight), targets)
    if provider == "torch":
        return F.cross_entropy(F.linear(hidden, weight), targets)
    return F.linear_cross_entropy(hidden, weight, targets)


def peak_mib() -> float:
    """The most this process has held so far; the kernel counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(case: dict) -> dict:
    """One provider in this process."""
    import torch
    import torch.nn.functional as F

    if case["provider"] == "torch fused" and not hasattr(F, "linear_cross_entropy"):
        return {**case, "skipped": f"torch {torch.__version__} has no F.linear_cross_entropy"}
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    hidden = torch.randn(case["rows"], case["features"], requires_grad=True)
    weight = torch.randn(case["classes"], case["features"]).mul_(0.02).requires_grad_()
    targets = torch.randint(0, case["classes"], (case["rows"],))
    # libraries loaded, threads started, kernels compiled: none of that is the loss'
    few = hidden[:2].detach().requires_grad_(), weight[:2].detach().requires_grad_()
    loss_of(case["provider"], *few, targets[:2] % 2, case["chunk_size"]).backward()
    before = peak_mib()
    times = []
    for _ in range(case["repeat"]):
        hidden.grad = weight.grad = None
        start = time.perf_counter()
        loss = loss_of(case["provider"], hidden, weight, targets, case["chunk_size"])
        loss.backward()
        times.append(time.perf_counter() - start)
    return {
        **case,
        "loss": loss.item(),
        "weight_gradient_norm": weight.grad.norm().item(),
        "runtime_s": min(times),
        "spread_s": max(times) - min(times),
        "peak_mib": peak_mib(),
        "peak_beyond_inputs_mib": peak_mib() - before,
        "torch": torch.__version__,
    }


def in_a_process(case: dict) -> dict:
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {**case, "skipped": f"exit status {done.returncode}: {done.stderr[-300:]}"}
    return json.loads(done.stdout)


def report(rows: list[dict]) -> None:
    print(f"{'classes':>8} {'provider':12} {'time':>9} {'peak beyond inputs':>19}  against unfused")
    for row in rows:
        if "skipped" in row:
            print(f"{row['classes']:8,} {row['provider']:12} skipped: {row['skipped']}")
            continue
        ratio = ""
        for other in rows:
            same = other["classes"] == row["classes"] and other["provider"] == "unfused"
            if same and "runtime_s" in other:
                time_ratio = row["runtime_s"] / other["runtime_s"]
                memory_ratio = other["peak_beyond_inputs_mib"] / row["peak_beyond_inputs_mib"]
                ratio = f"{time_ratio:.2f} x time, {memory_ratio:.1f} x less memory"
        print(
            f"{row['classes']:8,} {row['provider']:12} {row['runtime_s']:7.1f} s "
            f"{row['peak_beyond_inputs_mib']:15,.0f} MiB  {ratio}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--classes", type=int, nargs="+", default=[32_000, 128_000])
    parser.add_argument("--chunk-size", type=int, default=None)
    parser.add_argument("--providers", nargs="+", choices=PROVIDERS, default=PROVIDERS)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS}")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(json.loads(options.case))))
        return
    rows = []
    for classes in options.classes:
        for provider in options.providers:
            row = in_a_process(
                {
                    "provider": provider,
                    "rows": options.rows,
                    "features": options.features,
                    "classes": classes,
                    "chunk_size": options.chunk_size,
                    "repeat": options.repeat,
                    "threads": options.threads,
                }
            )
            print(row, flush=True)
            rows.append(row)
    report(rows)
    if options.save:
        RESULTS.parent.mkdir(exist_ok=True)
        machine = f"{platform.machine()}, {options.threads} threads"
        date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        RESULTS.write_text(json.dumps({"machine": machine, "date": date, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
