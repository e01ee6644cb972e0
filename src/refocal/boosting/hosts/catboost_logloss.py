"""CatBoost's own Logloss, which `refocal.compare` trains at a gamma of 0: its Focal has none."""

from __future__ import annotations

from typing import Any

import numpy as np

from refocal import extras
from refocal.boosting.numeric import Array


def cross_entropy(
    params: dict[str, Any],
    rounds: int,
    wait: int,
    alpha: float | None,
    features: list[Any],
    labels: Any,
    valid: Any,
) -> tuple[Array, Array, int]:
    """Train it from the base rate, as the classifiers of this package start.

    Args:
        params: of CatBoost.
        rounds: the most trees.
        wait: rounds without a smaller validation loss before it stops.
        alpha: weight of a positive; None for none.
        features: of training, validation and test rows.
        labels: 0 and 1, of the training rows.
        valid: of the validation rows.

    Returns:
        Logits of the validation and the test rows, and the rounds of the best step.
    """
    host = extras.imported("FocalCatBoostClassifier", "catboost")
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
        np.asarray(model.predict(part, prediction_type="RawFormulaVal") + start, dtype=np.float32)
        for part in features[1:]
    ]
    return logits[0], logits[1], int(model.get_best_iteration()) + 1
