"""``refocal compare digits``: the dense detection task and its ablation."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from refocal.commands import refuse

_SEEDS, _STEPS = 5, 300
_QUICK_SEEDS, _QUICK_STEPS = 2, 30


def run(options: argparse.Namespace) -> int:
    """Train the detector under every loss with several seeds, print and keep the table."""
    from refocal import comparison, digits
    from refocal.comparison.folder import RUN, write_files
    from refocal.comparison.progress import Progress
    from refocal.comparison.results import SCHEMA

    seeds = options.repeats or (_QUICK_SEEDS if options.quick else _SEEDS)
    steps = _QUICK_STEPS if options.quick else _STEPS
    started = time.monotonic()
    progress = Progress(seeds * len(digits.SETTINGS))
    try:
        with comparison.workplace(options.out, resume=options.resume) as folder:
            try:
                results = digits.run(
                    seeds=range(options.seed, options.seed + seeds),
                    steps=steps,
                    progress=lambda done, total: progress.finished("dense digits"),
                )
            finally:
                progress.close()
            found: dict[str, Any] = {"schema": f"{SCHEMA}-digits", **results.as_dict()}
            del found["seconds"]  # the same seeds give the same file
            run = {"schema": SCHEMA, "finished": time.strftime("%Y-%m-%dT%H:%M:%S")}
            run["seconds"] = f"{time.monotonic() - started:.1f}"
            files = {"results.json": found, RUN: run}
            write_files(folder, {n: json.dumps(d, indent=1) + "\n" for n, d in files.items()})
    except comparison.CompareError as error:
        return refuse("compare", error)
    print("One positive in 8,000; average precision over all pixels and classes, with 95 %")
    print(
        f"intervals over {seeds} seeds; differences are from cross-entropy with the same start.\n"
    )
    print(results.table())
    return 0
