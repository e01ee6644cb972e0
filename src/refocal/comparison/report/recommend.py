"""From figures to one plain sentence, and what stands behind it."""

from __future__ import annotations

from dataclasses import dataclass

from refocal.comparison.measuring import calibrate
from refocal.comparison.report.wording import capital, fixed, interval, metric_name, percent
from refocal.comparison.results import (
    Data,
    LossResult,
    Probabilities,
    Protocol,
    Question,
    Recommendation,
)

_LIKELY = 0.32  # the p-value of one standard deviation


def decide(losses: list[LossResult], asked: list[Question]) -> LossResult:
    """The family to use for one model: what a firm verdict says, and cross-entropy without one.

    Args:
        losses: the model's, cross-entropy first.
        asked: the questions of this model.
    """
    baseline = losses[0]
    for one in losses[1:]:
        if one.role == "remedy":
            own = [question for question in asked if question.family == one.name]
            if len(own) == len(losses) - 1 and all(x.verdict == "better" for x in own):
                return one
    for one in losses[1:]:
        if one.role == "focal" and about_focal(asked).verdict == "better":
            return one
    return baseline


def about_focal(asked: list[Question]) -> Question:
    """The first question of a model."""
    return asked[0]


def recommend(
    losses: list[LossResult], asked: list[Question], data: Data, protocol: Protocol
) -> Recommendation:
    """Which model to use, and with which loss.

    Args:
        losses: of all models; cross-entropy is the first of each.
        asked: of all models, that on focal loss the first of each.
        data: the task.
        protocol: how it was done.
    """
    names = list(dict.fromkeys(loss.model for loss in losses))
    of_model = {name: [loss for loss in losses if loss.model == name] for name in names}
    of_asked = {name: [one for one in asked if one.model == name] for name in names}
    decided = {name: decide(of_model[name], of_asked[name]) for name in names}
    best = max(decided.values(), key=lambda loss: loss.valid_average_precision)
    case = _Case(best, of_model[best.model], of_asked[best.model], data, protocol)
    several = len(names) > 1
    headline = (f"With {best.model}: " if several else "") + case.headline()
    more = case.more()
    for name in names:
        if name != best.model:
            other = _Case(decided[name], of_model[name], of_asked[name], data, protocol)
            more.append(f"With {name}: {other.headline()}")
    if several:
        ranked = ", ".join(
            f"{name} {fixed(decided[name].figures['average_precision'].value)}" for name in names
        )
        more.append(
            f"Among the models, {best.model} was best on validation data. On test data: {ranked}."
        )
    return Recommendation(
        verdict=about_focal(case.asked).verdict,
        model=best.model,
        loss=best.name,
        headline=capital(headline),
        sure=case.sure(),
        reasons=case.reasons(),
        more=more,
        call=best.call + _bias(best, data) + _synthetic(best),
        probabilities=_probabilities(best, data),
    )


