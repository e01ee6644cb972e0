"""Every parameter in the hosts' own lists acts beside the focal loss or is refused.

The lists are read from the installed hosts, so a parameter of a new version that nobody has looked
at fails here. Whether one acts is measured: two trainings that differ in nothing else.
"""

import inspect
import json
import warnings

import numpy as np
import pytest

from refocal.boosting import FocalCatBoostClassifier, FocalLGBMClassifier, FocalXGBClassifier

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")
catboost = pytest.importorskip("catboost")

OWN = set(FocalXGBClassifier._get_param_names())


@pytest.fixture(scope="module")
def table():
    """Categories in a column, missing values, zeros, and an evaluated part that overfits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6))
    X[:, 3] = rng.integers(0, 8, 600)
    X[:, 4] *= rng.random(600) < 0.3
    X[::9, 1] = np.nan
    y = (X[:, 0] + 0.3 * (X[:, 3] == 2) + 0.5 * rng.normal(size=600) > 1).astype(int)
    return X, y


def logits(host, table, **params):
    X, y = table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hosts comment on odd parameters
        return host(**({"n_estimators": 12, "start": -0.5} | params)).fit(X, y).logits(X)


def assert_acts(host, table, name, value, beside):
    without = logits(host, table, **beside)
    assert np.abs(logits(host, table, **beside | {name: value}) - without).max() > 0, name


def assert_refused(host, table, name):
    with pytest.raises(ValueError, match=rf"^{host.__name__}: {name} must be left out, got 1\. \w"):
        logits(host, table, **{name: 1})


# ---------------------------------------------------------------------------------------------
# LightGBM

BAG = {"bagging_freq": 1, "bagging_fraction": 0.5}
DART = {"boosting": "dart", "drop_rate": 0.5}
GOSS = {"data_sample_strategy": "goss", "learning_rate": 0.5}
CATEGORIES = {"categorical_feature": [3], "min_data_per_group": 5, "max_cat_to_onehot": 1}
INTEGER = {"use_quantized_grad": True}
MONOTONE = {"monotone_constraints": [1, -1, 0, 0, 0, 0]}

# by its first name: a value, and what it needs beside it
LIGHTGBM_ACTS = {
    "bagging_by_query": (True, BAG),
    "bagging_fraction": (0.5, {"bagging_freq": 1}),
    "bagging_freq": (3, {"bagging_fraction": 0.5}),
    "bagging_seed": (9, BAG),
    "bin_construct_sample_cnt": (50, {}),
    "boosting": ("dart", {}),
    "cat_l2": (500.0, CATEGORIES),
    "cat_smooth": (100.0, CATEGORIES),
    "categorical_feature": ([3], {"min_data_per_group": 5}),
    "cegb_penalty_feature_coupled": ([10.0] * 6, {}),
    "cegb_penalty_feature_lazy": ([1.0] * 6, {}),
    "cegb_penalty_split": (0.01, {}),
    "cegb_tradeoff": (0.1, {"cegb_penalty_split": 0.01}),
    "data_random_seed": (7, {"bin_construct_sample_cnt": 50}),
    "data_sample_strategy": ("goss", {"learning_rate": 0.5}),
    "drop_rate": (0.9, {"boosting": "dart"}),
    "drop_seed": (9, DART),
    "extra_seed": (9, {"extra_trees": True}),
    "extra_trees": (True, {}),
    "feature_contri": ([0.01, 1, 1, 1, 1, 1], {}),
    "feature_fraction": (0.3, {}),
    "feature_fraction_bynode": (0.3, {}),
    "feature_fraction_seed": (7, {"feature_fraction": 0.5}),
    "interaction_constraints": ([[0], [1, 2]], {}),
    "lambda_l1": (5.0, {}),
    "lambda_l2": (50.0, {}),
    "learning_rate": (0.5, {}),
    "linear_lambda": (50.0, {"linear_tree": True}),
    "linear_tree": (True, {}),
    "max_bin": (5, {}),
    "max_bin_by_feature": ([5] * 6, {}),
    "max_cat_threshold": (1, CATEGORIES),
    "max_cat_to_onehot": (20, CATEGORIES),
    "max_delta_step": (0.01, {}),
    "max_depth": (1, {}),
    "max_drop": (1, DART | {"drop_rate": 0.9}),
    "min_data_in_bin": (100, {}),
    "min_data_in_leaf": (100, {}),
    "min_data_per_group": (5, {k: CATEGORIES[k] for k in CATEGORIES if "group" not in k}),
    "min_gain_to_split": (5.0, {}),
    "min_sum_hessian_in_leaf": (20.0, {}),
    "monotone_constraints": (MONOTONE["monotone_constraints"], {}),
    "monotone_constraints_method": ("intermediate", MONOTONE),
    "monotone_penalty": (2.0, MONOTONE),
    "num_grad_quant_bins": (64, INTEGER),
    "num_leaves": (3, {}),
    "other_rate": (0.5, GOSS),
    "path_smooth": (50.0, {}),
    "quant_train_renew_leaf": (True, INTEGER),
    "seed": (5, BAG),
    "skip_drop": (0.99, DART),
    "stochastic_rounding": (False, INTEGER),
    "top_rate": (0.5, GOSS),
    "uniform_drop": (True, DART),
    "use_missing": (False, {}),
    "use_quantized_grad": (True, {}),
    "xgboost_dart_mode": (True, DART),
    "zero_as_missing": (True, {}),
}
# what no two predictions could differ by
LIGHTGBM_UNSEEN = {
    "verbosity": "printing",
    "saved_feature_importance_type": "what the model's own text has",
    **dict.fromkeys(
        [
            "deterministic",
            "enable_bundle",
            "force_col_wise",
            "force_row_wise",
            "histogram_pool_size",
            "is_enable_sparse",
            "num_threads",
            "feature_pre_filter",
        ],
        "memory and time",
    ),
    **dict.fromkeys(
        [
            "device_type",
            "gpu_device_id",
            "gpu_device_id_list",
            "gpu_platform_id",
            "gpu_use_dp",
            "num_gpu",
        ],
        "needs a GPU",
    ),
    **dict.fromkeys(
        [
            "local_listen_port",
            "machine_list_filename",
            "machines",
            "num_machines",
            "time_out",
            "top_k",
            "tree_learner",
        ],
        "needs several machines",
    ),
    "alpha": "a name of ours",
    "forcedbins_filename": "needs a file: its own test",
    "forcedsplits_filename": "needs a file: its own test",
    "early_stopping_min_delta": "needs an eval_set: its own test",
}


def lightgbm_names():
    return lgb.basic._ConfigAliases._get_all_param_aliases()


@pytest.mark.parametrize("name", sorted(lightgbm_names()))
def test_lightgbm(name, table):
    aliases = set(lightgbm_names()[name]) - OWN
    if name in FocalLGBMClassifier.HOST.refused:
        for alias in aliases:
            assert_refused(FocalLGBMClassifier, table, alias)
    elif name in LIGHTGBM_ACTS:
        value, beside = LIGHTGBM_ACTS[name]
        beside = {"n_jobs": 1, "num_leaves": 8, "min_child_samples": 20} | beside
        beside = {k: v for k, v in beside.items() if k not in lightgbm_names()[name]}
        for alias in aliases:
            assert_acts(FocalLGBMClassifier, table, alias, value, beside)
    else:
        assert name in LIGHTGBM_UNSEEN, "look at it: does it act beside a custom objective?"


def test_lightgbm_files_of_bins_and_splits(table, tmp_path):
    path = tmp_path / "forced.json"
    path.write_text('{"feature": 2, "threshold": 0.1}')
    beside = {"n_jobs": 1, "num_leaves": 8}
    assert_acts(FocalLGBMClassifier, table, "forcedsplits_filename", str(path), beside)
    path.write_text('[{"feature": 0, "bin_upper_bound": [0.987, 2.0]}]')
    beside |= {"max_bin": 4}
    assert_acts(FocalLGBMClassifier, table, "forcedbins_filename", str(path), beside)


@pytest.mark.parametrize("value", ["rf", "random_forest"])
@pytest.mark.parametrize("name", ["boosting", "boosting_type", "boost"])
def test_lightgbms_random_forest_is_refused(name, value, table):
    with pytest.raises(
        ValueError, match=f"boosting must be gbdt or dart, got '{value}'.* use gbdt"
    ):
        logits(FocalLGBMClassifier, table, **{name: value, "bagging_freq": 1, "subsample": 0.5})


def test_lightgbm_stops_by_its_least_step(table):
    X, y = table
    rounds = [
        len(
            FocalLGBMClassifier(n_jobs=1, early_stopping_rounds=3, early_stopping_min_delta=delta)
            .fit(X[:400], y[:400], eval_set=(X[400:], y[400:]))
            .evals_result_["validation_0"]["focal_loss"]
        )
        for delta in (0.0, 1.0)
    ]
    assert rounds[1] == 4 < rounds[0]


def test_the_same_parameter_by_two_names_is_refused(table):
    with pytest.raises(
        ValueError, match=r"eta must be left out, got 0\.1\. It is another name for"
    ):
        logits(FocalLGBMClassifier, table, learning_rate=0.2, eta=0.1)


def test_lightgbm_prints_if_asked_to_by_any_name(table, capfd):
    for name in ("verbosity", "verbose"):
        logits(FocalLGBMClassifier, table, **{name: 2})
        assert "[LightGBM]" in capfd.readouterr().out
    logits(FocalLGBMClassifier, table)
    assert capfd.readouterr().out == ""


# ---------------------------------------------------------------------------------------------
# XGBoost

XGBOOST_ACTS = {
    "booster": ("gblinear", {}),
    "colsample_bylevel": (0.5, {}),
    "colsample_bynode": (0.5, {}),
    "colsample_bytree": (0.5, {}),
    "default_direction": ("left", {"tree_method": "exact"}),
    "eta": (0.9, {}),
    "feature_selector": ("greedy", {"booster": "gblinear", "updater": "coord_descent", "top_k": 1}),
    "grow_policy": ("lossguide", {"max_leaves": 3, "max_depth": 0}),
    "interaction_constraints": ("[[0], [1, 2]]", {}),
    "lambda": (50.0, {}),
    "learning_rate": (0.9, {}),
    "max_bin": (4, {}),
    "max_delta_step": (0.01, {}),
    "max_depth": (1, {}),
    "max_leaves": (3, {}),
    "min_child_weight": (9.0, {}),
    "min_split_loss": (1.0, {}),
    "monotone_constraints": ("(1,-1,0,0,0,0)", {}),
    "normalize_type": ("forest", {"booster": "dart", "rate_drop": 0.5}),
    "num_parallel_tree": (3, {"subsample": 0.5}),
    "one_drop": (1, {"booster": "dart"}),
    "random_state": (5, {"subsample": 0.5}),
    "rate_drop": (0.5, {"booster": "dart"}),
    "reg_alpha": (5.0, {}),
    "reg_lambda": (50.0, {}),
    "sample_type": ("weighted", {"booster": "dart", "rate_drop": 0.5}),
    "sampling_method": ("gradient_based", {"subsample": 0.3}),
    "seed": (5, {"subsample": 0.5}),
    "seed_per_iteration": (True, {"subsample": 0.5}),
    "skip_drop": (1.0, {"booster": "dart", "rate_drop": 0.5}),
    "subsample": (0.5, {}),
    "top_k": (1, {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "greedy"}),
    "tree_method": ("exact", {"max_bin": 4}),
    "updater": ("grow_colmaker", {"max_bin": 4}),
}
XGBOOST_UNSEEN = {
    "verbosity": "printing",
    "validate_parameters": "what is not read is refused here",
    **dict.fromkeys(
        [
            "debug_synchronize",
            "max_cached_hist_node",
            "max_row_perbatch",
            "n_jobs",
            "nthread",
            "opt_dense_col",
            "sparse_threshold",
        ],
        "memory and time",
    ),
    **dict.fromkeys(("device", "fail_on_invalid_gpu_id"), "needs a GPU"),
    **dict.fromkeys(("process_type", "refresh_leaf"), "needs a model to update"),
    "updater_seq": "how XGBoost writes down updater",
    "multi_strategy": "needs several classes: its own test",
    "max_cat_to_onehot": "needs a data frame: its own test",
    "max_cat_threshold": "needs a data frame: its own test",
    "tolerance": "of a linear model that is done before it",
    "alpha": "a name of ours",
    "gamma": "a name of ours",
}


def leaves(tree):
    for name, value in tree.items():
        branches = value if isinstance(value, list) else [value]
        if branches and all(isinstance(one, dict) for one in branches):
            for branch in branches:
                yield from leaves(branch)
        elif not isinstance(value, (dict, list)):
            yield name


def xgboost_names():
    """All that XGBoost's interfaces take and that any booster, updater or objective reads."""
    row = xgb.DMatrix(np.zeros((1, 1)), [0.0])
    names = {*xgb.XGBClassifier().get_params(), *inspect.signature(xgb.train).parameters}
    objectives = [
        "binary:logistic",
        "multi:softprob",
        "rank:ndcg",
        "reg:tweedie",
        "count:poisson",
        "survival:aft",
        "reg:pseudohubererror",
        "reg:quantileerror",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for choice in (
            {"booster": "dart"},
            {"booster": "gblinear"},
            {"booster": "gblinear", "updater": "coord_descent"},
            {"tree_method": "exact"},
            *({"objective": one, "num_class": 3, "quantile_alpha": 0.5} for one in objectives),
        ):
            if "multi" not in choice.get("objective", ""):
                choice.pop("num_class", None)
            booster = xgb.Booster(choice | {"base_score": 0.5}, [row])
            names |= set(leaves(json.loads(booster.save_config())["learner"]))
    return sorted(names - OWN - {"name", "specified_updater", "params", "kwargs"})


@pytest.mark.parametrize("name", xgboost_names())
def test_xgboost(name, table):
    beside = {"n_jobs": 1, "max_depth": 3, "gamma": 2.0}
    if name in XGBOOST_ACTS:
        value, more = XGBOOST_ACTS[name]
        if "gblinear" in (value, more.get("booster")):
            del beside["max_depth"]
        beside = {k: v for k, v in (beside | more).items() if k != name}
        assert_acts(FocalXGBClassifier, table, name, value, beside)
    elif name not in XGBOOST_UNSEEN:
        assert_refused(FocalXGBClassifier, table, name)


def test_xgboost_categories_and_several_classes(table):
    import pandas as pd

    X, y = table
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame["d"] = frame["d"].astype(int).astype("category")
    for name, value, beside in (
        ("max_cat_to_onehot", 100, {"max_cat_to_onehot": 1}),
        ("max_cat_threshold", 1, {"max_cat_to_onehot": 1}),
    ):
        rest = {"n_jobs": 1, "max_depth": 3, "min_child_weight": 0.1} | beside
        assert_acts(FocalXGBClassifier, (frame, y), name, value, rest)
    three = y + (X[:, 2] > 0)
    assert_acts(
        FocalXGBClassifier,
        (X, three),
        "multi_strategy",
        "multi_output_tree",
        {"n_jobs": 1, "max_depth": 3, "start": "zero"},
    )


# ---------------------------------------------------------------------------------------------
# CatBoost: its loss is its own, so little is ignored; what it cannot do it refuses

BERNOULLI = {"bootstrap_type": "Bernoulli", "subsample": 0.5}
LOSSGUIDE = {"grow_policy": "Lossguide"}
ORDERED = {"boosting_type": "Ordered"}
CATBOOST_ACTS = {
    "approx_on_full_history": (True, ORDERED),
    "bagging_temperature": (9.0, {"bootstrap_type": "Bayesian"}),
    "boosting_type": ("Ordered", {}),
    "bootstrap_type": ("Bernoulli", {}),
    "border_count": (3, {}),
    "colsample_bylevel": (0.3, {}),
    "depth": (2, {}),
    "diffusion_temperature": (1.0, {"langevin": True}),
    "eta": (0.5, {}),
    "eval_fraction": (0.3, {}),
    "feature_border_type": ("Uniform", {"border_count": 4}),
    "feature_weights": ([0.01, 1, 1, 1, 1, 1], {}),
    "first_feature_use_penalties": ([9.0] * 6, {}),
    "fold_len_multiplier": (1.1, ORDERED),
    "grow_policy": ("Lossguide", {}),
    "ignored_features": ([0], {}),
    "l2_leaf_reg": (50.0, {}),
    "langevin": (True, {}),
    "leaf_estimation_backtracking": (
        "No",
        {"leaf_estimation_iterations": 10, "eta": 3.0, "depth": 3},
    ),
    "leaf_estimation_iterations": (5, {}),
    "leaf_estimation_method": ("Gradient", {}),
    "learning_rate": (0.5, {}),
    "max_bin": (3, {}),
    "max_depth": (2, {}),
    "max_leaves": (3, LOSSGUIDE),
    "min_child_samples": (50, LOSSGUIDE),
    "min_data_in_leaf": (50, LOSSGUIDE),
    "model_shrink_mode": ("Decreasing", {"model_shrink_rate": 0.5, "start": "zero"}),
    "model_shrink_rate": (0.5, {"start": "zero"}),
    "monotone_constraints": ([1, -1, 0, 0, 0, 0], {}),
    "mvs_reg": (9.0, {"bootstrap_type": "MVS", "subsample": 0.5}),
    "nan_mode": ("Max", {}),
    "num_leaves": (3, LOSSGUIDE),
    "penalties_coefficient": (9.0, {"first_feature_use_penalties": [0.0, 0.2, 0.2, 0.2, 0.2, 0.2]}),
    "per_float_feature_quantization": (["0:border_count=2"], {}),
    "per_object_feature_penalties": ([9.0] * 6, {}),
    "posterior_sampling": (True, {"start": "zero"}),
    "random_score_type": ("Gumbel", {}),
    "random_seed": (5, {}),
    "random_state": (5, {}),
    "random_strength": (9.0, {}),
    "reg_lambda": (50.0, {}),
    "rsm": (0.3, {}),
    "sampling_frequency": ("PerTreeLevel", BERNOULLI),
    "score_function": ("L2", {}),
    "subsample": (0.4, {"bootstrap_type": "Bernoulli"}),
}
CATBOOST_UNSEEN = {
    **dict.fromkeys(
        [
            "allow_writing_files",
            "custom_loss",
            "custom_metric",
            "logging_level",
            "metadata",
            "metric_period",
            "name",
            "silent",
            "train_dir",
            "verbose",
        ],
        "printing, logs and files",
    ),
    **dict.fromkeys(
        [
            "dev_efb_max_buckets",
            "dev_score_calc_obj_block_size",
            "fold_permutation_block",
            "sparse_features_conflict_fraction",
            "thread_count",
            "used_ram_limit",
        ],
        "memory and time",
    ),
    **dict.fromkeys(
        ["best_model_min_trees", "od_pval", "od_type", "od_wait", "use_best_model"],
        "needs an eval_set",
    ),
    **dict.fromkeys(
        [
            "data_partition",
            "device_config",
            "devices",
            "gpu_cat_features_storage",
            "gpu_ram_part",
            "pinned_memory_size",
            "task_type",
        ],
        "needs a GPU",
    ),
    **dict.fromkeys(
        [
            "input_borders",
            "output_borders",
            "save_snapshot",
            "snapshot_file",
            "snapshot_interval",
            "fixed_binary_splits",
        ],
        "needs files",
    ),
    **dict.fromkeys(
        [
            "cat_features",
            "combinations_ctr",
            "counter_calc_method",
            "ctr_description",
            "ctr_history_unit",
            "ctr_leaf_count_limit",
            "ctr_target_border_count",
            "final_ctr_computation_mode",
            "has_time",
            "max_ctr_complexity",
            "model_size_reg",
            "one_hot_max_size",
            "per_feature_ctr",
            "simple_ctr",
            "store_all_simple_ctr",
            "dictionaries",
            "embedding_features",
            "feature_calcers",
            "text_features",
            "text_processing",
            "tokenizers",
            "sampling_unit",
        ],
        "needs categories, texts, embeddings or groups",
    ),
    "callback": "of fit, and refused by CatBoost here",
}


@pytest.mark.parametrize(
    "name", sorted({*inspect.signature(catboost.CatBoostClassifier).parameters} - OWN)
)
def test_catboost(name, table):
    if name in FocalCatBoostClassifier.HOST.refused:
        assert_refused(FocalCatBoostClassifier, table, name)
    elif name in CATBOOST_ACTS:
        value, beside = CATBOOST_ACTS[name]
        beside = {"thread_count": 1} | beside
        assert_acts(FocalCatBoostClassifier, table, name, value, beside)
    else:
        assert name in CATBOOST_UNSEEN, "look at it: does it act beside Focal?"


@pytest.mark.parametrize("name", ["model_shrink_rate", "posterior_sampling"])
def test_catboost_cannot_shrink_beside_a_start(name, table):
    with pytest.raises(ValueError, match=f'{name} must be left out, got 0.5.* use start="zero"'):
        logits(FocalCatBoostClassifier, table, **{name: 0.5})


@pytest.mark.parametrize("name", ["verbose", "silent", "logging_level"])
def test_catboost_prints_what_it_is_told_to(name, table, capfd):
    value = {"verbose": True, "silent": False, "logging_level": "Verbose"}[name]
    logits(FocalCatBoostClassifier, table, thread_count=1, **{name: value})
    assert "learn:" in capfd.readouterr().out


def test_catboost_keeps_every_round_if_told_to(table):
    X, y = table
    settings = {"n_estimators": 60, "learning_rate": 0.9, "thread_count": 1}
    trees = [
        FocalCatBoostClassifier(**settings, early_stopping_rounds=4, use_best_model=best)
        .fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
        .booster_.tree_count_
        for best in (True, False)
    ]
    assert trees[1] == trees[0] + 4


def test_catboost_takes_categories_in_fit_or_constructor(table):
    import pandas as pd

    X, y = table
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame["d"] = [f"kind {one:.0f}" for one in frame["d"]]
    settings = {"n_estimators": 5, "thread_count": 1}
    first = FocalCatBoostClassifier(**settings, cat_features=["d"]).fit(frame, y)
    second = FocalCatBoostClassifier(**settings).fit(
        frame, y, cat_features=["d"], eval_set=(frame, y)
    )
    np.testing.assert_array_equal(first.logits(frame), second.logits(frame))
    with pytest.raises(catboost.CatBoostError):
        second.fit(frame, y)  # what fit was given does not stay


# ---------------------------------------------------------------------------------------------
# all three


@pytest.mark.parametrize("host", [FocalXGBClassifier, FocalLGBMClassifier, FocalCatBoostClassifier])
def test_what_is_no_parameter_is_refused(host, table):
    with pytest.raises((ValueError, catboost.CatBoostError), match="learning_ratio"):
        logits(host, table, learning_ratio=0.1)


@pytest.mark.parametrize("host", [FocalXGBClassifier, FocalLGBMClassifier])
def test_a_slip_is_told_what_was_meant(host, table):
    with pytest.raises(ValueError, match=r"would ignore it\. Did you mean early_stopping_rounds"):
        logits(host, table, early_stoping_rounds=3)


@pytest.mark.parametrize("host", [FocalXGBClassifier, FocalLGBMClassifier, FocalCatBoostClassifier])
def test_none_is_not_set(host, table):
    name = "min_child_samples" if host is FocalCatBoostClassifier else "min_child_weight"
    threads = "thread_count" if host is FocalCatBoostClassifier else "n_jobs"
    expected = logits(host, table, **{threads: 1})
    np.testing.assert_array_equal(logits(host, table, **{threads: 1, name: None}), expected)
