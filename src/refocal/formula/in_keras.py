"""The book over keras.ops: for TensorFlow, and for whatever else Keras runs on.

"power" is the accurate general modulator, whose derivatives are the book's own slope and curvature;
"exponential" may be differentiated by machine, to any order.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from keras import ops

from refocal.formula.binding import bind, modulator_for
from refocal.formula.focal import EXACT

OPERATIONS: dict[str, Any] = {
    "exp": ops.exp,
    "log1p": ops.log1p,
    "log": ops.log,
    "where": ops.where,
    "power": ops.power,
    "LARGEST": 3.4028234663852886e38,
}

# of every gamma that has one its exact modulator; of all others "power"
ACCURATE: dict[str, SimpleNamespace] = {
    modulator: bind(OPERATIONS, modulator)
    for modulator in (*(modulator_for(gamma, "power") for gamma in EXACT), "power")
}
# what depends on no modulator, and what may be differentiated
BOOK = bind(OPERATIONS, "exponential")
DOUBLE = bind({**OPERATIONS, "LARGEST": 1.7976931348623157e308}, "exponential")


def for_dtype(dtype: str) -> SimpleNamespace:
    """The book of a computing dtype, for what holds numbers within it."""
    return DOUBLE if dtype == "float64" else BOOK
