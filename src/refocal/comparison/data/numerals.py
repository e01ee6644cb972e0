"""Numbers as people write them: `1,234.50`, `12 345,6`, `3.4%`, `$12.00`, `12 €`, `(12.5)`.

A column is numbers if nearly all of its cells are once their marks are stripped; the rest is
missing and counted. What a comma or a dot means is decided by the column as a whole, because a
single `1,234` cannot tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from refocal.comparison.data.cells import is_missing_word, plain
from refocal.comparison.data.shapes import Shape, shapes

Mark: TypeAlias = Literal[".", ","]
NEARLY_ALL = 0.9
_LOOKED_AT = 2_000

_CURRENCY = (
    r"US\$|A\$|C\$|HK\$|R\$|[$€£¥₹₽₩₺₪฿¢]"
    r"|(?:USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|RUB|TRY)\b"
    r"|(?:kr|Fr|SFr|Rs|zł|Kč|Ft)\b\.?"
)
_NUMBER = re.compile(
    rf"""^(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>{_CURRENCY})?\s*(?P<second>[+-])?\s*
    (?P<body>[0-9.,][0-9.,' ]*?)
    (?P<exponent>[eE][+-]?[0-9]{{1,3}})?
    \s*(?P<after>{_CURRENCY})?\s*(?P<percent>%|‰|(?:percent|pct)\b)?\s*
    (?P<unit>[^\W\d_]{{1,6}}[²³]?|°\s?[CFK]?)?\s*
    (?P<trailing>-)?\s*(?P<close>\))?$""",
    re.VERBOSE | re.IGNORECASE,
)
# Of shapes. Groups of three, or of two before the last three as in India; none begins with 0, so
# that 0,534 can only be a fraction.
_DOT = re.compile(
    r"^(?P<groups>9{1,3}(?P<mark>[ ',])999(?:(?P=mark)999)*|9{1,2}(?:,99)+,999)(?:\.9*)?$"
    r"|^9*(?:\.9*)?$"
)
_COMMA = re.compile(r"^(?P<groups>9{1,3}(?P<mark>[ '.])999(?:(?P=mark)999)*)(?:,9*)?$|^9*(?:,9*)?$")


@dataclass(frozen=True)
class Numbers:
    """A column of text read as numbers.

    Attributes:
        values: `(n,)`, NaN where missing.
        decimal: what stands before the fraction; None where no cell has such a mark.
        marks: what was stripped, in words.
        odd: cells that are no numbers and count as missing, with how many there are.
        unsure: every cell could be read with the other decimal mark as well, and no other column
            of the file tells.
    """

    values: npt.NDArray[np.float64]
    decimal: Mark | None
    marks: tuple[str, ...]
    odd: dict[str, int]
    unsure: bool


def as_numbers(column: pd.Series[Any], *, decimal: Mark | None = None) -> Numbers | None:
    """Return a column of text, or of text and numbers, as numbers; None where it is something else.

    Args:
        column: `(n,)`; NaN and None are missing.
        decimal: the mark of the file's other numbers, for a column that cannot tell.
    """
    if not _promising(column):
        return None
    codes, uniques = pd.factorize(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(uniques))
    cells = [_cell(one) for one in uniques]
    values = np.array([np.nan if isinstance(cell, str) else cell for cell in cells])
    text = [k for k, one in enumerate(cells) if isinstance(one, str)]
    words = [str(cells[k]) for k in text]
    read, mark, marks, unsure = _read(words, counts[text], decimal)
    values[text] = read
    odd = [k for k, value in zip(text, read, strict=True) if np.isnan(value)]
    strange = [k for k in odd if not is_missing_word(str(cells[k]))]
    known = np.isfinite(values) | np.isinf(values)
    numbers, others = int(counts[known].sum()), int(counts[strange].sum())
    if numbers == 0 or numbers < NEARLY_ALL * (numbers + others):
        return None
    if len(strange) > known.sum():  # a filler number among many words
        return None
    taken = np.where(codes >= 0, values[codes], np.nan)
    rest = {str(uniques[k]): int(counts[k]) for k in odd if plain(str(uniques[k]))}
    rest = dict(sorted(rest.items(), key=lambda one: -one[1]))
    return Numbers(taken, mark, marks, rest, unsure)


def _promising(column: pd.Series[Any]) -> bool:
    """Say whether the first cells are such that looking at all of them is worth it."""
    head = [_cell(cell) for cell in column.dropna().head(_LOOKED_AT)]
    there = [cell for cell in head if not (isinstance(cell, str) and is_missing_word(cell))]
    if not there:
        return len(head) > 0 and len(head) < column.notna().sum()
    numbers = sum(not isinstance(one, str) or _NUMBER.match(one) is not None for one in there)
    return numbers >= 0.5 * len(there)


def _cell(value: Any) -> str | float:
    """Return text, plainly spelled, or the number that a cell of a typed file already is."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bytes):
        return plain(value.decode("utf-8", "replace"))
    if isinstance(value, int | float | Decimal | np.number) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("nan")
    return plain(str(value))


@dataclass(frozen=True)
class _Form:
    """Cells of one shape that are numbers, and where their parts are."""

    shape: Shape
    found: re.Match[str]
    zero: npt.NDArray[np.bool_]  # the cells that begin with 0, which no group of thousands does

    @property
    def body(self) -> str:
        """Digits and the marks between them."""
        return self.found["body"].strip()

    def fits(self, mark: Mark) -> npt.NDArray[np.bool_]:
        """Say which cells are numbers where `mark` stands before the fraction."""
        found = (_COMMA if mark == "," else _DOT).match(self.body)
        grouped = found is not None and bool(found["groups"])
        return np.full(len(self.zero), found is not None) & ~(self.zero & grouped)


def _read(
    words: Sequence[str], counts: npt.NDArray[np.int64], decimal: Mark | None
) -> tuple[npt.NDArray[np.float64], Mark | None, tuple[str, ...], bool]:
    """Return values of distinct cells (NaN for what is none), the decimal mark, the marks, the
    doubt.
    """
    forms = _forms(words, counts)
    mark, unsure = _mark(forms, counts, decimal)
    values = np.full(len(words), np.nan)
    scales = np.zeros(len(words))  # of percentages
    used = []
    for form in forms:
        fits = form.fits(mark)
        if not fits.any():
            continue
        used.append(form.found)
        found = form.found
        start, end = found.span("body")
        exponent = slice(*found.span("exponent")) if found["exponent"] else slice(0, 0)
        negative = "-" in (found["sign"], found["second"], found["trailing"]) or found["open"]
        drop: dict[str, str | None] = dict.fromkeys(" '." if mark == "," else " ',")
        digits = str.maketrans(drop | ({",": "."} if mark == "," else {}))
        cells = [one for one, good in zip(form.shape.cells, fits, strict=True) if good]
        read = np.array(
            [float(cell[start:end].translate(digits) + cell[exponent]) for cell in cells]
        )
        values[form.shape.rows[fits]] = -read if negative else read
        if found["percent"]:
            scales[form.shape.rows] = 0.001 if found["percent"] == "‰" else 0.01
    has_mark = any(one["body"].strip(" '").find(mark) >= 0 for one in used)
    return _percent(values, scales), mark if has_mark else None, _marks(used, mark), unsure


def _forms(words: Sequence[str], counts: npt.NDArray[np.int64]) -> list[_Form]:
    """Return the shapes that can be numbers, with a unit only where it is the column's one."""
    forms, units = [], Counter[str]()
    for shape in shapes(words):
        found = _NUMBER.match(shape.text)
        if found is None or bool(found["open"]) != bool(found["close"]) or "9" not in found["body"]:
            continue
        first = found.start("body")
        zero = np.array([cell[first] == "0" for cell in shape.cells], dtype=bool)
        forms.append(_Form(shape, found, zero))
        if found["unit"]:
            units[found["unit"]] += int(counts[shape.rows].sum())
    unit = units.most_common(1)[0][0] if units else None
    return [form for form in forms if form.found["unit"] in (None, unit)]


def _mark(
    forms: Sequence[_Form], counts: npt.NDArray[np.int64], decimal: Mark | None
) -> tuple[Mark, bool]:
    """Return the decimal mark of a column, and whether the cells left it open."""
    only_dot = only_comma = 0
    either: set[str] = set()
    money = False
    for form in forms:
        dot, comma, here = form.fits("."), form.fits(","), counts[form.shape.rows]
        only_dot += int(here[dot & ~comma].sum())
        only_comma += int(here[comma & ~dot].sum())
        marks = {".", ","} & set(form.body)
        if marks and (dot & comma).any():
            either |= marks
            money |= bool(form.found["before"] or form.found["after"])
    if only_dot or only_comma:
        return ("," if only_comma > only_dot else "."), False
    if money and len(either) == 1:  # three digits behind a mark are no cents
        return ("." if either == {","} else ","), False
    return decimal or ".", decimal is None and bool(either)


def _percent(
    values: npt.NDArray[np.float64], scales: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return percentages as shares, and those whose sign was forgotten with them.

    Beside percentages a plain number is a share or a percentage without its sign: it is taken for
    what it is nearer to in size.
    """
    percents = (scales > 0) & ~np.isnan(values)
    if not percents.any():
        return values
    shares = np.where(percents, values * scales, values)
    others = (scales == 0) & ~np.isnan(values)
    sizes = [np.abs(values[which & (values != 0)]) for which in (percents, others)]
    if all(map(len, sizes)):
        percent, other = (float(np.median(size)) for size in sizes)
        if abs(np.log(other / percent)) < abs(np.log(other / (0.01 * percent))):
            shares[others] *= 0.01
    return shares


def _marks(used: Sequence[re.Match[str]], mark: Mark) -> tuple[str, ...]:
    """Return what was stripped, in words."""
    bodies = [one["body"].strip() for one in used]
    groups = {character for body in bodies for character in body if character in " '.,"} - {mark}
    names = {" ": "spaces", "'": "apostrophes", ".": "dots", ",": "commas"}
    found = [f"{names[group]} between thousands" for group in sorted(groups)]
    if mark == "," and any("," in body for body in bodies):
        found.append("decimal commas")
    found += sorted({one[side] for one in used for side in ("before", "after") if one[side]})
    if any(one["percent"] for one in used):
        found.append("percent signs")
    if any(one["open"] for one in used):
        found.append("parentheses for negative numbers")
    if any(one["trailing"] for one in used):
        found.append("a minus behind the number")
    return (*found, *sorted({f"the unit {one['unit']}" for one in used if one["unit"]}))


def number_share(column: pd.Series[Any]) -> float:
    """Say which share of the first cells that say something are numbers."""
    cells = [_cell(cell) for cell in column.dropna().head(_LOOKED_AT)]
    there = [cell for cell in cells if not (isinstance(cell, str) and is_missing_word(cell))]
    numbers = sum(not isinstance(one, str) or _NUMBER.match(one) is not None for one in there)
    return numbers / max(1, len(there))
