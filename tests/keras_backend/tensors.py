"""What only TensorFlow has: graphs, shapes that are not known, higher derivatives, saved models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import oracle
from refocal.keras import Posterior, SigmoidFocalLoss, SoftmaxFocalLoss

Z = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]], np.float32)
Y = np.array([[1, 0, 0], [0, 0, 1]])
C = np.array([0, 2])
ENDS = [0.0, 1e-30, 88.0, 1e3, 3e38, math.inf]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 1.5, 2.0])
def test_a_graph_of_unknown_sizes(jit: bool, gamma: float) -> None:
    for loss, targets in (
        (SigmoidFocalLoss(from_logits=True, gamma=gamma, ignore_index=-1), Y),
        (SigmoidFocalLoss(from_logits=False, gamma=gamma), Y),
        (SoftmaxFocalLoss(from_logits=True, gamma=gamma), C),
        (SoftmaxFocalLoss(from_logits=True, gamma=gamma, label_smoothing=0.1), C),
        (SoftmaxFocalLoss(from_logits=True, gamma=gamma), np.eye(3, dtype=np.float32)[C]),
    ):
        shapes = [
            tf.TensorSpec([None, *targets.shape[1:]], targets.dtype),
            tf.TensorSpec([None, 3], tf.float32),
        ]

        def both(y, z, f=loss):
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = f(y, z)
            return value, tape.gradient(value, z)

        given = Z if loss.from_logits else 1 / (1 + np.exp(-Z))
        plain = both(tf.constant(targets), tf.constant(given))
        graph = tf.function(both, input_signature=shapes, jit_compile=jit)
        for one, other in zip(graph(targets, given), plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 1.5, 2.0, 5.0])
@pytest.mark.parametrize("y", [0, 1])
def test_second_derivatives_are_the_curvature(gamma: float, y: int) -> None:
    z = tf.constant(np.linspace(-30, 30, 121))
    loss = SigmoidFocalLoss(
        from_logits=True, alpha=None, gamma=gamma, reduction="sum", dtype="float64"
    )
    targets = np.full(121, y)
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            value = loss(targets, z)
        slope = inner.gradient(value, z)
    found = outer.gradient(slope, z)
    s = (2 * y - 1) * z.numpy()
    size = oracle.curvature_size(s, gamma).astype(float)
    want = oracle.curvature(s, gamma).astype(float)
    np.testing.assert_array_less(abs(found - want), 1e-13 * size + 1e-300)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_every_derivative_is_finite_at_every_logit(gamma: float) -> None:
    z = tf.constant([sign * end for end in ENDS for sign in (1, -1)])
    for y in (0, 1):
        loss = SigmoidFocalLoss(from_logits=True, gamma=gamma, reduction="sum")
        with tf.GradientTape() as third:
            third.watch(z)
            with tf.GradientTape() as second:
                second.watch(z)
                with tf.GradientTape() as first:
                    first.watch(z)
                    value = loss(np.full(len(z), y), z)
                slope = first.gradient(value, z)
            curvature = second.gradient(slope, z)
        for one in (slope, curvature, third.gradient(curvature, z)):
            assert bool(tf.reduce_all(tf.math.is_finite(one))), one


def test_kinds_of_tensors() -> None:
    want = float(SoftmaxFocalLoss(from_logits=True)(C, Z))
    loss = SoftmaxFocalLoss(from_logits=True)
    assert float(loss(tf.sparse.from_dense(np.eye(3)[C]), Z)) == pytest.approx(want, rel=1e-6)
    assert float(loss(tf.Variable(C), tf.Variable(Z))) == want
    assert float(loss(C, tf.RaggedTensor.from_tensor(tf.constant(Z)).to_tensor())) == want
    assert float(loss(np.zeros((0,), int), np.zeros((0, 3), np.float32)).numpy().sum()) == 0


def test_a_mirrored_strategy() -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        found = strategy.run(lambda: SigmoidFocalLoss(from_logits=True)(Y, Z))
    assert float(found) == pytest.approx(float(SigmoidFocalLoss(from_logits=True)(Y, Z)))


def test_a_served_model(tmp_path) -> None:
    """Exported for TensorFlow Serving, where nothing of refocal is."""
    import keras

    served = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3), Posterior("softmax", from_logits=True)]
    )
    served.export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.serve(Z), served.predict(Z, verbose=0), rtol=1e-6)
