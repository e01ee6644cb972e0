"""A classification task: the rows, what to predict, and which rows depend on each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.comparison.results import Finding, Sampling, Source

if TYPE_CHECKING:
    from torch import Tensor  # a file is read, or refused, without it

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Bools: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]
Kind: TypeAlias = Literal["binary", "multiclass", "multilabel"]


@dataclass(frozen=True)
class Table:
    """Rows with a target.

    Attributes:
        name: what the report calls the data.
        features: one column per feature, numbers as float64 and the others as text; or a tensor of
            N rows that goes to the network as it is.
        targets: `(N, K)` booleans. Binary: K is 1, True for the positive class. Multi-class: one
            True in each row. Multi-label: any number of them.
        kind: which of the three.
        target: name of the target column, or of several, separated by commas.
        classes: K names; for a binary task that of the positive class.
        groups: rows of one group depend on each other and stay on one side of a split; or None.
        group_name: what a group is, in the singular.
        time: `(N,)` a number that rises with time, so that no split trains on the future; or None.
        rows_without_target: rows left out because their target is missing.
        about: sentences on the data for the report.
        findings: what was done to the data while it was read.
        source: how to read it again; None for data from Python.
        new_rows: so many of the last rows have no target yet; they are there to be predicted.
        sampling: which share of each class's rows these are; None for all, and of a multi-label
            task always.
    """

    name: str
    features: pd.DataFrame | Tensor
    targets: Bools
    target: str
    classes: tuple[str, ...]
    kind: Kind = "binary"
    groups: Integers | None = None
    group_name: str = "row"
    time: Floats | None = None
    rows_without_target: int = 0
    about: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    source: Source | None = None
    new_rows: int = 0
    sampling: Sampling | None = None
    _cache: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.targets)

    def weights(self, rows: Integers) -> Floats | None:
        """Say for how many rows of the whole table each of these stands; None for itself alone."""
        if self.sampling is None:
            return None
        each: Floats = 1 / np.array(self.sampling.read)
        return each[class_index(self.targets[rows])]

    def rates(self, rows: Integers) -> Floats:
        """Return the share of each class among these rows, `(K,)`, as it is in the whole table."""
        return np.asarray(np.average(self.targets[rows], axis=0, weights=self.weights(rows)))

    @property
    def columns(self) -> int:
        """Features before encoding."""
        return int(np.prod(self.features.shape[1:]))

    def strata(self) -> Integers:
        """Return one class index a row, to spread the classes evenly over the parts.

        A multi-label row counts for its rarest label, or for none.
        """
        if self.kind != "multilabel":
            return class_index(self.targets)
        by_rarity = np.argsort(self.targets.sum(0), kind="stable")
        ordered = self.targets[:, by_rarity]
        strata: Integers = np.where(ordered.any(1), ordered.argmax(1) + 1, 0)
        return strata

    def fingerprint(self) -> str:
        """Return a hash of everything that training depends on."""
        if "fingerprint" not in self._cache:
            digest = hashlib.sha256(f"{self.kind} {self.classes} {self.targets.shape}".encode())
            digest.update(np.packbits(self.targets).tobytes())
            if self.sampling is not None:
                digest.update(repr(self.sampling).encode())
            for extra in (self.groups, self.time):
                if extra is not None:
                    digest.update(np.ascontiguousarray(extra).tobytes())
            for part in _bytes(self.features):
                digest.update(part)
            self._cache["fingerprint"] = digest.hexdigest()
        return self._cache["fingerprint"]


def _bytes(features: pd.DataFrame | Tensor) -> Sequence[bytes]:
    if not isinstance(features, pd.DataFrame):
        return [np.ascontiguousarray(features.numpy()).tobytes()]
    hashed = pd.util.hash_pandas_object(features, index=False).to_numpy()
    return [repr(list(features.columns)).encode(), hashed.tobytes()]


def class_index(targets: Bools) -> Integers:
    """Return the class of each row: of one column `(N, 1)` 1 for the positives and 0 for the rest,
    of several `(N, K)` the number of the column.
    """
    index: Integers = targets.argmax(1) if targets.shape[1] > 1 else targets[:, 0].astype(np.int64)
    return index


def one_hot(index: Integers, classes: int) -> Bools:
    """Return class indices `(N,)` as `(N, classes)` booleans."""
    targets = np.zeros((len(index), classes), dtype=bool)
    targets[np.arange(len(index)), index] = True
    return targets
