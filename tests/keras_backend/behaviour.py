"""What only Keras has: its trainer, weights, masks, reductions, files; on one backend.

Run by tests/test_keras.py, and on TensorFlow by tests/hosts/test_keras_tensorflow.py, each backend
in a process of its own.
"""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import ops

import refocal
from in_keras import differentiated
from refocal.keras import Posterior, SigmoidFocalLoss, SoftmaxFocalLoss

BACKEND = keras.backend.backend()
assert os.environ["KERAS_BACKEND"] == BACKEND

Z = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]], np.float32)
Y = np.array([[1, 0, 0], [0, 0, 1]])
C = np.array([0, 2])
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", None, "none"]


def number(tensor: Any) -> float:
    return float(array(tensor))


def array(tensor: Any) -> np.ndarray:
    half = keras.backend.standardize_dtype(tensor.dtype) == "bfloat16"
    return ops.convert_to_numpy(ops.cast(tensor, "float32") if half else tensor)


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


# ---------------------------------------------------------------------------------------------
# training


def model(outputs: int, activation: str | None = None, **keywords: Any) -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu", **keywords),
            keras.layers.Dense(outputs, activation=activation, **keywords),
        ]
    )


def data(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, classes))).argmax(1) if classes > 1 else (x[:, 0] > 0.8)
    return x, y.astype(int)


def test_a_binary_model_learns_and_says_probabilities() -> None:
    x, y = data(1)
    net = model(1)
    loss = SigmoidFocalLoss(from_logits=True)
    net.compile("adam", loss=loss, weighted_metrics=["accuracy"])
    before = net.evaluate(x, y, verbose=0)[0]
    z = net.predict(x, verbose=0)
    assert before == pytest.approx(reference(z[:, 0], y == 1).mean(), rel=1e-4)
    net.fit(x, y, epochs=3, batch_size=32, verbose=0, class_weight={0: 1.0, 1: 3.0})
    net.fit(x, y, epochs=1, batch_size=20, verbose=0, sample_weight=np.ones(96))
    assert net.evaluate(x, y, verbose=0)[0] < before
    served = keras.Sequential([net, Posterior.of(loss)])
    p = served.predict(x, verbose=0)
    assert p.min() >= 0
    assert p.max() <= 1


@pytest.mark.parametrize("kind", ["index", "one-hot"])
def test_weights_in_fit_are_those_of_the_loss(kind: str) -> None:
    """One step of plain gradient descent with class weights, beside the weighted loss itself."""
    x, y = data(3)
    weights = {0: 1.0, 1: 4.0, 2: 0.5}
    targets = y if kind == "index" else np.eye(3)[y]
    net = model(3)
    net.compile(keras.optimizers.SGD(0.1), loss=SoftmaxFocalLoss(from_logits=True))
    start = net.get_weights()
    history = net.fit(
        x, targets, epochs=1, batch_size=96, shuffle=False, verbose=0, class_weight=weights
    )
    net.set_weights(start)
    per_row = np.array([weights[int(one)] for one in y], np.float32)
    want = number(SoftmaxFocalLoss(from_logits=True)(targets, net.predict(x, verbose=0), per_row))
    assert history.history["loss"][0] == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
def test_mixed_precision(policy: str, link: str) -> None:
    if policy == "float64" and BACKEND == "jax":
        policy = "float32"  # the other only where the whole program asks for it
    x, y = data(1 if link == "sigmoid" else 3)
    net = model(1 if link == "sigmoid" else 3, dtype=policy)
    make = SigmoidFocalLoss if link == "sigmoid" else SoftmaxFocalLoss
    net.compile("adam", loss=make(from_logits=True), jit_compile=False)
    history = net.fit(x, y, epochs=4, batch_size=24, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]
    loss = make(from_logits=True)(y[:4], ops.convert_to_tensor(net(x[:4])))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


