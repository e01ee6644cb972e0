"""Imports run one way, and nothing is loaded before it is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import refocal

SOURCE = Path(refocal.__file__).parent

# A room may look into its own tier and those above it in this list.
TIERS = (
    {"formula", "files", "extras", "lazy", "messages", "torch_state"},
    {"links", "arguments", "problem", "inverse", "overrides"},
    {"gate", "posterior", "reduction", "kernels", "ranks", "probabilities"},
    {"losses", "linear", "variants", "modules", "jax", "keras"},
    {"metrics", "boosting", "parameters", "budget"},
    {"data"},
    {"gpu_check", "integrations", "warm_up"},
    {"comparison"},
    {"commands"},
    {"__main__", "__init__"},
)
TIER = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}

# imported only inside the one module that needs them, when it is used
HEAVY = {
    "catboost",
    "jax",
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
                if room == "__version__":  # a constant, which costs nothing
                    continue
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


# The wings of the comparison, in the same order: one may look into its own tier and those above.
WINGS = (
    {"errors", "results", "progress", "drawing"},
    {"data"},
    {"training", "plan", "folder"},
    {"measuring", "curves"},
    {"report"},
    {"experiment", "diagnosis", "api", "script", "__init__"},
)
WING = {wing: tier for tier, wings in enumerate(WINGS) for wing in wings}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("refocal", *parts)).removesuffix(".__init__")


def imported_modules(text: str, known: set[str]) -> set[str]:
    """The modules that a text imports, anywhere in it but where type checkers alone look."""

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in known else node.module
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return set(visit(ast.parse(text)))


def graph() -> dict[str, set[str]]:
    texts = {module_name(path): path.read_text() for path in modules()}
    return {name: imported_modules(text, set(texts)) - {name} for name, text in texts.items()}


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules of which each imports the next and the last the first; none where there are none."""
    open_: list[str] = []
    done: set[str] = set()

    def search(name: str) -> list[str]:
        if name in open_:
            return open_[open_.index(name) :]
        if name in done:
            return []
        open_.append(name)
        for other in sorted(edges[name]):
            found = search(other)
            if found:
                return found
        done.add(open_.pop())
        return []

    return next((found for name in sorted(edges) if (found := search(name))), [])


def test_no_module_comes_back_to_itself() -> None:
    """Late imports inside of functions count: what needs them is a circle all the same."""
    assert circle(graph()) == []
    text = "def late():\n    from refocal.b import x"
    assert imported_modules(text, {"refocal", "refocal.b"}) == {"refocal.b"}
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d"]


def test_nothing_inside_climbs_back_to_the_face() -> None:
    users = {name for name, others in graph().items() if "refocal" in others}
    assert users == {"refocal.__main__"}


def test_the_wings_of_the_comparison_run_one_way() -> None:
    def wing(name: str) -> str:
        return name.split(".")[2] if name.count(".") > 1 else "__init__"

    edges = {
        (wing(name), wing(other))
        for name, others in graph().items()
        for other in others
        if name.startswith("refocal.comparison") and other.startswith("refocal.comparison")
    }
    assert {wing for edge in edges for wing in edge} <= set(WING), "a new wing: give it a tier"
    assert [(one, other) for one, other in sorted(edges) if WING[other] > WING[one]] == []


def loaded_after(statement: str, names: set[str]) -> set[str]:
    """Which of these packages a fresh interpreter holds after a statement."""
    script = f"import sys\n{statement}\nprint(*sorted({names!r} & set(sys.modules)))"
    # without coverage, which imports packages of its own there
    quiet = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=quiet
    )
    return set(run.stdout.split())


def test_the_face_loads_nothing() -> None:
    """No framework, and of Python next to nothing: it is imported in milliseconds."""
    assert loaded_after("import refocal", {"torch", "numpy", "typing", "re", *HEAVY}) == set()


@pytest.mark.parametrize(
    "room",
    ["messages", *(f"arguments.{one}" for one in ("adapter", "values", "settings", "wording"))],
)
def test_checks_that_know_no_framework(room: str) -> None:
    """Another framework takes them as they are; settings are refused without any."""
    assert loaded_after(f"import refocal.{room}", {"torch", "numpy", *HEAVY}) == set()


