"""XGBoost behind the scikit-learn interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar

import numpy as np

from refocal.boosting.classifier import FocalClassifier, Task
from refocal.boosting.hosts import BAGGED, DECIDED, TARGETS, Host, Words
from refocal.boosting.numeric import Array

# settings that between them bring up every part of XGBoost that has parameters
BOOSTERS: tuple[dict[str, str], ...] = (
    {"booster": "dart"},
    {"booster": "gbtree", "tree_method": "exact"},
    {"booster": "gbtree", "tree_method": "approx"},
    {"booster": "gblinear", "updater": "shotgun"},
    {"booster": "gblinear", "updater": "coord_descent"},
)


@cache
def _read_by(host: Any) -> dict[str, str]:
    """Return every parameter that some booster of XGBoost reads beside an objective of ours.

    XGBoost writes down what it has read, under each of its names. Left out is what its objectives
    read: the one that it falls back to beside ours takes parameters and is never asked. What only
    another booster would read XGBoost warns of itself.
    """
    names = {"verbosity"}  # of the process, not of a model
    one_row = host.DMatrix(np.zeros((1, 1)), [0.0])
    with host.config_context(verbosity=0):
        for choice in BOOSTERS:
            probe = host.Booster({**choice, "base_score": 0.0}, [one_row])
            read = json.loads(probe.save_config())["learner"]
            del read["objective"]
            names.update(_leaves(read))
    return {name: name for name in names}


def _leaves(tree: Any) -> Iterator[str]:
    """Yield the names in XGBoost's configuration that stand for a value."""
    if isinstance(tree, list):
        for branch in tree:
            yield from _leaves(branch)
        return
    for name, value in tree.items():
        if isinstance(value, (dict, list)):
            yield from _leaves(value)
        else:
            yield name


HOST = Host(
    package="xgboost",
    name="XGBoost",
    refused={
        **DECIDED,
        "base_score": DECIDED["boost_from_average"],
        "num_target": TARGETS,
        "num_feature": "It follows from X.",
        "scale_pos_weight": (
            "XGBoost reads it in its own objectives alone; use class_weight= or alpha=."
        ),
        "missing": "Mark what is missing as NaN.",
        "enable_categorical": "The categories of a data frame are always used.",
        "disable_default_eval_metric": "It is always set; choose with eval_metric=.",
        "custom_metric": "Use eval_metric=.",
        "callbacks": "Pass fit(..., callbacks=).",
        "maximize": "The metrics know their direction.",
    },
    words=Words(
        fixed={
            "nthread": 1,
            "verbosity": 0,
            "subsample": BAGGED,
            "grow_policy": "lossguide",
            "max_depth": 0,
        },
        size="max_leaves",
        balanced=False,
        l2="reg_lambda",
        seed="seed",
        least_hessian=("min_child_weight", 1.0),
    ),
    first_names=_read_by,
)


