"""Which loss finds one positive in 8,000, and how fast.

The detector is trained on scenes under several losses and several first biases of its last layer,
everything else being equal: the same scenes, the same first weights, the same order. That is
repeated with other seeds, and every loss is compared with cross-entropy seed by seed.

The form is that of table 1 of Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object
Detection", 2017: cross-entropy with and without a prior bias, then alpha, then gamma.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import t as student
from torch import nn

from examples.dense_digits.detector import detector
from examples.dense_digits.scenes import CLASSES, SIDE, Scenes, scenes
from refocal import sigmoid_focal_loss, sigmoid_logit
from refocal.files import write_text
from refocal.metrics import average_precision

BASE_RATE = 2 / (CLASSES * SIDE**2)  # two digits a scene on average

_TRAINING_SCENES = 1_000
_TEST_SCENES = 200
_BATCH = 16
_WARM_UP = 0.2  # share of the steps in which the learning rate rises
_LARGEST_GRADIENT = 1.0
_CHECKS = 6  # measurements on the way

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
        rate = torch.tensor(BASE_RATE, dtype=torch.float64)
        return sigmoid_logit(rate, alpha=self.alpha, gamma=self.gamma).item()


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
    """

    outcomes: tuple[Outcome, ...]
    seeds: tuple[int, ...]
    checks: tuple[int, ...]

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
            outcome.setting.start: outcome
            for outcome in self.outcomes
            if outcome.setting.gamma == 0 and outcome.setting.alpha is None
        }
        for outcome in self.outcomes:
            setting = outcome.setting
            plain = by_start.get(setting.start)
            difference = "-"
            if plain is not None and plain is not outcome:
                gains = [a - b for a, b in zip(outcome.final, plain.final, strict=True)]
                difference = _interval(gains, sign="+")
            start = f"{setting.start} {setting.bias:.2f}" if setting.bias else setting.start
            reached = _interval(outcome.final)
            lines.append(f"{setting.loss:<26} {start:<19} {reached:<18} {difference}")
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
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Train the detector under every setting with every seed, and measure it.

    Args:
        settings: losses and starts.
        seeds: how many, from 0, or which. A seed decides which digits are for training, the
            scenes, the first weights and the order.
        steps: batches of 16 scenes, >= 6.
        workers: fits at a time, one thread each; None: one per core.
        kept: a JSON file of finished fits: what is in it is not trained again.
        progress: called with fits done and fits in all, after each.

    Returns:
        Average precision by setting, seed and step: the same for the same arguments and library
        versions, whatever ``workers`` is.

    Raises:
        ValueError: no seeds or settings, or too few steps.
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen:
        raise ValueError(f"run: seeds must name at least one, got {seeds}.")
    if not settings:
        raise ValueError("run: settings must hold at least one, got none.")
    if steps < _CHECKS:
        raise ValueError(f"run: steps must be >= {_CHECKS}, got {steps}.")
    checks = tuple(round(steps * (k + 1) / _CHECKS) for k in range(_CHECKS))
    workers = workers or os.cpu_count() or 1
    total = len(chosen) * len(settings)
    fits = Fits(kept)
    done = 0
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for seed in chosen:
                wanted = [one for one in settings if (one, seed, checks) not in fits]
                if wanted:
                    train = scenes(_TRAINING_SCENES, seed=seed)
                    test = scenes(_TEST_SCENES, seed=seed, part="test")
                jobs = {
                    setting: pool.submit(_fit, setting, seed, train, test, checks)
                    for setting in wanted
                }
                try:
                    for setting in settings:
                        if setting in jobs:
                            fits.add(setting, seed, checks, jobs[setting].result())
                        done += 1
                        if progress is not None:
                            progress(done, total)
                finally:
                    for job in jobs.values():  # one that was not begun is not waited for
                        job.cancel()
    finally:
        torch.set_num_threads(threads)
    outcomes = tuple(
        Outcome(setting, tuple(fits[setting, seed, checks] for seed in chosen))
        for setting in settings
    )
    return Ablation(outcomes, chosen, checks)


class Fits:
    """Finished fits: average precision at each check, by setting, seed and checks.

    Args:
        file: where they are kept for a run that goes on after this one; None for nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._curves: dict[str, list[float]] = {}
        if file is not None and file.exists():
            self._curves = json.loads(file.read_text())

    def add(self, setting: Setting, seed: int, checks: Sequence[int], curve: list[float]) -> None:
        """Keep a fit."""
        self._curves[self._key(setting, seed, checks)] = curve
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._file, json.dumps(self._curves, indent=1) + "\n")

    def __getitem__(self, fit: tuple[Setting, int, Sequence[int]]) -> tuple[float, ...]:
        return tuple(self._curves[self._key(*fit)])

    def __contains__(self, fit: tuple[Setting, int, Sequence[int]]) -> bool:
        return self._key(*fit) in self._curves

    @staticmethod
    def _key(setting: Setting, seed: int, checks: Sequence[int]) -> str:
        """All that decides what a fit reaches."""
        scenes = (_TRAINING_SCENES, _TEST_SCENES)
        return f"{setting} seed={seed} checks={list(checks)} scenes={scenes}"


def _fit(
    setting: Setting, seed: int, train: Scenes, test: Scenes, checks: Sequence[int]
) -> list[float]:
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
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        if step in checks:
            curve.append(average_precision(_scores(network, test), test.targets))
    return curve


@torch.no_grad()
def _scores(network: nn.Sequential, test: Scenes) -> np.ndarray:
    network.eval()
    logits = network(torch.from_numpy(test.images))
    network.train()
    return logits.numpy()


def _interval(values: Sequence[float], sign: str = "") -> str:
    """Mean and half width of the 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:{sign}.3f}"
    degrees = len(values) - 1
    half = student.ppf(0.975, degrees) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:{sign}.3f} ± {half:.3f}"
