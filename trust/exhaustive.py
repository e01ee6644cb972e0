"""All 2**32 float32 logits: ``make exhaustive``. Stop it at any time; it goes on where it was.

Every part of the range that is done is a line of the file of parts. When all of them are, the table
for the documentation is written from it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from refocal.comparison.progress import Progress
from trust.float32 import Key, Worst, logits_of, sweep

GAMMAS = (0.5, 1.0, 1.5, 2.0, 5.0)
IMPLEMENTATIONS = ("eager", "cpu")
PARTS = 512
PART = 2**32 // PARTS
PIECE = 2**16  # logits at a time, so that doubles stay in the cache

TABLE = Path("docs/tables/float32.md")
STATE = Path("build/exhaustive.jsonl")


def part(number: int) -> tuple[int, dict[Key, Worst]]:
    """The worst errors of one part of the range."""
    torch.set_num_threads(1)
    worst: dict[Key, Worst] = {}
    for start in range(number * PART, (number + 1) * PART, PIECE):
        logits = logits_of(torch.arange(start, start + PIECE))
        if len(logits):
            for key, found in sweep(logits, IMPLEMENTATIONS, GAMMAS).items():
                worst[key] = worst.get(key, Worst()).joined(found)
    return number, worst


def read(state: Path) -> dict[int, dict[Key, Worst]]:
    """The parts that earlier runs have finished; a line cut off by a kill is done again."""
    done = {}
    for line in state.read_text().splitlines() if state.exists() else ():
        try:
            number, rows = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[number] = {Key(*key): Worst(*worst) for key, worst in rows}
    return done


def run(state: Path) -> dict[int, dict[Key, Worst]]:
    """Does every part that is not done, one process per core."""
    done = read(state)
    left = [number for number in range(PARTS) if number not in done]
    if not left:
        return done
    state.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(len(left))
    with state.open("a") as file, multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for number, worst in pool.imap_unordered(part, left):
            done[number] = worst
            file.write(json.dumps([number, list(worst.items())]) + "\n")
            file.flush()
            progress.finished(f"part {number}")
    return done


def rows(done: dict[int, dict[Key, Worst]]) -> Iterator[str]:
    """The table, in Markdown."""
    total: dict[Key, Worst] = {}
    for worst in done.values():
        for key, found in worst.items():
            total[key] = total.get(key, Worst()).joined(found)
    yield "| implementation | gamma | | largest error, ulp | at logit | beyond 1 ulp | NaN or inf |"
    yield "|---|---|---|---|---|---|---|"
    for key, worst in sorted(total.items()):
        yield (
            f"| {key.implementation} | {key.gamma:g} | {key.quantity} | {worst.ulp:.2f} | "
            f"{worst.logit!r} | {worst.beyond_one:,} | {worst.wrong} |"
        )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE)
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    done = run(options.state)
    options.table.parent.mkdir(parents=True, exist_ok=True)
    options.table.write_text("\n".join(rows(done)) + "\n")


if __name__ == "__main__":
    main()
