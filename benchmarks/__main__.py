"""Times every case under both allocators, and writes results/cpu-KIND.csv of this processor.

    python -m benchmarks                      # all of it, about ten minutes on quiet cores
    python -m benchmarks --seconds 0.3 --only 1000 --out /tmp/x.csv

Accuracy stands in the same row as speed. Memory: `python -m benchmarks.memory`. The README's table
and the plot come from the CSV: `python -m benchmarks.table`.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

# glibc reads these when a process starts
WARM = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
FIELDS = [
    *("date", "torch", "cpu", "threads", "log1p_ns", "allocator"),
    *("link", "shape", "dtype", "gamma", "mode", "provider"),
    *("runtime_ms", "spread_ms", "rounds", "times_refocal"),
    *("roofline_share", "max_relative_error"),
]


def cpu_information(name: str) -> str:
    """A line of /proc/cpuinfo, or nothing."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return ""


def has_narrow_vectors() -> bool:
    """Whether this is an x86 processor whose registers have 256 bits, not 512."""
    flags = cpu_information("flags").split()
    return "avx2" in flags and "avx512f" not in flags


def processor() -> str:
    name = cpu_information("model name") or platform.processor()
    return name + ", AVX2" * has_narrow_vectors()


def results() -> Path:
    """Where this kind of processor's results are kept: the other kinds' stay beside them."""
    kinds = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}
    kind = kinds.get(cpu_information("vendor_id"), platform.machine())
    kind += "-avx2" * has_narrow_vectors()
    return Path(__file__).parent / "results" / f"cpu-{kind}.csv"


def run(options: argparse.Namespace, allocator: str) -> None:
    """All cases in this process."""
    import torch

    from benchmarks import cases, measure

    measure.warm_library_pages()
    health = measure.log1p_ns()
    print(f"{allocator}: log1p {health:.2f} ns per element", flush=True)
    if health > measure.healthy_log1p(processor()):
        sys.exit("torch's log1p is slow in this process: all peers would suffer. Run again.")
    common = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "cpu": processor(),
        "threads": torch.get_num_threads(),
        "log1p_ns": round(health, 2),
        "allocator": allocator,
    }
    with options.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        for case in cases.CASES:
            shape = "x".join(map(str, case.shape))
            if allocator not in case.allocators or options.only not in (None, shape):
                continue
            torch._dynamo.reset()
            names = cases.providers(case)
            runs = {name: cases.setup(case, name).run for name in names}
            errors = {name: cases.largest_error(case, name) for name in names}
            found = measure.measure(runs | measure.floors(case), options.seconds)
            ours = found["refocal"].runtime_ms
            for name, stats in found.items():
                bound = found.get("stream")
                share = bound.runtime_ms / stats.runtime_ms if bound else ""
                writer.writerow(
                    {
                        **common,
                        "link": case.link,
                        "shape": shape,
                        "dtype": case.dtype,
                        "gamma": case.gamma,
                        "mode": case.mode,
                        "provider": name,
                        "runtime_ms": f"{stats.runtime_ms:.5g}",
                        "spread_ms": f"{stats.spread_ms:.3g}",
                        "rounds": stats.rounds,
                        "times_refocal": f"{stats.runtime_ms / ours:.3g}",
                        "roofline_share": share and f"{share:.3g}",
                        "max_relative_error": f"{errors[name]:.3g}" if name in errors else "",
                    }
                )
            file.flush()
            ratios = ", ".join(f"{n} {s.runtime_ms / ours:.2f}" for n, s in found.items())
            print(
                f"{case.link} {shape} {case.dtype} gamma {case.gamma} {case.mode}: "
                f"{ours:.4g} ms; times that: {ratios}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="per case")
    parser.add_argument("--only", help="one shape, as 1000 or 8192x1000")
    parser.add_argument("--out", type=Path, default=results())
    parser.add_argument("--allocators", nargs="+", default=["warm", "default"])
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run(options, options.inside)
        return
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(",".join(FIELDS) + "\n")
    for allocator in options.allocators:
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:], "--inside", allocator]
        environment = {**os.environ, **(WARM if allocator == "warm" else {})}
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
