"""What a boosting round with the focal objective costs, against the host's own logistic objective.

    python scripts/boosting_cost.py --rows 1000000 --rounds 10 --repeats 5

The two are timed in turn, so that both see the same load on the machine. "gamma 0" is the same loss
as the host's, so it grows the same trees: what remains is the price of calling Python.
"""

import argparse
import statistics
import time

import lightgbm as lgb
import numpy as np
import xgboost as xgb

from refocal.boosting import SigmoidFocalObjective

OBJECTIVES = {
    "gamma 0": SigmoidFocalObjective(alpha=None, gamma=0.0),
    "gamma 2, alpha .25": SigmoidFocalObjective(),
    "gamma 1.5, weights": SigmoidFocalObjective(gamma=1.5),
}


def xgboost_rounds(X, y, weight, rounds):
    data = xgb.QuantileDMatrix(X, y, weight=weight)

    def run(objective):
        start = time.perf_counter()
        if objective is None:
            xgb.train({"objective": "binary:logistic", "base_score": 0.5}, data, rounds)
        else:
            xgb.train({"base_score": 0.0}, data, rounds, obj=objective)
        return (time.perf_counter() - start) / rounds

    return run


def lightgbm_rounds(X, y, weight, rounds):
    data = lgb.Dataset(X, y, weight=weight, params={"verbose": -1}).construct()

    def run(objective):
        params = {"objective": objective or "binary", "verbose": -1, "boost_from_average": False}
        start = time.perf_counter()
        lgb.train(params, data, rounds)
        return (time.perf_counter() - start) / rounds

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(options.rows, options.columns)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=options.rows) > 3.2).astype(np.float32)
    print(f"{options.rows} rows, {options.columns} columns, {y.mean():.3f} positive")
    print(
        "| host | objective | its logistic, ms per round | ours, ms | ratio (lowest to highest) |"
    )
    print("|---|---|---|---|---|")
    for host, prepare in (("XGBoost", xgboost_rounds), ("LightGBM", lightgbm_rounds)):
        for name, objective in OBJECTIVES.items():
            weight = rng.random(options.rows) if "weights" in name else None
            run = prepare(X, y, weight, options.rounds)
            run(None), run(objective)  # warm up
            pairs = [(run(None), run(objective)) for _ in range(options.repeats)]
            ratios = sorted(ours / theirs for theirs, ours in pairs)
            theirs, ours = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
            print(
                f"| {host} | {name} | {theirs:.0f} | {ours:.0f} | {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
