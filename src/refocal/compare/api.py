"""`refocal.compare(model, data)`: the comparison from Python, also on your own network and data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from refocal.compare.data import frame_table, read_table
from refocal.compare.errors import CompareError
from refocal.compare.experiment import run
from refocal.compare.folder import workplace
from refocal.compare.plan import Plan
from refocal.compare.report.files import write
from refocal.compare.results import Results
from refocal.compare.table import Bools, Kind, Table, one_hot
from refocal.compare.training.models import Model, by_name
from refocal.compare.training.networks import Network

ModelLike: TypeAlias = str | Callable[[int, int], nn.Module] | Sequence[Any]


def compare(
    model: ModelLike,
    data: Any,
    *,
    target: str | None = None,
    classes: Sequence[str] | None = None,
    groups: Any = None,
    time_order: Any = None,
    name: str = "data",
    plan: Plan | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    **options: Any,
) -> Results:
    """Train models with cross-entropy and with focal losses, and say which to use.

    Args:
        model: a name ("mlp", "logistic", "xgboost", "lightgbm", "catboost"), or your own function
            from the numbers of inputs (features, or channels) and outputs to a `torch.nn.Module`,
            which takes float32 features `(n, ...)` and returns logits `(n, outputs)`; or a list of
            these. A function's `__name__` is what the report calls it.
        data: a `Table`; a path or a data frame, with `target`; a pair (features, targets) of arrays
            or tensors of n rows; or a map-style torch dataset of such pairs.
            Targets `(n,)`: 0 and 1, or class indices; `(n, K)` of 0 and 1: labels of their own.
        target: column of a path or data frame to predict; several by commas.
        classes: names of the classes of array targets; of a binary task the positive one's.
        groups: `(n,)`, or a column of a path or data frame: rows that stay together.
        time_order: `(n,)`, or a column: no split trains on the future.
        name: of array data, for the report.
        plan: how much work; or give its fields as keywords: ``seed``, ``repeats``, ``epochs``,
            ``quick``, ``margin``, ``costs``, ``trials``, ``storage``.
        out: folder for the report and for what `resume` needs; None to write nothing.
        resume: continue or extend what is in the folder.
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
    if plan is not None and options:
        both = ", ".join(options)
        raise TypeError(f"compare: give either a plan or its fields, got a plan and {both}.")
    plan = plan or Plan(**options)
    table = _table(data, target, classes, groups, time_order, name)
    models = _models(model)
    if out is None:
        return run(table, models, plan)
    started = time.monotonic()
    with workplace(Path(out), resume=resume) as folder:
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
    target: str | None,
    classes: Sequence[str] | None,
    groups: Any,
    time_order: Any,
    name: str,
) -> Table:
    if isinstance(data, Table):
        return data
    if isinstance(data, str | Path | pd.DataFrame):
        if target is None:
            raise CompareError("which column to predict? Pass target=.")
        if isinstance(data, pd.DataFrame):
            return frame_table(data, name=Path(name), target=target, group=groups, time=time_order)
        return read_table(Path(data), target=target, group=groups, time=time_order)
    features, targets = _pair(data)
    kind, labels = _labels(targets)
    if len(features) != len(labels):
        raise CompareError(f"features have {len(features)} rows and targets {len(labels)}.")
    names = tuple(classes or (["1"] if kind == "binary" else map(str, range(labels.shape[1]))))
    if len(names) != labels.shape[1]:
        raise CompareError(f"classes must be {labels.shape[1]} names, got {len(names)}.")
    return Table(
        name=name,
        features=features,
        targets=labels,
        target="targets",
        classes=names,
        kind=kind,
        groups=None if groups is None else pd.factorize(np.asarray(groups))[0].astype(np.int64),
        group_name="row" if groups is None else "group",
        time=None if time_order is None else np.asarray(time_order, dtype=np.float64),
    )


def _pair(data: Any) -> tuple[Tensor, Any]:
    if not (isinstance(data, tuple | list) and len(data) == 2):
        try:
            rows = [data[k] for k in range(len(data))]
            data = ([x for x, _ in rows], [y for _, y in rows])
        except (TypeError, ValueError, KeyError) as error:
            raise CompareError(
                "data must be a Table, a path, a data frame, a pair (features, targets) or a torch"
                f" dataset of such pairs, got {type(data).__name__}."
            ) from error
    features, targets = data
    return _stacked(features).float(), _stacked(targets).numpy()


def _stacked(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    if isinstance(values, list | tuple) and values and isinstance(values[0], Tensor):
        return torch.stack([one.detach().cpu() for one in values])
    return torch.from_numpy(np.asarray(values))


def _labels(targets: Any) -> tuple[Kind, Bools]:
    if targets.ndim not in (1, 2) or not (targets == np.round(targets)).all() or targets.min() < 0:
        raise CompareError(
            "targets must be (n,) of class indices from 0, or (n, K) of 0 and 1, got"
            f" {targets.dtype} {targets.shape}."
        )
    if targets.ndim == 2:
        if targets.max() > 1:
            raise CompareError("targets (n, K) must be 0 and 1.")
        return ("binary" if targets.shape[1] == 1 else "multilabel"), targets.astype(bool)
    largest = int(targets.max())
    if largest > 1:
        return "multiclass", one_hot(targets.astype(np.int64), largest + 1)
    return "binary", targets.astype(bool)[:, None]
