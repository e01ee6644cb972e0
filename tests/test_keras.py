"""`refocal.keras` on torch and JAX, each in a process of its own: Keras has one backend in each.

Values and gradients are tested by the one list of cases, `test_accuracy`;
`keras_backend/` has what only Keras has. TensorFlow's turn is `make test-hosts`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras")

HERE = Path(__file__).parent
ONLY_KERAS = [HERE / "keras_backend" / f"{name}.py" for name in ("losses", "training", "refusals")]
# of the list of cases what takes other ways through Keras than through the functions below it
SAMPLE = "every_shape and float32 and none or largest and 0.5"


def run(backend: str, *arguments: object) -> None:
    """Pytest in a process of its own, with Keras on a backend and the cases in Keras."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "REFOCAL_CASES_IN_KERAS": "1",
        "JAX_ENABLE_X64": "1",  # for the cases in float64
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            *map(str, arguments),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_what_only_keras_has(backend: str) -> None:
    run(backend, *ONLY_KERAS)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_values_and_gradients(backend: str) -> None:
    """By the list of cases, within the bounds of every other implementation."""
    run(backend, HERE / "test_accuracy.py", "-k", SAMPLE)


def test_a_backend_that_is_missing_is_named() -> None:
    """Keras runs on TensorFlow where nothing is said."""
    hide = """
import sys
sys.modules["tensorflow"] = None
import importlib.abc

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

sys.meta_path.insert(0, Hidden())
del sys.modules["tensorflow"]
try:
    import refocal.keras
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", hide],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "refocal.keras: Keras is set to run on tensorflow, which is not installed. Install it, or "
        "choose another backend before Keras is imported: KERAS_BACKEND=torch, jax or tensorflow\n"
    )
