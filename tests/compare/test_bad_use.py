"""Every refused use of the command line, word for word: one line, status 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from refocal.__main__ import main

FILES = {
    "empty.csv": "",
    "header.csv": "x,fault\n",
    "ragged.csv": "x,fault\n1,yes\n2,no,3,4\n",
    "binary.csv": b"\xff\xfe\x00\x01\x80" * 40,
    "broken.csv.gz": "not a gzip file",
    "broken.zip": "not a zip file",
    "broken.xz": "not an xz file",
    "constant.csv": "x,fault\n1,no\n2,no\n",
    "missing.csv": "x,fault\n1,\n2,\n",
    "three.csv": "x,fault\n1,a\n2,b\n3,c\n",
    "lonely.csv": "fault\nyes\nno\n",
    "semicolons.csv": "x;fault\n1;yes\n2;no\n",
    "many.csv": "x,fault\n" + "".join(f"{k},v{k % 60:02}\n" for k in range(180)),
    "text.csv": "note,fault\n" + "".join(f"a long note number {k},{k % 2}\n" for k in range(30)),
    "hole.csv": "x,z,fault\n1,1,yes\n,2,no\n3,3,no\n",
    "tiny.csv": "x,fault\n1,yes\n2,no\n3,no\n",
    "mine/thesis.txt": "years of work",
}
LONG = "x" * 300
TRY = " Try refocal compare --help."

# behind `refocal compare`, and what it says behind "refocal compare: "; {here} is the folder, and
# LONG longer than a name may be
COMPARE = [
    ("nowhere.csv --target fault", "there is no file nowhere.csv."),
    ("LONG --target fault", "LONG cannot be read: File name too long."),
    (
        ". --target fault",
        ". cannot be read: it is a folder without Parquet files. Name a file in it.",
    ),
    ("empty.csv --target fault", "empty.csv is empty."),
    ("header.csv --target fault", "header.csv has a header but no rows."),
    (
        "ragged.csv --target fault",
        "ragged.csv has 2 columns but 1 of its rows has more fields. Quote what holds commas that"
        " do not separate.",
    ),
    (
        "binary.csv --target fault",
        "binary.csv cannot be read: it is neither text nor Excel, Parquet or Arrow. If it has"
        " another format, save it as CSV.",
    ),
    (
        "broken.csv.gz --target fault",
        "broken.csv.gz cannot be read: Not a gzipped file (b'no').",
    ),
    (
        "broken.zip --target fault",
        "broken.zip cannot be read: File is not a zip file.",
    ),
    (
        "broken.xz --target fault",
        "broken.xz cannot be read: Input format not supported by decoder.",
    ),
    (
        "constant.csv --target fault",
        "the target 'fault' is constant: every row is 'no'. Name another column.",
    ),
    ("missing.csv --target fault", "the target 'fault' has no value in any row."),
    (
        "three.csv --target fault",
        "three.csv has 1 examples of 'a' in fault; training, validation and test "
        "together need at least 10. Merge or leave out the class.",
    ),
    (
        "many.csv --target fault",
        "the target 'fault' has 60 different values ('v00', 'v01', 'v02', 'v03', 'v04',"
        " ...), more than 50 classes. Name one of them with --positive to compare it "
        "with the rest, or sort the values into classes first.",
    ),
    (
        "text.csv --target fault",
        "no column besides the target can be used: 'note' is free text. Replace it by numbers"
        " first (its length, an embedding).",
    ),
    ("lonely.csv --target fault", "lonely.csv has no column besides the target 'fault'."),
    (
        "semicolons.csv --target fault",
        "semicolons.csv has 1 positive examples (fault is 'yes'); training, validation and "
        "test together need at least 10.",
    ),
    (
        "tiny.csv --target fault",
        "tiny.csv has 1 positive examples (fault is 'yes'); training, validation and "
        "test together need at least 10.",
    ),
    ("tiny.csv", "which column of tiny.csv to predict? Add --target COLUMN."),
    ("tiny.csv --target y", "tiny.csv has no column 'y' for --target. It has 'x', 'fault'."),
    ("tiny.csv --target ", "tiny.csv has no column '' for --target. It has 'x', 'fault'."),
    (
        "three.csv --target x,fault",
        "the target 'x' has 3 different values; several targets must have two each.",
    ),
    ("three.csv --target x,fault --positive 1", "--positive belongs to a single --target."),
    (
        "three.csv --target fault --positive d",
        "the target 'fault' has no value 'd'. It has 'a', 'b', 'c'.",
    ),
    (
        "tiny.csv --target fault --drop z",
        "tiny.csv has no column 'z' for --drop. It has 'x', 'fault'.",
    ),
    ("tiny.csv --target fault --drop x", "tiny.csv has no column besides the target 'fault'."),
    (
        "tiny.csv --target fault --group z",
        "tiny.csv has no column 'z' for --group. It has 'x', 'fault'.",
    ),
    ("tiny.csv --target fault --group x", "--group x has 3 values; a split needs 5."),
    (
        "hole.csv --target fault --group x",
        "--group x: 1 rows have no value. Fill them in, or leave these rows out.",
    ),
    (
        "tiny.csv --target fault --time z",
        "tiny.csv has no column 'z' for --time. It has 'x', 'fault'.",
    ),
    (
        "hole.csv --target fault --time x",
        "--time x: 1 rows have no value. Fill them in, or leave these rows out.",
    ),
    (
        "text.csv --target fault --time note",
        "--time note must be numbers or dates like 2013-01-31 or 2013-01-31T23:59.",
    ),
    ("--target fault", "--target belongs to a FILE, and there is none."),
    ("--positive yes", "--positive belongs to a FILE, and there is none."),
    ("--group x", "--group belongs to a FILE, and there is none."),
    ("--time x", "--time belongs to a FILE, and there is none."),
    ("--drop x", "--drop belongs to a FILE, and there is none."),
    (
        "--model forest",
        "there is no model 'forest'. Choose from: mlp, logistic, xgboost, lightgbm, catboost.",
    ),
    ("--model ,", "argument --model: invalid list of names value: ','." + TRY),
    ("--drop ,", "argument --drop: invalid list of names value: ','." + TRY),
    ("--repeats 0", "argument --repeats: invalid count value: '0'." + TRY),
    ("--epochs 0", "argument --epochs: invalid count value: '0'." + TRY),
    ("--epochs 1.5", "argument --epochs: invalid count value: '1.5'." + TRY),
    ("--top 0", "argument --top: invalid count value: '0'." + TRY),
    ("--seed -1", "argument --seed: invalid seed value: '-1'." + TRY),
    ("--seed x", "argument --seed: invalid seed value: 'x'." + TRY),
    ("--seed 4294967296", "argument --seed: invalid seed value: '4294967296'." + TRY),
    ("--cost-fn 0", "argument --cost-fn: invalid cost value: '0'." + TRY),
    ("--cost-fn inf", "argument --cost-fn: invalid cost value: 'inf'." + TRY),
    ("--cost-fn nan", "argument --cost-fn: invalid cost value: 'nan'." + TRY),
    ("--at-recall 2", "argument --at-recall: invalid share value: '2'." + TRY),
    ("--at-precision 0", "argument --at-precision: invalid share value: '0'." + TRY),
    ("--at-precision half", "argument --at-precision: invalid share value: 'half'." + TRY),
    ("--margin 0", "argument --margin: invalid share value: '0'." + TRY),
    ("--margin some", "argument --margin: invalid share value: 'some'." + TRY),
    ("--seed", "argument --seed: expected one argument." + TRY),
    ("--unknown", "refocal: unrecognized arguments: --unknown. Try refocal --help."),
    ("--out tiny.csv", "{here}/tiny.csv is not a folder. Name another one with --out."),
    (
        "--out tiny.csv/below",
        "{here}/tiny.csv/below cannot be written: Not a directory. Name another folder with --out.",
    ),
    ("--out .", "the folder is the current one. Name a new one with --out."),
    (
        "--out mine",
        "{here}/mine holds files, which this command did not write. Name another folder"
        " with --out.",
    ),
    (
        "--out LONG",
        "{here}/LONG cannot be written: File name too long. Name another folder with --out.",
    ),
]
# behind `refocal`, and all that it says
OTHERS = [
    ("", "refocal: the following arguments are required: COMMAND. Try refocal --help."),
    ("compare a b", "refocal: unrecognized arguments: b. Try refocal --help."),
    (
        "report",
        "refocal report: the following arguments are required: FOLDER. Try refocal report --help.",
    ),
    ("report nowhere", "refocal report: there is no nowhere/results.json."),
    ("report mine", "refocal report: there is no mine/results.json."),
    ("plot --gamma", "refocal: unrecognized arguments: --gamma. Try refocal --help."),
    ("plot --out tiny.csv/x.svg", "refocal plot: tiny.csv/x.svg cannot be written: File exists."),
    ("plot --out .", "refocal plot: . cannot be written: Is a directory."),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], here: Path, command: str) -> str:
    """The line of a refused command, which leaves everything as it was."""
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    try:
        status = main(command.split(" ") if command else [])
    except SystemExit as exit_:  # from argparse
        status = exit_.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before
    return err


@pytest.mark.parametrize(("command", "text"), COMPARE, ids=[row[0][:60] for row in COMPARE])
def test_compare(here: Path, capsys: pytest.CaptureFixture[str], command: str, text: str) -> None:
    command, text = command.replace("LONG", LONG), text.replace("LONG", LONG)
    name = "" if text.startswith("refocal: ") else "refocal compare: "
    expected = name + text.format(here=here) + "\n"
    assert refused(capsys, here, f"compare {command}") == expected


@pytest.mark.parametrize(("command", "text"), OTHERS, ids=[row[0] for row in OTHERS])
def test_other_commands(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, text: str
) -> None:
    assert refused(capsys, here, command) == text + "\n"
