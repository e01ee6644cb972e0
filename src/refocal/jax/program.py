"""A checked problem as one compiled program, also where a call is not inside of `jax.jit`.

Operation by operation a call of a few numbers takes 20 to 100 ms with its gradient, nearly all of it
Python. Under a jit of the user's nothing is nested: the program is written into theirs.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array

from refocal.formula.focal import EXACT
from refocal.jax import terms
from refocal.jax.problem import Problem
from refocal.jax.reduction import reduced

# the fields whose numbers a program is given; what the others hold makes it another program
GIVEN = ("logits", "targets", "alpha", "gamma", "weight")


class Frame(NamedTuple):
    """What a program is compiled for, besides the shapes and dtypes of what it is given.

    Attributes:
        settings: the problem without its numbers.
        structure: how the numbers of `GIVEN` and the normalizer lie.
        places: for each of them its place among what is given, or None.
        fixed: its value where it is not given.
        reduction: as in the call.
        axis_name: as in the call.
    """

    settings: Problem
    structure: Any
    places: tuple[int | None, ...]
    fixed: tuple[Any, ...]
    reduction: str
    axis_name: Any


def run(problem: Problem, reduction: str, normalizer: Any, axis_name: Any) -> Array:
    """The reduced loss of a problem.

    Numbers that have no expression of their own are given like arrays, so that a gamma that changes
    from step to step compiles nothing. What stands at two places, as the gamma of both classes, is
    given once.
    """
    if not isinstance(normalizer, (str, Array)):
        normalizer = float(normalizer)
    values = {name: getattr(problem, name) for name in GIVEN}
    leaves, structure = jax.tree.flatten((values, normalizer), is_leaf=lambda one: one is None)
    given: list[Any] = []
    known: dict[int, int] = {}
    places: list[int | None] = []
    for leaf in leaves:
        if not isinstance(leaf, Array) and (not isinstance(leaf, float) or leaf in EXACT):
            places.append(None)
            continue
        if id(leaf) not in known:
            known[id(leaf)] = len(given)
            given.append(leaf)
        places.append(known[id(leaf)])
    fixed = tuple(
        leaf if place is None else None for leaf, place in zip(leaves, places, strict=True)
    )
    settings = problem._replace(**dict.fromkeys(GIVEN))
    return _program(given, Frame(settings, structure, tuple(places), fixed, reduction, axis_name))


@partial(jax.jit, static_argnums=1, inline=True)
def _program(given: list[Any], frame: Frame) -> Array:
    leaves = [
        value if place is None else given[place]
        for place, value in zip(frame.places, frame.fixed, strict=True)
    ]
    values, normalizer = jax.tree.unflatten(frame.structure, leaves)
    problem = frame.settings._replace(**values)
    return reduced(terms.losses(problem), problem, frame.reduction, normalizer, frame.axis_name)
