"""What is measured, by whom, and the one `setup` that speed, memory and accuracy share."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import refocal

Loss = Callable[[Tensor, Tensor], Tensor]


class Case(NamedTuple):
    """One measurement, of every provider that has it.

    Attributes:
        link: "sigmoid" or "softmax"; "varifocal" or "gaussian", which read targets otherwise.
        shape: of the logits.
        dtype: of the logits.
        gamma: 2 is everybody's common case, 1.5 stands for all others.
        mode: "full" is forward and backward of a mean; "forward" has no gradient to compute.
        compiled: whether compiled peers are measured too; each takes seconds to compile.
        allocators: "warm" keeps its pages, "default" is plain malloc, whose page faults flatter
            whoever allocates least.
    """

    link: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    gamma: float = 2.0
    mode: str = "full"
    compiled: bool = True
    allocators: tuple[str, ...] = ("warm", "default")


SIZES = (1, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
# few classes, CIFAR-100, ImageNet, a vocabulary
SOFTMAX = ((65_536, 10), (65_536, 100), (8_192, 1_000), (1_024, 32_000))
# two crops of a segmentation: two classes and background, and the 21 of PASCAL VOC; 5 % ignored
IMAGES = ((2, 3, 512, 512), (2, 21, 512, 512))
IGNORED = 255
# of detectors: the same logits, with qualities or a heatmap for targets
DENSE = ("varifocal", "gaussian")
WARM = ("warm",)
CASES = (
    *(Case("sigmoid", (n,), compiled=n in (1_000, 1_000_000), allocators=WARM) for n in SIZES[:-1]),
    Case("sigmoid", (10_000_000,)),
    Case("sigmoid", (10_000_000,), gamma=1.5, allocators=WARM),
    Case("sigmoid", (10_000_000,), mode="forward", allocators=WARM),
    Case("sigmoid", (1_000,), "bfloat16", compiled=False, allocators=WARM),
    Case("sigmoid", (1_000_000,), "bfloat16", compiled=False, allocators=WARM),
    Case("sigmoid", (10_000_000,), "bfloat16", allocators=WARM),
    *(Case(link, (1_000_000,), compiled=False, allocators=WARM) for link in DENSE),
    *(Case("softmax", shape, compiled=shape[1] == 10) for shape in SOFTMAX),
    *(Case("softmax", shape, "bfloat16", compiled=False, allocators=WARM) for shape in SOFTMAX),
    *(Case("softmax", shape, mode="forward", compiled=False, allocators=WARM) for shape in SOFTMAX),
    *(
        Case("softmax", shape, dtype, compiled=False, allocators=WARM)
        for shape in IMAGES
        for dtype in ("float32", "bfloat16")
    ),
)


def inputs(case: Case, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of a model in training, and targets: 10 % positives, or uniform classes."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(case.shape, generator=generator).mul_(3)
    dtype = getattr(torch, case.dtype)
    if case.link != "softmax":
        # what torchvision and BCE require: floating targets of the logits' dtype
        targets = (torch.rand(case.shape, generator=generator) < 0.1).to(dtype)
        if case.link in DENSE:
            targets *= torch.rand(case.shape, generator=generator)
        if case.link == "gaussian":
            targets[::1_000] = 1
        return logits.sub_(2).to(dtype), targets
    rows, classes, *image = case.shape
    targets = torch.randint(0, classes, (rows, *image), generator=generator)
    if image:
        targets[torch.rand(targets.shape, generator=generator) < 0.05] = IGNORED
    return logits.to(dtype), targets


# ---------------------------------------------------------------------------------------------
# providers: each computes the mean; CROSS_ENTROPY ones compute another, cheaper loss

CROSS_ENTROPY = ("bce", "cross_entropy")


def recipe(gamma: float) -> Loss:
    """What projects write down themselves."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        ce = F.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORED)
        losses = (1 - torch.exp(-ce)) ** gamma * ce
        return losses.mean() if targets.dim() == 1 else losses.sum() / (targets != IGNORED).sum()

    return loss


def torchvision_loss(gamma: float) -> Loss:
    from torchvision.ops import sigmoid_focal_loss

    return lambda z, y: sigmoid_focal_loss(z, y, alpha=0.25, gamma=gamma, reduction="mean")


