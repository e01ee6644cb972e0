"""One table written as offices, spreadsheets and databases write it."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd

ROWS = 90
NUMBERS = ["amount", "share"]


def plain_frame(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Amounts with thousands, shares, whole numbers, words beyond ASCII, days, and a target."""
    generator = np.random.default_rng(seed)
    amount = np.round(generator.normal(0, 4000, rows), 2)
    amount[:4] = 1234.5, -12.25, 0.75, 98765.25
    share = np.round(generator.random(rows), 3)
    share[:2] = 0.034, 0.5
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(
        generator.permutation(rows * 4)[:rows], unit="D"
    )
    return pd.DataFrame(
        {
            "amount": amount,
            "share": share,
            "count": generator.integers(0, 30, rows),
            "colour": generator.choice(["rot", "grün", "weiß"], rows),
            "day": days,
            "ended": np.where(np.arange(rows) % 4 == 0, "yes", "no"),
        }
    )


Spell = Callable[[Any], str]


def text(
    frame: pd.DataFrame,
    *,
    separator: str = ",",
    amount: Spell = repr,
    share: Spell = repr,
    day: Spell = lambda day: f"{day:%Y-%m-%d}",
    end: str = "\n",
    header: bool = True,
    quoting: int = csv.QUOTE_MINIMAL,
    above: str = "",
    below: str = "",
) -> str:
    """The frame as text, each kind of cell spelled by a function."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    if header:
        writer.writerow(frame.columns)
    spell: dict[str, Spell] = {"amount": amount, "share": share, "day": day}
    for row in frame.itertuples(index=False):
        cells = zip(frame.columns, row, strict=True)
        writer.writerow([_cell(value, spell.get(str(name), str)) for name, value in cells])
    return above + out.getvalue() + below


def _cell(value: Any, spell: Spell) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else spell(float(value))
    return "" if value is pd.NaT else spell(value)


def decimal_comma(value: float) -> str:
    return repr(value).replace(".", ",")


def grouped(mark: str, decimal: str) -> Spell:
    """Thousands and a fraction of two digits with these marks."""

    def spell(value: float) -> str:
        whole, fraction = f"{value:,.2f}".split(".")
        return whole.replace(",", mark) + decimal + fraction

    return spell


def workbook(
    path: Path, sheets: dict[str, Sequence[Sequence[Any]]], member: str = "xl/workbook.xml"
) -> Path:
    """A minimal Excel workbook; days are numbers in a date's format, as Excel stores them."""
    names = list(sheets)
    files = {
        "[Content_Types].xml": '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/'
        'package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.'
        'openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": _relations([("officeDocument", member)]),
        "xl/_rels/workbook.xml.rels": _relations(
            [("worksheet", f"worksheets/sheet{k}.xml") for k in range(1, len(names) + 1)]
            + [("styles", "styles.xml")]
        ),
        member: f'<workbook xmlns="{_MAIN}" xmlns:r="{_REL}"><sheets>'
        + "".join(
            f'<sheet name="{escape(name)}" sheetId="{k}" r:id="r{k}"/>'
            for k, name in enumerate(names, 1)
        )
        + "</sheets></workbook>",
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    for k, rows in enumerate(sheets.values(), 1):
        body = "".join(f"<row>{''.join(map(_xml_cell, row))}</row>" for row in rows)
        files[f"xl/worksheets/sheet{k}.xml"] = (
            f'<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>'
        )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'<Relationships xmlns="{package}">' + "".join(
        f'<Relationship Id="r{k}" Type="{_REL}/{kind}" Target="{target}"/>'
        for k, (kind, target) in enumerate(targets, 1)
    ) + "</Relationships>"  # fmt: skip


def _xml_cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, datetime):
        days = (value - datetime(1899, 12, 30)).total_seconds() / 86_400
        return f'<c s="1"><v>{days!r}</v></c>'
    if isinstance(value, bool | np.bool_):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float | np.number):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t>{escape(str(value))}</t></is></c>'
