"""The README's performance table and the plot, from the CSV files alone.

python -m benchmarks.table            # prints the table
python -m benchmarks.table --write    # puts it into README.md, draws docs/img/speed.svg
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
README = ROOT / "README.md"
PLOT = ROOT / "docs" / "img" / "speed.svg"
RECORD = ROOT / "docs" / "decisions" / "0002-numba-kernels.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"

Row = dict[str, str]
# title, and what picks the row
LINES: tuple[tuple[str, dict[str, str]], ...] = (
    ("sigmoid, 1e3 logits", {"link": "sigmoid", "shape": "1000"}),
    ("sigmoid, 1e6", {"link": "sigmoid", "shape": "1000000"}),
    ("sigmoid, 1e7", {"link": "sigmoid", "shape": "10000000"}),
    ("sigmoid, 1e7, gamma 1.5", {"link": "sigmoid", "shape": "10000000", "gamma": "1.5"}),
    ("sigmoid, 1e7, bfloat16", {"link": "sigmoid", "shape": "10000000", "dtype": "bfloat16"}),
    ("varifocal, 1e6", {"link": "varifocal", "shape": "1000000"}),
    ("Gaussian heatmap, 1e6", {"link": "gaussian", "shape": "1000000"}),
    ("softmax, 65,536 × 10", {"link": "softmax", "shape": "65536x10"}),
    ("softmax, 65,536 × 100", {"link": "softmax", "shape": "65536x100"}),
    ("softmax, 8,192 × 1,000", {"link": "softmax", "shape": "8192x1000"}),
    ("softmax, 1,024 × 32,000", {"link": "softmax", "shape": "1024x32000"}),
    ("segmentation, 2 × 3 × 512 × 512", {"link": "softmax", "shape": "2x3x512x512"}),
    ("segmentation, 2 × 21 × 512 × 512", {"link": "softmax", "shape": "2x21x512x512"}),
)
USUAL = {"dtype": "float32", "gamma": "2.0", "mode": "full", "allocator": "warm"}
# column, and the provider it takes from each link
COLUMNS = (
    (
        "usual focal loss",
        {**dict.fromkeys(("softmax", "varifocal", "gaussian"), "recipe"), "sigmoid": "torchvision"},
    ),
    ("the same, compiled", {"sigmoid": "torchvision compiled", "softmax": "recipe compiled"}),
    (
        "plain cross-entropy",
        {**dict.fromkeys(("sigmoid", "varifocal", "gaussian"), "bce"), "softmax": "cross_entropy"},
    ),
)


def rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def save(path: Path, found: list[dict[str, Any]]) -> None:
    """Writes rows, whose first names the columns."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, found[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def pick(found: list[Row], **wanted: str) -> Row | None:
    """The one row that has these values."""
    for row in found:
        if all(row[key] == value for key, value in wanted.items()):
            return row
    return None


def markdown(lines: list[list[str]]) -> str:
    """A table of cells, whose second line is what stands under the header."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def where_and_when(found: list[Row]) -> str:
    """A column's title: the processor of some results, and their day."""
    return f"{found[0]['cpu']}, {found[0]['date']}"


def times(row: Row | None) -> str:
    return f"{float(row['times_refocal']):.1f}×" if row else "–"


def by_processor() -> list[list[Row]]:
    """The results of each kind of processor, the newest first."""
    found = [rows(path) for path in sorted(RESULTS.glob("cpu-*.csv"))]
    return sorted(found, key=lambda each: each[0]["date"], reverse=True)


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
            times(pick(found, provider=by_link.get(picked["link"], ""), **wanted))
            for _, by_link in COLUMNS
        ]
        lines.append([title, f"{float(ours['runtime_ms']):.3g} ms", *peers])
    first = found[0]
    where = f"{first['cpu']}, {first['threads']} threads, torch {first['torch'].split('+')[0]}"
    return f"{markdown(lines)}\n\n{where}, {first['date']}."


def elsewhere(measured: list[list[Row]]) -> str:
    """Markdown: the last column of the table on each of some other processors."""
    name, by_link = COLUMNS[-1]
    header = [f"{name} on", *map(where_and_when, measured)]
    lines = [header, ["---", *["---:"] * len(measured)]]
    for title, picked in LINES:
        wanted = {**USUAL, **picked, "provider": by_link[picked["link"]]}
        lines.append([title, *(times(pick(found, **wanted)) for found in measured)])
    return markdown(lines)


NOTE = (
    "Medians of interleaved runs; other columns in multiples of refocal's time. The usual focal "
    "loss is torchvision's for sigmoid, and cross-entropy with a factor for softmax. The allocator "
    "keeps its pages. `make bench` measures it; `benchmarks/results/` has every row with its "
    "spread and its error, and plain malloc beside it."
)


def two_digits(row: Row | None) -> str:
    return f"{float(row['times_refocal']):.2f}×" if row else "–"


def share_of_roofline(row: Row | None) -> str:
    return f"{float(row['roofline_share']):.0%}" if row else "–"


