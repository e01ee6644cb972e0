"""What refocal's extras bring, and the one error where something of it is missing or too old.

``pip install refocal`` brings no framework and leaves an installed one alone. What a room needs is
asked for when it is first used; nothing is imported to find out.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

Version = tuple[int, ...]


class Package(NamedTuple):
    """A package of somebody else's that refocal imports.

    Attributes:
        title: as its authors write it.
        extra: of the extras that bring it, the one that is meant for it.
        lowest: the oldest version that works.
        below: the first that is not known to work, or None.
        distribution: its name on the package index, where that differs from the module's.
    """

    title: str
    extra: str
    lowest: Version
    below: Version | None = None
    distribution: str | None = None


PACKAGES = {
    "torch": Package("PyTorch", "torch", (2, 8)),
    "numpy": Package("NumPy", "cpu", (1, 26)),
    "numba": Package("Numba", "cpu", (0, 61)),
    "triton": Package("Triton", "gpu", (3, 3)),
    "pandas": Package("pandas", "compare", (2, 2, 2)),
    "sklearn": Package("scikit-learn", "compare", (1, 6), distribution="scikit-learn"),
    "scipy": Package("SciPy", "compare", (1, 13)),
    "matplotlib": Package("matplotlib", "compare", (3, 9)),
    "jinja2": Package("Jinja", "compare", (3, 1)),
    "python_calamine": Package("python-calamine", "compare", (0, 4), None, "python-calamine"),
    "pyarrow": Package("pyarrow", "parquet", (17,)),
    "optuna": Package("Optuna", "search", (4, 0)),
    "joblib": Package("joblib", "compare", (1, 4)),
    "distributed": Package("Dask", "cluster", (2025, 1)),
    # a new major version of a host may have changed its interface for custom objectives
    "xgboost": Package("XGBoost", "xgboost", (3, 1), (4, 0)),
    "lightgbm": Package("LightGBM", "lightgbm", (4, 5), (5, 0)),
    "catboost": Package("CatBoost", "catboost", (1, 2, 7), (2, 0)),
    "transformers": Package("Transformers", "huggingface", (5, 0)),
    "skorch": Package("skorch", "skorch", (1, 0)),
    "torchvision": Package("torchvision", "torchvision", (0, 21)),
    "jax": Package("JAX", "jax", (0, 6)),
    "keras": Package("Keras", "keras", (3, 8)),
}

# as in pyproject.toml
EXTRAS = {
    "torch": ("torch",),
    "cpu": ("numba", "numpy"),
    "gpu": ("triton",),
    "compare": (
        "torch",
        "numpy",
        "pandas",
        "sklearn",
        "scipy",
        "matplotlib",
        "jinja2",
        "python_calamine",
        "joblib",
    ),
    "parquet": ("pyarrow",),
    "search": ("optuna",),
    "cluster": ("distributed",),
    "xgboost": ("xgboost", "numpy", "sklearn"),
    "lightgbm": ("lightgbm", "numpy", "sklearn"),
    "catboost": ("catboost", "numpy", "sklearn"),
    "huggingface": ("torch", "transformers"),
    "skorch": ("torch", "skorch"),
    "torchvision": ("torch", "torchvision"),
    "jax": ("jax",),
    "keras": ("keras",),
}


class MissingExtra(ImportError):
    """Something that an extra brings is missing, or of a version that does not work.

    Attributes:
        reason: the message without who asked.
    """

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(f"{function}: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        function = str(self).removesuffix(f": {self.reason}")
        return type(self), (function, self.reason)


def need(function: str, extra: str) -> None:
    """Refuses where a package of an extra is missing or of a version that does not work.

    Args:
        function: who asks, as the user called it.
        extra: the extra that brings what is needed.

    Raises:
        MissingExtra: with the package, the version found, the versions that work, what to type.
    """
    for module in EXTRAS[extra]:
        reason = lack(module, extra)
        if reason is not None:
            raise MissingExtra(function, reason)


def imported(function: str, module: str) -> Any:
    """A package, imported, in a version that works; whatever else its extra would bring.

    Args:
        function: who asks, as the user called it.
        module: the package's name in an import.

    Raises:
        MissingExtra: as `need`.
    """
    reason = lack(module)
    if reason is not None:
        raise MissingExtra(function, reason)
    return import_module(module)


def usable(extra: str) -> bool:
    """Whether all of an extra is there, and for Keras what it is set to run on."""
    if extra == "keras" and not is_installed(keras_backend()):
        return False
    return all(lack(module) is None for module in EXTRAS[extra])


def keras_backend() -> str:
    """What Keras runs on: by its variable, by its file, or TensorFlow; without its import."""
    import json
    import os
    from pathlib import Path

    named = os.environ.get("KERAS_BACKEND")
    if named:
        return named
    folder = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        written = json.loads(Path(folder, "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        written = {}
    return str(written.get("backend", "tensorflow")) if isinstance(written, dict) else "tensorflow"


def lack(module: str, extra: str | None = None) -> str | None:
    """Why a package cannot be used, with what to type; None if it can."""
    package = PACKAGES[module]
    if not is_installed(module):
        return not_installed(module, extra)
    found = version(module)
    numbers = as_numbers(found)
    if numbers is None:  # whatever it is, it cannot be compared
        return None
    if numbers >= package.lowest and (package.below is None or numbers < package.below):
        return None
    lowest = dotted(package.lowest)
    if package.below is None:
        return f"{package.title} must be >= {lowest}, got {found}. {install(module, extra)}"
    below = dotted(package.below)
    return (
        f"{package.title} must be >= {lowest} and < {below}, got {found}. Its interface for custom "
        f"objectives is not known to work: pip install '{module}>={lowest},<{below}'"
    )


def missing(function: str, error: ModuleNotFoundError) -> MissingExtra | None:
    """An import's own error in the words of this module; None where it is of another package."""
    module = (error.name or "").partition(".")[0]
    if module not in PACKAGES:
        return None
    return MissingExtra(function, not_installed(module))


def not_installed(module: str, extra: str | None = None) -> str:
    """The words for a package that is missing."""
    return f"{PACKAGES[module].title} is not installed. {install(module, extra)}"


def install(module: str, extra: str | None = None) -> str:
    """What to type."""
    return f"pip install 'refocal[{extra or PACKAGES[module].extra}]'"


def is_installed(module: str) -> bool:
    """Whether a package would be found, without its import."""
    if module in sys.modules:
        return sys.modules[module] is not None
    return _is_found(module)


@cache
def _is_found(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # whatever hides it
        return False


def version(module: str) -> str:
    """The version of an installed package: its own word if it is imported, or its metadata's."""
    own = getattr(sys.modules.get(module), "__version__", None)
    return own if isinstance(own, str) else _version_on_disk(module)


@cache
def _version_on_disk(module: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(PACKAGES[module].distribution or module)
    except metadata.PackageNotFoundError:  # under another name, as xgboost-cpu
        others = metadata.packages_distributions().get(module, [])
    if others:
        return metadata.version(others[0])
    # of a bare folder on the path, its own word
    return str(getattr(import_module(module), "__version__", ""))


def as_numbers(version: str) -> Version | None:
    """2.13.0+cpu as (2, 13, 0); None for what does not begin with numbers."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else None


def dotted(version: Version) -> str:
    """(2, 8) as 2.8."""
    return ".".join(map(str, version))
