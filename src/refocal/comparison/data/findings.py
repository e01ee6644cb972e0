"""The data check: what a reader must know before believing a figure. Every finding has a code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from refocal.comparison.data.cells import listed
from refocal.comparison.data.leaks import leaks
from refocal.comparison.data.splits import Split, splitting
from refocal.comparison.data.table import Table
from refocal.comparison.errors import argument
from refocal.comparison.results import Finding, LossResult

_RARE = 0.01
_FEW = 50
_MANY_VALUES = 1_000
_NAMED = 5  # classes, of more
_SHIFT = 1.5
_LEFT_OUT = 0.2  # of a split's rows, from which on a reader must know it


def check(table: Table, split: Split, precisions: Sequence[float] | None = None) -> list[Finding]:
    """Return what is remarkable about a table and its first split, the worst first.

    Args:
        table: the task, with what was found while it was read.
        split: its first split.
        precisions: the best average precision that a model reached, of each class; None where
            nothing was trained.
    """
    found = [*table.findings, *_targets(table, split), *_shift(table, split)]
    found += _over_borders(table, split)
    if isinstance(table.features, pd.DataFrame):
        found += [*_columns(table.features), *leaks(table, split, precisions)]
        found += _duplicates(table.features, split)
    order = ("problem", "warning", "note")
    return sorted(found, key=lambda one: order.index(one.severity))


def _targets(table: Table, split: Split) -> Iterator[Finding]:
    rates = dict(zip(table.classes, table.rates(np.arange(table.rows)), strict=True))
    tested = dict(zip(table.classes, table.targets[split.test].sum(0).tolist(), strict=True))
    rare = {name: f"one row in {1 / rate:,.0f}" for name, rate in rates.items() if rate < _RARE}
    few = {name: count for name, count in tested.items() if count < _FEW}
    if rare:
        yield Finding(
            "imbalance",
            "note",
            f"{_of_classes(table, 'Positives: {}', '{}', rare)}.",
            "Read average precision rather than ROC AUC, and never accuracy.",
        )
    if few:
        found = _of_classes(table, "{} positives", "few examples of some classes ({})", few)
        yield Finding(
            "few-positives",
            "warning",
            f"The test part has {found}: intervals will be wide.",
            f"Use {argument('repeats', 10)} or more, or collect more of them.",
        )
    if table.rows_without_target:
        yield Finding(
            "no-target",
            "note",
            f"{table.rows_without_target:,} rows without a target were left out.",
            "Make sure that they are missing at random.",
        )


def _of_classes(table: Table, one: str, several: str, said: Mapping[str, object]) -> str:
    """Put what is said into a sentence about the positives, or about classes: of many the first."""
    if table.kind == "binary":
        return one.format(next(iter(said.values())))
    shown = ", ".join(f"{name!r}: {found}" for name, found in list(said.items())[:_NAMED])
    more = len(said) - _NAMED
    return several.format(shown + (f" and {more:,} more" if more > 0 else ""))


def _shift(table: Table, split: Split) -> Iterator[Finding]:
    if splitting(table) == "stratified":
        return
    shifted = {}
    for k, name in enumerate(table.classes):
        rates = [float(table.rates(rows)[k]) for rows in (split.train, split.test)]
        low, high = sorted(rates)
        if high > _SHIFT * low:
            shifted[name] = f"{rates[0]:.2%} in training and {rates[1]:.2%} in test"
    if shifted:
        several = "The shares of some classes differ ({})"
        of = _of_classes(table, "The base rate is {}", several, shifted)
        yield Finding(
            "prior-shift",
            "warning",
            f"{of}.",
            "Correct the probabilities for the rate you expect: refocal.shift_prior.",
        )


def _over_borders(table: Table, split: Split) -> Iterator[Finding]:
    if table.time is None or table.groups is None:
        return
    seen = int((table.time <= table.time[split.test].max()).sum())
    left_out = seen - sum(len(rows) for rows in split.parts().values())
    if left_out:
        yield Finding(
            "group-over-time",
            "warning" if left_out > _LEFT_OUT * seen else "note",
            f"{left_out:,} of {seen:,} rows of the first split are left out of it: their"
            f" {table.group_name} reaches from one part into another, and stays in one.",
            f"Without {argument('groups')} or {argument('time_order')} no row is left out, and the"
            " question is another one.",
        )


def _columns(features: pd.DataFrame) -> Iterator[Finding]:
    constant, missing, many = [], [], []
    for name in features.columns:
        column = features[name]
        known = column.nunique(dropna=True)
        numeric = pd.api.types.is_numeric_dtype(column)
        if known == 0 or (known == 1 and not column.isna().any()):
            constant.append(str(name))
        elif numeric and column.isna().mean() > 0.95:
            missing.append(str(name))
        elif not numeric and known > _MANY_VALUES:
            many.append(str(name))
    drop = argument("drop")
    for code, names, what, advice in (
        ("constant-column", constant, "the same in every row", f"Leave it out with {drop}."),
        ("missing-column", missing, "missing in 95 % of the rows", "Ask whether it is worth it."),
        (
            "many-values",
            many,
            f"of more than {_MANY_VALUES} categories; the rarer ones share one input",
            f"If it is an identifier, leave it out with {drop}; if rows with the same value belong"
            f" together, use {argument('groups')}.",
        ),
    ):
        if names:
            yield Finding(code, "note", f"{listed(names)}: {what}.", advice)


def _duplicates(features: pd.DataFrame, split: Split) -> Iterator[Finding]:
    hashes = pd.util.hash_pandas_object(features, index=False).to_numpy()
    seen = np.isin(hashes[split.test], hashes[split.train])
    share = float(seen.mean())
    if share > 0:
        severe = share > 0.01 and features.shape[1] > 3
        yield Finding(
            "duplicates",
            "warning" if severe else "note",
            f"{seen.sum():,} of {len(seen):,} test rows have the same features as a training row.",
            f"If they are copies, remove them; if they belong together, use {argument('groups')}.",
        )


def best_precisions(losses: Sequence[LossResult], classes: Sequence[str]) -> list[float]:
    """Return the best average precision of each class over models and losses; 0 where undefined."""
    names = ["average_precision"]
    if len(classes) > 1:
        names = [f"average_precision/{name}" for name in classes]
    return [max((loss.figures[name].value or 0.0) for loss in losses) for name in names]
