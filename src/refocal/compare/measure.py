"""What one candidate's logits are worth on one split: figures under any row weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from refocal.compare import calibrate
from refocal.compare.candidates import Candidate
from refocal.compare.data.prepare import Prepared
from refocal.compare.data.table import Bools, Floats
from refocal.compare.links import log_odds, log_probabilities
from refocal.compare.models import Fit
from refocal.compare.plan import Costs
from refocal.compare.ranking import Ranking
from refocal.probabilities import fit_temperature

READINGS = ("raw", "posterior", "temperature", "platt")
FIGURES = (
    "average_precision",
    "roc_auc",
    *(f"log_loss_{reading}" for reading in READINGS),
    "recall_at_precision",
    "precision_reached",
    "precision_at_recall",
    "recall_reached",
    "precision_at_top",
    "cost",
    "cost_by_posterior",
)
# of the probabilities, beside their log loss
MEANS = tuple(f"mean_{reading}" for reading in READINGS)
SLOPES = tuple(f"slope_{reading}" for reading in READINGS)
MEASURED = (*FIGURES, *MEANS, *SLOPES)


@dataclass(frozen=True)
class Scored:
    """A trained candidate on a split. Everything fitted or chosen here comes from validation rows.

    Attributes:
        candidate: the loss.
        fit: its logits.
        data: the split.
        costs: the operating points.
    """

    candidate: Candidate
    fit: Fit
    data: Prepared
    costs: Costs

    # --- readings ----------------------------------------------------------------------------

    def _said(self, part: str, *, closed_form: bool = True) -> Tensor:
        logits = self.fit.valid_logits if part == "valid" else self.fit.test_logits
        return log_odds(self.candidate, torch.from_numpy(logits), closed_form=closed_form)

    @cached_property
    def labels(self) -> Bools:
        """Of the test rows, `(n, K)`."""
        return self.data.labels("test")

    @cached_property
    def scores(self) -> Floats:
        """What the test rows are ranked by, `(n, K)`: posterior log-odds or log-probabilities."""
        return self._said("test").numpy()

    @cached_property
    def temperature(self) -> float:
        """Fitted to the posterior on validation rows."""
        softmax = self.candidate.link == "softmax"
        labels = self.data.labels("valid")
        targets = labels.argmax(1) if softmax else labels.astype(np.float32)
        logits = torch.from_numpy(self.fit.valid_logits)
        return fit_temperature(
            logits, torch.from_numpy(targets), link=self.candidate.link, **self.candidate.settings
        ).temperature

    def _reading(self, name: str) -> tuple[Tensor, Tensor]:
        """Log-probabilities of presence and absence, `(n, K)` each, of the test rows."""
        softmax = self.candidate.link == "softmax"
        if name == "platt":
            valid, test = (
                self._said(part, closed_form=False).numpy() for part in ("valid", "test")
            )
            known = self.data.labels("valid")
            columns = [
                calibrate.platt(known[:, k], valid[:, k])(test[:, k]) for k in range(test.shape[1])
            ]
            said, softmax = torch.from_numpy(np.stack(columns, axis=1)), False
        else:
            said = self._said("test", closed_form=name != "raw")
            if name == "temperature":
                said = said / self.temperature
        return log_probabilities(self.data.kind, said, softmax=softmax)

    @cached_property
    def readings(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Log-probabilities by the name of the reading."""
        return {name: self._reading(name) for name in READINGS}

    def probabilities(self, reading: str) -> Floats:
        """Probabilities `(n, K)` of the test rows."""
        present: Floats = self.readings[reading][0].exp().numpy()
        return present

    def reading_log_odds(self, reading: str) -> Floats:
        """Log-odds `(n, K)` of the test rows."""
        present, absent = self.readings[reading]
        odds: Floats = (present - absent).numpy()
        return odds

    # --- operating points ----------------------------------------------------------------------

    @cached_property
    def thresholds(self) -> dict[str, Floats]:
        """Scores `(K,)` above which a row is flagged, chosen on validation rows."""
        scores, labels = self._said("valid").numpy(), self.data.labels("valid")
        chosen = {
            name: np.array([choose(s, y, point) for s, y in zip(scores.T, labels.T, strict=True)])
            for name, choose, point in (
                ("precision", recall_threshold, self.costs.precision),
                ("recall", precision_threshold, self.costs.recall),
                ("cost", cost_threshold, self.costs.miss),
            )
        }
        # positive pays where P > 1 / (1 + cost of a miss)
        odds = -np.log(self.costs.miss)
        log_p = -np.log1p(self.costs.miss)
        at = log_p if self.candidate.link == "softmax" else odds
        return chosen | {"posterior": np.full(scores.shape[1], at)}

    # --- figures -------------------------------------------------------------------------------

    @cached_property
    def _lines(self) -> list[calibrate.Line | None]:
        """The calibration line of every reading on the test rows, classes taken together."""
        labels = self.labels.ravel()
        return [
            calibrate.fit_line(labels, self.reading_log_odds(name).ravel()) for name in READINGS
        ]

    @cached_property
    def _rankings(self) -> list[Ranking]:
        return [Ranking(self.scores[:, k], self.labels[:, k]) for k in range(self.labels.shape[1])]

    @cached_property
    def _row_sums(self) -> Floats:
        """Columns of which the figures are weighted sums: `(n, M)`."""
        labels = torch.from_numpy(self.labels)
        losses = []
        for present, absent in self.readings.values():
            if self.data.kind == "multiclass":
                losses.append(-torch.where(labels, present, torch.zeros_like(present)).sum(1))
            else:
                losses.append(-torch.where(labels, present, absent).mean(1))
        means = [self.probabilities(name).mean(1) for name in READINGS]
        pulls = [
            np.zeros(len(self.labels))
            if line is None
            else calibrate.slope_pulls(
                line, self.labels.ravel(), self.reading_log_odds(name).ravel()
            )
            .reshape(self.labels.shape)
            .sum(1)
            for name, line in zip(READINGS, self._lines, strict=True)
        ]
        flagged = {name: self.scores > at for name, at in self.thresholds.items()}
        costs = [
            np.where(self.labels, ~flagged[name] * self.costs.miss, 1.0 * flagged[name]).mean(1)
            for name in ("cost", "posterior")
        ]
        counts = [self.labels]
        for name in ("precision", "recall"):
            counts += [flagged[name], flagged[name] & self.labels]
        return np.column_stack(
            [*(loss.numpy() for loss in losses), *means, *pulls, *costs, *counts]
        )

    def figures(self, weights: Floats) -> Floats:
        """`MEASURED` with these row weights, then average precision by class if there are several.

        Figures of several classes are their means.
        """
        ranked = np.array([one.average_precision_and_auc(weights) for one in self._rankings])
        sums = weights @ self._row_sums
        readings, classes = len(READINGS), len(self._rankings)
        of_readings, costs, counts = np.split(sums, [3 * readings, 3 * readings + 2])
        log_losses, means, pulls = (of_readings / weights.sum()).reshape(3, readings)
        positives, *points = counts.reshape(-1, classes)
        flagged_p, found_p, flagged_r, found_r = points
        top = [self._precision_at_top(k, weights) for k in range(classes)]
        slopes = [float("nan") if line is None else line.slope for line in self._lines]
        found = [
            *_means(ranked),
            *log_losses,
            _mean(_share(found_p, positives)),
            _mean(_share(found_p, flagged_p)),
            _mean(_share(found_r, flagged_r)),
            _mean(_share(found_r, positives)),
            _mean(np.array(top)),
            *(costs / weights.sum()),
            *means,
            *(slopes + pulls),
        ]
        return np.array(found + (ranked[:, 0].tolist() if classes > 1 else []))

    def _precision_at_top(self, k: int, weights: Floats) -> float:
        top = self.costs.top or int(self.labels[:, k].sum())
        return self._rankings[k].precision_at(top, weights)


