"""`refocal warm-up` compiles what typical calls need, and keeps it on disk."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from refocal import sigmoid_focal_loss, softmax_focal_loss, warm_up
from refocal.__main__ import main

pool = pytest.importorskip("refocal.kernels.cpu.compiled.pool")
FEW = ("sigmoid, evaluation", "sigmoid, another gamma")


def forget() -> None:
    """What other tests have compiled in this process."""
    rooms = ("sigmoid", "softmax", "compiled.sigmoid", "compiled.softmax", "compiled.expectation")
    for room in rooms:
        for kept in vars(importlib.import_module(f"refocal.kernels.cpu.{room}")).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()


def test_nothing_is_left_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    assert list(warm_up.fill()) == list(warm_up.typical_calls())

    def refuse(*_: object) -> int:
        raise AssertionError("another kernel was compiled")

    monkeypatch.setattr(pool, "address_of", refuse)
    z, y = torch.randn(500).requires_grad_(), (torch.rand(500) < 0.1).float()
    for keywords in ({}, {"gamma": 1.5}, {"label_smoothing": 0.2}, {"reduction": "none"}):
        sigmoid_focal_loss(z, y, impl="cpu", **keywords).sum().backward()
    sigmoid_focal_loss(z, y.long(), impl="cpu").backward()
    z, y = torch.randn(50, 21).requires_grad_(), torch.randint(0, 21, (50,))
    softmax_focal_loss(z, y, impl="cpu").backward()
    z, y = torch.randn(2, 21, 9, 9).requires_grad_(), torch.randint(0, 21, (2, 9, 9))
    softmax_focal_loss(z, y, impl="cpu", ignore_index=255).backward()
    ones = torch.ones(9, dtype=torch.float64)
    with pytest.raises(AssertionError, match="another kernel"):
        sigmoid_focal_loss(ones, ones, impl="cpu", detach_modulator=True, gamma=3.5)


def test_another_process_finds_it_on_disk(tmp_path: Path) -> None:
    """The second time every kernel is a hit of the cache, and the first time none is."""
    script = f"""
from refocal import warm_up
from refocal.kernels.cpu.compiled import machine
calls = warm_up.typical_calls()
for name in {FEW!r}:
    calls[name]()
print(machine.hits + machine.misses, machine.hits, warm_up.cache_folder())
"""
    found = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.split())
    (count, hits, folder), (count_again, hits_again, _) = found
    assert folder.startswith(str(tmp_path))
    assert (hits, hits_again) == ("0", count)
    assert count == count_again


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    every = warm_up.typical_calls()
    monkeypatch.setattr(warm_up, "typical_calls", lambda: {name: every[name] for name in FEW})
    assert main(["warm-up"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("2 kinds of call compiled in ")
    assert str(warm_up.cache_folder()) in out
    assert err == ""


def test_without_numba_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from refocal import extras

    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    assert main(["warm-up"]) == 2
    assert "pip install 'refocal[cpu]'" in capsys.readouterr().err


def test_a_numba_that_cannot_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from refocal.kernels.cpu import backend

    monkeypatch.setattr(backend, "trouble", lambda: "its compiler is switched off.")
    assert main(["warm-up"]) == 2
    line = "refocal warm-up: the CPU kernels cannot use Numba: its compiler is switched off.\n"
    assert capsys.readouterr().err == line
