"""The posterior and its inverse for single numbers: which logit means this probability.

On Python floats, without torch or NumPy, because a boosting library needs them for its start and
`refocal.parameters` for the bias of a last layer. The closed forms are those of
`refocal.posterior`; here they are inverted. Both are strictly increasing, so bisection to the last
bit is exact and cannot fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from refocal.formula import focal, margin, posterior


class BinaryLink(NamedTuple):
    """What the posterior of a sigmoid focal loss depends on.

    Attributes:
        log_weight: ``log(weight of positives / weight of negatives)``; ``log(alpha / (1 - alpha))``
            where alpha is all there is.
        gamma: exponents of the positive and the negative term.
        detach_modulator: whether the modulator was held constant in training.
    """

    log_weight: float
    gamma: tuple[float, float]
    detach_modulator: bool = False

    def log_odds(self, logit: float) -> float:
        """``log(P / (1 - P))`` of a logit: ``log g_neg(-z) - log g_pos(z) - log_weight``."""
        of = posterior.detached_log_odds if self.detach_modulator else posterior.log_odds
        return float(of(logit, *self.gamma)) - self.log_weight

    def logit(self, log_odds: float) -> float:
        """The logit of which `log_odds` is the posterior log-odds."""
        if math.isinf(log_odds) or math.isnan(log_odds):
            return log_odds
        return rising_root(lambda z: self.log_odds(z) - log_odds)


class SoftmaxLink(NamedTuple):
    """What the posterior of a softmax focal loss depends on.

    Attributes:
        weights: class weights alpha, > 0.
        gammas: exponents, one per class.
        detach_modulator: whether the modulator was held constant in training.
    """

    weights: tuple[float, ...]
    gammas: tuple[float, ...]
    detach_modulator: bool = False

    def logits(self, probabilities: Sequence[float]) -> list[float]:
        """Logits of mean 0 whose posterior is ``probabilities``, which are > 0 and sum to 1.

        ``P(j)`` is proportional to ``1 / (alpha_j |l'(v_j)|)``, which rises with ``v_j``: for one
        common constant every ``v_j`` follows, and the constant is where they sum to 1.
        """
        return self.logits_of_logs([math.log(p) for p in probabilities])

    def logits_of_logs(self, log_probabilities: Sequence[float]) -> list[float]:
        """The same from logarithms, for probabilities that have no float."""
        if len(log_probabilities) == 1:
            return [0.0]
        targets = [
            log_p + math.log(w) for log_p, w in zip(log_probabilities, self.weights, strict=True)
        ]

        def margins(constant: float) -> list[float]:
            return [
                rising_root(lambda s, t=target, g=gamma: self._score(s, g) - t - constant)  # type: ignore[misc]
                for target, gamma in zip(targets, self.gammas, strict=True)
            ]

        def excess(constant: float) -> float:
            # of the sum over 1, as the logarithm of the others' sum over 1 - v of the largest: a
            # largest one that rounds to 1 hides the others
            found = margins(constant)
            top = found.index(max(found))
            others = [-_softplus(-s) for j, s in enumerate(found) if j != top]
            most = max(others)
            total = math.fsum(math.exp(one - most) for one in others)
            return most + math.log(total) + _softplus(found[top])

        logs = [-_softplus(-s) for s in margins(rising_root(excess))]
        mean = math.fsum(logs) / len(logs)
        return [one - mean for one in logs]

    def _score(self, s: float, gamma: float) -> float:
        """``-log |l'(sigmoid(s))|``."""
        of = posterior.detached_score if self.detach_modulator else posterior.score
        return float(of(s, margin.decay(s), gamma))


def inflection(gamma: float) -> float:
    """The probability p_t at which F'' = 0; below it the focal loss is concave.

    0.0 for gamma = 0, where cross-entropy is convex everywhere.

    Args:
        gamma: focusing exponent, >= 0.

    Example:
        >>> round(inflection(2.0), 4)
        0.0578
    """
    if gamma < 1e-3:  # F'' changes sign at about s = -2 - 1 / gamma, where p underflows
        return 0.0

    def bracket(s: float) -> float:
        # F'' without its factor gamma p m > 0, which underflows before the bracket changes sign
        x = margin.decay(s)
        p, q = focal.probability(s, x), focal.complement(s, x)
        ce = focal.cross_entropy(s, math.log1p(x))
        return float((1 / gamma + 2) * q + (gamma * p - q) * ce)

    # negative where both gamma p < q / 2 and ce > 2 (2 + 1 / gamma)
    low = -max(2 * (2 + 1 / gamma), math.log(gamma) + math.log(2)) - 1
    s = bisect(bracket, low, 0.0)
    return float(focal.probability(s, margin.decay(s)))


def rising_root(function: Callable[[float], float]) -> float:
    """Finds where an increasing function crosses 0, to the last bit; infinity where it does not."""
    low, high = -1.0, 1.0
    while function(low) > 0 and math.isfinite(low):
        low, high = 2 * low, low
    while function(high) < 0 and math.isfinite(high):
        low, high = high, 2 * high
    for end in (low, high):
        if math.isinf(end):
            return end
    return bisect(function, low, high)


def bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """Finds where a function that is <= 0 at ``low`` and >= 0 at ``high`` crosses 0.

    To the last bit, as halving would, in a fifth of the calls: two steps of regula falsi, in the
    Illinois form, for every halving, which bounds the whole whatever the function does.
    """
    at_low, at_high = function(low), function(high)
    side, step = 0, 0
    while True:
        middle = low + (high - low) / 2
        if not low < middle < high:
            return middle
        step += 1
        rise = at_high - at_low
        if step % 3 and 0 < rise < math.inf:
            guess = low - at_low * ((high - low) / rise)
            middle = guess if low < guess < high else middle
        value = function(middle)
        if value > 0:
            high, at_high = middle, value
            at_low = at_low / 2 if side > 0 else at_low
            side = 1
        else:
            low, at_low = middle, value
            at_high = at_high / 2 if side < 0 else at_high
            side = -1


def _softplus(s: float) -> float:
    return float(posterior.softplus(s, math.log1p(margin.decay(s))))
