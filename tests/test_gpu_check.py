"""`refocal gpu-check` where there is no GPU: its refusal, and its workings on the CPU."""

from __future__ import annotations

import json

import pytest
import torch

from refocal import gpu_check, losses
from refocal.__main__ import main

SMALL = gpu_check.Sizes(elements=64, rows=4, checked=210, classes=(2, 10, 300), repeats=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to check")
def test_without_a_gpu_it_says_so_in_one_line(capsys, tmp_path):
    target = tmp_path / "report.json"
    assert main(["gpu-check", "--out", str(target)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "refocal gpu-check: needs a GPU, and torch sees no CUDA or ROCm device on this machine.\n"
    )
    assert not target.exists()


@pytest.fixture
def report(monkeypatch):
    # Inductor's compilation is not what is tested here
    monkeypatch.setattr(torch, "compile", lambda function: function)
    return gpu_check.examine(torch.device("cpu"), "eager", SMALL)


def test_a_right_backend_passes_every_check(report, tmp_path):
    assert report["checks"]
    assert all(row["passed"] for row in report["checks"])
    text = gpu_check.table(report)
    assert f"{len(report['checks'])} of {len(report['checks'])} checks" in text
    assert "FAILED" not in text
    for provider in ("refocal compiled", "torchvision", "BCE", "cross_entropy", "copy"):
        assert provider in text
    gpu_check.write(report, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report


@pytest.mark.parametrize("wrong", [lambda loss: loss * 1.001, lambda loss: loss * float("nan")])
def test_a_wrong_backend_fails(wrong, monkeypatch):
    def loss(logits, targets, *, impl, **keywords):
        right = losses.sigmoid_focal_loss(logits, targets, impl=impl, **keywords)
        return right if logits.dtype == torch.float64 else wrong(right)

    case = ("case", loss, torch.linspace(-3, 3, 7).double(), torch.ones(7), {})
    monkeypatch.setattr(gpu_check, "cases", lambda *_: iter([case]))
    rows = gpu_check.check(torch.device("cpu"), "eager", SMALL)
    assert not any(row["passed"] for row in rows if row["dtype"] == "float32")
    text = gpu_check.table({"device": "", "torch": "", "triton": "", "checks": rows, "times": []})
    assert "FAILED case, float32" in text


def test_the_recipe_is_a_focal_loss():
    logits = torch.linspace(-4, 4, 9)
    targets = (logits > 1).float()
    torch.testing.assert_close(
        gpu_check.recipe(logits, targets), losses.sigmoid_focal_loss(logits, targets)
    )
