"""Makes tensors of rows: the encoding is learned from the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor

from refocal.comparison.data.splits import Split
from refocal.comparison.data.synthetic import Block, Kin, Weights, filled_counts, kin_of, synthetic
from refocal.comparison.data.table import Bools, Floats, Integers, Kind, Table, class_index, one_hot

# A category needs this many training rows, and this share of them, to get an input of its own; the
# rest share one.
_RARE, _RARE_SHARE = 20, 0.002
_CATEGORIES = 100
# Standardised numbers beyond this are outliers that would drown every other input.
_CLIP = 10.0
# what turns text into inputs, among the parts of the encoder
_TEXT = "text"


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

    @property
    def watched(self) -> tuple[Tensor, Bools]:
        """Features and labels of the validation rows that say when to stop."""
        return self.valid, self.labels("valid")

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The inputs of each category: the first, and the one behind the last."""
        if isinstance(self.table.features, Tensor):
            return ()
        at = self._encoder.output_indices_[_TEXT]
        if at.start == at.stop:
            return ()
        text = self._encoder.named_transformers_[_TEXT][-1]
        sizes = [
            # what is rare has one input together
            len(every) - (len(rare) - 1 if rare is not None and len(rare) else 0)
            for every, rare in zip(text.categories_, text.infrequent_categories_, strict=True)
        ]
        ends = at.start + np.cumsum([0, *sizes])
        return tuple((int(first), int(end)) for first, end in pairwise(ends))

    @cached_property
    def _kin(self) -> dict[int, Kin]:
        """The neighbours of each class that was asked for: they do not depend on what is drawn."""
        return {}

    def filled(self, alpha: Weights, seed: int) -> Prepared:
        """Return the same split with synthetic rows of the rarer classes beside the training rows.

        Args:
            alpha: how many; see `filled_counts`.
            seed: of what is drawn.
        """
        classes = max(2, len(self.table.classes))
        index = class_index(self.labels("train"))
        counts = np.bincount(index, minlength=classes)
        extra = filled_counts(counts, alpha) - counts
        random = np.random.default_rng(seed)
        features = self.train.reshape(len(self.train), -1).numpy()
        made = [features]
        for k in np.flatnonzero(extra).tolist():
            if k not in self._kin:
                self._kin[k] = kin_of(features, np.flatnonzero(index == k), self.blocks)
            made.append(synthetic(features, self._kin[k], extra[k], random))
        every = np.concatenate([index, np.repeat(np.arange(classes), extra)])
        labels = one_hot(every, classes) if classes > 2 else every[:, None] > 0
        rows = torch.from_numpy(np.concatenate(made)).reshape(-1, *self.train.shape[1:])
        return Filled(self, rows, labels, np.rint(1 + extra / counts).astype(np.int64))

    def forget(self) -> None:
        """Let the encoded features go; labels stay."""
        for name in ("train", "valid", "test", "blocks", "_encoder", "_kin"):
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


class Filled(Prepared):
    """A split whose training rows are more than the table's; see `Prepared.filled`."""

    def __init__(self, data: Prepared, train: Tensor, labels: Bools, times: Integers) -> None:
        super().__init__(data.table, data.split)
        self.__dict__.update(train=train, valid=data.valid, test=data.test)
        self.__dict__.update(_labels=labels, _times=times)

    def labels(self, part: str) -> Bools:
        """Return the targets `(n, K)` of "train", with those of the synthetic rows, or another."""
        labels: Bools = self.__dict__["_labels"] if part == "train" else super().labels(part)
        return labels

    @property
    def watched(self) -> tuple[Tensor, Bools]:
        """Validation rows, of the rarer classes so many times as there are in training now: what is
        trained among others than it is stopped by would stop too early.
        """
        labels = self.labels("valid")
        again = self.__dict__["_times"][class_index(labels)] - 1
        rows = np.concatenate([np.arange(len(labels)), np.repeat(np.arange(len(labels)), again)])
        return self.valid[torch.from_numpy(rows)], labels[rows]


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
    return ColumnTransformer(
        [("numbers", numeric, numbers), (_TEXT, make_pipeline(_Numbers(), categorical), text)]
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

    def get_feature_names_out(self, names: Any = None) -> Any:
        """Return the columns' names, which stay."""
        return names
