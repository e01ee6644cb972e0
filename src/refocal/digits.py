"""The dense digits experiment: which loss finds one positive in 8,000, and how fast.

A small convolutional detector is trained on the scenes of `refocal.data.digits` under several
losses and several first biases of its last layer, everything else being equal: the same scenes,
the same first weights, the same order. That is repeated with other seeds, and every loss is
compared with cross-entropy seed by seed.

The form is that of table 1 of Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object
Detection", 2017: cross-entropy with and without a prior bias, then alpha, then gamma.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from refocal.data.digits import CLASSES, SIDE, Scenes, scenes
from refocal.inverse import BinaryLink
from refocal.losses import sigmoid_focal_loss

__all__ = ["SETTINGS", "Ablation", "Outcome", "Setting", "average_precision", "detector", "run"]

BASE_RATE = 2 / (CLASSES * SIDE**2)  # two digits a scene on average

_TRAINING_SCENES = 1_000
_TEST_SCENES = 200
_BATCH = 16
_WIDTH = 32
_WARM_UP = 0.2  # share of the steps in which the learning rate rises
_LARGEST_GRADIENT = 1.0
_CHECKS = 6  # measurements on the way
# 97.5 % points of Student's t by degrees of freedom; the normal's beyond
_T = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

Start = Literal["zero", "one percent", "base rate"]


@dataclass(frozen=True)
class Setting:
    """A loss and where training starts.

    Attributes:
        alpha: weight of positives, None for no weight.
        gamma: focusing exponent; 0 is cross-entropy.
        start: the bias of the last layer. "zero": none, p = 0.5. "one percent": the logit of 0.01
            as in the paper. "base rate": the logit that *means* the share of positives under this
            loss, by the inverse of its posterior.
        learning_rate: the peak of SGD's learning rate.
    """

    alpha: float | None
    gamma: float
    start: Start
    learning_rate: float = 0.1

    @property
    def loss(self) -> str:
        """Name of the loss for a table."""
        if self.gamma == 0:
            return "cross-entropy" if self.alpha is None else f"alpha {self.alpha:g}"
        alpha = "off" if self.alpha is None else f"{self.alpha:g}"
        return f"focal gamma {self.gamma:g}, alpha {alpha}"

    @property
    def bias(self) -> float:
        """First bias of the last layer."""
        if self.start == "zero":
            return 0.0
        if self.start == "one percent":
            return -math.log(99)
        weight = 0.0 if self.alpha is None else math.log(self.alpha / (1 - self.alpha))
        link = BinaryLink(weight, (self.gamma, self.gamma))
        return link.logit(math.log(BASE_RATE / (1 - BASE_RATE)))


SETTINGS: tuple[Setting, ...] = (
    Setting(None, 0.0, "zero"),
    Setting(None, 0.0, "one percent"),
    Setting(None, 0.0, "base rate"),
    Setting(0.75, 0.0, "one percent"),
    Setting(0.75, 0.0, "base rate"),
    Setting(0.25, 1.0, "one percent"),
    Setting(0.25, 2.0, "zero"),
    Setting(0.25, 2.0, "one percent"),
    Setting(0.25, 2.0, "base rate"),
    Setting(0.25, 5.0, "one percent"),
)


@dataclass(frozen=True)
class Outcome:
    """What one setting reached.

    Attributes:
        setting: the loss and the start.
        average_precision: over all pixels and classes of the test scenes, by seed and check.
    """

    setting: Setting
    average_precision: tuple[tuple[float, ...], ...]

    @property
    def final(self) -> tuple[float, ...]:
        """Average precision at the end, by seed."""
        return tuple(curve[-1] for curve in self.average_precision)


@dataclass(frozen=True)
class Ablation:
    """Everything `run` measured.

    Attributes:
        outcomes: one per setting, in the order asked for.
        seeds: the seeds.
        checks: the steps after which average precision was measured.
        seconds: wall time.
    """

    outcomes: tuple[Outcome, ...]
    seeds: tuple[int, ...]
    checks: tuple[int, ...]
    seconds: float

    def table(self) -> str:
        """The outcome as text: means and differences with 95 % t intervals over the seeds.

        Differences are from cross-entropy with the same start, seed by seed, so that what the
        seeds have in common drops out; "-" where that is not among the settings.
        """
        lines = [
            f"{'loss':<26} {'first bias':<19} {'average precision':<18} from cross-entropy",
            "-" * 86,
        ]
        by_start = {
            one.setting.start: one
            for one in self.outcomes
            if one.setting.gamma == 0 and one.setting.alpha is None
        }
        for one in self.outcomes:
            setting = one.setting
            other = by_start.get(setting.start)
            difference = "-"
            if other is not None and other is not one:
                difference = _interval(
                    [a - b for a, b in zip(one.final, other.final, strict=True)], sign="+"
                )
            start = f"{setting.start} {setting.bias:.2f}" if setting.bias else setting.start
            lines.append(f"{setting.loss:<26} {start:<19} {_interval(one.final):<18} {difference}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain lists, numbers and strings, for JSON."""
        return asdict(self)