def kornia_sigmoid(gamma: float) -> Loss:
    from kornia.losses import binary_focal_loss_with_logits

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        # it wants a class axis
        z, y = logits.view(-1, 1), targets.view(-1, 1)
        return binary_focal_loss_with_logits(z, y, alpha=0.25, gamma=gamma, reduction="mean")

    return loss


def kornia_softmax(gamma: float) -> Loss:
    from kornia.losses import focal_loss

    # its own mean divides by the classes too
    return lambda z, y: focal_loss(z, y, alpha=None, gamma=gamma, reduction="sum") / len(z)


def exacta_softmax(gamma: float) -> Loss:
    from exacta.losses import FocalLoss

    # one voxel per row: it is made for images
    module = FocalLoss(activation="softmax", target_format="index", gamma=gamma)
    return lambda z, y: module(z.unsqueeze(-1), y.unsqueeze(-1))


def varifocal_recipe(gamma: float) -> Loss:
    """What detectors write down themselves, by the paper's equation 2."""

    def loss(logits: Tensor, quality: Tensor) -> Tensor:
        negative = 0.75 * torch.sigmoid(logits).pow(gamma)
        weight = torch.where(quality > 0, quality, negative)
        entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
        return (weight * entropy).mean()

    return loss


def gaussian_recipe(gamma: float) -> Loss:
    """The same of heatmaps, with the clamp that all of them have."""

    def loss(logits: Tensor, heatmap: Tensor) -> Tensor:
        p = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
        peak = heatmap == 1
        of_peaks = -torch.log(p) * (1 - p) ** gamma * peak
        of_others = -torch.log(1 - p) * p**gamma * (1 - heatmap) ** 4 * ~peak
        return (of_peaks + of_others).sum() / peak.sum().clamp(min=1)

    return loss


PROVIDERS: dict[str, dict[str, Callable[[float], Loss]]] = {
    "sigmoid": {
        "refocal": lambda gamma: lambda z, y: refocal.sigmoid_focal_loss(z, y, gamma=gamma),
        "refocal eager": lambda gamma: (
            lambda z, y: refocal.sigmoid_focal_loss(z, y, gamma=gamma, impl="eager")
        ),
        "torchvision": torchvision_loss,
        "torchvision compiled": torchvision_loss,
        "bce": lambda gamma: F.binary_cross_entropy_with_logits,
        "kornia": kornia_sigmoid,
    },
    "varifocal": {
        "refocal": lambda gamma: lambda z, y: refocal.variants.varifocal_loss(z, y, gamma=gamma),
        "bce": lambda gamma: F.binary_cross_entropy_with_logits,
        "recipe": varifocal_recipe,
    },
    "gaussian": {
        "refocal": lambda gamma: (
            lambda z, y: refocal.variants.gaussian_focal_loss(z, y, gamma=gamma)
        ),
        "bce": lambda gamma: F.binary_cross_entropy_with_logits,
        "recipe": gaussian_recipe,
    },
    "softmax": {
        "refocal": lambda gamma: (
            lambda z, y: refocal.softmax_focal_loss(z, y, gamma=gamma, ignore_index=IGNORED)
        ),
        "refocal eager": lambda gamma: (
            lambda z, y: refocal.softmax_focal_loss(
                z, y, gamma=gamma, ignore_index=IGNORED, impl="eager"
            )
        ),
        "cross_entropy": lambda gamma: partial(F.cross_entropy, ignore_index=IGNORED),
        "recipe": recipe,
        "recipe compiled": recipe,
        "kornia": kornia_softmax,
        "exacta": exacta_softmax,
    },
}
PACKAGES = {"torchvision", "kornia", "exacta"}


def providers(case: Case) -> list[str]:
    """Who takes part: the compiled where the case asks for them, packages where installed."""
    return [
        name
        for name in PROVIDERS[case.link]
        if (case.compiled or not name.endswith("compiled"))
        # to find a size below which it is faster: large ones would only take time
        and (name != "refocal eager" or math.prod(case.shape) <= 100_000)
        and (
            name.split()[0] not in PACKAGES
            # theirs divide by what is ignored, too
            or (len(case.shape) <= 2 and importlib.util.find_spec(name.split()[0]))
        )
    ]


class Setup(NamedTuple):
    """What a provider is given: leaf logits, targets, its loss, and one call to measure."""

    logits: Tensor
    targets: Tensor
    loss: Loss
    run: Callable[[], object]


