"""CatBoost behind the scikit-learn interface, through its built-in Focal loss."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix, issparse  # type: ignore[import-untyped]

from refocal.boosting.arguments import fail_choice
from refocal.boosting.classifier import Alpha, FocalClassifier, Gamma, Rows, Task
from refocal.boosting.hosts import BAGGED, DECIDED, OBJECTIVE, ROUNDS, TARGETS, Host, Words
from refocal.boosting.hosts.catboost_logloss import cross_entropy
from refocal.boosting.metrics import AveragePrecision, FocalLoss, Metric, Objective
from refocal.boosting.numeric import Array
from refocal.boosting.objectives import SigmoidFocalObjective, SoftmaxFocalObjective
from refocal.messages import refuse

COLUMNS = ("cat_features", "text_features", "embedding_features")


HOST = Host(
    package="catboost",
    name="CatBoost",
    refused={
        **DECIDED,
        "loss_function": OBJECTIVE,
        "boost_from_average": "CatBoost refuses it with Focal; use start=.",
        "class_weights": "Use class_weight=.",
        "auto_class_weights": 'Use class_weight="balanced".',
        "iterations": ROUNDS,
        **dict.fromkeys(
            ("classes_count", "class_names", "target_border", "allow_const_label"), TARGETS
        ),
    },
    words=Words(
        fixed={"thread_count": 1, "bootstrap_type": "Bernoulli", "subsample": BAGGED},
        size="depth",
        balanced=True,
        l2="l2_leaf_reg",
        seed="random_seed",
    ),
    large_sparse=False,
    several_classes=False,
    cross_entropy=cross_entropy,
)


class FocalCatBoostClassifier(FocalClassifier):
    """CatBoost trained with its built-in Focal loss, or with ours for more than two classes.

    The built-in loss is ours, at half the cost of a Python objective. It uses the exact Hessian,
    takes 0 < alpha < 1, gamma > 0 and one gamma for both classes. More than two classes are trained
    with `SoftmaxFocalObjective`, for which CatBoost calls Python twice for every row and round:
    half a minute for 10,000 rows and 50 rounds. Where that is too long use `FocalLGBMClassifier`.

    Args:
        alpha: the weight of the positive class, 0 < alpha < 1; None is 0.5, which weighs both
            classes alike at half the scale (halve ``l2_leaf_reg`` to keep its meaning). Of more
            classes one weight each, or None.
        gamma: focusing exponent > 0. For cross-entropy use CatBoost's Logloss. Of more classes
            >= 0, or one each.
        detach_modulator: must be False for two classes; CatBoost cannot hold the modulator
            constant.
        hessian: must be "exact", CatBoost's own, for two classes. "auto" is that, and "bound" for
            more than two.
        start: "constant", the logit whose posterior is the base rate; "zero"; or a logit. CatBoost
            refuses ``boost_from_average`` with this loss, so it is a baseline, added here to
            its predictions.
        class_weight: None, "balanced" or a dictionary, as in scikit-learn: multiplies the sample
            weights, and shifts the probabilities. For a weight that they do not show use alpha.
        n_estimators: boosting rounds.
        eval_metric: "focal_loss", "log_loss" (of the posterior), "average_precision", "auc",
            "error", what the hosts call these, or a function of labels and probabilities.
        early_stopping_rounds: stop after so many rounds without a better first metric on the last
            ``eval_set``; prediction then uses the best round.
        **host_params: any parameter of ``catboost.CatBoost``: ``depth``, ``cat_features``, ... .

    Attributes:
        booster_: the ``catboost.CatBoost`` model; its raw predictions are logits less `start_`.
        objective_: the `SigmoidFocalObjective` that holds the link; `SoftmaxFocalObjective` of more
            than two classes.
        start_: the logit that training started from, or one for each class.
        classes_: labels in the order of the columns of ``predict_proba``.
        evals_result_: metric by round, ``{"validation_0": {"focal_loss": [...]}}``.

    Example:
        >>> from sklearn.datasets import make_classification
        >>> from refocal.boosting import FocalCatBoostClassifier
        >>> X, y = make_classification(2000, weights=[0.95], flip_y=0.02, random_state=0)
        >>> model = FocalCatBoostClassifier(depth=4, thread_count=1).fit(X, y)
        >>> print(round(y.mean(), 2), round(model.predict_proba(X)[:, 1].mean(), 2))
        0.06 0.05
    """

    HOST: ClassVar[Host] = HOST
    objective_: Objective

    def __init__(
        self,
        *,
        alpha: Alpha = None,
        gamma: Gamma = 2.0,
        detach_modulator: bool = False,
        hessian: str = "auto",
        start: str | float = "constant",
        class_weight: dict[Any, float] | str | None = None,
        n_estimators: int = 100,
        eval_metric: Any = "focal_loss",
        early_stopping_rounds: int | None = None,
        **host_params: Any,
    ) -> None:
        super().__init__(
            alpha=alpha,
            gamma=gamma,
            detach_modulator=detach_modulator,
            hessian=hessian,
            start=start,
            class_weight=class_weight,
            n_estimators=n_estimators,
            eval_metric=eval_metric,
            early_stopping_rounds=early_stopping_rounds,
            **host_params,
        )

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
        cat_features: Any = None,
    ) -> FocalClassifier:
        """Trains the model, as `FocalXGBClassifier.fit` does.

        Args:
            X: as there.
            y: labels ``(n,)`` of at least two classes.
            sample_weight: as there.
            eval_set: as there.
            eval_sample_weight: as there.
            callbacks: as there.
            verbose: as there.
            cat_features: columns of categories, by name or number, in the place of those given to
                the constructor. (A clone, as in a search, has the constructor's alone.)

        Returns:
            self.

        Raises:
            ValueError: as there; of two classes a gamma of 0 or a pair.
            ImportError: CatBoost is not installed.
        """
        self._fit_cat_features = cat_features
        return super().fit(
            X,
            y,
            sample_weight,
            eval_set=eval_set,
            eval_sample_weight=eval_sample_weight,
            callbacks=callbacks,
            verbose=verbose,
        )

    def _settings(self, host: Any) -> dict[str, Any]:
        settings = super()._settings(host)
        for name in ("model_shrink_rate", "model_shrink_mode", "posterior_sampling"):
            if name in settings and self.start not in ("zero", 0):
                raise refuse(
                    type(self).__name__,
                    name,
                    "be left out",
                    repr(settings[name]),
                    'CatBoost does not shrink a model beside a baseline; use start="zero".',
                )
        return settings

    def _train(self, task: Task) -> Any:
        host, settings, rows, evals, metrics, own, verbose = task
        printing = {"verbose", "verbose_eval", "logging_level", "silent"}
        quiet = {} if printing & settings.keys() else {"verbose": False}
        params = quiet | {"allow_writing_files": False} | settings
        # kinds of columns, which CatBoost asks of the table
        columns = {name: params.pop(name, None) for name in COLUMNS}
        if self._fit_cat_features is not None:
            columns["cat_features"] = self._fit_cat_features
        stops = bool(evals) and self.early_stopping_rounds is not None
        use_best_model = params.pop("use_best_model", stops)
        metric, *more = metrics or [FocalLoss(self.objective_)]
        loss, shown = self._loss_and_metric(metric)
        model = host.CatBoost(
            params | {"loss_function": loss, "iterations": self.n_estimators, "eval_metric": shown}
        )
        train, *pools = (self._pool(host, one, columns) for one in (rows, *evals))
        model.fit(
            train,
            eval_set=pools or None,
            early_stopping_rounds=self.early_stopping_rounds,
            use_best_model=use_best_model and not more,
            **({} if verbose is None else {"verbose": verbose}),
            **({"callbacks": own} if own else {}),
        )
        logs = model.get_evals_result()
        for i in range(len(evals)):
            log = logs["validation" if len(evals) == 1 else f"validation_{i}"]
            key = next(one for one in log if isinstance(metric, FocalLoss) or one != loss)
            self.evals_result_[f"validation_{i}"] = {metric.name: log[key]}
        if more and evals:
            self._log_more(model, more, evals)
            if use_best_model:
                model.shrink(ntree_end=model.get_best_iteration() + 1)
        return model

    def _log_more(self, model: Any, metrics: list[Metric], evals: list[Rows]) -> None:
        """Logs the metrics after the first, for which CatBoost has room by name alone.

        They are those of every tree's predictions, so that the trees are cut back only after this.
        """
        for i, rows in enumerate(evals):
            log = self.evals_result_[f"validation_{i}"]
            log.update({metric.name: [] for metric in metrics})
            staged = model.staged_predict(
                _as_matrix(rows.features), prediction_type="RawFormulaVal"
            )
            for raw in staged:
                logits = raw + np.asarray(self.start_)
                for metric in metrics:
                    log[metric.name].append(metric.value(rows.classes, logits, rows.weight))

    def _loss_and_metric(self, metric: Metric) -> tuple[Any, Any]:
        """Return what CatBoost minimises and what it logs: its own where it has them."""
        if isinstance(self.objective_, SoftmaxFocalObjective):
            from refocal.boosting.hosts.catboost_classes import ClassesLoss, ClassesMetric

            start: Any = self.start_
            return ClassesLoss(self.objective_, start), ClassesMetric(metric, start)
        # repr of a float is exact, and CatBoost parses the text into a double
        loss = f"Focal:focal_alpha={self.objective_.weights[0]!r};focal_gamma={float(self.gamma)!r}"
        hosts_own: dict[type[Metric], Any] = {FocalLoss: loss, AveragePrecision: "PRAUC"}
        return loss, hosts_own.get(type(metric), metric)

    def _objective(self) -> Objective:
        if len(self.classes_) == 2:
            alpha = 0.5 if self.alpha is None else self.alpha
            return SigmoidFocalObjective(alpha=alpha, gamma=self.gamma, hessian="exact")
        return SoftmaxFocalObjective(
            alpha=self.alpha,
            gamma=self.gamma,
            hessian="bound" if self.hessian == "auto" else self.hessian,
            detach_modulator=self.detach_modulator,
        )

    def _check_supported(self) -> None:
        name = type(self).__name__
        if len(self.classes_) > 2:
            return
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise refuse(
                name,
                "alpha",
                "be strictly between 0 and 1",
                self.alpha,
                "For equal weights use None.",
            )
        if isinstance(self.gamma, tuple) or not self.gamma > 0:
            raise refuse(
                name,
                "gamma",
                "be one number > 0",
                self.gamma,
                (
                    "For cross-entropy use CatBoostClassifier with Logloss; for a pair "
                    "FocalXGBClassifier "
                    "or FocalLGBMClassifier."
                ),
            )
        if self.detach_modulator or self.hessian not in ("auto", "exact"):
            raise refuse(
                name,
                "detach_modulator",
                'be False and hessian "exact" or "auto"',
                f"{self.detach_modulator} and {self.hessian!r}",
                (
                    "CatBoost's built-in loss has no other; use FocalXGBClassifier or "
                    "FocalLGBMClassifier."
                ),
            )

    def _pool(self, host: Any, rows: Rows, columns: dict[str, Any]) -> Any:
        count = len(self.classes_)
        if count > 2:
            classes = np.eye(count)[rows.classes]  # the start is in the loss
            return host.Pool(_as_matrix(rows.features), classes, weight=rows.weight, **columns)
        return host.Pool(
            _as_matrix(rows.features),
            rows.classes,
            weight=rows.weight,
            baseline=np.full(len(rows.classes), self.start_) if self.start_ else None,
            **columns,
        )

    def _logits(self, X: Any) -> Array:
        raw: Array = self.booster_.predict(_as_matrix(X), prediction_type="RawFormulaVal")
        logits: Array = raw + np.asarray(self.start_)
        return logits

    def predict(self, X: Any, prediction_type: str = "Class") -> Array:
        """Return the most probable class ``(n,)``; what CatBoost's other names mean.

        Args:
            X: features.
            prediction_type: "Class", "Probability" (the posterior) or "RawFormulaVal" (logits).
        """
        kinds = {
            "Class": super().predict,
            "Probability": self.predict_proba,
            "RawFormulaVal": self.logits,
        }
        if prediction_type not in kinds:
            fail_choice(type(self).__name__, "prediction_type", tuple(kinds), prediction_type)
        return kinds[prediction_type](X)

    def _contributions(self, X: Any) -> Array:
        host = HOST.load(type(self).__name__)
        pool = host.Pool(_as_matrix(X), cat_features=self.booster_.get_cat_feature_indices())
        values: Array = np.array(self.booster_.get_feature_importance(pool, "ShapValues"))
        values[..., -1] += self.start_
        return values

    def _model_text(self) -> str:
        # categorical splits live only in CatBoost's own binary format
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.cbm"
            self.booster_.save_model(str(path))
            return base64.b64encode(path.read_bytes()).decode("ascii")

    def _model_of(self, host: Any, text: str) -> Any:
        return host.CatBoost().load_model(blob=base64.b64decode(text))

    def _importances(self) -> Any:
        """Return by how much each feature changes CatBoost's predictions."""
        return self.booster_.get_feature_importance()


def _as_matrix(X: Any) -> Any:
    """Make a sparse matrix of a sparse array, which CatBoost does not take."""
    return csr_matrix(X) if issparse(X) else X
