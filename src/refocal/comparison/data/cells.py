"""One cell of a table as people type it: spaces of every kind, and the words for "nothing here"."""

from __future__ import annotations

import unicodedata
from typing import Any

import pandas as pd

# What spreadsheets, databases, statistics packages and people write where a value is missing.
MISSING_WORDS = frozenset(
    (
        *("", "na", "n/a", "n.a.", "n. a.", "<na>", "n/d", "s/d", "n/v", "k.a.", "k. a.", "nat"),
        *("nan", "-nan", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind", "null", "(null)", "<null>"),
        *("nil", "none", "missing", "(missing)", "\\n", "?", "??", "-", "--", "---", ".", ".."),
        *("...", "#n/a", "#n/a n/a", "#na", "#nv", "#div/0!", "#ref!", "#value!", "#name?"),
        *("#null!", "#num!", "#wert!", "#bezug!", "#zahl!", "#valeur!", "#nom?", "#nombre?"),
        *("#valor!", "#error!", "error"),
    )
)
# The hyphens and apostrophes that typesetting puts in the place of the plain ones; zero-width marks
# that come with copied text stand for nothing at all.
_UNSEEN = str.maketrans(dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2018\u2019\u02bc\u2032\u00b4`", "'"),
    }
)


def tidy(text: str) -> str:
    """Remove spaces at the ends, and make one plain space of every run of them inside. A letter and
    its accent are one character, as most keyboards have it and a Mac's file names do not.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_UNSEEN))
    return " ".join(text.split())


def plain(text: str) -> str:
    """Tidy a text and write hyphens and apostrophes plainly, as numbers and dates are read."""
    return tidy(text if text.isascii() and "`" not in text else text.translate(_PLAIN))


def worded(cell: Any) -> str:
    """Return a cell as text, bytes as the text that they are in UTF-8."""
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def is_missing_word(text: str) -> bool:
    """Say whether a cell says that there is no value."""
    return plain(text).lower() in MISSING_WORDS


def is_text(column: pd.Series[Any]) -> bool:
    """Say whether a column holds text, or objects of several kinds."""
    return column.dtype == object or isinstance(column.dtype, pd.StringDtype)


def listed(names: list[str], most: int = 8) -> str:
    """Return names in quotes, the first of them where they are many."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
