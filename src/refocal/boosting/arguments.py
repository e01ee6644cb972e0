"""Every check of this package and every message, in the form of `refocal.arguments`."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from refocal.boosting.numeric import HESSIANS, Array, Pair
from refocal.inverse import inflection
from refocal.messages import refuse

STARTS = ("constant", "zero")


# ---------------------------------------------------------------------------------------------
# settings of an objective


def is_number(value: Any) -> bool:
    """Say whether this is a real number, and not a bool, which would be a misplaced flag."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def sigmoid_alpha(function: str, alpha: Any) -> Pair:
    """Return weights of a positive and a negative: (alpha, 1 - alpha), or (1, 1) for None."""
    if alpha is None:
        return 1.0, 1.0
    if not is_number(alpha):
        hint = ""
        if isinstance(alpha, (list, tuple)) or hasattr(alpha, "shape"):
            hint = "For one weight per class use class_weight, or SoftmaxFocalObjective."
        raise refuse(
            function,
            "alpha",
            "be None or a number in [0, 1]",
            type(alpha).__name__,
            hint,
            TypeError,
        )
    if not 0 <= alpha <= 1:
        hint = "To switch the weighting off use alpha=None." if alpha < 0 else ""
        raise refuse(function, "alpha", "be in [0, 1]", alpha, hint)
    return float(alpha), 1 - float(alpha)


def sigmoid_gamma(function: str, gamma: Any) -> Pair:
    """Return exponents of a positive and a negative."""
    if isinstance(gamma, tuple):
        if len(gamma) != 2:
            raise refuse(
                function,
                "gamma",
                "be a number or a tuple of exactly two, (gamma_pos, gamma_neg)",
                f"{len(gamma)} values",
            )
        return gamma_number(function, gamma[0]), gamma_number(function, gamma[1])
    one = gamma_number(function, gamma)
    return one, one


def gamma_number(function: str, gamma: Any) -> float:
    """Return a finite plain number >= 0."""
    if not is_number(gamma):
        hint = "For one exponent per class sign use a tuple." if isinstance(gamma, list) else ""
        raise refuse(function, "gamma", "be a number >= 0", type(gamma).__name__, hint, TypeError)
    if not 0 <= gamma < math.inf:
        raise refuse(function, "gamma", "be finite and >= 0", gamma)
    return float(gamma)


def class_values(function: str, argument: str, values: Any) -> tuple[float, ...] | float:
    """Return a tuple with one finite number >= 0 per class, or one number for all (1 for no
    weights).
    """
    if values is None and argument != "gamma":
        return 1.0
    if values is None or is_number(values):
        if argument != "gamma":
            raise refuse(
                function,
                argument,
                "be None or one weight per class",
                f"the {type(values).__name__} {values!r}",
                (
                    "One number has no agreed meaning for several classes; to scale the whole "
                    "loss use the learning rate."
                ),
                TypeError,
            )
        return gamma_number(function, values)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise refuse(function, argument, "have one value per class", f"shape {numbers.shape}")
    if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
        bad = numbers[~(np.isfinite(numbers) & (numbers >= 0))][0]
        raise refuse(function, argument, "be finite and >= 0 for every class", bad)
    return tuple(numbers.tolist())


def per_class(function: str, argument: str, values: tuple[float, ...] | float, c: int) -> Array:
    """Return the values as an array of C."""
    if not isinstance(values, tuple):
        return np.full(c, float(values))
    if len(values) != c:
        raise refuse(function, argument, f"have one value for each of {c} classes", len(values))
    return np.array(values)


def hessian(function: str, value: Any) -> str:
    """Return the name of a known stand-in for F''."""
    if value not in HESSIANS:
        fail_choice(function, "hessian", HESSIANS, value)
    return str(value)


