"""Long-tailed classes: ten digits, of which the first has 120 examples and the last has 3.

python examples/long_tailed.py                  the table
python examples/long_tailed.py --plot FOLDER    and recall by class
"""

from __future__ import annotations

# --8<-- [start:data]
import numpy as np
import torch
from scipy.stats import t as student
from sklearn.datasets import load_digits
from torch import nn

from refocal import softmax_focal_loss

COUNTS = [round(120 * 40 ** (-k / 9)) for k in range(10)]  # 120, 80, 53, ... 3


def long_tailed(seed):
    """Training digits in the counts above, and 50 test digits of each class."""
    digits = load_digits()
    random = np.random.default_rng(seed)
    train, test = [], []
    for label, count in enumerate(COUNTS):
        members = random.permutation(np.flatnonzero(digits.target == label))
        test.append(members[:50])
        train.append(members[50 : 50 + count])
    train, test = np.concatenate(train), np.concatenate(test)
    pixels = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    return pixels[train], labels[train], pixels[test], labels[test]


# --8<-- [end:data]


# --8<-- [start:losses]
counts = torch.tensor(COUNTS, dtype=torch.float32)
effective = (1 - 0.99) / (1 - 0.99**counts)  # weights by the effective number of examples
weights = effective / effective.mean()

LOSSES = {
    "cross-entropy": {"gamma": 0.0},
    "class weights": {"gamma": 0.0, "alpha": weights},
    "focal, gamma 2": {"gamma": 2.0},
    "focal, gamma 2, and weights": {"gamma": 2.0, "alpha": weights},
}
# --8<-- [end:losses]


# --8<-- [start:train]
STEPS = 150


def recall_by_class(data, seed, keywords):
    """Train on the long tail; the share of each class' test digits that are named right."""
    pixels, labels, test_pixels, test_labels = data
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        softmax_focal_loss(network(pixels), labels, **keywords).backward()
        optimizer.step()
    with torch.no_grad():
        right = network(test_pixels).argmax(1) == test_labels
    return torch.stack([right[test_labels == k].float().mean() for k in range(10)])


# --8<-- [end:train]


SEEDS = 5
T = student.ppf(0.975, SEEDS - 1)


def interval(values, sign=""):
    return f"{values.mean():{sign}.3f} ± {T * values.std() / SEEDS**0.5:.3f}"


def main(plot=None):
    recalls = {name: [] for name in LOSSES}
    for seed in range(SEEDS):
        data = long_tailed(seed)
        for name, keywords in LOSSES.items():
            recalls[name].append(recall_by_class(data, seed, keywords))
    recalls = {name: torch.stack(rows) for name, rows in recalls.items()}
    print(f"{'recall':28}{'five common':>11}{'five rare':>11}{'all':>15}{'- cross-entropy':>18}")
    base = recalls["cross-entropy"].mean(1)
    for name, recall in recalls.items():
        common, rare = recall[:, :5].mean(), recall[:, 5:].mean()
        difference = "" if name == "cross-entropy" else interval(recall.mean(1) - base, "+")
        line = f"{name:28}{common:11.3f}{rare:11.3f}{interval(recall.mean(1)):>15}{difference:>18}"
        print(line.rstrip())
    if plot is not None:
        draw(recalls, plot)


def draw(recalls, folder):
    from refocal.comparison.drawing import COLOURS, axes, standalone, style, to_svg

    with style():
        figure, (plot,) = axes(8.0, 3.4)
        for k, (name, recall) in enumerate(recalls.items()):
            places = np.arange(10) + 0.2 * (k - 1.5)
            plot.bar(places, recall.mean(0).numpy(), width=0.18, color=COLOURS[k], label=name)
        plot.set_xticks(range(10), [f"{k}\n{count}" for k, count in enumerate(COUNTS)])
        plot.set(
            xlabel="digit, and how many of it were in training", ylabel="recall on test digits"
        )
        plot.set_ylim(0, 1)
        figure.legend(loc="outside upper center", ncols=4)
        svg = standalone(to_svg(figure, name="long-tailed", title="Recall by class and loss"))
        (folder / "long-tailed.svg").write_text(svg + "\n")


if __name__ == "__main__":
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    main(parser.parse_args().plot)
