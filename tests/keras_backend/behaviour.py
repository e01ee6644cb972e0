"""What only Keras has: its trainer, weights, masks, reductions, files; on one backend.

Run by tests/test_keras.py, and on TensorFlow by tests/hosts/test_keras_tensorflow.py, each backend
in a process of its own.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

import keras
from keras import ops
from refocal.keras import SigmoidFocalLoss, SoftmaxFocalLoss

BACKEND = keras.backend.backend()
assert os.environ["KERAS_BACKEND"] == BACKEND

Z = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]], np.float32)
Y = np.array([[1, 0, 0], [0, 0, 1]])
C = np.array([0, 2])
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", None, "none"]


def number(tensor: Any) -> float:
    return float(ops.convert_to_numpy(tensor))


def array(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def reference(z: np.ndarray, y: np.ndarray, alpha: float = 0.25, gamma: float = 2.0) -> np.ndarray:
    """The formula in float64, element by element."""
    z = z.astype(np.float64)
    s = np.where(y, z, -z)
    p = 1 / (1 + np.exp(-s))
    return -np.where(y, alpha, 1 - alpha) * (1 - p) ** gamma * np.log(p)


# ---------------------------------------------------------------------------------------------
# as Keras' own losses


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("weight", [None, [0.5, 2.0], [[0.5], [2.0]]], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("link", ["sigmoid", "index", "one-hot"])
def test_reductions_weights_and_masks_as_keras_has_them(
    reduction: str | None, weight: Any, masked: bool, link: str
) -> None:
    """Where Keras' loss is right it is the same: cross-entropy, and its binary focal loss."""
    settings = {"from_logits": True, "reduction": reduction}
    if link == "sigmoid":
        ours: Any = SigmoidFocalLoss(**settings)
        theirs: Any = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, **settings)
    elif link == "index":
        ours = SoftmaxFocalLoss(gamma=0, **settings)
        theirs = keras.losses.SparseCategoricalCrossentropy(**settings)
    else:
        ours = SoftmaxFocalLoss(gamma=0, **settings)
        theirs = keras.losses.CategoricalCrossentropy(**settings)
    targets = {"sigmoid": Y, "index": C, "one-hot": np.eye(3, dtype=np.float32)[C]}[link]
    results = []
    for loss in (ours, theirs):
        y_pred = ops.convert_to_tensor(Z)
        if masked:
            y_pred._keras_mask = ops.convert_to_tensor(np.array([True, False]))
        given = None if weight is None else np.array(weight, np.float32)
        results.append(array(loss(targets, y_pred, given)))
    np.testing.assert_allclose(*results, rtol=2e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_ignored_classes_as_keras_ignores_them(reduction: str | None) -> None:
    index = np.array([0, 255])
    theirs = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255, reduction=reduction
    )
    ours = SoftmaxFocalLoss(from_logits=True, gamma=0, ignore_index=255, reduction=reduction)
    for weight in (None, np.array([0.5, 2.0], np.float32)):
        want = array(theirs(index.astype(np.float32), Z, weight))
        np.testing.assert_allclose(array(ours(index, Z, weight)), want, rtol=2e-6)


def test_missing_labels_leave_the_denominator() -> None:
    """The mean over what is labelled, beside masks and weights of whole rows."""
    for missing, ignored in ((-1, -1), (math.nan, math.nan)):
        y = np.array([[1, 0, missing], [missing, missing, 1]])
        loss = SigmoidFocalLoss(from_logits=True, ignore_index=ignored)
        each = reference(Z, y == 1)
        kept = np.array([[1, 1, 0], [0, 0, 1]])
        assert number(loss(y, Z)) == pytest.approx((each * kept).sum() / 3, rel=1e-5)
        rows = np.array([0.5, 2.0], np.float32)
        want = (each * kept * rows[:, None]).sum() / 3
        assert number(loss(y, Z, rows)) == pytest.approx(want, rel=1e-5)
        y_pred = ops.convert_to_tensor(Z)
        y_pred._keras_mask = ops.convert_to_tensor(np.array([False, True]))
        assert number(loss(y, y_pred)) == pytest.approx(each[1, 2], rel=1e-5)
        nothing = np.full((2, 3), missing)
        assert number(loss(nothing, Z)) == 0


def test_weights_of_leading_axes() -> None:
    """Keras would pair the weights of three sequences with their three steps."""
    z = np.random.default_rng(0).normal(size=(3, 3, 4)).astype(np.float32)
    index = np.zeros((3, 3), int)
    weight = np.array([1.0, 0.0, 0.0], np.float32)
    loss = SoftmaxFocalLoss(from_logits=True, reduction="mean_with_sample_weight")
    alone = SoftmaxFocalLoss(from_logits=True)(index[:1], z[:1])
    assert number(loss(index, z, weight)) == pytest.approx(number(alone), rel=1e-6)


def test_a_weight_is_left_as_it_was() -> None:
    """On torch Keras multiplies the mask into the caller's own tensor."""
    weight = ops.convert_to_tensor(np.ones(2, np.float32))
    SoftmaxFocalLoss(from_logits=True, ignore_index=2)(C, Z, weight)
    np.testing.assert_array_equal(array(weight), 1)
