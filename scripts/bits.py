"""Keeps every bit that the losses give, and compares: before and after a change that changes none.

    python -m scripts.bits save build/bits.json      # before
    python -m scripts.bits compare build/bits.json   # after

Every loss of tests/cases.py by every implementation, at every shape, dtype and reduction and at the
extremes of every dtype; posteriors, their derivatives, variants, and the derivatives for boosters,
which NumPy forms and which may move within their bounds. With ``TRITON_INTERPRET=1`` in the
environment the GPU's kernels are among the implementations.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import cases
import refocal
from refocal import boosting, variants

DTYPES = (*cases.FULL_DTYPES, *cases.HALF_DTYPES)
IMPLEMENTATIONS = (*cases.IMPLEMENTATIONS, *(["gpu"] if os.environ.get("TRITON_INTERPRET") else []))


def digest(*tensors: Any) -> str:
    """Of shapes, dtypes and bits; one NaN is as good as another."""
    found = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach() if isinstance(tensor, Tensor) else torch.as_tensor(tensor)
        if array.is_floating_point():
            array = torch.where(torch.isnan(array), torch.nan, array)
        found.update(f"{tuple(array.shape)} {array.dtype}".encode())
        found.update(array.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def losses() -> Iterator[tuple[str, Callable[[], str]]]:
    for loss, shape, dtype in itertools.product(cases.LOSSES, cases.SHAPES, DTYPES):
        if not loss.fits(shape):
            continue
        for implementation, reduction in itertools.product(
            IMPLEMENTATIONS, ("none", "sum", "mean")
        ):
            if implementation == "gpu" and dtype == torch.float64:
                continue

            def run(
                loss: cases.Loss = loss,
                shape: cases.Shape = shape,
                dtype: torch.dtype = dtype,
                implementation: str = implementation,
                reduction: str = reduction,
            ) -> str:
                logits, targets = cases.inputs(loss, shape, dtype)
                keywords = {**loss.keywords(shape), "reduction": reduction}
                return digest(
                    *cases.evaluate(implementation, loss.function, logits, targets, **keywords)
                )

            name = f"{loss.id} {shape.sizes} {shape.layout.__name__} {dtype}"
            yield f"{name} {implementation} {reduction}", run


def extremes() -> Iterator[tuple[str, Callable[[], str]]]:
    """Every size of logit beside every other, infinite ones and NaN among them."""
    for dtype, implementation, gamma, detach in itertools.product(
        DTYPES, IMPLEMENTATIONS, (0.0, 0.5, 1.0, 1.5, 2.0, 5.0), (False, True)
    ):
        if implementation == "gpu" and dtype == torch.float64:
            continue
        keywords = {"gamma": gamma, "detach_modulator": detach, "reduction": "none"}
        z = torch.cat([cases.extremes(dtype), torch.tensor([torch.nan], dtype=dtype)])
        few = z[:: max(1, len(z) // 20)]
        pairs = torch.cartesian_prod(few, few, few[::3])
        for link, targets in (("sigmoid", "hard"), ("sigmoid", "soft"), ("softmax", "index")):

            def run(
                link: str = link,
                targets: str = targets,
                implementation: str = implementation,
                z: Tensor = z,
                pairs: Tensor = pairs,
                keywords: dict[str, Any] = keywords,
            ) -> str:
                function = cases.FUNCTIONS[link]
                if link == "softmax":
                    index = torch.arange(len(pairs)) % 3
                    return digest(
                        *cases.evaluate(implementation, function, pairs, index, **keywords)
                    )
                y = torch.arange(len(z)) % 2
                share = torch.linspace(0, 1, len(z)) if targets == "soft" else y
                return digest(*cases.evaluate(implementation, function, z, share, **keywords))

            yield f"extremes {link} {targets} {dtype} {implementation} {gamma} {detach}", run


def posteriors() -> Iterator[tuple[str, Callable[[], str]]]:
    for dtype, gamma, detach, smoothing in itertools.product(
        DTYPES, (0.0, 0.5, 2.0, 5.0), (False, True), (0.0, 0.1)
    ):
        keywords = {"gamma": gamma, "detach_modulator": detach, "label_smoothing": smoothing}
        z = cases.extremes(dtype)
        for link in cases.POSTERIORS:

            def run(link: str = link, z: Tensor = z, keywords: dict[str, Any] = keywords) -> str:
                few = z[:: max(1, len(z) // 20)]
                logits = z if link == "sigmoid" else torch.cartesian_prod(few, few, few[::3])
                leaf = logits.clone().requires_grad_()
                found = cases.POSTERIORS[link](leaf, **keywords)
                (slope,) = torch.autograd.grad(found.sum(), leaf)
                return digest(found, slope)

            yield f"posterior {link} {dtype} {gamma} {detach} {smoothing}", run


def of_variants() -> Iterator[tuple[str, Callable[[], str]]]:
    for name in ("blend_focal_loss", "exp_bce_focal_loss", "quality_focal_loss", "asymmetric_loss"):
        for exponent in (0.5, 1.0, 2.0, 3.0):

            def run(name: str = name, exponent: float = exponent) -> str:
                z = cases.extremes(torch.float32).requires_grad_()
                keyword = {"quality_focal_loss": "beta", "asymmetric_loss": "gamma_neg"}
                loss = getattr(variants, name)(
                    z,
                    torch.linspace(0, 1, len(z)),
                    reduction="none",
                    **{keyword.get(name, "gamma"): exponent},
                )
                (slope,) = torch.autograd.grad(loss.sum(), z)
                return digest(loss, slope)

            yield f"variant {name} {exponent}", run


def objectives() -> Iterator[tuple[str, Callable[[], str]]]:
    draws = np.random.default_rng(0)
    raw, labels = draws.normal(size=3000) * 4, draws.integers(0, 2, 3000)
    logits, classes = draws.normal(size=(3000, 4)) * 4, draws.integers(0, 4, 3000)
    for gamma, hessian, detach in itertools.product(
        (0.0, 0.5, 1.0, 2.0, 3.0), ("bound", "exact", "absolute", "cross_entropy"), (False, True)
    ):

        def run(gamma: float = gamma, hessian: str = hessian, detach: bool = detach) -> str:
            keywords: Any = {"gamma": gamma, "hessian": hessian, "detach_modulator": detach}
            binary = boosting.SigmoidFocalObjective(**keywords)
            several = boosting.SoftmaxFocalObjective(**keywords)
            return digest(*binary(labels, raw), *several(classes, logits))

        yield f"numpy objective {gamma} {hessian} {detach}", run


def measured() -> dict[str, str]:
    found = {}
    for name, run in itertools.chain(
        losses(), extremes(), posteriors(), of_variants(), objectives()
    ):
        try:
            found[name] = run()
        except (ValueError, TypeError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("save", "compare"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    now = measured()
    if options.action == "save":
        options.file.parent.mkdir(parents=True, exist_ok=True)
        options.file.write_text(json.dumps(now, indent=0))
        print(
            f"{len(now)} results by {', '.join(IMPLEMENTATIONS)} of refocal {refocal.__version__}"
        )
        return 0
    before = json.loads(options.file.read_text())
    changed = [name for name in now if before.get(name) != now[name]]
    print(f"{len(now)} results, {len(changed)} changed, {len(before.keys() - now)} gone")
    for name in changed:
        print(name, before.get(name), now[name])
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
