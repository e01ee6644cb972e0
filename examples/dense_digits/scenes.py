"""Dense digits: small scenes in which a detector has to find and name hand-written digits.

A scene is 40 x 40 pixels of noise and clutter with one to three digits of scikit-learn's 8 x 8
digits in it. The task is that of a dense detector: for every pixel and every one of the ten
classes, is this the centre of that digit? That makes 16,000 yes-or-no questions a scene and two
positives among them on average, one in 8,000, at the cost of a small image.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

SIDE = 40
CLASSES = 10

_DIGIT = 8  # pixels a side
_CENTRE = _DIGIT // 2
_TEST = 3  # one digit in three is kept for test scenes
_NOISE = 0.15

Part = Literal["train", "test"]
Pixels = npt.NDArray[np.float32]


class Scenes(NamedTuple):
    """Images and what is in them.

    Attributes:
        images: brightness, about 0 to 1, float32, ``(N, 1, 40, 40)``.
        targets: True at the centre of a digit, in the plane of its class, ``(N, 10, 40, 40)``.
    """

    images: Pixels
    targets: npt.NDArray[np.bool_]


def scenes(count: int, *, seed: int, part: Part = "train") -> Scenes:
    """Draw scenes; the same arguments give the same scenes.

    The seed also decides which digits are for training and which for testing: no digit, and no
    piece of clutter, is seen in both parts of one seed.

    Args:
        count: how many, >= 1.
        seed: >= 0.
        part: "train" or "test".

    Returns:
        Images and targets.

    Raises:
        ValueError: a count below 1, a negative seed or an unknown part.

    References:
        E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998, as shipped by `sklearn.datasets.load_digits`.
    """
    if count < 1:
        raise ValueError(f"scenes: count must be >= 1, got {count}.")
    if seed < 0:
        raise ValueError(f"scenes: seed must be >= 0, got {seed}.")
    if part not in ("train", "test"):
        raise ValueError(f'scenes: part must be "train" or "test", got {part!r}.')
    digits, labels = _digits(seed, part)
    random = np.random.default_rng([seed, part == "test"])
    images = np.zeros((count, SIDE, SIDE), np.float32)
    targets = np.zeros((count, CLASSES, SIDE, SIDE), np.bool_)
    for image, target in zip(images, targets, strict=True):
        _clutter(image, digits, random)
        for row, column in _places(int(random.integers(1, 4)), random):
            which = random.integers(len(digits))
            _paint(image, digits[which] * np.float32(random.uniform(0.6, 1.0)), row, column)
            target[labels[which], row + _CENTRE, column + _CENTRE] = True
    images += random.normal(0.0, _NOISE, images.shape).astype(np.float32)
    return Scenes(images[:, None], targets)


def _digits(seed: int, part: Part) -> tuple[Pixels, npt.NDArray[np.int64]]:
    known: Any = load_digits()
    order = np.random.default_rng(seed).permutation(len(known.target))
    chosen = order[::_TEST] if part == "test" else np.delete(order, np.s_[::_TEST])
    return (known.images[chosen] / 16).astype(np.float32), known.target[chosen]


def _clutter(image: Pixels, digits: Pixels, random: np.random.Generator) -> None:
    """Pieces of digits, too small to be told, and straight strokes."""
    for _ in range(random.integers(4, 9)):
        height, width = random.integers(3, 6, size=2)
        top, left = random.integers(0, _DIGIT - height + 1), random.integers(0, _DIGIT - width + 1)
        piece = digits[random.integers(len(digits)), top : top + height, left : left + width]
        row, column = random.integers(0, SIDE - height + 1), random.integers(0, SIDE - width + 1)
        _paint(image, piece * np.float32(random.uniform(0.5, 1.0)), row, column)
    for _ in range(random.integers(1, 4)):
        length = random.integers(4, 10)
        stroke = np.full((length, 1), random.uniform(0.4, 0.9), np.float32)
        if random.integers(2):
            stroke = stroke.T
        height, width = stroke.shape
        row, column = random.integers(0, SIDE - height + 1), random.integers(0, SIDE - width + 1)
        _paint(image, stroke, row, column)


def _places(count: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """Top left corners of digits that do not overlap."""
    places: list[tuple[int, int]] = []
    while len(places) < count:
        row, column = (int(one) for one in random.integers(0, SIDE - _DIGIT + 1, size=2))
        if all(max(abs(row - r), abs(column - c)) >= _DIGIT for r, c in places):
            places.append((row, column))
    return places


def _paint(image: Pixels, shape: Pixels, row: int, column: int) -> None:
    height, width = shape.shape
    window = image[row : row + height, column : column + width]
    np.maximum(window, shape, out=window)
