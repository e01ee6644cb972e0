"""The formula over NumPy arrays: gradient and Hessian per logit, in blocks that stay in the cache.

Nothing here checks its input; `refocal.boosting.objectives` does. Nothing here is differentiated by
machine, so the modulator is the accurate power.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from refocal.formula.in_numpy import BOOK, for_gamma

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[float, float]

HESSIANS = ("bound", "exact", "absolute", "cross_entropy")

BLOCK = 8192  # float64 temporaries of a block: 64 KiB each, about ten alive, inside a core's L2
FLOOR = 1e-16  # the floor of XGBoost's own logistic Hessian; a leaf divides by the sum


def slope_and_curvature(
    s: Array, x: Array, gamma: float | Array, hessian: str, detached: bool
) -> tuple[Array, Array]:
    """F' and the chosen stand-in for F'', of margins ``s`` with ``x = exp(-|s|)``."""
    book = for_gamma(gamma)
    p, q = book.probability(s, x), book.complement(s, x)
    log1p_x = np.log1p(x)
    m = book.modulator(s, log1p_x, q, gamma)
    if detached:
        slope = book.detached_slope_of(q, m)
    else:
        slope = book.slope_of(p, q, book.cross_entropy(s, log1p_x), m, gamma)
    return slope, getattr(book, stand_in(hessian, detached))(s, x, gamma, p, q, slope)


def stand_in(hessian: str, detached: bool) -> str:
    """Which of `refocal.formula.hessian`; of the detached slope the bound is exact."""
    return f"hessian_{'bound' if detached and hessian != 'cross_entropy' else hessian}"


# ---------------------------------------------------------------------------------------------
# sigmoid


def sigmoid_derivatives(
    margins: Array,
    positive: Array,
    weights: Pair,
    gammas: Pair,
    sample_weight: Array | None,
    *,
    hessian: str,
    detached: bool,
) -> tuple[Array, Array]:
    """Gradient and Hessian, float32 of shape ``(n,)``, with respect to the logits.

    Args:
        margins: logits, ``(n,)`` float32 or float64; computed in that dtype.
        positive: ``(n,)`` bool.
        weights: of a positive and of a negative.
        gammas: exponents of a positive and of a negative.
        sample_weight: ``(n,)`` or None.
        hessian: one of `HESSIANS`.
        detached: modulator held constant.
    """
    gradient = np.empty(margins.shape, np.float32)
    curvature = np.empty(margins.shape, np.float32)
    one_gamma = gammas[0] == gammas[1]
    kind = margins.dtype.type
    for start in range(0, margins.size, BLOCK):
        rows = slice(start, start + BLOCK)
        z, y = margins[rows], positive[rows]
        s = np.where(y, z, -z)
        x = BOOK.decay(s)
        gamma = gammas[0] if one_gamma else np.where(y, kind(gammas[0]), kind(gammas[1]))
        slope, second = slope_and_curvature(s, x, gamma, hessian, detached)
        if hessian != "exact":
            second = np.maximum(second, FLOOR)
        factor = np.where(y, kind(weights[0]), kind(weights[1]))
        if sample_weight is not None:
            factor = factor * sample_weight[rows]
        gradient[rows] = np.where(y, slope, -slope) * factor
        curvature[rows] = second * factor
    return gradient, curvature


def sigmoid_losses(margins: Array, positive: Array, weights: Pair, gammas: Pair) -> Array:
    """The loss per row in nats, shape ``(n,)``; the same value whether detached or not."""
    losses = np.empty(margins.shape, np.float64)
    for sign, rows, weight, gamma in (
        (1.0, positive, weights[0], gammas[0]),
        (-1.0, ~positive, weights[1], gammas[1]),
    ):
        s = sign * margins[rows].astype(np.float64)
        losses[rows] = weight * for_gamma(gamma).value(s, BOOK.decay(s), gamma)
    return losses


def sigmoid_log_odds(margins: Array, log_weight: float, gammas: Pair, detached: bool) -> Array:
    """Posterior log-odds of logits, float64; `refocal.posterior` over NumPy."""
    of = BOOK.detached_log_odds if detached else BOOK.log_odds
    log_odds: Array = of(margins.astype(np.float64), *gammas) - log_weight
    return log_odds


# ---------------------------------------------------------------------------------------------
# softmax: everything as (C, block), so that each class is contiguous whatever order the host has