@dataclass(frozen=True)
class _Case:
    """One model, what is recommended for it, and the words for that.

    Attributes:
        best: what is recommended.
        losses: of the model, cross-entropy first.
        asked: of the model, the question on focal loss first.
        data: the task.
        protocol: how it was done.
    """

    best: LossResult
    losses: list[LossResult]
    asked: list[Question]
    data: Data
    protocol: Protocol

    def headline(self) -> str:
        """The answer in one sentence, in lower case."""
        if self.best.role == "remedy":
            rivals = [one.against for one in self.asked if one.family == self.best.name]
            figures = " and ".join(self._reached(name) for name in rivals)
            return (
                f"use {self.best.loss}: it {self._finds()} better than {' and than '.join(rivals)}"
                f" ({metric_name(self.data)} {self._reached(self.best.name)} against {figures})."
            )
        first = about_focal(self.asked)
        focal, plain = first.family, first.against
        if first.difference.value is None:
            return f"keep {plain}: nothing can be said of {focal}, {self._undefined()}."
        figures = (
            f"({metric_name(self.data)} {self._reached(focal)} against {self._reached(plain)})"
        )
        if first.verdict == "better":
            return f"use {focal}: it {self._finds()} better than {plain} {figures}."
        if first.verdict == "worse":
            return f"keep {plain}: {focal} {self._finds()} less well {figures}."
        if first.verdict == "equivalent":
            return f"keep {plain}: {focal} makes no difference worth having here {figures}."
        return f"undecided whether {focal} helps, so keep {plain}: {self._what_would(first)}."

    def sure(self) -> str:
        """How sure that is, in one sentence."""
        asked = [about_focal(self.asked)]
        if self.best.role == "remedy":
            asked = [one for one in self.asked if one.family == self.best.name]
        if any(one.difference.value is None for one in asked):
            return f"There is no figure to be sure of, {self._undefined()}."
        found = " and ".join(
            f"from {one.against} by {interval(one.difference, one.level)}" for one in asked
        )
        text = f"{capital(asked[0].family)} differs {found} in {metric_name(self.data)}"
        if self.protocol.repeats == 1:
            return f"{text}, on one split: another split or another seed may say otherwise."
        return f"{text}; other test rows, other splits and another seed are inside that interval."

    def reasons(self) -> list[str]:
        """Why, in three sentences."""
        first = about_focal(self.asked)
        splits = "one split" if self.protocol.repeats == 1 else f"{self.protocol.repeats} splits"
        done = (
            f"The same model ({self.best.model}) was trained with {first.against} and with"
            f" {first.family} on {splits} of {self.data.rows:,} rows; each split picked its"
            " settings on validation rows and was judged on test rows that played no part in it."
        )
        rates = self.data.parts[-1].rates
        guessing = sum(rates) / len(rates)
        found = (
            f"{capital(first.family)} reaches {self._reached(first.family)} in"
            f" {metric_name(self.data)} and {first.against} {self._reached(first.against)}, where"
            f" guessing gives {fixed(guessing)} and 1 is perfect."
        )
        return [done, found, self._why(first)]

    def _why(self, first: Question) -> str:
        """What the verdict follows from."""
        least = f"±{first.margin:.2g}, the smallest difference worth having"
        if first.limits:
            return f"No verdict is firm here, whatever the figures: {'; '.join(first.limits)}."
        if first.difference.value is None:
            return f"No verdict is possible, {self._undefined()}."
        if first.verdict == "equivalent":
            return (
                f"The whole interval of that difference lies within {least}: even if it is real, it"
                " is too small to matter."
            )
        if first.verdict == "undecided":
            return (
                f"The interval of that difference holds 0 and reaches beyond {least}, so either"
                " answer would be a guess."
            )
        side = "above" if first.verdict == "better" else "below"
        return (
            f"The whole interval of that difference lies {side} 0, so chance does not explain it,"
            f" and it reaches beyond {least}."
        )

    def more(self) -> list[str]:
        """What was picked, what else changes, and the second question."""
        first = about_focal(self.asked)
        focal = next(one for one in self.losses if one.name == first.family)
        found = []
        if self.best.role == "remedy":
            own = _Case(self.losses[0], self.losses, self.asked, self.data, self.protocol)
            found.append(f"Of {first.family} alone: {own.headline()}")
        found.append(
            f"The splits picked as {first.family}: {picks(focal)}. Against {first.against} it"
            f" changes the ROC AUC by {interval(focal.gains['roc_auc'])} and the cost per row at"
            f" a threshold tuned for both by {interval(focal.gains['cost'])}, less being better."
        )
        for one in self.losses:
            if one.role != "remedy" or one.name == self.best.name:
                continue
            texts = [
                f"{x.against} by {interval(x.difference, x.level)}: {x.verdict}"
                for x in self.asked
                if x.family == one.name
            ]
            found.append(
                f"{capital(one.name)} ({picks(one)}) differ from {', and from '.join(texts)}."
            )
        if self.data.sampling is not None:
            saved = 1 - 1 / first.widened
            narrower = f"about {percent(saved, 0)}" if saved >= 0.005 else "hardly"
            found.append(
                f"{self.data.rows:,} of {self.data.sampling.rows:,} rows were read. With all of"
                f" them the interval of the answer would be {narrower} narrower."
            )
        return found

    def _reached(self, family: str) -> str:
        found = next(x for x in self.losses if x.name == family).figures["average_precision"]
        return "an undefined figure" if found.value is None else fixed(found.value)

    def _finds(self) -> str:
        if self.data.kind == "binary":
            return "finds the rare cases"
        return "tells the classes apart" if self.data.kind == "multiclass" else "finds the labels"

    def _what_would(self, question: Question) -> str:
        """What would decide."""
        if question.limits:
            return "; ".join(question.limits)
        positives = "test positives"
        if len(self.data.classes) > 1:
            positives += " of the rarest class"
        if question.needed == 0:
            return (
                f"this table has {question.positives:,} {positives}, and a hundred times as many"
                " would not decide"
            )
        if question.needed is None:
            return "this table cannot tell"
        return (
            f"about {question.needed:,} {positives} would decide, and this table has"
            f" {question.positives:,}"
        )

    def _undefined(self) -> str:
        return f"as {metric_name(self.data)} is undefined on some of the splits"


