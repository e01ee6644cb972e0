"""LightGBM behind the scikit-learn interface."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from refocal.boosting.classifier import FocalClassifier, Rows
from refocal.boosting.metrics import Metric
from refocal.boosting.numeric import Array

# LightGBM's names for one parameter
THREADS = ("num_threads", "num_thread", "nthread", "nthreads", "n_jobs")


class FocalLGBMClassifier(FocalClassifier):
    """LightGBM trained with the focal loss, two or more classes.

    ``predict_proba`` is the closed-form posterior. LightGBM ignores ``boost_from_average`` for a
    custom objective and stores no start, so the start is kept here and added to its predictions.

    Args:
        alpha: None, the weight of the positive class in [0, 1], or (more than two classes) one
            weight per class. At the optimum it is an offset that ``predict_proba`` takes back.
        gamma: focusing exponent >= 0, a pair ``(gamma_pos, gamma_neg)``, or (more than two
            classes) one per class.
        detach_modulator: hold ``(1 - p_t)**gamma`` constant: a convex loss of its own.
        hessian: "bound", "absolute", "cross_entropy" or "exact"; see `SigmoidFocalObjective`.
        start: "constant", the logit whose posterior is the base rate; "zero"; or a logit.
        class_weight: None, "balanced" or a dictionary, as in scikit-learn: multiplies the sample
            weights, and shifts the probabilities. For a weight that they do not show use alpha.
        n_estimators: boosting rounds.
        eval_metric: "focal_loss", "log_loss" (of the posterior), "average_precision", or several.
        early_stopping_rounds: stop after so many rounds without a better first metric on the last
            ``eval_set``; prediction then uses the best round.
        **host_params: any parameter of ``lightgbm.train``: ``num_leaves``, ``learning_rate``, ... .

    Attributes:
        booster_: the ``lightgbm.Booster``; its predictions are logits less `start_`.
        objective_: the `SigmoidFocalObjective` or `SoftmaxFocalObjective` trained with.
        start_: the logit, or one per class, that training started from.
        classes_: labels in the order of the columns of ``predict_proba``.
        evals_result_: metric by round, ``{"validation_0": {"focal_loss": [...]}}``.

    Example:
        >>> from sklearn.datasets import make_classification
        >>> from refocal.boosting import FocalLGBMClassifier
        >>> X, y = make_classification(2000, weights=[0.95], flip_y=0.02, random_state=0)
        >>> model = FocalLGBMClassifier(num_leaves=8, n_jobs=1).fit(X, y)
        >>> print(round(y.mean(), 2), round(model.predict_proba(X)[:, 1].mean(), 2))
        0.06 0.06
    """

    package = "lightgbm"
    refused: ClassVar[dict[str, str]] = {
        "objective": "The objective is the focal loss; choose alpha and gamma.",
        "boost_from_average": "LightGBM ignores it for a custom objective; use start=.",
        "num_class": "It follows from y.",
        "metric": "LightGBM's own metrics misread logits; use eval_metric=.",
    }

    def _train(self, host: Any, rows: Rows, evals: list[Rows], metrics: list[Metric]) -> Any:
        # pre-filtered tables without a feature left make LightGBM fail on a custom objective
        params = {"verbosity": -1, "feature_pre_filter": False} | self._host_params()
        params |= {"objective": self.objective_, "metric": "none"}
        if len(self.classes_) > 2:
            params["num_class"] = len(self.classes_)
        train = self._dataset(host, rows, params)
        callbacks = [host.record_evaluation(self.evals_result_)]
        if self.early_stopping_rounds is not None:
            callbacks.append(
                host.early_stopping(
                    self.early_stopping_rounds, first_metric_only=True, verbose=False
                )
            )
        return host.train(
            params,
            train,
            self.n_estimators,
            valid_sets=[self._dataset(host, one, params, train) for one in evals],
            valid_names=[f"validation_{i}" for i in range(len(evals))],
            feval=list(metrics),
            callbacks=callbacks,
        )

    def _dataset(self, host: Any, rows: Rows, params: Any, reference: Any = None) -> Any:
        start = np.asarray(self.start_)
        return host.Dataset(
            rows.features,
            rows.classes,
            weight=rows.weight,
            init_score=np.broadcast_to(start, (len(rows.classes), *start.shape)).copy(),
            reference=reference,
            params={key: value for key, value in params.items() if key != "objective"},
        )

    def _logits(self, X: Any) -> Array:
        # without them LightGBM goes back to all threads, for the whole process: a training beside
        # this one, in another Python thread, would then write past its buffers
        threads = {k: v for k, v in self._host_params().items() if k in THREADS}
        raw: Array = self.booster_.predict(X, raw_score=True, **threads)
        return np.asarray(raw + np.asarray(self.start_))

    def _model_text(self) -> str:
        return str(self.booster_.model_to_string(num_iteration=self.booster_.best_iteration))

    def _model_of(self, host: Any, text: str) -> Any:
        return host.Booster(model_str=text)

    @property
    def feature_importances_(self) -> Array:
        """Total gain per feature, summing to 1."""
        gains = self.booster_.feature_importance(importance_type="gain")
        return np.asarray(gains / max(gains.sum(), np.finfo(float).tiny))
