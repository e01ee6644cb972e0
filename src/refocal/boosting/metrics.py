"""Metrics for the hosts' training logs and early stopping that know what the predictions are.

A host treats the predictions of a custom objective as it likes: LightGBM's own log loss takes
logits for probabilities (.157 reported where .318 is true), XGBoost's takes the sigmoid, which is
not the posterior. These metrics start from the logits.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from refocal.boosting import arguments
from refocal.boosting.numeric import Array
from refocal.boosting.objectives import (
    SigmoidFocalObjective,
    SoftmaxFocalObjective,
    labels_and_weights,
)
from refocal.formula.in_numpy import BOOK
from refocal.messages import refuse
from refocal.metrics import average_precision

Objective = SigmoidFocalObjective | SoftmaxFocalObjective


class Metric:
    """What the metrics share: how the hosts call them.

    An instance goes to ``xgb.train(custom_metric=...)``, ``xgb.cv(custom_metric=...)`` and
    ``XGBClassifier(eval_metric=...)``, to ``lgb.train(feval=...)``, ``lgb.cv(feval=...)`` and
    ``LGBMClassifier.fit(eval_metric=...)``, and to ``CatBoostClassifier(eval_metric=...)``.
    Early stopping keeps the best round in each of them.

    Args:
        objective: the objective the model is trained with.
    """

    name = ""
    higher_is_better = False
    # the name for XGBoost, whose early stopping takes the direction from how a name begins
    xgboost_name = ""
    no_jit = True  # CatBoost would have Numba compile its methods, which these are not made for

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.__name__ = self.xgboost_name or self.name  # what XGBoost's wrapper reports

    def value(
        self, labels: npt.ArrayLike, margins: npt.ArrayLike, weight: npt.ArrayLike | None = None
    ) -> float:
        """Return the metric of logits ``(n,)`` or ``(n, C)`` against labels ``(n,)``."""
        name = type(self).__name__
        y: Array = np.asarray(labels)
        w = arguments.sample_weight(name, weight, len(y))
        return self._value(y, np.asarray(margins), np.ones(len(y)) if w is None else w)

    def _value(self, labels: Array, margins: Array, weight: Array) -> float:
        raise NotImplementedError

    def __call__(self, first: Any, second: Any, *more: Any, sample_weight: Any = None) -> Any:
        """Return what the calling host wants: a number, (name, number) or (name, number,
        direction).

        Of the scikit-learn wrappers XGBoost's gives the weights by name; LightGBM's gives whatever
        the signature has room for, without names.
        """
        if more:
            return self.lightgbm(first, second, more[0])
        margins, labels, weight = labels_and_weights(first, second, sample_weight)
        value = self.value(labels, margins, weight)
        if not hasattr(second, "get_label"):
            return value
        if hasattr(second, "num_row"):  # xgboost.DMatrix
            return self.__name__, value
        return self.name, value, self.higher_is_better

    def lightgbm(
        self, labels: npt.ArrayLike, margins: npt.ArrayLike, weight: npt.ArrayLike | None
    ) -> tuple[str, float, bool]:
        """Return the form that LightGBM's scikit-learn wrapper takes."""
        return self.name, self.value(labels, margins, weight), self.higher_is_better

    def is_max_optimal(self) -> bool:
        """Return the direction, as CatBoost asks for it."""
        return self.higher_is_better

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """Return value times weight, and the weight, as CatBoost adds them up."""
        columns = [np.asarray(approx) for approx in approxes]
        margins = columns[0] if len(columns) == 1 else np.column_stack(columns)
        weight = None if weight is None else np.asarray(weight)
        total = float(len(target) if weight is None else weight.sum())
        return self.value(np.asarray(target), margins, weight) * total, total

    def get_final_error(self, error: float, weight: float) -> float:
        """Return the value of what `evaluate` returned, as CatBoost asks for it."""
        return error / weight if weight else 0.0


class FocalLoss(Metric):
    """Mean focal loss in nats, what training minimises (weighted by sample weights).

    Example:
        >>> from refocal.boosting import FocalLoss, SigmoidFocalObjective
        >>> metric = FocalLoss(SigmoidFocalObjective())
        >>> round(metric.value([1, 0], [2.0, -1.0]), 5)
        0.00872
    """

    name = "focal_loss"

    def _value(self, labels: Array, margins: Array, weight: Array) -> float:
        return float(np.average(self.objective.losses(labels, margins), weights=weight))


class PosteriorLogLoss(Metric):
    """Mean ``-log P(label)`` in nats of the closed-form posterior: comparable between objectives.

    Example:
        >>> from refocal.boosting import PosteriorLogLoss, SigmoidFocalObjective
        >>> metric = PosteriorLogLoss(SigmoidFocalObjective())
        >>> round(metric.value([1, 0], [-1.5443, -1.5443]), 4)  # -log(.045 * .955) / 2
        1.5736
    """

    name = "log_loss"

    def _value(self, labels: Array, margins: Array, weight: Array) -> float:
        if isinstance(self.objective, SigmoidFocalObjective):
            odds = self.objective.log_odds(margins.reshape(len(labels)))
            positive = arguments.binary_labels(type(self).__name__, labels)
            wrong = np.where(positive, -odds, odds)
            losses = BOOK.softplus(wrong, np.log1p(BOOK.decay(wrong)))
        else:
            z = arguments.margins(type(self).__name__, margins, len(labels), multiclass=True)
            index = arguments.class_labels(type(self).__name__, labels, z.shape[1])
            p = self.objective.posterior(z)[np.arange(len(index)), index]
            losses = -np.log(np.maximum(p, np.finfo(float).tiny))
        return float(np.average(losses, weights=weight))


