"""The models that have a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from refocal import extras
from refocal.boosting import CLASSIFIERS
from refocal.comparison.errors import CompareError

if TYPE_CHECKING:
    from refocal.comparison.training.models import Model

NAMES = ("mlp", "logistic", *CLASSIFIERS)


def check_names(names: Iterable[str]) -> None:
    """Refuse names that `by_name` would refuse, before anything of the models is imported.

    Raises:
        CompareError: a name that is not one of `NAMES`.
        MissingExtra: the package of a model is not installed, or too old.
    """
    for name in names:
        if name not in NAMES:
            raise CompareError(f"there is no model {name!r}. Choose from: {', '.join(NAMES)}.")
        if name in CLASSIFIERS:
            extras.need(CLASSIFIERS[name], name)


def by_name(names: Iterable[str]) -> list[Model]:
    """Return the models with these names, each once.

    Raises:
        CompareError: a name that is not one of `NAMES`.
        MissingExtra: the package of a model is not installed, or too old.
    """
    names = list(names)
    check_names(names)
    from refocal.comparison.training.logistic import Logistic
    from refocal.comparison.training.networks import Network, hidden_layers
    from refocal.comparison.training.trees import Trees

    made: dict[str, Model] = {}
    for name in names:
        if name == "mlp":
            made[name] = Network(name, hidden_layers(64, 32), ours=True)
        elif name == "logistic":
            made[name] = Logistic()
        else:
            made[name] = Trees(name)
    return list(made.values())
