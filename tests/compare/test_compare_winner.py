"""The script that trains what was recommended: it reaches the report's figure, and predicts."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from tables import customers, made_table

import refocal
from refocal import comparison
from refocal.comparison import Plan, Results, by_name, read_table
from refocal.comparison.report import winner
from refocal.comparison.report.files import report_files
from refocal.comparison.report.winner import script, why_not

PLAN = Plan(quick=True, repeats=2, epochs=3)
KINDS = {"binary": ("churn",), "multiclass": ("state",), "multilabel": ("fault", "wear")}
# What a person reads; CatBoost's own cross-entropy takes a few more.
LINES = (60, 70)
MODELS = ("logistic", "mlp", "xgboost", "lightgbm", "catboost")


def people(rows: int = 900, seed: int = 0) -> pd.DataFrame:
    """Text columns, dates, missing values, and a target of every kind."""
    frame = customers(rows, seed)
    generator = np.random.default_rng(seed)
    days = pd.to_timedelta(generator.integers(0, 700, rows), "D")
    frame.insert(0, "joined", (pd.Timestamp("2022-01-01") + days).strftime("%d.%m.%Y"))
    frame["income"] = [f"{value:,.2f}" for value in frame["income"]]
    noise = generator.normal(size=rows)
    frame["wear"] = (noise + (frame["plan"] == "plus") > 1).astype(int)
    frame["fault"] = (frame["churn"] == "yes").astype(int)
    frame["state"] = np.where(frame["fault"] == 1, "bad", "ok")
    frame.loc[frame["wear"] == 1, "state"] = "worn"
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_people(tmp_path_factory.mktemp("winner"))


def with_people(path: Path) -> Path:
    """A folder with a table that has a target of every kind, and with new rows."""
    people().to_csv(path / "people.csv", index=False)
    others = [name for names in KINDS.values() for name in names]
    people(40, seed=1).drop(columns=others).to_csv(path / "new.csv", index=False)
    return path


def compared(
    folder: Path, kind: str, model: str, plan: Plan = PLAN, rows: int | None = None
) -> Results:
    target = KINDS[kind]
    others = [one for names in KINDS.values() for one in names if one not in target]
    table = read_table(folder / "people.csv", target=target, drop=others, rows=rows)
    assert table.kind == kind
    return comparison.run(table, by_name([model]), plan)


def recommending(results: Results, family: str) -> Results:
    answer = dataclasses.replace(results.recommendation, loss=family)
    return dataclasses.replace(results, recommendation=answer)


def call(text: str, path: Path, *arguments: object) -> tuple[object, str]:
    """What a script exits with and what it prints."""
    path.write_text(text, encoding="utf-8")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        patch.setattr("torch.set_num_threads", lambda count: None)
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as done:
            return done.code, printed.getvalue()
    return 0, printed.getvalue()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_script_reaches_the_figure_and_predicts(folder: Path, kind: str, model: str) -> None:
    results = compared(folder, kind, model)
    for family in [loss.name for loss in results.losses]:
        found = recommending(results, family)
        text = script(found)
        assert kind != "binary" or len(text.splitlines()) <= LINES[model == "catboost"]
        code, printed = call(text, folder / "w.py", "--check")
        reported = found.chosen().picks[0].average_precision
        assert code == 0, (family, printed)
        assert printed.endswith(f"(the report: {reported:.4f})\n")
        code, printed = call(text, folder / "w.py", folder / "new.csv")
        p = pd.read_csv(io.StringIO(printed))
        assert code == 0
        assert list(p.columns) == results.data.classes
        assert len(p) == 40
        assert p.to_numpy().min() > 0
        assert p.to_numpy().max() < 1
        if kind == "multiclass":
            np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("by", [("groups",), ("time_order",), ("groups", "time_order")])
def test_rows_that_are_split_by_a_column(tmp_path: Path, by: tuple[str, ...]) -> None:
    """That column is no feature, and new rows need none."""
    frame = people(1200)
    frame["family"] = np.arange(1200) // 3
    frame.to_csv(tmp_path / "people.csv", index=False)
    columns = {one: {"groups": "family", "time_order": "joined"}[one] for one in by}
    keywords = {"target": "churn", "drop": ["wear", "fault", "state"], **columns}
    table = read_table(tmp_path / "people.csv", **keywords)  # type: ignore[arg-type]
    text = script(comparison.run(table, by_name(["logistic"]), PLAN))
    assert call(text, tmp_path / "w.py", "--check")[0] == 0
    unknown = ["churn", *columns.values()]
    people(30, seed=1).assign(family=0).drop(columns=unknown).to_csv(
        tmp_path / "new.csv", index=False
    )
    code, printed = call(text, tmp_path / "w.py", tmp_path / "new.csv")
    assert code == 0
    assert len(pd.read_csv(io.StringIO(printed))) == 30


def test_the_check_can_fail(folder: Path) -> None:
    text = script(compared(folder, "binary", "logistic"))
    wrong = text.replace('how["reported"] = 0.', 'how["reported"] = 0.9')
    assert wrong != text
    code, printed = call(wrong, folder / "w.py", "--check")
    assert code == 1
    assert "(the report: 0.9" in printed
    fewer = text.replace('{"rows": 900', '{"rows": 901')
    assert "had 901" in str(call(fewer, folder / "w.py", "--check")[0])


def test_probabilities_by_a_line_where_the_report_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = compared(folder, "multiclass", "lightgbm")
    monkeypatch.setattr(winner, "takes_line", lambda *_: True)
    text = script(recommending(results, "focal loss"))
    assert '"platt": True' in text
    code, printed = call(text, folder / "w.py", folder / "new.csv")
    p = pd.read_csv(io.StringIO(printed))
    assert code == 0
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_a_user_runs_it(folder: Path) -> None:
    """As a process of its own, in the folder of the table; known rows are ranked as they are."""
    results = compared(folder, "binary", "logistic")
    (folder / "winner.py").write_text(script(results), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(refocal.__file__).parents[1])}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "winner.py", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )

    assert run("--check").returncode == 0
    done = run("people.csv")
    assert done.returncode == 0, done.stderr
    p = pd.read_csv(io.StringIO(done.stdout))["yes"]
    labels = people()["churn"] == "yes"
    assert average_precision_score(labels, p) > 3 * labels.mean()
    assert abs(p.mean() - labels.mean()) < 0.01  # calibrated
    assert run().returncode == 2
    (folder / "short.csv").write_text("age\n3\n", encoding="utf-8")
    refused = run("short.csv").stderr.splitlines()[-1]
    assert refused.startswith("short.csv has no column 'joined', ")
    assert "Traceback" not in run("nowhere.csv").stderr


def test_new_rows_mean_what_the_known_ones_mean(tmp_path: Path) -> None:
    """Other spellings, types and a single row: the features are those of the same rows."""
    frame = people(300)
    frame.to_csv(tmp_path / "known.csv", index=False)
    names = {"target": "churn", "drop": ["wear", "fault", "state"]}
    alone = read_table(tmp_path / "known.csv", **names)  # type: ignore[arg-type]
    new = frame.iloc[[5]].drop(columns=["churn"])
    new["income"] = [float(one.replace(",", "")) for one in new["income"]]
    new.to_csv(tmp_path / "new.csv", index=False)
    both = read_table(tmp_path / "known.csv", new=tmp_path / "new.csv", **names)  # type: ignore[arg-type]
    assert (both.rows, both.new_rows) == (301, 1)
    assert not both.targets[-1].any()
    pd.testing.assert_frame_equal(both.features.iloc[:-1], alone.features)
    expected = alone.features.iloc[[5]].reset_index(drop=True)
    pd.testing.assert_frame_equal(both.features.iloc[[-1]].reset_index(drop=True), expected)


@pytest.mark.parametrize("known_kind", ["csv", "parquet"])
@pytest.mark.parametrize("new_kind", ["csv", "parquet"])
def test_new_rows_of_another_kind_of_file(tmp_path: Path, known_kind: str, new_kind: str) -> None:
    """What one file gives a type is text, or a number, in the other."""
    generator = np.random.default_rng(0)
    rows = 200
    frame = pd.DataFrame(
        {
            "when": pd.Timestamp("2023-05-01") + pd.to_timedelta(np.arange(rows) % 90, "D"),
            "code": pd.Series(generator.integers(1, 5, rows).astype(str), dtype="category"),
            "amount": np.where(generator.random(rows) < 0.1, np.nan, generator.normal(size=rows)),
            "active": generator.random(rows) < 0.5,
            "maybe": pd.Series(generator.choice([True, False, None], rows), dtype=object),
            "fault": generator.choice(["yes", "no"], rows, p=[0.3, 0.7]),
        }
    )
    chosen = [3, 8, 11, 150]
    for part, name, kind in (
        (frame, "known", known_kind),
        (frame.iloc[chosen].drop(columns="fault"), "new", new_kind),
    ):
        if kind == "csv":
            part.to_csv(tmp_path / f"{name}.csv", index=False)
        else:
            part.to_parquet(tmp_path / f"{name}.parquet", index=False)
    table = read_table(
        tmp_path / f"known.{known_kind}", target="fault", new=tmp_path / f"new.{new_kind}"
    )
    alone = read_table(tmp_path / f"known.{known_kind}", target="fault")
    assert table.new_rows == 4
    pd.testing.assert_frame_equal(table.features.iloc[:rows], alone.features)
    pd.testing.assert_frame_equal(
        table.features.iloc[rows:].reset_index(drop=True),
        alone.features.iloc[chosen].reset_index(drop=True),
    )


def test_names_from_the_data_cannot_write_code(folder: Path) -> None:
    results = compared(folder, "binary", "logistic")
    assert results.data.source is not None
    evil = '"""\nraise SystemExit(7)\n#\\'
    source = dataclasses.replace(results.data.source, path=evil, target=[evil], drop=[evil])
    data = dataclasses.replace(results.data, source=source)
    answer = dataclasses.replace(results.recommendation, headline=evil)
    text = script(dataclasses.replace(results, data=data, recommendation=answer))
    assert call(text, folder / "w.py")[0] == 2  # it compiles, and asks for its argument


def test_without_a_file_or_with_a_model_of_ones_own_there_is_none() -> None:
    results = comparison.run(made_table(), by_name(["logistic"]), PLAN)
    assert "came from Python" in str(why_not(results))
    files = report_files(results)
    assert "winner.py" not in files
    said = "There is no <code>winner.py</code> here: The data came from Python"
    assert said in files["report.html"]
    with pytest.raises(ValueError, match="came from Python"):
        script(results)
