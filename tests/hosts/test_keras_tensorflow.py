"""`refocal.keras` on TensorFlow: what only Keras has, and the whole list of cases."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("keras", reason="keras is not installed")
pytest.importorskip("tensorflow", reason="tensorflow is not installed")

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE))

from test_keras import ONLY_KERAS, run  # noqa: E402


def test_what_only_keras_has():
    run("tensorflow", *ONLY_KERAS, HERE / "keras_backend" / "tensors.py")


def test_values_and_gradients():
    run("tensorflow", HERE / "test_accuracy.py")