# provider and how many times refocal's time it was to take at least: warm, default malloc
TARGETS: tuple[tuple[dict[str, str], tuple[tuple[str, str, float], ...]], ...] = (
    (
        {"link": "sigmoid", "shape": "10000000"},
        (
            *(("torchvision", "warm", 24), ("torchvision compiled", "warm", 5.5)),
            *(("bce", "warm", 5.5), ("torchvision", "default", 55)),
            *(("torchvision compiled", "default", 4.5), ("bce", "default", 9)),
        ),
    ),
    (
        {"link": "sigmoid", "shape": "1000000"},
        (("torchvision", "warm", 12), ("torchvision compiled", "warm", 5.5), ("bce", "warm", 3.3)),
    ),
    ({"link": "sigmoid", "shape": "1000"}, (("torchvision", "warm", 4), ("bce", "warm", 1.1))),
    (
        {"link": "sigmoid", "shape": "10000000", "gamma": "1.5"},
        (("torchvision", "warm", 20), ("torchvision compiled", "warm", 7)),
    ),
    (
        {"link": "sigmoid", "shape": "10000000", "dtype": "bfloat16"},
        (("bce", "warm", 4.5), ("torchvision compiled", "warm", 4.5)),
    ),
    (
        {"link": "sigmoid", "shape": "10000000", "mode": "forward"},
        (("torchvision compiled", "warm", 3.5),),
    ),
    ({"link": "softmax", "shape": "65536x10"}, (("cross_entropy", "warm", 6),)),
    ({"link": "softmax", "shape": "65536x100"}, (("cross_entropy", "warm", 2),)),
    ({"link": "softmax", "shape": "8192x1000"}, (("cross_entropy", "warm", 3),)),
    ({"link": "softmax", "shape": "1024x32000"}, (("cross_entropy", "warm", 2.5),)),
    ({"link": "softmax", "shape": "2x3x512x512"}, (("cross_entropy", "warm", 3),)),
    ({"link": "softmax", "shape": "2x21x512x512"}, (("cross_entropy", "warm", 4),)),
)

# what no loss can undercut: moving its bytes, calling a Function
FLOORS = (
    ({"link": "sigmoid", "shape": "10000000"}, "stream", "warm"),
    ({"link": "sigmoid", "shape": "10000000"}, "fresh stream", "default"),
    ({"link": "sigmoid", "shape": "1000"}, "empty Function", "warm"),
    ({"link": "softmax", "shape": "8192x1000"}, "stream", "warm"),
    ({"link": "softmax", "shape": "1024x32000"}, "stream", "warm"),
)


# what the first call of a process may take, Numba's import included
FIRST_CALLS = {"sigmoid": "1.2 s", "19 typical calls": "8 s"}


def targets(measured: list[list[Row]], first_calls: list[Row]) -> str:
    """Markdown: what was aimed at, and what was measured on each kind of processor."""
    lines = [["case", "against", "allocator", "target"], ["---"] * 3 + ["---:"]]
    lines[0] += map(where_and_when, measured)
    lines[1] += ["---:"] * len(measured)

    def all_of(cell: Callable[[Row | None], str], **wanted: str) -> list[str]:
        return [cell(pick(found, **wanted)) for found in measured]

    for wanted, aims in TARGETS:
        case = {**USUAL, **wanted}
        words = [case["link"], case["shape"].replace("x", " × ")]
        words += [f"gamma {case['gamma']}"] * (case["gamma"] != "2.0")
        words += [case["dtype"]] * (case["dtype"] != "float32")
        words += ["forward alone"] * (case["mode"] == "forward")
        for provider, allocator, aim in aims:
            cells = all_of(times, provider=provider, **{**case, "allocator": allocator})
            lines.append([" ".join(words), provider, allocator, f"{aim:g}×", *cells])
    for allocator, aim in (("warm", 0.8), ("default", 0.7)):
        case = {**USUAL, "link": "sigmoid", "shape": "10000000", "allocator": allocator}
        shares = all_of(share_of_roofline, provider="refocal", **case)
        name = "share of the roofline"
        lines.append(["sigmoid 10000000", name, allocator, f"{aim:.0%}", *shares])
    for wanted, provider, allocator in FLOORS:
        floors = {**USUAL, **wanted, "allocator": allocator}
        title = f"{wanted['link']} {wanted['shape'].replace('x', ' × ')}"
        cells = all_of(two_digits, provider=provider, **floors)
        lines.append([title, f"floor: {provider}", allocator, "–", *cells])
    calls = [["first call of", "target", "compiled", "from disk"], ["---", "---:", "---:", "---:"]]
    for row in first_calls:
        # at most, this one
        seconds = [f"{float(row[way]):.1f} s" for way in ("compiled_s", "cached_s")]
        calls.append([row["case"], FIRST_CALLS.get(row["case"], "2 s"), *seconds])
    return "\n\n".join(map(markdown, (lines, calls)))


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
    newest, *others = by_processor()
    parts = [table(newest), NOTE]
    if others:
        parts.append(elsewhere(others))
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
    floors = {name for _, name, _ in FLOORS}
    for row in found:
        chosen: dict[str, Any] = {**USUAL, "link": "sigmoid"}
        if row["provider"] not in floors and all(row[key] == chosen[key] for key in chosen):
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
    measured = by_processor()
    README.write_text(replaced(README.read_text(), section()))
    first_calls = rows(RESULTS / "first_call.csv")
    RECORD.write_text(replaced(RECORD.read_text(), targets(measured, first_calls)))
    draw(measured[0], PLOT)


if __name__ == "__main__":
    main()
