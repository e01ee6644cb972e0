"""Columns that give the target away, judged by what one of them alone reaches of the model's own.

The measure is the share of the way from the base rate to 1 that an average precision goes. It does
not depend on how rare the positives are, as ROC AUC does: with 4.5 % of them a column at an AUC of
.98 can rank nearly as well as all columns together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from refocal.comparison.data.splits import Split
from refocal.comparison.data.table import Bools, Floats, Integers, Table
from refocal.comparison.errors import argument
from refocal.comparison.results import Finding
from refocal.metrics import average_precision

_ROWS = 100_000
_SEEN = 10  # positives: fewer reach anything by chance
# Alone nearly perfect; or most of what the model reaches, far above every other column.
_PERFECT = 0.97
_STRONG, _OF_MODEL, _AHEAD = 0.75, 0.8, 0.5
_DOMINATES = 0.5


@dataclass(frozen=True)
class _Reach:
    """What one column alone reaches for one class."""

    name: str
    precision: float
    area: float
    share: float  # of the way from the base rate to 1


def leaks(table: Table, split: Split, precisions: Sequence[float] | None) -> Iterator[Finding]:
    """Yield findings on columns that alone do what the model does.

    Args:
        table: the task.
        split: its training rows teach a column's score, the others judge it.
        precisions: the models' best average precision of each class; None before they are known,
            when a column is held against what cannot be beaten.
    """
    features = table.features
    if not isinstance(features, pd.DataFrame):
        return
    rows = np.sort(np.concatenate([split.valid, split.test]))[:_ROWS]
    train = split.train[:: max(1, len(split.train) // _ROWS)]
    for k, label in enumerate(table.classes):
        labels = table.targets[:, k]
        if not _SEEN <= labels[rows].sum() < len(rows) or not labels[train].any():
            continue
        base, weights = float(table.rates(rows)[k]), table.weights(rows)
        found = [
            _reach(features[name], labels, train, rows, base, weights) for name in features.columns
        ]
        found.sort(key=lambda one: -one.share)
        model = 1.0 if precisions is None else _share(precisions[k], base)
        yield from _judged(found, model, label, precisions, k)


def _judged(
    found: list[_Reach], model: float, label: str, precisions: Sequence[float] | None, k: int
) -> Iterator[Finding]:
    # Copies of one leak lie beside each other; where most columns do, the task is easy.
    beside = [one for one in found if one.share >= _OF_MODEL * found[0].share]
    behind = found[len(beside)].share if len(beside) < len(found) else found[0].share
    few = len(beside) <= max(1, len(found) // 3)
    for one in found:
        nearly_all = one.share >= _OF_MODEL * model
        ahead = few and behind <= _AHEAD * one.share
        leak = one.share >= _PERFECT or (one.share >= _STRONG and nearly_all and ahead)
        if not leak and not (one.share >= _DOMINATES and nearly_all and ahead):
            continue
        of = "" if precisions is None else f" The best model reaches {precisions[k]:.2f}."
        yield Finding(
            "gives-away" if leak else "dominates",
            "problem" if leak else "warning",
            f"Column {one.name!r} alone tells {label!r} with an average precision of"
            f" {one.precision:.2f} (ROC AUC {one.area:.3f}).{of}",
            "It was probably recorded with or after the target: leave it out with"
            f" {argument('drop')}."
            if leak
            else "Make sure that it is known before the target is.",
            leak=leak,
        )


def _share(precision: float, base: float) -> float:
    return max(0.0, (precision - base) / (1.0 - base))


def _reach(
    column: pd.Series[Any],
    labels: Bools,
    train: Integers,
    rows: Integers,
    base: float,
    weights: Floats | None,
) -> _Reach:
    scores = single_score(column, labels, train, rows)
    precision = average_precision(scores, labels[rows], weights)
    area = float(roc_auc_score(labels[rows], scores))
    return _Reach(str(column.name), precision, area, _share(precision, base))


def single_score(column: pd.Series[Any], labels: Bools, train: Integers, rows: Integers) -> Floats:
    """Return a column as one score: the rate of positives among training rows with a like value.

    Numbers are cut where that tells most, so that a value in the middle or a missing one can be
    what gives the target away.
    """
    scores: Floats
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64)[:, None]
        if np.isnan(numbers[train]).all():
            return np.zeros(len(rows))
        # float32, in which trees are grown, holds no more than this
        numbers = np.clip(numbers, -1e38, 1e38)
        # missing ones below all others: scikit-learn 1.6 cuts no column of one value and missing
        low = float(np.nanmin(numbers))
        numbers = np.where(np.isnan(numbers), low - max(1.0, abs(low)), numbers)
        tree = DecisionTreeClassifier(max_leaf_nodes=32, min_samples_leaf=5, random_state=0)
        tree.fit(numbers[train], labels[train])
        scores = tree.predict_proba(numbers[rows])[:, -1]
        return scores
    rates = pd.Series(labels[train]).groupby(column.iloc[train].to_numpy()).mean()
    known = column.iloc[rows].map(rates).astype(np.float64).fillna(float(labels[train].mean()))
    scores = known.to_numpy(dtype=np.float64)
    return scores
