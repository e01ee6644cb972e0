"""The folder of a comparison: locked, resumable, whole at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tables import csv_file, customers

from refocal import comparison
from refocal.__main__ import main
from refocal.comparison import (
    CompareError,
    Plan,
    by_name,
    check_folder,
    free_folder,
    workplace,
)
from refocal.comparison.folder import write_files
from refocal.comparison.training.networks import Network

OURS = {
    "results.json": '{"schema": "refocal.compare/8"}',
    "run.json": '{"schema": "refocal.compare/8", "finished": "2026"}',
    "plots/loss.svg": "<svg/>",
}


def make(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_plots_that_are_no_longer_drawn_go(tmp_path: Path) -> None:
    write_files(tmp_path, {**OURS, "plots/old.svg": "<svg/>"})
    write_files(tmp_path, OURS)
    assert names(tmp_path) == sorted(OURS)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"thesis.txt": ""}, "holds files"),
        ({"results.json": "{}"}, "holds files"),
        ({**OURS, "thesis.txt": ""}, r"holds thesis\.txt"),
        ({**OURS, "plots/mine.png": ""}, r"holds plots/mine\.png"),
        ({**OURS, "fits/mine.txt": ""}, r"holds fits/mine\.txt"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, files: dict[str, str], match: str
) -> None:
    make(tmp_path, files)
    with pytest.raises(CompareError, match=match), workplace(tmp_path):
        raise AssertionError
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == files


def test_a_failure_leaves_the_earlier_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, OURS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CompareError, match="cannot be written: No space left on device"):
        write_files(tmp_path, {"report.html": "new", "results.json": "new"})
    assert names(tmp_path) == sorted(OURS)
    assert (tmp_path / "results.json").read_text() == OURS["results.json"]


def test_a_file_in_the_way_and_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompareError, match="is not a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(CompareError, match="cannot be written"):
        check_folder(tmp_path / "file" / "below")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompareError, match="is the current one"):
        check_folder(Path("."))


def test_what_fails_at_once_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), workplace(tmp_path / "new" / "out"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_two_runs_in_one_folder_the_second_refuses(tmp_path: Path) -> None:
    """The lock is the system's, so a second holder in the same process is refused as well."""
    with workplace(tmp_path / "out") as folder:
        with pytest.raises(CompareError, match="another comparison is at work"):
            workplace(folder).__enter__()
        assert names(folder) == ["run.json"]
    with workplace(tmp_path / "out"):
        pass


def test_a_run_at_work_is_not_taken_for_a_stopped_one(tmp_path: Path) -> None:
    """With trainings in its folder it looks like one, but for the lock."""
    with workplace(tmp_path / "out") as folder:
        make(folder, {"fits/0.npz": ""})
        for again in ({}, {"resume": True}, {"force": True}):
            for enter in (check_folder, lambda *a, **k: workplace(*a, **k).__enter__()):
                with pytest.raises(CompareError, match=r"another comparison is at work .* out="):
                    enter(folder, **again)
        assert names(folder) == ["fits/0.npz", "run.json"]


def test_folders_are_numbered(tmp_path: Path) -> None:
    name = tmp_path / "out"
    assert free_folder(name) == free_folder(name, last=True) == name
    name.mkdir()
    assert free_folder(name) == tmp_path / "out-2"
    assert free_folder(name, last=True) == name
    (tmp_path / "out-2").write_text("a file is in the way as well")
    assert free_folder(name) == tmp_path / "out-3"


def test_a_stopped_run_is_not_thrown_away(tmp_path: Path) -> None:
    make(tmp_path, {"run.json": '{"schema": "refocal.compare/8", "finished": null}'})
    make(tmp_path, {"fits/0.npz": "", "fits/.x.part": "cut off"})
    with pytest.raises(CompareError, match=r"was stopped\. Continue it with resume=True"):
        workplace(tmp_path).__enter__()
    with workplace(tmp_path, resume=True) as folder:
        assert names(folder) == ["fits/0.npz", "run.json"]


