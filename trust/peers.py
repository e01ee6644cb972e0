"""The half-precision and extreme-logit checks on other libraries' focal losses, beside refocal's.

``python -m trust.peers`` in an environment that has them (``make test-hosts`` makes one) writes the
table for the documentation. A positive (y = 1) without a class weight, by the default settings of
each library otherwise; gradients by the library's own autograd. refocal runs by plain torch.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from trust.reference import margin, value_and_slope

TABLE = Path("docs/tables/peers.md")
GAMMAS = (0.5, 2.0)
MODERATE = 10.0  # logits up to here are everyday ones
DTYPES = (torch.float16, torch.bfloat16, torch.float32)

Both = Callable[[Tensor, float], tuple[Tensor, Tensor]]


class Peer(NamedTuple):
    """A library: its distribution, its loss and gradient, and every how many logits it is asked."""

    distribution: str
    both: Both
    stride: int = 1


# ---------------------------------------------------------------------------------------------
# losses, element by element, of positives


def by_autograd(loss: Callable[[Tensor, Tensor, float], Tensor]) -> Both:
    """Loss and gradient of a torch function of logits, targets and gamma."""

    def both(z: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
        leaf = z.detach().clone().requires_grad_()
        value = loss(leaf, torch.ones_like(z), gamma)
        (gradient,) = torch.autograd.grad(value, leaf, torch.ones_like(value))
        return value.detach().view(z.shape), gradient

    return both


def refocal() -> Both:
    """Ours."""
    from refocal import sigmoid_focal_loss

    return by_autograd(
        lambda z, y, gamma: sigmoid_focal_loss(
            z, y, alpha=None, gamma=gamma, reduction="none", impl="eager"
        )
    )


def torchvision() -> Both:
    """Alpha -1 is none."""
    ops = importlib.import_module("torchvision.ops")
    return by_autograd(lambda z, y, gamma: ops.sigmoid_focal_loss(z, y, alpha=-1, gamma=gamma))


def kornia() -> Both:
    """The binary form."""
    losses = importlib.import_module("kornia.losses")
    return by_autograd(
        lambda z, y, gamma: losses.binary_focal_loss_with_logits(
            z[:, None], y[:, None], alpha=None, gamma=gamma, reduction="none"
        )
    )


def monai() -> Both:
    """Sigmoid by default."""
    losses = importlib.import_module("monai.losses")
    return by_autograd(
        lambda z, y, gamma: losses.FocalLoss(gamma=gamma, reduction="none")(z[:, None], y[:, None])
    )


def keras() -> Both:
    """Over torch; it computes in float32 whatever it is given."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    losses = importlib.import_module("keras").losses
    return by_autograd(
        lambda z, y, gamma: losses.BinaryFocalCrossentropy(
            from_logits=True, gamma=gamma, reduction=None
        )(y[:, None], z[:, None])
    )


def optax() -> Both:
    """By JAX's own differentiation."""
    jax = importlib.import_module("jax")
    losses = importlib.import_module("optax").losses

    def both(z: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
        dtype = str(z.dtype).removeprefix("torch.")
        logits = jax.numpy.asarray(z.float().numpy()).astype(dtype)
        ones = jax.numpy.ones_like(logits)
        value, pull = jax.vjp(
            lambda z: losses.sigmoid_focal_loss(z, ones, alpha=None, gamma=gamma), logits
        )
        parts = (value, pull(jax.numpy.ones_like(value))[0])
        loss, gradient = (torch.tensor(one.astype("float32").tolist()) for one in parts)
        return loss, gradient

    return both


def exacta() -> Both:
    """It has a mean alone: asked one logit at a time."""
    losses = importlib.import_module("exacta.losses")

    def loss(z: Tensor, y: Tensor, gamma: float) -> Tensor:
        focal = losses.FocalLoss(activation="sigmoid", target_format="one-hot", gamma=gamma)
        each = [focal(a.view(1, 1, 1, 1), b.view(1, 1, 1, 1)) for a, b in zip(z, y, strict=True)]
        return torch.stack(each)

    return by_autograd(loss)


def peers() -> Iterator[Peer]:
    """Refocal first."""
    yield Peer("refocal", refocal())
    yield Peer("torchvision", torchvision())
    yield Peer("kornia", kornia())
    yield Peer("monai", monai())
    yield Peer("keras", keras())
    yield Peer("optax", optax())
    yield Peer("exacta", exacta(), stride=64)


# ---------------------------------------------------------------------------------------------
# the check


def logits_of(dtype: torch.dtype, stride: int) -> Tensor:
    """Every finite logit of a half-precision dtype, or 65,536 spread over all of float32."""
    if dtype == torch.float32:
        bits = torch.arange(0, 2**32, 2**16 * stride) + 2**15
        every = bits.to(torch.int32).view(torch.float32)
    else:
        every = torch.arange(0, 2**16, stride, dtype=torch.int32).to(torch.uint16).view(dtype)
    return every[every.isfinite()]


class Marks(NamedTuple):
    """Results that are NaN or infinite, and the largest relative error at moderate logits."""

    wrong: int
    error: float


def marks(found: Tensor, exact: Tensor, z: Tensor) -> Marks:
    """Of results beside exact ones: those too large for the dtype may be infinite, those too small
    for its normal numbers are not measured.
    """
    info = torch.finfo(z.dtype)
    representable = exact.abs() <= info.max
    wrong = int((~found.isfinite() & representable).sum())
    usual = (z.abs() <= MODERATE) & (exact.abs() >= info.tiny) & found.isfinite()
    error = (found.double() - exact).abs() / exact.abs()
    return Marks(wrong, float(error[usual].max()))


def row(peer: Peer, dtype: torch.dtype) -> str:
    """One line of the table."""
    z = logits_of(dtype, peer.stride)
    name = peer.distribution
    # ours is the one that this page belongs to
    cells = [name if name == "refocal" else f"{name} {version(name)}", str(dtype).split(".")[1]]
    cells.append(f"{len(z):,}")
    for gamma in GAMMAS:
        found = peer.both(z, gamma)
        exact = value_and_slope(margin(z), gamma)
        for one, true in zip(found, exact, strict=True):
            found_marks = marks(one, true, z)
            cells += [f"{found_marks.wrong:,}", f"{found_marks.error:.1e}"]
    return f"| {' | '.join(cells)} |"


def header() -> list[str]:
    """NaN or infinity, and error, of loss and gradient, for each gamma."""
    cells = ["library", "dtype", "logits"]
    for gamma in GAMMAS:
        for what in ("loss", "gradient"):
            cells += [f"γ {gamma:g} {what}: NaN or inf", "error"]
    return [f"| {' | '.join(cells)} |", "|---" * len(cells) + "|"]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    lines = header()
    for peer in peers():
        for dtype in DTYPES:
            lines.append(row(peer, dtype))
            print(lines[-1], flush=True)
    options.table.parent.mkdir(parents=True, exist_ok=True)
    options.table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
