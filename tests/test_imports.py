"""Imports run one way, and `import refocal` stays light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import refocal

SOURCE = Path(refocal.__file__).parent

# The rooms of design.md; a room may look into its own tier and those above it in this list.
TIERS = (
    {"formula", "files", "torch_state"},
    {"links", "arguments", "problem", "inverse", "overrides"},
    {"gate", "posterior", "reduction", "kernels", "ranks", "probabilities"},
    {"losses", "linear", "variants", "modules"},
    {"metrics", "boosting", "parameters", "budget"},
    {
        "comparison",
        "integrations",
        "data",
        "gpu_check",
        "commands",
        "__main__",
        "__init__",
    },
)
TIER = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}

# imported only inside the one module that needs them, when it is used
HEAVY = {
    "catboost",
    "jinja2",
    "lightgbm",
    "matplotlib",
    "numba",
    "pandas",
    "scipy",
    "sklearn",
    "triton",
    "xgboost",
}


def room_of(path: Path) -> str:
    """formula.py -> formula, kernels/eager.py -> kernels."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(text: str, package: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The rooms of refocal that a module's text imports, anywhere in it, with line numbers."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = [*start, *(node.module or "").split(".")] if node.module else [*start]
            names = [[*module, *alias.name.split(".")] for alias in node.names]
        else:
            continue
        for parts in names:
            if parts[0] == "refocal":
                room = parts[1] if len(parts) > 1 else "__init__"
                # a name that the package hands on, not a room
                yield room if room in TIER else "__init__", node.lineno


def violations(text: str, room: str, package: tuple[str, ...] = ("refocal",)) -> list[str]:
    return [
        f"line {line}: {room} looks into {other}"
        for other, line in imported_rooms(text, package)
        if TIER[other] > TIER[room]
    ]


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path: Path) -> None:
    assert room_of(path) in TIER, "a new room: give it a tier"
    package = ("refocal", *path.relative_to(SOURCE).parts[:-1])
    assert violations(path.read_text(), room_of(path), package) == []


@pytest.mark.parametrize(
    ("text", "room"),
    [
        ("import refocal.losses", "links"),
        ("from refocal import posterior", "formula"),
        ("from refocal.kernels.eager import bound", "arguments"),
        ("def late():\n    from refocal import boosting", "losses"),
        ("from .kernels import eager", "formula"),
        ("from . import losses", "reduction"),
        ("from refocal import sigmoid_focal_loss", "losses"),
        ("import refocal", "kernels"),
    ],
)
def test_a_wrong_import_is_found(text: str, room: str) -> None:
    assert len(violations(text, room)) == 1


def test_a_right_import_is_not() -> None:
    text = "from refocal import arguments, links\nimport torch\nfrom refocal.formula import FAR"
    assert violations(text, "kernels") == []
    assert violations("from ..formula import FAR", "kernels", ("refocal", "kernels")) == []


def loaded_after(statement: str, names: set[str]) -> set[str]:
    """Which of these packages a fresh interpreter holds after a statement."""
    script = f"import sys\n{statement}\nprint(*sorted({names!r} & set(sys.modules)))"
    # without coverage, which imports packages of its own there
    quiet = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=quiet
    )
    return set(run.stdout.split())


def test_import_is_light() -> None:
    """Nothing but torch and what torch itself brings."""
    brought = loaded_after("import torch", HEAVY)
    assert loaded_after("import refocal", HEAVY) <= brought


def test_a_heavy_import_would_be_found() -> None:
    assert loaded_after("import json.decoder", {"json", "decimal"}) == {"json"}


def top_level_imports(text: str) -> set[str]:
    """The packages that importing a module imports at once."""
    statements = ast.parse(text).body
    plain = {
        alias.name.split(".")[0]
        for node in statements
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return plain | {
        (node.module or "").split(".")[0]
        for node in statements
        if isinstance(node, ast.ImportFrom) and not node.level
    }


def test_the_core_needs_nothing_but_torch() -> None:
    core = [path for path in modules() if TIER.get(room_of(path), len(TIERS)) <= TIER["losses"]]
    core = [path for path in core if room_of(path) != "kernels"]
    allowed = {*sys.stdlib_module_names, "torch", "refocal"}
    for path in core:
        assert top_level_imports(path.read_text()) <= allowed, path
    assert top_level_imports("import numpy.random\nfrom torch import nn") == {"numpy", "torch"}


def test_formula_does_not_know_torch() -> None:
    assert top_level_imports((SOURCE / "formula" / "focal.py").read_text()) <= set(
        sys.stdlib_module_names
    )


def test_the_oracle_is_independent() -> None:
    """What judges the library shares no code with it, and no tensors."""
    packages = top_level_imports((Path(__file__).parent / "oracle.py").read_text())
    assert packages - set(sys.stdlib_module_names) == {"mpmath", "numpy", "scipy"}
