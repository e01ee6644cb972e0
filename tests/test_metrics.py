"""Average precision: scikit-learn's number, whatever is tied, weighted or missing."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import average_precision_score

from refocal.metrics import average_precision


def rows(seed: int, rounded: int, count: int = 2_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties where they are rounded, labels, weights of which some are 0."""
    random = np.random.default_rng(seed)
    scores = np.round(random.normal(size=count) * rounded) / rounded
    positive = random.random(count) < 0.02 + 0.3 * (scores > 1)
    return scores, positive, np.round(random.random(count), 1)


@pytest.mark.parametrize("rounded", [1, 10, 1_000_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_scikit_learns(rounded: int, dtype: type, weighted: bool) -> None:
    scores, positive, weight = rows(rounded, rounded)
    weights = weight if weighted else None
    expected = average_precision_score(positive, scores.astype(dtype), sample_weight=weights)
    found = average_precision(scores.astype(dtype), positive, weights)
    assert_allclose(found, expected, rtol=1e-12)
    # of any shape, and of labels that are numbers
    cube = [None if one is None else one.reshape(10, 20, 10) for one in (scores, positive, weights)]
    assert_allclose(average_precision(cube[0].astype(dtype), cube[1] * 1, cube[2]), expected)


def test_the_ends() -> None:
    positive = np.array([True, False, True])
    assert average_precision([3.0, 1.0, 2.0], positive) == 1.0
    assert average_precision([0.0, 0.0, 0.0], positive) == pytest.approx(2 / 3)
    assert average_precision([np.inf, -np.inf, np.inf], positive) == 1.0
    assert average_precision([1.0, 2.0], [True, True]) == 1.0
    # a positive without weight above everything: no precision there, and none is asked for
    assert average_precision([3.0, 2.0, 1.0], [True, False, True], [0.0, 1.0, 1.0]) == 0.5


@pytest.mark.parametrize(
    ("scores", "positive", "weight"),
    [([], [], None), ([1.0, 2.0], [False, False], None), ([1.0, 2.0], [True, False], [0.0, 1.0])],
)
def test_without_positives_it_is_undefined(scores: list, positive: list, weight: object) -> None:
    assert math.isnan(average_precision(scores, positive, weight))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [True]), "positive must have the shape of scores, (2,), got (1,)."),
        (
            ([1.0, 2.0], [True, False], [1.0]),
            "weight must have the shape of scores, (2,), got (1,).",
        ),
    ],
)
def test_shapes_are_checked(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        average_precision(*arguments)