# a command line that is answered or refused at once, and what it may load of these packages
ENTRIES: dict[str, tuple[str, set[str]]] = {
    "help": ("--help", set()),
    "version": ("--version", set()),
    "compare help": ("compare --help", set()),
    "plot help": ("plot --help", set()),
    "wrong option": ("compare t.csv --target y --seed x", set()),
    "no target": ("compare t.csv", set()),
    "no such model": ("compare t.csv --target ended --model forest", {"numpy"}),
    "no such file": ("compare missing.csv --target ended", {"numpy", "pandas"}),
    "no such column": ("compare t.csv --target missing", {"numpy", "pandas"}),
    "one class": ("compare t.csv --target ended", {"numpy", "pandas"}),
    "no such logits": ("diagnose missing.npz", {"numpy", "pandas"}),
    "no array of that name": ("diagnose x.npz", {"numpy", "pandas"}),
    "no logits at all": ("diagnose t.csv", {"numpy", "pandas"}),
    "no such folder": ("report missing", {"numpy", "pandas"}),
    "no such results": ("report .", {"numpy", "pandas"}),
}
COMMAND = """
import contextlib, io, sys
from refocal.__main__ import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    assert main({arguments!r}) == 2
"""


@pytest.mark.parametrize(("line", "allowed"), ENTRIES.values(), ids=ENTRIES)
def test_what_a_command_loads(
    line: str, allowed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help, and what is refused, wait for no framework."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{row},no\n" for row in range(100))
    (tmp_path / "t.csv").write_text(f"amount,ended\n{rows}")
    (tmp_path / "results.json").write_text('{"schema": "another"}')
    np.savez(tmp_path / "x.npz", y=np.zeros(3))
    loaded = loaded_after(COMMAND.format(arguments=line.split()), {"torch", "numpy", *HEAVY})
    assert loaded <= allowed


def test_what_the_boosters_load() -> None:
    """NumPy; torch, Numba and the hosts only where they are used."""
    statement = """
import refocal.boosting
refocal.boosting.SigmoidFocalObjective()([0, 1], [0.0, 0.0])
"""
    assert loaded_after(statement, {"torch", "numpy", *HEAVY}) == {"numpy"}


def test_jax_needs_nothing_of_torch() -> None:
    statement = """
import jax.numpy as jnp
import refocal.jax
refocal.jax.softmax_posterior(jnp.ones((2, 3)))
refocal.jax.sigmoid_focal_loss(jnp.ones(3), jnp.ones(3, bool))
"""
    assert loaded_after(statement, {"torch", *HEAVY}) <= {"jax", "scipy"}  # JAX brings SciPy


def test_the_losses_are_light() -> None:
    """Nothing but torch and what torch itself brings."""
    brought = loaded_after("import torch", HEAVY)
    assert loaded_after("import refocal; refocal.sigmoid_focal_loss", HEAVY) <= brought


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
    core = [path for path in core if room_of(path) not in ("kernels", "formula", "jax", "keras")]
    allowed = {*sys.stdlib_module_names, "torch", "refocal"}
    for path in core:
        assert top_level_imports(path.read_text()) <= allowed, path
    assert top_level_imports("import numpy.random\nfrom torch import nn") == {"numpy", "torch"}


def test_formula_does_not_know_torch() -> None:
    allowed = {*sys.stdlib_module_names, "refocal"}
    for path in (SOURCE / "formula").glob("*.py"):
        own = {
            "in_torch.py": {"torch"},
            "in_numpy.py": {"numpy"},
            "in_jax.py": {"jax"},
            "in_keras.py": {"keras"},
        }.get(path.name, set())
        assert top_level_imports(path.read_text()) <= allowed | own, path


def test_the_oracle_is_independent() -> None:
    """What judges the library shares no code with it, and no tensors."""
    packages = top_level_imports((Path(__file__).parent / "oracle.py").read_text())
    assert packages - set(sys.stdlib_module_names) == {"mpmath", "numpy", "scipy"}
