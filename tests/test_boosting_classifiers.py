"""The scikit-learn style classifiers: links, starts, early stopping, saving, composition."""

import importlib
import json
import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import refocal.boosting
from refocal.boosting import (
    FocalCatBoostClassifier,
    FocalLGBMClassifier,
    FocalXGBClassifier,
)

xgboost = pytest.importorskip("xgboost")
for package in ("lightgbm", "catboost"):
    pytest.importorskip(package)

HOSTS = [FocalXGBClassifier, FocalLGBMClassifier, FocalCatBoostClassifier]
ONE_THREAD = {
    FocalXGBClassifier: {"n_jobs": 1, "max_depth": 3},
    FocalLGBMClassifier: {"n_jobs": 1, "num_leaves": 8},
    FocalCatBoostClassifier: {"thread_count": 1, "depth": 3, "learning_rate": 0.1},
}


def small(host, **params):
    return host(**({"n_estimators": 40} | ONE_THREAD[host] | params))


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 5))
    y = (X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=3000) > 2.2).astype(int)
    return X, y


@pytest.mark.parametrize("host", HOSTS)
def test_probabilities_are_the_posterior_not_the_sigmoid(host, table):
    X, y = table
    model = small(host, alpha=0.25, start="constant", n_estimators=100).fit(X[:2000], y[:2000])
    p = model.predict_proba(X[2000:])
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    z = model.logits(X[2000:])
    np.testing.assert_array_equal(p, model.objective_.posterior(z))
    sigmoid = 1 / (1 + np.exp(-z.astype(float)))
    assert log_loss(y[2000:], p) < log_loss(y[2000:], sigmoid) - 0.02
    np.testing.assert_allclose(p[:, 1].mean(), y.mean(), atol=0.02)
    np.testing.assert_allclose(
        model.decision_function(X[2000:]), np.log(p[:, 1]) - np.log(p[:, 0]), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(model.predict(X[2000:]), (p[:, 1] > 0.5).astype(int))


@pytest.mark.parametrize("host", HOSTS)
def test_every_start_is_the_start(host, table):
    """After one round of no size the prediction is the start: nothing is lost on the way."""
    X, y = table
    constant = small(host, start="constant", learning_rate=1e-5, n_estimators=1).fit(X, y)
    np.testing.assert_allclose(constant.predict_proba(X)[:, 1], y.mean(), rtol=1e-3)
    given = small(host, start=-0.7, learning_rate=1e-5, n_estimators=1).fit(X, y)
    np.testing.assert_allclose(given.logits(X), -0.7, rtol=1e-3)
    zero = small(host, start="zero", learning_rate=1e-5, n_estimators=1).fit(X, y)
    np.testing.assert_allclose(zero.logits(X), 0, atol=1e-3)


@pytest.mark.parametrize("host", HOSTS)
def test_multiclass(host):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 4))
    scores = X[:, :3] * 2 + rng.gumbel(size=(3000, 3)) + [1.5, 0, -1]
    y = np.array(["a", "b", "c"])[scores.argmax(1)]
    alpha = (1.0, 2.0, 4.0)
    # CatBoost calls Python for every row and round
    steps = {"learning_rate": 0.5, "n_estimators": 20} if host is FocalCatBoostClassifier else {}
    settings = {"start": "constant", "alpha": alpha, "n_estimators": 60} | steps
    model = small(host, **settings).fit(X[:2000], y[:2000])
    p = model.predict_proba(X[2000:])
    frequencies = [(y == one).mean() for one in "abc"]
    np.testing.assert_allclose(p.mean(0), frequencies, atol=0.03)
    np.testing.assert_array_equal(model.predict(X[2000:]), np.array(["a", "b", "c"])[p.argmax(1)])
    assert (model.predict(X[2000:]) == y[2000:]).mean() > 0.7
    assert model.decision_function(X[2000:]).shape == (1000, 3)
    untrained = small(host, start="constant", alpha=alpha, learning_rate=1e-5, n_estimators=1)
    p = untrained.fit(X, y).predict_proba(X[:2])
    np.testing.assert_allclose(p, [frequencies] * 2, rtol=1e-3)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("metric", ["focal_loss", "log_loss", "average_precision"])
