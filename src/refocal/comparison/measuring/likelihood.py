"""Are these probabilities calibrated? A likelihood-ratio test of slope and intercept on all rows.

Calibrated log-odds need no line drawn through them: slope 1, intercept 0. Twice what the best line
gains in log-likelihood follows a chi-squared distribution where that holds, with one degree of
freedom for each number of the line, so that chance is told from miscalibration at any number of
rows. With many rows next to nothing is told from chance as well: what a line must gain beside that
is a share of what the probabilities gain over the base rate.

References:
    Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958;
    Miller, Langefeld, Tierney, Hui, McDonald, "Validation of probabilistic predictions", Medical
    Decision Making 13, 1993.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar  # type: ignore[import-untyped]
from scipy.special import logsumexp  # type: ignore[import-untyped]
from scipy.stats import chi2  # type: ignore[import-untyped]

from refocal.comparison.data.table import Bools, Floats, Integers
from refocal.comparison.measuring import calibrate

LEVEL = 0.03  # of false alarms: several batches of tables stay below 5 % with it
WORTH_NAMING = 0.005  # of what the probabilities gain over the base rate
_MOST_INTERCEPTS = 50  # classes, beyond which the slope alone is tested


@dataclass(frozen=True)
class CalibrationTest:
    """What a line through the log-odds gains, and whether chance explains it.

    Attributes:
        slope: of the best line, 1 is right, below 1 is overconfident.
        intercept: of the best line of two classes; None of several, where each has its own.
        gain: in log loss, nats a row.
        slope_gain: of a slope alone, a temperature.
        p: of the likelihood-ratio test of slope and intercepts.
        p_slope: of the test of a slope alone.
        p_beyond_slope: of the intercepts, given a slope: whether a temperature is enough.
        share: the gain as a share of what the line's probabilities gain over the base rate.
    """

    slope: float
    intercept: float | None
    gain: float
    slope_gain: float
    p: float
    p_slope: float
    p_beyond_slope: float
    share: float

    @property
    def miscalibrated(self) -> bool:
        """Whether a line would do better than chance explains, and enough to be worth naming."""
        return self.p < LEVEL and self.share > WORTH_NAMING

    @property
    def temperature_helps(self) -> bool:
        """Whether a slope alone gains more than chance explains, or all that there is to gain."""
        return self.p_slope < LEVEL or self.temperature_is_enough

    @property
    def temperature_is_enough(self) -> bool:
        """Whether a slope alone repairs what chance does not explain."""
        return self.p_beyond_slope >= 0.01


def of_log_odds(labels: Bools, log_odds: Floats) -> CalibrationTest | None:
    """Test two classes by labels `(n,)` and log-odds `(n,)`; None where no line is best."""
    line = calibrate.fit_line(labels, log_odds)
    if line is None:
        return None
    y = labels.astype(np.float64)

    def loss(z: Floats) -> float:
        return float((np.logaddexp(0.0, z) - y * z).mean())

    told, best = loss(log_odds), loss(line(log_odds))
    slope = _slope(lambda b: loss(b * log_odds))
    rate = float(y.mean())
    base = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    return _tested(line.slope, line.intercept, told, min(slope, told), best, base, len(y), 1)


def of_log_probabilities(index: Integers, log_p: Floats) -> CalibrationTest | None:
    """Test classes that exclude each other by indices `(n,)` and log-probabilities `(n, C)`."""
    rows, classes = log_p.shape
    intercepts = classes - 1 if classes <= _MOST_INTERCEPTS else 0
    hot = np.zeros((rows, classes))
    hot[np.arange(rows), index] = 1.0

    def value(point: Floats) -> tuple[float, Floats]:
        z = point[0] * log_p
        z[:, :intercepts] += point[1:]
        norm = logsumexp(z, axis=1)
        error = np.exp(z - norm[:, None]) - hot
        gradient = np.append((error * log_p).sum(1).mean(), error[:, :intercepts].mean(0))
        return float((norm - (z * hot).sum(1)).mean()), gradient

    start = np.zeros(intercepts + 1)
    start[0] = 1.0
    found = minimize(value, start, jac=True, method="BFGS")
    if not np.isfinite(found.x).all() or not np.isfinite(found.fun) or abs(found.x[0]) > 1e3:
        return None
    told, best = value(start)[0], float(found.fun)
    flat = np.zeros(intercepts)
    slope = _slope(lambda b: value(np.append(b, flat))[0])
    rates = hot.mean(0)
    base = float(-(rates * np.log(rates)).sum())
    best = min(best, slope, told)
    return _tested(float(found.x[0]), None, told, min(slope, told), best, base, rows, intercepts)


def _slope(loss: Callable[[float], float]) -> float:
    """Return the log loss of the best slope without an intercept; it is convex in the slope."""
    found = minimize_scalar(loss, bracket=(0.5, 1.0))
    return float(found.fun)


def _tested(
    slope: float,
    intercept: float | None,
    told: float,
    sloped: float,
    best: float,
    base: float,
    rows: int,
    intercepts: int,
) -> CalibrationTest:
    gain = max(told - best, 0.0)
    beyond = max(sloped - best, 0.0)
    skill = base - best
    return CalibrationTest(
        slope=slope,
        intercept=intercept,
        gain=gain,
        slope_gain=max(told - sloped, 0.0),
        p=float(chi2.sf(2 * rows * gain, 1 + intercepts)),
        p_slope=float(chi2.sf(2 * rows * max(told - sloped, 0.0), 1)),
        p_beyond_slope=float(chi2.sf(2 * rows * beyond, intercepts)) if intercepts else 1.0,
        # of probabilities that tell nothing every gain is large
        share=gain / skill if skill > gain else 1.0,
    )
