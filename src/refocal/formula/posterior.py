"""From a margin to the class probability that the minimiser of the expected loss stands for.

``g = -F'`` is the pull of a class on its own logit. Where the expected loss is least, the pulls of
a class and of its rivals are in balance, weighted by their probabilities; see `refocal.posterior`.
All of it in logarithms: nothing underflows for any finite margin.
"""

from __future__ import annotations

from refocal.formula.focal import cross_entropy, probability
from refocal.formula.margin import decay
from refocal.formula.plain import (
    FAR,
    LARGEST,
    NEAR,
    ONE,
    THREE,
    TWO,
    ZERO,
    Real,
    at_most,
    log1p,
    where,
)


def softplus(s: Real, log1p_x: Real) -> Real:
    """-log q = log(1 + exp(s))."""
    return where(s >= ZERO, s, ZERO) + log1p_x


def gain(s: Real, x: Real) -> Real:
    """The ratio p ce / q: gamma times it is what the modulator's own slope adds to 1.

    For s >= 0, p / q = 1 / x and p ce / q = log1p(x) / x, which tends to 1 where x underflows;
    for s < 0, p / q = x. Below NEAR it is (6 + x) / (6 + 4 x), within 3e-17: the quotient's
    derivatives divide by powers of x, which underflow.
    """
    log1p_x = log1p(x)
    near = x < NEAR
    ratio = where(near, (THREE + x / TWO) / (THREE + TWO * x), log1p_x / where(near, ONE, x))
    ce = cross_entropy(s, log1p_x)
    return where(s >= ZERO, ratio, x * at_most(ce, FAR))


def log_gain(s: Real, x: Real, gamma: Real) -> Real:
    """log(1 + gamma p ce / q), the logarithm of what the modulator's own slope adds."""
    return log1p(gamma * gain(s, x))


def detached_log_slope(s: Real, x: Real, gamma: Real) -> Real:
    """Log of q**(gamma + 1), the slope that a modulator held constant leaves."""
    return -(ONE + gamma) * softplus(s, log1p(x))


def log_slope(s: Real, x: Real, gamma: Real) -> Real:
    """log|F'(s)| = -(1 + gamma) (-log q) + log(1 + gamma p ce / q)."""
    return detached_log_slope(s, x, gamma) + log_gain(s, x, gamma)


def detached_log_slope_rise(s: Real, x: Real, gamma: Real) -> Real:
    """The derivative of `detached_log_slope`."""
    return -(ONE + gamma) * probability(s, x)


def log_slope_rise(s: Real, x: Real, gamma: Real) -> Real:
    """The derivative of log|F'|, F'' / F': -(1 + gamma) p + gamma (g - p) / (1 + gamma g)."""
    p = probability(s, x)
    g = gain(s, x)
    return (g - p) * (gamma / (ONE + gamma * g)) - (ONE + gamma) * p


def log_odds(z: Real, gamma_pos: Real, gamma_neg: Real) -> Real:
    """The posterior's log-odds of a logit, but for those of the weights: log g(-z) - log g(z).

    It rises with z, with a slope between 1 and 1 + gamma.
    """
    other = -z
    return log_slope(other, decay(other), gamma_neg) - log_slope(z, decay(z), gamma_pos)


def detached_log_odds(z: Real, gamma_pos: Real, gamma_neg: Real) -> Real:
    """The same where the modulator was held constant in training."""
    other = -z
    of_other = detached_log_slope(other, decay(other), gamma_neg)
    return of_other - detached_log_slope(z, decay(z), gamma_pos)


def log_odds_rise(z: Real, gamma_pos: Real, gamma_neg: Real) -> Real:
    """The derivative of `log_odds`."""
    other = -z
    of_other = log_slope_rise(other, decay(other), gamma_neg)
    return -of_other - log_slope_rise(z, decay(z), gamma_pos)


def detached_log_odds_rise(z: Real, gamma_pos: Real, gamma_neg: Real) -> Real:
    """The derivative of `detached_log_odds`."""
    other = -z
    of_other = detached_log_slope_rise(other, decay(other), gamma_neg)
    return -of_other - detached_log_slope_rise(z, decay(z), gamma_pos)


def detached_score(s: Real, x: Real, gamma: Real) -> Real:
    """Log of 1 / |l'(v)|, v = p, where the modulator was held constant: gamma softplus(s) - ce.

    softplus is held finite, so that gamma = 0 switches it off also where the margin is infinite.
    """
    log1p_x = log1p(x)
    held = at_most(softplus(s, log1p_x), LARGEST / (TWO * TWO))
    return gamma * held - cross_entropy(s, log1p_x)


def score(s: Real, x: Real, gamma: Real) -> Real:
    """Log of 1 / |l'(v)|: what a softmax' posterior is proportional to, times 1 / alpha."""
    return detached_score(s, x, gamma) - log_gain(s, x, gamma)