def setup(case: Case, provider: str) -> Setup:
    """One provider, ready to be measured."""
    logits, targets = inputs(case)
    loss = PROVIDERS[case.link][provider](case.gamma)
    if provider.endswith("compiled"):
        loss = torch.compile(loss, dynamic=False)
    logits.requires_grad_(case.mode == "full")

    def full() -> object:
        logits.grad = None
        loss(logits, targets).backward()
        return logits.grad

    def forward() -> object:
        with torch.no_grad():
            return loss(logits, targets)

    return Setup(logits, targets, loss, full if case.mode == "full" else forward)


# ---------------------------------------------------------------------------------------------
# the truth, in float64 and by other formulas than the library's


def exact(case: Case, provider: str, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss and gradient."""
    plain = provider in CROSS_ENTROPY
    gamma = 0.0 if plain else case.gamma
    z = logits.detach().double()
    if case.link in DENSE:
        value, slope = of_dense(case, z, targets.double(), plain=plain)
        count = (targets == 1).sum() if case.link == "gaussian" and not plain else z.numel()
        return value.sum() / count, slope / count
    if case.link == "sigmoid":
        y = targets.double()
        s = (2 * y - 1) * z
        alpha = torch.ones_like(y) if plain else 0.25 * y + 0.75 * (1 - y)
        value, slope = of_margin(s, gamma)
        count = z.numel()
        return (alpha * value).sum() / count, alpha * slope * (2 * y - 1) / count
    shape = z.movedim(1, -1).shape
    z, y = z.movedim(1, -1).reshape(-1, z.shape[1]), targets.flatten()
    kept = y != IGNORED
    rows, y = torch.arange(len(z)), torch.where(kept, y, 0)
    rivals = z.clone()
    rivals[rows, y] = -torch.inf
    value, slope = of_margin(z[rows, y] - torch.logsumexp(rivals, 1), gamma)
    gradient = torch.softmax(rivals, 1) * -slope[:, None]
    gradient[rows, y] = slope
    gradient[~kept] = 0
    count = kept.sum()
    return value[kept].sum() / count, (gradient / count).reshape(shape).movedim(-1, 1)


def of_margin(s: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    p, q, ce = torch.sigmoid(s), torch.sigmoid(-s), -F.logsigmoid(s)
    m = q**gamma
    return m * ce, -m * (q + gamma * p * ce)


def of_dense(case: Case, z: Tensor, y: Tensor, *, plain: bool) -> tuple[Tensor, Tensor]:
    """Of every element: where a quality is taught, cross-entropy, which is plain everywhere."""
    p, entropy = torch.sigmoid(z), -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z))
    if plain:
        return entropy, p - y
    above, rise = of_margin(z, case.gamma)
    below, fall = of_margin(-z, case.gamma)
    if case.link == "varifocal":
        taught = y > 0
        return (
            torch.where(taught, y * entropy, 0.75 * below),
            torch.where(taught, y * (p - y), -0.75 * fall),
        )
    share = (1 - y) ** 4
    return torch.where(y == 1, above, share * below), torch.where(y == 1, rise, -share * fall)


def largest_error(case: Case, provider: str) -> float:
    """Relative, over all elements of the gradient, or of the loss alone where that is measured.

    Where a quality y is nearly met, its gradient y (p - y) / N is nearly 0, and the error is taken
    relative to y y / N.
    """
    rows, *classes = case.shape[:2]
    shape = (min(rows, 100_000 // (classes or [1])[0] + 1), *classes)
    small = case._replace(shape=(*shape, *(min(size, 64) for size in case.shape[2:])))
    ready = setup(small, provider)
    value, gradient = exact(small, provider, ready.logits, ready.targets)
    if case.mode == "forward":
        with torch.no_grad():
            found = ready.loss(ready.logits, ready.targets)
        return ((found.double() - value).abs() / value).item()
    ready.run()
    error = (torch.as_tensor(ready.logits.grad).double() - gradient).abs()
    size = gradient.abs()
    if case.link in DENSE:
        y = ready.targets.double()
        size = torch.maximum(size, torch.where(y < 1, y * y, 0.0) / y.numel())
    # an ignored position has the gradient 0, exactly
    return torch.where(error == 0, 0.0, error / size).max().item()
