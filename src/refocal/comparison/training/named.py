"""The models that have a name."""

from __future__ import annotations

from collections.abc import Iterable

from refocal.boosting import CLASSIFIERS
from refocal.comparison.errors import CompareError
from refocal.comparison.training.logistic import Logistic
from refocal.comparison.training.models import Model
from refocal.comparison.training.networks import Network, hidden_layers
from refocal.comparison.training.trees import Trees

NAMES = ("mlp", "logistic", *CLASSIFIERS)


def by_name(names: Iterable[str]) -> list[Model]:
    """Return the models with these names, each once.

    Raises:
        CompareError: a name that is not one of `NAMES`.
        ImportError: the package of a model is not installed.
    """
    made: dict[str, Model] = {}
    for name in names:
        if name == "mlp":
            made[name] = Network(name, hidden_layers(64, 32), ours=True)
        elif name == "logistic":
            made[name] = Logistic()
        elif name in NAMES:
            made[name] = Trees(name)
        else:
            raise CompareError(f"there is no model {name!r}. Choose from: {', '.join(NAMES)}.")
    return list(made.values())
