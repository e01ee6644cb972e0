"""The largest error of every framework and dtype, beside the formula in long doubles.

``python -m trust.frameworks`` writes the table for the documentation; each framework runs in a
process of its own, those that are not installed are left out. A positive (y = 1) without a class
weight, at every number of a half-precision dtype and at a sample of the wider ones, infinities
aside.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

TABLE = Path("docs/tables/frameworks.md")
GAMMAS = (0.5, 1.5, 2.0, 5.0)
SAMPLE = 200_000

# a framework's name, what it needs, and the environment of its process
FRAMEWORKS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "torch, plain": (("torch",), {}),
    "torch, CPU kernels": (("torch", "numba"), {}),
    "JAX": (("jax",), {"JAX_ENABLE_X64": "1"}),
    "Keras on torch": (("keras", "torch"), {"KERAS_BACKEND": "torch"}),
    "Keras on JAX": (("keras", "jax"), {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}),
    "Keras on TensorFlow": (("keras", "tensorflow"), {"KERAS_BACKEND": "tensorflow"}),
    "NumPy": ((), {}),
}
DTYPES = ("float16", "bfloat16", "float32", "float64")
# largest relative rounding of one operation is half of this; smallest normal number
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
TINY = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}

Both = Callable[[np.ndarray, str, float], tuple[np.ndarray, np.ndarray]]


def logits(dtype: str) -> np.ndarray:
    """Finite logits that the dtype holds, in float64."""
    if dtype == "float16":
        every = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    elif dtype == "bfloat16":
        bits = np.arange(2**16, dtype=np.uint32) << 16
        with np.errstate(invalid="ignore"):  # NaN among them
            every = bits.view(np.float32).astype(np.float64)
    else:
        rng = np.random.default_rng(0)
        sizes = np.concatenate([rng.uniform(0, 100, SAMPLE), 10 ** rng.uniform(-12, 3, SAMPLE)])
        every = (sizes * rng.choice([-1, 1], sizes.size)).astype(dtype).astype(np.float64)
    return every[np.isfinite(every)]


def exact(z: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope by the definition, in long doubles; without a subtraction."""
    s = z.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        x = np.exp(-np.abs(s))
        p, q = np.where(s >= 0, 1, x) / (1 + x), np.where(s >= 0, x, 1) / (1 + x)
        ce = np.maximum(-s, 0) + np.log1p(x)
        m = q**gamma
        return m * ce, -m * (q + gamma * np.where(p == 0, 0, p * ce))


# ---------------------------------------------------------------------------------------------
# value and slope by a framework


def by_torch(impl: str) -> Both:
    """The function of refocal itself."""
    import torch

    from refocal import sigmoid_focal_loss

    def both(z: np.ndarray, dtype: str, gamma: float) -> tuple[np.ndarray, np.ndarray]:
        leaf = torch.tensor(z).to(getattr(torch, dtype)).requires_grad_()
        loss = sigmoid_focal_loss(
            leaf,
            torch.ones_like(leaf, dtype=torch.int8),
            alpha=None,
            gamma=gamma,
            reduction="none",
            impl=impl,
        )
        (slope,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss))
        return loss.detach().double().numpy(), slope.double().numpy()

    return both


def by_jax() -> Both:
    """The function of `refocal.jax`."""
    import jax
    import jax.numpy as jnp

    from refocal.jax import sigmoid_focal_loss

    def both(z: np.ndarray, dtype: str, gamma: float) -> tuple[np.ndarray, np.ndarray]:
        hard = jnp.ones(z.shape, bool)
        loss, pull = jax.vjp(
            lambda one: sigmoid_focal_loss(one, hard, alpha=None, gamma=gamma, reduction="none"),
            jnp.asarray(z).astype(dtype),
        )
        (slope,) = pull(jnp.ones_like(loss))
        return np.asarray(loss.astype("float64")), np.asarray(slope.astype("float64"))

    return both


