"""One thread per worker and the same random numbers in every run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

import refocal

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)

# the line about a first call would stand wherever a test is the first to make one
os.environ.setdefault("REFOCAL_QUIET", "1")

# What XLA has compiled once, other workers and the processes of Keras read from the disk.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / "build" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# run by test_gpu_interpreter.py, in a process that has Triton's interpreter
# what a type checker reads is no program; doctest would import it
collect_ignore = [
    "typing",
    *([] if "TRITON_INTERPRET" in os.environ else ["gpu"]),
    *([] if find_spec("jax") else ["in_jax.py"]),
    # in a process that has Keras on one backend, by test_keras.py
    *([] if "REFOCAL_CASES_IN_KERAS" in os.environ else ["in_keras.py", "keras_backend"]),
]

settings.register_profile(
    "refocal",
    max_examples=60,
    deadline=None,
    derandomize=True,
    # the seed below is the same before every test, and changes nothing between examples
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("refocal")


def pytest_configure(config: pytest.Config) -> None:
    # torch's own: forward mode loads its decompositions, and inductor itself, through torch.jit
    for kind in ("DeprecationWarning", "FutureWarning"):  # the latter since torch 2.15
        config.addinivalue_line("filterwarnings", rf"ignore:`torch.jit.\w+` is dep:{kind}")


# Tests of a minute or more, most of them pytest in another process. Begun last, one of them would
# leave a worker with nothing to do.
LONGEST = ("test_gpu_interpreter.py", "test_keras.py", "test_gpu_benchmark.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def check_values_everywhere() -> Iterator[None]:
    refocal.check_values(True)
    yield
    refocal.check_values(False)
