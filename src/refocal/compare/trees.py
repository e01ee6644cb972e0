"""Boosted trees: XGBoost, LightGBM and CatBoost under the candidates' losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refocal import boosting
from refocal.boosting import arguments
from refocal.compare.candidates import Candidate
from refocal.compare.data.prepare import Prepared
from refocal.compare.data.table import Bools, Floats
from refocal.compare.models import Effort, Fit, Report, validation_score

_CLASSES = {
    "xgboost": "FocalXGBClassifier",
    "lightgbm": "FocalLGBMClassifier",
    "catboost": "FocalCatBoostClassifier",
}
# One thread for each fit, since fits run side by side; then figures depend on no thread count.
_PARAMS: dict[str, dict[str, Any]] = {
    "xgboost": {"max_depth": 6, "nthread": 1, "verbosity": 0},
    "lightgbm": {"num_leaves": 31, "num_threads": 1, "deterministic": True, "force_row_wise": True},
    "catboost": {"depth": 6, "thread_count": 1},
}


@dataclass(frozen=True)
class Trees:
    """One boosting library."""

    name: str
    rates: tuple[float, ...] = (0.05, 0.1, 0.3)
    network: bool = False

    def __post_init__(self) -> None:
        arguments.host(_CLASSES[self.name], self.name)  # an ImportError with the way out, at once

    def identity(self, data: Prepared, seed: int) -> str:
        """The library with its version, which decides the trees."""
        return f"{self.name} {arguments.host(_CLASSES[self.name], self.name).__version__}"

    def supports(self, candidate: Candidate) -> bool:
        """CatBoost has no focal loss for classes that exclude each other."""
        return self.name != "catboost" or candidate.link == "sigmoid"

    def fit(
        self,
        candidate: Candidate,
        rate: float,
        data: Prepared,
        effort: Effort,
        *,
        seed: int,
        report: Report,
    ) -> Fit:
        """Boost until the loss on validation rows stops falling.

        The classes of the sigmoid link are boosted one after the other; those of the softmax at
        once.
        """
        outcomes = [
            self._boost(candidate, alpha, rate, data, column, effort, seed)
            for alpha, column in _columns(candidate, data.labels("train").shape[1])
        ]
        valid, test, rounds = zip(*outcomes, strict=True)
        fit = Fit(
            valid_logits=np.concatenate(valid, axis=1),
            test_logits=np.concatenate(test, axis=1),
            curve=(),
            steps=max(rounds),
        )
        score = validation_score(candidate, fit.valid_logits, data.labels("valid"))
        report(fit.steps, score)
        return Fit(fit.valid_logits, fit.test_logits, (score,), fit.steps)

    def _boost(
        self,
        candidate: Candidate,
        alpha: Any,
        rate: float,
        data: Prepared,
        column: int | None,
        effort: Effort,
        seed: int,
    ) -> tuple[Floats, Floats, int]:
        labels, valid = (_classes(data.labels(part), column) for part in ("train", "valid"))
        wait = 5 * effort.patience
        params = _PARAMS[self.name] | {"learning_rate": rate, self._seed_name: seed % 2**31}
        features = [part.numpy() for part in (data.train, data.valid, data.test)]
        model: Any
        if self.name == "catboost" and candidate.gamma == 0:
            return _catboost_logloss(params, effort.rounds, wait, alpha, features, labels, valid)
        model = getattr(boosting, _CLASSES[self.name])(
            alpha=alpha,
            gamma=candidate.gamma,
            n_estimators=effort.rounds,
            early_stopping_rounds=wait,
            **params,
        )
        model.fit(features[0], labels, eval_set=(features[1], valid))
        log = next(iter(model.evals_result_["validation_0"].values()))
        logits = [np.asarray(model.logits(part), dtype=np.float32) for part in features[1:]]
        return _two_axes(logits[0]), _two_axes(logits[1]), int(np.argmin(log)) + 1

    @property
    def _seed_name(self) -> str:
        return "random_seed" if self.name == "catboost" else "seed"


def _columns(candidate: Candidate, classes: int) -> list[tuple[Any, int | None]]:
    """(alpha, column) of each model to boost; None stands for all columns at once."""
    if candidate.link == "softmax":
        return [(candidate.alpha, None)]
    return list(zip(candidate.alphas(classes), range(classes), strict=True))


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