@pytest.mark.parametrize("fits", [{}, {"fits/0.npz": ""}])
def test_a_finished_run_is_not_overwritten_unasked(tmp_path: Path, fits: dict[str, str]) -> None:
    make(tmp_path, {**OURS, **fits})
    for enter in (check_folder, lambda folder: workplace(folder).__enter__()):
        with pytest.raises(
            CompareError,
            match=r"is finished\. Extend it with resume=True, replace it with force=True",
        ):
            enter(tmp_path)
    assert names(tmp_path) == sorted({**OURS, **fits})


def test_a_finished_run_s_trainings_are_kept_for_resume_alone(tmp_path: Path) -> None:
    make(tmp_path, {**OURS, "fits/0.npz": ""})
    with workplace(tmp_path, resume=True):
        assert (tmp_path / "fits" / "0.npz").exists()
    with pytest.raises(KeyboardInterrupt), workplace(tmp_path, resume=True):
        raise KeyboardInterrupt
    assert (tmp_path / "fits" / "0.npz").exists()
    with workplace(tmp_path, force=True):
        assert not (tmp_path / "fits").exists()
        assert (tmp_path / "results.json").exists()


# The process is gone between one step and the next, as soon as its first training is kept.
KILLED = """
import os, signal, sys
from refocal.__main__ import main
from refocal.comparison.training.store import FitStore

put = FitStore.put

def put_and_die(*arguments):
    put(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

FitStore.put = put_and_die
main(sys.argv[1:])
"""


def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    path = csv_file(tmp_path, customers(600))
    arguments = ["compare", str(path), "--target", "churn", "--model", "mlp", "--repeats", "2"]
    arguments.append("--quick")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main([*arguments, "--out", str(whole)]) == 0
    process = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments, "--out", str(killed)],
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert list(killed.glob("fits/*.npz"))
    assert not (killed / "results.json").exists()
    assert main([*arguments, "--out", str(killed)]) == 2  # not without --resume
    assert main([*arguments, "--out", str(killed), "--resume"]) == 0
    for name in ("results.json", "report.html", "results.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_after_any_number_of_fits_the_results_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the first, the second, ... fit; at most the one at work is lost."""
    table = comparison.frame_table(customers(500), name=Path("c"), target="churn")
    plan = Plan(quick=True, repeats=2, epochs=2)
    expected = json.dumps(comparison.run(table, by_name(["mlp"]), plan).to_dict())
    fit = Network.fit
    for allowed in (0, 1, 4):
        done = []

        def stops(
            self: Network, *a: object, done: list = done, allowed: int = allowed, **k: object
        ):
            if len(done) == allowed:
                raise KeyboardInterrupt
            done.append(1)
            return fit(self, *a, **k)  # type: ignore[arg-type]

        folder = tmp_path / str(allowed)
        monkeypatch.setattr(Network, "fit", stops)
        with pytest.raises(KeyboardInterrupt), workplace(folder):
            comparison.run(table, by_name(["mlp"]), plan, folder=folder)
        assert len(list(folder.glob("fits/*.npz"))) == allowed
        monkeypatch.setattr(Network, "fit", fit)
        with workplace(folder, resume=True):
            again = comparison.run(table, by_name(["mlp"]), plan, folder=folder)
        assert json.dumps(again.to_dict()) == expected


def test_a_report_is_built_again_from_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = csv_file(tmp_path, customers(400))
    out = tmp_path / "out"
    assert main(["compare", str(path), "--target", "churn", "--quick", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_text() == page
    capsys.readouterr()
    (out / "results.json").write_text('{"schema": "refocal.compare/1"}')
    assert main(["report", str(out)]) == 2
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    err = capsys.readouterr().err.splitlines()
    assert "schema 'refocal.compare/1' is not 'refocal.compare/8'" in err[0]
    assert err[1] == f"refocal report: there is no {tmp_path / 'nowhere' / 'results.json'}."
