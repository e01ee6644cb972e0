"""The book over torch tensors.

Two general modulators: "exponential" is differentiable to any order, "power" more accurate and
never to be differentiated by machine.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from refocal.formula.binding import bind, modulator_for
from refocal.formula.focal import EXACT

OPERATIONS: dict[str, Any] = {
    "exp": torch.exp,
    "log1p": torch.log1p,
    "log": torch.log,
    "where": torch.where,
    "power": torch.pow,
    "LARGEST": torch.finfo(torch.float32).max,
}

# all at import, and not behind a cache: torch.compile cannot look into the copying of functions
BINDINGS: dict[str, SimpleNamespace] = {
    modulator: bind(OPERATIONS, modulator)
    for modulator in (
        *(modulator_for(gamma, "power") for gamma in EXACT),
        "power",
        "exponential",
        "raised",
    )
}
# what depends on no modulator, and what may be differentiated
BOOK = BINDINGS["exponential"]
DOUBLE = bind({**OPERATIONS, "LARGEST": torch.finfo(torch.float64).max}, "exponential")


def bound(modulator: str) -> SimpleNamespace:
    """The book with this modulator."""
    return BINDINGS[modulator]


def for_dtype(dtype: torch.dtype) -> SimpleNamespace:
    """The book of a computing dtype, for what holds numbers within it."""
    return DOUBLE if dtype == torch.float64 else BOOK


LARGEST_POWER = 100.0


def for_gamma(gamma: float | Tensor, general: str) -> SimpleNamespace:
    """The book with gamma's exact modulator, if it has one, else with the ``general`` one.

    Of a power far beyond use the rounding of its base is all that is left: there the exponential
    one, whose error ends where its result does.
    """
    if general == "power" and not isinstance(gamma, Tensor) and gamma > LARGEST_POWER:
        general = "exponential"
    return bound(modulator_for(gamma, general))
