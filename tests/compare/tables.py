"""Small tables for the tests of `refocal.compare`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from refocal.comparison import Table
from refocal.comparison.data.table import one_hot
from refocal.comparison.training.scores import sigmoid


def customers(rows: int = 1500, seed: int = 0) -> pd.DataFrame:
    """Every kind of column, missing values, and whether a customer left."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": generator.normal(40, 10, rows),
            "income": generator.lognormal(10, 1, rows),
            "plan": generator.choice(["basic", "plus", "<b>pro</b>"], rows),
            "active": generator.random(rows) < 0.5,
            "empty": np.nan,
        }
    )
    score = 0.15 * (frame["age"] - 40) + 1.5 * (frame["plan"] == "plus") - 3.5
    frame["churn"] = np.where(generator.random(rows) < sigmoid(score.to_numpy()), "yes", "no")
    frame.loc[generator.random(rows) < 0.1, "age"] = np.nan
    frame.loc[generator.random(rows) < 0.1, "plan"] = None
    return frame


def csv_file(folder: Path, frame: pd.DataFrame) -> Path:
    path = folder / "customers.csv"
    frame.to_csv(path, index=False)
    return path


def made_table(kind: str = "binary", rows: int = 600, seed: int = 0) -> Table:
    """A table without a file, of any kind of target."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 4))
    features = pd.DataFrame(x, columns=["a", "b", "c", "d"])
    rare = x[:, 0] + generator.normal(size=rows) > 1.5
    other = x[:, 1] + generator.normal(size=rows) > 1.0
    if kind == "binary":
        return Table("made", features, rare[:, None], "fault", ("yes",))
    if kind == "multiclass":
        index = np.where(rare, 2, other.astype(np.int64))
        return Table("made", features, one_hot(index, 3), "state", ("ok", "worn", "broken"), kind)
    targets = np.stack([rare, other], axis=1)
    return Table("made", features, targets, "fault, wear", ("fault", "wear"), "multilabel")
