"""The losses beside Keras' own: weights, masks, reductions, kinds of targets, probabilities.

Run by tests/test_keras.py, and on TensorFlow by tests/hosts/test_keras_tensorflow.py, each backend
in a process of its own.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from in_keras import differentiated
from keras_backend.given import REDUCTIONS, C, Y, Z, array, number, reference
from refocal.keras import SigmoidFocalLoss, SoftmaxFocalLoss

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


# ---------------------------------------------------------------------------------------------
# targets as pipelines hand them over


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float64"])
def test_dtypes_and_columns_of_targets(dtype: str) -> None:
    want = number(SigmoidFocalLoss(from_logits=True)(Y, Z))
    assert number(SigmoidFocalLoss(from_logits=True)(Y.astype(dtype), Z)) == pytest.approx(want)
    column = SigmoidFocalLoss(from_logits=True, reduction="none")
    each = reference(Z[:, 0], Y[:, 0] == 1)
    for y, z in (
        (Y[:, 0], Z[:, :1]),
        (Y[:, :1], Z[:, 0]),
        (Y[:, 0], Z[:, 0]),
        (Y[:, :1], Z[:, :1]),
    ):
        np.testing.assert_allclose(array(column(y.astype(dtype), z)), each, rtol=1e-5)
    if dtype != "bool":
        sparse = SoftmaxFocalLoss(from_logits=True)
        want = number(sparse(C, Z))
        for index in (C, C[:, None]):
            assert number(sparse(index.astype(dtype), Z)) == want
        rows = np.eye(3)[C].astype(dtype)
        assert number(sparse(rows, Z)) == pytest.approx(want, rel=1e-6)


def test_class_indices_are_exact_in_half_precision() -> None:
    """Keras' own losses cast them to the dtype of the loss, which holds whole numbers to 256."""
    z = np.zeros((1, 400), np.float32)
    z[0, 301] = 5
    loss = SoftmaxFocalLoss(from_logits=True, dtype="bfloat16")
    exact = SoftmaxFocalLoss(from_logits=True)
    for index in (301, 302):
        want = number(exact(np.array([index]), z))
        assert number(loss(np.array([index]), z)) == pytest.approx(want, rel=1e-2)


def test_an_axis_of_classes() -> None:
    z = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    index = np.array([[0, 1, 2, 0], [2, 2, 1, 0]])
    first = SoftmaxFocalLoss(from_logits=True, axis=1, alpha=[0.2, 0.5, 0.9], gamma=[1.0, 2, 3])
    last = SoftmaxFocalLoss(from_logits=True, alpha=[0.2, 0.5, 0.9], gamma=[1.0, 2, 3])
    moved = np.moveaxis(z, 1, -1)
    assert number(first(index, z)) == pytest.approx(number(last(index, moved)), rel=1e-6)
    binary = SigmoidFocalLoss(from_logits=True, axis=1, gamma=([1.0, 2, 3], 2.0), reduction="none")
    swapped = SigmoidFocalLoss(from_logits=True, gamma=([1.0, 2, 3], 2.0), reduction="none")
    np.testing.assert_allclose(array(binary(z > 0, z)), array(swapped(moved > 0, moved)), rtol=1e-6)


# ---------------------------------------------------------------------------------------------
# probabilities


def test_probabilities_are_as_good_as_their_digits() -> None:
    z = np.concatenate([np.linspace(-80, 16, 200), np.linspace(-1e-3, 1e-3, 21)])
    p = (1 / (1 + np.exp(-z))).astype(np.float32)
    held = np.log(p.astype(np.float64)) - np.log1p(-p.astype(np.float64))
    for y in (0, 1):
        targets = np.full(z.shape, y)
        loss = SigmoidFocalLoss(from_logits=False, alpha=None, gamma=2.0, reduction="none")
        want = reference(held, targets == 1, gamma=2.0) / np.where(targets, 0.25, 0.75)
        np.testing.assert_allclose(array(loss(targets, p)), want, rtol=2e-5, atol=1e-37)
    rows = np.random.default_rng(0).normal(size=(50, 4)) * 8
    shares = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    index = np.arange(50) % 4
    want = array(SoftmaxFocalLoss(from_logits=True, reduction="none")(index, rows.astype("f4")))
    got = SoftmaxFocalLoss(from_logits=False, reduction="none")(index, shares.astype("f4"))
    np.testing.assert_allclose(array(got), want, rtol=2e-5)


def test_ends_of_probabilities_are_finite() -> None:
    """At 0 and 1 value and gradient are finite, whichever the target; beyond them all is NaN."""
    p = np.array([0.0, 1.0, 1e-38, 1 - 6e-8, 0.25, 0.5, 0.75], np.float32)
    for y in (0, 1):
        for gamma in (0, 0.5, 2.0):
            loss = SigmoidFocalLoss(from_logits=False, gamma=gamma, reduction="sum")
            targets = np.full(7, y)
            value, slope = differentiated(
                lambda one, f=loss, t=targets: f(t, one), ops.convert_to_tensor(p)
            )
            assert math.isfinite(value)
            assert bool(slope.isfinite().all()), slope
            assert bool((slope[:2] == 0).all())
    rows = ops.convert_to_tensor(np.array([[1.0, 0, 0], [0, 0.5, 0.5]], np.float32))
    loss = SoftmaxFocalLoss(from_logits=False, gamma=0.5)
    value, slope = differentiated(lambda one: loss(np.array([0, 0]), one), rows)
    assert math.isfinite(value)
    assert bool(slope.isfinite().all())
    assert math.isnan(number(SigmoidFocalLoss(from_logits=False)(Y, Z)))
    assert math.isnan(number(SoftmaxFocalLoss(from_logits=False)(C, Z)))
