"""Every metric in every interface of the hosts: early stopping keeps the best round."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_classification

from refocal.boosting import SigmoidFocalObjective, SoftmaxFocalObjective
from refocal.boosting.metrics import METRICS, FocalLoss

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")
catboost = pytest.importorskip("catboost")

ROUNDS, PATIENCE = 80, 8
OBJECTIVE = SigmoidFocalObjective()


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(
        1500, 12, n_informative=6, weights=[0.9], flip_y=0.03, random_state=1
    )
    return X[:1000], y[:1000], X[1000:], y[1000:]


# Each returns the round that was kept and the metric of every round up to the stop.


def xgb_train(metric, X, y, X_valid, y_valid, weight=None):
    log = {}
    model = xgb.train(
        {"base_score": 0, "nthread": 1, "max_depth": 3},
        xgb.DMatrix(X, y),
        ROUNDS,
        obj=OBJECTIVE,
        custom_metric=metric,
        evals=[(xgb.DMatrix(X_valid, y_valid, weight=weight), "valid")],
        early_stopping_rounds=PATIENCE,
        evals_result=log,
        verbose_eval=False,
    )
    return model.best_iteration, log["valid"][metric.__name__]


def xgb_cv(metric, X, y, X_valid, y_valid):
    def cv(**stop):
        return xgb.cv(
            {"base_score": 0, "nthread": 1, "max_depth": 3},
            xgb.DMatrix(X, y),
            ROUNDS,
            nfold=2,
            obj=OBJECTIVE,
            custom_metric=metric,
            seed=0,
            **stop,
        )[f"test-{metric.__name__}-mean"].tolist()

    kept = len(cv(early_stopping_rounds=PATIENCE)) - 1
    return kept, cv()[: kept + PATIENCE]


def xgb_classifier(metric, X, y, X_valid, y_valid, weight=None):
    model = xgb.XGBClassifier(
        objective=OBJECTIVE,
        base_score=0.5,
        n_estimators=ROUNDS,
        max_depth=3,
        n_jobs=1,
        eval_metric=metric,
        early_stopping_rounds=PATIENCE,
    )
    weights = None if weight is None else [weight]
    model.fit(X, y, eval_set=[(X_valid, y_valid)], sample_weight_eval_set=weights, verbose=False)
    return model.best_iteration, model.evals_result()["validation_0"][metric.__name__]


LGB = {"objective": OBJECTIVE, "metric": "none", "num_threads": 1, "verbose": -1, "num_leaves": 8}


def lgb_train(metric, X, y, X_valid, y_valid, weight=None):
    log, train = {}, lgb.Dataset(X, y)
    model = lgb.train(
        LGB,
        train,
        ROUNDS,
        valid_sets=[lgb.Dataset(X_valid, y_valid, weight=weight, reference=train)],
        valid_names=["valid"],
        feval=metric,
        callbacks=[
            lgb.record_evaluation(log),
            lgb.early_stopping(PATIENCE, verbose=False),
        ],
    )
    return model.best_iteration - 1, log["valid"][metric.name]


def lgb_cv(metric, X, y, X_valid, y_valid):
    def cv(*stop):
        return lgb.cv(
            LGB, lgb.Dataset(X, y), ROUNDS, nfold=2, feval=metric, seed=0, callbacks=list(stop)
        )[f"valid {metric.name}-mean"]

    kept = len(cv(lgb.early_stopping(PATIENCE, verbose=False))) - 1
    return kept, cv()[: kept + PATIENCE]


def lgb_classifier(metric, X, y, X_valid, y_valid, weight=None, form=None):
    model = lgb.LGBMClassifier(
        objective=OBJECTIVE, metric="none", n_estimators=ROUNDS, num_leaves=8, n_jobs=1, verbose=-1
    )
    weights = None if weight is None else [weight]
    if "eval_X" in inspect.signature(model.fit).parameters:  # from 4.7 on, for eval_set
        evaluated = {"eval_X": (X_valid,), "eval_y": (y_valid,)}
    else:
        evaluated = {"eval_set": [(X_valid, y_valid)]}
    model.fit(
        X,
        y,
        **evaluated,
        eval_sample_weight=weights,
        eval_metric=metric if form is None else getattr(metric, form),
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    (log,) = model.evals_result_.values()
    return model.best_iteration_ - 1, log[metric.name]


def lgb_classifier_by_method(*args, **kwargs):
    return lgb_classifier(*args, **kwargs, form="lightgbm")


def cat_classifier(metric, X, y, X_valid, y_valid, weight=None, loss=OBJECTIVE):
    model = catboost.CatBoostClassifier(
        loss_function=loss,
        eval_metric=metric,
        iterations=ROUNDS,
        early_stopping_rounds=PATIENCE,
        learning_rate=0.5,
        depth=3,
        thread_count=1,
        verbose=False,
        allow_writing_files=False,
    )
    model.fit(X, y, eval_set=catboost.Pool(X_valid, y_valid, weight=weight))
    (log,) = (
        v for k, v in model.get_evals_result()["validation"].items() if k == type(metric).__name__
    )
    return model.best_iteration_, log


def cat_classifier_with_its_own_loss(*args, **kwargs):
    return cat_classifier(*args, **kwargs, loss="Focal:focal_alpha=0.25;focal_gamma=2.0")


INTERFACES = [
    xgb_train,
    xgb_cv,
    xgb_classifier,
    lgb_train,
    lgb_cv,
    lgb_classifier,
    lgb_classifier_by_method,
    cat_classifier,
    cat_classifier_with_its_own_loss,
]


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", METRICS.values(), ids=lambda one: one.__name__)
def test_the_best_round_is_kept(kind, interface, table):
    kept, log = interface(kind(OBJECTIVE), *table)
    best = np.argmax(log) if kind.higher_is_better else np.argmin(log)
    worst = np.argmin(log) if kind.higher_is_better else np.argmax(log)
    assert kept == best
    assert abs(log[worst] - log[best]) > 1e-3  # the direction decided


@pytest.mark.parametrize(
    "interface",
    [one for one in INTERFACES if "weight" in inspect.signature(one).parameters],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("kind", METRICS.values(), ids=lambda one: one.__name__)
def test_weights_of_the_rows_count(kind, interface, table):
    """Weights of the evaluated rows, 0 for most positives, move the metric in each interface."""
    weight = np.where((table[3] == 1) & (np.arange(len(table[3])) % 4 > 0), 0.0, 1.0)
    _, plain = interface(kind(OBJECTIVE), *table)
    _, weighted = interface(kind(OBJECTIVE), *table, weight=weight)
    both = min(len(plain), len(weighted))
    assert np.max(np.abs(np.subtract(plain[:both], weighted[:both]))) > 1e-3


@pytest.mark.parametrize("kind", METRICS.values(), ids=lambda one: one.__name__)
def test_xgboost_reads_the_direction_from_the_name(kind):
    """Its rule, of `xgboost.callback.EarlyStopping`: a name that begins so is maximised."""
    begins = ("auc", "aucpr", "pre", "map", "ndcg")
    assert kind(OBJECTIVE).__name__.startswith(begins) is kind.higher_is_better
    copy = pickle.loads(pickle.dumps(kind(OBJECTIVE)))
    assert copy.__name__ == kind(OBJECTIVE).__name__


# of CatBoost: the same trees every time, and nothing written
STEADY = {
    "boosting_type": "Plain",
    "random_strength": 0,
    "depth": 3,
    "thread_count": 1,
    "verbose": False,
    "allow_writing_files": False,
}


def test_the_objective_in_catboost_is_its_own_focal(table):
    """With the exact Hessian: the same trees, up to the rounding of other sums."""
    X, y, X_valid, _ = table
    models = [
        catboost.CatBoostClassifier(
            loss_function=loss,
            eval_metric="Logloss",
            iterations=20,
            learning_rate=0.1,
            leaf_estimation_method="Newton",
            leaf_estimation_iterations=1,
            bootstrap_type="No",
            **STEADY,
        ).fit(X, y)
        for loss in (
            SigmoidFocalObjective(hessian="exact"),
            "Focal:focal_alpha=0.25;focal_gamma=2.0",
        )
    ]
    ours, theirs = (one.predict(X_valid, prediction_type="RawFormulaVal") for one in models)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    p = SigmoidFocalObjective(hessian="exact").posterior(ours)
    assert 0.02 < p[:, 1].mean() < 0.3


def test_catboost_is_told_what_takes_several_classes(table):
    X, y, _, _ = table
    model = catboost.CatBoostClassifier(
        loss_function=SoftmaxFocalObjective(),
        eval_metric=FocalLoss(SoftmaxFocalObjective()),
        iterations=1,
        thread_count=1,
        verbose=False,
        allow_writing_files=False,
    )
    with pytest.raises(catboost.CatBoostError, match='eval_metric must be "MultiClass" in Cat'):
        model.fit(X, y + (X[:, 0] > 0))


@pytest.mark.parametrize("names", [None, np.array(["bad", "fine", "worse"])])
def test_the_softmax_objective_in_catboost(names, table):
    """At gamma 0 it is the cross-entropy, with the whole Hessian: CatBoost's own steps."""
    X, y, X_valid, _ = table
    y = (y + (X[:, 0] > 0)).astype(int)
    y = y if names is None else names[y]
    settings = {"learning_rate": 0.5, "bootstrap_type": "No", "leaf_estimation_iterations": 1}
    models = [
        catboost.CatBoostClassifier(
            loss_function=loss,
            eval_metric="MultiClass",
            iterations=5,
            leaf_estimation_method="Newton",
            **settings,
            **STEADY,
        ).fit(X, y, sample_weight=np.random.default_rng(0).random(len(y)))
        for loss in (SoftmaxFocalObjective(gamma=0.0), "MultiClass")
    ]
    ours, theirs = (one.predict(X_valid, prediction_type="RawFormulaVal") for one in models)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(models[0].classes_, models[1].classes_)
