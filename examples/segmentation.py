"""Segmentation with ignored pixels: which digit does each pixel belong to, if any?

python examples/segmentation.py                  the table
python examples/segmentation.py --plot FOLDER    and what was seen
"""

from __future__ import annotations

# --8<-- [start:data]
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from refocal import softmax_focal_loss

IGNORE = 255
SIDE = 32


def pages(count, seed, part):
    """Noisy pages with two digits each, and for every pixel 0 (paper), 1 to 10 or 255."""
    digits = load_digits()
    test = np.arange(len(digits.target)) % 3 == 0
    images, labels = (
        digits.images[test == (part == "test")],
        digits.target[test == (part == "test")],
    )
    random = np.random.default_rng([seed, part == "test"])
    page = np.zeros((count, SIDE, SIDE))
    truth = np.zeros((count, SIDE, SIDE), np.int64)
    for paper, classes in zip(page, truth, strict=True):
        for half in (0, SIDE // 2):
            which = random.integers(len(labels))
            row, column = random.integers(0, SIDE - 8), half + random.integers(0, 8)
            ink = images[which] / 16
            paper[row : row + 8, column : column + 8] = ink
            here = classes[row : row + 8, column : column + 8]
            here[ink > 0] = IGNORE  # the faint edge of a stroke: nobody could say
            here[ink > 0.5] = 1 + labels[which]
    page += random.normal(0.0, 0.2, page.shape)
    return torch.tensor(page[:, None], dtype=torch.float32), torch.tensor(truth)


# --8<-- [end:data]


# --8<-- [start:losses]
rarity = torch.tensor([0.1] + [1.0] * 10)  # paper counts a tenth

LOSSES = {
    "cross-entropy": {"gamma": 0.0},
    "class weights": {"gamma": 0.0, "alpha": rarity},
    "focal, gamma 2": {"gamma": 2.0},
    "focal, gamma 2, and weights": {"gamma": 2.0, "alpha": rarity},
}
# --8<-- [end:losses]


# --8<-- [start:train]
STEPS = 300


def fit(images, truth, seed, keywords):
    torch.manual_seed(seed)
    layers, inputs = [nn.PixelUnshuffle(2)], 4
    for _ in range(3):
        layers += [nn.Conv2d(inputs, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
        inputs = 32
    network = nn.Sequential(*layers, nn.Conv2d(inputs, 44, 1), nn.PixelShuffle(2))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (16,))
        optimizer.zero_grad()
        # logits (N, 11, H, W), targets (N, H, W) with 255 where nobody knows
        loss = softmax_focal_loss(
            network(images[batch]), truth[batch], ignore_index=IGNORE, **keywords
        )
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


# --8<-- [end:train]


# --8<-- [start:measure]
def measure(network, images, truth):
    """Mean intersection over union of the ten digits, and of paper, ignored pixels left out."""
    with torch.no_grad():
        seen = network(images).argmax(1)
    seen, truth = seen[truth != IGNORE], truth[truth != IGNORE]
    overlap = torch.tensor(
        [((seen == k) & (truth == k)).sum() / ((seen == k) | (truth == k)).sum() for k in range(11)]
    )
    return overlap[1:].mean().item(), overlap[0].item()


# --8<-- [end:measure]

SEEDS = 2


def main(plot=None):
    images, truth = pages(600, 0, "train")
    test_images, test_truth = pages(200, 0, "test")
    known = truth[truth != IGNORE]
    print(f"{(truth == IGNORE).float().mean():.3f} of the pixels are ignored,", end=" ")
    print(f"{(known > 0).float().mean():.3f} of the others are ink\n")
    print(f"{'intersection over union':28}{'digits':>8}{'(two seeds)':>16}{'paper':>10}")
    fitted = {}
    for name, keywords in LOSSES.items():
        networks = [fit(images, truth, seed, keywords) for seed in range(SEEDS)]
        fitted[name] = networks[0]
        digits, paper = zip(
            *(measure(network, test_images, test_truth) for network in networks), strict=True
        )
        spread = f"{min(digits):.3f} to {max(digits):.3f}"
        print(f"{name:28}{sum(digits) / SEEDS:8.3f}{spread:>16}{sum(paper) / SEEDS:10.3f}")
    if plot is not None:
        draw(fitted, test_images, test_truth, plot)


def draw(fitted, images, truth, folder):
    from refocal.comparison.drawing import axes, standalone, style, to_svg

    pick = 3
    with torch.no_grad():
        seen = {name: network(images[[pick]]).argmax(1)[0] for name, network in fitted.items()}
    panels_of = {"truth (white: ignored)": truth[pick], **seen}
    with style():
        figure, panels = axes(9.0, 2.3, columns=6)
        panels[0].imshow(images[pick, 0].numpy(), cmap="gray_r")
        panels[0].set_title("page")
        for panel, (name, classes) in zip(panels[1:], panels_of.items(), strict=True):
            shown = np.ma.masked_equal(classes.numpy(), IGNORE)
            panel.imshow(shown, cmap="nipy_spectral", vmin=0, vmax=10, interpolation="nearest")
            panel.set_title(name.replace(", and", ",\nand"), fontsize=8)
        for panel in panels:
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
        svg = standalone(to_svg(figure, name="segmentation", title="A page, its truth, answers"))
        (folder / "segmentation.svg").write_text(svg + "\n")


if __name__ == "__main__":
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    main(parser.parse_args().plot)