class AveragePrecision(Metric):
    """Average precision of the logits' ranking, binary only; monotone links do not change it.

    XGBoost knows it as ``precision_average``: its early stopping maximises what begins with
    ``pre``, and would minimise ``average_precision``.

    Example:
        >>> from refocal.boosting import AveragePrecision, SigmoidFocalObjective
        >>> AveragePrecision(SigmoidFocalObjective()).value([1, 0, 1], [3.0, 2.0, 1.0])
        0.8333333333333333
    """

    name = "average_precision"
    higher_is_better = True
    xgboost_name = "precision_average"

    def _value(self, labels: Array, margins: Array, weight: Array) -> float:
        name = type(self).__name__
        if not isinstance(self.objective, SigmoidFocalObjective):
            raise refuse(
                name,
                "objective",
                "be binary",
                type(self.objective).__name__,
                "For several classes use PosteriorLogLoss or FocalLoss.",
            )
        positive = arguments.binary_labels(name, labels)
        z = margins.reshape(len(labels))
        value = average_precision(z, positive, weight)
        return 0.0 if np.isnan(value) else value  # a host's early stopping compares numbers


class AreaUnderROC(Metric):
    """Area under the ROC curve; of several classes the mean of each against the rest.

    Example:
        >>> from refocal.boosting import SigmoidFocalObjective
        >>> from refocal.boosting.metrics import AreaUnderROC
        >>> AreaUnderROC(SigmoidFocalObjective()).value([1, 0, 1], [3.0, 2.0, 1.0])
        0.5
    """

    name = "auc"
    higher_is_better = True

    def _value(self, labels: Array, margins: Array, weight: Array) -> float:
        from sklearn.metrics import roc_auc_score

        p = self.objective.posterior(margins)
        classes = range(1 if p.shape[1] == 2 else 0, p.shape[1])
        present = [c for c in classes if 0 < (labels == c).mean() < 1]
        areas = [roc_auc_score(labels == c, p[:, c], sample_weight=weight) for c in present]
        return float(np.mean(areas)) if areas else 0.5


class ErrorRate(Metric):
    """Share of rows, by weight, whose most probable class is not theirs.

    Example:
        >>> from refocal.boosting import SigmoidFocalObjective
        >>> from refocal.boosting.metrics import ErrorRate
        >>> ErrorRate(SigmoidFocalObjective(alpha=None)).value([1, 0, 1, 0], [3.0, 2.0, 1.0, -1.0])
        0.25
    """

    name = "error"

    def _value(self, labels: Array, margins: Array, weight: Array) -> float:
        wrong = self.objective.posterior(margins).argmax(1) != labels
        return float(np.average(wrong, weights=weight))


class OwnMetric(Metric):
    """A function of labels and probabilities as a metric.

    Args:
        objective: the objective the model is trained with.
        function: from class numbers ``(n,)`` and the posterior, of the second of two classes
            ``(n,)`` or of all ``(n, C)``, to a number or to LightGBM's ``(name, value,
            higher_is_better)``. It is given ``sample_weight`` by name if it has such a parameter.
    """

    def __init__(self, objective: Objective, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        # scikit-learn's convention of names
        self.higher_is_better = self.name.endswith("_score")
        self.says = self.higher_is_better or self.name.endswith(("_loss", "_error", "_deviance"))
        try:
            self.weighs = "sample_weight" in inspect.signature(function).parameters
        except ValueError:  # a builtin without a signature
            self.weighs = False
        super().__init__(objective)

    def _value(self, labels: Array, margins: Array, weight: Array) -> float:
        p = self.objective.posterior(margins)
        weights = {"sample_weight": weight} if self.weighs else {}
        found = self.function(labels, p[:, 1] if p.shape[1] == 2 else p, **weights)
        if isinstance(found, tuple):
            self.says = True
            self.name, found, self.higher_is_better = found
            self.__name__ = self.name
        return float(found)

    def ask(self, classes: int) -> None:
        """Let a function say name and direction, if it does so with its result, by a few rows."""
        labels = np.repeat(np.arange(classes), 2)
        flat = np.zeros(len(labels)) if classes == 2 else np.zeros((len(labels), classes))
        with contextlib.suppress(Exception):  # its own trouble will show where it is used
            self._value(labels, flat, np.ones(len(labels)))


METRICS: dict[str, type[Metric]] = {
    kind.name: kind
    for kind in (FocalLoss, PosteriorLogLoss, AveragePrecision, AreaUnderROC, ErrorRate)
}

# What the hosts call them. Their own are functions of the sigmoid, which is no probability here.
HOSTS_NAMES: dict[str, str] = {
    **dict.fromkeys(("aucpr", "PRAUC"), "average_precision"),
    **dict.fromkeys(("AUC", "roc_auc"), "auc"),
    **dict.fromkeys(
        ("logloss", "mlogloss", "binary_logloss", "multi_logloss", "Logloss", "MultiClass"),
        "log_loss",
    ),
    **dict.fromkeys(
        ("merror", "binary_error", "multi_error", "ZeroOneLoss"),
        "error",
    ),
}
