"""Makes tables of arrays, tensors, frames and data sets that are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from refocal.comparison.data.columns import clean
from refocal.comparison.data.files import Contents, as_contents
from refocal.comparison.data.split_by import as_groups, as_times
from refocal.comparison.data.table import Bools, Kind, Table, one_hot
from refocal.comparison.data.targets import Targets, targets
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.results import Finding


def array_table(
    data: Any,
    *,
    name: str,
    classes: Sequence[str] | None = None,
    positive: Any = None,
    groups: Any = None,
    time_order: Any = None,
) -> Table:
    """Return features and targets as a classification task.

    Args:
        data: a pair (features, targets) of arrays, tensors or frames of n rows, or a map-style
            torch data set of such pairs. Features of numbers go to a network as they are; a frame,
            text and missing numbers are encoded as a file's columns are. Targets `(n,)`: class
            indices from 0, or any values, text too, of which the rarer of two is positive;
            `(n, K)` of 0 and 1: labels of their own. Rows without a target are left out.
        name: for the report.
        classes: names of the classes; of a binary task the positive one's.
        positive: the target that counts as positive, against all the others.
        groups: `(n,)`; rows with the same value stay on one side of a split.
        time_order: `(n,)` numbers or dates; no split trains on the future.

    Raises:
        CompareError: these are no features and targets of a classification task.
    """
    features, labels = _arrays(as_pair(data))
    if len(features) != len(labels):
        raise CompareError(f"features have {len(features)} rows and targets {len(labels)}.")
    if 0 in features.shape:
        raise CompareError(f"features are empty: {tuple(features.shape)}.")
    found = _targets(labels, positive, None if classes is None else len(classes))
    if classes is not None:
        found = _named(found, classes)
    kept, notes = _features(features, found.known)
    return Table(
        name=name,
        features=kept,
        targets=found.matrix,
        target="targets",
        classes=found.classes,
        kind=found.kind,
        groups=None
        if groups is None
        else as_groups(_beside(groups, labels, "groups"), found.known),
        group_name="row" if groups is None else "group",
        time=None
        if time_order is None
        else as_times(_beside(time_order, labels, "time_order"), found.known),
        rows_without_target=found.missing,
        findings=(*found.findings, *notes),
    )


def as_frame(data: Any) -> Any:
    """Return frames of other libraries (Polars, Arrow) as those of pandas, all else as it is."""
    convert = getattr(data, "to_pandas", None)
    return data if convert is None else convert()


def as_pair(data: Any) -> tuple[Any, Any]:
    """Return features and targets of a pair or a data set.

    Raises:
        CompareError: it is neither.
    """
    if isinstance(data, tuple | list) and len(data) == 2:
        return data[0], data[1]
    try:
        if isinstance(data, Tensor | np.ndarray | Mapping):
            raise TypeError  # their items are rows, or columns
        rows = [data[k] for k in range(len(data))]
        return [x for x, _ in rows], [y for _, y in rows]
    except (TypeError, ValueError, KeyError) as error:
        raise CompareError(
            "data must be a Table, a path, a data frame, a pair (features, targets) or a torch"
            f" dataset of such pairs, got {type(data).__name__}."
        ) from error


def _arrays(pair: tuple[Any, Any]) -> tuple[Any, npt.NDArray[Any]]:
    features, labels = pair
    features = as_frame(features)
    if isinstance(features, pd.Series):
        features = features.to_frame()
    if not isinstance(features, pd.DataFrame):
        features = _stacked(features)
    if isinstance(labels, Tensor) or (isinstance(labels, list | tuple) and _are_tensors(labels)):
        labels = _stacked(labels)
    labels = labels.numpy() if isinstance(labels, Tensor) else _unmasked(labels)
    return features, labels


def _are_tensors(values: Sequence[Any]) -> bool:
    return len(values) > 0 and isinstance(values[0], Tensor)


def _stacked(values: Any) -> Tensor | npt.NDArray[Any]:
    """Return a tensor of numbers; what is no numbers stays an array."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    if isinstance(values, list | tuple) and _are_tensors(values):
        return torch.stack([value.detach().cpu() for value in values])
    if hasattr(values, "toarray"):
        raise CompareError(
            f"features are sparse ({type(values).__name__}). Pass features.toarray(), or fewer of"
            " them."
        )
    array = _unmasked(values)
    return array if array.dtype.kind not in "fiub" else torch.from_numpy(array)


