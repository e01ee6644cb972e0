"""Several labels at once: which digits are on this card? A third of the answers is unknown.

python examples/multi_label.py                  the table
python examples/multi_label.py --plot FOLDER    and the reliability of the probabilities
"""

from __future__ import annotations

# --8<-- [start:data]
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from refocal import sigmoid_focal_loss, sigmoid_posterior
from refocal.metrics import average_precision

UNKNOWN = -1


def cards(count, part, unknown):
    """Cards of 2 x 2 places for digits; for each of the ten digits 1, 0 or, if unknown, -1.

    A low digit is common and a high one rare: 0 is on every other card, 9 on one in twenty.
    """
    digits = load_digits()
    mine = (np.arange(len(digits.target)) % 3 == 0) == (part == "test")
    images, labels = digits.images[mine] / 16, digits.target[mine]
    random = np.random.default_rng([0, part == "test"])
    frequency = 0.75 ** np.arange(10)
    weight = frequency[labels] / np.bincount(labels)[labels]
    card = random.normal(0.0, 0.3, (count, 16, 16))
    present = np.zeros((count, 10), np.int64)
    for row in (0, 8):
        for column in (0, 8):
            which = random.choice(len(labels), count, p=weight / weight.sum())
            filled = random.random(count) < 0.6
            card[filled, row : row + 8, column : column + 8] += images[which[filled]]
            present[filled, labels[which[filled]]] = 1
    present[random.random(present.shape) < unknown] = UNKNOWN
    return torch.tensor(card.reshape(count, 256), dtype=torch.float32), torch.tensor(present)


# --8<-- [end:data]


# --8<-- [start:losses]
LOSSES = {
    "cross-entropy": {"alpha": None, "gamma": 0.0},
    "focal, alpha 0.25, gamma 2": {"alpha": 0.25, "gamma": 2.0},
    "focal, alpha off, gamma 2": {"alpha": None, "gamma": 2.0},
    "asymmetric, gamma (1, 4)": {"alpha": None, "gamma": (1.0, 4.0)},
}
# --8<-- [end:losses]


# --8<-- [start:train]
STEPS = 400


def fit(pixels, labels, seed, keywords):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.1)
    for _ in range(STEPS):
        batch = torch.randint(len(pixels), (128,))
        optimizer.zero_grad()
        loss = sigmoid_focal_loss(
            network(pixels[batch]), labels[batch], ignore_index=UNKNOWN, **keywords
        )
        loss.backward()
        optimizer.step()
    return network.eval()


# --8<-- [end:train]


# --8<-- [start:measure]
def measure(network, pixels, labels, keywords):
    """Mean average precision over the labels; mean and log loss of two readings of the logits."""
    with torch.no_grad():
        logits = network(pixels)
    precision = [
        average_precision(logits[:, k].numpy(), labels[:, k].bool().numpy()) for k in range(10)
    ]
    sigmoid, posterior = torch.sigmoid(logits), sigmoid_posterior(logits, **keywords)
    losses = [
        nn.functional.binary_cross_entropy(p, labels.float()).item() for p in (sigmoid, posterior)
    ]
    return sum(precision) / 10, sigmoid.mean().item(), posterior.mean().item(), *losses


# --8<-- [end:measure]


def main(plot=None):
    pixels, labels = cards(6_000, "train", unknown=1 / 3)
    test_pixels, test_labels = cards(2_000, "test", unknown=0.0)
    print(f"{(labels == UNKNOWN).float().mean():.3f} of the training labels are unknown,")
    rates = test_labels.float().mean(0)
    print(
        f"positive in test: {rates.mean():.3f}, by label {rates.max():.3f} to {rates.min():.3f}\n"
    )
    print(f"{'':28}{'average':>11}{'mean probability':>20}{'log loss':>20}")
    print(f"{'':28}{'precision':>11}" + 2 * f"{'sigmoid':>10}{'posterior':>10}")
    fitted = {}
    for name, keywords in LOSSES.items():
        network = fitted[name] = fit(pixels, labels, 0, keywords)
        precision, *rest = measure(network, test_pixels, test_labels, keywords)
        print(f"{name:28}{precision:11.3f}" + "".join(f"{one:10.3f}" for one in rest))
    if plot is not None:
        draw(fitted, test_pixels, test_labels, plot)


def draw(fitted, pixels, labels, folder):
    from refocal.comparison.drawing import COLOURS, axes, standalone, style, to_svg

    with style():
        figure, panels = axes(8.0, 3.6, columns=2)
        for k, (name, network) in enumerate(fitted.items()):
            with torch.no_grad():
                logits = network(pixels).flatten()
            order = logits.argsort()
            truth = labels.flatten()[order].float()
            readings = (torch.sigmoid(logits), sigmoid_posterior(logits, **LOSSES[name]))
            for panel, probability in zip(panels, readings, strict=True):
                told = [part.mean() for part in probability[order].chunk(20)]
                true = [part.mean() for part in truth.chunk(20)]
                panel.plot(told, true, "o-", markersize=3, color=COLOURS[k], label=name)
        for panel, title in zip(panels, ("sigmoid", "sigmoid_posterior"), strict=True):
            panel.plot([0, 1], [0, 1], color="0.6", linewidth=1)
            panel.set(title=title, xlabel="probability given", ylabel="share that was true")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
        svg = standalone(to_svg(figure, name="multi-label", title="Reliability of two readings"))
        (folder / "multi-label.svg").write_text(svg + "\n")


if __name__ == "__main__":
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    main(parser.parse_args().plot)
