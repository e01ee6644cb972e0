"""Everything that one short hour with a GPU should teach, in one call of at most 8 minutes.

    python -m benchmarks.gpu                        # writes benchmarks/results/gpu.json
    python -m benchmarks.gpu --choose FILE.json     # what its sweep argues for; needs no GPU
    TRITON_INTERPRET=1 python -m benchmarks.gpu --tiny --out /tmp/x.json     # a rehearsal

Needs torch and Triton alone, no network and no installation. Seven stages, each in a process of its
own and with its own share of the time, so that no failure takes the others along; what a stage has
found is written when it ends, and kept when it does not.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

RESULTS = Path(__file__).parent / "results" / "gpu.json"
# name, and seconds of the whole that it may take
STAGES = {
    "smoke": 40,
    "compile": 80,
    "correctness": 100,
    "ceilings": 20,
    "defaults": 90,
    "sweep": 90,
    "linear": 60,
}
WHOLE = sum(STAGES.values())  # 8 minutes


def run_stage(name: str, options: argparse.Namespace, seconds: float) -> dict:
    """One stage in its process: what it printed before it ended, and how it ended."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--inside", name]
    command += ["--tiny"] if options.tiny else []
    root = Path(__file__).parent.parent
    path = os.pathsep.join([str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")])
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, cwd=root, env={**os.environ, "PYTHONPATH": path}
        )
        try:
            status: int | str = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = f"stopped after {seconds:.0f} s"
        out.seek(0)
        err.seek(0)
        rows, last = [], err.read()[-2000:]
        for line in out:
            try:
                rows.append(json.loads(line))
            except ValueError:  # a line cut short, or somebody else's
                continue
    return {
        "stage": name,
        "status": status,
        "seconds": round(time.monotonic() - begun, 1),
        "rows": rows,
        **({} if status == 0 else {"error": last}),
    }


def everything(options: argparse.Namespace) -> dict:
    """All stages; the file is written after each."""
    report: dict = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "tiny": options.tiny,
        "stages": [],
    }
    end = time.monotonic() + options.seconds
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in options.stages:
        # a rehearsal is interpreted, and whatever else the machine does is none of its business
        left = options.seconds if options.tiny else end - time.monotonic()
        share = left if options.tiny else min(left, STAGES[name] * options.seconds / WHOLE)
        if share < 1:
            report["stages"].append({"stage": name, "status": "no time left", "rows": []})
        else:
            report["stages"].append(run_stage(name, options, share))
        options.out.write_text(json.dumps(report, indent=1) + "\n")
        print(f"{name}: {report['stages'][-1]['status']}", file=sys.stderr, flush=True)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=WHOLE, help="of all stages together")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument(
        "--choose", type=Path, metavar="FILE.json", help="read a sweep, run nothing"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes for Triton's interpreter")
    parser.add_argument("--inside", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.choose:
        from benchmarks import gpu_text

        print(gpu_text.choices(json.loads(options.choose.read_text())))
        return 0
    if options.inside:
        from benchmarks import gpu_stages

        gpu_stages.run(options.inside, tiny=options.tiny)
        return 0
    report = everything(options)
    from benchmarks import gpu_text

    print(gpu_text.text(report))
    return 0 if all(one["status"] == 0 for one in report["stages"]) else 1


if __name__ == "__main__":
    sys.exit(main())
