"""No pickle is loaded, nothing goes over a network, nothing is written outside its folder."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

import refocal

SOURCE = Path(refocal.__file__).parent
MATPLOTLIB = (matplotlib.get_cachedir(), matplotlib.get_configdir())
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


# text written out of what stands in that file: kernels with their constants as literals
OWN_TEXT = {"kernels/gpu/operations.py": ["exec"]}
# joblib, which hands the trainings of a run to the user's own workers and reads no file
ALLOWED = OWN_TEXT | {"comparison/training/spread.py": ["joblib"]}


def unsafe(text: str) -> list[str]:
    """Imports of what reads pickles, and calls that may read one or run text."""
    found = []
    for node in ast.walk(ast.parse(text)):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        found += [one for one in modules if one.split(".")[0] in PICKLERS]
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            found.append(node.func.id)
        if not isinstance(node.func, ast.Attribute):
            continue
        call = f"{ast.unparse(node.func.value)}.{node.func.attr}"
        settings = {one.arg: ast.unparse(one.value) for one in node.keywords}
        if call == "torch.load" and settings.get("weights_only") != "True":
            found.append(call)
        # False is NumPy's default, and is asked to be written down
        if call in ("np.load", "numpy.load") and settings.get("allow_pickle") != "False":
            found.append(call)
        if node.func.attr == "read_pickle":
            found.append(call)
    return found


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_no_pickle_is_loaded(path: Path) -> None:
    assert unsafe(path.read_text()) == ALLOWED.get(path.relative_to(SOURCE).as_posix(), [])


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "def late():\n    import dill.source",
        "pd.read_pickle(path)",
        "eval(text)",
    ],
)
def test_a_pickle_would_be_found(text: str) -> None:
    assert len(unsafe(text)) == 1
    assert unsafe("np.load(path, allow_pickle=False)\ntorch.load(p, weights_only=True)") == []


# An audit hook sees every opened file and every socket of the process, whoever asks for it. It
# cannot be taken away again, so this is a process of its own.
WATCHED = """
import json, os, sys

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PLACES = {"os.mkdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
          "os.remove": 1, "os.rmdir": 1, "os.chmod": 1}
written, network = set(), set()

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        by_mode = isinstance(mode, str) and set(mode) & set("wax+")
        if isinstance(path, (str, bytes)) and (by_mode or flags & WRITES):
            written.add(os.path.realpath(os.fsdecode(path)))
    elif event in PLACES:
        for path in arguments[: PLACES[event]]:
            if isinstance(path, (str, bytes)):
                written.add(os.path.realpath(os.fsdecode(path)))
    elif event.startswith(("socket.", "urllib.", "http.client", "ftplib.", "smtplib.")):
        network.add(event)
        raise RuntimeError(f"there is no network: {event}")

sys.addaudithook(watch)
"""
COMPARE = """
from refocal.__main__ import main
status = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([status, sorted(written), sorted(network)], file)
"""


def watched(tmp_path: Path, code: str, *arguments: str) -> tuple[int, list[str], list[str]]:
    """Runs code under the hook: its status, the files it wrote, what it asked of the network."""
    notes, temporary = tmp_path / "notes.json", tmp_path / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = {
        # torch leaves the place of its compiler's cache there, which is the temporary folder
        **{name: value for name, value in os.environ.items() if "INDUCTOR" not in name},
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(temporary),
    }
    subprocess.run(
        [sys.executable, "-B", "-c", WATCHED + code, str(notes), *arguments],
        env=environment,
        cwd=tmp_path,
        check=True,
        timeout=1800,
        capture_output=True,
    )
    status, written, network = json.loads(notes.read_text())
    return status, written, network


def test_a_comparison_writes_to_its_folder_alone_and_asks_no_network(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{k % 7},{'ab'[k % 2]},{int(k % 11 < 2)}" for k in range(300)]
    table.write_text("\n".join(["x,<script>alert(1)</script>,y", *rows]))
    arguments = ["compare", str(table), "--target", "y", "--model", "logistic", "--quick"]
    out = tmp_path / "reports" / "out"
    status, written, network = watched(tmp_path, COMPARE, *arguments, "--out", str(out))
    assert status == 0
    assert network == []
    places = (
        tmp_path / "reports",
        tmp_path / "temporary",
        tmp_path / "notes.json",  # the hook's own
        Path(os.devnull),
    )
    strangers = [
        path
        for path in map(Path, written)
        if not any(path.is_relative_to(place) for place in places)
        and not is_cache(path)
        # whether the folder can be made is tried beside it, with one of another name
        and not (path.parent == tmp_path and path.name.startswith(".refocal-"))
    ]
    assert strangers == []
    page = (out / "report.html").read_text()
    assert "<script>alert" not in page


def is_cache(path: Path) -> bool:
    """Compiled kernels, beside their source or where NUMBA_CACHE_DIR says; matplotlib's fonts."""
    places = [os.environ.get("NUMBA_CACHE_DIR"), *MATPLOTLIB]
    beside = path.is_relative_to(SOURCE) and "__pycache__" in path.parts
    return beside or any(path.is_relative_to(place) for place in places if place)


LEAK = """
import socket
try:
    socket.create_connection(("127.0.0.1", 9))
except RuntimeError:
    pass
open("elsewhere.txt", "w").close()
with open(sys.argv[1], "w") as file:
    json.dump([0, sorted(written), sorted(network)], file)
"""


def test_a_leak_would_be_seen(tmp_path: Path) -> None:
    _, written, network = watched(tmp_path, LEAK)
    assert str(tmp_path / "elsewhere.txt") in written
    assert network
