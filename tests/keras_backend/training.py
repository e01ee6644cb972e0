"""The losses in Keras' trainer, in files, and the posterior behind a model.

Run by tests/test_keras.py, and on TensorFlow by tests/hosts/test_keras_tensorflow.py, each backend
in a process of its own.
"""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import ops

import refocal
from keras_backend.given import BACKEND, C, Y, Z, array, data, model, number, reference
from refocal.keras import Posterior, SigmoidFocalLoss, SoftmaxFocalLoss

# ---------------------------------------------------------------------------------------------
# training


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
