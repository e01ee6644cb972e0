"""Settings as JSON and back. A grid search chooses NumPy scalars, and a class may be a number."""

from __future__ import annotations

from typing import Any

import numpy as np

TUPLE, PAIRS = "refocal.tuple", "refocal.pairs"


def python_number(value: Any) -> Any:
    """A NumPy scalar as Python's own; a tuple of them likewise; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(python_number(one) for one in value)
    return value.item() if isinstance(value, np.generic) else value


def as_json(name: str, value: Any) -> Any:
    """What JSON has for a setting, without losing that it was a tuple or had keys of other types.

    Raises:
        TypeError: it is, or holds, what no JSON can give back.
    """
    value = python_number(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return as_json(name, value.tolist())
    if isinstance(value, list):
        return [as_json(name, one) for one in value]
    if isinstance(value, tuple):
        return {TUPLE: [as_json(name, one) for one in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {str(key): as_json(name, one) for key, one in value.items()}
        pairs = ((as_json(name, key), as_json(name, one)) for key, one in value.items())
        return {PAIRS: [list(pair) for pair in pairs]}
    raise TypeError(
        f"{name} must be a number, a text, or a list, tuple or dictionary of them to be saved, got "
        f"{type(value).__name__}. Pickle the classifier instead."
    )


def from_json(value: Any) -> Any:
    """The setting that `as_json` was given."""
    if isinstance(value, list):
        return [from_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TUPLE}:
        return tuple(from_json(one) for one in value[TUPLE])
    if value.keys() == {PAIRS}:
        return {from_json(key): from_json(one) for key, one in value[PAIRS]}
    return {key: from_json(one) for key, one in value.items()}
