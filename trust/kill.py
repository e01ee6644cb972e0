"""`refocal compare` killed at random moments, and resumed: ``python -m trust.kill --times 20``.

Every resumed run must end with the results of one that nobody disturbed, byte for byte, and train
nothing again that was on disk when the signal came.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from refocal.comparison.progress import Progress

TABLE = Path("docs/tables/kill.md")
ROWS = 3000


def write_table(path: Path) -> None:
    """A table with a rare class that two of its columns tell something of."""
    draw = random.Random(0)
    with path.open("w") as file:
        print("one,two,place,label", file=file)
        for _ in range(ROWS):
            one, two = draw.gauss(0, 1), draw.gauss(0, 1)
            label = int(one + two + draw.gauss(0, 1) > 3)
            print(f"{one:.3f},{two:.3f},{draw.choice('abc')},{label}", file=file)


def start(table: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "refocal", "compare", str(table), "--target", "label"]
    command += ["--quick", "--repeats", "2", "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fits(out: Path) -> dict[str, int]:
    """Finished trainings on disk, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "fits").glob("*.npz")}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        table = here / "table.csv"
        write_table(table)
        began = time.monotonic()
        assert start(table, here / "whole").wait() == 0
        length = time.monotonic() - began
        whole = (here / "whole/results.json").read_bytes()
        total = len(fits(here / "whole"))
        progress = Progress(options.times)
        kept = []
        for number in range(options.times):
            out = here / f"killed{number}"
            process = start(table, out)
            time.sleep(draw.uniform(0, length))
            process.send_signal(signal.SIGKILL)
            process.wait()
            before = fits(out)
            kept.append(len(before))
            assert start(table, out, "--resume").wait() == 0
            after = fits(out)
            assert all(after[name] == written for name, written in before.items())
            assert (out / "results.json").read_bytes() == whole
            progress.finished(f"{len(before)} of {total} fits were kept")
    options.table.parent.mkdir(parents=True, exist_ok=True)
    options.table.write_text(
        "| killed | results equal, byte for byte | fits on disk at the signal | trained again |\n"
        "|---|---|---|---|\n"
        f"| {options.times} times | {len(kept)} | {min(kept)} to {max(kept)} of {total} | 0 |\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
