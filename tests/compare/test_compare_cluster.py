"""Trainings in other processes: the same results bit for bit, also when a worker dies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from tables import csv_file, customers, made_table
from torch import nn

from refocal import comparison
from refocal.__main__ import main
from refocal.comparison import CompareError, Plan, by_name
from refocal.comparison.training import spread
from refocal.comparison.training.store import FitStore

distributed = pytest.importorskip("distributed")

WAY = {"repeats": 2, "epochs": 3}


class Cluster:
    """A scheduler and two workers, each a process of its own."""

    def __init__(self) -> None:
        self.scheduler = distributed.LocalCluster(n_workers=0, dashboard_address=None)
        self.address: str = self.scheduler.scheduler_address
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address]
        command += ["--no-nanny", "--nthreads", "1", "--no-dashboard"]
        source = str(Path(comparison.__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": source}
        self.workers = [
            subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) for _ in range(2)
        ]
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=300)

    def kill(self, number: int) -> None:
        self.workers[number].kill()
        self.workers[number].wait()

    def close(self) -> None:
        for number in range(len(self.workers)):
            self.kill(number)
        self.scheduler.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trainings that were kept, in their order."""
    keys: list[str] = []
    put = FitStore.put

    def counted(self: FitStore, key: str, fit: Any) -> None:
        keys.append(key)
        put(self, key, fit)

    monkeypatch.setattr(FitStore, "put", counted)
    return keys


def test_a_cluster_that_loses_a_worker_finds_the_same_bit_for_bit(
    cluster: Cluster, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 4), nn.Dropout(0.1), nn.Linear(4, outputs))

    table = made_table(rows=600)
    models = ["logistic", "mlp", small]
    here = comparison.compare(models, table, **WAY)
    trained, kept[:] = sorted(kept), []
    sent, dead = spread._sent, []

    def watched(jobs: Any) -> Iterator[Any]:
        for done in sent(jobs):
            yield done
            if len(kept) > 40 and not dead:  # in the middle of what is on its way
                dead.append(cluster.kill(0))

    monkeypatch.setattr(spread, "_sent", watched)
    there = comparison.compare(models, table, cluster=cluster.address, **WAY)
    assert dead
    assert there == here
    assert sorted(kept) == trained


def test_any_backend_of_joblib_spreads_them() -> None:
    table = made_table("multiclass", rows=400)
    plan = Plan(quick=True)
    here = comparison.run(table, by_name(["mlp", "lightgbm"]), plan)
    with joblib.parallel_config("loky", n_jobs=2):
        there = comparison.run(table, by_name(["mlp", "lightgbm"]), plan)
    assert there == here


def test_what_is_lost_is_sent_again_and_not_for_ever(
    kept: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent, sizes = spread._sent, []

    def failing(jobs: Any) -> Iterator[Any]:
        sizes.append(len(jobs))
        for number, done in enumerate(sent(jobs)):
            if number == 1:
                raise OSError("the machine is gone")
            yield done

    monkeypatch.setattr(spread, "is_away", lambda: True)
    monkeypatch.setattr("refocal.comparison.training.schedule.is_away", lambda: True)
    monkeypatch.setattr(spread, "_sent", failing)
    with (
        joblib.parallel_config("threading", n_jobs=1),
        pytest.raises(CompareError, match=r"lost 4 times, with \d+ trainings to go: the machine"),
    ):
        comparison.run(made_table(), by_name(["logistic"]), Plan(repeats=1))
    assert sizes == [sizes[0] - lost for lost in range(4)]
    assert len(kept) == 4
    assert "trainings are sent again: the machine is gone" in capsys.readouterr().err


def test_an_error_of_a_training_comes_back_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(inputs: int, outputs: int) -> nn.Module:
        return nn.Flatten()  # nothing to start from the base rate

    monkeypatch.setattr("refocal.comparison.training.schedule.is_away", lambda: True)
    with joblib.parallel_config("threading", n_jobs=1), pytest.raises(ValueError, match="empty"):
        comparison.compare(none, made_table(), quick=True)


def test_a_worker_with_other_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter(["torch 2.8", *["torch 2.9"] * 99])
    monkeypatch.setattr(spread, "versions", lambda: next(found))
    monkeypatch.setattr("refocal.comparison.training.schedule.is_away", lambda: True)
    with (
        joblib.parallel_config("threading", n_jobs=1),
        pytest.raises(CompareError, match=r"has torch 2\.9, and this process torch 2\.8"),
    ):
        comparison.run(made_table(), by_name(["logistic"]), Plan(quick=True))


def test_where_no_scheduler_answers_it_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_PATIENCE", 1)
    monkeypatch.chdir(tmp_path)
    path = csv_file(tmp_path, customers(300))
    code = main(["compare", str(path), "--target", "churn", "--cluster", "tcp://127.0.0.1:9"])
    err = capsys.readouterr().err
    assert code == 2
    assert err.endswith(
        "--cluster tcp://127.0.0.1:9: no Dask scheduler answers there. Start one with `dask"
        " scheduler`, and `dask worker ADDRESS` on each machine.\n"
    )
    assert "Traceback" not in err
