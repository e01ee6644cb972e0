"""`refocal.keras` on torch and JAX, each in a process of its own: Keras has one backend in each.

Values and gradients are tested by the one list of cases, `test_accuracy`;
`keras_backend/behaviour.py` has what only Keras has. TensorFlow's turn is `make test-hosts`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras")

HERE = Path(__file__).parent
# of the list of cases what takes other ways through Keras than through the backend's own functions
SAMPLE = (
    "every_shape and float32 or class_indices and 3- and gamma or largest or hard_targets and 0.5"
)


def run(backend: str, *arguments: str) -> str:
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "REFOCAL_CASES_IN_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_what_only_keras_has(backend: str) -> None:
    run(backend, str(HERE / "keras_backend" / "behaviour.py"))
