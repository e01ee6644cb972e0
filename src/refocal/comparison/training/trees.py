"""Boosted trees: XGBoost, LightGBM and CatBoost under the candidates' losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refocal import boosting
from refocal.boosting import arguments, numeric
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Effort, Fit, Watch, validation_score
from refocal.comparison.training.settings import Axis, Setting
from refocal.formula.in_numpy import BOOK
from refocal.parameters import prior_bias

_CLASSES = {
    "xgboost": "FocalXGBClassifier",
    "lightgbm": "FocalLGBMClassifier",
    "catboost": "FocalCatBoostClassifier",
}
_BAGGED = 0.8  # of the rows, for each tree
# What each library calls the same thing. One thread for each fit, since fits run side by side; then
# figures depend on no thread count.
_PARAMS: dict[str, dict[str, Any]] = {
    "xgboost": {"nthread": 1, "verbosity": 0, "subsample": _BAGGED, "grow_policy": "lossguide"},
    "lightgbm": {
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "bagging_fraction": _BAGGED,
        "bagging_freq": 1,
    },
    "catboost": {"thread_count": 1, "bootstrap_type": "Bernoulli", "subsample": _BAGGED},
}
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
        arguments.host(_CLASSES[self.name], self.name)  # an ImportError with the way out, at once

    @property
    def axes(self) -> Mapping[str, Axis]:
        """The size of a tree, what its leaves are held back by, and the rate."""
        size = {"depth": _DEPTH} if self.name == "catboost" else {"leaves": _LEAVES}
        return {"rate": _RATE, **size, "l2": _L2}

    def identity(self, data: Prepared, seed: int) -> str:
        """The library with its version, which decides the trees."""
        return f"{self.name} {arguments.host(_CLASSES[self.name], self.name).__version__}"

    def supports(self, loss: Loss) -> bool:
        """CatBoost has no focal loss for classes that exclude each other."""
        return self.name != "catboost" or loss.link == "sigmoid"

    def fit(
        self,
        loss: Loss,
        setting: Setting,
        data: Prepared,
        effort: Effort,
        *,
        seed: int,
        watch: Watch,
    ) -> Fit:
        """Boost until the loss on validation rows stops falling.

        The classes of the sigmoid link are boosted one after the other; those of the softmax at
        once.
        """
        outcomes = [
            self._boost(loss, alpha, setting, data, column, effort, seed)
            for alpha, column in _columns(loss, data.labels("train").shape[1])
        ]
        valid, test, rounds = zip(*outcomes, strict=True)
        logits = np.concatenate(valid, axis=1)
        steps = max(rounds)
        score = validation_score(loss, logits, data.labels("valid"))
        watch(steps, score)
        converged = _FIRST_STEPS < steps < effort.rounds
        return Fit(logits, np.concatenate(test, axis=1), (score,), steps, converged)

    def _boost(
        self,
        loss: Loss,
        alpha: Any,
        setting: Setting,
        data: Prepared,
        column: int | None,
        effort: Effort,
        seed: int,
    ) -> tuple[Floats, Floats, int]:
        labels, valid = (_classes(data.labels(part), column) for part in ("train", "valid"))
        params = self._params(setting, scale_of(loss, alpha, labels), seed)
        features = [part.numpy() for part in (data.train, data.valid, data.test)]
        model: Any
        if self.name == "catboost" and loss.gamma == 0:
            return _catboost_logloss(
                params, effort.rounds, effort.patience, alpha, features, labels, valid
            )
        model = getattr(boosting, _CLASSES[self.name])(
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

    def _params(self, setting: Setting, scale: float, seed: int) -> dict[str, Any]:
        """The setting in the library's words.

        A leaf is its gradient over (Hessian + l2). A focal loss's Hessians are a fraction of
        cross-entropy's, and under one and the same l2 its leaves would be held back more: l2 and
        the least Hessian of a leaf are therefore in units of the loss's own curvature.
        """
        params = _PARAMS[self.name] | {"learning_rate": setting["rate"]}
        l2 = setting["l2"] * scale
        if self.name == "catboost":
            return params | {
                "depth": round(setting["depth"]),
                "l2_leaf_reg": l2,
                "random_seed": seed % 2**31,
            }
        params |= {"seed": seed % 2**31}
        leaves = round(setting["leaves"])
        if self.name == "xgboost":
            return params | {
                "max_leaves": leaves,
                "max_depth": 0,
                "reg_lambda": l2,
                "min_child_weight": scale,
            }
        return params | {
            "num_leaves": leaves,
            "lambda_l2": l2,
            "min_sum_hessian_in_leaf": 1e-3 * scale,
        }


def scale_of(loss: Loss, alpha: Any, classes: Any) -> float:
    """The mean curvature of a loss where boosting starts, against cross-entropy's there."""
    counts = np.bincount(classes)
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
    """(alpha, column) of each model to boost; None stands for all columns at once."""
    if loss.link == "softmax":
        return [(loss.alpha, None)]
    return list(zip(loss.alphas(classes), range(classes), strict=True))


def _classes(labels: Bools, column: int | None) -> Any:
    return labels.argmax(1) if column is None else labels[:, column].astype(np.int64)


def _two_axes(logits: Floats) -> Floats:
    return logits if logits.ndim == 2 else logits[:, None]


def _catboost_logloss(
    params: dict[str, Any],
    rounds: int,
    wait: int,
    alpha: float | None,
    features: list[Any],
    labels: Any,
    valid: Any,
) -> tuple[Floats, Floats, int]:
    """CatBoost's Focal has no gamma of 0: cross-entropy is its own Logloss."""
    host = arguments.host("FocalCatBoostClassifier", "catboost")
    weights = {} if alpha is None else {"class_weights": [1 - alpha, alpha]}
    start = float(np.log(labels.mean() / (1 - labels.mean())))
    if alpha is not None:
        start += float(np.log(alpha / (1 - alpha)))

    def pool(rows: Any, classes: Any) -> Any:
        return host.Pool(rows, classes, baseline=np.full(len(rows), start))

    model = host.CatBoost(
        params
        | weights
        | {
            "loss_function": "Logloss",
            "iterations": rounds,
            "verbose": False,
            "allow_writing_files": False,
        }
    )
    model.fit(
        pool(features[0], labels),
        eval_set=pool(features[1], valid),
        early_stopping_rounds=wait,
        use_best_model=True,
    )
    logits = [
        np.asarray(model.predict(one, prediction_type="RawFormulaVal") + start, dtype=np.float32)
        for one in features[1:]
    ]
    return logits[0][:, None], logits[1][:, None], int(model.get_best_iteration()) + 1
