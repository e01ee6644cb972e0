"""`refocal.compare(model, data)`: the comparison from Python, also on your own network and data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
from torch import nn

from refocal.comparison.data.arrays import array_table, as_frame, as_pair
from refocal.comparison.data.sources import frame_table, read_table
from refocal.comparison.data.table import Table
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.experiment import run
from refocal.comparison.folder import workplace
from refocal.comparison.plan import Costs, Plan
from refocal.comparison.report.files import write
from refocal.comparison.results import Results
from refocal.comparison.training.models import Model
from refocal.comparison.training.named import by_name
from refocal.comparison.training.networks import Network

ModelLike: TypeAlias = str | Callable[[int, int], nn.Module] | Sequence[Any]


def compare(
    model: ModelLike,
    data: Any,
    *,
    target: str | Sequence[str] | None = None,
    positive: Any = None,
    drop: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    groups: Any = None,
    time_order: Any = None,
    rows: int | None = None,
    name: str = "data",
    plan: Plan | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    **options: Any,
) -> Results:
    """Train models with cross-entropy and with focal losses, and say which to use.

    Args:
        model: a name ("mlp", "logistic", "xgboost", "lightgbm", "catboost"), or your own function
            from the numbers of inputs (features, or channels) and outputs to a `torch.nn.Module`,
            which takes float32 features `(n, ...)` and returns logits `(n, outputs)`; or a list of
            these. A function's `__name__` is what the report calls it.
        data: a `Table`; a path or a data frame (pandas, Polars, Arrow), with `target`; a pair
            (features, targets) of arrays, tensors or frames of n rows; or a map-style torch dataset
            of such pairs. Rows without a target are left out; missing features are imputed.
            Targets `(n,)`: 0 and 1, class indices from 0, or values of any kind, text too; `(n, K)`
            of 0 and 1: labels of their own.
        target: column of a path or data frame to predict; several as a list or by commas.
        positive: the value of the target that counts as positive, against all the others; None for
            the rarer of two.
        drop: columns of a path or data frame to leave out.
        classes: names of the classes of array targets; of a binary task the positive one's.
        groups: `(n,)`, or a column of a path or data frame: rows that stay together.
        time_order: `(n,)`, or a column: no split trains on the future.
        rows: of a path or data frame: the most to read, at least 100; of each class as many as
            there are or as there is room for, so the rarer ones whole and a share of the others.
            Not of several labels at once. Figures and probabilities are corrected to those of all
            rows. None for all rows; of a CSV or Parquet file too large for memory, for a million.
        name: of array data, for the report.
        plan: how much work; or give its fields as keywords: ``seed``, ``repeats``, ``epochs``,
            ``quick``, ``margin``, ``costs`` (a number is what a missed positive costs, in false
            alarms), ``trials``, ``storage``, ``smote``, ``cluster``.
        out: folder for the report and for what `resume` needs; None to write nothing.
        resume: continue or extend what is in the folder.
        force: replace what is in the folder.
        **options: fields of `Plan`.

    Returns:
        The results; ``results.recommendation.headline`` is the answer.

    Raises:
        CompareError: the data cannot be compared on; the text says why.

    Example:
        >>> import torch, refocal
        >>> random = torch.Generator().manual_seed(0)
        >>> x = torch.randn(600, 3, generator=random)
        >>> y = (x[:, 0] + torch.randn(600, generator=random) > 1.5).long()
        >>> def linear(inputs, outputs):
        ...     return torch.nn.Linear(inputs, outputs)
        >>> results = refocal.compare(linear, (x, y), quick=True)
        >>> results.recommendation.model
        'linear'
    """
    plan = _plan(plan, options)
    table = _table(data, target, positive, drop, classes, groups, time_order, rows, name)
    models = _models(model)
    if out is None:
        return run(table, models, plan)
    started = time.monotonic()
    with workplace(Path(out), resume=resume, force=force) as folder:
        results = run(table, models, plan, folder=folder)
        write(results, folder, seconds=time.monotonic() - started)
    return results


def _models(model: ModelLike) -> list[Model]:
    every = [model] if isinstance(model, str) or callable(model) else list(model)
    models: list[Model] = []
    for one in every:
        if isinstance(one, str):
            models += by_name([one])
        elif callable(one):
            models.append(Network(getattr(one, "__name__", type(one).__name__), one))
        else:
            models.append(one)
    names = [one.name for one in models]
    if len(set(names)) < len(names):
        raise CompareError(f"models must have different names, got {', '.join(names)}.")
    return models


def _table(
    data: Any,
    target: str | Sequence[str] | None,
    positive: Any,
    drop: Sequence[str],
    classes: Sequence[str] | None,
    groups: Any,
    time_order: Any,
    rows: int | None,
    name: str,
) -> Table:
    if isinstance(data, Table):
        given = {
            "target": target,
            "positive": positive,
            "drop": drop or None,
            "classes": classes,
            "groups": groups,
            "time_order": time_order,
            "rows": rows,
        }
        for which, value in given.items():
            if value is not None:
                raise CompareError(
                    f"{argument(which)} belongs to what a table is made of, and this is one"
                    " already: give it to read_table or frame_table."
                )
        return data
    data = as_frame(data)
    if not isinstance(data, str | Path | pd.DataFrame):
        data = as_pair(data)
        if drop or target is not None or rows is not None:
            which = "drop" if drop else "target" if target is not None else "rows"
            raise CompareError(f"{argument(which)} belongs to a path or a data frame.")
        return array_table(
            data,
            name=name,
            classes=classes,
            positive=positive,
            groups=groups,
            time_order=time_order,
        )
    if classes is not None:
        raise CompareError(f"{argument('classes')} belongs to arrays: a column names its own.")
    if target is None:
        raise CompareError(f"which column to predict? Pass {argument('target')}.")
    columns: dict[str, Any] = {
        "target": target,
        "positive": positive,
        "drop": drop,
        "groups": groups,
        "time_order": time_order,
        "rows": rows,
    }
    if isinstance(data, pd.DataFrame):
        return frame_table(data, name=Path(name), **columns)
    return read_table(Path(data), **columns)


def _plan(plan: Plan | None, options: dict[str, Any]) -> Plan:
    if plan is not None:
        if options:
            both = ", ".join(options)
            raise TypeError(f"compare: give either a plan or its fields, got a plan and {both}.")
        return plan
    costs = options.get("costs")
    if isinstance(costs, int | float) and not isinstance(costs, bool):
        if not 0 < costs < math.inf:
            raise CompareError(f"{argument('costs')} must be above 0 and finite, got {costs:g}.")
        options = options | {"costs": Costs(miss=float(costs))}
    elif costs is not None and not isinstance(costs, Costs):
        raise TypeError(
            "compare: costs must be a number, the cost of a missed positive in false alarms, or a"
            f" Costs, got {type(costs).__name__}."
        )
    return Plan(**options)