def picks(loss: LossResult) -> str:
    """How often each loss of a family was picked."""
    return "; ".join(
        name if len(loss.picks) == 1 else f"{name} ({count}×)"
        for name, count in loss.picked.items()
    )


def _bias(loss: LossResult, data: Data) -> str:
    """How the last layer is made to start from the base rate, where the loss did so."""
    if not loss.prior_bias:
        return ""
    if data.kind != "binary" or isinstance(loss.alpha, list):
        return ", with the last layer's bias from refocal.parameters.prior_bias for each class"
    train = data.parts[0]
    alpha = "None" if loss.alpha is None else f"{loss.alpha:.4g}"
    return (
        ", after refocal.parameters.initialize_bias(last_layer,"
        f" {train.positives[0] / train.rows:.3g}, alpha={alpha}, gamma={loss.gamma:g})"
    )


def _synthetic(loss: LossResult) -> str:
    """What its training rows are filled up with."""
    if loss.synthetic is None:
        return ""
    return ", with synthetic rows of the rarer classes beside the training rows (SMOTE)"


def is_overfit(loss: LossResult, base_rate_log_loss: float) -> bool:
    """Whether a line fitted on validation data repairs what the closed form cannot.

    By more than chance explains, and by more than a fiftieth of what there is to gain.
    """
    gain = loss.figures["platt_gain"]
    return gain.low is not None and gain.low > 0 and _is_worth_a_line(loss, base_rate_log_loss)


def takes_line(loss: LossResult, base_rate_log_loss: float) -> bool:
    """Whether probabilities are to be read by a line fitted on rows held out.

    That is a choice and not a claim: the line's gain need not be sure, as where some splits picked
    a setting that ranks well and shrinks the logits, and others did not. Beyond one standard
    deviation it is expected to do better on new rows than none.
    """
    if is_no_gain(loss, base_rate_log_loss):
        return False
    gain = loss.figures["platt_gain"]
    likely = gain.value is not None and gain.value > 0 and gain.p is not None and gain.p < _LIKELY
    return is_overfit(loss, base_rate_log_loss) or (
        likely and _is_worth_a_line(loss, base_rate_log_loss)
    )


def _is_worth_a_line(loss: LossResult, base_rate_log_loss: float) -> bool:
    return not calibrate.is_as_good(
        _value(loss, "posterior"), _value(loss, "platt"), base_rate=base_rate_log_loss
    )


def is_no_gain(loss: LossResult, base_rate_log_loss: float) -> bool:
    """Whether the base rate alone is as good a probability."""
    return min(_value(loss, "posterior"), _value(loss, "platt")) >= base_rate_log_loss


def _probabilities(loss: LossResult, data: Data) -> str:
    """Where the chosen loss's probabilities come from."""
    base_rate_log_loss = data.base_rate_log_loss
    raw = f"{loss.link}(logits)"
    if data.sampling is not None and data.sampling.several:
        raw = data.sampling.rescaled(raw)
    elif data.sampling is not None:
        raw = f"{loss.link}({data.sampling.corrected('logits')})"
    source = raw if loss.plain else loss.posterior_call
    if is_no_gain(loss, base_rate_log_loss):
        return (
            f"Do not use its probabilities: a log loss of {_log_loss(loss, 'posterior')} from"
            f" {source} is no better than that of the base rate, {base_rate_log_loss:.4f}."
        )
    if is_overfit(loss, base_rate_log_loss):
        return (
            f"Fit Platt scaling on held-out data: log loss {_log_loss(loss, 'platt')} against"
            f" {_log_loss(loss, 'posterior')} for {source}, which is the probability only near the"
            " optimum of the loss; this model is overfit or trained too little."
        )
    if takes_line(loss, base_rate_log_loss):
        return (
            f"Fit Platt scaling on held-out data: log loss {_log_loss(loss, 'platt')} against"
            f" {_log_loss(loss, 'posterior')} for {source}. The splits differ too much to call that"
            " more than chance, but a line costs little."
        )
    if loss.plain:
        return f"{raw} is the probability: log loss {_log_loss(loss, 'raw')}."
    return (
        f"{source} is the probability: log loss {_log_loss(loss, 'posterior')}, against"
        f" {_log_loss(loss, 'raw')} for {raw}."
    )


def _value(loss: LossResult, reading: str) -> float:
    found: Probabilities = loss.readings[reading]
    return float("inf") if found.log_loss.value is None else found.log_loss.value


def _log_loss(loss: LossResult, reading: str) -> str:
    return f"{_value(loss, reading):.4f}"