def test_a_compiled_step_is_the_plain_one() -> None:
    """Under `jit_compile`, and where a graph does not know the size of a batch."""
    x, y = data(3)
    losses = []
    for jit in (True, False):
        if jit and BACKEND == "torch":
            continue  # torch.compile has its own tests, and takes its time
        net = model(3)
        net.compile("sgd", loss=SoftmaxFocalLoss(from_logits=True, gamma=1.5), jit_compile=jit)
        losses.append(net.fit(x, y, epochs=2, batch_size=40, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[-1], rtol=1e-5)


def test_masks_of_a_sequence_model() -> None:
    """Steps that a Masking layer leaves out change nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 5, 4)).astype(np.float32)
    x[:, 3:] = 0
    y = rng.integers(0, 3, (6, 5))
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [keras.Input((5, 4)), keras.layers.Masking(), keras.layers.Dense(3, name="last")]
    )
    loss = SoftmaxFocalLoss(from_logits=True)
    net.compile("sgd", loss=loss, jit_compile=False)
    found = net.evaluate(x, y, verbose=0)
    y[:, 3:] = 1
    assert net.evaluate(x, y, verbose=0) == pytest.approx(found, rel=1e-6)
    z = array(net.get_layer("last")(x))
    assert found == pytest.approx(number(loss(y[:, :3], z[:, :3])), rel=1e-5)


def test_several_outputs() -> None:
    inputs = keras.Input((4,))
    net = keras.Model(
        inputs,
        {
            "tag": keras.layers.Dense(3, name="tag")(inputs),
            "kind": keras.layers.Dense(3, name="kind")(inputs),
        },
    )
    net.compile(
        "sgd",
        loss={
            "tag": SigmoidFocalLoss(from_logits=True),
            "kind": SoftmaxFocalLoss(from_logits=True),
        },
    )
    x, y = data(3)
    history = net.fit(x, {"tag": np.eye(3)[y], "kind": y}, epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]


# ---------------------------------------------------------------------------------------------
# files


SETTINGS: list[tuple[type, dict[str, Any]]] = [
    (SigmoidFocalLoss, {}),
    (SigmoidFocalLoss, {"alpha": None, "gamma": (1.0, 3.5), "ignore_index": -1}),
    (SigmoidFocalLoss, {"alpha": [0.1, 0.2, 0.3], "gamma": ([0.5, 1, 2], 4.0), "name": "mine"}),
    (SigmoidFocalLoss, {"ignore_index": math.nan, "reduction": "sum", "dtype": "float64"}),
    (SoftmaxFocalLoss, {}),
    (SoftmaxFocalLoss, {"alpha": [1.0, 2.0, 3.0], "gamma": [0.0, 1.0, 2.0], "ignore_index": 2}),
    (SoftmaxFocalLoss, {"label_smoothing": 0.1, "detach_modulator": True, "reduction": None}),
    (SoftmaxFocalLoss, {"axis": 1, "from_logits": False, "dtype": "mixed_bfloat16"}),
]
each_setting = pytest.mark.parametrize(
    ("make", "settings"), SETTINGS, ids=[f"{make.__name__}-{one}" for make, one in SETTINGS]
)


@each_setting
def test_a_configuration_comes_back(make: type, settings: dict[str, Any]) -> None:
    loss = make(**{"from_logits": True, **settings})
    text = json.dumps(keras.saving.serialize_keras_object(loss))
    for other in (
        make.from_config(loss.get_config()),
        keras.saving.deserialize_keras_object(json.loads(text)),
        keras.losses.deserialize(keras.losses.serialize(loss)),
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
    ):
        assert type(other) is make
        assert str(other.get_config()) == str(loss.get_config())
        z = Z if loss.from_logits else np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
        targets = Y if make is SigmoidFocalLoss else C
        np.testing.assert_array_equal(array(other(targets, z)), array(loss(targets, z)))


def test_a_model_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    x, y = data(3)
    loss = SoftmaxFocalLoss(from_logits=True, alpha=[1.0, 2.0, 3.0], gamma=1.5)
    net = model(3)
    net.compile("adam", loss=loss)
    net.fit(x, y, verbose=0)
    net.save(tmp_path / "trained.keras")
    again = keras.models.load_model(tmp_path / "trained.keras")
    assert again.loss.get_config() == loss.get_config()
    assert again.evaluate(x, y, verbose=0) == pytest.approx(net.evaluate(x, y, verbose=0))
    again.fit(x, y, verbose=0)
    served = keras.Sequential([net, Posterior.of(loss, temperature=1.5, name="p")])
    served.save(tmp_path / "served.keras")
    loaded = keras.models.load_model(tmp_path / "served.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), served.predict(x, verbose=0))
    np.testing.assert_allclose(loaded.predict(x, verbose=0).sum(1), 1, rtol=1e-6)


# ---------------------------------------------------------------------------------------------
# the posterior


POSTERIORS: list[dict[str, Any]] = [
    {},
    {"gamma": 0.5},
    {"gamma": [0.0, 1.0, 2.5]},
    {"alpha": [0.2, 0.5, 0.9]},
    {"detach_modulator": True},
    {"label_smoothing": 0.1},
    {"temperature": 1.7},
]


@pytest.mark.parametrize("keywords", POSTERIORS, ids=str)
@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
@pytest.mark.parametrize("log", [False, True])
def test_posteriors_are_those_of_torch(keywords: dict[str, Any], link: str, log: bool) -> None:
    z = torch.randn(20, 3) * 10
    z[0, 0], z[1, 1] = -torch.inf, 3e38
    given = {
        name: torch.tensor(one) if isinstance(one, list) else one for name, one in keywords.items()
    }
    function = getattr(refocal, f"{link}_posterior")
    name = {"sigmoid": "log_odds", "softmax": "log_probabilities"}[link]
    want = function(z, **given, **{name: log}).numpy()
    layer = Posterior(link, from_logits=True, log=log, **keywords)
    np.testing.assert_allclose(array(layer(z.numpy())), want, rtol=2e-5, atol=1e-30)
    moved = Posterior(link, from_logits=True, log=log, axis=1, **keywords)
    deep = np.repeat(z.numpy()[:, :, None], 2, 2)
    np.testing.assert_allclose(array(moved(deep))[..., 1], want, rtol=2e-5, atol=1e-30)


def test_a_posterior_of_probabilities_and_of_half_precision() -> None:
    z = np.linspace(-8, 8, 33, dtype=np.float32)
    loss = SigmoidFocalLoss(from_logits=False)
    want = array(Posterior("sigmoid", from_logits=True)(z))
    got = array(Posterior.of(loss)(1 / (1 + np.exp(-z.astype(np.float64))).astype(np.float32)))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-7)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = Posterior("sigmoid", from_logits=True)
        assert layer.compute_dtype == "float32"
        np.testing.assert_array_equal(array(layer(z)), want)
        assert layer.compute_output_shape((None, 3)) == (None, 3)
    finally:
        keras.config.set_dtype_policy("float32")


# ---------------------------------------------------------------------------------------------
# what is refused


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: SigmoidFocalLoss(), TypeError, "from_logits must be given, got nothing. Keras' own"),
    (lambda: Posterior("sigmoid"), TypeError, "from_logits must be given, got nothing."),
    (
        lambda: SigmoidFocalLoss(from_logits=1),
        TypeError,
        "from_logits must be True or False, got int.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, alpha=1.5),
        ValueError,
        "alpha must be in [0, 1], got 1.5. A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is "
        "alpha=w / (1 + w) and the loss times 1 + w: here alpha=1.5 / (1 + 1.5), times 1 + 1.5.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, alpha=0.3),
        TypeError,
        "alpha must be None or a list of shape (C,), got the float 0.3. One number has no agreed "
        "meaning for several classes. To weigh a background class 0 use [1 - a, a, a, ...]; to "
        "scale the whole loss, multiply it.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, gamma=(1.0, 2.0)),
        TypeError,
        "gamma must be a number >= 0 or a list, got tuple. A pair (gamma_pos, gamma_neg) belongs "
        "to SigmoidFocalLoss; for one value per class use a list.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, gamma=[[1.0]]),
        TypeError,
        "gamma must be a number or a list of one number per class, got [[1.0]].",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, gamma=[1.0, -1.0])(Y, Z),
        ValueError,
        "gamma must be finite and >= 0, got -1.0.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, alpha=[0.1, 0.2])(Y, Z),
        ValueError,
        "alpha must have one number for each of the 3 classes of y_pred (2, 3), got 2 numbers.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True)(Z, Y),
        TypeError,
        "y_pred must be floating, got",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True)(C, Z),
        ValueError,
        "y_true must have the shape of y_pred, got (2,) and (2, 3). For class indices use "
        "SoftmaxFocalLoss, where classes exclude each other, or keras.ops.one_hot(y_true, 3) for "
        "one decision per class.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True)(255 * Y, Z),
        ValueError,
        "y_true must be in [0, 1], got 255. Only 0 and 255 occur: if 255 is the positive class, "
        "as in a mask of grey levels, use y_true > 0. If 255 marks what to leave out, pass "
        "ignore_index=255.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(np.array([0, 3]), Z),
        ValueError,
        "y_true must be class indices from 0 to 2, got 3. If 3 marks what to leave out, pass "
        "ignore_index=3.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(np.array([0.5, 1]), Z),
        ValueError,
        "y_true must be class indices, that is whole numbers, got 0.5. Probabilities have one "
        "column per class.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(np.zeros((2, 2)), Z),
        ValueError,
        "y_true must be class indices of shape (2,) or one-hot rows and probabilities of shape "
        "(2, 3), got shape (2, 2).",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(C, Z[:, :1]),
        ValueError,
        "y_pred must have at least two classes, got (2, 1). The softmax of one class is 1, so its "
        "loss is 0 and nothing is learned. One column is a binary problem: use SigmoidFocalLoss.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, axis=2)(C, Z),
        ValueError,
        "axis must be an axis of y_pred (2, 3), got 2.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, ignore_index=255)(np.eye(3)[C], Z),
        ValueError,
        "ignore_index must be left at -100 with probability y_true, got 255. Mask positions with "
        "sample_weight=0.",
    ),
    (
        lambda: Posterior("tanh", from_logits=True),
        ValueError,
        'link must be one of "sigmoid", "softmax", got \'tanh\'.',
    ),
    (
        lambda: Posterior("softmax", from_logits=True, alpha=[0.0, 1.0]),
        ValueError,
        "alpha must be > 0 for every class, got 0.0. A class of weight 0 is not learned, so it "
        "has no posterior.",
    ),
    (
        lambda: Posterior("sigmoid", from_logits=True, alpha=1.0),
        ValueError,
        "alpha must be strictly between 0 and 1, got 1.0. A class of weight 0 is not learned, so "
        "it has no posterior.",
    ),
    (
        lambda: Posterior("sigmoid", from_logits=True, temperature=0),
        ValueError,
        "temperature must be finite and > 0, got 0.",
    ),
    (
        lambda: Posterior("sigmoid", from_logits=True, label_smoothing=1.0),
        ValueError,
        "label_smoothing must be below 1, got 1.0. Targets smoothed completely carry no class.",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), REFUSED, ids=[str(one) for one in range(len(REFUSED))]
)
def test_refusals(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind
    name, _, text = str(error.value).partition(": ")
    assert name in ("SigmoidFocalLoss", "SoftmaxFocalLoss", "Posterior")
    if "got nothing" in message or message.endswith("got"):
        text = text[: len(message)]
    assert text == message


def test_an_activation_that_was_left_in_is_found() -> None:
    """Keras keeps the logits beside what its activations return."""
    x, y = data(1)
    net = model(1, "sigmoid")
    net.compile("sgd", loss=SigmoidFocalLoss(from_logits=True), jit_compile=False, run_eagerly=True)
    if BACKEND == "jax":  # whose arrays hold nothing beside their values
        net.fit(x, y, verbose=0)
    else:
        with pytest.raises(ValueError, match="from_logits must be False where the model ends in"):
            net.fit(x, y, verbose=0)
    net.compile("sgd", loss=SigmoidFocalLoss(from_logits=False), jit_compile=False)
    net.fit(x, y, verbose=0)


def test_values_that_a_graph_cannot_refuse_are_nan() -> None:
    """A class index out of range; torch has no graph here, and refuses it."""
    loss = SoftmaxFocalLoss(from_logits=True, reduction="none")
    smooth = SoftmaxFocalLoss(from_logits=True, reduction="none", label_smoothing=0.1)
    for one in (loss, smooth):
        if BACKEND == "torch":
            with pytest.raises(ValueError, match="y_true must be class indices from 0 to 2"):
                one(np.array([3, 0]), Z)
            continue
        if BACKEND == "jax":
            import jax

            found = jax.jit(lambda y, f=one: f(y, Z))(np.array([3, 0]))
        else:
            import tensorflow as tf

            found = tf.function(lambda y, f=one: f(y, Z))(np.array([3, 0]))
        assert list(np.isnan(array(found))) == [True, False]


def test_what_is_loaded() -> None:
    """Nothing of another backend by refocal: Keras alone brings as much."""
    script = (
        "import sys\nimport keras{more}\n"
        "print(*sorted({{'torch', 'jax', 'tensorflow'}} & {{*sys.modules}}))"
    )
    more = (
        ", refocal.keras\nimport numpy as np\n"
        "refocal.keras.SoftmaxFocalLoss(from_logits=True)(np.array([0]), np.ones((1, 3), 'f'))\n"
        "refocal.keras.Posterior('sigmoid', from_logits=True)(np.ones(3, 'f'))"
    )
    found = []
    for one in ("", more):
        ran = subprocess.run(
            [sys.executable, "-c", script.format(more=one)], capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        found.append(ran.stdout.split())
    assert found[0] == found[1]
    assert BACKEND in found[1]
    if BACKEND != "torch":
        assert "torch" not in found[1]
