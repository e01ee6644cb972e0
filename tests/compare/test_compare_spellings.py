"""One table in every spelling that offices write reads as the plain one, and it is said how."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import re
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from spellings import decimal_comma, grouped, plain_frame, text, workbook

from refocal import comparison
from refocal.comparison import CompareError, Table


def read(folder: Path, content: str | bytes, name: str = "t.csv", **options: Any) -> Table:
    path = folder / name
    """Read it whole and, which must be the same, in pieces."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    keywords: dict[str, Any] = {"target": "ended"} | options
    try:
        whole = comparison.read_table(path, **keywords)
    except CompareError as error:
        with pytest.raises(CompareError, match=re.escape(str(error))):
            comparison.read_table(path, rows=1_000_000, **keywords)
        raise
    in_pieces = comparison.read_table(path, rows=1_000_000, **keywords)
    assert isinstance(whole.features, pd.DataFrame)
    assert isinstance(in_pieces.features, pd.DataFrame)
    pd.testing.assert_frame_equal(in_pieces.features, whole.features)
    assert_array_equal(in_pieces.targets, whole.targets)
    assert in_pieces.findings == whole.findings
    assert in_pieces.sampling is None
    assert in_pieces.fingerprint() == whole.fingerprint()
    return whole


def codes(table: Table) -> list[str]:
    assert all(one.message and one.advice for one in table.findings)
    return [one.code for one in table.findings]


def told(table: Table, code: str) -> str:
    return " ".join(one.message for one in table.findings if one.code == code)


def assert_same(found: Table, expected: Table) -> None:
    """The same rows, columns, kinds and values."""
    features = found.features
    assert isinstance(features, pd.DataFrame)
    assert isinstance(expected.features, pd.DataFrame)
    assert list(features.columns) == list(expected.features.columns)
    assert_array_equal(found.targets, expected.targets)
    for name in features.columns:
        column, right = features[name], expected.features[name]
        assert pd.api.types.is_numeric_dtype(column) == pd.api.types.is_numeric_dtype(right), name
        if pd.api.types.is_numeric_dtype(right):
            assert_allclose(column, right, rtol=1e-12, err_msg=name)
        else:
            assert_array_equal(column, right, err_msg=name)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Table:
    table = read(tmp_path_factory.mktemp("plain"), text(plain_frame()))
    assert codes(table) == []
    features = table.features
    assert isinstance(features, pd.DataFrame)
    assert_allclose(features["amount"][:4], [1234.5, -12.25, 0.75, 98765.25])
    kept = ["amount", "share", "count", "colour", "day: day", "day: month", "day: weekday"]
    assert list(features.columns) == kept
    return table


# --- numbers -------------------------------------------------------------------------------------

money = grouped(",", ".")
german = grouped(".", ",")


def accounting(value: float) -> str:
    return f"({money(-value)})" if value < 0 else money(value)


def dollars(value: float) -> str:
    return money(value).replace("-", "-$") if value < 0 else f"${money(value)}"


NUMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "1,234.50": ({"amount": money}, "commas between thousands"),
    "1.234,50": ({"amount": german, "separator": ";"}, "dots between thousands, decimal commas"),
    "1.234,50 quoted": ({"amount": german}, "dots between thousands, decimal commas"),
    "1234,5": ({"amount": decimal_comma}, "decimal commas"),
    "12 345,60": ({"amount": grouped(" ", ",")}, "spaces between thousands, decimal commas"),
    "no-break space": ({"amount": grouped("\u00a0", ",")}, "spaces between thousands"),
    "thin space": ({"amount": grouped("\u202f", ".")}, "spaces between thousands"),
    "1'234.50": ({"amount": grouped("'", ".")}, "apostrophes between thousands"),
    "1’234.50": ({"amount": grouped("’", ".")}, "apostrophes between thousands"),
    "$1,234.50": ({"amount": dollars}, "$"),
    "1.234,50 €": ({"amount": lambda x: f"{german(x)} €"}, "€"),
    "€1,234.50": ({"amount": lambda x: f"€{money(x)}"}, "€"),
    "EUR 1234.5": ({"amount": lambda x: f"EUR {x!r}"}, "EUR"),
    "CHF 1'234.50": ({"amount": lambda x: f"CHF {grouped(chr(39), '.')(x)}"}, "CHF"),
    "1234.5 kg": ({"amount": lambda x: f"{x!r} kg"}, "the unit kg"),
    "(1,234.50)": ({"amount": accounting}, "parentheses for negative numbers"),
    "($1,234.50)": (
        {"amount": lambda x: f"(${money(-x)})" if x < 0 else f"${money(x)}"},
        "parentheses for negative numbers",
    ),
    "1,234.50-": (
        {"amount": lambda x: f"{money(-x)}-" if x < 0 else money(x)},
        "a minus behind the number",
    ),
    "minus sign": ({"amount": lambda x: repr(x).replace("-", "\u2212")}, ""),
    "+1234.5": ({"amount": lambda x: f"{x:+}"}, ""),
    "1.2345e+03": ({"amount": lambda x: f"{x:.9e}"}, ""),
    "1,2345e+03": ({"amount": lambda x: f"{x:.9e}".replace(".", ",")}, "decimal commas"),
    "3.4%": ({"share": lambda x: f"{100 * x:.1f}%"}, "percent signs"),
    "3,4 %": ({"share": lambda x: f"{100 * x:.1f} %".replace(".", ",")}, "percent signs"),
    "34‰": ({"share": lambda x: f"{1000 * x:.0f}‰"}, "percent signs"),
    "3.4% beside 0.034": (
        {"share": lambda x: f"{x!r}" if int(1000 * x) % 3 else f"{100 * x:.1f}%"},
        "percent signs",
    ),
    "3.4% beside 3.4": (
        {"share": lambda x: f"{100 * x:.1f}" if int(1000 * x) % 3 else f"{100 * x:.1f}%"},
        "percent signs",
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_in_every_spelling(tmp_path: Path, plain: Table, name: str) -> None:
    ways, marks = NUMBERS[name]
    table = read(tmp_path, text(plain_frame(), **ways))
    assert_same(table, plain)
    if marks:
        assert marks in told(table, "numbers")
        assert set(codes(table)) == {"numbers"} | ({"dialect"} if ";" in ways.values() else set())


MISSING = [
    *("?", "-", "--", "n/a", "N/A", "NA", "NaN", "nan", "null", "NULL", "None", ".", "..."),
    *("#DIV/0!", "#N/A", "#REF!", "#VALUE!", "#NV", "#WERT!", "(null)", "\\N", "<NA>", "k.A."),
    *("missing", "–", " ? "),
]


@pytest.mark.parametrize("word", MISSING)
def test_words_for_missing_are_missing_and_counted(tmp_path: Path, word: str) -> None:
    frame = plain_frame()
    where = np.arange(len(frame)) % 7 == 3
    frame.loc[where, "amount"] = np.nan
    expected = read(tmp_path, text(frame))
    lines = text(frame).splitlines()
    written = [line if line[0] != "," else word + line for line in lines]
    table = read(tmp_path, "\n".join(written) + "\n")
    assert_same(table, expected)
    assert codes(table) == ["not-a-number"]
    assert f"{where.sum()} cells of 'amount' are no number" in told(table, "not-a-number")
    assert table.findings[0].severity == "note"


def test_a_cell_that_is_no_number_does_not_lose_the_column(tmp_path: Path) -> None:
    frame = plain_frame()
    frame.loc[5, "amount"] = np.nan
    expected = read(tmp_path, text(frame))
    lines = text(frame).splitlines()
    lines[6] = "see note" + lines[6]
    table = read(tmp_path, "\n".join(lines))
    assert_same(table, expected)
    assert [one.severity for one in table.findings] == ["warning"]
    assert "1 cell of 'amount' is no number and counts as missing ('see note')" in told(
        table, "not-a-number"
    )


def test_numbers_that_are_not_nearly_all_stay_categories_and_it_is_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"y": np.arange(400) % 3 == 0, "z": np.arange(400) % 11})
    frame["x"] = [f"{k}" if k % 3 else f"word{k}" for k in range(400)]
    table = read(tmp_path, frame.to_csv(index=False), target="y")
    assert "'x' is numbers in 66% of its cells and words" in told(table, "mixed-column")
    assert not pd.api.types.is_numeric_dtype(table.features["x"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("cells", "other", "value", "code"),
    [
        (["1,234", "2,345", "15"], ["0.5", "1.25", "2"], 1234.0, ""),
        (['"1,234"', '"2,345"', "15"], ['"0,5"', '"1,25"', "2"], 1.234, ""),
        (["1,234", "2,345", "15"], ["1", "2", "3"], 1234.0, "ambiguous-column"),
        (["1.234 €", "2.345 €", "15 €"], ["1", "2", "3"], 1234.0, ""),
        (["0,534", "1,234", "15"], ["1", "2", "3"], 1.234, ""),
    ],
)
def test_a_mark_that_could_be_either_follows_the_file(
    tmp_path: Path, cells: list[str], other: list[str], value: float, code: str
) -> None:
    rows = [(f'"{x}"' if x[0] != '"' else x, z) for x, z in zip(cells, other, strict=True)] * 10
    body = "".join(f"{x},{z},{k % 2}\n" for k, (x, z) in enumerate(rows))
    table = read(tmp_path, "x,z,y\n" + body, target="y")
    features = table.features
    assert isinstance(features, pd.DataFrame)
    assert features["x"][1 if cells[0] == "0,534" else 0] == value
    assert ("ambiguous-column" in codes(table)) == bool(code)


# --- dates ---------------------------------------------------------------------------------------

GERMAN_MONTHS = [
    *("Jan.", "Feb.", "März", "Apr.", "Mai", "Juni"),
    *("Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez."),
]
FRENCH_MONTHS = [
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
]
DATES: dict[str, tuple[Callable[[pd.Timestamp], str], str]] = {
    "31.01.2024": (lambda day: f"{day:%d.%m.%Y}", "day first"),
    "31.1.24": (lambda day: f"{day.day}.{day.month}.{day:%y}", "day first"),
    "31/01/2024": (lambda day: f"{day:%d/%m/%Y}", "day first"),
    "31-01-2024": (lambda day: f"{day:%d-%m-%Y}", "day first"),
    "01/31/2024": (lambda day: f"{day:%m/%d/%Y}", "month first"),
    "1/31/24": (lambda day: f"{day.month}/{day.day}/{day:%y}", "month first"),
    "01/31/2024 12:00:00 AM": (lambda day: f"{day:%m/%d/%Y} 12:00:00 AM", "month first"),
    "31 Jan 2024": (lambda day: f"{day:%d %b %Y}", "named month"),
    "31-JAN-24": (lambda day: f"{day:%d-%b-%y}".upper(), "named month"),
    "January 31, 2024": (lambda day: f"{day:%B %d, %Y}", "named month"),
    "Wed, 31 Jan 2024": (lambda day: f"{day:%a, %d %b %Y}", "named month"),
    "31. März 2024": (
        lambda day: f"{day.day}. {GERMAN_MONTHS[day.month - 1]} {day.year}",
        "named month",
    ),
    "31 janvier 2024": (
        lambda day: f"{day.day} {FRENCH_MONTHS[day.month - 1]} {day.year}",
        "named month",
    ),
    "2024/01/31": (lambda day: f"{day:%Y/%m/%d}", ""),
    "2024.01.31": (lambda day: f"{day:%Y.%m.%d}", ""),
    "20240131": (lambda day: f"{day:%Y%m%d}", "eight digits"),
    "2024-01-31 00:00:00": (lambda day: f"{day:%Y-%m-%d %H:%M:%S}", ""),
    "2024-01-31T00:00:00.000Z": (lambda day: f"{day:%Y-%m-%dT%H:%M:%S}.000Z", "in UTC"),
    "2024-01-31T02:00+02:00": (lambda day: f"{day:%Y-%m-%d}T02:00+02:00", "in UTC"),
    "2024-01-30 19:00-0500": (
        lambda day: f"{day - pd.Timedelta(hours=5):%Y-%m-%d %H:%M}-0500",
        "in UTC",
    ),
    "45322": (lambda day: str((day - pd.Timestamp("1899-12-30")).days), "as Excel counts"),
}


@pytest.mark.parametrize("name", DATES)
def test_dates_in_every_spelling(tmp_path: Path, plain: Table, name: str) -> None:
    spell, how = DATES[name]
    table = read(tmp_path, text(plain_frame(), day=spell))
    assert_same(table, plain)
    assert codes(table) == (["dates"] if how else [])
    assert how in told(table, "dates")


@pytest.mark.parametrize(
    ("cells", "first", "unsure"),
    [
        (["01/02/2024", "13/02/2024"], "2024-02-01", False),
        (["01/02/2024", "02/13/2024"], "2024-01-02", False),
        (["01.02.2024", "03.02.2024"], "2024-02-01", False),  # dots: the day leads
        (
            ["10/03/2024", "11/03/2024", "12/03/2024", "02/04/2024"],
            "2024-03-10",
            False,
        ),  # in order of time
        (["05/03/2024", "03/04/2024", "04/02/2024"], "2024-05-03", True),
    ],
)
def test_which_number_is_the_month_is_decided_by_the_column(
    tmp_path: Path, cells: list[str], first: str, unsure: bool
) -> None:
    rows = [(cell, k) for cell in cells for k in range(24 // len(cells))]
    body = "".join(f"{cell},{k % 2},{k % 7}\n" for cell, k in rows)
    table = read(tmp_path, "when,y,z\n" + body, target="y")
    features = table.features
    assert isinstance(features, pd.DataFrame)
    days = pd.to_datetime(pd.Series(cells), dayfirst=first[5:7] == cells[0][3:5])
    spread = (days - days.min()).dt.days
    assert_allclose(features["when: day"].unique(), spread)
    assert ("ambiguous-column" in codes(table)) == unsure


def test_another_date_of_the_file_tells_which_is_the_month(tmp_path: Path) -> None:
    body = "".join(
        f"05/03/2024,{13 + k % 9}/01/2024,{k % 2}\n03/04/2024,13/01/2024,0\n" for k in range(20)
    )
    table = read(tmp_path, "a,b,y\n" + body, target="y")
    assert codes(table) == ["dates"]
    assert "day first" in told(table, "dates")
    assert table.features["a: day"].max() == 29  # type: ignore[index]  # 5 March to 3 April


def test_what_is_no_date_is_missing_and_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame({"d": pd.date_range("2024-01-01", periods=100).astype(str)})
    frame["y"] = np.arange(100) % 2
    frame.loc[[3, 4], "d"] = ["9999-12-31", "soon"]
    table = read(tmp_path, frame.to_csv(index=False), target="y")
    assert "2 cells of 'd' are no date and count as missing" in told(table, "not-a-date")
    assert_array_equal(np.flatnonzero(table.features["d: day"].isna()), [3, 4])  # type: ignore[index]


@pytest.mark.parametrize(
    ("cells", "hours"),
    [
        (["13:45", "01:15"], [13.75, 1.25]),
        (["1:45 pm", "12:15 AM"], [13.75, 0.25]),
        (["13:45:36", "00:00:00"], [13.76, 0.0]),
        (["2 days 01:30:00", "0 days 00:00:00"], [49.5, 0.0]),
        (["3 days", "1 day"], [72.0, 24.0]),
    ],
)
def test_times_and_durations_are_hours(
    tmp_path: Path, cells: list[str], hours: list[float]
) -> None:
    body = "".join(f"{cells[k % 2]},{k % 3 == 0}\n" for k in range(30))
    table = read(tmp_path, "t,y\n" + body, target="y")
    assert_allclose(table.features["t"][:2], hours)  # type: ignore[index]
    assert codes(table) == ["durations"]


# --- the text around the cells -------------------------------------------------------------------


def lines(frame: pd.DataFrame) -> list[str]:
    return text(frame).splitlines()


def with_numbers(frame: pd.DataFrame, name: str, start: int) -> str:
    head, *rows = lines(frame)
    return "\n".join([f"{name},{head}", *(f"{k},{row}" for k, row in enumerate(rows, start))])


FRAME = plain_frame()
TEXT = text(FRAME)
LINES = TEXT.splitlines()
FORMS: dict[str, tuple[str | bytes, list[str]]] = {
    "semicolons": (text(FRAME, separator=";"), ["dialect"]),
    "tabs": (text(FRAME, separator="\t"), ["dialect"]),
    "bars": (text(FRAME, separator="|"), ["dialect"]),
    "carets": (text(FRAME, separator="^"), ["dialect"]),
    "spaces": (text(FRAME, separator=" "), ["dialect"]),
    "aligned with spaces": (
        "\n".join("  ".join(f"{x:>12}" for x in line.split(",")) for line in LINES),
        ["dialect"],
    ),
    "semicolons and decimal commas": (
        text(FRAME, separator=";", amount=decimal_comma, share=decimal_comma),
        ["dialect"],
    ),
    "tabs and decimal commas": (
        text(FRAME, separator="\t", amount=decimal_comma, share=decimal_comma),
        ["dialect"],
    ),
    "sep=;": ("sep=;\r\n" + text(FRAME, separator=";", end="\r\n"), ["dialect"]),
    "everything quoted": (text(FRAME, quoting=csv.QUOTE_ALL), []),
    "spaces behind commas": ("\n".join(", ".join(line.split(",")) for line in LINES), []),
    "quoted behind spaces": (
        "\n".join(", ".join(f'"{x}"' for x in line.split(",")) for line in LINES),
        [],
    ),
    "CRLF": (text(FRAME, end="\r\n"), []),
    "CR": (text(FRAME, end="\r"), []),
    "mixed line ends": ("".join(f"{x}{chr(13) * (k % 2)}\n" for k, x in enumerate(LINES)), []),
    "no last line end": (TEXT.rstrip(), []),
    "empty lines": ("\n\n".join(LINES) + "\n\n\n", []),
    "BOM": (TEXT.encode("utf-8-sig"), []),
    "UTF-16": (TEXT.encode("utf-16"), ["dialect"]),
    "UTF-16 without its mark": (TEXT.encode("utf-16-le"), ["dialect"]),
    "UTF-16, big-endian": (TEXT.encode("utf-16-be"), ["dialect"]),
    "UTF-32": (TEXT.encode("utf-32"), ["dialect"]),
    "Latin-1": (TEXT.encode("latin-1"), ["dialect"]),
    "Windows-1252, euros": (
        text(FRAME, amount=lambda x: f"{x!r} €").encode("cp1252"),
        ["dialect", "numbers"],
    ),
    "Excel's Unicode text": (
        text(FRAME, separator="\t", amount=decimal_comma, share=decimal_comma).encode("utf-16"),
        ["dialect"],
    ),
    "a comment above": ("# exported 2024\n" + TEXT, ["preamble"]),
    "a title above": ("Ended contracts\n\nDepartment: sales, north\n" + TEXT, ["preamble"]),
    "a title above with its commas": ("Ended contracts,,,,,\n,,,,,\n" + TEXT, ["preamble"]),
    "a total below": (TEXT + "Total,12.5,7,,,\n", ["footer"]),
    "a total below empty lines": (TEXT + "\n\nSumme:,,,,,\n", ["footer"]),
    "a note below": (TEXT + "\nSource: our own books\n", ["footer"]),
    "separators behind every row": ("\n".join(f"{line}," for line in LINES), []),
    "separators behind rows but not the header": (
        "\n".join([LINES[0], *(f"{line}," for line in LINES[1:])]),
        [],
    ),
    "a row with too many fields": (TEXT + "1,2,3,4,5,6,7\n", ["bad-rows"]),
    "a first row with too many fields": (
        "\n".join([LINES[0], "1,2,3,4,5,6,7,8", *LINES[1:]]),
        ["bad-rows"],
    ),
    "row numbers without a name": (with_numbers(FRAME, "", 0), ["row-numbers"]),
    "row numbers called so": (with_numbers(FRAME, "rownames", 1), ["row-numbers"]),
    "row numbers from 1 in any column": (with_numbers(FRAME, "what", 1), ["row-numbers"]),
    "row names of R": (
        "\n".join([LINES[0], *(f'"{k}",{x}' for k, x in enumerate(LINES[1:], 1))]),
        ["row-numbers"],
    ),
    "an id for each row": (with_numbers(FRAME, "customer_id", 70_000), ["row-numbers"]),
    "spaces around names": (
        "\n".join([" amount ,share , count,colour,day, ended ", *LINES[1:]]),
        [],
    ),
    "gzip": (gzip.compress(TEXT.encode()), []),
    "bzip2": (bz2.compress(TEXT.encode()), []),
    "xz": (lzma.compress(TEXT.encode()), []),
}


@pytest.mark.parametrize("form", FORMS)
def test_files_in_every_form(tmp_path: Path, plain: Table, form: str) -> None:
    content, expected = FORMS[form]
    table = read(tmp_path, content)
    assert_same(table, plain)
    assert codes(table) == expected


@pytest.mark.parametrize("name", ["t.zip", "t.csv", "t"])
def test_a_zip_archive_of_one_file(tmp_path: Path, plain: Table, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/t.csv", TEXT)
        archive.writestr("__MACOSX/folder/._t.csv", "x")
    assert_same(comparison.read_table(tmp_path / name, target="ended"), plain)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    with pytest.raises(CompareError, match=r"holds 2 files \(a\.csv, b\.csv\)\. Unpack the one"):
        comparison.read_table(tmp_path / "two.zip", target="ended")


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a?.csv", "~a.csv", "a b.csv", "{a}.csv"])
def test_a_path_is_taken_literally(tmp_path: Path, plain: Table, name: str) -> None:
    (tmp_path / "a1.csv").write_text("x,ended\n1,2\n")
    assert_same(read(tmp_path, TEXT, name=name), plain)


def test_fields_of_several_lines(tmp_path: Path) -> None:
    frame = plain_frame()
    frame["colour"] = frame["colour"] + '\nand, "so on"'
    table = read(tmp_path, text(frame))
    assert table.rows == len(frame)
    assert set(table.features["colour"]) == {  # type: ignore[index]
        f'{one} and, "so on"' for one in ("rot", "grün", "weiß")
    }


def test_a_file_without_a_header_is_read_and_told(tmp_path: Path, plain: Table) -> None:
    body = "\n".join(LINES[1:]) + "\n"
    table = read(tmp_path, body, target="column 6")
    assert table.rows == plain.rows
    assert codes(table) == ["no-header"]
    assert_allclose(table.features["column 1"], FRAME["amount"])  # type: ignore[index]
    with pytest.raises(CompareError, match=r"no column 'ended' for target=\. It has 'column 1',"):
        read(tmp_path, body)


def test_years_are_a_header(tmp_path: Path) -> None:
    body = "2019,2020,y\n" + "".join(f"{3 * k},{k * k},{k % 2}\n" for k in range(30))
    table = read(tmp_path, body, target="y")
    assert list(table.features.columns) == ["2019", "2020"]
    assert (table.rows, codes(table)) == (30, [])


def test_names_that_come_twice_are_told_apart_and_never_guessed(tmp_path: Path) -> None:
    content = "\n".join(["amount,amount,count,colour,day,ended", *LINES[1:]])
    table = read(tmp_path, content)
    assert list(table.features.columns)[:2] == ["amount", "amount.1"]
    assert codes(table) == ["renamed-columns"]
    with pytest.raises(CompareError, match="more than one column 'amount'"):
        read(tmp_path, content, target="amount")


def test_a_name_that_the_user_gave_tells_the_encoding(tmp_path: Path) -> None:
    for encoding, name in (("cp1251", "ушёл"), ("shift_jis", "解約"), ("mac_roman", "geschätzt")):
        content = TEXT.replace("ended", name).replace("grün", "gruen").replace("weiß", "weiss")
        table = read(tmp_path, content.encode(encoding), target=name)
        assert table.target == name


def test_bytes_that_windows_1252_does_not_know(tmp_path: Path) -> None:
    table = read(tmp_path, TEXT.replace("weiß", "\x81\x90").encode("latin-1"))
    assert table.features["colour"].nunique() == 3  # type: ignore[index]


def test_a_letter_beyond_the_sample(tmp_path: Path) -> None:
    """What is looked at first is ASCII; the rest is not, and is not UTF-8 either."""
    frame = pd.concat([plain_frame(15_000).replace({"grün": "rot", "weiß": "rot"}), plain_frame()])
    content = text(frame, amount=lambda x: f"{x:.12f}")
    assert len(content) > 600_000
    table = read(tmp_path, content.encode("latin-1"))
    assert set(table.features["colour"]) == {"rot", "grün", "weiß"}  # type: ignore[index]
    assert codes(table) == ["dialect"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><table><tr><td>1</td></tr></table>", "is a web page or XML, not a table"),
        (b"<?xml version='1.0'?><rows/>", "is a web page or XML"),
        (b'[{"x": 1, "ended": "no"}]', "is JSON, not a table"),
        (b'{"x": [1, 2]}', "is JSON"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 9, "neither text nor Excel, Parquet or Arrow"),
        (b"", "is empty"),
        (b"\n\n\n", "is empty"),
        (b"x,ended\n", "has a header but no rows"),
    ],
)
def test_what_is_no_table_is_one_clear_line(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(CompareError, match=match):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("https://example.org/a.csv", r"https://example\.org/a\.csv is an address, and nothing is"),
        ("s3://bucket/a.parquet", r"s3://bucket/a\.parquet is an address"),
        ("-", "standard input is a stream, and a table is read more than once. Save it"),
        ("/dev/stdin", "is a stream"),
        ("/dev/null", "is a stream"),
    ],
)
def test_streams_and_addresses_are_refused(path: str, match: str) -> None:
    with pytest.raises(CompareError, match=match):
        comparison.read_table(Path(path), target="y")


# --- columns -------------------------------------------------------------------------------------


def test_columns_that_tell_nothing_do_no_harm(tmp_path: Path, plain: Table) -> None:
    frame = plain_frame()
    frame.insert(0, "empty", np.nan)
    frame.insert(1, "same", "all")
    frame.insert(2, "flag", np.where(np.arange(len(frame)) % 3 == 0, "TRUE", "FALSE"))
    frame.insert(3, "huge", [str(10**25 + k * k) for k in range(len(frame))])
    table = read(tmp_path, text(frame))
    assert_same(
        comparison.read_table(
            tmp_path / "t.csv", target="ended", drop=["empty", "same", "flag", "huge"]
        ),
        plain,
    )
    features = table.features
    assert isinstance(features, pd.DataFrame)
    assert features["empty"].isna().all()
    assert pd.api.types.is_numeric_dtype(features["huge"])
    assert features["flag"].nunique() == 2


def test_a_column_that_only_the_target_has_beside_it(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="no column besides the target 'ended'"):
        read(tmp_path, "ended\n" + "yes\nno\n" * 20)
    # row numbers are kept where there is nothing else
    rows = "".join(f"{k},{'yes' if k % 2 else 'no'}\n" for k in range(40))
    assert list(read(tmp_path, "id,ended\n" + rows).features.columns) == ["id"]


def test_free_text_lowers_what_can_be_told_but_refuses_nothing(
    tmp_path: Path, plain: Table
) -> None:
    frame = plain_frame()
    frame["note"] = [f"the customer called about number {k}" for k in range(len(frame))]
    table = read(tmp_path, text(frame))
    assert_same(table, plain)
    assert codes(table) == ["free-text"]


def test_categories_that_differ_in_spaces_are_one(tmp_path: Path, plain: Table) -> None:
    frame = plain_frame()
    frame["colour"] = [f"{x}{' ' * (k % 2)}" for k, x in enumerate(frame["colour"])]
    table = read(tmp_path, text(frame))
    assert_same(table, plain)
    assert codes(table) == ["spellings"]


@pytest.mark.parametrize("name", ["patient", "customer_id", "Kunden-Nr", "caseId"])
def test_ids_that_come_again_point_to_groups(tmp_path: Path, name: str) -> None:
    frame = plain_frame()
    frame[name] = np.arange(len(frame)) // 3
    table = read(tmp_path, text(frame))
    assert codes(table) == ["repeated-id"]
    assert table.findings[0].advice == f"If they belong together, use groups={name!r}."
    assert codes(read(tmp_path, text(frame), groups=name)) == []


def test_words_that_end_like_ids_are_no_ids(tmp_path: Path) -> None:
    frame = plain_frame()
    for name in ("paid", "valid", "humid"):
        frame[name] = np.arange(len(frame)) // 3 * 7 % 31
    assert codes(read(tmp_path, text(frame))) == []


def test_codes_that_come_again_point_to_groups_and_categories_do_not(tmp_path: Path) -> None:
    frame = plain_frame()
    frame["what"] = [f"A-{k // 2:04}" for k in range(len(frame))]
    assert codes(read(tmp_path, text(frame))) == ["repeated-id"]
    frame["what"] = [f"A-{k % 5}" for k in range(len(frame))]
    assert codes(read(tmp_path, text(frame))) == []


# --- targets -------------------------------------------------------------------------------------


def labelled(folder: Path, labels: list[str], **options: Any) -> Table:
    frame = plain_frame(len(labels)).drop(columns="ended")
    frame["ended"] = labels
    return read(folder, text(frame), **options)


def test_spellings_of_a_class_are_one_class(tmp_path: Path) -> None:
    labels = ["yes ", "Yes", "no", "No", "no", " NO", "no", "no", "no", "yes"] * 20
    table = labelled(tmp_path, labels)
    assert (table.kind, table.classes) == ("binary", ("yes",))
    assert_array_equal(table.targets[:, 0], ["y" in one.lower() for one in labels])
    assert codes(table) == ["target-spellings"] * 2
    named = labelled(tmp_path, labels, positive="NO")
    assert_array_equal(named.targets[:, 0], ~table.targets[:, 0])


@pytest.mark.parametrize("word", ["N/A", "None", "NULL", "?", "-", "nan"])
def test_a_word_for_missing_beside_one_value_is_a_class(tmp_path: Path, word: str) -> None:
    table = labelled(tmp_path, ["ok", "ok", "ok", word] * 20)
    assert (table.classes, table.rows_without_target) == ((word,), 0)
    assert table.targets.sum() == 20
    assert codes(table) == ["missing-as-class"]


@pytest.mark.parametrize("word", ["N/A", "NULL", "?", "-", "nan", ""])
def test_beside_two_values_it_is_missing(tmp_path: Path, word: str) -> None:
    table = labelled(tmp_path, ["yes", "no", "no", word] * 20)
    assert (table.classes, table.rows, table.rows_without_target) == (("yes",), 60, 20)
    assert codes(table) == (["target-missing-words"] if word else [])


def test_none_beside_other_results_is_a_result(tmp_path: Path) -> None:
    table = labelled(tmp_path, ["None", "mild", "severe", "none"] * 20)
    assert (table.kind, table.classes) == ("multiclass", ("none", "mild", "severe")) or (
        table.classes == ("None", "mild", "severe")
    )
    assert table.rows_without_target == 0


def test_a_word_for_missing_is_a_class_if_the_user_says_so(tmp_path: Path) -> None:
    table = labelled(tmp_path, ["yes", "no", "no", "N/A"] * 20, positive="N/A")
    assert (table.classes, table.targets.sum(), table.rows) == (("N/A",), 20, 80)


def test_a_class_with_too_few_rows_is_left_out(tmp_path: Path) -> None:
    table = labelled(tmp_path, ["a", "b", "b", "c"] * 20 + ["d"] * 9)
    assert (table.kind, table.classes, table.rows) == ("multiclass", ("b", "a", "c"), 80)
    assert "'d' of 'ended' has fewer than 10 rows" in told(table, "rare-class")
    assert len(table.features) == 80
    two = labelled(tmp_path, ["a", "b", "b"] * 20 + ["d"] * 9)
    assert (two.kind, two.classes, two.rows) == ("binary", ("a",), 60)


def test_a_label_with_too_few_rows_is_left_out(tmp_path: Path) -> None:
    frame = plain_frame()
    frame["rare"] = (np.arange(len(frame)) < 4).astype(int)
    frame["late"] = (np.arange(len(frame)) % 3 == 0).astype(int)
    table = read(tmp_path, text(frame), target="ended,rare,late")
    assert (table.kind, table.classes) == ("multilabel", ("ended", "late"))
    assert codes(table) == ["rare-class"]


def test_a_target_of_one_value_or_none_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match=r"is 'x' or has no value \(60 rows\)\. If these are"):
        labelled(tmp_path, ["x", "", "", ""] * 20)


def test_a_rarer_no_is_told(tmp_path: Path) -> None:
    table = labelled(tmp_path, ["yes", "yes", "no"] * 20)
    assert table.classes == ("no",)
    assert codes(table) == ["positive-no"]


def test_numbers_of_a_target_are_one_however_they_are_written(tmp_path: Path) -> None:
    table = labelled(tmp_path, ["1", "0", "0.0", "1.0", "0", ""] * 20)
    assert (table.kind, table.rows_without_target) == ("binary", 20)
    assert table.classes in (("1",), ("1.0",))


# --- Excel and Parquet ---------------------------------------------------------------------------


def sheet(frame: pd.DataFrame) -> list[list[Any]]:
    rows = [
        [x.to_pydatetime() if isinstance(x, pd.Timestamp) else x for x in row]
        for row in frame.itertuples(index=False)
    ]
    return [list(frame.columns), *rows]


@pytest.mark.parametrize(
    ("sheets", "expected"),
    [
        ({"Tabelle1": sheet(FRAME)}, []),
        ({"Cover": [["Our contracts"]], "Data": sheet(FRAME)}, ["sheet"]),
        ({"Data": [["Our contracts"], [], *sheet(FRAME)]}, ["preamble"]),
        ({"Data": [*sheet(FRAME), [], ["Total", 12.5, 7, None, None, None]]}, ["footer"]),
    ],
    ids=["plain", "cover", "title", "total"],
)
def test_excel(
    tmp_path: Path, plain: Table, sheets: dict[str, list[list[Any]]], expected: list[str]
) -> None:
    pytest.importorskip("python_calamine")
    for name in ("t.xlsx", "t.csv"):  # by what it holds, not by its name
        table = comparison.read_table(workbook(tmp_path / name, sheets), target="ended")
        assert_same(table, plain)
        assert codes(table) == expected


def test_excel_with_text_among_the_numbers(tmp_path: Path, plain: Table) -> None:
    pytest.importorskip("python_calamine")
    rows = sheet(FRAME)
    for k in range(2, len(rows), 2):  # numbers that somebody typed with a comma
        rows[k][0] = decimal_comma(rows[k][0])
    table = comparison.read_table(workbook(tmp_path / "t.xlsx", {"A": rows}), target="ended")
    assert_same(table, plain)
    rows[5][1] = "#DIV/0!"
    table = comparison.read_table(workbook(tmp_path / "t.xlsx", {"A": rows}), target="ended")
    assert "'#DIV/0!'" in told(table, "not-a-number")


def test_broken_excel_is_one_clear_line(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    with pytest.raises(CompareError, match="cannot be read as an Excel workbook"):
        read(tmp_path, b"PK\x03\x04" + bytes(range(256)) * 20, name="t.xlsx")
    # text and web pages are often called so
    assert read(tmp_path, text(FRAME, separator="\t"), name="t.xls").rows == len(FRAME)
    with pytest.raises(CompareError, match="is a web page"):
        read(tmp_path, b"<html><table></table></html>", name="t.xls")


def test_a_missing_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    path = workbook(tmp_path / "t.xlsx", {"A": sheet(FRAME)})
    with pytest.raises(ImportError, match=r"pip install 'refocal\[compare\]'"):
        comparison.read_table(path, target="ended")


def test_parquet_types(tmp_path: Path) -> None:
    frame = plain_frame()
    rows = len(frame)
    whole = np.arange(rows) * 7 % 31
    frame["decimal"] = [Decimal(str(x)) for x in frame["amount"]]
    frame["lasts"] = pd.to_timedelta(whole, unit="h")
    frame["zoned"] = frame["day"].dt.tz_localize("Europe/Berlin")
    frame["date"] = frame["day"].dt.date
    frame["whole"] = pd.array(whole, dtype="Int64")
    frame.loc[::9, "whole"] = pd.NA
    frame["flag"] = pd.array(whole % 2 == 0, dtype="boolean")
    frame.loc[::5, "flag"] = pd.NA
    frame["kind"] = pd.Categorical(frame["colour"], categories=["weiß", "rot", "grün", "never"])
    frame["code"] = [f"{k % 9:03}" for k in range(rows)]
    frame["text"] = [f"{x:,.2f}" for x in frame["amount"]]
    frame["list"] = [[1, 2]] * rows
    frame["record"] = [{"a": k} for k in range(rows)]
    frame["ended"] = pd.Categorical(frame["ended"], categories=["no", "yes", "never"])
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    table = comparison.read_table(path, target="ended")
    features = table.features
    assert isinstance(features, pd.DataFrame)
    for name in ("decimal", "text"):
        assert_allclose(features[name], frame["amount"], rtol=1e-12)
    assert_allclose(features["lasts"], whole)
    assert_allclose(features["date: day"], features["day: day"])
    assert features["zoned: hour"].nunique() == 2  # midnight in Berlin, in winter and summer
    assert_array_equal(features["kind"], features["colour"])
    assert not pd.api.types.is_numeric_dtype(features["code"])  # somebody made it text
    assert features["whole"].isna().sum() == 10
    assert features["flag"].isna().sum() == 18
    assert not {"list", "record"} & set(features.columns)
    assert "'list', 'record' are lists, records or complex numbers" in told(
        table, "unusable-column"
    )
    assert table.classes == ("yes",)


def test_an_index_that_parquet_kept_is_a_column(tmp_path: Path, plain: Table) -> None:
    path = tmp_path / "t.parquet"
    plain_frame().set_index("amount").to_parquet(path)
    assert_same(comparison.read_table(path, target="ended"), plain)
    plain_frame().set_axis(np.arange(ROWS_FROM, ROWS_FROM + len(FRAME))).to_parquet(path)
    assert_same(comparison.read_table(path, target="ended"), plain)
    shuffled = plain_frame().sample(frac=1, random_state=0)
    shuffled.to_parquet(path)
    assert codes(comparison.read_table(path, target="ended")) == ["row-numbers"]


ROWS_FROM = 100


def test_objects_of_several_kinds(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = plain_frame(60)
    mixed: list[Any] = [float(k) if k % 2 else f"{k},5" for k in range(60)]
    frame["mixed"] = pd.Series(mixed, dtype=object)
    frame["bytes"] = [f"{k % 4}".encode() * 3 for k in range(60)]
    table = comparison.frame_table(frame, name=Path("frame"), target="ended")
    features = table.features
    assert isinstance(features, pd.DataFrame)
    assert_allclose(features["mixed"], [k if k % 2 else k + 0.5 for k in range(60)])
    assert features["bytes"].nunique() == 4


# --- what is nearly another thing ----------------------------------------------------------------


def test_decimal_commas_in_every_column_separate_nothing(tmp_path: Path) -> None:
    body = "".join(f"{k % 7},5;{k % 2},0\n" for k in range(60))
    table = read(tmp_path, "x;y\n" + body, target="y")
    assert list(table.features.columns) == ["x"]
    assert_allclose(table.features["x"][:3], [0.5, 1.5, 2.5])  # type: ignore[index]


def test_decimal_commas_that_nothing_tells_from_separators_are_refused(tmp_path: Path) -> None:
    body = "".join(f"{k % 7},5,{k % 2}\n" for k in range(60))
    with pytest.raises(CompareError, match="has 2 columns but 60 of its rows have more fields"):
        read(tmp_path, "x,y\n" + body, target="y")


def test_rows_that_lack_their_last_fields(tmp_path: Path) -> None:
    body = "".join(f"{k},{k % 2}\n" for k in range(3, 90, 2))
    table = read(tmp_path, "x,y,note,who\n" + body, target="x", positive="3")
    assert list(table.features.columns) == ["y", "note", "who"]
    assert table.features["note"].isna().all()  # type: ignore[index]


def test_a_header_of_thousands_of_columns(tmp_path: Path) -> None:
    names = [f"a_rather_long_column_name_{k:05}" for k in range(12_000)]
    rows = "".join("1.5," * len(names) + f"{k % 2}\n" for k in range(12))
    table = read(tmp_path, ",".join([*names, "y"]) + "\n" + rows, target="y")
    assert list(table.features.columns) == names


def test_the_last_row_of_a_category_called_total_is_a_row(tmp_path: Path) -> None:
    body = "".join(f"{('total', 'part')[k % 2]},{k * k},{k % 3 == 0}\n" for k in range(61))
    table = read(tmp_path, "kind,x,y\n" + body, target="y")
    assert (table.rows, codes(table)) == (61, [])


def test_a_row_of_units_below_the_header_costs_one_row(tmp_path: Path) -> None:
    body = "".join(f"{3 * k}.5,{k * k},{k % 3 == 0}\n" for k in range(60))
    table = read(tmp_path, "x,z,y\nkg,cm,\n" + body, target="y")
    assert (table.rows, table.rows_without_target) == (60, 1)
    assert_allclose(table.features["z"], np.arange(60) ** 2)  # type: ignore[index]


@pytest.mark.parametrize(
    "cell",
    ["{k}.{k}.0.7", "1.{k}.3", "{k}-25", "+49 171 {k}", "{k}/7", "A{k}", "{k}°30'N", "{k}:99:99"],
)
def test_what_only_looks_like_numbers_or_dates_stays_text(tmp_path: Path, cell: str) -> None:
    body = "".join(f"{cell.format(k=k % 9 + 10)},{k * k},{k % 3 == 0}\n" for k in range(60))
    table = read(tmp_path, "x,z,y\n" + body, target="y")
    features = table.features
    assert isinstance(features, pd.DataFrame)
    assert list(features.columns) == ["x", "z"]
    assert features["x"].nunique() == 9
    assert not pd.api.types.is_numeric_dtype(features["x"])


def test_groups_are_one_whatever_spaces_stand_around_them(tmp_path: Path) -> None:
    body = "".join(f"{k * k},G{k % 7}{' ' * (k % 2)},{k % 3 == 0}\n" for k in range(60))
    table = read(tmp_path, "x,g,y\n" + body, target="y", groups="g")
    assert table.groups is not None
    assert len(np.unique(table.groups)) == 7
    with pytest.raises(CompareError, match=r"groups='g': 9 rows have no value"):
        read(tmp_path, ("x,g,y\n" + body).replace("G3", "?"), target="y", groups="g")


def test_how_times_were_read_is_said(tmp_path: Path) -> None:
    body = "".join(f"{k * k},{k % 28 + 1:02}.02.2024,{k % 3 == 0}\n" for k in range(60))
    table = read(tmp_path, "x,t,y\n" + body, target="y", time_order="t")
    assert "'t' was read as dates: day first" in told(table, "dates")
    assert table.time is not None
    assert_allclose(table.time[:2], [0, 86_400])


def test_lists_in_a_named_column_are_one_clear_line() -> None:
    frame = plain_frame()
    frame["lists"] = [[1]] * len(frame)
    for named in ({"target": "lists"}, {"groups": "lists"}, {"time_order": "lists"}):
        with pytest.raises(CompareError, match="lists or records in the column 'lists'"):
            comparison.frame_table(frame, name=Path("f"), **({"target": "ended"} | named))


def test_a_total_below_a_column_with_missing_values(tmp_path: Path) -> None:
    frame = plain_frame()
    frame.loc[::5, "amount"] = np.nan
    expected = read(tmp_path, text(frame))
    table = read(tmp_path, text(frame, below="Total\n"))
    assert_same(table, expected)
    assert codes(table) == ["footer"]
