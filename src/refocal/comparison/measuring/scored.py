"""What one candidate's logits are worth on one split: figures under any row weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.measuring import calibrate
from refocal.comparison.plan import Costs
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Fit
from refocal.comparison.training.scores import log_odds, log_probabilities, of_table
from refocal.probabilities import FEWEST_EXAMPLES, fit_temperature

READINGS = ("raw", "posterior", "temperature", "platt")
ISOTONIC = "isotonic"
# Steps through fewer positives than these would follow chance.
ENOUGH_FOR_STEPS = 200


@dataclass(frozen=True)
class Scored:
    """A trained loss on a split. Everything fitted or chosen here comes from validation rows.

    Attributes:
        loss: what it was trained with.
        fit: its logits.
        data: the split.
        costs: the operating points.
    """

    loss: Loss
    fit: Fit
    data: Prepared
    costs: Costs

    # --- readings ----------------------------------------------------------------------------

    def _said(self, part: str, *, closed_form: bool = True) -> Tensor:
        logits = self.fit.valid_logits if part == "valid" else self.fit.test_logits
        return log_odds(self.loss, torch.from_numpy(logits), closed_form=closed_form)

    @cached_property
    def labels(self) -> Bools:
        """The labels of the test rows, `(n, K)`."""
        return self.data.labels("test")

    @cached_property
    def weights(self) -> Floats | None:
        """For how many rows of the whole table each test row stands, `(n,)`; None for itself."""
        return self.data.weights("test")

    @property
    def repeated_weights(self) -> Floats | None:
        """The weights of rows and classes one after the other, `(n K,)`, as labels are in a row."""
        return None if self.weights is None else np.repeat(self.weights, self.labels.shape[1])

    def _of_table(self, said: Tensor, *, softmax: bool) -> Tensor:
        """Everything is trained and fitted among the rows that were read, and moved afterwards."""
        return of_table(said, self.data.table.sampling, softmax=softmax)

    def _scores(self, part: str) -> Floats:
        said = self._of_table(self._said(part), softmax=self.loss.link == "softmax")
        found: Floats = said.numpy()
        return found

    @cached_property
    def scores(self) -> Floats:
        """What the test rows are ranked by, `(n, K)`: posterior log-odds or log-probabilities."""
        return self._scores("test")

    @cached_property
    def among_read(self) -> Floats:
        """The same among the rows that were read, where all that is trained is right."""
        found: Floats = self._said("test").numpy()
        return found

    @cached_property
    def temperature(self) -> float:
        """Fitted to the posterior on validation rows; 1 where these are too few for it."""
        softmax = self.loss.link == "softmax"
        labels = self.data.labels("valid")
        targets = labels.argmax(1) if softmax else labels.astype(np.float32)
        if targets.size < FEWEST_EXAMPLES:
            return 1.0
        logits = torch.from_numpy(self.fit.valid_logits)
        return fit_temperature(
            logits, torch.from_numpy(targets), link=self.loss.link, **self.loss.meaning.settings
        ).temperature

    def _reading(self, name: str) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of presence and absence, `(n, K)` each, of the test rows."""
        softmax = self.loss.link == "softmax"
        if name in ("platt", ISOTONIC):
            fitted = calibrate.platt if name == "platt" else calibrate.isotonic
            valid, test = (
                self._said(part, closed_form=False).numpy() for part in ("valid", "test")
            )
            known = self.data.labels("valid")
            columns = [fitted(known[:, k], valid[:, k])(test[:, k]) for k in range(test.shape[1])]
            said, softmax = torch.from_numpy(np.stack(columns, axis=1)), False
        else:
            said = self._said("test", closed_form=name != "raw")
            if name == "temperature":
                said = said / self.temperature
        said = self._of_table(said, softmax=softmax)
        return log_probabilities(self.data.kind, said, softmax=softmax)

    @cached_property
    def readings(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Log-probabilities by the name of the reading."""
        return {name: self._reading(name) for name in readings_of(self.data)}

    def probabilities(self, reading: str) -> Floats:
        """Return probabilities `(n, K)` of the test rows."""
        present: Floats = self.readings[reading][0].exp().numpy()
        return present

    def reading_log_odds(self, reading: str) -> Floats:
        """Return log-odds `(n, K)` of the test rows."""
        present, absent = self.readings[reading]
        odds: Floats = (present - absent).numpy()
        return odds

    # --- operating points ----------------------------------------------------------------------

    @cached_property
    def thresholds(self) -> dict[str, Floats]:
        """Scores `(K,)` above which a row is flagged, chosen on validation rows."""
        scores, labels = self._scores("valid"), self.data.labels("valid")
        weights = self.data.weights("valid")
        chosen = {
            name: np.array(
                [choose(s, y, point, weights) for s, y in zip(scores.T, labels.T, strict=True)]
            )
            for name, choose, point in (
                ("precision", recall_threshold, self.costs.precision),
                ("recall", precision_threshold, self.costs.recall),
                ("cost", least_cost_threshold, self.costs.miss),
                ("f1", best_f1_threshold, 1.0),
            )
        }
        # positive pays where P > 1 / (1 + cost of a miss)
        odds = -np.log(self.costs.miss)
        log_p = -np.log1p(self.costs.miss)
        at = log_p if self.loss.link == "softmax" else odds
        return chosen | {"posterior": np.full(scores.shape[1], at)}

    @cached_property
    def flagged(self) -> dict[str, Bools]:
        """Which test rows lie above the threshold of each purpose, `(n, K)`."""
        return {name: self.scores > at for name, at in self.thresholds.items()}


def readings_of(data: Prepared) -> tuple[str, ...]:
    """Say how the probabilities of a split are read: isotonic where validation rows are enough."""
    enough = data.labels("valid").sum(0).min() >= ENOUGH_FOR_STEPS
    return (*READINGS, ISOTONIC) if enough else READINGS


def recall_threshold(
    scores: Floats, labels: Bools, precision: float, weights: Floats | None = None
) -> float:
    """Return the lowest threshold at which the flagged rows have at least this precision; inf for
    none.
    """
    at, found, flagged, _ = _by_threshold(scores, labels, weights)
    enough = np.flatnonzero(found >= precision * flagged)
    return float(at[enough[-1]]) if len(enough) else float("inf")


def precision_threshold(
    scores: Floats, labels: Bools, recall: float, weights: Floats | None = None
) -> float:
    """Return the highest threshold at which at least this share of the positives is flagged."""
    at, found, _, positives = _by_threshold(scores, labels, weights)
    return float(at[np.flatnonzero(found >= recall * positives)[0]])


def least_cost_threshold(
    scores: Floats, labels: Bools, miss: float, weights: Floats | None = None
) -> float:
    """Return the threshold of least cost, a miss costing so many false alarms; inf for none."""
    at, found, flagged, positives = _by_threshold(scores, labels, weights)
    cost = (flagged - found) + miss * (positives - found)
    best = int(cost.argmin())
    return float(at[best]) if cost[best] < miss * positives else float("inf")


def best_f1_threshold(
    scores: Floats, labels: Bools, beta: float, weights: Floats | None = None
) -> float:
    """Return the threshold of the best F, the harmonic mean of precision and recall, at beta 1."""
    at, found, flagged, positives = _by_threshold(scores, labels, weights)
    return float(at[((1 + beta**2) * found / (flagged + beta**2 * positives)).argmax()])


def _by_threshold(
    scores: Floats, labels: Bools, weights: Floats | None
) -> tuple[Floats, Floats, Floats, float]:
    """Give, below each distinct score from the highest, threshold, positives found and rows
    flagged; and how many positives there are.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    weight = np.ones(len(scores)) if weights is None else weights[order]
    found = (weight * labels[order]).cumsum()
    flagged = weight.cumsum()
    # halfway to the next score: flagged are the rows above, and none lies near the threshold
    below = np.append(ranked[last][1:], ranked[-1] - 1.0)
    return (ranked[last] + below) / 2, found[last], flagged[last], float(found[-1])