def _unmasked(values: Any) -> npt.NDArray[Any]:
    """Return an array, in which what is masked is missing."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    numbers = values.dtype.kind in "fiub"
    plain: npt.NDArray[Any] = np.ma.getdata(values).astype(np.float64 if numbers else object)
    plain[np.ma.getmaskarray(values)] = np.nan if numbers else None
    return plain


# --- features ------------------------------------------------------------------------------------


def _features(features: Any, known: Bools) -> tuple[pd.DataFrame | Tensor, tuple[Finding, ...]]:
    if isinstance(features, Tensor):
        features = features.float()[torch.from_numpy(np.flatnonzero(known))]
        if bool(features.isfinite().all()):
            return features, ()
        if features.ndim != 2:
            raise CompareError(
                "features of more than two axes must be finite: fill in what is missing."
            )
        frame = pd.DataFrame(features.double().numpy())
        told = Finding(
            "encoded",
            "note",
            "Some features are missing or not finite: all columns are imputed and standardised like"
            " those of a file.",
            "Fill them in to give the features to the models as they are.",
        )
        contents = Contents(frame.set_axis([f"feature {k}" for k in frame.columns], axis=1))
        return clean(contents.frame).features, (told,)
    if isinstance(features, pd.DataFrame):
        contents = as_contents(features)
    elif features.ndim == 2:
        frame = pd.DataFrame(features).infer_objects()
        contents = Contents(frame.set_axis([f"feature {k}" for k in frame.columns], axis=1))
    else:
        raise CompareError(
            f"features must be numbers, or columns of anything (n, D), got {features.dtype}"
            f" {features.shape}."
        )
    cleaned = clean(contents.frame[known].reset_index(drop=True))
    return cleaned.features, (*contents.findings, *cleaned.findings)


# --- targets -------------------------------------------------------------------------------------


def _targets(labels: npt.NDArray[Any], positive: Any, named: int | None) -> Targets:
    """Return class indices from 0, labels of their own, or values of any kind as classes.

    Args:
        labels: `(n,)` or `(n, K)`.
        positive: the value that counts as positive.
        named: so many classes have names; None where none was given.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2) or (labels.ndim == 2 and labels.dtype.kind not in "fiub"):
        raise _no_targets(labels)
    if labels.dtype.kind in "fiub" and positive is None:
        missing_cells = np.isnan(labels.astype(np.float64)).reshape(len(labels), -1)
        known = np.logical_not(missing_cells.any(axis=1))
        used = labels[known]
        if len(used) and (used != np.round(used)).any():
            raise _no_targets(labels)
        if labels.ndim == 2 or _is_index(used, named):
            kind, matrix = _indices(labels, used)
            names = ["1"] if kind == "binary" else list(map(str, range(matrix.shape[1])))
            missing = int((~known).sum())
            return Targets(kind, matrix, tuple(names), known, missing, ())
    return targets(pd.DataFrame({"targets": labels}), positive)


def _is_index(used: npt.NDArray[Any], named: int | None) -> bool:
    """Say whether numbers count classes from 0: no class is left out, or each has a name."""
    if len(used) == 0 or used.min() < 0:
        return False
    classes = int(used.max()) + 1
    return classes <= 2 or classes == named or classes == len(np.unique(used))


def _indices(labels: npt.NDArray[Any], used: npt.NDArray[Any]) -> tuple[Kind, Bools]:
    if labels.ndim == 2:
        if used.min() < 0 or used.max() > 1:
            raise CompareError("targets (n, K) must be 0 and 1.")
        return "multilabel", used.astype(bool)
    largest = int(used.max())
    if largest > 1:
        return "multiclass", one_hot(used.astype(np.int64), largest + 1)
    return "binary", used.astype(bool)[:, None]


def _no_targets(labels: npt.NDArray[Any]) -> CompareError:
    return CompareError(
        "targets must be (n,) of class indices from 0 or of text, or (n, K) of 0 and 1, got"
        f" {labels.dtype} {labels.shape}."
    )


def _named(found: Targets, classes: Sequence[str]) -> Targets:
    if len(classes) != len(found.classes):
        raise CompareError(
            f"{argument('classes')} must be {len(found.classes)} names, got {len(classes)}."
        )
    return replace(found, classes=tuple(classes))


def _beside(values: Any, labels: npt.NDArray[Any], option: str) -> pd.Series[Any]:
    """Return values that belong to the rows."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    if isinstance(array, str) or np.ndim(array) != 1 or len(array) != len(labels):
        got = repr(array) if isinstance(array, str) else str(np.shape(array))
        raise CompareError(f"{argument(option)} must be ({len(labels)},), got {got}.")
    return pd.Series(np.asarray(array))