def test_early_stopping_uses_the_best_round(host, metric, table):
    X, y = table
    model = small(
        host, n_estimators=400, learning_rate=0.5, early_stopping_rounds=5, eval_metric=metric
    ).fit(X[:1500], y[:1500], eval_set=(X[1500:], y[1500:]))
    log = model.evals_result_["validation_0"][metric]
    assert len(log) < 100
    best = max(log) if metric == "average_precision" else min(log)
    value = refocal.boosting.metrics.METRICS[metric](model.objective_).value(
        y[1500:], model.logits(X[1500:])
    )
    # CatBoost integrates its own PRAUC by trapezoids
    loose = host is FocalCatBoostClassifier and metric == "average_precision"
    np.testing.assert_allclose(value, best, rtol=1e-2 if loose else 1e-5)


@pytest.mark.parametrize("host", HOSTS)
def test_weights(host, table):
    """class_weight is a sample weight by class, and moves the posterior as in scikit-learn."""
    X, y = table
    exact = {
        FocalXGBClassifier: {"tree_method": "exact"},
        FocalLGBMClassifier: {"min_child_samples": 1, "min_data_in_bin": 1, "max_bin": 5000},
        FocalCatBoostClassifier: {"bootstrap_type": "No", "random_strength": 0},
    }[host]
    by_class = small(host, class_weight={0: 1, 1: 3}, **exact).fit(X, y)
    by_row = small(host, **exact).fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    assert by_row.predict_proba(X)[:, 1].mean() > 1.5 * y.mean()


@pytest.mark.parametrize("host", HOSTS)
def test_save_load_pickle_and_clone_keep_link_and_start(host, table, tmp_path):
    X, y = table
    labels = np.where(y == 1, "yes", "no")
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = small(host, alpha=0.3, gamma=1.5, start="constant", early_stopping_rounds=3)
    model.fit(frame, labels, eval_set=[(frame, labels)])
    expected = model.predict_proba(frame)
    model.save(tmp_path / "model.json")
    loaded = host.load(tmp_path / "model.json")
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict_proba(frame), expected)
        np.testing.assert_array_equal(other.predict(frame), model.predict(frame))
        assert other.start_ == model.start_
        assert other.objective_ == model.objective_
        assert other.get_params() == model.get_params()
        np.testing.assert_allclose(other.feature_importances_.sum(), 1)
    assert clone(model).get_params() == model.get_params()
    (tmp_path / "other.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"must have been written by .*\.save, got something else"):
        host.load(tmp_path / "other.json")


@pytest.mark.parametrize("host", [FocalXGBClassifier, FocalLGBMClassifier])
def test_save_keeps_a_gamma_pair_and_class_values(host, table, tmp_path):
    X, y = table
    pair = small(host, gamma=(1.0, 2.0), n_estimators=5).fit(X, y)
    pair.save(tmp_path / "pair.json")
    np.testing.assert_array_equal(
        host.load(tmp_path / "pair.json").predict_proba(X), pair.predict_proba(X)
    )
    three = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
    many = small(host, alpha=(1, 2, 3), gamma=(0.5, 1.0, 2.0), start="constant", n_estimators=5)
    many.fit(X, three).save(tmp_path / "many.json")
    np.testing.assert_array_equal(
        host.load(tmp_path / "many.json").predict_proba(X), many.predict_proba(X)
    )


@pytest.mark.parametrize("host", HOSTS)
def test_composition(host, table):
    X, y = table
    X, y = X[:1200], y[:1200]
    model = small(host, n_estimators=10)
    pipeline = make_pipeline(StandardScaler(), model)
    name = pipeline.steps[-1][0]
    search = GridSearchCV(
        pipeline, {f"{name}__gamma": [1.0, 2.0], f"{name}__alpha": [None, 0.25]}, cv=2,
        scoring="neg_log_loss",
    ).fit(X, y)  # fmt: skip
    assert search.best_score_ < 0
    assert len({round(s, 9) for s in search.cv_results_["mean_test_score"]}) == 4
    calibrated = CalibratedClassifierCV(model, method="sigmoid", cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X)[:, 1].mean(), y.mean(), atol=0.02)


