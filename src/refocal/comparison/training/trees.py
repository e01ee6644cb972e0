"""Boosted trees: XGBoost, LightGBM and CatBoost under the candidates' losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refocal import boosting
from refocal.boosting import numeric
from refocal.boosting.hosts import Host, room_of
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Fit, Work, validation_score
from refocal.comparison.training.settings import Axis, Setting
from refocal.formula.in_numpy import BOOK
from refocal.parameters import prior_bias

_FIRST_STEPS = 5  # rounds: what is best there was reached by leaps

_RATE = Axis((0.03, 0.1, 0.3), 0.1, "learning rate", 3.0, 0.001, 1.0)
_L2 = Axis((1.0, 10.0), 1.0, "l2", 10.0, 0.1, 1000.0)
_LEAVES = Axis((7, 31), 31, "leaves", 2.0, 2, 127, whole=True)
_DEPTH = Axis((3, 6), 6, "depth", 1.5, 1, 9, whole=True)  # CatBoost's trees are balanced


@dataclass(frozen=True)
class Trees:
    """One boosting library."""

    name: str
    network: bool = False
    starts: bool = True
    unit: str = "round"

    def __post_init__(self) -> None:
        self.library()  # an ImportError with the way out, at once

    def library(self) -> Any:
        """Return the imported library."""
        return self.host.load(boosting.CLASSIFIERS[self.name])

    @property
    def host(self) -> Host:
        """What is known of the library."""
        return host_of(self.name)

    @property
    def axes(self) -> Mapping[str, Axis]:
        """The size of a tree, what its leaves are held back by, and the rate."""
        size = {"depth": _DEPTH} if self.host.words.balanced else {"leaves": _LEAVES}
        return {"rate": _RATE, **size, "l2": _L2}

    def identity(self, data: Prepared, seed: int) -> str:
        """Return the library with its version, which decides the trees."""
        return f"{self.name} {self.library().__version__}"

    def supports(self, loss: Loss) -> bool:
        """Say yes to any loss, but for that of several classes where a library has none."""
        return self.host.several_classes or loss.link == "sigmoid"

    def fit(self, work: Work) -> Fit:
        """Boost until the loss on validation rows stops falling.

        The classes of the sigmoid link are boosted one after the other; those of the softmax at
        once.
        """
        loss, data = work.loss, work.data
        outcomes = [
            self._boost(work, alpha, column)
            for alpha, column in _columns(loss, data.labels("train").shape[1])
        ]
        valid, test, rounds = zip(*outcomes, strict=True)
        logits = np.concatenate(valid, axis=1)[: len(data.valid)]  # what is watched begins so
        steps = max(rounds)
        score = validation_score(loss, logits, data)
        work.watch(steps, score)
        converged = _FIRST_STEPS < steps < work.effort.rounds
        return Fit(logits, np.concatenate(test, axis=1), (score,), steps, converged)

    def _boost(self, work: Work, alpha: Any, column: int | None) -> tuple[Floats, Floats, int]:
        loss, data, effort = work.loss, work.data, work.effort
        watched, said = data.watched
        labels, valid = (_classes(one, column) for one in (data.labels("train"), said))
        scale = scale_of(loss, alpha, np.bincount(labels))
        params = params_of(self.name, work.setting, scale, work.seed)
        features = [part.numpy() for part in (data.train, watched, data.test)]
        if loss.gamma == 0 and self.host.cross_entropy is not None:
            *found, steps = self.host.cross_entropy(
                params, effort.rounds, effort.patience, alpha, features, labels, valid
            )
            return _two_axes(found[0]), _two_axes(found[1]), steps
        model = getattr(boosting, boosting.CLASSIFIERS[self.name])(
            alpha=alpha,
            gamma=loss.gamma,
            n_estimators=effort.rounds,
            early_stopping_rounds=effort.patience,
            **params,
        )
        model.fit(features[0], labels, eval_set=(features[1], valid))
        log = next(iter(model.evals_result_["validation_0"].values()))
        logits = [np.asarray(model.logits(part), dtype=np.float32) for part in features[1:]]
        return _two_axes(logits[0]), _two_axes(logits[1]), int(np.argmin(log)) + 1


def params_of(name: str, setting: Setting, scale: float, seed: int) -> dict[str, Any]:
    """Return a setting in the words of a library.

    A leaf is its gradient over (Hessian + l2). A focal loss's Hessians are a fraction of
    cross-entropy's, and under one and the same l2 its leaves would be held back more: l2 and
    the least Hessian of a leaf are therefore in units of the loss's own curvature.
    """
    words = host_of(name).words
    params = {
        **words.fixed,
        "learning_rate": setting["rate"],
        words.size: round(setting["depth" if words.balanced else "leaves"]),
        words.l2: setting["l2"] * scale,
        words.seed: seed % 2**31,
    }
    if words.least_hessian is not None:
        least, usual = words.least_hessian
        params[least] = usual * scale
    return params


def host_of(name: str) -> Host:
    """Return what is known of a library."""
    host: Host = room_of(boosting.CLASSIFIERS[name], name).HOST
    return host


def scale_of(loss: Loss, alpha: Any, counts: Any) -> float:
    """Return the mean curvature of a loss where boosting starts, against cross-entropy's there.

    Args:
        loss: the loss.
        alpha: of the column, or one for each class.
        counts: training rows of each class; of a column against the rest: its negatives first.
    """
    rates = counts / counts.sum()

    def mean(gamma: float, weights: Floats, margins: Floats) -> float:
        _, curvature = numeric.slope_and_curvature(
            margins, BOOK.decay(margins), gamma, "bound", False
        )
        return float((rates * weights * curvature).sum())

    plain = np.log(rates) - np.log1p(-rates)
    if len(rates) > 2:
        weights = np.ones(len(rates)) if alpha is None else np.asarray(alpha)
        return mean(loss.gamma, weights, plain) / mean(0.0, np.ones(len(rates)), plain)
    start = prior_bias(float(rates[1]), alpha=alpha, gamma=loss.gamma)
    weights = np.ones(2) if alpha is None else np.array([1 - alpha, alpha])
    own = mean(loss.gamma, weights, np.array([-start, start]))
    return own / mean(0.0, np.ones(2), plain)


def _columns(loss: Loss, classes: int) -> list[tuple[Any, int | None]]:
    """Return (alpha, column) of each model to boost; None stands for all columns at once."""
    if loss.link == "softmax":
        return [(loss.alpha, None)]
    return list(zip(loss.alphas(classes), range(classes), strict=True))


def _classes(labels: Bools, column: int | None) -> Any:
    return labels.argmax(1) if column is None else labels[:, column].astype(np.int64)


def _two_axes(logits: Floats) -> Floats:
    return logits if logits.ndim == 2 else logits[:, None]
