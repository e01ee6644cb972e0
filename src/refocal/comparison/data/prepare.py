"""Makes tensors of rows: the encoding is learned from the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor

from refocal.comparison.data.splits import Split
from refocal.comparison.data.table import Bools, Floats, Integers, Kind, Table

# A category needs this many training rows, and this share of them, to get an input of its own; the
# rest share one.
_RARE, _RARE_SHARE = 20, 0.002
_CATEGORIES = 100
# Standardised numbers beyond this are outliers that would drown every other input.
_CLIP = 10.0


@dataclass(frozen=True)
class Prepared:
    """One split of a table. Features are encoded when they are first asked for.

    Attributes:
        table: where the rows come from.
        split: the rows of each part.
    """

    table: Table
    split: Split

    @property
    def kind(self) -> Kind:
        """The kind of the task."""
        return self.table.kind

    def labels(self, part: str) -> Bools:
        """Return the targets `(n, K)` of "train", "valid" or "test"."""
        labels: Bools = self.table.targets[getattr(self.split, part)]
        return labels

    def weights(self, part: str) -> Floats | None:
        """Return for how many rows of the whole table each row of a part stands, or None."""
        return self.table.weights(getattr(self.split, part))

    def rates(self, part: str) -> Floats:
        """Return the share of each class in a part, `(K,)`, as it is in the whole table."""
        return self.table.rates(getattr(self.split, part))

    def groups(self, part: str) -> Integers | None:
        """Return the groups of a part, or None."""
        return None if self.table.groups is None else self.table.groups[getattr(self.split, part)]

    @cached_property
    def train(self) -> Tensor:
        """Features `(n, D)` in float32."""
        return self._encoded(self.split.train)

    @cached_property
    def valid(self) -> Tensor:
        """Features `(n, D)` in float32."""
        return self._encoded(self.split.valid)

    @cached_property
    def test(self) -> Tensor:
        """Features `(n, D)` in float32."""
        return self._encoded(self.split.test)

    @cached_property
    def base_rates(self) -> list[float]:
        """Share of positives of each class among the training rows that are there."""
        rates: list[float] = self.labels("train").mean(0).tolist()
        return rates

    @cached_property
    def inputs(self) -> int:
        """How many inputs a model has, after encoding."""
        if isinstance(self.table.features, Tensor):
            return int(np.prod(self.table.features.shape[1:]))
        head = self.table.features.iloc[self.split.train[:1]]
        return int(self._encoder.transform(head).shape[1])

    def forget(self) -> None:
        """Let the encoded features go; labels stay."""
        for name in ("train", "valid", "test", "_encoder"):
            self.__dict__.pop(name, None)

    def encode(self) -> Prepared:
        """Encode all parts now, before several threads ask for them."""
        _ = self.train, self.valid, self.test
        return self

    def _encoded(self, rows: Integers) -> Tensor:
        features = self.table.features
        if isinstance(features, Tensor):
            return features[torch.from_numpy(rows)].float()
        encoded = self._encoder.transform(features.iloc[rows]).astype(np.float32, copy=False)
        return torch.from_numpy(encoded).clamp_(-_CLIP, _CLIP)

    @cached_property
    def _encoder(self) -> Any:
        encoder = _encoder(len(self.split.train))
        encoder.fit(self.table.features.iloc[self.split.train])  # type: ignore[union-attr]
        return encoder


def _encoder(rows: int) -> Any:
    """Return what turns columns into inputs.

    A number gets the median where missing, a flag that it was, and unit variance; text becomes one
    input for each category.
    """
    numeric = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    categorical = OneHotEncoder(
        min_frequency=max(_RARE, round(_RARE_SHARE * rows)),
        max_categories=_CATEGORIES,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
        dtype=np.float32,
    )
    numbers = make_column_selector(dtype_include="number")
    text = make_column_selector(dtype_exclude="number")
    return make_column_transformer(
        (numeric, numbers), (make_pipeline(_Numbers(), categorical), text)
    )


class _Numbers(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Text as the number of each in order of the alphabet; a missing one comes last.

    The encoder counts text one by one in Python, and numbers in one go.
    """

    def fit(self, features: pd.DataFrame, _: Any = None) -> _Numbers:
        """Learn what is there."""
        self.known_ = [pd.Index(sorted(column.dropna().unique())) for _, column in features.items()]
        return self

    def transform(self, features: pd.DataFrame) -> Integers:
        """Return numbers `(n, D)`; -1 for what `fit` has not seen."""
        numbers = np.empty(features.shape, dtype=np.int64)
        for k, (known, (_, column)) in enumerate(zip(self.known_, features.items(), strict=True)):
            numbers[:, k] = np.where(column.isna(), len(known), known.get_indexer(column))
        return numbers