def test_frames_with_categories_and_missing_values(table):
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame.loc[::7, "a"] = np.nan
    frame["kind"] = pd.Categorical(np.where(y == 1, "x", np.where(X[:, 3] > 0, "y", "z")))
    for host in HOSTS:
        extra = {"cat_features": ["kind"]} if host is FocalCatBoostClassifier else {}
        model = small(host, **extra).fit(frame, y)
        assert (model.predict(frame) == y).all()
        assert model.feature_names_in_.tolist() == frame.columns.tolist()


@pytest.mark.parametrize("host", HOSTS)
def test_scikit_learns_checks(host):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks feed bad data on purpose
        results = check_estimator(host(n_estimators=5), on_fail=None, on_skip=None)
    failed = {one["check_name"] for one in results if one["status"] == "failed"}
    # XGBoost's bins and CatBoost's permutations make a row of weight 2 another thing than the row
    # twice: the hosts' own wrappers fail these two as well
    theirs = {
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    }
    assert failed <= (set() if host is FocalLGBMClassifier else theirs)
    assert len(results) > 50


# ---------------------------------------------------------------------------------------------
# bad input


REFUSED = [
    (FocalXGBClassifier, {"base_score": 0.5}, "base_score must be left out, got 0.5. .* start="),
    (FocalXGBClassifier, {"objective": "binary:logistic"}, "objective must be left out"),
    (FocalLGBMClassifier, {"boost_from_average": True}, "LightGBM ignores it .* use start="),
    (FocalLGBMClassifier, {"metric": "auc"}, "metric must be left out"),
    (FocalCatBoostClassifier, {"boost_from_average": True}, "CatBoost refuses it with Focal"),
    (FocalCatBoostClassifier, {"gamma": 0.0}, "gamma must be one number > 0, got 0.0. .* Logloss"),
    (FocalCatBoostClassifier, {"gamma": (1.0, 2.0)}, r"got \(1.0, 2.0\)"),
    (FocalCatBoostClassifier, {"alpha": 1.0}, "alpha must be strictly between 0 and 1, got 1.0"),
    (FocalCatBoostClassifier, {"detach_modulator": True}, "detach_modulator must be False"),
    (FocalXGBClassifier, {"gamma": -1.0}, "gamma must be finite and >= 0, got -1.0"),
    (FocalXGBClassifier, {"start": "average"}, 'start must be one of "constant", "zero", or a'),
    (FocalXGBClassifier, {"start": np.inf}, "start must be finite, got inf"),
    (FocalXGBClassifier, {"eval_metric": "ndcg"}, 'eval_metric must be one of "focal_loss"'),
    (FocalXGBClassifier, {"early_stopping_rounds": 5}, "must be None without an eval_set, got 5"),
]


@pytest.mark.parametrize(("host", "params", "message"), REFUSED)
def test_parameters_are_refused(host, params, message, table):
    with pytest.raises(ValueError, match=f": .*{message}"):
        small(host, **params).fit(*table)


def test_targets_and_weights_are_refused(table):
    X, y = table
    with pytest.raises(ValueError, match="at least two classes, got one class"):
        small(FocalXGBClassifier).fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match="sample_weight must be finite and >= 0, got -1"):
        small(FocalLGBMClassifier).fit(X, y, sample_weight=np.where(y == 1, -1.0, 1.0))
    with pytest.raises(ValueError, match="eval_set must have the classes of y, got 7"):
        small(FocalXGBClassifier).fit(X, y, eval_set=(X, y + 7))
    with pytest.raises(ValueError, match=r"a weight of 0\. A class of weight 0 is not learned"):
        small(FocalXGBClassifier, alpha=1.0).fit(X, y).predict_proba(X)