class FocalXGBClassifier(FocalClassifier):
    """XGBoost trained with the focal loss, two or more classes.

    ``predict_proba`` is the closed-form posterior, not the sigmoid. The start is the model's own
    ``base_score``.

    Args:
        alpha: None, the weight of the positive class in [0, 1], or (more than two classes) one
            weight per class. At the optimum it is an offset that ``predict_proba`` takes back.
        gamma: focusing exponent >= 0, a pair ``(gamma_pos, gamma_neg)``, or (more than two
            classes) one per class. XGBoost's own gamma is ``min_split_loss`` here, its alpha
            ``reg_alpha``.
        detach_modulator: hold ``(1 - p_t)**gamma`` constant: a convex loss of its own.
        hessian: "bound", "absolute", "cross_entropy" or "exact"; see `SigmoidFocalObjective`.
        start: "constant", the logit whose posterior is the base rate; "zero"; or a logit.
        class_weight: None, "balanced" or a dictionary, as in scikit-learn: multiplies the sample
            weights, and shifts the probabilities. For a weight that they do not show use alpha.
        n_estimators: boosting rounds.
        eval_metric: "focal_loss", "log_loss" (of the posterior), "average_precision", "auc",
            "error", what the hosts call these, a function of labels and probabilities, or several.
        early_stopping_rounds: stop after so many rounds without a better first metric on the last
            ``eval_set``; prediction then uses the best round.
        **host_params: any parameter of ``xgboost.train``: ``max_depth``, ``learning_rate``, ... .

    Attributes:
        booster_: the ``xgboost.Booster``; its predictions are logits.
        objective_: the `SigmoidFocalObjective` or `SoftmaxFocalObjective` trained with.
        start_: the logit, or one per class, that training started from.
        classes_: labels in the order of the columns of ``predict_proba``.
        evals_result_: metric by round, ``{"validation_0": {"focal_loss": [...]}}``.

    Example:
        >>> from sklearn.datasets import make_classification
        >>> from refocal.boosting import FocalXGBClassifier
        >>> X, y = make_classification(2000, weights=[0.95], flip_y=0.02, random_state=0)
        >>> model = FocalXGBClassifier(max_depth=3, n_estimators=50, n_jobs=1).fit(X, y)
        >>> print(round(y.mean(), 2), round(model.predict_proba(X)[:, 1].mean(), 2))
        0.06 0.06
    """

    HOST: ClassVar[Host] = HOST

    def _train(self, task: Task) -> Any:
        host, settings, rows, evals, metrics, own, verbose = task
        params = settings | {
            "base_score": self.start_,
            "disable_default_eval_metric": True,
        }
        if len(self.classes_) > 2:
            params["num_class"] = len(self.classes_)
        train, *matrices = (self._matrix(host, *one) for one in (rows, *evals))
        callbacks = list(own)
        if self.early_stopping_rounds is not None:
            callbacks.append(
                host.callback.EarlyStopping(
                    rounds=self.early_stopping_rounds,
                    metric_name=metrics[0].name,
                    data_name=f"validation_{len(evals) - 1}",
                    maximize=metrics[0].higher_is_better,
                    save_best=True,
                )
            )
        return host.train(
            params,
            train,
            self.n_estimators,
            obj=self.objective_,
            evals=[(one, f"validation_{i}") for i, one in enumerate(matrices)],
            custom_metric=lambda margins, data: [
                (metric.name, metric(margins, data)[1]) for metric in metrics
            ],
            evals_result=self.evals_result_,
            verbose_eval=verbose or False,
            callbacks=callbacks,
        )

    def _matrix(self, host: Any, X: Any, index: Any = None, weight: Any = None) -> Any:
        return host.DMatrix(X, index, weight=weight, enable_categorical=True)

    def _logits(self, X: Any) -> Array:
        host = HOST.load(type(self).__name__)
        logits: Array = self.booster_.predict(self._matrix(host, X), output_margin=True)
        return logits

    def predict(self, X: Any, *, output_margin: bool = False) -> Array:
        """Return the most probable class ``(n,)``; logits with ``output_margin``, as XGBoost's."""
        return self.logits(X) if output_margin else super().predict(X)

    def _contributions(self, X: Any) -> Array:
        host = HOST.load(type(self).__name__)
        values: Array = self.booster_.predict(self._matrix(host, X), pred_contribs=True)
        return values

    def _model_text(self) -> str:
        return bytes(self.booster_.save_raw("json")).decode("utf-8")

    def _model_of(self, host: Any, text: str) -> Any:
        return host.Booster(model_file=bytearray(text.encode("utf-8")))

    def _importances(self) -> Any:
        """Return the mean gain of each feature."""
        gains = self.booster_.get_score(importance_type="gain")
        names = self.booster_.feature_names or [f"f{i}" for i in range(self.n_features_in_)]
        return [gains.get(name, 0.0) for name in names]
