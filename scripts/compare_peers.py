"""What the tools beside `refocal compare` answer about the flights, each really asked.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install imbcal==0.4 imbeval==0.1 imbalanced-calibrate==0.1 skore
    /tmp/peers/bin/pip install imbalanced-learn
    PYTHONPATH=src /tmp/peers/bin/python scripts/compare_peers.py

One logistic regression on the numbers of the flights; days go to training or test. Prints one
section a tool. It needs no PyTorch.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as resampled
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.preprocessing import StandardScaler

from refocal.comparison.data.synthetic import kin_of, synthetic
from refocal.data import flights

ROWS = 8_000  # of training, and of test


def data() -> tuple[Any, Any, Any, Any]:
    columns = flights()
    y = np.asarray(columns.pop("cancelled")).astype(int)
    days = np.asarray(columns.pop("day_of_year"))
    numbers = [np.asarray(v, float) for v in columns.values() if np.asarray(v).dtype.kind in "fiu"]
    x = StandardScaler().fit_transform(np.nan_to_num(np.column_stack(numbers)))
    generator = np.random.default_rng(0)
    test = np.isin(days, generator.choice(np.unique(days), 120, replace=False))
    parts = [generator.permutation(np.flatnonzero(one))[:ROWS] for one in (~test, test)]
    return x[parts[0]], y[parts[0]], x[parts[1]], y[parts[1]]


def model(**settings: Any) -> Any:
    return LogisticRegression(max_iter=1000, **settings)


def say(name: str, *lines: object) -> None:
    print(f"\n## {name} {version(name)}", *lines, sep="\n")


def main() -> None:
    warnings.simplefilter("ignore")
    x, y, x_test, y_test = data()

    def worth(p: Any) -> str:
        p = np.asarray(p, dtype=np.float64)
        return (
            f"average precision {average_precision_score(y_test, p):.4f}, log loss"
            f" {log_loss(y_test, p):.4f}, mean {p.mean():.4f} of {y_test.mean():.4f}"
        )

    plain = model().fit(x, y).predict_proba(x_test)[:, 1]
    weighted = model(class_weight="balanced").fit(x, y)
    print("cross-entropy:", worth(plain))
    print("balanced weights:", worth(weighted.predict_proba(x_test)[:, 1]))

    import imbcal

    chosen = imbcal.ImbalanceCalibratedClassifier(model(), strategy="augment", random_state=0)
    chosen.fit(x, y)
    cost = imbcal.rebalancing_cost(x.shape[1], prevalence=float(y.mean()), auc=0.7, n=len(y))
    say(
        "imbcal",
        "selection: " + worth(chosen.predict_proba(x_test)[:, 1]),
        {k: v for k, v in vars(chosen).items() if k.endswith("_") and np.isscalar(v)},
        f"planning: {cost}"[:1500],
        imbcal.probability_report(y_test, plain),
    )

    import imbeval

    report = imbeval.evaluation_report(y_test, plain, cost_fp=1.0, cost_fn=10.0)
    say("imbeval", report)

    import imbcalibrate

    names = [name for name in dir(imbcalibrate) if name.endswith("Classifier")]
    corrected = getattr(imbcalibrate, names[0])(model(class_weight="balanced")).fit(x, y)
    say("imbalanced-calibrate", names, worth(corrected.predict_proba(x_test)[:, 1]))

    import skore

    skored = skore.CrossValidationReport(model(), x, y, splitter=5)
    say("skore", skored.metrics.summarize().frame())

    smote = resampled(SMOTE(random_state=0), LogisticRegression(max_iter=1000))
    say("imbalanced-learn", "SMOTE: " + worth(smote.fit(x, y).predict_proba(x_test)[:, 1]))

    rows, count = x.astype(np.float32), np.bincount(y)
    kin = kin_of(rows, np.flatnonzero(y), ())
    made = synthetic(rows, kin, count[0] - count[1], np.random.default_rng(0))
    every = np.concatenate([y, np.ones(len(made), int)])
    odds = model().fit(np.concatenate([rows, made]), every).decision_function(x_test)
    closed = 1 / (1 + np.exp(-(odds - np.log(count[0] / count[1]))))
    say(
        "refocal",
        "SMOTE: " + worth(1 / (1 + np.exp(-odds))),
        "the same, with the closed form of the weights it amounts to: " + worth(closed),
    )


if __name__ == "__main__":
    main()
