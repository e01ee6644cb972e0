"""From a table to tensors: split first, then learn the encoding from the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor

from refocal.compare.data import Bools, Integers, Table
from refocal.compare.errors import CompareError

_FOLDS = 5  # one for test, one for validation, three for training
_FEWEST = 10  # examples of each class: below, no split can measure anything
# A category needs this many training rows to get an input of its own; the rest share one.
_RARE = 20
_CATEGORIES = 100
# Standardised numbers beyond this are outliers that would drown every other input.
_CLIP = 10.0


@dataclass(frozen=True)
class Part:
    """One side of the split: features `(N, D)` float32, targets `(N,)` float32 of 0 and 1."""

    features: Tensor
    targets: Tensor
    groups: Integers | None

    @property
    def labels(self) -> Bools:
        """The targets as NumPy booleans, as scikit-learn wants them."""
        return self.targets.numpy().astype(bool)


@dataclass(frozen=True)
class Prepared:
    """The three parts of a table, encoded."""

    train: Part
    valid: Part
    test: Part

    def parts(self) -> dict[str, Part]:
        """The parts by the names the report uses."""
        return {"training": self.train, "validation": self.valid, "test": self.test}


def prepare(table: Table, *, seed: int) -> Prepared:
    """Split a table 60 : 20 : 20 and encode it.

    Classes are spread evenly over the parts; rows of one group stay together.

    Raises:
        CompareError: too few examples of a class to have some in every part.
    """
    train, valid, test = _split(table, seed)
    encoder = _encoder(table.features)
    encoder.fit(table.features.iloc[train])

    def part(rows: Integers) -> Part:
        encoded = encoder.transform(table.features.iloc[rows]).astype(np.float32)
        features = torch.from_numpy(encoded)
        targets = torch.from_numpy(table.targets[rows].astype(np.float32))
        groups = None if table.groups is None else table.groups[rows]
        return Part(features.clamp_(-_CLIP, _CLIP), targets, groups)

    return Prepared(part(train), part(valid), part(test))


def _split(table: Table, seed: int) -> tuple[Integers, Integers, Integers]:
    for value, mask in (("positive", table.targets), ("negative", ~table.targets)):
        if mask.sum() < _FEWEST:
            raise CompareError(
                f"{table.name} has {mask.sum()} {value} examples ({table.target} is"
                f" {'' if value == 'positive' else 'not '}{table.positive!r}); training, validation"
                f" and test together need at least {_FEWEST}."
            )
    folder: StratifiedKFold | StratifiedGroupKFold
    if table.groups is None:
        folder = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    else:
        folder = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    folds = [rows for _, rows in folder.split(table.targets, table.targets, table.groups)]
    parts = np.sort(np.concatenate(folds[2:])), folds[1], folds[0]
    for name, rows in zip(("training", "validation", "test"), parts, strict=True):
        positives = table.targets[rows].sum()
        if positives in (0, len(rows)):
            which = "positive" if positives == 0 else "negative"
            raise CompareError(
                f"the {name} part of {table.name} has no {which} example. Use more rows or another"
                " --seed."
            )
    return parts


def _encoder(features: pd.DataFrame) -> Any:
    """What turns columns into inputs.

    A number gets the median where missing, a flag that it was, and unit variance; text becomes one
    input for each category.
    """
    numeric = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    categorical = OneHotEncoder(
        min_frequency=_RARE,
        max_categories=_CATEGORIES,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
        dtype=np.float32,
    )
    numbers = make_column_selector(dtype_include="number")
    text = make_column_selector(dtype_exclude="number")
    return make_column_transformer((numeric, numbers), (categorical, text))
