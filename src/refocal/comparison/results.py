"""What a comparison found, as plain data: `results.json` is this and the report is drawn from it.

Every number is a float, every curve a pair of lists, and nothing depends on the clock, so that the
same seed gives the same file. The fields are explained in docs/compare.md.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from types import UnionType
from typing import Any

SCHEMA = "refocal.compare/8"


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval and, of a difference, its p-value; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    p: float | None = None


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
        slope: of the calibration: 1 is right, below 1 is overconfident.
        reliability: mean prediction and observed rate in bins of equally many rows, on the first
            split.
    """

    log_loss: Estimate
    mean: Estimate
    slope: Estimate
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
class Pick:
    """What a family was judged by on one split, picked on the validation rows of that split.

    Attributes:
        loss: its name.
        alpha: as the loss takes it.
        gamma: as the loss takes it.
        link: "sigmoid" or "softmax".
        prior_bias: whether the network's last layer started from the base rate.
        synthetic: class weights, as alpha, that synthetic training rows amounted to; None without.
        setting: what else was tuned, for people.
        values: the same by name.
        start: which of several starts.
        steps: epochs, rounds of the best step, or Newton steps.
        trained: how many trainings it was picked from.
        valid_average_precision: what it was picked by.
        average_precision: on the test rows of the split.
        findings: how its training ended, where that needs saying.
    """

    loss: str
    alpha: float | list[float] | None
    gamma: float
    link: str
    prior_bias: bool
    synthetic: float | list[float] | None
    setting: str
    values: dict[str, float]
    start: int
    steps: int
    trained: int
    valid_average_precision: float
    average_precision: float
    findings: list[str]


@dataclass(frozen=True)
class Decision:
    """What flagging above a threshold does to one class, on all test parts together.

    Attributes:
        name: of the class.
        probability: above which a row is flagged, by the closed form: the median of the splits,
            each of which chose its own on validation rows at least cost; None to flag nothing.
        by_line: the same threshold as a probability by Platt scaling; None to flag nothing, and
            where classes exclude each other, whose probabilities are scaled to 1 together.
        found: positives that were flagged.
        missed: positives that were not.
        false_alarms: negatives that were flagged.
        passed: negatives that were not.
        cost: per row, in false alarms.
        cost_of_none: of flagging nothing.
        cost_of_all: of flagging everything.
    """

    name: str
    probability: float | None
    by_line: float | None
    found: int
    missed: int
    false_alarms: int
    passed: int
    cost: float
    cost_of_none: float
    cost_of_all: float


