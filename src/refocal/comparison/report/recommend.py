"""From figures to one plain sentence."""

from __future__ import annotations

from refocal.comparison.measuring import calibrate
from refocal.comparison.results import (
    Data,
    Estimate,
    LossResult,
    Probabilities,
    Protocol,
    Question,
    Recommendation,
)


def metric_name(data: Data) -> str:
    """What losses are compared by."""
    return "average precision" if data.kind == "binary" else "mean average precision"


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
    own = of_asked[best.model]
    several = len(names) > 1
    with_model = f"With {best.model}: " if several else ""
    headline = with_model + _headline(best, of_model[best.model], own, data)
    reasons = [*_reasons(best, of_model[best.model], own, data, protocol)]
    for name in names:
        if name != best.model:
            reasons.append(f"With {name}: " + _answer(about_focal(of_asked[name]), data))
    if several:
        ranked = ", ".join(
            f"{name} {_figure(decided[name].figures['average_precision'])}" for name in names
        )
        reasons.append(
            f"Among the models, {best.model} was best on validation data. On test data: {ranked}."
        )
    return Recommendation(
        verdict=about_focal(own).verdict,
        model=best.model,
        loss=best.name,
        headline=headline[0].upper() + headline[1:],
        reasons=reasons,
        call=best.call + _bias(best, data),
        probabilities=_probabilities(best, data.base_rate_log_loss),
    )


def _headline(best: LossResult, losses: list[LossResult], asked: list[Question], data: Data) -> str:
    """The answer with its uncertainty."""
    if best.role != "remedy":
        return _answer(about_focal(asked), data, losses)
    gains = " and ".join(
        f"{one.against} by {_interval(one.difference, one.level)}"
        for one in asked
        if one.family == best.name
    )
    return f"use {best.loss}: in {metric_name(data)} it beats {gains}."


def _answer(question: Question, data: Data, losses: list[LossResult] | None = None) -> str:
    """One verdict in one sentence, or two where it is undecided."""
    metric = metric_name(data)
    found = question.difference
    if found.value is None:
        return f"nothing can be said: {metric} is undefined on some of the splits."
    change = f"it changes {metric} by {_interval(found, question.level)}"
    figures = ""
    if losses is not None:
        before, after = (
            _figure(next(x for x in losses if x.name == name).figures["average_precision"])
            for name in (question.against, question.family)
        )
        figures = f" ({after} against {before})"
    if question.verdict == "better":
        return f"use {question.family} rather than {question.against}: {change}{figures}."
    if question.verdict == "worse":
        return f"use {question.against}: {question.family}{change[2:]}{figures}."
    if question.verdict == "equivalent":
        return (
            f"{question.family} is not worth having here: {change}{figures}, and less than"
            f" {question.margin:.3g} either way is no difference."
        )
    return f"undecided whether {question.family} helps: {change}{figures}. {_what_would(question)}"


def _what_would(question: Question) -> str:
    """What would decide."""
    if question.limits:
        return f"No verdict here: {'; '.join(question.limits)}."
    if question.needed == 0:
        return (
            f"This table has {question.positives:,} test positives; a hundred times as many would"
            " not decide, so not with this kind of table."
        )
    if question.needed is None:
        return ""
    return (
        f"About {question.needed:,} test positives would decide; this table has"
        f" {question.positives:,}."
    )


def _reasons(
    best: LossResult,
    losses: list[LossResult],
    asked: list[Question],
    data: Data,
    protocol: Protocol,
) -> list[str]:
    """What was judged, what else changes, and the second question."""
    first = about_focal(asked)
    focal = next(one for one in losses if one.name == first.family)
    found = []
    if best.role == "remedy":
        found.append(_capital(_answer(first, data)))
    parts = "the test part" if protocol.repeats == 1 else f"{protocol.repeats} test parts"
    found.append(
        f"Each split picked its {first.family} on its own validation rows: {picks(focal)}. Over"
        f" {parts} that changes the ROC AUC of cross-entropy by"
        f" {_interval(focal.gains['roc_auc'])} and its cost by {_interval(focal.gains['cost'])}"
        " per row at a threshold that was tuned for both (less is better)."
    )
    found.append(
        f"A difference of less than {first.margin:.3g} in {metric_name(data)} counts as none."
    )
    for one in losses:
        if one.role != "remedy" or one.name == best.name:
            continue
        against = [x for x in asked if x.family == one.name]
        texts = [
            f"{x.against} by {_interval(x.difference, x.level)} ({x.verdict})" for x in against
        ]
        found.append(f"{_capital(one.name)} ({picks(one)}) differ from {' and from '.join(texts)}.")
    return found


def picks(loss: LossResult) -> str:
    """How often each loss of a family was picked."""
    return ", ".join(
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


def is_overfit(loss: LossResult, base_rate_log_loss: float) -> bool:
    """Whether a line fitted on validation data repairs what the closed form cannot."""
    return not calibrate.is_as_good(
        _value(loss, "posterior"), _value(loss, "platt"), base_rate=base_rate_log_loss
    )


def is_no_gain(loss: LossResult, base_rate_log_loss: float) -> bool:
    """Whether the base rate alone is as good a probability."""
    return min(_value(loss, "posterior"), _value(loss, "platt")) >= base_rate_log_loss


def _probabilities(loss: LossResult, base_rate_log_loss: float) -> str:
    """Where the chosen loss's probabilities come from."""
    raw = f"{loss.link}(logits)"
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


def _figure(estimate: Estimate) -> str:
    return "undefined" if estimate.value is None else f"{estimate.value:.3f}"


def _interval(estimate: Estimate, level: float = 0.95) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "an undefined amount"
    low, high = signed(estimate.low), signed(estimate.high)
    return f"{signed(estimate.value)} ({100 * level:g} % interval {low} to {high})"


def signed(value: float, digits: int = 3) -> str:
    """With its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
