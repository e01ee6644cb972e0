"""The derivatives of one row of several classes, on Python floats: CatBoost asks row by row.

A call of NumPy costs more than all of the arithmetic of a row. CatBoost takes the whole Hessian
of a row and solves with it, where the other hosts take twice the diagonal (`numeric`).
"""

from __future__ import annotations

from collections.abc import Sequence

from refocal.boosting.numeric import stand_in
from refocal.formula import focal, hessian, margin

Row = list[float]


def softmax_row(
    logits: Sequence[float], y: int, gamma: float, kind: str, detached: bool
) -> tuple[Row, list[Row]]:
    """Gradient ``(C,)`` and Hessian ``(C, C)`` of the loss of one row, without weights.

    With ``r`` the softmax of the rivals and ``v = e_y - r`` the Hessian is
    ``F'' v v' - F' (diag r - r r')``; ``kind`` says what stands for F''.

    Args:
        logits: of the C > 1 classes, finite.
        y: the row's class.
        gamma: its focusing exponent.
        kind: one of `numeric.HESSIANS`.
        detached: modulator held constant.
    """
    classes = range(len(logits))
    own = logits[y]
    top = max(logits[k] for k in classes if k != y)
    shares = [0.0 if k == y else margin.term(logits[k], top) for k in classes]
    total = sum(shares)
    r = [share / total for share in shares]
    s, x, _ = margin.against(own, top, total, top, own - top)
    both = focal.value_and_detached_slope if detached else focal.value_and_slope
    _, slope = both(s, x, gamma)
    gradient = [-slope * share for share in r]
    gradient[y] = slope
    p, q = focal.probability(s, x), focal.complement(s, x)
    if kind == "cross_entropy":
        each = [q * share for share in r]
        each[y] = p
        rows = [[-(one * other) for other in each] for one in each]
        for k in classes:
            rows[k][k] += each[k]
        return gradient, rows
    second = getattr(hessian, stand_in(kind, detached))(s, x, gamma, p, q, slope)
    v = [-share for share in r]
    v[y] = 1.0
    # of the rivals' shares: those of y are 0, so that its row and column are F'' v v' alone
    both_terms = second + slope
    rows = [[both_terms * (a * b) for b in r] for a in r]
    for k in classes:
        rows[k][k] -= slope * r[k]
        rows[k][y] = rows[y][k] = second * v[k]
    return gradient, rows
