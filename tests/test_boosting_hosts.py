"""The objectives inside XGBoost, LightGBM and CatBoost: starts, weights, metrics, parity."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss

from refocal.boosting import (
    AveragePrecision,
    FocalLoss,
    PosteriorLogLoss,
    SigmoidFocalObjective,
    SoftmaxFocalObjective,
)

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")
catboost = pytest.importorskip("catboost")

ROUNDS = 20


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 5))
    y = (X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=1500) > 2.2).astype(float)
    return X, y, rng.integers(0, 3, 1500).astype(float), rng.random(1500)


def train_xgb(X, y, focal, /, rounds=ROUNDS, weight=None, **params):
    data = xgb.DMatrix(X, y, weight=weight)
    params = {"base_score": 0.0, "nthread": 1, "max_depth": 3} | params
    model = xgb.train(params, data, rounds, obj=focal)
    return model.predict(data, output_margin=True)


def train_lgb(X, y, objective, rounds=ROUNDS, weight=None, **params):
    data = lgb.Dataset(X, y, weight=weight)
    params = {"num_threads": 1, "verbose": -1, "num_leaves": 8, "objective": objective} | params
    return lgb.train(params, data, rounds).predict(X, raw_score=True)


def test_gamma_zero_is_the_hosts_logistic(table):
    X, y, _, w = table
    objective = SigmoidFocalObjective(alpha=None, gamma=0.0)
    for weight in (None, w):
        expected = train_xgb(X, y, None, weight=weight, objective="binary:logistic", base_score=0.5)
        got = train_xgb(X, y, objective, weight=weight)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
        expected = train_lgb(X, y, "binary", weight=weight, boost_from_average=False)
        got = train_lgb(X, y, objective, weight=weight)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_gamma_zero_is_xgboosts_softmax(table):
    X, _, y, _ = table
    objective = SoftmaxFocalObjective(gamma=0.0)
    shared = {"num_class": 3, "base_score": 0.0}
    expected = train_xgb(X, y, None, objective="multi:softprob", **shared)
    got = train_xgb(X, y, objective, disable_default_eval_metric=True, **shared)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_the_four_calls_train_the_same_model(table):
    X, y, _, w = table
    objective = SigmoidFocalObjective()
    native = train_xgb(X, y, objective, weight=w)
    wrapper = xgb.XGBClassifier(
        objective=objective, n_estimators=ROUNDS, max_depth=3, n_jobs=1, base_score=0.5
    )
    wrapper.fit(X, y, sample_weight=w)
    np.testing.assert_allclose(wrapper.predict(X, output_margin=True), native, rtol=1e-6)
    native = train_lgb(X, y, objective, weight=w)
    wrapper = lgb.LGBMClassifier(
        objective=objective, n_estimators=ROUNDS, num_leaves=8, n_jobs=1, verbose=-1
    )
    wrapper.fit(X, y, sample_weight=w)
    np.testing.assert_allclose(wrapper.predict(X, raw_score=True), native, rtol=1e-6)


def test_multiclass_wrappers_train_the_same_model(table):
    X, _, y, w = table
    objective = SoftmaxFocalObjective(gamma=1.5)
    native = train_xgb(X, y, objective, weight=w, num_class=3, disable_default_eval_metric=True)
    wrapper = xgb.XGBClassifier(
        objective=objective, n_estimators=ROUNDS, max_depth=3, n_jobs=1, base_score=0.0
    )
    wrapper.fit(X, y.astype(int), sample_weight=w)
    np.testing.assert_allclose(wrapper.predict(X, output_margin=True), native, rtol=1e-5, atol=1e-6)
    native = train_lgb(X, y, objective, weight=w, num_class=3)
    wrapper = lgb.LGBMClassifier(
        objective=objective, n_estimators=ROUNDS, num_leaves=8, n_jobs=1, verbose=-1
    )
    wrapper.fit(X, y.astype(int), sample_weight=w)
    np.testing.assert_allclose(wrapper.predict(X, raw_score=True), native, rtol=1e-6)


def test_xgboosts_default_start_is_refused(table):
    X, y, _, _ = table
    data = xgb.DMatrix(X, y)
    with pytest.raises(ValueError, match=r"got margin 0\.5 in every row\. .* base_score=0"):
        xgb.train({}, data, 1, obj=SigmoidFocalObjective())


def test_catboosts_built_in_focal_is_ours(table):
    """One tree of depth 1 with one exact Newton step: its leaf values are -sum g / sum h."""
    X, y, _, w = table
    objective = SigmoidFocalObjective(alpha=0.3, gamma=1.7, hessian="exact")
    baseline = np.linspace(-2, 2, len(y))
    model = catboost.CatBoost(
        {
            "loss_function": "Focal:focal_alpha=0.3;focal_gamma=1.7",
            "iterations": 1,
            "depth": 1,
            "learning_rate": 1.0,
            "l2_leaf_reg": 0.0,
            "leaf_estimation_method": "Newton",
            "leaf_estimation_iterations": 1,
            "bootstrap_type": "No",
            "boosting_type": "Plain",
            "random_strength": 0,
            "thread_count": 1,
            "verbose": False,
            "allow_writing_files": False,
        }
    )
    model.fit(catboost.Pool(X, y, weight=w, baseline=baseline))
    raw = model.predict(X, prediction_type="RawFormulaVal")
    gradient, hessian = objective(y, baseline, w)
    assert len(np.unique(raw)) == 2
    for value in np.unique(raw):
        leaf = raw == value
        newton = -gradient[leaf].sum(dtype=float) / hessian[leaf].sum(dtype=float)
        np.testing.assert_allclose(value, newton, rtol=1e-5)


def test_catboosts_metric_is_ours(table):
    X, y, _, _ = table
    model = catboost.CatBoost(
        {
            "loss_function": "Focal:focal_alpha=0.3;focal_gamma=1.7",
            "iterations": 3,
            "thread_count": 1,
            "verbose": False,
            "allow_writing_files": False,
        }
    )
    model.fit(X, y, eval_set=(X, y), use_best_model=False)
    (logged,) = model.get_evals_result()["validation"].values()
    metric = FocalLoss(SigmoidFocalObjective(alpha=0.3, gamma=1.7))
    got = metric.value(y, model.predict(X, prediction_type="RawFormulaVal"))
    np.testing.assert_allclose(logged[-1], got, rtol=1e-6)


def test_metrics_are_logged_by_every_host(table):
    X, y, _, _ = table
    objective = SigmoidFocalObjective()
    metric = PosteriorLogLoss(objective)
    log = {}
    data = xgb.DMatrix(X, y)
    model = xgb.train(
        {"base_score": 0.0, "nthread": 1, "disable_default_eval_metric": True},
        data,
        3,
        obj=objective,
        custom_metric=metric,
        evals=[(data, "train")],
        evals_result=log,
        verbose_eval=False,
    )
    expected = log_loss(y, objective.posterior(model.predict(data)))
    np.testing.assert_allclose(log["train"]["log_loss"][-1], expected, atol=1e-6)

    wrapper = xgb.XGBClassifier(
        objective=objective, eval_metric=metric, n_estimators=3, n_jobs=1, base_score=0.5
    )
    wrapper.fit(X, y, eval_set=[(X, y)], verbose=False)
    got = wrapper.evals_result()["validation_0"]["log_loss"][-1]
    np.testing.assert_allclose(got, expected, atol=1e-6)

    params = {"objective": objective, "num_threads": 1, "verbose": -1, "metric": "none"}
    train = lgb.Dataset(X, y)
    model = lgb.train(
        params,
        train,
        3,
        valid_sets=[train],
        valid_names=["train"],
        feval=metric,
        callbacks=[lgb.record_evaluation(log)],
    )
    expected = log_loss(y, objective.posterior(model.predict(X)))
    np.testing.assert_allclose(log["train"]["log_loss"][-1], expected, rtol=1e-6)

    wrapper = lgb.LGBMClassifier(objective=objective, n_estimators=3, n_jobs=1, verbose=-1)
    if "eval_X" in inspect.signature(wrapper.fit).parameters:  # from 4.7 on, for eval_set
        evaluated = {"eval_X": (X,), "eval_y": (y,)}
    else:
        evaluated = {"eval_set": [(X, y)]}
    wrapper.fit(X, y, **evaluated, eval_metric=metric.lightgbm)
    (got,) = (one["log_loss"][-1] for one in wrapper.evals_result_.values())
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_metric_values_against_scikit_learn():
    rng = np.random.default_rng(1)
    y, w = rng.integers(0, 2, 400), rng.random(400)
    z = rng.normal(size=400).round(1)  # with ties
    objective = SigmoidFocalObjective()
    expected = average_precision_score(y, z, sample_weight=w)
    np.testing.assert_allclose(AveragePrecision(objective).value(y, z, w), expected, rtol=1e-12)
    expected = log_loss(y, objective.posterior(z), sample_weight=w)
    np.testing.assert_allclose(PosteriorLogLoss(objective).value(y, z, w), expected, rtol=1e-12)
    softmax, labels, logits = (
        SoftmaxFocalObjective(),
        rng.integers(0, 4, 400),
        rng.normal(size=(400, 4)),
    )
    expected = log_loss(labels, softmax.posterior(logits), sample_weight=w)
    np.testing.assert_allclose(
        PosteriorLogLoss(softmax).value(labels, logits, w), expected, rtol=1e-12
    )
    expected = np.average(softmax.losses(labels, logits), weights=w)
    np.testing.assert_allclose(FocalLoss(softmax).value(labels, logits, w), expected, rtol=1e-14)
    with pytest.raises(ValueError, match="AveragePrecision: objective must be binary"):
        AveragePrecision(softmax).value(labels, logits)


def test_bound_trains_where_the_exact_hessian_diverges():
    """Started at the log-odds of 3.9 %: every positive lies below the inflection."""
    rng = np.random.default_rng(2)
    rng.normal(size=(6000, 5))
    X = rng.normal(size=(6000, 4))
    y = (X[:, 0] + 0.5 * X[:, 1] + 0.3 * rng.normal(size=6000) > 2.0).astype(float)
    start = np.log(y.mean() / (1 - y.mean()))
    base = log_loss(y, np.full(len(y), y.mean()))
    losses = {}
    for hessian in ("bound", "exact"):
        objective = SigmoidFocalObjective(hessian=hessian)
        data = lgb.Dataset(X, y, init_score=np.full(len(y), start))
        params = {"objective": objective, "num_threads": 1, "verbose": -1, "num_leaves": 8}
        z = lgb.train(params, data, 60).predict(X) + start
        losses[hessian] = PosteriorLogLoss(objective).value(y, z)
    assert losses["bound"] < 0.25 * base
    assert losses["exact"] > base


@pytest.mark.filterwarnings("ignore:unclosed|Port .* is already in use:ResourceWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:distributed")
def test_xgboost_under_dask(table):
    """A callable objective reaches the workers of a local cluster by pickle."""
    distributed = pytest.importorskip("distributed")
    array = pytest.importorskip("dask.array")
    from xgboost import dask as dxgb

    X, y, _, _ = table
    objective = SigmoidFocalObjective()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        data = dxgb.DaskDMatrix(
            client, array.from_array(X, chunks=(750, 5)), array.from_array(y, chunks=750)
        )
        result = dxgb.train(
            client, {"base_score": 0.0, "max_depth": 3}, data, num_boost_round=5, obj=objective
        )
    got = result["booster"].predict(xgb.DMatrix(X), output_margin=True)
    np.testing.assert_allclose(got, train_xgb(X, y, objective, rounds=5), rtol=1e-5, atol=1e-6)


# columns that are mostly zero, which LightGBM gathers into a buffer per thread
SIDE_BY_SIDE = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from refocal.boosting import FocalLGBMClassifier

draw = np.random.default_rng(0)
X = draw.normal(size=(3000, 12))
X[:, 4:] *= draw.random((3000, 8)) < 0.05
y = X[:, 0] + draw.normal(size=3000) > 1.5

def work(_):
    model = FocalLGBMClassifier(num_leaves=7, n_estimators=3, num_threads=1).fit(X, y)
    for _ in range(5):
        model.logits(X)

with ThreadPoolExecutor(2) as pool:
    list(pool.map(work, range(150)))
"""


def test_lightgbm_predicts_beside_a_training() -> None:
    """With more threads than the training has, it would crash, in another process than pytest's."""
    subprocess.run([sys.executable, "-c", SIDE_BY_SIDE], check=True, timeout=1800)
