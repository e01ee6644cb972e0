"""The focal loss, written once: value, slope and curvature of one number.

Every focal loss is a scalar function of the margin ``s``, the signed logit of the true class
(sigmoid: ``s = (2y - 1) z``; softmax: ``s = z_y - logsumexp of the other logits``). With
``p = sigmoid(s)`` and ``q = 1 - p``:

    F   = q**gamma * ce                                   ce = -log p
    F'  = -q**gamma * (q + gamma p ce)
    F'' = p q**gamma * ((1 + 2 gamma) q + gamma (gamma p - q) ce)

(Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 4; the
derivatives follow by dp/ds = p q.)

Notes on the text, because every line below looks the way it does for a reason:

(a) The functions take ``(s, x)`` with ``x = exp(-|s|)`` handed over by the link. The softmax link
    knows ``x`` more exactly than ``s``: forming it from a rounded ``s`` costs ``(1 + gamma)|s|/2``
    ulp. All four of p, q, ce and -log q come from ``x`` and ``log1p(x)`` without a subtraction, so
    nothing cancels: ``1 - p`` formed from a rounded ``p`` is 100 % wrong in float32 from s = 17.6.
(b) The text is safe under automatic differentiation of any order. ``abs``, ``maximum`` and
    ``clamp`` have kinks at s = 0, where a zero-initialised head starts, and ``pow`` has an infinite
    derivative at q = 0, so none of them is differentiated: ``where`` picks between two expressions
    that are finite on both sides, and the differentiable modulator is an exponential.
(c) ``p * ce`` is ``0 * inf`` at s = -inf. ``ce`` is held at FAR = 1000 inside products with ``p``:
    p underflows long before that, so the clamp changes no result.
(d) The text is plain scalar code over a few named operations (``exp log1p where power fma`` and
    arithmetic) and constants, all of them globals. :func:`bind` copies the functions with other
    globals: torch functions, Numba scalars or Triton blocks. Constants are names because a literal
    ``1`` turns a float32 Numba loop into a float64 one. As it stands, the file computes on Python
    floats with the :mod:`math` module.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import exp, log1p
from typing import Any

# What a carrier computes with: a Python float, a torch tensor, a Numba scalar, a Triton block.
Real = Any

ZERO: Real = 0.0
ONE: Real = 1.0
TWO: Real = 2.0
THREE: Real = 3.0
NEAR: Real = 1e-5
FAR: Real = 1000.0

power = pow


def where(condition: Any, if_true: Real, if_false: Real) -> Real:
    return if_true if condition else if_false


def fma(a: Real, b: Real, c: Real) -> Real:
    return float(Fraction(a) * Fraction(b) + Fraction(c))


# ---------------------------------------------------------------------------------------------
# the four quantities of a margin


def smaller(x: Real, larger: Real) -> Real:
    """The smaller of p and q, x / (1 + x), from the larger."""
    return x * larger


def smaller_fused(x: Real, larger: Real) -> Real:
    """The same as x - x (x / (1 + x)), which a carrier with a fused multiply-add gets.

    An easy example has the error of q in its slope up to 1 + gamma times, and half of that error is
    the rounding of 1 + x and of its inverse: here it counts x times, that is hardly at all.
    """
    return fma(-x, x * larger, x)


def probability(s: Real, x: Real) -> Real:
    """P = sigmoid(s)."""
    larger = ONE / (ONE + x)
    return where(s >= ZERO, larger, smaller(x, larger))


def complement(s: Real, x: Real) -> Real:
    """Q = 1 - p, formed directly."""
    larger = ONE / (ONE + x)
    return where(s >= ZERO, smaller(x, larger), larger)


def cross_entropy(s: Real, log1p_x: Real) -> Real:
    """Ce = -log p."""
    return where(s >= ZERO, ZERO, -s) + log1p_x


# ---------------------------------------------------------------------------------------------
# the modulator q**gamma: six texts of one signature; a carrier binds the one it wants


def modulator_zero(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Gamma = 0."""
    return ONE


