"""What a comparison found, as plain data: `results.json` is this and the report is drawn from it.

Every number is a float, every curve a pair of lists, and nothing depends on the clock, so that the
same seed gives the same file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

SCHEMA = "refocal.compare/1"


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Points of a line."""

    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Probabilities:
    """The probabilities of one loss, read in one way, against the test labels.

    Attributes:
        log_loss: mean, in nats.
        mean: mean probability, to be held against the base rate.
        slope: calibration slope: 1 is right, below 1 is overconfident; None where undefined.
        reliability: mean prediction and observed rate in bins of equally many rows.
    """

    log_loss: float
    mean: float
    slope: float | None
    reliability: Curve


@dataclass(frozen=True)
class Share:
    """A kind of example, and the share of the total gradient that it gets.

    Attributes:
        examples: its share of the examples.
        start: of the gradient on one and the same set of logits: those of cross-entropy.
        fitted: of the gradient on the loss's own fitted logits.
    """

    kind: str
    examples: float
    start: float
    fitted: float


@dataclass(frozen=True)
class LossResult:
    """One loss, at its own best learning rate."""

    name: str
    alpha: float | None
    gamma: float
    learning_rate: float
    epochs: int
    valid_average_precision: float
    average_precision: Estimate
    roc_auc: Estimate
    average_precision_gain: Estimate
    roc_auc_gain: Estimate
    raw: Probabilities
    posterior: Probabilities
    platt: Probabilities
    precision_recall: Curve
    gradient: list[Share]


@dataclass(frozen=True)
class PartResult:
    """One side of the split."""

    name: str
    rows: int
    positives: int

    @property
    def base_rate(self) -> float:
        """Share of positives."""
        return self.positives / self.rows


@dataclass(frozen=True)
class Recommendation:
    """The answer: one sentence, why, and how to get probabilities."""

    loss: str
    headline: str
    reasons: list[str]
    call: str
    probabilities: str


@dataclass(frozen=True)
class Results:
    """Everything the report shows."""

    data: str
    about: list[str]
    target: str
    positive: str
    group_name: str
    features: int
    inputs: int
    rows_without_target: int
    parts: list[PartResult]
    seed: int
    quick: bool
    learning_rates: list[float]
    resamples: int
    base_rate_log_loss: float
    losses: list[LossResult]
    recommendation: Recommendation

    def to_dict(self) -> dict[str, Any]:
        """As `results.json` holds it."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}
