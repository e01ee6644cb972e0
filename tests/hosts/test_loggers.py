"""MLflow and TensorBoard take what `refocal compare` writes, with the lines of docs/hosts.md."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT, blocks

LINES = {
    library: block.code
    for block in blocks((ROOT / "docs" / "hosts.md").read_text(encoding="utf-8"))
    for library in ("mlflow", "tensorboard")
    if f"import {library}" in block.code or f"utils.{library}" in block.code
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    """A folder with the results of a small comparison."""
    folder = tmp_path_factory.mktemp("compared")
    table = "x,label\n" + "".join(f"{k % 97},{int(k % 97 > 90)}\n" for k in range(1000))
    (folder / "table.csv").write_text(table)
    command = ["compare", "table.csv", "--target", "label", "--quick", "--out", "refocal-compare"]
    subprocess.run([sys.executable, "-m", "refocal", *command], cwd=folder, check=True)
    return folder


def expected(folder: Path) -> list[float]:
    results = json.loads((folder / "refocal-compare" / "results.json").read_text())
    return [one["figures"]["average_precision"]["value"] for one in results["losses"]]


def run_lines(folder: Path, after: str) -> None:
    """The page's lines in a process of their own, and a check of what they logged."""
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",  # instead of a database, which the client lacks
        "PYTHONWARNINGS": "ignore",
    }
    # TensorBoard loads TensorFlow where there is one, which loads Keras: on torch that would load
    # Triton, and the LLVM of the one beside that of the other ends the process
    environment.pop("KERAS_BACKEND", None)
    code = "\n".join([LINES["mlflow"].split("with ")[0], *after.split("\n")])
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=environment)


def test_mlflow_holds_the_average_precisions_and_the_report(compared):
    pytest.importorskip("mlflow", reason="pip install mlflow-skinny")
    check = f"""
run = mlflow.search_runs(output_format="list")[0]
assert [run.data.metrics[f"AP {{k}}"] for k in range(len(losses))] == {expected(compared)}
assert Path(run.info.artifact_uri.removeprefix("file://"), "report.html").exists()
"""
    run_lines(compared, LINES["mlflow"][LINES["mlflow"].index("with ") :] + check)


def test_tensorboard_holds_the_average_precisions(compared):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    pytest.importorskip("mlflow", reason="pip install mlflow-skinny")
    check = f"""
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator("runs/refocal-compare").Reload().Scalars("average precision")
assert len(events) == {len(expected(compared))}
for event, value in zip(events, {expected(compared)}):
    assert abs(event.value - value) < 1e-6  # stored as float32
"""
    run_lines(compared, LINES["tensorboard"] + check)
