"""The book: all scalar mathematics of the library, written once, as expressions over names.

* `focal`: F, F' and F'' of a margin.
* `margin`: from a logit and its rivals to a margin; what a loss is multiplied by.
* `posterior`: from a margin to the class probability.
* `hessian`: what stands for F'' in a booster's step.

They compute on Python floats as they stand (`plain` has the operations). `binding` copies them for
other backends: `in_torch`, `in_numpy`, and the kernels' own.
"""

from refocal.formula.binding import CONSTANTS, FUNCTIONS, MODULATORS, bind, modulator_for
from refocal.formula.focal import EXACT
from refocal.formula.plain import FAR

__all__ = ["CONSTANTS", "EXACT", "FAR", "FUNCTIONS", "MODULATORS", "bind", "modulator_for"]
