"""What every `winner.py` does beside training: reads rows, checks, and writes probabilities."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from refocal.comparison.data.flights import flights_table
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.sources import read_table
from refocal.comparison.data.splits import Split, splits
from refocal.comparison.data.table import Floats, Table
from refocal.comparison.errors import CompareError
from refocal.comparison.training.scores import log_probabilities, of_table
from refocal.metrics import average_precision

Pick: TypeAlias = Mapping[str, Any]
# of features (n, D), targets (n, K) of 0 and 1, a pick, and validation rows or None; gives a
# function from features to logits
Train: TypeAlias = Callable[
    [Tensor, Tensor, Pick, tuple[Tensor, Tensor] | None], Callable[[Tensor], Tensor]
]
Probabilities: TypeAlias = Callable[[Tensor, Pick], Tensor]

_CLOSE = 0.001  # of the report's figure


def main(
    train: Train,
    probabilities: Probabilities,
    first: Pick,
    winner: Pick,
    *,
    table: str | None,
    read: Mapping[str, Any],
    rows: int,
    splits: int,
    seed: int,
    reported: float,
    platt: bool,
    about: str,
) -> None:
    """Do what the command line says: predict the rows of a file, or check the report's figure.

    Exits with 0; 1 where the figure is not reached or a file cannot be read; 2 where the command
    line says nothing that can be done.

    Args:
        train: trains a model; called with features `(n, D)` and targets `(n, K)` in float32, a
            pick, and validation rows where there are some. Returns what gives logits of features.
        probabilities: probabilities of logits.
        first: what the first split picked.
        winner: what new rows are predicted with.
        table: file to learn from; None for the flights that come with refocal.
        read: how it is read: keywords of `read_table`.
        rows: that it had.
        splits: how many there were.
        seed: of the splits.
        reported: average precision of the first pick on the test rows of the first split.
        platt: whether probabilities are a line through the logits, fitted to rows that a first
            training does not see, and not those of the closed form.
        about: the answer of the report.
    """
    parser = argparse.ArgumentParser(description=about.replace("%", "%%"))
    parser.add_argument("new", nargs="?", type=Path, help="file of rows to predict")
    parser.add_argument("--check", action="store_true", help="train the report's first split again")
    if table is not None:
        parser.add_argument("--table", type=Path, default=Path(table), help="what to learn from")
    options = parser.parse_args()
    if options.check == (options.new is not None):
        parser.error("name a file of new rows, or --check")
    torch.set_num_threads(1)  # the layers are too small to share
    run = _Run(train, probabilities, seed)

    def known(new: Path | None = None) -> Table:
        if table is None:
            return flights_table(new=new)
        return read_table(options.table, **read, new=new)

    try:
        if options.check:
            sys.exit(0 if run.check(known(), _tensors(first), rows, splits, reported) else 1)
        # new rows are read together with the known ones, as their last
        line = run.lines(known(), _tensors(winner)) if platt else None
        run.predict(known(options.new), _tensors(winner), line).to_csv(sys.stdout, index=False)
    except CompareError as error:
        sys.exit(str(error))


class _Run:
    def __init__(self, train: Train, probabilities: Probabilities, seed: int) -> None:
        self.train, self.probabilities, self.seed = train, probabilities, seed

    def check(self, table: Table, pick: Pick, rows: int, count: int, reported: float) -> bool:
        """Train the pick of the first split again, and say whether it reaches the report's."""
        if table.rows != rows:
            raise CompareError(
                f"The table has {table.rows:,} rows and had {rows:,} when it was compared."
            )
        data = Prepared(table, splits(table, repeats=count, seed=self.seed)[0])
        model = self._trained(data, pick, stops=True)
        p, labels = self.probabilities(model(data.test), pick), data.labels("test")
        weights = data.weights("test")
        each = [average_precision(p[:, k], labels[:, k], weights) for k in range(p.shape[1])]
        reached = float(np.mean(each))
        print(f"average precision on the first split: {reached:.4f} (the report: {reported:.4f})")  # noqa: T201
        return abs(reached - reported) < _CLOSE

    def _trained(
        self, data: Prepared, pick: Pick, *, stops: bool = False
    ) -> Callable[[Tensor], Tensor]:
        """Train, beside synthetic rows where the pick asks for them; `stops` on validation rows."""
        made = pick.get("synthetic")
        if made is not None:
            weights = made if isinstance(made, float) else tuple(made.tolist())
            data = data.filled(weights, pick["seed"])
        watched, labels = data.watched
        valid = (watched, torch.from_numpy(labels).float()) if stops else None
        return self.train(data.train, _targets(data, "train"), pick, valid)

    def lines(self, table: Table, pick: Pick) -> list[Callable[[Floats], Floats]]:
        """Return, for each class, what a line through the logits gives as log-odds (Platt)."""
        held = Prepared(table, splits(table, repeats=1, seed=self.seed)[0])
        logits = self._trained(held, pick)(held.valid)
        seen = held.labels("valid")

        def fitted(k: int) -> Callable[[Floats], Floats]:
            line = LogisticRegression(C=1e9).fit(logits[:, [k]].numpy(), seen[:, k])
            return lambda column: np.asarray(line.decision_function(column[:, None]))

        return [fitted(k) for k in range(seen.shape[1])]

    def predict(
        self, table: Table, pick: Pick, lines: list[Callable[[Floats], Floats]] | None
    ) -> pd.DataFrame:
        """Train on the known rows, and return probabilities of the new ones."""
        known, new = np.split(np.arange(table.rows), [table.rows - table.new_rows])
        data = Prepared(table, Split(train=known, valid=known[:1], test=new))
        logits = self._trained(data, pick)(data.test)
        if lines is None:
            p = self.probabilities(logits, pick).numpy()
            if table.kind == "multiclass":  # classes that exclude each other
                p = p / p.sum(axis=1, keepdims=True)
        else:
            columns = [line(logits[:, k].numpy()) for k, line in enumerate(lines)]
            said = torch.from_numpy(np.stack(columns, axis=1))
            said = of_table(said, table.sampling, softmax=False)
            p = log_probabilities(table.kind, said, softmax=False)[0].exp().numpy()
        return pd.DataFrame(p, columns=list(table.classes))


def _targets(data: Prepared, part: str) -> Tensor:
    return torch.from_numpy(data.labels(part)).float()


def _tensors(pick: Pick) -> Pick:
    """A weight for each class is a tensor to the losses."""
    return {
        name: torch.tensor(value)
        if name in ("alpha", "synthetic") and isinstance(value, list)
        else value
        for name, value in pick.items()
    }
