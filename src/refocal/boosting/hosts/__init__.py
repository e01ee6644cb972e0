"""One file per booster: its record `HOST`, its classifier, and what is particular to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from refocal import extras

# What no host is told by name, with the way out; a host adds its own, or says more of one.
OBJECTIVE = "The objective is the focal loss; choose alpha and gamma."
TARGETS = "It follows from y."
ROUNDS = "Use n_estimators=."
DECIDED = {
    "objective": OBJECTIVE,
    "boost_from_average": "Choose the start with start=.",
    "num_class": TARGETS,
    "num_boost_round": ROUNDS,
    "num_trees": ROUNDS,
    "scale_pos_weight": "Use class_weight= or alpha=.",
}


BAGGED = 0.8  # of the rows, for each tree of a comparison


class Words(NamedTuple):
    """How a host calls what `refocal.compare` sets.

    Attributes:
        fixed: one thread, no output, and a tree grown on a part of the rows.
        size: of a tree.
        balanced: whether that size is a depth, and not a number of leaves.
        l2: what holds leaves back.
        seed: of the bagging.
        least_hessian: of a leaf, and how much of it the host asks for by itself; None without one.
    """

    fixed: Mapping[str, Any]
    size: str
    balanced: bool
    l2: str
    seed: str
    least_hessian: tuple[str, float] | None = None


@dataclass(frozen=True)
class Host:
    """What is known of a boosting library.

    Attributes:
        package: what is imported and installed.
        name: as its makers write it.
        refused: parameters that are decided here or that it would ignore beside the focal loss,
            by their first names, with the way out.
        words: how it calls what `refocal.compare` sets.
        first_names: every name that it reads beside a custom objective, and the first for the same
            parameter; None for a host that refuses what it does not know.
        large_sparse: whether it takes sparse tables with 64-bit indices.
        several_classes: whether it trains more than two.
        cross_entropy: what `refocal.compare` trains at a gamma of 0; None for the classifier.
    """

    package: str
    name: str
    refused: Mapping[str, str]
    words: Words
    first_names: Callable[[Any], Mapping[str, str]] | None = None
    large_sparse: bool = True
    several_classes: bool = True
    cross_entropy: Callable[..., Any] | None = None

    def load(self, function: str) -> Any:
        """Import the library, in a version whose interface is known.

        Raises:
            MissingExtra: it is not installed, or in another version.
        """
        return extras.imported(function, self.package)


def room_of(function: str, package: str) -> Any:
    """Import the module of this package that is of a boosting library.

    Raises:
        MissingExtra: it is not installed, or scikit-learn, which every classifier needs.
    """
    extras.need(function, package)
    return import_module(f"{__name__}.{package}")
