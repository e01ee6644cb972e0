"""The focal loss, written once: value, slope and curvature of one number.

Every focal loss is a scalar function of the margin ``s``, the signed logit of the true class
(sigmoid: ``s = (2y - 1) z``; softmax: ``s = z_y - logsumexp of the other logits``). With
``p = sigmoid(s)`` and ``q = 1 - p``:

    F   = q**gamma * ce                                   ce = -log p
    F'  = -q**gamma * (q + gamma p ce)
    F'' = p q**gamma * ((1 + 2 gamma) q + gamma (gamma p - q) ce)

(Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 4; the
derivatives follow by dp/ds = p q.)

Notes on the expressions, because every line below looks the way it does for a reason:

(a) The functions take ``(s, x)`` with ``x = exp(-|s|)`` handed over by the link. The softmax link
    knows ``x`` more exactly than ``s``: forming it from a rounded ``s`` costs ``(1 + gamma)|s|/2``
    ulp. All four of p, q, ce and -log q come from ``x`` and ``log1p(x)`` without a subtraction, so
    nothing cancels: ``1 - p`` formed from a rounded ``p`` is 100 % wrong in float32 from s = 17.6.
(b) They are safe under automatic differentiation of any order. ``abs``, ``maximum`` and
    ``clamp`` have kinks at s = 0, where a zero-initialised head starts, and ``pow`` has an infinite
    derivative at q = 0, so none of them is differentiated: ``where`` picks between two expressions
    that are finite on both sides, and the differentiable modulator is an exponential.
(c) ``p * ce`` is ``0 * inf`` at s = -inf. ``ce`` is held at FAR = 1000 inside products with ``p``:
    p underflows long before that, so holding it changes no result. The modulators hold s there,
    too: where that changes q**gamma, at a gamma near 0, what it multiplies is 0.
(d) The expressions are plain scalar code over a few named operations and constants, all of them
    globals, which :func:`refocal.formula.binding.bind` exchanges.
"""

from __future__ import annotations

from collections.abc import Callable

from refocal.formula.plain import (
    FAR,
    ONE,
    TWO,
    ZERO,
    Real,
    at_most,
    exp,
    fma,
    log,
    log1p,
    power,
    where,
)

# ---------------------------------------------------------------------------------------------
# the four quantities of a margin


def smaller(x: Real, larger: Real) -> Real:
    """The smaller of p and q, x / (1 + x), from the larger."""
    return x * larger


def smaller_fused(x: Real, larger: Real) -> Real:
    """The same as x - x (x / (1 + x)), which a backend with a fused multiply-add gets.

    An easy example has the error of q in its slope up to 1 + gamma times, and half of that error is
    the rounding of 1 + x and of its inverse: here it counts x times, that is hardly at all.
    """
    return fma(-x, x * larger, x)


def probability(s: Real, x: Real) -> Real:
    """The probability p = sigmoid(s)."""
    larger = ONE / (ONE + x)
    return where(s >= ZERO, larger, smaller(x, larger))


def complement(s: Real, x: Real) -> Real:
    """What is missing of it, q = 1 - p, formed directly."""
    larger = ONE / (ONE + x)
    return where(s >= ZERO, smaller(x, larger), larger)


def cross_entropy(s: Real, log1p_x: Real) -> Real:
    """The cross-entropy ce = -log p."""
    return where(s >= ZERO, ZERO, -s) + log1p_x


# ---------------------------------------------------------------------------------------------
# the modulator q**gamma: expressions of one signature, of which a backend binds the one it wants


