"""More than two classes in CatBoost: loss and metrics in its interface for several targets.

CatBoost takes a loss of one's own for several logits in two ways. As a multi-class loss it wants
its own metrics beside it, which read the softmax of the logits and not the posterior. As a loss of
several targets, here the one-hot classes, it takes metrics too, but no baseline: the start is
added in here, before the loss and the metrics see a logit. Needs CatBoost, unlike its neighbours.
"""

from __future__ import annotations

from typing import Any

import catboost
import numpy as np

from refocal.boosting.metrics import Metric
from refocal.boosting.numeric import Array
from refocal.boosting.objectives import SoftmaxFocalObjective


class ClassesLoss(catboost.MultiTargetCustomObjective):  # type: ignore[misc]
    """A `SoftmaxFocalObjective` of one-hot targets.

    Args:
        objective: the loss.
        start: logits ``(C,)`` that every row has before the first tree.
    """

    no_jit = True  # CatBoost would have Numba compile the methods

    def __init__(self, objective: SoftmaxFocalObjective, start: list[float]) -> None:
        self.objective = objective
        self.start = start

    def calc_ders_multi(
        self, approxes: Any, targets: Any, weight: Any
    ) -> tuple[list[float], list[list[float]]]:
        """Slopes and curvature of one row's negative loss, as CatBoost asks for them."""
        logits = [raw + one for raw, one in zip(approxes, self.start, strict=True)]
        return self.objective.calc_ders_multi(logits, list(targets).index(1), weight)


class ClassesMetric(catboost.MultiTargetCustomMetric):  # type: ignore[misc]
    """A metric of `refocal.boosting.metrics` over one-hot targets.

    Args:
        metric: of the same objective.
        start: logits ``(C,)`` that every row has before the first tree.
    """

    no_jit = True

    def __init__(self, metric: Metric, start: list[float]) -> None:
        self.metric = metric
        self.start = np.asarray(start)

    def is_max_optimal(self) -> bool:
        """Return the direction, as CatBoost asks for it."""
        return self.metric.higher_is_better

    def evaluate(self, approxes: Any, targets: Any, weight: Any) -> tuple[float, float]:
        """Return value times weight, and the weight, as CatBoost adds them up."""
        logits: Array = np.column_stack([np.asarray(one) for one in approxes]) + self.start
        classes = np.column_stack([np.asarray(one) for one in targets]).argmax(1)
        return self.metric.evaluate(list(logits.T), classes, weight)

    def get_final_error(self, error: float, weight: float) -> float:
        """Return the value of what `evaluate` returned, as CatBoost asks for it."""
        return self.metric.get_final_error(error, weight)