def test_a_start_below_the_inflection_warns_with_the_number(table):
    with pytest.warns(
        UserWarning, match=r"at a start of -4\.6 every positive has p_t = 0\.00995, below 0\.0578"
    ):
        small(FocalLGBMClassifier, start=-4.6, n_estimators=1).fit(*table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(FocalLGBMClassifier, start=-2.7, n_estimators=1).fit(*table)
        detached = {"start": -4.6, "detach_modulator": True, "n_estimators": 1}
        small(FocalLGBMClassifier, **detached).fit(*table)
    # below a base rate of .0005 the constant itself lies there; CatBoost's Hessian is the exact one
    X, y = table
    rare = np.zeros(len(y), int)
    rare[0] = 1
    with pytest.warns(UserWarning, match=r"every positive has p_t = 0\.05"):
        small(FocalCatBoostClassifier, n_estimators=1).fit(X, rare)


def test_a_missing_or_unknown_host_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(
        ImportError, match=r"XGBoost is not installed\. pip install 'refocal\[xgboost\]'"
    ):
        refocal.boosting.FocalXGBClassifier  # noqa: B018
    import lightgbm

    monkeypatch.setattr(lightgbm, "__version__", "5.1.0")
    with pytest.raises(ImportError, match=r"LightGBM must be >= 4\.5 and < 5\.0, got 5\.1\.0"):
        FocalLGBMClassifier.HOST.load("f")
    with pytest.raises(AttributeError, match="no attribute 'FocalCat'"):
        refocal.boosting.FocalCat  # noqa: B018


# ---------------------------------------------------------------------------------------------
# files

NUMPY = {
    FocalXGBClassifier: {"max_depth": np.int64(3), "learning_rate": np.float32(0.25)},
    FocalLGBMClassifier: {"num_leaves": np.int32(8), "learning_rate": np.float32(0.25)},
    FocalCatBoostClassifier: {"depth": np.int64(3), "learning_rate": np.float32(0.25)},
}


@pytest.mark.parametrize("host", HOSTS)
def test_numpy_scalars_are_saved(host, table, tmp_path):
    X, y = table
    scalars = {
        "alpha": np.float32(0.25),
        "gamma": np.float64(1.5),
        "detach_modulator": np.bool_(False),
        "start": np.float16(-0.5),
        "n_estimators": np.int16(5),
        "early_stopping_rounds": np.int64(3),
        "class_weight": {np.int64(0): np.float32(1), np.int64(1): np.float64(2)},
    }
    model = host(**ONE_THREAD[host] | scalars | NUMPY[host])
    model.fit(X, y, eval_set=(X, y)).save(tmp_path / "model.json")
    loaded = host.load(tmp_path / "model.json")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.get_params() == model.get_params()
    assert json.dumps(loaded.objective_.settings) == json.dumps(model.objective_.settings)
    again = clone(loaded).fit(X, y, eval_set=(X, y))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("host", [FocalXGBClassifier, FocalLGBMClassifier])
def test_a_flag_and_a_pair_of_a_grid_search_are_saved(host, table, tmp_path):
    X, y = table
    grid = {"detach_modulator": np.array([True]), "gamma": [(np.float32(1), np.int64(2))]}
    search = GridSearchCV(small(host, n_estimators=3), grid, cv=2).fit(X, y)
    search.best_estimator_.save(tmp_path / "model.json")
    loaded = host.load(tmp_path / "model.json")
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))
    assert loaded.get_params() == search.best_estimator_.get_params()


