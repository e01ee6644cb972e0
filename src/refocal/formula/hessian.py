"""What stands for the second derivative in a booster's step: all of one signature.

``(s, x, gamma, p, q, slope)``: the margin, its exponent, and parts that its caller has at hand;
``slope`` may be the detached one.
"""

from __future__ import annotations

from refocal.formula.focal import curvature
from refocal.formula.plain import ONE, ZERO, Real, where


def hessian_bound(s: Real, x: Real, gamma: Real, p: Real, q: Real, slope: Real) -> Real:
    """(1 + gamma) p |F'|: never below F'', strictly positive, cross-entropy's own at gamma = 0.

    Of the detached slope it is the exact derivative.
    """
    return (ONE + gamma) * (p * -slope)


def hessian_exact(s: Real, x: Real, gamma: Real, p: Real, q: Real, slope: Real) -> Real:
    """F'', which is negative for very small p."""
    return curvature(s, x, gamma)


def hessian_absolute(s: Real, x: Real, gamma: Real, p: Real, q: Real, slope: Real) -> Real:
    """|F''|."""
    second = curvature(s, x, gamma)
    return where(second < ZERO, -second, second)


def hessian_cross_entropy(s: Real, x: Real, gamma: Real, p: Real, q: Real, slope: Real) -> Real:
    """Cross-entropy's p q, whatever gamma is."""
    return p * q
