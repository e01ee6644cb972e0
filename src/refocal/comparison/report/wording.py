"""Numbers as people read them: signs, intervals with as many digits as they need, lists."""

from __future__ import annotations

import math
from collections.abc import Sequence

from refocal.comparison.results import Data, Estimate, Sampling

_DIGITS, _MOST_DIGITS = 3, 6


def metric_name(data: Data) -> str:
    """What losses are compared by."""
    return "average precision" if data.kind == "binary" else "mean average precision"


def fixed(value: float | None, digits: int = _DIGITS) -> str:
    """A number for a table."""
    return "–" if value is None else _true_minus(f"{value:.{digits}f}")


def signed(value: float | None, digits: int = _DIGITS) -> str:
    """With its sign; a plain 0 for what is nothing at these digits."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}"
    return "0" if float(text) == 0.0 else _true_minus(text)


def digits_of(estimate: Estimate) -> int:
    """How many digits tell an interval's ends apart: three, or more where it is narrow.

    With three a difference of 0.00004 between −0.00010 and +0.00018 reads "0 (0 to 0)".
    """
    known = [abs(one) for one in (estimate.low, estimate.high, estimate.value) if one]
    if not known:
        return _DIGITS
    return min(_MOST_DIGITS, max(_DIGITS, 1 - math.floor(math.log10(max(known)))))


def interval(estimate: Estimate, level: float = 0.95) -> str:
    """A difference with its interval, in a sentence."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "an undefined amount"
    if estimate.low == estimate.value == estimate.high == 0.0:
        return "0 in every split"
    digits = digits_of(estimate)
    low, high = signed(estimate.low, digits), signed(estimate.high, digits)
    return f"{signed(estimate.value, digits)} ({percent(level)} interval {low} to {high})"


def percent(value: float | None, digits: int | None = None) -> str:
    """A share as a percentage: two digits below a tenth, else as few as it needs."""
    if value is None:
        return "–"
    if digits is None:
        return f"{100 * value:.2f} %" if value < 0.0995 else f"{round(100 * value, 1):g} %"
    return f"{100 * value:.{digits}f} %"


def read_of(sampling: Sampling, classes: Sequence[str]) -> str:
    """Which share of each class was read, the largest first."""
    names = classes if sampling.several else ("the negatives", "the positives")
    alike: dict[float, list[str]] = {}
    for share, name in zip(sampling.read, names, strict=True):
        alike.setdefault(share, []).append(name)
    *most, least = [f"{percent(one)} of {', '.join(alike[one])}" for one in sorted(alike)[::-1]]
    return f"{', '.join(most)} and {least}" if most else least


def probability(p: float | None) -> str:
    """A p-value."""
    return "–" if p is None else "< 0.001" if p < 0.0005 else f"{p:.3f}"


def listed(numbers: Sequence[float]) -> str:
    """Numbers in their order; a single one where all are the same."""
    texts = [f"{number:g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def capital(text: str) -> str:
    """With its first letter in upper case."""
    return text[0].upper() + text[1:]


def _true_minus(text: str) -> str:
    return text.replace("-", "−")
