"""The book over NumPy arrays. Nothing here is differentiated by machine: the accurate power."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from refocal.formula.binding import bind, modulator_for
from refocal.formula.focal import EXACT

_OPERATIONS: dict[str, Any] = {
    "exp": np.exp,
    "log1p": np.log1p,
    "log": np.log,
    "where": np.where,
    "power": np.power,
    # nothing is held within a dtype: what comes here is finite, float32 or float64
    "LARGEST": np.inf,
}
_BINDINGS: dict[str, SimpleNamespace] = {
    modulator: bind(_OPERATIONS, modulator)
    for modulator in (*(modulator_for(gamma, "power") for gamma in EXACT), "power")
}

# what depends on no modulator
BOOK = _BINDINGS["power"]


def for_gamma(gamma: Any) -> SimpleNamespace:
    """The book with gamma's exact modulator, if it has one; of an array of gammas the power."""
    return _BINDINGS[modulator_for(gamma, "power")]
