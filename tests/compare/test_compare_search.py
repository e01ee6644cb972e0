"""The search: resumed as if never stopped, and shared between processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tables import csv_file, customers, made_table

from refocal import comparison
from refocal.comparison import CompareError, Plan, by_name, workplace
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits
from refocal.comparison.folder import STUDY
from refocal.comparison.progress import Progress
from refocal.comparison.training import search
from refocal.comparison.training.networks import Network
from refocal.comparison.training.store import FitStore

optuna = pytest.importorskip("optuna")

PLAN = Plan(quick=True, trials=5, epochs=4)


def found(folder: Path | None = None, plan: Plan = PLAN) -> comparison.Results:
    return comparison.run(made_table(rows=400), by_name(["mlp"]), plan, folder=folder)


def searched(table: comparison.Table, plan: Plan = PLAN, name: str = "mlp") -> list[search.Found]:
    """What a search finds on the first split: cross-entropy's best, and focal loss's."""
    (split,) = splits(table, repeats=1, seed=plan.seed)
    data = Prepared(table, split)
    models = by_name([name])
    progress = Progress(2 * plan.trials, quiet=True)
    return search.search(models, data, plan, FitStore(), progress, split=0, folder=None)[name]


def test_a_search_finds_a_focal_loss_and_a_rate_for_cross_entropy() -> None:
    plain, focal = (one.training for one in searched(made_table(rows=400)))
    assert plain.entry.loss.plain
    assert plain.setting["rate"] > 0
    loss = focal.entry.loss
    assert loss.name.startswith("focal, searched: α ")
    assert isinstance(loss.alpha, float)
    assert 0.05 <= loss.alpha <= 0.95
    assert 0.25 <= loss.gamma <= 5


def test_what_a_search_finds_joins_its_family() -> None:
    results = found()
    assert results.protocol.trials == 5
    _, focal, other = (one.picks[0] for one in results.losses)
    assert (focal.trained, other.trained) == (2, 1)  # a quick look, and the best of the search
    assert focal.loss.startswith("focal, searched")  # which is better on these rows
    assert found() == results


def test_every_split_is_searched_on_its_own(tmp_path: Path) -> None:
    with workplace(tmp_path / "out") as folder:
        found(folder, Plan(quick=True, trials=3, epochs=2, repeats=2))
        names = [one.study_name for one in _studies(folder / STUDY)]
    assert len(names) == len(set(names)) == 4


@pytest.mark.parametrize("name", ["logistic", "lightgbm"])
def test_a_search_tunes_what_the_model_has(name: str) -> None:
    if name == "lightgbm":
        pytest.importorskip(name)
    plan = Plan(trials=3)
    for one in searched(made_table(rows=400), plan, name):
        axes = by_name([name])[0].axes
        for axis, value in one.training.setting.values:
            assert axes[axis].lowest <= value <= axes[axis].highest


def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found()
    fit = Network.fit
    for allowed in (0, 8):
        done: list[int] = []

        def stops(self: Network, *a: object, done: list[int] = done, n: int = allowed, **k: object):
            if len(done) >= n:
                raise KeyboardInterrupt
            done.append(1)
            return fit(self, *a, **k)  # type: ignore[arg-type]

        folder = tmp_path / str(allowed)
        monkeypatch.setattr(Network, "fit", stops)
        with pytest.raises(KeyboardInterrupt), workplace(folder):
            found(folder)
        monkeypatch.setattr(Network, "fit", fit)
        with workplace(folder, resume=True):
            assert found(folder) == expected
            assert (folder / STUDY).exists()


def test_a_search_is_extended(tmp_path: Path) -> None:
    with workplace(tmp_path / "out") as folder:
        found(folder)
        longer = Plan(quick=True, trials=7, epochs=4)
        assert found(folder, longer).protocol.trials == 7
        studies = _studies(folder / STUDY)
    assert [len(one.trials) for one in studies] == [7, 7]


def _studies(journal: Path) -> list:
    return _studies_in(f"journal:{journal}")


def _studies_in(url: str) -> list:
    storage = search.open_storage(optuna, url, None)
    names = [one.study_name for one in storage.get_all_studies()]
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


@contextmanager
def storage_of(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a storage that several processes can reach."""
    if kind == "grpc":
        pytest.importorskip("grpc")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        text = (
            "import optuna\n"
            "storage = optuna.storages.InMemoryStorage()\n"
            f"optuna.storages.run_grpc_proxy_server(storage, host='127.0.0.1', port={port})"
        )
        server = subprocess.Popen([sys.executable, "-c", text])
        url = f"grpc://127.0.0.1:{port}"
        try:
            search.open_storage(optuna, url, None).wait_server_ready(timeout=1800)
            yield url
        finally:
            server.kill()
            server.wait()
    else:
        yield {"journal": f"journal:{folder}/shared", "sql": f"sqlite:///{folder}/shared"}[kind]


@pytest.mark.parametrize("kind", ["journal", "sql", "grpc"])
def test_two_processes_share_one_study(kind: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, customers(400))
    command = [sys.executable, "-m", "refocal", "compare", str(path), "--target", "churn"]
    command += ["--quick", "--model", "mlp", "--trials", "12"]
    with storage_of(kind, tmp_path) as url:
        runs = [
            subprocess.Popen(
                [*command, "--storage", url, "--out", str(tmp_path / name)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in ("one", "other")
        ]
        outcomes = [run.communicate(timeout=1800) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], outcomes
        for study in _studies_in(url):
            finished = [t for t in study.trials if t.state.is_finished()]
            assert 12 <= len(finished) <= 13  # the last may be asked for twice
    # both report the same best trial
    texts = [(tmp_path / name / "results.json").read_text() for name in ("one", "other")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("url", ["nonsense://x", "sqlite:////nowhere/at/all.db"])
def test_a_storage_out_of_reach_is_one_line(url: str) -> None:
    with pytest.raises(CompareError, match=r"storage=.* cannot be used"):
        found(plan=Plan(quick=True, trials=2, storage=url))


def test_classes_that_exclude_each_other_are_weighed_by_a_power_of_their_frequency() -> None:
    table = made_table("multiclass", rows=400)
    loss = searched(table)[1].training.entry.loss
    assert loss.name.startswith("focal, searched: α ∝ rate^−")
    assert loss.link == "softmax"
    assert 0.25 <= loss.gamma <= 5
    assert isinstance(loss.alpha, tuple)
    # one exponent for every class
    (split,) = splits(table, repeats=1, seed=PLAN.seed)
    rates = Prepared(table, split).base_rates
    logs = np.log(loss.alpha) - np.mean(np.log(loss.alpha))
    powers = logs / -(np.log(rates) - np.mean(np.log(rates)))
    assert_allclose(powers, powers[0])
    assert 0 <= powers[0] <= 1


def test_labels_that_may_hold_together_share_one_alpha() -> None:
    loss = searched(made_table("multilabel", rows=400))[1].training.entry.loss
    assert loss.name.startswith("focal, searched: α 0.")
    assert isinstance(loss.alpha, float)


def test_a_missing_optuna_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'refocal\[search\]'"):
        found()