def run(
    settings: Sequence[Setting] = SETTINGS,
    *,
    seeds: int | Sequence[int] = 5,
    steps: int = 300,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Train the detector under every setting with every seed, and measure it.

    Args:
        settings: losses and starts.
        seeds: how many, from 0, or which. A seed decides which digits are for training, the
            scenes, the first weights and the order.
        steps: batches of 16 scenes, >= 6.
        workers: fits at a time, one thread each; None: one per core.
        progress: called with fits done and fits in all, after each.

    Returns:
        Average precision by setting, seed and step: the same for the same arguments and library
        versions, whatever ``workers`` is.

    Raises:
        ValueError: no seeds or settings, or too few steps.
        ImportError: scikit-learn is not installed.

    Example:
        >>> results = run(SETTINGS[:1], seeds=1, steps=6)
        >>> results.checks
        (1, 2, 3, 4, 5, 6)
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen:
        raise ValueError(f"run: seeds must name at least one, got {seeds}.")
    if not settings:
        raise ValueError("run: settings must hold at least one, got none.")
    if steps < _CHECKS:
        raise ValueError(f"run: steps must be >= {_CHECKS}, got {steps}.")
    started = time.monotonic()
    checks = tuple(round(steps * (k + 1) / _CHECKS) for k in range(_CHECKS))
    workers = workers or os.cpu_count() or 1
    total = len(chosen) * len(settings)
    curves: list[Any] = []
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for seed in chosen:
                train = scenes(_TRAINING_SCENES, seed=seed)
                test = scenes(_TEST_SCENES, seed=seed, part="test")
                row = []
                fits = pool.map(
                    lambda one, s=seed, a=train, b=test: _fit(one, s, a, b, checks), settings
                )
                for curve in fits:
                    row.append(curve)
                    if progress is not None:
                        progress(len(curves) * len(settings) + len(row), total)
                curves.append(row)
    finally:
        torch.set_num_threads(threads)
    outcomes = tuple(
        Outcome(setting, tuple(row[k] for row in curves)) for k, setting in enumerate(settings)
    )
    return Ablation(outcomes, chosen, checks, time.monotonic() - started)


def detector(bias: float, seed: int) -> nn.Sequential:
    """A network from an image ``(N, 1, 40, 40)`` to a logit per class and pixel.

    The convolutions run on 20 x 20 positions of four pixels each, and the last layer answers for
    those four pixels; every answer sees 14 x 14 pixels.

    Args:
        bias: the first bias of the last layer, whose other weights start near 0.
        seed: of the first weights.

    Returns:
        The network, in training mode.

    Example:
        >>> detector(-4.6, seed=0)(torch.zeros(1, 1, 40, 40)).shape
        torch.Size([1, 10, 40, 40])
    """
    random = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
    inputs = 4
    for _ in range(3):
        layer = nn.Conv2d(inputs, _WIDTH, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(layer.weight, generator=random)
        layers += [layer, nn.BatchNorm2d(_WIDTH), nn.ReLU()]
        inputs = _WIDTH
    head = nn.Conv2d(_WIDTH, 4 * CLASSES, 1)
    nn.init.normal_(head.weight, std=0.01, generator=random)
    nn.init.constant_(head.bias, bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers, head, nn.PixelShuffle(2))


def average_precision(scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> float:
    """Average precision, as scikit-learn defines it; quick where positives are few.

    Args:
        scores: the higher, the more likely positive.
        positive: which are; at least one.

    Returns:
        The mean, over the positives, of the precision at that positive's score.

    Example:
        >>> average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
        0.8333333333333333
    """
    found = np.sort(scores[positive])
    others = np.sort(scores[~positive])
    true = len(found) - np.searchsorted(found, found, "left")
    false = len(others) - np.searchsorted(others, found, "left")
    return float(np.mean(true / (true + false)))


def _fit(
    setting: Setting, seed: int, train: Scenes, test: Scenes, checks: Sequence[int]
) -> tuple[float, ...]:
    """Average precision on the test scenes after each of ``checks`` steps."""
    torch.set_num_threads(1)
    network = detector(setting.bias, seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=setting.learning_rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        setting.learning_rate,
        total_steps=checks[-1],
        pct_start=_WARM_UP,
        cycle_momentum=False,
    )
    images, targets = torch.from_numpy(train.images), torch.from_numpy(train.targets)
    order = torch.Generator().manual_seed(seed)
    curve = []
    for step in range(1, checks[-1] + 1):
        batch = torch.randint(len(images), (_BATCH,), generator=order)
        optimizer.zero_grad()
        # --8<-- [start:loss]
        loss = sigmoid_focal_loss(
            network(images[batch]),
            targets[batch],
            alpha=setting.alpha,
            gamma=setting.gamma,
            normalizer="positives",
        )
        # --8<-- [end:loss]
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        if step in checks:
            curve.append(average_precision(_scores(network, test), test.targets))
    return tuple(curve)


@torch.no_grad()
def _scores(network: nn.Sequential, test: Scenes) -> npt.NDArray[Any]:
    network.eval()
    logits: Tensor = network(torch.from_numpy(test.images))
    network.train()
    return np.asarray(logits.numpy())


def _interval(values: Sequence[float], sign: str = "") -> str:
    """Mean and half width of the 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:{sign}.3f}"
    degrees = len(values) - 1
    t = _T[degrees] if degrees < len(_T) else 1.96
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:{sign}.3f} ± {half:.3f}"