@pytest.mark.parametrize("host", HOSTS)
def test_a_save_that_fails_leaves_the_old_file(host, table, tmp_path):
    X, y = table
    path = tmp_path / "model.json"
    model = small(host, n_estimators=3).fit(X, y)
    model.save(path)
    before = path.read_bytes()
    model.something = object()
    with pytest.raises(TypeError, match=r": something must be a number.* got object\. Pickle"):
        model.save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["model.json"]


def test_files_of_the_first_format_are_read(table, tmp_path):
    """Before tuples and classes that are numbers were kept apart from lists and texts."""
    X, y = table
    path = tmp_path / "model.json"
    model = small(FocalXGBClassifier, gamma=(1.0, 2.0), n_estimators=3).fit(X, y)
    model.save(path)
    content = json.loads(path.read_text())
    content["parameters"]["gamma"] = [1.0, 2.0]
    path.write_text(json.dumps(content))
    loaded = FocalXGBClassifier.load(path)
    assert loaded.gamma == (1.0, 2.0)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


# ---------------------------------------------------------------------------------------------
# starts of XGBoost's own wrapper


@pytest.mark.parametrize("base_score", [0, 0.0, 1e-9, 1, [0.0]])
def test_a_start_that_xgboost_clips_is_refused(base_score, table):
    import xgboost

    objective = refocal.boosting.SigmoidFocalObjective()
    model = xgboost.XGBClassifier(
        objective=objective, base_score=base_score, n_estimators=1, n_jobs=1
    )
    with pytest.raises(ValueError, match=r"start must be .*base_score is a probability.*=0\.5"):
        model.fit(*table)
    parameters, data = {"objective": "binary:logistic", "base_score": 0}, xgboost.DMatrix(*table)
    with pytest.raises(ValueError, match=r"got -13\.816 in every row"):
        xgboost.train(parameters, data, 1, obj=objective)


@pytest.mark.parametrize("base_score", [None, 0.5, 0.05])
def test_a_start_that_xgboost_can_train_from_is_taken(base_score, table):
    import xgboost

    X, y = table
    objective = refocal.boosting.SigmoidFocalObjective()
    model = xgboost.XGBClassifier(objective=objective, base_score=base_score, n_jobs=1)
    p = objective.posterior(model.fit(X, y).predict(X, output_margin=True))[:, 1]
    np.testing.assert_allclose(p.mean(), y.mean(), atol=0.02)


def test_a_metric_of_ones_own_is_told_where_to_go(table):
    with pytest.raises(TypeError, match="eval_metric must be a name, a function of labels and"):
        small(FocalXGBClassifier, eval_metric=3).fit(*table)
    validated = {"eval_set": (table[0], table[1])}
    undecided = small(FocalXGBClassifier, eval_metric=lambda y, p: 0.5, early_stopping_rounds=3)
    with pytest.raises(ValueError, match="eval_metric must say which way is better"):
        undecided.fit(*table, **validated)
    with pytest.raises(ValueError, match='eval_metric must be one of "focal_loss"'):
        small(FocalXGBClassifier, eval_metric="ndcg").fit(*table)


def spread(labels, p, sample_weight):
    """A metric of one's own with weights, that says name and direction."""
    assert len(labels) == len(p) == len(sample_weight)
    assert 0 <= p.min() <= p.max() <= 1
    return "distance", float(np.average(p[labels == 1] if labels.any() else [0.0])), True


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("metric", "name", "higher"),
    [
        (roc_auc_score, "roc_auc_score", True),
        (brier_score_loss, "brier_score_loss", False),
        (spread, "distance", True),
        ("AUC", "AUC", True),
        ("auc", "auc", True),
        ("logloss", "logloss", False),
        ("binary_error", "binary_error", False),
        ("aucpr", "aucpr", True),
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)
def test_metrics_of_any_kind(host, metric, name, higher, table):
    """A function or a host's name: of the posterior, stopped by in its own direction."""
    X, y = table
    model = small(
        host, n_estimators=200, learning_rate=0.5, early_stopping_rounds=5, eval_metric=metric
    ).fit(X[:1500], y[:1500], eval_set=(X[1500:], y[1500:]))
    log = model.evals_result_["validation_0"][name]
    assert len(log) < 200
    best = (max if higher else min)(log)
    p = model.predict_proba(X[1500:])[:, 1]
    right = {
        "roc_auc_score": roc_auc_score,
        "AUC": roc_auc_score,
        "auc": roc_auc_score,
        "brier_score_loss": brier_score_loss,
        "distance": lambda y, p: p[y == 1].mean(),
        "logloss": log_loss,
        "binary_error": lambda y, p: ((p > 0.5) != y).mean(),
        "aucpr": average_precision_score,
    }[name](y[1500:], p)
    loose = host is FocalCatBoostClassifier and name == "aucpr"  # integrated by trapezoids
    np.testing.assert_allclose(right, best, rtol=1e-2 if loose else 1e-5)


