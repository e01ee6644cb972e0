"""From figures to one plain sentence."""

from __future__ import annotations

from refocal.compare.results import Estimate, LossResult, Probabilities, Recommendation

# A reading of the logits is as good as another when it keeps this much of its gain in log loss.
_AS_GOOD = 0.98


def recommend(losses: list[LossResult], base_rate_log_loss: float) -> Recommendation:
    """Which loss to use.

    The challenger of cross-entropy, which comes first in `losses`, is picked on validation data;
    the test data then judge this one pair, so that no best of many is mistaken for a gain.
    """
    baseline, *others = losses
    challenger = max(others, key=lambda loss: loss.valid_average_precision)
    gain = challenger.average_precision_gain
    if gain.low > 0:
        best = challenger
        headline = (
            f"Use {challenger.name}: average precision"
            f" {challenger.average_precision.value:.3f} against"
            f" {baseline.average_precision.value:.3f} for cross-entropy."
        )
    elif gain.high < 0:
        best = baseline
        headline = (
            f"Use cross-entropy: average precision {baseline.average_precision.value:.3f} against"
            f" {challenger.average_precision.value:.3f} for {challenger.name}."
        )
    else:
        best = baseline
        headline = (
            "Cross-entropy is as good here: the best challenger changes average precision by"
            f" {_signed(gain.value)} and the interval includes 0."
        )
    reasons = [
        f"{_capital(challenger.name)} was the best challenger on validation data. On test data it"
        f" changes the average precision of cross-entropy by {_interval(gain)} and its ROC AUC by"
        f" {_interval(challenger.roc_auc_gain)}."
    ]
    return Recommendation(
        loss=best.name,
        headline=headline,
        reasons=reasons,
        call=(
            "refocal.sigmoid_focal_loss(logits, targets,"
            f" alpha={_argument(best.alpha)}, gamma={best.gamma:g})"
        ),
        probabilities=_probabilities(best, base_rate_log_loss),
    )


def is_overfit(loss: LossResult, base_rate_log_loss: float) -> bool:
    """Whether a line fitted on validation data repairs what the closed form cannot."""
    return base_rate_log_loss - loss.posterior.log_loss < _AS_GOOD * (
        base_rate_log_loss - loss.platt.log_loss
    )


def _probabilities(loss: LossResult, base_rate_log_loss: float) -> str:
    """Where the chosen loss's probabilities come from."""
    raw = "sigmoid(logits)"
    closed = (
        f"refocal.sigmoid_posterior(logits, alpha={_argument(loss.alpha)}, gamma={loss.gamma:g})"
    )
    plain = loss.alpha is None and loss.gamma == 0
    source = raw if plain else closed
    if min(loss.posterior.log_loss, loss.platt.log_loss) >= base_rate_log_loss:
        return (
            f"Do not use its probabilities: a log loss of {_figure(loss.posterior)} from {source}"
            f" is no better than that of the base rate, {base_rate_log_loss:.4f}."
        )
    if is_overfit(loss, base_rate_log_loss):
        return (
            f"Fit Platt scaling on held-out data: log loss {_figure(loss.platt)} against"
            f" {_figure(loss.posterior)} for {source}, which is the probability only near the"
            " optimum of the loss; this network is overfit or trained too little."
        )
    if plain:
        return f"{raw} is the probability: log loss {_figure(loss.posterior)}."
    return (
        f"{closed} is the probability: log loss {_figure(loss.posterior)}, against"
        f" {_figure(loss.raw)} for {raw}."
    )


def _interval(estimate: Estimate) -> str:
    low, high = _signed(estimate.low), _signed(estimate.high)
    return f"{_signed(estimate.value)} (95 % interval {low} to {high})"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _figure(reading: Probabilities) -> str:
    return f"{reading.log_loss:.4f}"


def _argument(alpha: float | None) -> str:
    return "None" if alpha is None else f"{alpha:.4g}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