def flag(function: str, argument: str, value: Any) -> bool:
    """Return a flag that is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise refuse(function, argument, "be True or False", type(value).__name__, kind=TypeError)
    return bool(value)


def start(function: str, value: Any) -> str | float:
    """Return a start that is a known name or a finite logit."""
    if isinstance(value, str):
        if value not in STARTS:
            fail_choice(function, "start", STARTS, value, "or a logit")
        return value
    if not is_number(value):
        raise refuse(
            function,
            "start",
            'be "constant", "zero" or a logit',
            type(value).__name__,
            kind=TypeError,
        )
    if not math.isfinite(value):
        raise refuse(function, "start", "be finite", value)
    return float(value)


# ---------------------------------------------------------------------------------------------
# what a host hands over


def binary_labels(function: str, labels: Array) -> Array:
    """Return labels 0 and 1 as a mask of the positives."""
    positive: Array = labels == 1
    if not (positive | (labels == 0)).all():
        bad = labels[~(positive | (labels == 0))][0]
        hint = ""
        if bad == -1:
            hint = "For labels -1 and 1 use (y + 1) / 2."
        elif float(bad).is_integer() and bad > 1:
            hint = "For several classes use SoftmaxFocalObjective."
        elif 0 < bad < 1:
            hint = "For a label between, pass the row twice, with weights y and 1 - y."
        raise refuse(function, "labels", "be 0 or 1", bad, hint)
    return positive


def class_labels(function: str, labels: Array, classes: int) -> Array:
    """Return labels 0 to C - 1 as indices."""
    index = labels.astype(np.intp) if np.isfinite(labels).all() else np.full(labels.shape, -1)
    good = (index == labels) & (index >= 0) & (index < classes)
    if not good.all():
        hint = f"Set num_class to the number of classes; it is {classes}." if classes == 1 else ""
        raise refuse(
            function, "labels", f"be class indices from 0 to {classes - 1}", labels[~good][0], hint
        )
    return index


def sample_weight(function: str, weight: Any, rows: int) -> Array | None:
    """Return n finite numbers >= 0, or None; a host without weights hands over an empty array."""
    if weight is None or np.size(weight) == 0:
        return None
    values: Array = np.asarray(weight)
    if values.shape != (rows,):
        raise refuse(
            function, "sample_weight", f"have shape ({rows},), one weight per row", values.shape
        )
    if not (np.isfinite(values).all() and (values >= 0).all()):
        bad = values[~(np.isfinite(values) & (values >= 0))][0]
        raise refuse(function, "sample_weight", "be finite and >= 0", bad, "To drop a row use 0.")
    return values


def margins(function: str, values: Any, rows: int, *, multiclass: bool) -> Array:
    """Return logits of the right shape in float32 or float64."""
    array: Array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if multiclass:
        if array.ndim == 1 and rows and array.size % rows == 0:
            # the flat order of LightGBM before 4.0: class after class
            array = array.reshape((rows, -1), order="F")
        if array.ndim != 2 or len(array) != rows:
            raise refuse(
                function, "predictions", f"have shape ({rows}, C)", array.shape, "Set num_class."
            )
        return array
    if array.shape == (rows, 1):
        array = array[:, 0]
    if array.shape != (rows,):
        raise refuse(
            function,
            "predictions",
            f"have shape ({rows},)",
            array.shape,
            "For several classes use SoftmaxFocalObjective.",
        )
    return array


# What XGBoost makes of base_score=0 and 1 where it reads a probability: the log-odds of 1e-6 and
# of one less 1e-6, in its float32.
CLIPPED = (-13.81551, 13.74516)


def check_start(function: str, logits: Array, data: Any) -> None:
    """Refuse two starts that XGBoost chooses where nobody meant them.

    Margin 0.5 is the intercept of the squared error that ``xgb.train`` falls back to. Its
    scikit-learn wrapper reads base_score as a probability, so that 0 stands for the least one it
    knows, at which no leaf ever gets the Hessian to split.
    """
    if logits.size == 0 or logits.dtype != np.float32:  # XGBoost's
        return
    first = float(logits.flat[0])
    if hasattr(data, "num_row") and first == 0.5 and (logits == 0.5).all():
        raise refuse(
            function,
            "the start",
            "be chosen",
            "margin 0.5 in every row",
            (
                "With a custom objective XGBoost starts from its squared error's base_score, 0.5. "
                "Pass base_score=0 in the parameters, or objective.start(y)."
            ),
        )
    if any(abs(first - one) < 1e-4 for one in CLIPPED) and (logits == logits.flat[0]).all():
        raise refuse(
            function,
            "the start",
            "be a margin that can be trained from",
            f"{first:.5g} in every row",
            (
                "Where XGBoost has the objective binary:logistic, as in XGBClassifier, base_score "
                f"is a probability, and {int(first > 0)} is clipped to this. Use base_score=0.5, "
                "which is margin 0."
            ),
        )


# ---------------------------------------------------------------------------------------------
# starts and posteriors


def check_alpha_has_posterior(function: str, weights: Any) -> None:
    """Refuse a class of weight 0, which is never learned."""
    low = float(np.min(weights))
    if low <= 0:
        raise refuse(
            function,
            "alpha",
            "give every class a weight > 0 where a probability is asked",
            f"a weight of {low:g}",
            "A class of weight 0 is not learned, so it has no posterior.",
        )


def warn_start(
    function: str, logit: float, gammas: Pair, detached: bool, *, stacklevel: int
) -> None:
    """Warn where a start puts a class below the inflection of its loss."""
    if detached:
        return
    for name, margin, gamma in (
        ("positive", logit, gammas[0]),
        ("negative", -logit, gammas[1]),
    ):
        limit = inflection(gamma)
        p = math.exp(-math.log1p(math.exp(-margin))) if margin > -700 else 0.0
        if p < limit:
            warnings.warn(
                f"{function}: at a start of {logit:.4g} every {name} has p_t = {p:.3g}, below "
                f"{limit:.3g}, where the focal loss with gamma={gamma:g} is concave and its "
                'Hessian negative. hessian="bound" stays usable there; start="zero" avoids it.',
                UserWarning,
                stacklevel=stacklevel,
            )


def check_every_class(function: str, counts: Array) -> None:
    """Refuse a class that never occurs: the best constant would be infinite."""
    if not (counts > 0).all():
        missing = int(np.flatnonzero(~(counts > 0))[0])
        raise refuse(
            function,
            "every class",
            "occur in the labels with a weight > 0",
            f"none of class {missing}",
            'Use start="zero".',
        )


def fail_choice(
    function: str, argument: str, choices: tuple[str, ...], value: Any, more: str = ""
) -> NoReturn:
    """Refuse what is none of these names."""
    names = ", ".join(f'"{choice}"' for choice in choices)
    more = f", {more}" if more else ""
    raise refuse(function, argument, f"be one of {names}{more}", repr(value))