def recall_threshold(scores: Floats, labels: Bools, precision: float) -> float:
    """The lowest threshold at which the flagged rows have at least this precision; inf for none."""
    at, found, flagged = _by_threshold(scores, labels)
    enough = np.flatnonzero(found >= precision * flagged)
    return float(at[enough[-1]]) if len(enough) else float("inf")


def precision_threshold(scores: Floats, labels: Bools, recall: float) -> float:
    """The highest threshold at which at least this share of the positives is flagged."""
    at, found, _ = _by_threshold(scores, labels)
    return float(at[np.flatnonzero(found >= recall * labels.sum())[0]])


def cost_threshold(scores: Floats, labels: Bools, miss: float) -> float:
    """The threshold of least cost, a miss costing so many false alarms; inf to flag nothing."""
    at, found, flagged = _by_threshold(scores, labels)
    cost = (flagged - found) + miss * (labels.sum() - found)
    best = int(cost.argmin())
    return float(at[best]) if cost[best] < miss * labels.sum() else float("inf")


def _by_threshold(scores: Floats, labels: Bools) -> tuple[Floats, Floats, Floats]:
    """Just below every distinct score, from the highest: threshold, positives found, flagged."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    found = labels[order].cumsum()[last].astype(np.float64)
    # halfway to the next score: flagged are the rows above, and none lies near the threshold
    below = np.append(ranked[last][1:], ranked[-1] - 1.0)
    return (ranked[last] + below) / 2, found, last + 1.0


def _share(part: Floats, whole: Floats) -> Floats:
    shares: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _means(columns: Floats) -> list[float]:
    return [_mean(column) for column in columns.T]
