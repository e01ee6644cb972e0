"""What follows the checks of a call as one compiled program, also outside of `jax.jit`.

Operation by operation a loss of a few numbers takes 16 to 100 ms with its gradient, a posterior 1
to 4 ms, nearly all of it Python. Under a jit of the user's nothing is nested: the program is
written into theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array

from refocal.formula.focal import EXACT


class Frame(NamedTuple):
    """What a program is compiled for, besides shapes and dtypes of the numbers that it is given.

    Attributes:
        settings: what decides what is computed.
        structure: how the values lie, a tree of JAX.
        places: for each of them its place among the numbers given, or None.
        fixed: its value where it is not given.
    """

    settings: Hashable
    structure: Any
    places: tuple[int | None, ...]
    fixed: tuple[Any, ...]


def as_program(function: Callable[[Any, Any], Array]) -> Callable[[Any, Any], Array]:
    """The same ``function(values, settings)``, compiled once for all values of a kind.

    Values are a tree of arrays and whatever may stand in their place. A Python float is given to
    the program like an array, so that a gamma that changes from step to step compiles nothing,
    unless it has an expression of its own. What stands at two places, as a gamma of both classes,
    is given once.
    """

    @partial(jax.jit, static_argnums=1, inline=True)
    def program(given: list[Any], frame: Frame) -> Array:
        leaves = [
            value if place is None else given[place]
            for place, value in zip(frame.places, frame.fixed, strict=True)
        ]
        return function(jax.tree.unflatten(frame.structure, leaves), frame.settings)

    def run(values: Any, settings: Any) -> Array:
        leaves, structure = jax.tree.flatten(values, is_leaf=lambda one: one is None)
        given: list[Any] = []
        known: dict[int, int] = {}
        places: list[int | None] = []
        for leaf in leaves:
            if not _is_given(leaf):
                places.append(None)
                continue
            if id(leaf) not in known:
                known[id(leaf)] = len(given)
                given.append(leaf)
            places.append(known[id(leaf)])
        fixed = tuple(None if _is_given(leaf) else leaf for leaf in leaves)
        result: Array = program(given, Frame(settings, structure, tuple(places), fixed))
        return result

    return run


def _is_given(leaf: Any) -> bool:
    return isinstance(leaf, Array) or (isinstance(leaf, float) and leaf not in EXACT)
