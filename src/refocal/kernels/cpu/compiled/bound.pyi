"""Names that exist only where a kernel is bound: for one dtype of logits, targets and computing.

Nothing imports this file when the program runs; it tells readers and type checkers what the scalar
code of this room finds under these names.
"""

from collections.abc import Callable
from typing import Any

# of `dtypes.Storage`: how logits, targets, and what a tile is read from or written to lie in memory
Logit: Any
Target: Any
Element: Any
# a logit's (or element's) way from memory into a number and back, and a target's into one
load: Callable[[Any], Any]
store: Callable[[Any], Any]
target_number: Callable[[Any], Any]
# the ends of [0, 1] as rounding may have moved them
LEAST_TARGET: Any
MOST_TARGET: Any
# `math.from_bits`, in float64
double_of: Callable[[Any], Any]

# of `tiles.reader` and `tiles.writer`: (integers, first position, how many, tile)
read_tile: Callable[[Any, Any, Any, Any], None]
read_targets: Callable[[Any, Any, Any, Any], None]
read_gammas: Callable[[Any, Any, Any, Any], None]
write_tile: Callable[[Any, Any, Any, Any], None]

# of `math.operations`: the computing dtype, the integer of its width, and constants of it
real: Any
integer: Any
exp_polynomial: Callable[[Any], Any]
log1p_polynomial: Callable[[Any], Any]
LOG2_E: Any
ROUNDER: Any
LIFTED_ROUNDER: Any
LN2_HIGH: Any
LN2_LOW: Any
LOWEST: Any
LEAST: Any
UNLIFT: Any
MANTISSA: Any
EXPONENT_BIAS: Any
FRACTION: Any
SIGN_SHIFT: Any
LOWEST_BITS: Any

# of `dtypes.vectors_of`: what lies at an address in the computing dtype, a class, a logit where the
# kernel reads it, and the way of a slope there
take: Callable[[Any], Any]
take_classes: Callable[[Any, Any], Any]
take_logits: Callable[[Any], Any]
put_slopes: Callable[[Any, Any], None]
