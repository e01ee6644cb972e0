"""`python -m benchmarks.gpu`: rehearsed in Triton's interpreter, so that no typo costs GPU time."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if not importlib.util.find_spec("triton"):
    pytest.skip("Triton is not installed", allow_module_level=True)

from benchmarks import gpu as benchmark
from benchmarks import gpu_text

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """What it prints and writes at sizes for the interpreter."""
    path = tmp_path_factory.mktemp("gpu") / "report.json"
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--out", str(path), "--seconds", "3000"],
        cwd=ROOT,
        env={**environment, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return json.loads(path.read_text()), done.stdout


def test_every_stage_ends_and_finds_nothing_wrong(rehearsal):
    report, text = rehearsal
    assert [one["stage"] for one in report["stages"]] == list(benchmark.STAGES)
    for stage in report["stages"]:
        assert stage["status"] == 0, stage
        assert stage["rows"]
        assert not [row for row in stage["rows"] if row.get("passed") is False or "error" in row]
    assert "FAILED" not in text
    assert "what the sweep argues for" in text


def test_what_is_not_run_here_says_so(rehearsal):
    report, _ = rehearsal
    rows = gpu_text.rows_of(report, "correctness")
    skipped = {row["name"] for row in rows if row.get("passed", True) is None}
    assert "no synchronisation" in skipped
    assert "two streams" in skipped
    assert all(row["skipped"] for row in rows if row["name"] in skipped)
    assert len(skipped) < len(rows) / 4


def test_it_measures_what_it_is_for(rehearsal):
    report, _ = rehearsal
    compiled = gpu_text.rows_of(report, "compile")
    kernels = {one["kernel"] for row in compiled for one in row["launches"]}
    assert len(kernels) >= 7  # all of them
    families = {row["family"] for row in gpu_text.rows_of(report, "sweep")}
    assert {"sigmoid", "index tile", "index loop", "index pixels"} <= families
    launches = {
        row["name"]: row["launches"]
        for row in gpu_text.rows_of(report, "defaults")
        if row["provider"] == "refocal"
    }
    # forward, its sum, and backward's early exit; a softmax counts before
    assert launches == {"sigmoid": 3, "softmax": 4}


def test_a_failure_is_a_result_and_nothing_more(monkeypatch, tmp_path):
    """The other stages run, and what the failing one had found stays."""
    stand_in = tmp_path / "benchmarks" / "gpu.py"
    stand_in.parent.mkdir()
    # a package, or one of the same name on PYTHONPATH would be preferred
    (stand_in.parent / "__init__.py").touch()
    stand_in.write_text(
        "import sys, time\n"
        'print(\'{"name": "found"}\', flush=True)\n'
        "print('not json', flush=True)\n"
        "stage = sys.argv[sys.argv.index('--inside') + 1]\n"
        "if stage == 'smoke': raise SystemExit('broken')\n"
        "if stage == 'compile': time.sleep(600)\n"
    )
    monkeypatch.setattr(benchmark, "__file__", str(stand_in))
    shares = {"smoke": 400, "compile": 1, "ceilings": 400, "linear": 400}
    monkeypatch.setattr(benchmark, "STAGES", shares)
    monkeypatch.setattr(benchmark, "WHOLE", 100)
    out = tmp_path / "report.json"
    options = argparse.Namespace(tiny=False, out=out, seconds=500, stages=list(shares))
    report = benchmark.everything(options)
    assert json.loads(out.read_text()) == report
    statuses = [one["status"] for one in report["stages"]]
    assert statuses == [1, "stopped after 5 s", 0, 0]
    assert all(one["rows"] == [{"name": "found"}] for one in report["stages"])
    assert "broken" in report["stages"][0]["error"]
    assert "broken" in gpu_text.text(report)
    options.seconds = 0
    assert {one["status"] for one in benchmark.everything(options)["stages"]} == {"no time left"}


def swept(choice, shape, device_ms, family="index tile", dtype="bfloat16"):
    return {
        "name": "sweep",
        "family": family,
        "shape": [shape, 10],
        "dtype": dtype,
        "choice": choice,
        "device_ms": device_ms,
    }


def test_choose_prints_what_a_sweep_argues_for(tmp_path, capsys, monkeypatch):
    rows = [
        *(swept({}, 8, 1.0), swept({}, 64, 4.0)),
        *(swept({"each": 8}, 8, 0.5), swept({"each": 8}, 64, 3.9)),
        *(swept({"warps": 2}, 8, 1.1), swept({"warps": 2}, 64, 2.0)),
        swept({"rows": 32}, 8, 0.1),  # it failed at the other shape
        *(swept({}, 8, 1.0, "sigmoid"), swept({"each": 4}, 8, 0.99, "sigmoid")),
    ]
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"stages": [{"stage": "sweep", "status": 0, "rows": rows}]}))
    monkeypatch.setattr(sys, "argv", ["gpu", "--choose", str(path)])
    assert benchmark.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "what the sweep argues for",
        "  index tile, bfloat16: each=8, 1.43 x as fast (8x10 2.00 x, 64x10 1.03 x)",
        "    of 64x10 alone: warps=2, 2.00 x",
        "  sigmoid, bfloat16: keep the default",
    ]
