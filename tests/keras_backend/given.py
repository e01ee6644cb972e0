"""What the tests of Keras share: data, models, and numbers out of its tensors."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
from keras import ops

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
