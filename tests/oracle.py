"""The focal loss as the papers write it, in numbers wide enough to judge float64.

Imports nothing from refocal and no torch. Two forms that check each other (test_formula.py): the
literal formula in mpmath, differentiated numerically, and a vectorised twin in numpy's long double
for volume.

Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017: eq. 4 and 5, and
the derivative of appendix B, ``y (1 - p_t)^gamma (gamma p_t log p_t + p_t - 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath
import numpy as np
from scipy import optimize

WIDE = np.longdouble
Array = np.ndarray


def wide(values: object) -> Array:
    return np.asarray(values, dtype=WIDE)


# ---------------------------------------------------------------------------------------------
# one margin, literally


def exact(s: float, gamma: float, order: int = 0) -> mpmath.mpf:
    """-(1 - p)^gamma log p or its derivative, with digits enough for the subtraction."""

    def loss(margin: mpmath.mpf) -> mpmath.mpf:
        p = 1 / (1 + mpmath.exp(-margin))
        return -((1 - p) ** gamma) * mpmath.log(p)

    with mpmath.workdps(60 + int(abs(s))):
        s, gamma = mpmath.mpf(s), mpmath.mpf(gamma)
        return +mpmath.diff(loss, s, order) if order else loss(s)


# ---------------------------------------------------------------------------------------------
# the same, vectorised


@np.errstate(all="ignore")
def parts(s: Array) -> tuple[Array, Array, Array]:
    """p_t, 1 - p_t and -log p_t."""
    s = wide(s)
    p, q = 1 / (1 + np.exp(-s)), 1 / (1 + np.exp(s))
    ce = np.where(s > 0, np.log1p(np.exp(-s)), np.log1p(np.exp(np.minimum(s, 0))) - s)
    return p, q, ce


@np.errstate(all="ignore")
def value(s: Array, gamma: Array) -> Array:
    _, q, ce = parts(s)
    return q ** wide(gamma) * ce


@np.errstate(all="ignore")
def slope(s: Array, gamma: Array, detached: bool = False) -> Array:
    p, q, ce = parts(s)
    gamma = wide(gamma)
    if detached:
        return -(q ** (gamma + 1))
    p_log_p = -np.where(p == 0, 0, p * ce)
    return q**gamma * (gamma * p_log_p - q)


@np.errstate(all="ignore")
def curvature(s: Array, gamma: Array) -> Array:
    p, q, ce = parts(s)
    gamma = wide(gamma)
    return p * q**gamma * ((1 + 2 * gamma) * q + gamma * (gamma * p - q) * np.where(p == 0, 0, ce))


@np.errstate(all="ignore")
def curvature_size(s: Array, gamma: Array) -> Array:
    """Of the terms whose difference the curvature is."""
    p, q, ce = parts(s)
    gamma = wide(gamma)
    terms = (1 + 2 * gamma) * q + gamma * np.abs(gamma * p - q) * np.where(p == 0, 0, ce)
    return p * q**gamma * terms


# ---------------------------------------------------------------------------------------------
# whole losses


@dataclass(frozen=True)
class Expected:
    """Unreduced loss and gradient, and the sums of the sizes of the terms they consist of."""

    value: Array
    gradient: Array
    value_size: Array
    gradient_size: Array


@np.errstate(invalid="ignore", over="ignore")
def sigmoid(
    z: Array,
    y: Array,
    *,
    alpha: tuple[Array, Array] = (1, 1),
    gamma: tuple[Array, Array] = (0, 0),
    weight: Array = 1,
    smoothing: float = 0,
    detached: bool = False,
) -> Expected:
    """``w (y a F(z) + (1 - y) (1 - a) F(-z))``; what has weight 0 is 0."""
    z, y = wide(z), wide(y)
    smoothing = wide(smoothing)
    y = y * (1 - smoothing) + smoothing / 2
    total = np.zeros((4, *z.shape), WIDE)
    for sign, share, a, g in zip((1, -1), (y, 1 - y), alpha, gamma, strict=True):
        coefficient = np.broadcast_to(share * wide(a) * wide(weight), z.shape)
        counts = coefficient != 0
        f = np.where(counts, coefficient * value(sign * z, g), 0)
        d = np.where(counts, coefficient * sign * slope(sign * z, g, detached), 0)
        total += np.stack([f, d, np.abs(f), np.abs(d)])
    return Expected(*total)


@np.errstate(all="ignore")
def rivals(z: Array, c: int) -> tuple[Array, Array]:
    """Class c of ``(rows, C)`` logits: its margin and the shares of its rivals."""
    others = wide(z).copy()
    others[:, c] = -np.inf
    top = others.max(axis=1, keepdims=True)
    # of several infinite logits the limit with equal ones
    e = np.where(others == np.inf, 1, np.exp(others - np.where(np.isneginf(top), 0, top)))
    total = e.sum(axis=1, keepdims=True)
    alone = total == 0
    s = np.where(alone, wide(z[:, c : c + 1]) + np.inf, wide(z[:, c : c + 1]) - top - np.log(total))
    return s[:, 0], e / np.where(alone, 1, total)


@np.errstate(all="ignore")
def softmax(
    z: Array,
    y: Array,
    *,
    alpha: Array = 1,
    gamma: Array = 0,
    weight: Array = 1,
    smoothing: float = 0,
    detached: bool = False,
) -> Expected:
    """``w sum_c y_c a_c F(s_c)`` of ``(rows, C)`` logits and probabilities."""
    z, y = wide(z), wide(y)
    rows, classes = z.shape
    smoothing = wide(smoothing)
    y = y * (1 - smoothing) + smoothing / classes
    coefficients = y * np.broadcast_to(wide(alpha), z.shape)
    coefficients = coefficients * np.broadcast_to(wide(weight), (rows,))[:, None]
    gamma = np.broadcast_to(wide(gamma), z.shape)
    values = np.zeros((2, rows), WIDE)
    gradients = np.zeros((2, rows, classes), WIDE)
    for c in np.flatnonzero(coefficients.any(axis=0)):
        coefficient = coefficients[:, c]
        counts = coefficient != 0
        s, shares = rivals(z, c)
        f = np.where(counts, coefficient * value(s, gamma[:, c]), 0)
        d = np.where(counts, coefficient * slope(s, gamma[:, c], detached), 0)[:, None]
        ds_dz = -shares
        ds_dz[:, c] = 1
        gradient = np.where(counts[:, None], d * ds_dz, 0)
        values += np.stack([f, np.abs(f)])
        gradients += np.stack([gradient, np.abs(gradient)])
    return Expected(values[0], gradients[0], values[1], gradients[1])


# ---------------------------------------------------------------------------------------------
# what a perfectly trained model says


def best_logit(
    probability: float,
    *,
    alpha: float = 0.5,
    gamma: tuple[float, float] = (0, 0),
    smoothing: float = 0,
    detached: bool = False,
) -> float:
    """The logit that minimises the expected loss, by bisection on the risk's derivative."""
    low, high = WIDE(-200), WIDE(200)
    y = wide(probability)
    pair = {"alpha": (alpha, 1 - wide(alpha)), "gamma": gamma}
    for _ in range(80):
        middle = (low + high) / 2
        risk = sigmoid(middle, y, smoothing=smoothing, detached=detached, **pair)
        low, high = (low, middle) if risk.gradient > 0 else (middle, high)
    return float(low)


def best_logits(
    probabilities: Array,
    *,
    alpha: Array = 1,
    gamma: Array = 0,
    smoothing: float = 0,
    detached: bool = False,
) -> Array:
    """The logits that minimise the expected loss (the first is 0): a root of its gradient."""
    start = np.log(probabilities[1:] / probabilities[0])

    def gradient(tail: Array) -> Array:
        logits = np.concatenate([[0], tail])[None]
        risk = softmax(
            logits,
            probabilities[None],
            alpha=alpha,
            gamma=gamma,
            smoothing=smoothing,
            detached=detached,
        )
        # without its own size, which is tiny for rare classes
        return np.asarray(risk.gradient[0, 1:] / risk.gradient_size[0, 1:], dtype=float)

    solution = optimize.root(gradient, start / (1 + np.max(gamma)), tol=1e-15)
    residual = np.abs(gradient(solution.x)).max()
    if residual > 1e-12:
        raise RuntimeError(f"no minimum found: {solution.message} (gradient {residual})")
    return np.concatenate([[0], solution.x])