@pytest.mark.parametrize("host", HOSTS)
def test_several_metrics_and_classes(host):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(900, 4))
    y = np.array(["a", "b", "c"])[(X[:, :3] + rng.gumbel(size=(900, 3))).argmax(1)]
    metrics = ["merror", "auc", log_loss, "focal_loss"]
    model = small(host, n_estimators=8, eval_metric=metrics)
    model.fit(X[:600], y[:600], eval_set=[(X[:600], y[:600]), (X[600:], y[600:])])
    p = model.predict_proba(X[600:])
    log = model.evals_result_["validation_1"]
    index = np.searchsorted(model.classes_, y[600:])
    np.testing.assert_allclose(log["merror"][-1], (p.argmax(1) != index).mean(), rtol=1e-6)
    np.testing.assert_allclose(log["log_loss"][-1], log_loss(index, p), rtol=1e-5)
    areas = [roc_auc_score(index == c, p[:, c]) for c in range(3)]
    np.testing.assert_allclose(log["auc"][-1], np.mean(areas), rtol=1e-6)
    assert len(log["focal_loss"]) == 8


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("first", ["focal_loss", "log_loss"])
def test_catboost_stops_by_the_first_of_several_metrics(first, classes):
    X, y = make_classification(900, 8, n_informative=5, n_classes=classes, random_state=0)
    evals = [(X[600:750], y[600:750]), (X[750:], y[750:])]
    one, several = (
        small(
            FocalCatBoostClassifier, learning_rate=0.5, early_stopping_rounds=3, eval_metric=metric
        ).fit(X[:600], y[:600], eval_set=evals)
        for metric in (first, [first, "error"])
    )
    np.testing.assert_array_equal(several.logits(X), one.logits(X))
    rounds = several.booster_.tree_count_
    assert rounds < 40
    for part, (rows, labels) in enumerate(evals):
        log = several.evals_result_[f"validation_{part}"]
        assert log[first] == one.evals_result_[f"validation_{part}"][first]
        assert len(log["error"]) == len(log[first])
        np.testing.assert_allclose(log["error"][rounds - 1], 1 - several.score(rows, labels))


@pytest.mark.parametrize(
    "settings",
    [
        {"gamma": 0.0, "alpha": None},
        {"gamma": (1.0, 0.5, 2.0), "detach_modulator": True},
        {"hessian": "cross_entropy", "start": "zero"},
        {"hessian": "absolute", "early_stopping_rounds": 3},
    ],
    ids=str,
)
def test_several_classes_in_catboost(settings, tmp_path):
    X, y = make_classification(
        900, 6, n_informative=4, n_classes=3, weights=[0.7, 0.2], random_state=0
    )
    weight = np.random.default_rng(0).random(600)
    settings = {"learning_rate": 0.5, "n_estimators": 15, "eval_metric": "log_loss"} | settings
    model = small(FocalCatBoostClassifier, **settings)
    model.fit(X[:600], y[:600], weight, eval_set=(X[600:], y[600:]))
    p = model.predict_proba(X[600:])
    frequencies = np.bincount(y[:600], weight) / weight.sum()
    assert log_loss(y[600:], p) < log_loss(y[600:], [frequencies] * 300) - 0.15
    rounds = model.booster_.tree_count_
    logged = model.evals_result_["validation_0"]["log_loss"][rounds - 1]
    np.testing.assert_allclose(log_loss(y[600:], p), logged, rtol=1e-9)
    model.save(tmp_path / "model.json")
    again = FocalCatBoostClassifier.load(tmp_path / "model.json")
    copy = pickle.loads(pickle.dumps(model))
    for other in (again, copy):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("kind", ["array", "frame", "sparse"])
