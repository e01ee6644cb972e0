"""`refocal.keras` on TensorFlow: what only Keras has, and the whole list of cases."""

import os
import subprocess
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


PROGRAM = """
import numpy as np
import tensorflow as tf

from refocal.keras import SoftmaxFocalLoss

loss = SoftmaxFocalLoss(from_logits=True, gamma=1.5)
z, y = tf.constant([[2.0, -1.0]]), tf.constant([1])
np.testing.assert_allclose(tf.function(loss)(y, z), loss(y, z), rtol=1e-6)
"""


def test_a_function_of_the_users_is_converted_without_a_word():
    """AutoGraph evaluates annotations, and reports a name that it does not find as an error."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    assert "AutoGraph" not in ran.stderr
