"""Boosted trees: focal loss in XGBoost, LightGBM and CatBoost, and the probabilities of each.

python examples/boosters.py                  the table
python examples/boosters.py --plot FOLDER    and the reliability of the probabilities
"""

from __future__ import annotations

# --8<-- [start:data]
import numpy as np
from sklearn.metrics import average_precision_score, log_loss

from refocal.boosting import FocalCatBoostClassifier, FocalLGBMClassifier, FocalXGBClassifier
from refocal.data import flights

EVERY = 4  # every fourth day of the year, for speed


def cancelled_flights():
    """Flights out of New York and whether they were cancelled; whole days are held out."""
    columns = flights()
    day, target = columns.pop("day_of_year"), columns.pop("cancelled").astype(int)
    numbers = [np.unique(value, return_inverse=True)[1] if value.dtype.kind in "US" else value
               for value in columns.values()]  # fmt: skip
    table = np.column_stack(numbers).astype(np.float32)
    test = day % (3 * EVERY) == 0
    train = (day % EVERY == 0) & ~test
    return table[train], target[train], table[test], target[test]


# --8<-- [end:data]

# --8<-- [start:models]
ROUNDS = 100
MODELS = {
    "XGBoost": lambda **loss: FocalXGBClassifier(
        **loss, n_estimators=ROUNDS, learning_rate=0.1, n_jobs=2
    ),
    "LightGBM": lambda **loss: FocalLGBMClassifier(
        **loss, n_estimators=ROUNDS, learning_rate=0.1, n_jobs=2, verbose=-1
    ),
    "CatBoost": lambda **loss: FocalCatBoostClassifier(
        **loss, n_estimators=ROUNDS, learning_rate=0.1, thread_count=2, verbose=False,
        allow_writing_files=False,
    ),
}  # fmt: skip
LOSSES = {
    "focal, gamma 0.5": {"alpha": 0.25, "gamma": 0.5},
    "focal, gamma 2": {"alpha": 0.25, "gamma": 2.0},
}
# --8<-- [end:models]


def sigmoid(score):
    return 1 / (1 + np.exp(-score))


# --8<-- [start:measure]
def readings(model, table):
    """Two readings of a fitted model's scores: the usual sigmoid, and the posterior."""
    return sigmoid(model.logits(table)), model.predict_proba(table)[:, 1]


# --8<-- [end:measure]


def main(plot=None):
    table, target, test_table, test_target = cancelled_flights()
    print(f"{len(target):,} flights to train on, {len(test_target):,} to test;", end=" ")
    print(f"cancelled in test: {test_target.mean():.4f}\n")
    print(f"{'':28}{'average':>11}{'mean probability':>20}{'log loss':>20}")
    print(f"{'':28}{'precision':>11}" + 2 * f"{'sigmoid':>10}{'posterior':>10}")
    curves = {}
    for host, make in MODELS.items():
        for name, loss in LOSSES.items():
            model = make(**loss).fit(table, target)
            both = curves[f"{host}, {name}"] = readings(model, test_table)
            means = [p.mean() for p in both]
            losses = [log_loss(test_target, p) for p in both]
            precision = average_precision_score(test_target, both[1])
            line = "".join(f"{one:10.4f}" for one in (*means, *losses))
            print(f"{host + ', ' + name:28}{precision:11.3f}{line}")
    if plot is not None:
        draw(curves, test_target, plot)


def draw(curves, truth, folder):
    from refocal.comparison.drawing import COLOURS, axes, standalone, style, to_svg

    with style():
        figure, panels = axes(8.0, 3.9, columns=2)
        for k, (name, both) in enumerate(curves.items()):
            for panel, probability in zip(panels, both, strict=True):
                parts = np.array_split(np.argsort(probability), 20)
                told = [probability[part].mean() for part in parts]
                true = [truth[part].mean() for part in parts]
                panel.plot(told, true, "o-", markersize=3, color=COLOURS[k], label=name)
        for panel, title in zip(panels, ("sigmoid", "predict_proba"), strict=True):
            panel.plot([0, 0.4], [0, 0.4], color="0.6", linewidth=1)
            panel.set(title=title, xlabel="probability given", ylabel="share that was cancelled")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        svg = standalone(to_svg(figure, name="boosters", title="Reliability of two readings"))
        (folder / "boosters.svg").write_text(svg + "\n")


if __name__ == "__main__":
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    main(parser.parse_args().plot)
