"""`refocal compare` and `refocal plot` as a user meets them, bad use above all."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import refocal
from refocal import comparison
from refocal.__main__ import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    x = generator.normal(size=400)
    fault = np.where(x + generator.normal(size=400) > 2, "yes", "no")
    path = folder / "machines.csv"
    pd.DataFrame({"x": x, "site": generator.choice(["a", "b"], 400), "fault": fault}).to_csv(
        path, index=False
    )
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a refused command, which must leave nothing behind."""
    before = sorted(Path.cwd().rglob("*"))
    try:
        status = main(arguments)
    except SystemExit as exit_:  # from argparse
        status = exit_.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("refocal")
    assert sorted(Path.cwd().rglob("*")) == before
    return err


def test_a_user_s_table_from_file_to_report(
    table: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", offline)
    arguments = ["compare", table.name, "--target", "fault", "--quick", "--out", "out/first"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    written = folder / "out" / "first"
    assert f"Report: {Path('out/first/report.html')}" in out
    assert "3/3, 0 s left  " in err
    assert {path.name for path in written.iterdir()} == {
        "report.html",
        "results.json",
        "results.csv",
        "run.json",
        "winner.py",
        "plots",
        "fits",
    }
    results = json.loads((written / "results.json").read_text())
    assert results["recommendation"]["headline"] in out
    assert results["data"]["classes"] == ["yes"]
    assert json.loads((written / "run.json").read_text())["refocal"] == refocal.__version__
    # A second run is told to replace the first, and finds the same.
    assert "holds a comparison that is finished" in refused(capsys, *arguments)
    assert main([*arguments, "--force"]) == 0
    assert json.loads((written / "results.json").read_text()) == results
    assert [path.name for path in (folder / "out").iterdir()] == ["first"]
    # nothing beside it
    assert sorted(path.name for path in folder.iterdir()) == ["machines.csv", "out"]


def test_without_a_file_it_compares_on_the_flights(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def run(
        table: comparison.Table, models: list, plan: comparison.Plan, folder: Path
    ) -> comparison.Results:
        seen.append((table, plan.seed, plan.quick))
        assert [model.name for model in models] == ["mlp"]
        raise comparison.CompareError("enough seen.")

    monkeypatch.setattr(comparison, "run", run)
    assert refused(capsys, "compare", "--seed", "7") == "refocal compare: enough seen.\n"
    ((flights, seed, quick),) = seen
    assert (len(flights.targets), flights.targets.sum()) == (336_776, 8_255)
    assert len(np.unique(flights.groups)) == 365
    assert not {"day_of_year", "cancelled", "tailnum"} & set(flights.features)
    assert (seed, quick) == (7, False)


CONTENTS = {
    "empty.csv": b"",
    "header.csv": b"x,fault\n",
    "ragged.csv": b'x,fault\n1,yes\n2,no,3,4\n"',
    "binary.csv": b"\xff\xfe\x00\x01\x80" * 40,
    "broken.csv.gz": b"not a gzip file",
    "constant.csv": b"x,fault\n1,no\n2,no\n",
    "missing.csv": b"x,fault\n1,\n2,\n",
    "three.csv": b"x,fault\n1,a\n2,b\n3,c\n",
    "lonely.csv": b"fault\nyes\nno\n",
    "semicolons.csv": b"x;fault\n1;yes\n2;no\n",
    "many.csv": b"x,fault\n" + b"".join(b"%d,v%02d\n" % (k, k % 60) for k in range(180)),
    "text.csv": b"note,fault\n"
    + b"".join(b"a long note number %d,%d\n" % (k, k % 2) for k in range(30)),
    "hole.csv": b"x,z,fault\n1,1,yes\n,2,no\n3,3,no\n",
    "binary.parquet": b"\xff\xfe\x00\x01\x80" * 40,
    "binary.arrow": b"\xff\xfe\x00\x01\x80" * 40,
    "tiny.csv": b"x,fault\n1,yes\n2,no\n3,no\n",
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "--target", "fault"], "there is no file nowhere.csv"),
        ([".", "--target", "fault"], ". cannot be read: Error creating dataset"),
        (
            ["mine", "--target", "fault"],
            "mine cannot be read: it is a folder without Parquet files",
        ),
        (["empty.csv", "--target", "fault"], "empty.csv is empty"),
        (["header.csv", "--target", "fault"], "header.csv has a header but no rows"),
        (["ragged.csv", "--target", "fault"], "ragged.csv cannot be read as a table"),
        (["binary.csv", "--target", "fault"], "binary.csv cannot be read: it is neither text"),
        (["broken.csv.gz", "--target", "fault"], "broken.csv.gz cannot be read: Not a gzipped"),
        (["constant.csv", "--target", "fault"], "'fault' is constant: every row is 'no'"),
        (["missing.csv", "--target", "fault"], "'fault' has no value in any row"),
        (["three.csv", "--target", "fault"], "three.csv has 1 examples of 'a' in fault"),
        (["many.csv", "--target", "fault"], "has 60 different values ('v00', 'v01', 'v02', 'v03'"),
        (["text.csv", "--target", "fault"], "'note' is free text. Replace it by numbers"),
        (["three.csv", "--target", "x,fault"], "'x' has 3 different values; several targets"),
        (["tiny.csv", "--target", "fault", "--drop", "z"], "has no column 'z' for --drop"),
        (["tiny.csv", "--target", "fault", "--drop", "x"], "no column besides the target"),
        (["tiny.csv", "--target", "fault", "--group", "z"], "has no column 'z' for --group"),
        (["tiny.csv", "--target", "fault", "--group", "x"], "--group x has 3 values; a split"),
        (["hole.csv", "--target", "fault", "--group", "x"], "--group x: 1 rows have no value"),
        (["hole.csv", "--target", "fault", "--time", "x"], "--time x: 1 rows have no value"),
        (["text.csv", "--target", "fault", "--time", "note"], "--time note must be numbers or"),
        (["binary.parquet", "--target", "fault"], "binary.parquet cannot be read"),
        (["binary.arrow", "--target", "fault"], "binary.arrow cannot be read"),
        (["--group", "x"], "--group belongs to a FILE"),
        (["--cost-fn", "0"], "invalid cost value: '0'"),
        (["--cost-fn", "inf"], "invalid cost value: 'inf'"),
        (["--at-recall", "2"], "invalid share value: '2'"),
        (["--repeats", "0"], "invalid count value: '0'"),
        (["--model", ","], "invalid list of names value: ','"),
        (["three.csv", "--target", "fault", "--positive", "d"], "'fault' has no value 'd'. It has"),
        (["three.csv", "--target", "y"], "no column 'y' for --target. It has 'x', 'fault'."),
        (["lonely.csv", "--target", "fault"], "no column besides the target"),
        (["semicolons.csv", "--target", "fault"], "semicolons.csv has 1 positive examples"),
        (["tiny.csv", "--target", "fault"], "tiny.csv has 1 positive examples"),
        (["tiny.csv"], "which column of tiny.csv to predict? Add --target COLUMN"),
        (["--target", "fault"], "--target belongs to a FILE"),
        (["--model", "forest"], "there is no model 'forest'. Choose from: mlp, logistic"),
        (["--seed", "-1"], "invalid seed value: '-1'"),
        (["--seed", "x"], "invalid seed value: 'x'"),
        (["--out", "tiny.csv"], "tiny.csv is not a folder"),
        (["--out", "tiny.csv/below"], "below cannot be written"),
        (["--out", "."], "the folder is the current one"),
        (["--out", "mine"], "holds files, which this command did not write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_use_is_one_clear_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("years of work")
    err = refused(capsys, "compare", *arguments)
    assert err.startswith("refocal compare: ")
    assert message in err


@pytest.mark.parametrize("arguments", [[], ["compute"], ["plot", "--gamma"]])
def test_an_unknown_command_points_to_help(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert "--help" in refused(capsys, *arguments)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_an_unwritable_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.chmod(0o500)
    assert "cannot be written: Permission denied" in refused(capsys, "compare")


def test_an_interrupt_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "run", run)
    assert main(["compare"]) == 130
    assert capsys.readouterr().err == "refocal compare: stopped, nothing was written.\n"
    assert list(folder.iterdir()) == []


def test_each_run_has_a_folder_of_its_own(
    table: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one that was stopped or is to be replaced is the last of them."""
    command = ["compare", table.name, "--target", "fault", "--quick", "--model", "logistic"]
    for name in ("refocal-compare", "refocal-compare-2", "refocal-compare-3"):
        assert main(command) == 0
        assert f"Report: {name}{os.sep}report.html\n" in capsys.readouterr().out
    first, *_, last = sorted(folder.glob("refocal-compare*"))
    before = (first / "run.json").stat().st_mtime_ns, (last / "run.json").stat().st_mtime_ns
    assert main([*command, "--force"]) == 0
    assert main([*command, "--resume"]) == 0
    assert "taken from the earlier run" in capsys.readouterr().err
    after = (first / "run.json").stat().st_mtime_ns, (last / "run.json").stat().st_mtime_ns
    assert before[0] == after[0]
    assert before[1] < after[1]
    assert "not allowed with argument --resume" in refused(capsys, *command, "--resume", "--force")


def test_what_must_be_known_stands_before_the_answer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    fault = generator.random(1500) < 0.1
    frame = pd.DataFrame({"x": generator.normal(size=1500), "one": 1, "after": 2 * fault})
    frame.assign(fault=np.where(fault, "yes", "no")).to_csv("leak.csv", index=False)
    command = ["compare", "leak.csv", "--target", "fault", "--quick", "--model", "logistic"]
    assert main(command) == 0
    told, _, answer = capsys.readouterr().out.partition("average precision  ")
    assert "Problem: Column 'after' alone tells 'yes'" in told
    assert "leave it out with --drop.\n\n" in told
    assert "Warning: The test part has" in told
    assert told.index("Problem") < told.index("Warning")
    assert "the same in every row" not in told + answer  # a note is for the report


# Interrupts from where the work is; a thread sends another one while the first is dealt with.
INTERRUPTED = """
import os, signal, sys, time
from refocal import comparison
from refocal.__main__ import command
from refocal.comparison.training.store import FitStore

where, name = {"put": (FitStore, "put")}.get(sys.argv[1], (comparison, sys.argv[1]))
whole = getattr(where, name)

# who was started in the background of a script has them ignored, and hands that on
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupted(*arguments, **keywords):
    result = whole(*arguments, **keywords)
    for _ in range(3 if name == "put" else 1):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
    return result

setattr(where, name, interrupted)
sys.argv[1:2] = ["compare"]
command()
"""


@pytest.mark.parametrize(
    ("step", "left"),
    [
        ("by_name", "nothing was written"),
        ("read_table", "nothing was written"),
        ("put", "continue it with --resume --out refocal-compare"),
        ("run", "continue it with --resume --out refocal-compare"),
        ("write", "continue it with --resume --out refocal-compare"),
        ("summary", "continue it with --resume --out refocal-compare"),
    ],
)
def test_an_interrupt_is_one_line_wherever_it_comes(
    table: Path, folder: Path, step: str, left: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, step, table.name, "--target", "fault", "--quick"],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == f"refocal compare: stopped, {left}."
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert (folder / "refocal-compare").exists() == ("continue" in left)


# An interrupt while one's own modules are imported, or while the line is read.
AT_ONCE = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from refocal.__main__ import command
import argparse

def interrupted(*arguments):
    raise KeyboardInterrupt

argparse.ArgumentParser.parse_known_args = interrupted
command()
"""


@pytest.mark.parametrize("module", ["refocal.commands.compare", "refocal.extras", "none"])
def test_an_interrupt_at_once_is_one_line(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, module], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "refocal: stopped, nothing was written.\n"


def test_a_missing_extra_is_named(folder: Path) -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from refocal.__main__ import main; sys.exit(main(['compare']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    way_out = "pip install 'refocal[compare]'"
    assert done.stderr == f"refocal compare: pandas is not installed. {way_out}\n"


def test_another_import_error_is_a_bug_and_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "refocal.comparison", None)
    monkeypatch.delattr(refocal, "comparison")
    with pytest.raises(ImportError):
        main(["plot"])


def test_plot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--out", "img/focal.svg"]) == 0
    first = (folder / "img" / "focal.svg").read_text()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    for gamma in ("γ = 0 (cross-entropy)", "γ = 0.5", "γ = 1", "γ = 2", "γ = 5"):
        assert gamma in first
    assert main(["plot", "--out", "img/focal.svg"]) == 0
    assert (folder / "img" / "focal.svg").read_text() == first
    capsys.readouterr()
    assert "img cannot be written: Is a directory" in refused(capsys, "plot", "--out", "img")


def test_run_as_a_module(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "refocal", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"refocal {refocal.__version__}\n"
