"""From logits to a margin ``(s, x)``, and what a loss is multiplied by.

``s`` is a class' logit against those of its rivals: for a sigmoid the logit with the sign of the
true class, for a softmax the class' logit minus the logsumexp of the others. ``x = exp(-|s|)``.
"""

from __future__ import annotations

from refocal.formula.plain import (
    BEYOND,
    BEYOND_SUMS,
    INFINITY,
    LARGEST,
    ONE,
    ZERO,
    Real,
    at_least,
    at_most,
    exp,
    exp_of_term,
    log,
    power,
    where,
)


def decay(s: Real) -> Real:
    """The decay x = exp(-|s|). Not by ``abs``, whose derivative is 0 where training starts."""
    return exp(-where(s >= ZERO, s, -s))


def finite(top: Real) -> Real:
    """What exponentials are formed relative to: the largest logit, held finite; NaN stays."""
    return at_least(at_most(top, LARGEST), -LARGEST)


def term(z: Real, base: Real) -> Real:
    """e**(z - base), a rival's part of the sum; an infinite rival counts as the largest number."""
    return plain_term(at_most(z, LARGEST), base)


def plain_term(z: Real, base: Real) -> Real:
    """The same of a rival that is not +inf."""
    return exp_of_term(z - base)


def told_term(z: Real, base: Real) -> Real:
    """The same beside a base that no finite logit exceeds by much: the sum tells infinite rivals.

    One of them counts as e**BEYOND, more than any sum of finite ones: see `has_infinite`.
    """
    return exp_of_term(at_most(z - base, BEYOND))


def has_infinite(rest: Real) -> Real:
    """Whether a rival of a sum of `told_term` is infinite; not where one is NaN."""
    return rest >= BEYOND_SUMS


def against(
    own: Real, base: Real, rest: Real, top: Real, gap_if_infinite: Real
) -> tuple[Real, Real, Real]:
    """The margin s, x and the safe rest of a logit against rivals that sum to ``rest * exp(base)``.

    Args:
        own: the class' logit.
        base: what the rivals' exponentials are relative to; finite.
        rest: their sum; 0 where all rivals are -inf.
        top: the largest rival.
        gap_if_infinite: the margin where that is +inf.
    """
    alone = rest == ZERO
    rest = where(alone, ONE, rest)
    d = own - base
    s = where(alone, own + INFINITY, d - log(rest))
    # a NaN among the rivals is in their sum, though a maximum that only compares may not see it
    s = where((top == INFINITY) & (rest == rest), gap_if_infinite, s)
    # Both branches of x from one exponential, of -|d|-like argument: the branch that is not taken
    # must be finite too, or its zero gradient would meet an infinite derivative.
    wins = s >= ZERO
    e = exp(where(wins, -d, d))
    x = where(wins, rest * e, e / rest)
    x = where(where(wins, s, -s) == INFINITY, ZERO, x)
    # a slope may come from x alone: where the margin is indeterminate, no finite one beside NaN
    return s, where(s == s, x, s), rest


def weighed(coefficient: Real, value: Real) -> Real:
    """Coefficient * value where 0 * inf is 0. NaN stays: a NaN logit is never hidden."""
    return coefficient * where((coefficient == ZERO) & (value == INFINITY), ZERO, value)


def faded(h: Real, beta: Real) -> Real:
    """What a negative counts where a heatmap is h: (1 - h)**beta, less towards a peak."""
    return power(ONE - h, beta)


def faded_four(h: Real, beta: Real) -> Real:
    """That of beta = 4, everybody's, without a power."""
    rest = ONE - h
    square = rest * rest
    return square * square


def smoothed(share: Real, kept: Real, spread: Real) -> Real:
    """A target's share under label smoothing e: ``kept`` is 1 - e, ``spread`` e over the classes.

    Each share by itself: one minus the other would cancel, relative to a small e / 2.
    """
    return share * kept + spread
