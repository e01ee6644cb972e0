"""The face: every name is found when it is asked for, by Python as by a type checker."""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import io
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.testing import assert_close

import refocal
import refocal.boosting
import refocal.comparison
from refocal import extras

SOURCE = Path(refocal.__file__).parent
ROOT = Path(__file__).parents[1]
FACES = (refocal, refocal.boosting, refocal.comparison)
every_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)


def imported_for_types(text: str, package: str) -> dict[str, str]:
    """The names that a type checker sees, each with its module, relative to the package."""
    tree = ast.parse(text)
    if "TYPE_CHECKING" in text:
        block = next(
            node
            for node in tree.body
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        statements = block.body
    else:
        statements = tree.body
    return {
        alias.asname or alias.name: (node.module or "").removeprefix(package).removeprefix(".")
        for node in statements
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def types_of(face: ModuleType) -> dict[str, str]:
    page = Path(str(face.__file__))
    stub = page.with_suffix(".pyi")
    return imported_for_types((stub if stub.exists() else page).read_text(), face.__name__)


@every_face
def test_types_see_what_python_finds(face: ModuleType) -> None:
    found = dict(face._ROOMS) | dict.fromkeys(getattr(face, "_MODULES", ()), "")
    assert types_of(face) == found


def test_the_stub_exports_what_the_page_does() -> None:
    tree = ast.parse((SOURCE / "__init__.pyi").read_text())
    exported = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(exported) == refocal.__all__


def test_a_difference_would_be_found() -> None:
    text = "from refocal.losses import a as b\nfrom refocal import losses as losses"
    assert imported_for_types(text, "refocal") == {"b": "losses", "losses": ""}
    text = "if TYPE_CHECKING:\n    from refocal.boosting.hosts.x import A\nfrom os import path"
    assert imported_for_types(text, "refocal.boosting") == {"A": "hosts.x"}


@every_face
def test_every_name_is_in_its_room(face: ModuleType) -> None:
    for name, room in face._ROOMS.items():
        module = importlib.import_module(f"{face.__name__}.{room}")
        assert getattr(face, name) is getattr(module, name)


def test_every_room_is_an_attribute() -> None:
    rooms = {
        path.stem
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(refocal._MODULES) == {room for room in rooms if not room.startswith("__")}
    for room in refocal._MODULES:
        assert getattr(refocal, room) is sys.modules[f"refocal.{room}"]


@every_face
def test_a_wrong_name_is_an_attribute_error(face: ModuleType) -> None:
    assert not hasattr(face, "nonsense")
    for name in ("nonsense", "__wrapped__", "_private", ""):
        with pytest.raises(AttributeError, match=f"^module '{face.__name__}' has no attribute"):
            getattr(face, name)
    near = next(iter(face._ROOMS))
    with pytest.raises(AttributeError, match=f"Did you mean: '{near}'"):
        getattr(face, near[:-1])
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec(f"from {face.__name__} import nonsense")


@every_face
def test_dir_lists_what_can_be_used(face: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dir(face)
    assert {"__doc__", "__name__", *face.__all__, *face._ROOMS} <= set(names)
    assert not {name for name in names if name.startswith("_") and not name.startswith("__")}
    assert all(hasattr(face, name) for name in names)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert {"compare", "FocalXGBClassifier", "read_table"}.isdisjoint(dir(face))
    assert all(hasattr(face, name) for name in dir(face))  # as help() asks


def test_help_and_star() -> None:
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        help(refocal)
    assert "sigmoid_focal_loss(logits" in page.getvalue()
    names: dict[str, object] = {}
    exec("from refocal import *", names)
    assert set(refocal.__all__) < set(names)
    assert names["SigmoidFocalLoss"] is refocal.losses.SigmoidFocalLoss


def test_a_reload_finds_the_same() -> None:
    before = refocal.sigmoid_focal_loss
    assert importlib.reload(refocal).sigmoid_focal_loss is before
    assert refocal.SoftmaxFocalLoss is sys.modules["refocal.losses"].SoftmaxFocalLoss


@pytest.mark.parametrize("name", [name for name in refocal.__all__ if name.endswith("FocalLoss")])
def test_modules_and_functions_are_pickled(name: str) -> None:
    loss = getattr(refocal, name)()
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert type(twin) is type(loss)
        assert repr(twin) == repr(loss)
    assert pickle.loads(pickle.dumps(getattr(refocal, name))) is type(loss)
    function = refocal.sigmoid_focal_loss
    assert pickle.loads(pickle.dumps(function)) is function


def forget(*names: str) -> None:
    """As before the first access of these names of the face."""
    for name in names:
        vars(refocal).pop(name, None)


def test_the_first_access_may_be_compiled() -> None:
    """In a full graph, and compiled once: what the access stores must not invalidate it."""
    counter = CompileCounter()
    z, targets = torch.randn(4, 3), torch.rand(4, 3)

    @torch.compile(fullgraph=True, backend=counter)
    def loss(z: torch.Tensor) -> torch.Tensor:
        sigmoid = refocal.sigmoid_focal_loss(z, targets)
        return sigmoid + refocal.losses.softmax_focal_loss(z, targets)

    forget("sigmoid_focal_loss", "losses")
    first, second = loss(z), loss(z)
    expected = refocal.sigmoid_focal_loss(z, targets) + refocal.softmax_focal_loss(z, targets)
    assert_close(first, expected)
    assert_close(second, first, rtol=0, atol=0)
    assert counter.frame_count == 1


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_may_ask_at_once() -> None:
    code = """
import threading, refocal
found, gate = [], threading.Barrier(8)
def ask(name):
    gate.wait()
    found.append((name, getattr(refocal, name)))
names = ["sigmoid_focal_loss", "softmax_posterior", "linear", "boosting"] * 2
threads = [threading.Thread(target=ask, args=(name,)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 8 and all(value is getattr(refocal, name) for name, value in found)
"""
    assert run(code) == ""


# ---------------------------------------------------------------------------------------------
# a type checker


def test_what_a_type_checker_says() -> None:
    """In the cache of `make types`, which has looked at torch already."""
    pytest.importorskip("mypy")
    page = ROOT / "tests" / "typing" / "user.py"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict"),
            *("--config-file", str(ROOT / "pyproject.toml"), str(page)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------
# what is missing, and what is too old

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
HIDE = """
import sys, importlib.abc
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def test_no_framework_is_a_dependency() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] == []


def test_extras_are_those_of_the_package() -> None:
    written = {
        extra: sorted(requirement.partition(";")[0] for requirement in requirements)
        for extra, requirements in EXTRAS.items()
    }

    def requirement(module: str) -> str:
        package = extras.PACKAGES[module]
        return f"{package.distribution or module}>={extras.dotted(package.lowest)}"

    found = {extra: sorted(map(requirement, modules)) for extra, modules in extras.EXTRAS.items()}
    assert found == written
    for module, package in extras.PACKAGES.items():
        assert module in extras.EXTRAS[package.extra]


@pytest.mark.parametrize("way", ["hidden", "None"])
@pytest.mark.parametrize(
    "name", ["sigmoid_focal_loss", "SoftmaxFocalLoss", "losses", "sigmoid_posterior", "compare"]
)
def test_without_torch_the_error_says_what_to_type(name: str, way: str) -> None:
    hide = "import sys; sys.modules['torch'] = None"
    if way == "hidden":
        hide = HIDE.format(hidden={"torch"})
    extra = "compare" if name == "compare" else "torch"
    code = f"""
{hide}
import refocal
try:
    refocal.{name}
except ImportError as error:
    print(error)
"""
    way_out = f"pip install 'refocal[{extra}]'"
    assert run(code) == f"refocal.{name}: PyTorch is not installed. {way_out}\n"


def test_help_without_torch() -> None:
    """What is listed can be used, and the page can be read."""
    code = (
        HIDE.format(hidden={"torch"})
        + """
import pydoc, refocal
assert len(pydoc.render_doc(refocal)) > 1000
assert all(hasattr(refocal, name) for name in dir(refocal))
print(*sorted({*refocal._ROOMS, *refocal._MODULES} & {*dir(refocal)}))
"""
    )
    alone = {name for name, extra in refocal._MODULES.items() if extra is None}
    assert set(run(code).split()) - {"jax"} == alone


def test_boosters_work_without_torch() -> None:
    """Objective, metrics and every classifier whose host is there, posterior included."""
    code = (
        HIDE.format(hidden={"torch"})
        + """
import numpy as np
import refocal
from refocal import boosting
rng = np.random.default_rng(0)
X = rng.normal(size=(400, 3))
y = (X[:, 0] + rng.normal(size=400) > 1.5).astype(int)
objective = boosting.SigmoidFocalObjective()
gradient, hessian = objective(y, np.zeros(len(y)))
assert np.isfinite(gradient).all() and (hessian > 0).all()
assert np.allclose(objective.posterior(np.array([-1.5443]))[:, 1], 0.045, atol=1e-4)
boosting.SoftmaxFocalObjective()(y, np.zeros((400, 2)))
large = 300_000
objective(np.resize(y, large), np.zeros(large, np.float32))
for name in ("FocalXGBClassifier", "FocalLGBMClassifier", "FocalCatBoostClassifier"):
    if name in dir(boosting):
        model = getattr(boosting, name)(n_estimators=5).fit(X, y)
        assert model.predict_proba(X).shape == (400, 2), name
        print(name)
assert "torch" not in sys.modules
"""
    )
    assert set(run(code).split()) <= set(refocal.boosting._ROOMS)


OLD = {
    "torch": ("2.7.1", "sigmoid_focal_loss", "refocal: PyTorch must be >= 2.8, got 2.7.1. pip"),
    "torch ": ("2.7.1+cu126", "losses", "got 2.7.1+cu126. pip install 'refocal[torch]'"),
    "pandas": ("2.1.4", "compare", "refocal.compare: pandas must be >= 2.2.2, got 2.1.4. pip"),
    "sklearn": ("1.5.2", "comparison.read_table", "scikit-learn must be >= 1.6, got 1.5.2. pip"),
    "lightgbm": ("4.4.0", "boosting.FocalLGBMClassifier", ">= 4.5 and < 5.0, got 4.4.0"),
    "xgboost": ("4.0.0", "boosting.FocalXGBClassifier", ">= 3.1 and < 4.0, got 4.0.0"),
}


@pytest.mark.parametrize(
    ("module", "version", "name", "message"),
    [(module.strip(), *rest) for module, rest in OLD.items()],
    ids=OLD,
)
def test_an_old_version_says_what_is_needed(
    module: str, version: str, name: str, message: str
) -> None:
    pytest.importorskip(module)
    code = f"""
import {module}
{module}.__version__ = {version!r}
import refocal, refocal.boosting
try:
    refocal.{name}
except ImportError as error:
    print({message!r} in str(error) or error)
"""
    assert run(code) == "True\n"


def test_one_package_is_asked_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plot needs matplotlib, and not whatever else its extra would bring."""
    pytest.importorskip("matplotlib").use("Agg")
    logits = torch.tensor([-2.0, 0.5, 1.5], dtype=torch.float64)
    found = refocal.budget.gradient_budget(logits, torch.tensor([0, 1, 1]))
    monkeypatch.setattr(extras, "is_installed", lambda name: name == "matplotlib")
    assert len(found.plot().lines) == 3
    monkeypatch.setattr(extras, "is_installed", lambda name: False)
    with pytest.raises(extras.MissingExtra, match="matplotlib is not installed"):
        found.plot()


@pytest.mark.parametrize("module", ["refocal", "refocal.boosting"])
def test_listing_names_imports_nothing(module: str) -> None:
    """Not even a host whose distribution has another name, whose version is in its metadata."""
    heavy = ("torch", "pandas", "sklearn", "xgboost", "lightgbm", "catboost")
    code = f"""
import importlib, sys
dir(importlib.import_module({module!r}))
print(*sorted(set({heavy!r}) & set(sys.modules)))
"""
    assert run(code) == "\n"


def test_versions_are_numbers() -> None:
    for text, numbers in (
        ("2.13.0+cpu", (2, 13, 0)),
        ("2.9.0a0+git1234", (2, 9, 0)),
        ("17.0.0", (17, 0, 0)),
        ("v1", None),
        ("", None),
    ):
        assert extras.as_numbers(text) == numbers


def test_an_unknown_version_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "nightly")
    assert extras.lack("torch") is None


def test_the_error_survives_a_process() -> None:
    error = pickle.loads(pickle.dumps(extras.MissingExtra("f", "X is not installed.")))
    assert (str(error), error.reason) == ("f: X is not installed.", "X is not installed.")
