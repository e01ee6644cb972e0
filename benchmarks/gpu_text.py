"""What `python -m benchmarks.gpu` found, for people, and which choices its sweep argues for."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

# a gain below it is noise, or not worth a rule
WORTHWHILE = 1.03


def rows_of(report: dict, stage: str) -> list[dict]:
    return [row for one in report["stages"] if one["stage"] == stage for row in one["rows"]]


def text(report: dict) -> str:
    """The whole report."""
    return "\n".join(lines(report))


def lines(report: dict) -> Iterator[str]:
    for row in rows_of(report, "smoke"):
        if row["name"] == "versions":
            yield f"{row['device']}, torch {row['torch']}, Triton {row['triton']}"
    for stage in report["stages"]:
        rows = stage["rows"]
        failed = [row for row in rows if row.get("passed") is False or "error" in row]
        skipped = sum(row.get("passed", True) is None for row in rows)
        yield (
            f"{stage['stage']}: {stage['status'] or 'done'} in {stage.get('seconds', 0)} s, "
            f"{len(rows)} results, {len(failed)} failed, {skipped} not run"
        )
        for row in failed:
            known = {key: value for key, value in row.items() if key not in ("launches", "passed")}
            yield "  FAILED " + ", ".join(f"{key} {value}" for key, value in known.items())
        if "error" in stage:
            yield "  " + stage["error"].strip().replace("\n", "\n  ")
    compiled = [one for row in rows_of(report, "compile") for one in row.get("launches", ())]
    registers = [one["registers"] for one in compiled if one["registers"]]
    if registers:
        yield f"\nat most {max(registers)} registers a thread in {len(compiled)} launches"
    yield "\nceilings"
    for row in rows_of(report, "ceilings"):
        if "device_ms" in row:
            speed = f"{row['gb_per_s']:8.0f} GB/s" if "gb_per_s" in row else ""
            yield f"  {row['name']:22} {row.get('dtype', ''):9} {row['device_ms']:9.4f} ms {speed}"
    yield "\na training step, default choices"
    for row in rows_of(report, "defaults"):
        if "device_ms" in row:
            shape = "x".join(map(str, row["shape"]))
            yield (
                f"  {row['name']:8} {shape:16} {row['targets']:6} {row['dtype']:9} "
                f"{row['provider']:16} {row['device_ms']:9.4f} ms, host {row['host_ms']:7.4f} ms, "
                f"{row['launches'] or '-':>2} launches, {row['gb_per_s']:6.0f} GB/s, "
                f"{row['share_of_ceiling']:.0%}"
            )
    yield "\nlinear"
    for row in rows_of(report, "linear"):
        if "runtime_ms" in row:
            shape = "x".join(map(str, row["shape"]))
            yield (
                f"  {shape:18} {row['provider']:26} {row['runtime_ms']:9.2f} ms "
                f"{row['peak_mib']:9.0f} MiB"
            )
    yield ""
    yield choices(report)


def choices(report: dict) -> str:
    """What to set in `refocal.kernels.gpu`, by family and dtype, and where it would help."""
    times: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(dict)
    for row in rows_of(report, "sweep"):
        if "device_ms" in row:
            shape = "x".join(map(str, row["shape"]))
            key = ", ".join(f"{k}={v!r}" for k, v in row["choice"].items()) or "default"
            times[row["family"], row["dtype"]].setdefault(key, {})[shape] = row["device_ms"]
    found = ["what the sweep argues for"]
    for (family, dtype), by_choice in sorted(times.items()):
        base = by_choice.get("default", {})
        gains = {}
        for choice, by_shape in by_choice.items():
            shared = [shape for shape in by_shape if shape in base]
            # a choice must have been tried wherever the default was, or it would pick its cases
            if choice != "default" and shared and len(shared) == len(base):
                each = {shape: base[shape] / by_shape[shape] for shape in shared}
                mean = math.exp(sum(math.log(value) for value in each.values()) / len(each))
                gains[choice] = mean, each
        best = max(gains, key=lambda choice: gains[choice][0], default=None)
        if best is None or gains[best][0] < WORTHWHILE:
            found.append(f"  {family}, {dtype}: keep the default")
        else:
            mean, each = gains[best]
            detail = ", ".join(f"{shape} {gain:.2f} x" for shape, gain in each.items())
            found.append(f"  {family}, {dtype}: {best}, {mean:.2f} x as fast ({detail})")
        for shape in base:
            single = max(gains, key=lambda choice: gains[choice][1][shape], default=None)
            if single not in (None, best) and gains[single][1][shape] > WORTHWHILE:
                found.append(f"    of {shape} alone: {single}, {gains[single][1][shape]:.2f} x")
    return "\n".join(found)