def modulator_zero(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """That of gamma = 0."""
    return ONE


def modulator_one(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """That of gamma = 1."""
    return q


def modulator_two(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """That of gamma = 2."""
    return q * q


# The gammas whose modulator needs neither pow nor exp, on every backend.
EXACT: dict[float, Callable[..., Real]] = {
    0.0: modulator_zero,
    1.0: modulator_one,
    2.0: modulator_two,
}


def modulator_power(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Any gamma, accurate, but never to be differentiated by machine: see (b)."""
    return power(q, gamma)


def modulator_exponential(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Any gamma, differentiable to any order; the rounded exponent costs gamma |s| / 2 eps.

    Two exponentials, because max(s, 0) is exact and its sum with log1p_x is not: rounded in the
    exponent it would cost as much again.
    """
    large = where(s >= ZERO, at_most(s, FAR), ZERO)
    return exp(-(gamma * large)) * exp(-(gamma * log1p_x))


def modulator_compensated(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Any gamma, without pow, as accurate as it: carries the exponent's rounding error along.

    ``high + low`` is max(s, 0) + log1p_x exactly (two-sum); ``t + e`` is gamma times it. Needs a
    true fused multiply-add, and a compiler that does not re-associate these lines.
    """
    large = where(s >= ZERO, at_most(s, FAR), ZERO)
    high = large + log1p_x
    back = high - large
    low = (large - (high - back)) + (log1p_x - back)
    t = gamma * high
    e = fma(gamma, high, -t) + gamma * low
    m = exp(-t)
    return m - m * e


def modulator_raised(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Any gamma and any q in [0, 1], also one that is no margin's; differentiable to any order."""
    zero = q == ZERO
    return where(zero, (gamma == ZERO) * ONE, exp(gamma * log(where(zero, ONE, q))))


def modulator(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """The modulator of this binding: one of the above takes its place."""
    return modulator_power(s, log1p_x, q, gamma)


# ---------------------------------------------------------------------------------------------
# the loss and its derivatives with respect to s


def value_of(ce: Real, m: Real) -> Real:
    """F from its parts. Far on the wrong side m is exactly 1 and ce may be inf: no product."""
    far = ce > FAR
    return where(far, ce, m * where(far, ZERO, ce))


def slope_of(p: Real, q: Real, ce: Real, m: Real, gamma: Real) -> Real:
    """F' from its parts: all terms have one sign, nothing cancels."""
    return -(m * (q + gamma * (p * at_most(ce, FAR))))


def detached_slope_of(q: Real, m: Real) -> Real:
    """The slope -q**(gamma + 1) that remains when the modulator is held constant."""
    return -(m * q)


def value(s: Real, x: Real, gamma: Real) -> Real:
    """F(s), the focal loss in nats."""
    return value_from(s, x, log1p(x), gamma)


def value_from(s: Real, x: Real, log1p_x: Real, gamma: Real) -> Real:
    """F(s) for backends that have log1p(x) at hand."""
    q = complement(s, x)
    return value_of(cross_entropy(s, log1p_x), modulator(s, log1p_x, q, gamma))


def value_and_slope(s: Real, x: Real, gamma: Real) -> tuple[Real, Real]:
    """F(s) and F'(s), sharing every intermediate."""
    return value_and_slope_from(s, x, log1p(x), gamma)


def value_and_slope_from(s: Real, x: Real, log1p_x: Real, gamma: Real) -> tuple[Real, Real]:
    """F(s) and F'(s) for backends that have log1p(x) at hand."""
    p = probability(s, x)
    q = complement(s, x)
    ce = cross_entropy(s, log1p_x)
    m = modulator(s, log1p_x, q, gamma)
    return value_of(ce, m), slope_of(p, q, ce, m, gamma)


def value_and_detached_slope(s: Real, x: Real, gamma: Real) -> tuple[Real, Real]:
    """F(s) and `detached_slope_of`."""
    return value_and_detached_slope_from(s, x, log1p(x), gamma)


def value_and_detached_slope_from(
    s: Real, x: Real, log1p_x: Real, gamma: Real
) -> tuple[Real, Real]:
    """The same for backends that have log1p(x) at hand."""
    q = complement(s, x)
    m = modulator(s, log1p_x, q, gamma)
    return value_of(cross_entropy(s, log1p_x), m), detached_slope_of(q, m)


def slope(s: Real, x: Real, gamma: Real) -> Real:
    """F'(s)."""
    log1p_x = log1p(x)
    q = complement(s, x)
    m = modulator(s, log1p_x, q, gamma)
    return slope_of(probability(s, x), q, cross_entropy(s, log1p_x), m, gamma)


def curvature(s: Real, x: Real, gamma: Real) -> Real:
    """F''(s). Negative for very small p: below p = 0.0578 at gamma = 2."""
    log1p_x = log1p(x)
    p = probability(s, x)
    q = complement(s, x)
    ce = cross_entropy(s, log1p_x)
    held = at_most(ce, FAR)
    m = modulator(s, log1p_x, q, gamma)
    bracket = (ONE + TWO * gamma) * q + gamma * ((gamma * p - q) * held)
    return (p * m) * bracket
