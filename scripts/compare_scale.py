"""What `refocal compare` takes on a large table: time, memory, and the time it foretold.

    python scripts/compare_scale.py                      # 1,000,000 rows, 50 columns, two models
    python scripts/compare_scale.py --rows 100000 --out /tmp/scale.md

Writes docs/tables/scale.md. The table is made here: 40 numbers and 10 categories, 2 % positive, of
which ten columns tell something. Each model runs in a process of its own, whose peak memory the
system reports.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

TABLE = Path("docs/tables/scale.md")
NUMBERS, CATEGORIES, TELLING = 40, 10, 10
POSITIVE = 0.02
FORETOLD = re.compile(r"trainings on .* rows or a part of them: about ([^(]*) \(")


def made_table(rows: int) -> pd.DataFrame:
    """A rare class that ten columns of fifty tell something of."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(rows, NUMBERS)).astype(np.float32)
    frame = pd.DataFrame(numbers, columns=[f"number {k}" for k in range(NUMBERS)])
    for k in range(CATEGORIES):
        drawn = generator.integers(0, 3 + k, rows)
        frame[f"category {k}"] = pd.Categorical.from_codes(drawn, [f"c{j}" for j in range(3 + k)])
    score = numbers[:, :TELLING].sum(1) + 2 * generator.normal(size=rows)
    frame["label"] = (score > np.quantile(score, 1 - POSITIVE)).astype(int)
    return frame


def run(path: Path, model: str, out: Path) -> dict[str, str]:
    """One comparison; its figures as text."""
    command = [sys.executable, "-m", "refocal", "compare", str(path), "--target", "label"]
    started = time.perf_counter()
    # a process between, so that the peak is of this run and not of the largest until now
    watch = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
        "print('peak', peak, file=sys.stderr); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch, *command, "--model", model, "--out", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    foretold = FORETOLD.search(done.stderr)
    peak = int(done.stderr.rsplit("peak ", 1)[1])
    return {
        "model": model,
        "trainings foretold": foretold.group(1) if foretold else "–",
        "whole run": f"{seconds / 60:.1f} min",
        "peak memory": f"{peak / 2**20:.1f} GiB",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--models", default="mlp,lightgbm")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        frame = made_table(options.rows)
        frame.to_parquet(path)
        size = f"{options.rows:,} × {frame.shape[1] - 1}"
        del frame
        rows = []
        for model in options.models.split(","):
            rows.append({"rows × columns": size, **run(path, model, Path(folder) / model)})
            print(rows[-1], flush=True)
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(row.values()) + " |" for row in rows]
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
