"""Kinds of option values, named so that argparse's messages read well."""

from __future__ import annotations

import math


def seed(text: str) -> int:
    """Read a seed as NumPy takes it."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise ValueError
    return value


def names(text: str) -> list[str]:
    """Read names that are separated by commas."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ValueError
    return found


def count(text: str) -> int:
    """Read a count: 1, 2, 3, ..."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def share(text: str) -> float:
    """Read a share, above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError
    return value


def cost(text: str) -> float:
    """Read a cost, finite and above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


# argparse says "invalid seed value"
names.__name__ = "list of names"
