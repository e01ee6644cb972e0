"""From figures to one plain sentence."""

from __future__ import annotations

from refocal.compare import calibrate
from refocal.compare.results import (
    Data,
    Estimate,
    LossResult,
    Probabilities,
    Protocol,
    Recommendation,
)


def metric_name(data: Data) -> str:
    """What losses are compared by."""
    return "average precision" if data.kind == "binary" else "mean average precision"


def challenger(losses: list[LossResult]) -> LossResult:
    """The best of one model's losses on validation data, cross-entropy aside."""
    return max(losses[1:], key=lambda loss: loss.valid_average_precision)


def decide(losses: list[LossResult]) -> LossResult:
    """The loss to use for one model.

    The challenger of cross-entropy, which comes first in `losses`, is picked on validation data;
    the test data then judge this one pair, so that no best of many is mistaken for a gain.
    """
    gain = challenger(losses).gains["average_precision"]
    return challenger(losses) if gain.low is not None and gain.low > 0 else losses[0]


def recommend(losses: list[LossResult], data: Data, protocol: Protocol) -> Recommendation:
    """Which model to use, and with which loss.

    Args:
        losses: of all models; cross-entropy is the first of each.
        data: the task.
        protocol: how it was done.
    """
    names = list(dict.fromkeys(loss.model for loss in losses))
    by_model = {name: [loss for loss in losses if loss.model == name] for name in names}
    best = max(
        (decide(of_model) for of_model in by_model.values()),
        key=lambda loss: loss.valid_average_precision,
    )
    rival = challenger(by_model[best.model])
    several = len(names) > 1
    headline = _headline(by_model[best.model][0], rival, data, with_model=several)
    reasons = [
        _reason(by_model[name], data, protocol, with_model=several)
        for name in sorted(names, key=lambda name: name != best.model)
    ]
    if several:
        ranked = ", ".join(
            f"{name} {_figure(decide(by_model[name]).figures['average_precision'])}"
            for name in names
        )
        reasons.insert(
            1,
            f"Among the models, {best.model} was best on validation data. On test data: {ranked}.",
        )
    return Recommendation(
        model=best.model,
        loss=best.name,
        headline=headline,
        reasons=reasons,
        call=best.call + _bias(best, data),
        probabilities=_probabilities(best, data.base_rate_log_loss),
    )


def _headline(baseline: LossResult, rival: LossResult, data: Data, *, with_model: bool) -> str:
    """The answer with its uncertainty."""
    metric = metric_name(data)
    gain = rival.gains["average_precision"]
    before = f"With {baseline.model}, " if with_model else ""
    if gain.low is None or gain.high is None:
        return f"{before}nothing can be said: {metric} is undefined on some of the splits."
    figures = (
        f"{metric} {_figure(rival.figures['average_precision'])} against"
        f" {_figure(baseline.figures['average_precision'])}"
    )
    if gain.low > 0:
        answer = f"use {rival.name}: {figures} for cross-entropy, a difference of {_interval(gain)}"
    elif gain.high < 0:
        answer = f"use cross-entropy: the best challenger, {rival.name}, loses {_interval(gain)}"
    else:
        answer = (
            f"cross-entropy is as good here: the best challenger changes {metric} by"
            f" {_interval(gain)}"
        )
    sentence = f"{before}{answer}."
    return sentence[0].upper() + sentence[1:]


def _reason(losses: list[LossResult], data: Data, protocol: Protocol, *, with_model: bool) -> str:
    rival = challenger(losses)
    name = f"{rival.model} with {rival.name}" if with_model else rival.name
    where = "on test data" if protocol.repeats == 1 else f"over {protocol.repeats} test parts"
    return (
        f"{_capital(name)} was the best challenger on validation data. {_capital(where)} it changes"
        f" the {metric_name(data)} of cross-entropy by"
        f" {_interval(rival.gains['average_precision'])}, its ROC AUC by"
        f" {_interval(rival.gains['roc_auc'])} and its cost by {_interval(rival.gains['cost'])}"
        " per row (less is better)."
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


def _interval(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "an undefined amount"
    low, high = signed(estimate.low), signed(estimate.high)
    return f"{signed(estimate.value)} (95 % interval {low} to {high})"


def signed(value: float, digits: int = 3) -> str:
    """With its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