@pytest.mark.parametrize("start", ["constant", "zero"])
@pytest.mark.parametrize(
    ("host", "classes"),
    [(host, classes) for classes in (2, 3) for host in HOSTS],
)
def test_contributions_add_up(host, classes, start, kind):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(500, 4))
    y = (X[:, :classes] + rng.gumbel(size=(500, classes)) + np.arange(classes)).argmax(1)
    table = {"array": X, "frame": pd.DataFrame(X, columns=list("abcd")), "sparse": csr_matrix(X)}
    model = small(host, start=start, n_estimators=12).fit(table[kind], y)
    found = model.contributions(table[kind])
    assert found.shape == ((500, 5) if classes == 2 else (500, 3, 5))
    np.testing.assert_allclose(found.sum(-1), model.logits(table[kind]), rtol=1e-4, atol=1e-5)
    assert np.abs(found[..., :classes]).mean() > np.abs(found[..., classes:4]).mean()


@pytest.mark.parametrize("host", HOSTS)
def test_callbacks_and_printing(host, table, capfd):
    X, y = table
    seen = []

    class ForXGBoost(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            seen.append(epoch)
            return False

    class ForCatBoost:
        def after_iteration(self, info):
            seen.append(info.iteration)
            return True

    own = {
        FocalXGBClassifier: ForXGBoost(),
        FocalLGBMClassifier: lambda env: seen.append(env.iteration),
        FocalCatBoostClassifier: ForCatBoost(),
    }[host]
    quiet = small(host, n_estimators=6).fit(X, y, eval_set=(X, y), callbacks=[own])
    assert len(seen) == 6
    assert capfd.readouterr().out == ""
    loud = small(host, n_estimators=6).fit(X, y, eval_set=(X, y), verbose=True)
    assert len(capfd.readouterr().out.splitlines()) >= 6
    np.testing.assert_array_equal(loud.predict_proba(X), quiet.predict_proba(X))


@pytest.mark.parametrize(
    ("host", "keyword"),
    [
        (FocalXGBClassifier, {"output_margin": True}),
        (FocalLGBMClassifier, {"raw_score": True}),
        (FocalCatBoostClassifier, {"prediction_type": "RawFormulaVal"}),
    ],
)
def test_raw_predictions_by_the_host_s_name(host, keyword, table):
    X, y = table
    model = small(host, n_estimators=5).fit(X, y)
    np.testing.assert_array_equal(model.predict(X, **keyword), model.logits(X))
    assert set(model.predict(X)) <= {0, 1}
    if host is FocalLGBMClassifier:
        np.testing.assert_array_equal(model.predict_proba(X, **keyword), model.logits(X))


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_the_hosts_draw_what_is_important(library):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    X, y = make_classification(400, 5, n_informative=3, random_state=0)
    host = {"xgboost": FocalXGBClassifier, "lightgbm": FocalLGBMClassifier}[library]
    model = small(host).fit(X, y)
    axes = importlib.import_module(library).plot_importance(model.booster_)
    drawn = sorted(bar.get_width() for bar in axes.patches)
    used = np.flatnonzero(model.feature_importances_)
    assert len(drawn) == len(used)
    assert drawn[-1] > 0
    matplotlib.pyplot.close("all")
