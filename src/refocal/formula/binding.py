"""Binds the book to a backend: the same expressions over other operations.

The functions of `focal`, `margin`, `posterior` and `hessian` call nothing but each other and the
names of `plain`, all of them globals. A binding is a copy of every one of them with other globals:
torch functions, NumPy's, values of a CPU kernel, Triton blocks.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

from refocal.formula import focal, hessian, margin, plain, posterior
from refocal.formula.plain import Real

PAGES = (focal, margin, posterior, hessian)

CONSTANTS: dict[str, Real] = {name: value for name, value in vars(plain).items() if name.isupper()}

# what a backend may have an instruction for, and takes from the book otherwise
DERIVED: tuple[Callable[..., Any], ...] = (plain.at_most, plain.at_least)

FUNCTIONS: tuple[Callable[..., Any], ...] = DERIVED + tuple(
    function
    for page in PAGES
    for function in vars(page).values()
    if isinstance(function, types.FunctionType) and function.__module__ == page.__name__
)

MODULATORS: dict[str, Callable[..., Real]] = {
    function.__name__.removeprefix("modulator_"): function
    for function in FUNCTIONS
    if function.__name__.startswith("modulator_")
}


def modulator_for(gamma: Any, general: str) -> str:
    """The name of gamma's exact modulator; ``general`` for all others, and for tensors of them."""
    # a tuple: torch.compile knows no unions of types
    exact = focal.EXACT.get(gamma) if isinstance(gamma, (int, float)) else None
    return general if exact is None else exact.__name__.removeprefix("modulator_")


def rebound(function: Any, names: dict[str, Any]) -> Any:
    """The same text over other globals."""
    copy = types.FunctionType(function.__code__, names, function.__name__)
    copy.__doc__ = function.__doc__
    copy.__module__ = function.__module__
    return copy


def bind(
    operations: Mapping[str, Any],
    modulator: str,
    wrap: Callable[[Callable[..., Any]], Any] = lambda function: function,
) -> types.SimpleNamespace:
    """The book over another backend's numbers.

    Args:
        operations: the backend's ``exp``, ``log1p``, ``where``, and as far as what it uses of the
            book needs them ``log``, ``power``, ``exp_of_term`` (``exp`` by default); ``fma``,
            ``at_most`` and ``at_least`` if it has them; constants of :data:`CONSTANTS`.
        modulator: a key of :data:`MODULATORS`.
        wrap: applied to every copy, for backends that compile (``triton.jit``).

    Returns:
        A namespace with a copy of every function of the book, calling each other's copies.
    """
    names: dict[str, Any] = {
        **CONSTANTS,
        "Real": Real,  # of annotations: TensorFlow's AutoGraph evaluates them
        "exp_of_term": operations["exp"],
        **operations,
        "__builtins__": __builtins__,
    }
    for function in FUNCTIONS:
        name = function.__name__
        if name in operations:
            continue
        names[name] = wrap(rebound(function, names))
    names["modulator"] = names[MODULATORS[modulator].__name__]
    if "fma" in operations:
        names["smaller"] = names["smaller_fused"]
    return types.SimpleNamespace(
        **{function.__name__: names[function.__name__] for function in FUNCTIONS}
    )