def softmax_derivatives(
    margins: Array,
    classes: Array,
    weights: Array,
    gammas: Array,
    sample_weight: Array | None,
    *,
    hessian: str,
    detached: bool,
    factor: float,
) -> tuple[Array, Array]:
    """Gradient and diagonal Hessian, float32, in the shape and memory order of ``margins``.

    With ``r`` the softmax of the rivals and ``v = e_y - r`` the Hessian of one row is
    ``F'' v v' - F' (diag r - r r')``; ``hessian`` says what stands for F''.

    Args:
        margins: logits ``(n, C)``, C or Fortran order.
        classes: ``(n,)`` integer class indices.
        weights: ``(C,)``.
        gammas: ``(C,)``.
        sample_weight: ``(n,)`` or None.
        hessian: one of `HESSIANS`.
        detached: modulator held constant.
        factor: multiplies every Hessian but the exact one.
    """
    gradient = np.empty_like(margins, dtype=np.float32)
    curvature = np.empty_like(margins, dtype=np.float32)
    one_gamma = bool((gammas == gammas[0]).all())
    for start in range(0, len(margins), BLOCK):
        rows = slice(start, start + BLOCK)
        y = classes[rows]
        z = np.ascontiguousarray(margins[rows].T)
        s, x, r, rest = softmax_margin(z, y)
        gamma = float(gammas[0]) if one_gamma else gammas[y].astype(z.dtype)
        slope, second = slope_and_curvature(s, x, gamma, hessian, detached)
        weight = weights[y].astype(z.dtype)
        if sample_weight is not None:
            weight = weight * sample_weight[rows]
        columns = np.arange(len(y))
        first = -slope * r
        first[y, columns] = slope
        gradient[rows] = (first * weight).T
        if hessian == "cross_entropy":
            # p_k (1 - p_k) with p_k = q r_k and 1 - p_k = p + q (1 - r_k)
            p, q = BOOK.probability(s, x), BOOK.complement(s, x)
            diagonal = q * r * (p + q * rest)
            diagonal[y, columns] = p * q
        else:
            diagonal = second * r * r - slope * (r * rest)
            diagonal[y, columns] = second
        if hessian != "exact":
            diagonal = np.maximum(factor * diagonal, FLOOR)
        curvature[rows] = (diagonal * weight).T
    return gradient, curvature


def softmax_margin(z: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Margin of each column's class: ``s``, ``x``, the rivals' shares ``r`` and ``1 - r``.

    Args:
        z: logits ``(C, n)``, finite.
        y: ``(n,)`` class indices.
    """
    columns = np.arange(len(y))
    own = z[y, columns]
    rivals = z.copy()
    rivals[y, columns] = -np.inf
    if len(z) == 1:
        zero = np.zeros_like(z)
        return np.full_like(own, np.inf), np.zeros_like(own), zero, zero
    top = rivals.argmax(0)
    largest = rivals[top, columns]
    exponentials = BOOK.term(rivals, largest)
    exponentials[top, columns] = 0.0
    others = exponentials.sum(0)  # without the top one, whose term is exactly 1
    total = 1 + others
    s, x, _ = BOOK.against(own, largest, total, largest, own - largest)
    rest = (total - exponentials) / total
    rest[top, columns] = others / total
    exponentials[top, columns] = 1.0
    return s, x, exponentials / total, rest


def softmax_losses(margins: Array, classes: Array, weights: Array, gammas: Array) -> Array:
    """The loss per row in nats, shape ``(n,)``."""
    s, x, _, _ = softmax_margin(margins.T.astype(np.float64), classes)
    losses: Array = weights[classes] * BOOK.value(s, x, gammas[classes])
    return losses


def softmax_posterior(margins: Array, weights: Array, gammas: Array, detached: bool) -> Array:
    """Class probabilities ``(n, C)`` of logits ``(n, C)``, float64; `refocal.posterior` over NumPy.

    Every class takes its turn as the target, so each ``1 - v_j`` is formed from its rivals.
    """
    z = np.ascontiguousarray(margins.T, dtype=np.float64)
    scores = np.empty_like(z)
    for c in range(len(z)):
        s, x, _, _ = softmax_margin(z, np.full(z.shape[1], c))
        if np.isposinf(s).all():  # a single class
            return np.ones_like(margins, dtype=np.float64)
        score = BOOK.detached_score if detached else BOOK.score
        scores[c] = score(s, x, gammas[c]) - np.log(weights[c])
    e = np.exp(scores - scores.max(0))
    posterior: Array = (e / e.sum(0)).T
    return posterior