@dataclass(frozen=True)
class LossResult:
    """One model trained with one family of losses; each split is judged by its own pick.

    Attributes:
        model: what was trained.
        name: of the family.
        role: "baseline", "focal" or "remedy".
        loss: the one that was picked most often; what follows is of it.
        alpha: as the loss takes it; a list with one number for each class.
        gamma: as the loss takes it.
        link: "sigmoid" or "softmax".
        prior_bias: whether the network's last layer started from the base rate.
        synthetic: class weights, as alpha, that synthetic training rows amounted to; None without.
        call: the loss as source text.
        posterior_call: its probabilities as source text.
        picks: of each split.
        valid_average_precision: mean over the splits.
        figures: test figures by name.
        gains: differences of the figures from cross-entropy of the same model, paired.
        readings: probabilities by the way they are read: raw, posterior, temperature, platt, and
            isotonic where every split has enough validation positives.
        precision_recall: on the first split that picked this loss; of the classes together where
            there are several.
        gradient: who gets the gradient, on that split.
        thresholds: log-odds or log-probabilities chosen on validation rows of that split, for each
            class.
        decisions: for each class, the threshold as a probability and what it does.
        confusion: of classes that exclude each other, rows of the true class by the class that
            was most probable, on all test parts together; None otherwise.
    """

    model: str
    name: str
    role: str
    loss: str
    alpha: float | list[float] | None
    gamma: float
    link: str
    prior_bias: bool
    synthetic: float | list[float] | None
    call: str
    posterior_call: str
    picks: list[Pick]
    valid_average_precision: float
    figures: dict[str, Estimate]
    gains: dict[str, Estimate]
    readings: dict[str, Probabilities]
    precision_recall: Curve
    gradient: list[Share]
    thresholds: dict[str, list[float | None]]
    decisions: list[Decision]
    confusion: list[list[int]] | None

    @property
    def title(self) -> str:
        """Model and loss."""
        return f"{self.model}, {self.name}"

    @property
    def plain(self) -> bool:
        """Whether its sigmoid or softmax is the probability."""
        return self.alpha is None and self.gamma == 0 and self.synthetic is None

    @property
    def picked(self) -> dict[str, int]:
        """How often each loss was picked, the usual one first."""
        counts: dict[str, int] = {}
        for pick in self.picks:
            counts[pick.loss] = counts.get(pick.loss, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class PartResult:
    """One side of the first split.

    Attributes:
        name: "training", "validation" or "test".
        rows: how many.
        positives: of each class.
        rates: share of each class; where a share of the rows was read, in the whole table.
    """

    name: str
    rows: int
    positives: list[int]
    rates: list[float]


@dataclass(frozen=True)
class Sampling:
    """Which of a table's rows were read: a share of each class, at random.

    Attributes:
        counts: rows of each class in the table, with a target; of a binary task those of the
            negatives, then those of the positives.
        read: share of each that was read, in (0, 1].
    """

    counts: list[int]
    read: list[float]

    @property
    def rows(self) -> int:
        """How many rows of the table have a target."""
        return sum(self.counts)

    @property
    def several(self) -> bool:
        """Whether there are more classes than two, which exclude each other."""
        return len(self.counts) > 2

    @property
    def shift(self) -> float:
        """What log-odds of a binary task's rows that were read must be moved by to be those of the
        table.
        """
        negatives, positives = self.read
        return math.log(negatives / positives)

    def corrected(self, log_odds: str) -> str:
        """Write the correction of a binary task's log-odds, as source text."""
        negatives, positives = self.read
        rate = negatives / positives
        if rate <= 1:
            return f"refocal.correct_sampling({log_odds}, {rate:.6g})"
        return f"-refocal.correct_sampling(-{log_odds}, {1 / rate:.6g})"

    def rescaled(self, probabilities: str) -> str:
        """Write the correction of several classes' probabilities, as source text."""
        shares = ", ".join(f"{share:.6g}" for share in self.read)
        return f"torch.nn.functional.normalize({probabilities} / torch.tensor([{shares}]), p=1)"


@dataclass(frozen=True)
class Finding:
    """Something about the data that a reader must know.

    Attributes:
        code: stable, for programs.
        severity: "note", "warning" or "problem".
        message: what it is.
        advice: what to do.
        leak: a column gives the target away, so that no verdict stands until it is dropped.
    """

    code: str
    severity: str
    message: str
    advice: str
    leak: bool = False


@dataclass(frozen=True)
class Source:
    """How the rows were read, so that a script can read them again.

    Attributes:
        path: of the file, as it was given; None for the flights that come with refocal.
        target: columns.
        positive: value of the one target.
        groups: column.
        time_order: column.
        drop: columns.
        rows: the most that were read; None for all.
    """

    path: str | None
    target: list[str] = field(default_factory=list)
    positive: str | None = None
    groups: str | None = None
    time_order: str | None = None
    drop: list[str] = field(default_factory=list)
    rows: int | None = None


@dataclass(frozen=True)
class Question:
    """One comparison of two families in average precision, and its verdict.

    Attributes:
        model: of both.
        family: what is asked about.
        against: what it is held against.
        verdict: "equivalent", "better", "worse" or "undecided".
        difference: with its interval at `level`.
        level: .95 for focal loss, .975 for what is asked second.
        margin: the smallest difference worth having.
        positives: test rows of the rarest class, in all.
        needed: about how many of these would decide; 0 where a hundred times as many would not;
            None where the figures decide, or nothing is known. Always more than `positives`.
        limits: why no verdict may be firm here.
        by_split: the difference on each split.
        widened: by what factor the interval is wider than with every row read; 1 where they were.
    """

    model: str
    family: str
    against: str
    verdict: str
    difference: Estimate
    level: float
    margin: float
    positives: int
    needed: int | None
    limits: list[str]
    by_split: list[float | None]
    widened: float = 1.0


@dataclass(frozen=True)
class Recommendation:
    """The answer: one sentence, why, and how to get probabilities.

    Attributes:
        verdict: on focal loss against cross-entropy, with this model: "better", "worse",
            "equivalent" or "undecided".
        model: recommended.
        loss: the family recommended.
        headline: the answer, in one sentence.
        sure: how sure it is, in one sentence.
        reasons: why, in three sentences.
        more: what else was found.
        call: the loss as source text.
        probabilities: where they come from.
    """

    verdict: str
    model: str
    loss: str
    headline: str
    sure: str
    reasons: list[str]
    more: list[str]
    call: str
    probabilities: str


@dataclass(frozen=True)
class Data:
    """The table.

    Attributes:
        name: of the file or the data set.
        about: sentences on it.
        kind: "binary", "multiclass" or "multilabel".
        target: column or columns.
        classes: names; of a binary task that of the positive class.
        group_name: what is resampled and kept together.
        rows: with a target, of those that were read.
        rows_without_target: left out.
        features: columns.
        inputs: of the models, after encoding, on the first split.
        parts: of the first split.
        base_rate_log_loss: of giving every test row the training base rates.
        findings: of the data check.
        source: how they were read; None for data from Python.
        sampling: which share of the rows was read; None for all.
    """

    name: str
    about: list[str]
    kind: str
    target: str
    classes: list[str]
    group_name: str
    rows: int
    rows_without_target: int
    features: int
    inputs: int
    parts: list[PartResult]
    base_rate_log_loss: float
    findings: list[Finding] = field(default_factory=list)
    source: Source | None = None
    sampling: Sampling | None = None


@dataclass(frozen=True)
class Protocol:
    """How the comparison was done.

    Attributes:
        split: "stratified", "grouped", "time" or "grouped by time".
        repeats: splits.
        seed: of everything.
        quick: a first look.
        epochs: of the schedules of a network.
        grids: what was tuned, by model and name: the values that every comparison tries.
        test_to_train: rows of a test part over rows of its training part, in the mean.
        miss: cost of a missed positive in false alarms.
        precision: at which recall is measured.
        recall: at which precision is measured.
        top: rows looked at; None for as many as there are positives.
        trials: of the search, for each loss family of each model on each split; 0 without one.
        smote: whether synthetic rows competed among the other remedies.
    """

    split: str
    repeats: int
    seed: int
    quick: bool
    epochs: list[int]
    grids: dict[str, dict[str, list[float]]]
    test_to_train: float
    miss: float
    precision: float
    recall: float
    top: int | None
    trials: int = 0
    smote: bool = False


@dataclass(frozen=True)
class Results:
    """Everything the report shows."""

    data: Data
    protocol: Protocol
    losses: list[LossResult]
    questions: list[Question]
    recommendation: Recommendation
    explore: dict[str, Any] | None = None

    @property
    def models(self) -> list[str]:
        """The models, in the order of the table."""
        return list(dict.fromkeys(loss.model for loss in self.losses))

    def of_model(self, model: str) -> list[LossResult]:
        """Return the families of one model, cross-entropy first."""
        return [loss for loss in self.losses if loss.model == model]

    def chosen(self) -> LossResult:
        """Return the recommended family."""
        answer = self.recommendation
        return next(x for x in self.of_model(answer.model) if x.name == answer.loss)

    def to_dict(self) -> dict[str, Any]:
        """Make plain data of it, as `results.json` holds it."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Results:
        """Build the results from what `to_dict` made.

        Raises:
            ValueError: another schema, or a field is missing or of another kind.
        """
        if plain.get("schema") != SCHEMA:
            raise ValueError(f"schema {plain.get('schema')!r} is not {SCHEMA!r}")
        results: Results = _built(cls, {k: v for k, v in plain.items() if k != "schema"}, "results")
        return results


def _built(kind: Any, value: Any, where: str) -> Any:
    """Return a value of a dataclass's field, from its plain form."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict) or set(value) != set(hints):
            raise ValueError(f"{where} must have the fields {', '.join(hints)}")
        return kind(**{key: _built(hints[key], value[key], f"{where}.{key}") for key in hints})
    if origin is UnionType:
        for one in inner:
            try:
                return _built(one, value, where)
            except ValueError:
                continue
    elif origin is list and isinstance(value, list):
        return [_built(inner[0], one, f"{where}[{k}]") for k, one in enumerate(value)]
    elif origin is dict and isinstance(value, dict):
        return {key: _built(inner[1], one, f"{where}.{key}") for key, one in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind is type(None) and value is None:
        return None
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{where} must be {getattr(kind, '__name__', kind)}, got {value!r:.60}")