def modulator_one(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Gamma = 1."""
    return q


def modulator_two(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Gamma = 2."""
    return q * q


def modulator_power(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Any gamma, accurate, but never to be differentiated by machine: see (b)."""
    return power(q, gamma)


def modulator_exponential(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Any gamma, differentiable to any order; the rounded exponent costs gamma |s| / 2 eps.

    Two exponentials, because max(s, 0) is exact and its sum with log1p_x is not: rounded in the
    exponent it would cost as much again.
    """
    large = where(s >= ZERO, where(s > FAR, FAR, s), ZERO)
    return exp(-(gamma * large)) * exp(-(gamma * log1p_x))


def modulator_compensated(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """Any gamma, without pow, as accurate as it: carries the exponent's rounding error along.

    ``high + low`` is max(s, 0) + log1p_x exactly (two-sum); ``t + e`` is gamma times it. Needs a
    true fused multiply-add, and a compiler that does not re-associate these lines.
    """
    large = where(s >= ZERO, where(s > FAR, FAR, s), ZERO)
    high = large + log1p_x
    back = high - large
    low = (large - (high - back)) + (log1p_x - back)
    t = gamma * high
    e = fma(gamma, high, -t) + gamma * low
    m = exp(-t)
    return m - m * e


def modulator(s: Real, log1p_x: Real, q: Real, gamma: Real) -> Real:
    """The modulator of this binding; :func:`bind` puts one of the six in its place."""
    return modulator_power(s, log1p_x, q, gamma)


# ---------------------------------------------------------------------------------------------
# the loss and its derivatives with respect to s


def value_of(q: Real, ce: Real, m: Real) -> Real:
    """F from its parts. Far on the wrong side m is exactly 1 and ce may be inf: no product."""
    far = ce > FAR
    return where(far, ce, m * where(far, ZERO, ce))


def slope_of(p: Real, q: Real, ce: Real, m: Real, gamma: Real) -> Real:
    """F' from its parts: all terms have one sign, nothing cancels."""
    return -(m * (q + gamma * (p * where(ce > FAR, FAR, ce))))


def value(s: Real, x: Real, gamma: Real) -> Real:
    """F(s), the focal loss in nats."""
    return value_from(s, x, log1p(x), gamma)


def value_from(s: Real, x: Real, log1p_x: Real, gamma: Real) -> Real:
    """F(s) for carriers that have log1p(x) at hand."""
    q = complement(s, x)
    return value_of(q, cross_entropy(s, log1p_x), modulator(s, log1p_x, q, gamma))


def value_and_slope(s: Real, x: Real, gamma: Real) -> tuple[Real, Real]:
    """F(s) and F'(s), sharing every intermediate."""
    return value_and_slope_from(s, x, log1p(x), gamma)


def value_and_slope_from(s: Real, x: Real, log1p_x: Real, gamma: Real) -> tuple[Real, Real]:
    """F(s) and F'(s) for carriers that have log1p(x) at hand."""
    p = probability(s, x)
    q = complement(s, x)
    ce = cross_entropy(s, log1p_x)
    m = modulator(s, log1p_x, q, gamma)
    return value_of(q, ce, m), slope_of(p, q, ce, m, gamma)


def value_and_detached_slope(s: Real, x: Real, gamma: Real) -> tuple[Real, Real]:
    """F(s) and the slope -q**(gamma + 1) that remains when the modulator is held constant."""
    return value_and_detached_slope_from(s, x, log1p(x), gamma)


def value_and_detached_slope_from(
    s: Real, x: Real, log1p_x: Real, gamma: Real
) -> tuple[Real, Real]:
    """The same for carriers that have log1p(x) at hand."""
    q = complement(s, x)
    m = modulator(s, log1p_x, q, gamma)
    return value_of(q, cross_entropy(s, log1p_x), m), -(m * q)


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
    held = where(ce > FAR, FAR, ce)
    m = modulator(s, log1p_x, q, gamma)
    bracket = (ONE + TWO * gamma) * q + gamma * ((gamma * p - q) * held)
    return (p * m) * bracket


def curvature_bound(s: Real, x: Real, gamma: Real) -> Real:
    """(1 + gamma) p |F'|: never below F'', strictly positive, cross-entropy's own at gamma = 0."""
    return (ONE + gamma) * (probability(s, x) * -slope(s, x, gamma))


def detached_curvature(s: Real, x: Real, gamma: Real) -> Real:
    """(1 + gamma) p q**(gamma + 1): the derivative of the detached slope."""
    q = complement(s, x)
    m = modulator(s, log1p(x), q, gamma)
    return (ONE + gamma) * (probability(s, x) * (m * q))


# ---------------------------------------------------------------------------------------------
# logarithms, for the posterior: no underflow for any finite margin


def gain(s: Real, x: Real) -> Real:
    """P ce / q: gamma times it is what the modulator's own slope adds to 1.

    For s >= 0, p / q = 1 / x and p ce / q = log1p(x) / x, which tends to 1 where x underflows;
    for s < 0, p / q = x. Below NEAR it is (6 + x) / (6 + 4 x), within 3e-17: the quotient's
    derivatives divide by powers of x, which underflow.
    """
    log1p_x = log1p(x)
    near = x < NEAR
    ratio = where(near, (THREE + x / TWO) / (THREE + TWO * x), log1p_x / where(near, ONE, x))
    ce = cross_entropy(s, log1p_x)
    return where(s >= ZERO, ratio, x * where(ce > FAR, FAR, ce))


def log_gain(s: Real, x: Real, gamma: Real) -> Real:
    """log(1 + gamma p ce / q), the logarithm of what the modulator's own slope adds."""
    return log1p(gamma * gain(s, x))


def log_slope(s: Real, x: Real, gamma: Real) -> Real:
    """log|F'(s)| = -(1 + gamma) (-log q) + log(1 + gamma p ce / q)."""
    log_q = -(where(s >= ZERO, s, ZERO) + log1p(x))
    return (ONE + gamma) * log_q + log_gain(s, x, gamma)


def log_slope_rise(s: Real, x: Real, gamma: Real) -> Real:
    """The derivative of log|F'|, F'' / F': -(1 + gamma) p + gamma (g - p) / (1 + gamma g)."""
    p = probability(s, x)
    g = gain(s, x)
    return (g - p) * (gamma / (ONE + gamma * g)) - (ONE + gamma) * p


# ---------------------------------------------------------------------------------------------
# binding the text to a carrier

MODULATORS: dict[str, Callable[..., Real]] = {
    "zero": modulator_zero,
    "one": modulator_one,
    "two": modulator_two,
    "power": modulator_power,
    "exponential": modulator_exponential,
    "compensated": modulator_compensated,
}

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    smaller,
    smaller_fused,
    probability,
    complement,
    cross_entropy,
    *MODULATORS.values(),
    value_of,
    slope_of,
    value_from,
    value_and_slope_from,
    value_and_detached_slope_from,
    value,
    value_and_slope,
    value_and_detached_slope,
    slope,
    curvature,
    curvature_bound,
    detached_curvature,
    gain,
    log_gain,
    log_slope,
    log_slope_rise,
)

CONSTANTS: dict[str, float] = {
    "ZERO": ZERO,
    "ONE": ONE,
    "TWO": TWO,
    "THREE": THREE,
    "NEAR": NEAR,
    "FAR": FAR,
}

# gammas whose modulator needs neither pow nor exp
EXACT_MODULATORS: dict[float, str] = {0.0: "zero", 1.0: "one", 2.0: "two"}


def bind(
    operations: Mapping[str, Any],
    modulator: str,
    wrap: Callable[[Callable[..., Any]], Any] = lambda function: function,
) -> types.SimpleNamespace:
    """The formula over another carrier's numbers.

    Args:
        operations: the carrier's ``exp``, ``log1p``, ``where``, ``fma`` if it has one, and
            ``power`` if the modulator needs it; constants of :data:`CONSTANTS` may be overridden.
        modulator: a key of :data:`MODULATORS`.
        wrap: applied to every copy, for carriers that compile (``numba.njit``, ``triton.jit``).

    Returns:
        A namespace with a copy of every function of this file, calling each other's copies.
    """
    names: dict[str, Any] = {**CONSTANTS, **operations, "__builtins__": __builtins__}
    for function in FUNCTIONS:
        copy = types.FunctionType(function.__code__, names, function.__name__)
        copy.__doc__ = function.__doc__
        copy.__module__ = __name__
        names[function.__name__] = wrap(copy)
    names["modulator"] = names[MODULATORS[modulator].__name__]
    if "fma" in operations:
        names["smaller"] = names["smaller_fused"]
    return types.SimpleNamespace(
        modulator=names["modulator"],
        **{function.__name__: names[function.__name__] for function in FUNCTIONS},
    )