def by_keras() -> Both:
    """The loss of `refocal.keras`, by the gradient of the backend."""
    keras: Any = import_module("keras")
    from refocal.keras import SigmoidFocalLoss

    backend = keras.backend.backend()

    def both(z: np.ndarray, dtype: str, gamma: float) -> tuple[np.ndarray, np.ndarray]:
        loss = SigmoidFocalLoss(
            from_logits=True, alpha=None, gamma=gamma, reduction=None, dtype=dtype
        )
        hard = np.ones(z.shape, bool)
        leaf = keras.ops.cast(keras.ops.convert_to_tensor(z), dtype)
        if backend == "torch":
            leaf.requires_grad_()
            value = loss(hard, leaf)
            value.backward(import_module("torch").ones_like(value))
            found = value.detach(), leaf.grad
        elif backend == "jax":
            jax: Any = import_module("jax")
            value, pull = jax.vjp(lambda one: loss(hard, one), leaf)
            found = value, pull(jax.numpy.ones_like(value))[0]
        else:
            with import_module("tensorflow").GradientTape() as tape:
                tape.watch(leaf)
                value = loss(hard, leaf)
            found = value, tape.gradient(value, leaf)
        value, slope = (keras.ops.convert_to_numpy(keras.ops.cast(one, "float64")) for one in found)
        return value, slope

    return both


def by_numpy() -> Both:
    """The book's binding, which the boosters use; NumPy has no bfloat16."""
    from refocal.formula.in_numpy import BOOK, for_gamma

    def both(z: np.ndarray, dtype: str, gamma: float) -> tuple[np.ndarray, np.ndarray]:
        s = z.astype(dtype)
        with np.errstate(over="ignore", under="ignore"):
            value, slope = for_gamma(gamma).value_and_slope(s, BOOK.decay(s), s.dtype.type(gamma))
        return value.astype(np.float64), slope.astype(np.float64)

    return both


WAYS: dict[str, Callable[[], Both]] = {
    "torch, plain": lambda: by_torch("eager"),
    "torch, CPU kernels": lambda: by_torch("cpu"),
    "JAX": by_jax,
    "NumPy": by_numpy,
}


def errors(framework: str) -> dict[str, list[list[float]]]:
    """By dtype and gamma the largest errors of value and slope, in eps of the dtype."""
    both = WAYS.get(framework, by_keras)()
    return {
        dtype: [worst(both, logits(dtype), dtype, gamma) for gamma in GAMMAS]
        for dtype in dtypes_of(framework)
    }


def dtypes_of(framework: str) -> tuple[str, ...]:
    """The boosters hand over these two."""
    return DTYPES[2:] if framework == "NumPy" else DTYPES


def worst(both: Both, z: np.ndarray, dtype: str, gamma: float) -> list[float]:
    """The largest relative errors where the exact result is a normal number, in eps."""
    found = []
    for actual, right in zip(both(z, dtype, gamma), exact(z, gamma), strict=True):
        counts = np.abs(right) >= TINY[dtype] * (1 + gamma) * 4
        error = np.abs(actual[counts] - right[counts]) / np.abs(right[counts])
        found.append(float(np.max(error)) / EPS[dtype])
    return found


# ---------------------------------------------------------------------------------------------
# the table


def in_its_process(framework: str) -> dict[str, list[list[float]]] | None:
    """What a framework finds, or None where it is not installed."""
    needs, environment = FRAMEWORKS[framework]
    if not all(map(find_spec, needs)):
        return None
    done = subprocess.run(
        [sys.executable, "-m", "trust.frameworks", "--one", framework],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows() -> Iterator[str]:
    """Line by line."""
    yield "| framework | dtype | " + " | ".join(f"gamma {gamma:g}" for gamma in GAMMAS) + " |"
    yield "| --- | --- | " + " | ".join("---:" for _ in GAMMAS) + " |"
    for framework in FRAMEWORKS:
        found = in_its_process(framework)
        for dtype, each in (found or {}).items():
            cells = " | ".join(f"{value:.1f} / {slope:.1f}" for value, slope in each)
            yield f"| {framework} | {dtype} | {cells} |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", choices=FRAMEWORKS, help="print one framework's errors as JSON")
    one = parser.parse_args().one
    if one:
        print(json.dumps(errors(one)))
        return
    text = "\n".join(rows()) + "\n"
    TABLE.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
