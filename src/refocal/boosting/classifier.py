"""What the scikit-learn style classifiers share: checks, the link, the start, save and load.

Composed over the hosts' native ``train`` rather than derived from their wrappers: for a custom
objective these return logits as probabilities (LightGBM), or their sigmoid (XGBoost).
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from refocal.boosting import arguments, saved
from refocal.boosting.hosts import Host
from refocal.boosting.metrics import HOSTS_NAMES, METRICS, Metric, Objective, OwnMetric
from refocal.boosting.numeric import Array
from refocal.boosting.objectives import SigmoidFocalObjective, SoftmaxFocalObjective
from refocal.files import write_text
from refocal.messages import refuse

# checked when fitting, by the number of classes: the objectives' own domains
Alpha: TypeAlias = Any
Gamma: TypeAlias = Any


class Rows(NamedTuple):
    """A checked table: features, class indices, weights, each of n rows."""

    features: Any
    classes: Array
    weight: Array | None


class Task(NamedTuple):
    """What a host is asked to train.

    Attributes:
        host: its module.
        settings: its parameters, by their first names.
        rows: to train on.
        evals: to log the metrics on, and to stop by.
        metrics: the first is what is stopped by.
        callbacks: of the user, of the host's kind.
        verbose: whether metrics are printed, or every how many rounds; None for the host's silence.
    """

    host: Any
    settings: dict[str, Any]
    rows: Rows
    evals: list[Rows]
    metrics: list[Metric]
    callbacks: list[Any]
    verbose: bool | int | None


class FocalClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the three classifiers; a subclass trains and predicts logits with its host."""

    HOST: ClassVar[Host]

    def __init__(
        self,
        *,
        alpha: Alpha = None,
        gamma: Gamma = 2.0,
        detach_modulator: bool = False,
        hessian: str = "bound",
        start: str | float = "constant",
        class_weight: dict[Any, float] | str | None = None,
        n_estimators: int = 100,
        eval_metric: Any = "focal_loss",
        early_stopping_rounds: int | None = None,
        **host_params: Any,
    ) -> None:
        self.alpha = alpha
        self.gamma = gamma
        self.detach_modulator = detach_modulator
        self.hessian = hessian
        self.start = start
        self.class_weight = class_weight
        self.n_estimators = n_estimators
        self.eval_metric = eval_metric
        self.early_stopping_rounds = early_stopping_rounds
        for name, value in host_params.items():
            setattr(self, name, value)

    # -----------------------------------------------------------------------------------------
    # parameters: our own by signature, the host's by whatever was passed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return own parameters and those of the host that were set."""
        own: dict[str, Any] = super().get_params(deep=deep)
        return own | self._host_params()

    def set_params(self, **params: Any) -> FocalClassifier:
        """Sets own parameters, and any of the host's."""
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _host_params(self) -> dict[str, Any]:
        own = set(self._get_param_names())
        return {
            name: value
            for name, value in vars(self).items()
            if name not in own and not name.startswith("_") and not name.endswith("_")
        }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    # -----------------------------------------------------------------------------------------
    # fitting

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        eval_set: Any = None,
        eval_sample_weight: Any = None,
        callbacks: Sequence[Any] | None = None,
        verbose: bool | int | None = None,
    ) -> FocalClassifier:
        """Trains the model.

        Args:
            X: features ``(n, d)``: array, sparse matrix or data frame, NaN for what is missing.
            y: labels ``(n,)`` of at least two classes, of any type scikit-learn takes.
            sample_weight: ``(n,)``, finite and >= 0, or None.
            eval_set: a pair ``(X, y)`` or a list of pairs to log `eval_metric` on. Early stopping
                looks at the first metric on the last pair.
            eval_sample_weight: weights of the pairs, one array or a list.
            callbacks: of the host's own kind, called beside ours.
            verbose: whether the metrics of the ``eval_set`` are printed, or every how many rounds.

        Returns:
            self.

        Raises:
            ValueError: fewer than two classes, negative weights, an alpha or gamma outside its
                domain, a parameter that the host would ignore beside the focal loss.
            ImportError: the host is not installed.
        """
        name = type(self).__name__
        host = self.HOST.load(name)
        settings = self._settings(host)
        arguments.start(name, self.start)
        X, y = self._validated(X, reset=True, y=y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise refuse(
                name, "y", "contain at least two classes", f"one class, {self.classes_[0]}"
            )
        self._check_supported()
        rows = Rows(X, index, self._weights(sample_weight, X, y))
        self.objective_: Objective = self._objective()
        self.start_ = self._start(rows)
        evals = self._evals(eval_set, eval_sample_weight)
        if self.early_stopping_rounds is not None and not evals:
            raise refuse(
                name,
                "early_stopping_rounds",
                "be None without an eval_set",
                self.early_stopping_rounds,
                "Pass fit(X, y, eval_set=(X_valid, y_valid)).",
            )
        self.evals_result_: dict[str, dict[str, list[float]]] = {}
        metrics = self._metrics()
        own = list(callbacks or ())
        self.booster_ = self._train(Task(host, settings, rows, evals, metrics, own, verbose))
        return self

    def _settings(self, host: Any) -> dict[str, Any]:
        """Return the host's parameters, each by its first name, none of which would do nothing."""
        settings: dict[str, Any] = {}
        params = self._host_params()
        # a host without a list refuses unknown parameters itself
        names = self.HOST.first_names
        first_names = {name: name for name in params} if names is None else names(host)
        for given, value in params.items():
            if value is None:  # as good as not given, to scikit-learn and to every host
                continue
            parameter = first_names.get(given, given)
            if parameter in settings:
                way_out = f"It is another name for {parameter}, which is given as well."
            elif parameter in self.HOST.refused:
                way_out = self.HOST.refused[parameter]
            elif given not in first_names:
                close = difflib.get_close_matches(given, [*first_names, *self._get_param_names()])
                meant = f" Did you mean {close[0]}?" if close else ""
                way_out = f"{self.HOST.package} would ignore it.{meant}"
            else:
                settings[parameter] = saved.python_number(value)
                continue
            raise refuse(type(self).__name__, given, "be left out", repr(value), way_out)
        return settings

    @property
    def _kind(self) -> type[Objective]:
        return SigmoidFocalObjective if len(self.classes_) == 2 else SoftmaxFocalObjective

    def _objective(self) -> Objective:
        return self._kind(
            alpha=self.alpha,
            gamma=self.gamma,
            hessian=self.hessian,
            detach_modulator=self.detach_modulator,
        )

    def _start(self, rows: Rows) -> float | list[float]:
        """Return the logit, or one per class, from which training starts."""
        name, c = type(self).__name__, len(self.classes_)
        if self.start == "zero":
            return 0.0 if c == 2 else [0.0] * c
        start: Any = self.start
        if start == "constant":
            start = self.objective_.start(rows.classes, rows.weight)
            if c > 2 or self.objective_.hessian != "exact":
                return start  # type: ignore[no-any-return]
        elif c > 2:
            raise refuse(
                name,
                "start",
                f'be "constant" or "zero" for {c} classes',
                start,
                "One logit for all classes changes no softmax.",
            )
        gammas = arguments.sigmoid_gamma(name, self.gamma)
        arguments.warn_start(name, float(start), gammas, self.detach_modulator, stacklevel=4)
        return float(start)

    def _metrics(self) -> list[Metric]:
        given = self.eval_metric
        several = list(given) if isinstance(given, (list, tuple)) else [given]
        metrics = [self._metric(one) for one in several]
        first = metrics[0] if metrics else None
        if (
            isinstance(first, OwnMetric)
            and self.early_stopping_rounds is not None
            and not first.says
        ):
            raise refuse(
                type(self).__name__,
                "eval_metric",
                "say which way is better, to stop by it",
                first.name,
                "End its name in _score or _loss, or return (name, value, higher_is_better).",
            )
        return metrics

    def _metric(self, given: Any) -> Metric:
        if callable(given):
            own = OwnMetric(self.objective_, given)
            own.ask(len(self.classes_))
            return own
        name = type(self).__name__
        if not isinstance(given, str):
            raise refuse(
                name,
                "eval_metric",
                "be a name, a function of labels and probabilities, or several",
                type(given).__name__,
                kind=TypeError,
            )
        known = HOSTS_NAMES.get(given, given)
        if known not in METRICS:
            arguments.fail_choice(name, "eval_metric", tuple(METRICS), given)
        metric = METRICS[known](self.objective_)
        if given != known:  # it is logged as it was asked for
            metric.name = metric.__name__ = given
        return metric

    # -----------------------------------------------------------------------------------------
    # tables

    def _validated(self, X: Any, *, reset: bool, **y: Any) -> Any:
        """Return checked features; the hosts read data frames themselves, with their categories."""
        if hasattr(X, "iloc"):
            return validate_data(self, X, **y, reset=reset, skip_check_array=True)
        return validate_data(
            self,
            X,
            **y,
            reset=reset,
            accept_sparse="csr",
            accept_large_sparse=self.HOST.large_sparse,
            ensure_all_finite="allow-nan",
        )

    def _weights(self, weight: Any, X: Any, y: Any = None) -> Array | None:
        """Return sample weights times class weights; None where there are neither."""
        checked = None
        if weight is not None:
            checked = _check_sample_weight(weight, X, dtype=np.float64)
            arguments.sample_weight(type(self).__name__, checked, len(checked))
        if y is None or self.class_weight is None:
            return checked
        by_class: Array = compute_sample_weight(self.class_weight, y)
        return by_class if checked is None else checked * by_class

    def _evals(self, eval_set: Any, weights: Any) -> list[Rows]:
        if eval_set is None:
            return []
        pairs = [eval_set] if isinstance(eval_set, tuple) else list(eval_set)
        if weights is None:
            weights = [None] * len(pairs)
        elif not isinstance(weights, (list, tuple)):
            weights = [weights]
        rows = []
        for (X, y), weight in zip(pairs, weights, strict=True):
            X = self._validated(X, reset=False)
            labels = np.asarray(y)
            index = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
            if (self.classes_[index] != labels).any():
                unknown = labels[self.classes_[index] != labels][0]
                raise refuse(type(self).__name__, "eval_set", "have the classes of y", unknown)
            rows.append(Rows(X, index, self._weights(weight, X)))
        return rows

    # -----------------------------------------------------------------------------------------
    # predicting

    def logits(self, X: Any) -> Array:
        """Return the host's raw predictions with the start: ``(n,)`` for two classes, else ``(n,
        C)``.
        """
        check_is_fitted(self, "booster_")
        return self._logits(self._validated(X, reset=False))

    def predict_proba(self, X: Any) -> Array:
        """Return class probabilities ``(n, C)``: the closed-form posterior of the logits.

        Valid where the model is near the optimum of the loss and every row weighed the same;
        alpha is taken back, class_weight and sample weights are not. See `sigmoid_posterior`.
        """
        logits = self.logits(X)
        return self.objective_.posterior(logits)

    def decision_function(self, X: Any) -> Array:
        """Return posterior log-odds ``(n,)`` of the second class, or log-scores ``(n, C)``."""
        logits = self.logits(X)
        if isinstance(self.objective_, SigmoidFocalObjective):
            return self.objective_.log_odds(logits)
        tiny = np.finfo(np.float64).tiny
        scores: Array = np.log(np.maximum(self.objective_.posterior(logits), tiny))
        return scores

    def predict(self, X: Any) -> Array:
        """Return the most probable class ``(n,)``, of the type of y."""
        probabilities = self.predict_proba(X)
        predicted: Array = self.classes_[probabilities.argmax(1)]
        return predicted

    def contributions(self, X: Any) -> Array:
        """Return what every feature adds to the logit of every row (SHAP values of trees).

        Returns:
            ``(n, d + 1)``, or ``(n, C, d + 1)`` of more than two classes: the features, and last
            what is expected without them, with the start. They add up to `logits`.

        References:
            Lundberg et al., "From local explanations to global understanding with explainable AI
            for trees", 2020; computed by the host.
        """
        check_is_fitted(self, "booster_")
        return self._contributions(self._validated(X, reset=False))

    @property
    def feature_importances_(self) -> Array:
        """What each feature gained, as its host counts it, summing to 1."""
        values = np.asarray(self._importances())
        return np.asarray(values / max(values.sum(), np.finfo(float).tiny))

    # -----------------------------------------------------------------------------------------
    # saving

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one JSON file: the host's model with the link, the start and the classes.

        The host's own ``booster_.save_model`` writes the trees alone, whose predictions are logits.
        A file that is there is replaced at once, and stays as it is if anything fails.

        Raises:
            TypeError: a parameter or a class is nothing that JSON can hold.
        """
        check_is_fitted(self, "booster_")
        write_text(path, saved.as_text(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Makes a fitted classifier of a file that `save` wrote.

        Raises:
            ValueError: the file is not one that this class wrote.
        """
        with open(path, encoding="utf-8") as file:
            return saved.restored(cls, json.load(file))

    # -----------------------------------------------------------------------------------------
    # what a host does

    def _check_supported(self) -> None:
        """Refuses what the host cannot do."""

    def _train(self, task: Task) -> Any:
        raise NotImplementedError

    def _logits(self, X: Any) -> Array:
        raise NotImplementedError

    def _contributions(self, X: Any) -> Array:
        raise NotImplementedError

    def _importances(self) -> Any:
        raise NotImplementedError

    def _model_text(self) -> str:
        raise NotImplementedError

    def _model_of(self, host: Any, text: str) -> Any:
        raise NotImplementedError
