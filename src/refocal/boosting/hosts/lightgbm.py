"""LightGBM behind the scikit-learn interface."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from refocal.boosting.classifier import FocalClassifier, Rows, Task
from refocal.boosting.hosts import BAGGED, DECIDED, ROUNDS, Host, Words
from refocal.boosting.numeric import Array
from refocal.messages import refuse

# Why LightGBM would ignore a parameter, by its first name: all that its own list has and that
# training from Python with the focal loss does not read.
_WEIGHTS = "LightGBM reads it in its own objectives alone; use class_weight= or alpha=."
_OBJECTIVES = "LightGBM reads it in its own objectives alone; choose alpha and gamma."
_METRICS = "It is of LightGBM's own metrics and logs; use eval_metric= and evals_result_."
_FILES = "It is of LightGBM's command line, which reads and writes files; use fit, save and load."
_PREDICTION = "LightGBM reads it when predicting; use booster_.predict, and add start_."
_BALANCE = "LightGBM's objective binary alone samples by class; use class_weight= or alpha=."

REFUSED = {
    **DECIDED,
    "boost_from_average": "LightGBM ignores it for a custom objective; use start=.",
    "metric": "LightGBM's own metrics misread logits; use eval_metric=.",
    "num_iterations": ROUNDS,
    "early_stopping_round": "Use early_stopping_rounds=.",
    "first_metric_only": "Early stopping looks at the first of eval_metric=.",
    **dict.fromkeys(("scale_pos_weight", "is_unbalance"), _WEIGHTS),
    **dict.fromkeys(("pos_bagging_fraction", "neg_bagging_fraction"), _BALANCE),
    **dict.fromkeys(
        (
            "sigmoid", "fair_c", "poisson_max_delta_step", "tweedie_variance_power", "reg_sqrt",
            "lambdarank_truncation_level", "lambdarank_norm", "label_gain", "objective_seed",
            "lambdarank_position_bias_regularization",
        ),
        _OBJECTIVES,
    ),
    **dict.fromkeys(
        (
            "auc_mu_weights", "eval_at", "multi_error_top_k", "is_provide_training_metric",
            "metric_freq",
        ),
        _METRICS,
    ),
    **dict.fromkeys(
        (
            "task", "config", "data", "valid", "input_model", "output_model", "snapshot_freq",
            "save_binary", "header", "label_column", "weight_column", "group_column",
            "ignore_column", "two_round", "pre_partition", "precise_float_parser",
            "parser_config_file", "convert_model", "convert_model_language", "output_result",
            "refit_decay_rate",
        ),
        _FILES,
    ),
    **dict.fromkeys(
        (
            "start_iteration_predict", "num_iteration_predict", "predict_raw_score",
            "predict_leaf_index", "predict_contrib", "predict_disable_shape_check",
            "pred_early_stop", "pred_early_stop_freq", "pred_early_stop_margin",
        ),
        _PREDICTION,
    ),
}  # fmt: skip


def _first_names(host: Any) -> dict[str, str]:
    return {
        name: first
        for first, names in host.basic._ConfigAliases._get_all_param_aliases().items()
        for name in names
    }


HOST = Host(
    package="lightgbm",
    name="LightGBM",
    refused=REFUSED,
    words=Words(
        fixed={
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "bagging_fraction": BAGGED,
            "bagging_freq": 1,
        },
        size="num_leaves",
        balanced=False,
        l2="lambda_l2",
        seed="seed",
        least_hessian=("min_sum_hessian_in_leaf", 1e-3),
    ),
    first_names=_first_names,
)


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
        eval_metric: "focal_loss", "log_loss" (of the posterior), "average_precision", "auc",
            "error", what the hosts call these, a function of labels and probabilities, or several.
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

    HOST: ClassVar[Host] = HOST

    def _settings(self, host: Any) -> dict[str, Any]:
        settings = super()._settings(host)
        if settings.get("boosting") in ("rf", "random_forest"):
            raise refuse(
                type(self).__name__,
                "boosting",
                "be gbdt or dart",
                repr(settings["boosting"]),
                (
                    "LightGBM's random forest takes no custom objective: use gbdt with "
                    "bagging_fraction= "
                    "and bagging_freq=."
                ),
            )
        return settings

    def _train(self, task: Task) -> Any:
        host, settings, rows, evals, metrics, own, verbose = task
        # pre-filtered tables without a feature left make LightGBM fail on a custom objective
        params = {"verbosity": -1, "feature_pre_filter": False} | settings
        least = params.pop("early_stopping_min_delta", 0.0)
        params |= {"objective": self.objective_, "metric": "none"}
        if len(self.classes_) > 2:
            params["num_class"] = len(self.classes_)
        train = self._dataset(host, rows, params)
        callbacks = [host.record_evaluation(self.evals_result_), *own]
        if verbose:
            callbacks.append(host.log_evaluation(int(verbose)))
        if self.early_stopping_rounds is not None:
            callbacks.append(
                host.early_stopping(
                    int(self.early_stopping_rounds),  # LightGBM refuses NumPy's
                    first_metric_only=True,
                    verbose=False,
                    min_delta=least,
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
        raw: Array = self.booster_.predict(X, raw_score=True, **self._threads())
        return np.asarray(raw + np.asarray(self.start_))

    def _threads(self) -> dict[str, Any]:
        # without them LightGBM goes back to all threads, for the whole process: a training beside
        # this one, in another Python thread, would then write past its buffers
        first_names = _first_names(HOST.load(type(self).__name__))
        given = self._host_params().items()
        return {k: v for k, v in given if first_names.get(k) == "num_threads"}

    def predict_proba(self, X: Any, *, raw_score: bool = False) -> Array:
        """Return the posterior ``(n, C)``; logits with ``raw_score``, as LightGBM names them."""
        return self.logits(X) if raw_score else super().predict_proba(X)

    def predict(self, X: Any, *, raw_score: bool = False) -> Array:
        """Return the most probable class ``(n,)``; logits with ``raw_score``."""
        return self.logits(X) if raw_score else super().predict(X)

    def _contributions(self, X: Any) -> Array:
        found = self.booster_.predict(X, pred_contrib=True, **self._threads())
        if isinstance(found, list):  # of a sparse table one sparse matrix a class
            found = np.stack([part.toarray() for part in found], 1)
        elif hasattr(found, "toarray"):
            found = found.toarray()
        start = np.asarray(self.start_)
        values: Array = np.array(found, np.float64)
        values = values.reshape(len(values), *start.shape, -1)
        values[..., -1] += start
        return values

    def _model_text(self) -> str:
        return str(self.booster_.model_to_string(num_iteration=self.booster_.best_iteration))

    def _model_of(self, host: Any, text: str) -> Any:
        return host.Booster(model_str=text)

    def _importances(self) -> Any:
        """Return the total gain of each feature."""
        return self.booster_.feature_importance(importance_type="gain")
