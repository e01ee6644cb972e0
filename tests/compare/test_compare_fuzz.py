"""Whatever file and options `refocal compare` is given: a report or one line, never a traceback."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spellings import grouped, plain_frame, text

from refocal import comparison
from refocal.__main__ import main
from refocal.comparison import CompareError
from refocal.comparison.data.columns import clean
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits

ENOUGH = "as far as the training."

# ---------------------------------------------------------------------------------------------
# files

cells = st.one_of(
    st.sampled_from(["0", "1", "yes", "no", "", "nan", "inf", "-inf", "1e400", "-0.0", "0x1f"]),
    st.sampled_from(["2024-02-30", "2024-01-31", "2024-01-31T23:59Z", "9999-12-31", "0000-00-00"]),
    st.sampled_from(
        ['"', '""', "a,b", "a\nb", "\\", "=1+1", "<b>", "é", "\ufeff", "\u202e", "1_0"]
    ),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(repr),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
headers = st.lists(st.sampled_from(["x", "y", "z", "", "x", "a b", "<i>", "#"]), max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Rows of a header's length, or of any; quoted as they should be, or not."""
    header = draw(headers)
    width = len(header) + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    row = st.lists(cells, min_size=max(width, 0), max_size=max(width, 0))
    rows = draw(st.lists(row, max_size=12)) * draw(st.sampled_from([1, 1, 6]))
    quoted = draw(st.booleans())

    def field(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted else text

    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return end.join(",".join(map(field, one)) for one in [header, *rows]).encode()


# enough rows and classes for a split, so that what comes after the reader is met as well
WHOLE = "x,y,z\n" + "".join(f"{k % 13},{int(k % 4 == 0)},{'abcde'[k % 5]}\n" for k in range(80))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound table with some bytes cut out, doubled or replaced."""
    content = bytearray(WHOLE.encode())
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 40))
        content[start:end] = draw(st.binary(max_size=12) | st.just(bytes(content[start:end]) * 2))
    return bytes(content)


files = st.one_of(tables(), damaged(), st.binary(max_size=60))
suffixes = st.sampled_from(
    [".csv"] * 6 + [".csv.gz", ".zip", ".xz", ".parquet", ".arrow", ".xlsx", ".xls", "", ".é"]
)

# ---------------------------------------------------------------------------------------------
# options

names = st.sampled_from(["x", "y", "z", "x,z", ",", "", " y ", "nowhere", "--", "<i>"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=5
)
numbers = st.sampled_from(
    ["0", "1", "3", "-1", "1e9", "nan", "inf", "0.5", "", "1_0", "١", "99" * 9]
)
values = {
    "--positive": names,
    "--group": names,
    "--time": names,
    "--drop": names,
    "--model": st.sampled_from(["mlp", "logistic", "mlp,logistic", "forest", ",", ""]) | names,
    "--repeats": numbers,
    "--epochs": numbers,
    "--seed": numbers,
    "--cost-fn": numbers,
    "--at-precision": numbers,
    "--at-recall": numbers,
    "--top": numbers,
}
options = st.lists(
    st.one_of(
        *(st.tuples(st.just(name), value) for name, value in values.items()),
        st.sampled_from([("--resume",), ("--force",), ("--quick",), ("--group",), ("--unknown",)]),
    ),
    max_size=3,
).map(lambda chosen: [word for option in chosen for word in option])
targets = st.sampled_from([["--target", "y"]] * 5 + [["--target", "x"], ["--target=x,y"], []]) | (
    names.map(lambda name: ["--target", name])
)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def outcome(arguments: list[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as exit_:  # from argparse
            status = int(exit_.code or 0)
    return status, out.getvalue(), err.getvalue()


def check(content: bytes, suffix: str, arguments: list[str]) -> None:
    with folder() as here:
        path = here / f"table{suffix}"
        path.write_bytes(content)
        status, out, err = outcome(
            ["compare", str(path), "--out", str(here / "out"), "--quick", *arguments]
        )
        assert status in (0, 2)
        if status == 0:
            written = {one.name for one in (here / "out").iterdir()}
            assert {
                "report.html",
                "results.json",
                "results.csv",
                "run.json",
                "winner.py",
            } <= written
            script = (here / "out" / "winner.py").read_text("utf-8")
            compile(script, "winner.py", "exec")  # whatever the columns are called
        else:
            assert out == ""
            assert [one.name for one in here.iterdir()] == [path.name]
            last = err.splitlines()[-1]
            assert last.startswith(("refocal compare: ", "refocal: "))
            assert last.endswith(".")


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything up to the first training: the splits and the encoded columns."""

    def run(table: comparison.Table, models: list, plan: comparison.Plan, **_: Any) -> None:
        for split in splits(table, repeats=plan.splits, seed=plan.seed):
            assert Prepared(table, split).inputs > 0
        raise CompareError(ENOUGH)

    monkeypatch.setattr(comparison, "run", run)


@pytest.mark.usefixtures("no_training")
@given(files, suffixes, targets, options)
@settings(max_examples=250)
def test_any_file_and_options(
    content: bytes, suffix: str, target: list[str], chosen: list[str]
) -> None:
    check(content, suffix, [*target, *chosen])


@given(damaged(), targets)
@settings(max_examples=8)
def test_as_far_as_the_report(content: bytes, target: list[str]) -> None:
    check(content, ".csv", [*target, "--model", "logistic", "--repeats", "1", "--epochs", "1"])


@pytest.mark.usefixtures("no_training")
def test_a_sound_table_comes_as_far_as_the_training() -> None:
    """Or the tests above would prove little."""
    with folder() as here:
        path = here / "table.csv"
        path.write_text(WHOLE)
        arguments = ["compare", str(path), "--target", "y", "--out", str(here / "out")]
        assert outcome(arguments) == (2, "", f"refocal compare: {ENOUGH}\n")


@pytest.mark.usefixtures("no_training")
@given(st.sampled_from(["a" * 300, "a/" * 3000, "~", "a\nb", "\udcff", "é" * 90, " "]))
@example("x" * 300)
def test_any_name_of_a_file_or_folder(name: str) -> None:
    with folder() as here:
        path = here / "table.csv"
        path.write_text(WHOLE)
        for arguments in (
            ["compare", str(here / name), "--target", "y", "--out", str(here / "out")],
            ["compare", str(path), "--target", "y", "--out", str(here / name)],
            ["report", str(here / name)],
            ["plot", "--out", str(here / name / "p.svg")],
        ):
            status, _, err = outcome(arguments)
            assert status == 0 if arguments[0] == "plot" and not err else status == 2
            assert err.count("\n") <= 1 + name.count("\n")


# ---------------------------------------------------------------------------------------------
# a table written in any of the spellings reads as the plain one


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, bytes]:
    """A table plainly, and in some spelling."""
    rows = draw(st.integers(30, 60))
    frame = plain_frame(rows, seed=draw(st.integers(0, 9)))
    where = draw(st.sampled_from([0, 7, 11]))
    if where:
        frame.loc[np.arange(rows) % where == 2, "amount"] = np.nan
    decimal = draw(st.sampled_from([".", ","]))
    thousands = draw(
        st.sampled_from([" ", "'", "\u00a0", "\u2009", "." if decimal == "," else ","])
    )
    shape = draw(st.sampled_from(["{}", "{} €", "{} kg", "USD {}", "{}"]))
    grouping = grouped(thousands, decimal) if draw(st.booleans()) else None

    def amount(value: float) -> str:
        return shape.format(grouping(value) if grouping else repr(value).replace(".", decimal))

    def share(value: float) -> str:
        return repr(value).replace(".", decimal)

    day = draw(st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d %b %Y"]))
    written = text(
        frame,
        separator=draw(st.sampled_from(",;\t|")),
        amount=amount,
        share=share,
        day=lambda one: f"{one:{day}}",
        end=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        above=draw(st.sampled_from(["", "", "exported by hand\n", "\ufeff"])),
        below=draw(st.sampled_from(["", "", "Total\n", "\n\n"])),
    )
    encodings = ["utf-8", "utf-8-sig", "utf-16"]
    if written.isascii() or not set("\u2009\ufeff") & set(written):
        encodings.append("cp1252")
    return text(frame), written.encode(draw(st.sampled_from(encodings)))


@given(spelled())
@settings(max_examples=150)
def test_any_spelling_reads_as_the_plain_table(tables: tuple[str, bytes]) -> None:
    with folder() as here:
        (here / "plain.csv").write_text(tables[0])
        (here / "spelled.csv").write_bytes(tables[1])
        plain = comparison.read_table(here / "plain.csv", target="ended")
        found = comparison.read_table(here / "spelled.csv", target="ended")
        np.testing.assert_array_equal(found.targets, plain.targets)
        pd.testing.assert_frame_equal(found.features, plain.features, rtol=1e-12)


@given(st.lists(cells, min_size=20, max_size=60))
@settings(max_examples=150)
def test_a_column_of_anything_is_read_or_left_out(column: list[str]) -> None:
    """Whatever stands in the cells: the other column stays, and every row has a value or none."""
    frame = pd.DataFrame({"any": column})
    frame["x"] = np.arange(len(frame)) % 7 + 0.5
    found = clean(frame, typed=False)
    np.testing.assert_array_equal(found.features["x"], frame["x"])
    assert len(found.features) == len(frame)
