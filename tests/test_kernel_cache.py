"""Kernels that several processes have compiled into one cache stay the kernels they are."""

import compileall
import os
import shutil
import subprocess
import sys
from pathlib import Path
from shutil import ignore_patterns

import pytest

import refocal

pytest.importorskip("numba")

# Gradients of both backends for "0" (attached) and "1" (detached modulator), in the order given.
SCRIPT = """
import sys, torch
from torch.testing import assert_close
from refocal import softmax_focal_loss
z = torch.randn(5, 14, generator=torch.Generator().manual_seed(0)).requires_grad_()
y = torch.arange(5)
for detached in sys.argv[1]:
    found = [
        torch.autograd.grad(
            softmax_focal_loss(z, y, detach_modulator=detached == "1", impl=impl), z
        )[0]
        for impl in ("cpu", "eager")
    ]
    assert_close(*found)
"""


def test_kernels_of_two_processes_do_not_share_their_parts(tmp_path):
    """Each process numbers what it compiles from 1, and the linker keeps the first of a name."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for order in ("0", "1", "01", "10"):
        subprocess.run([sys.executable, "-c", SCRIPT, order], env=environment, check=True)


FORK = """
import os, sys
import refocal.kernels.cpu.compiled.softmax
script, in_child, in_parent = sys.argv[1:]
child = os.fork()
sys.argv[1:] = [in_parent if child else in_child]
exec(script)
if child:
    sys.exit(os.waitpid(child, 0)[1])
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_nor_do_those_of_a_process_and_its_fork(tmp_path):
    """What both compile afterwards has other parts, under numbers that both count on from."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    forked = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, SCRIPT, "0", "1"]
    subprocess.run(forked, env=environment, check=True)
    for order in ("01", "10"):
        subprocess.run([sys.executable, "-c", SCRIPT, order], env=environment, check=True)


CALL = """
import torch
from refocal import sigmoid_focal_loss
from refocal.kernels.cpu.compiled import machine
machine.LONG = {long}
z = torch.tensor([0.0, 1.0], requires_grad=True)
for gamma in (2.0, 1.5):
    sigmoid_focal_loss(z, torch.tensor([0.0, 1.0]), gamma=gamma, impl="cpu").backward()
print(machine.hits, machine.hits + machine.misses)
"""


def called(folder, *, long: float, before: str = "", **environment: str) -> tuple[str, list[int]]:
    """What two calls in a process of their own write to stderr, and how much they find on disk.

    What is to run ``before`` them is Python, too.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "REFOCAL_QUIET"}
    done = subprocess.run(
        [sys.executable, "-c", before + CALL.format(long=long)],
        env=inherited | {"NUMBA_CACHE_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr, [int(word) for word in done.stdout.split()]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A cache that two calls have filled, and what they said."""
    folder = tmp_path_factory.mktemp("cache")
    return folder, *called(folder, long=0.0)


def test_a_first_call_that_takes_long_says_once_that_it_is_kept_and_where(full):
    folder, said, (hits, _) = full
    assert hits == 0
    assert said.count("\n") == 1
    assert said.startswith("refocal: a CPU kernel was compiled, which took ")
    assert f"kept in {folder}" in said
    assert "refocal warm-up" in said
    assert "REFOCAL_QUIET=1" in said


def test_a_second_process_has_nothing_to_say(full):
    said, (hits, number) = called(full[0], long=0.0)
    assert (said, hits) == ("", number)


@pytest.mark.parametrize("keywords", [{"REFOCAL_QUIET": "1", "long": 0.0}, {"long": 1e9}])
def test_nothing_is_said_where_it_was_quick_or_unwanted(tmp_path, keywords):
    said, (hits, _) = called(tmp_path, **keywords)
    assert (said, hits) == ("", 0)


@pytest.mark.parametrize("kind", ["nbc", "nbi"])
@pytest.mark.parametrize("left", [0, 100])
def test_a_file_that_was_cut_off_is_written_anew(full, kind, left):
    """Compiled code or its index, as a full disk or a machine that went down leaves them."""
    folder = full[0]
    files = list(folder.rglob(f"*.{kind}"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:left])
    _, (hits, number) = called(folder, long=1e9)
    assert hits == 0
    assert called(folder, long=0.0) == ("", [number, number])


INSTALLED_ANEW = """
import os
import refocal.losses
os.utime(refocal.__path__[0] + "/kernels/cpu/frame.py")
"""


def test_what_an_older_process_makes_of_newer_sources_is_not_kept(tmp_path):
    """It has loaded some of the older ones: a mixture, which the newer's name must not find."""
    copied = tmp_path / "source"
    shutil.copytree(Path(refocal.__file__).parent, copied / "refocal")
    folder = tmp_path / "cache"
    environment = {"PYTHONPATH": str(copied)}
    said, (hits, _) = called(folder, long=0.0, before=INSTALLED_ANEW, **environment)
    assert hits == 0
    assert "not kept, as refocal has changed on disk since it was imported" in said
    assert not list(folder.rglob("*.nbc"))
    assert called(folder, long=1e9, **environment)[1][0] == 0
    _, (hits, number) = called(folder, long=1e9, **environment)
    assert hits == number


BUNDLE = """
import warnings
import numpy as np, torch, refocal
from refocal.boosting import SigmoidFocalObjective
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    loss = refocal.sigmoid_focal_loss(torch.zeros(3), torch.ones(3))
rows = 300_000
gradient, _ = SigmoidFocalObjective()(np.ones(rows), np.zeros(rows))
print(refocal.__file__, round(float(loss), 4), round(float(gradient[0]), 4))
print([str(one.message) for one in said if "refocal" in str(one.message)])
"""


def test_a_bundle_of_bytecode_runs_on_plain_operations_and_says_why(tmp_path):
    """Kernels are made of their source."""
    bundle = tmp_path / "refocal"
    shutil.copytree(Path(refocal.__file__).parent, bundle, ignore=ignore_patterns("__pycache__"))
    assert compileall.compile_dir(bundle, legacy=True, quiet=1)
    for file in bundle.rglob("*.py"):
        file.unlink()
    done = subprocess.run(
        [sys.executable, "-c", BUNDLE],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found, said = done.stdout.splitlines()
    assert found == f"{bundle / '__init__.pyc'} 0.0433 -0.0746"
    assert "refocal runs on plain PyTorch" in said
    assert "No such file" in said
