"""Dense digits: cross-entropy, alpha and focal loss where one answer in 8,000 is positive.

python -m examples.dense_digits                     the table: 10 settings, 5 seeds
python -m examples.dense_digits --out FOLDER        and results.json; stopped, it goes on there
python -m examples.dense_digits --plot FOLDER       and the plots of the documents
python -m examples.dense_digits --rates             how the learning rates were chosen
python -m examples.dense_digits --steps 1200        longer training
python -m examples.dense_digits --quick             2 seeds, 30 steps
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from examples.dense_digits.ablation import SETTINGS, Ablation, run
from examples.dense_digits.scenes import scenes
from refocal.comparison.drawing import COLOURS, DASHES, axes, standalone, style, to_svg
from refocal.comparison.progress import Progress
from refocal.files import write_text

RATES = (0.03, 0.1, 0.3, 1.0)
TUNING_SEED = 100  # none of the seeds that are reported


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.dense_digits", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--plot", type=Path, metavar="FOLDER")
    parser.add_argument("--rates", action="store_true")
    options = parser.parse_args(arguments)
    seeds = options.seeds or (2 if options.quick else 5)
    steps = options.steps or (30 if options.quick else 300)
    if options.rates:
        compare_rates(steps)
        return
    progress = Progress(seeds * len(SETTINGS))
    try:
        results = run(
            seeds=seeds,
            steps=steps,
            kept=None if options.out is None else options.out / "fits.json",
            progress=lambda done, total: progress.finished("dense digits"),
        )
    finally:
        progress.close()
    print(results.table())
    if options.out is not None:
        write_text(options.out / "results.json", json.dumps(results.as_dict(), indent=1) + "\n")
    if options.plot is not None:
        with style():
            write(draw(results), options.plot / "dense-digits.svg", "Average precision by step")
            write(draw_scenes(), options.plot / "dense-digits-scenes.svg", "Four scenes")


def compare_rates(steps: int) -> None:
    """Average precision of every setting at several learning rates, on a seed of its own."""
    reached = [
        run(
            [dataclasses.replace(one, learning_rate=rate) for one in SETTINGS],
            seeds=[TUNING_SEED],
            steps=steps,
        ).outcomes
        for rate in RATES
    ]
    print(f"{'peak learning rate':<42}" + "".join(f"{rate:>8g}" for rate in RATES))
    for setting, row in zip(SETTINGS, zip(*reached, strict=True), strict=True):
        values = "".join(f"{one.final[0]:8.3f}" for one in row)
        print(f"{setting.loss:<28}{setting.start:<14}{values}")


def draw(results: Ablation) -> Figure:
    """Average precision on the way, mean and range over the seeds: one panel per first bias."""
    figure, panels = axes(9.0, 3.9, columns=3)
    losses = list(dict.fromkeys(outcome.setting.loss for outcome in results.outcomes))
    titles = {"zero": "no prior bias", "one percent": "bias of 1 %", "base rate": "base rate"}
    for panel, (start, title) in zip(panels, titles.items(), strict=True):
        for outcome in results.outcomes:
            if outcome.setting.start == start:
                k = losses.index(outcome.setting.loss)
                curves = np.array(outcome.average_precision)
                panel.plot(
                    results.checks,
                    curves.mean(0),
                    color=COLOURS[k],
                    linestyle=DASHES[k],
                    label=outcome.setting.loss,
                )
                panel.fill_between(
                    results.checks, curves.min(0), curves.max(0), color=COLOURS[k], alpha=0.15
                )
        panel.set(title=title, xlabel="training step", ylim=(0, 0.9))
    panels[0].set_ylabel("average precision")
    handles = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def draw_scenes() -> Figure:
    """Four scenes with a frame around each digit."""
    drawn = scenes(4, seed=0, part="test")
    figure, panels = axes(9.0, 2.5, columns=4)
    for panel, image, target in zip(panels, drawn.images, drawn.targets, strict=True):
        panel.imshow(image[0], cmap="gray_r", vmin=-0.2, vmax=1.2)
        for label, row, column in np.argwhere(target):
            corner = (column - 4.5, row - 4.5)
            panel.add_patch(Rectangle(corner, 8, 8, fill=False, edgecolor=COLOURS[1]))
            panel.annotate(str(label), (column + 4, row - 1), color=COLOURS[1], fontweight="bold")
        panel.set(xticks=[], yticks=[])
        panel.grid(visible=False)
    return figure


def write(figure: Figure, path: Path, title: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(standalone(to_svg(figure, name=path.stem, title=title)) + "\n")


if __name__ == "__main__":
    main()
