"""The README's performance table and the plot, from the CSV files alone.

python -m benchmarks.table            # prints the table
python -m benchmarks.table --write    # puts it into README.md, draws docs/img/speed.svg
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
README = ROOT / "README.md"
PLOT = ROOT / "docs" / "img" / "speed.svg"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"

Row = dict[str, str]
# title, and what picks the row
LINES: tuple[tuple[str, dict[str, str]], ...] = (
    ("sigmoid, 1e3 logits", {"link": "sigmoid", "shape": "1000"}),
    ("sigmoid, 1e6", {"link": "sigmoid", "shape": "1000000"}),
    ("sigmoid, 1e7", {"link": "sigmoid", "shape": "10000000"}),
    ("sigmoid, 1e7, gamma 1.5", {"link": "sigmoid", "shape": "10000000", "gamma": "1.5"}),
    ("sigmoid, 1e7, bfloat16", {"link": "sigmoid", "shape": "10000000", "dtype": "bfloat16"}),
    ("softmax, 65,536 × 10", {"link": "softmax", "shape": "65536x10"}),
    ("softmax, 65,536 × 100", {"link": "softmax", "shape": "65536x100"}),
    ("softmax, 8,192 × 1,000", {"link": "softmax", "shape": "8192x1000"}),
    ("softmax, 1,024 × 32,000", {"link": "softmax", "shape": "1024x32000"}),
)
USUAL = {"dtype": "float32", "gamma": "2.0", "mode": "full", "allocator": "warm"}
# column, and the provider it takes from each link
COLUMNS = (
    ("usual focal loss", {"sigmoid": "torchvision", "softmax": "recipe"}),
    ("the same, compiled", {"sigmoid": "torchvision compiled", "softmax": "recipe compiled"}),
    ("plain cross-entropy", {"sigmoid": "bce", "softmax": "cross_entropy"}),
)


def rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pick(found: list[Row], **wanted: str) -> Row | None:
    """The one row that has these values."""
    for row in found:
        if all(row[key] == value for key, value in wanted.items()):
            return row
    return None


def times(row: Row | None) -> str:
    return f"{float(row['times_refocal']):.1f}×" if row else "–"


def table(found: list[Row]) -> str:
    """Markdown: what others take, as multiples of refocal's time."""
    header = ["forward + backward, mean", "refocal", *(name for name, _ in COLUMNS)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for title, picked in LINES:
        wanted = {**USUAL, **picked}
        ours = pick(found, provider="refocal", **wanted)
        if ours is None:
            continue
        peers = [
            times(pick(found, provider=by_link[picked["link"]], **wanted)) for _, by_link in COLUMNS
        ]
        lines.append([title, f"{float(ours['runtime_ms']):.3g} ms", *peers])
    body = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    first = found[0]
    note = (
        f"Medians of interleaved runs, {first['threads']} threads, {first['cpu']}, "
        f"torch {first['torch'].split('+')[0]}, {first['date']}; other columns in multiples of "
        "refocal's time. The usual focal loss is torchvision's for sigmoid, and cross-entropy with "
        "a factor for softmax. The allocator keeps its pages. `make bench` measures it; "
        "`benchmarks/results/cpu.csv` has every row with its spread and its error, and plain "
        "malloc beside it."
    )
    return f"{body}\n\n{note}"


def memory_note(found: list[Row]) -> str:
    parts = [
        f"{row['provider']} {float(row['peak_bytes_per_element']):.0f}"
        for row in found
        if row["provider"] in ("refocal", "torchvision", "bce")
    ]
    return (
        "Bytes per float32 element at peak beyond the inputs, 4 of them the gradient itself: "
        + ", ".join(parts)
        + "."
    )


def section() -> str:
    """What stands between the markers of the README."""
    parts = [table(rows(RESULTS / "cpu.csv"))]
    if (RESULTS / "memory.csv").exists():
        parts.append(memory_note(rows(RESULTS / "memory.csv")))
    return "\n\n".join(parts)


def between(text: str) -> str:
    """What stands between the markers of a text."""
    return text.split(BEGIN)[1].split(END)[0].strip()


def replaced(text: str, new: str) -> str:
    """A text with something else between its markers."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.split(END)[1]}"


def draw(found: list[Row], path: Path) -> None:
    """Time per logit against size, sigmoid, forward and backward."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "refocal"
    from matplotlib import pyplot as plt

    curves: dict[str, list[tuple[float, float]]] = {}
    for row in found:
        chosen: dict[str, Any] = {**USUAL, "link": "sigmoid"}
        if row["provider"] != "stream" and all(row[key] == chosen[key] for key in chosen):
            size = float(row["shape"])
            point = (size, 1e6 * float(row["runtime_ms"]) / size)
            curves.setdefault(row["provider"], []).append(point)
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, points in curves.items():
        ours = name == "refocal"
        axes.plot(
            *zip(*sorted(points), strict=True),
            marker="o",
            label=name,
            linewidth=2.5 if ours else 1.2,
            color="black" if ours else None,
            markersize=4,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="logits",
        ylabel="ns per logit, forward + backward",
        title="sigmoid focal loss, float32, mean",
    )
    top = max(math.log10(max(y for _, y in points)) for points in curves.values())
    axes.set_ylim(top=10 ** (top + 0.2))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    if not parser.parse_args().write:
        print(section())
        return
    README.write_text(replaced(README.read_text(), section()))
    draw(rows(RESULTS / "cpu.csv"), PLOT)


if __name__ == "__main__":
    main()
