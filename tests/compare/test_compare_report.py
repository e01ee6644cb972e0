"""The report, its plots and its folder."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from numpy.testing import assert_allclose
from tables import made_table

from refocal import compare
from refocal.compare import CompareError, Plan, Results, by_name
from refocal.compare.drawing import axes, to_svg
from refocal.compare.folder import check_folder, write_folder
from refocal.compare.progress import Progress, duration
from refocal.compare.report import html, report_files


@pytest.fixture(scope="module")
def results() -> Results:
    return compare.run(made_table(), by_name(["logistic"]), Plan(quick=True, resamples=50))


def test_report_files(results: Results) -> None:
    files = report_files(results)
    assert files == report_files(results)  # no time stamp, no random id
    page = files["report.html"]
    assert page.count(results.recommendation.headline.replace("'", "&#39;")) == 3
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    assert json.loads(files["results.json"])["schema"] == "refocal.compare/2"
    rows = pd.read_csv(io.StringIO(files["results.csv"]))
    assert list(rows["loss"]) == [loss.name for loss in results.losses]
    values = [x.figures["log_loss_posterior"].value for x in results.losses]
    assert_allclose(rows["log_loss_posterior"], values)


def test_every_plot_is_valid_svg_that_follows_the_page_s_colour(results: Results) -> None:
    drawn = {name: text for name, text in report_files(results).items() if name.endswith(".svg")}
    assert len(drawn) == 8
    for text in drawn.values():
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "currentColor" in text
        assert "#010203" not in text
        assert "prefers-color-scheme" in text


def test_names_from_the_data_cannot_write_html(results: Results) -> None:
    data = dataclasses.replace(results.data, name="<script>alert(1)</script>", target="<i>")
    wicked = dataclasses.replace(results, data=data)
    drawn = {name: "" for name in report_plots()}
    page = html(wicked, drawn)
    assert "<script>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page


def report_plots() -> tuple[str, ...]:
    return (
        "gain",
        "precision-recall",
        "reliability-raw",
        "reliability-posterior",
        "gradient-start",
        "gradient-fitted",
        "loss",
        "slope",
    )


def test_summary_names_every_loss_and_the_answer(results: Results) -> None:
    text = compare.summary(results)
    for loss in results.losses:
        assert loss.name in text
    assert results.recommendation.headline in text


def test_a_figure_s_text_is_safe_in_its_title() -> None:
    figure, _ = axes()
    assert 'aria-label="a &amp; b"' in to_svg(figure, name="n", title="a & b")


# --- the folder ----------------------------------------------------------------------------------

OURS = {"results.json": '{"schema": "refocal.compare/2"}', "plots/loss.svg": "<svg/>"}


def test_the_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    write_folder(folder, {**OURS, "plots/old.svg": "<svg/>"})
    write_folder(folder, OURS)
    assert sorted(path.name for path in folder.rglob("*")) == ["loss.svg", "plots", "results.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"thesis.txt": ""}, "holds files"),
        ({"results.json": "{}"}, "holds files"),
        ({**OURS, "thesis.txt": ""}, r"holds thesis\.txt"),
        ({**OURS, "plots/mine.png": ""}, r"holds plots/mine\.png"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, files: dict[str, str], match: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(CompareError, match=match):
        write_folder(tmp_path, OURS)
    assert all((tmp_path / name).read_text() == text for name, text in files.items())


def test_a_failure_leaves_the_earlier_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    write_folder(folder, OURS)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CompareError, match="cannot be written: No space left on device"):
        write_folder(folder, {"report.html": "new"})
    assert (folder / "results.json").read_text() == OURS["results.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failed_move_puts_the_earlier_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    write_folder(folder, OURS)
    from refocal.compare import folder as module

    move = module.os.replace

    def fails_for_new(source: Path, target: Path) -> None:
        if Path(source).name == "new":
            raise OSError(13, "Permission denied")
        move(source, target)

    monkeypatch.setattr(module.os, "replace", fails_for_new)
    with pytest.raises(CompareError, match="Permission denied"):
        write_folder(folder, {"report.html": "new"})
    assert (folder / "results.json").read_text() == OURS["results.json"]


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


# --- progress ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_plain_lines_in_a_pipe() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream)
    progress.working("first")
    progress.finished("first")
    progress.close()
    assert stream.getvalue() == "1/2, 0 s left  first\n"


def test_progress_is_one_moving_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    progress = Progress(2, stream)
    progress.working("first, a long text" * 9)
    progress.finished("first")
    progress.close()
    text = stream.getvalue()
    assert "\n" not in text
    assert "1/2, 0 s left" in text
    assert max(map(len, text.split("\r"))) == 59
    assert text.split("\r")[-2].strip() == ""  # wiped


def test_work_that_was_done_before_is_no_measure_of_what_is_left() -> None:
    stream = io.StringIO()
    progress = Progress(9, stream)
    progress.finished("first", trained=False)
    assert stream.getvalue() == "1/9  first\n"


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
