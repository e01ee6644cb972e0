"""The encoding of a text file: marks at its start, else UTF-8 if it is that throughout.

What is neither is read as Windows-1252. Like every encoding of one byte a letter it keeps apart
what is different, so that columns and categories are right even where it spells names wrongly; see
docs/decisions/0006-reading-tables.md. A name that the user gave and that is in the file tells more.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

FALLBACK = "cp1252"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8_r", "mac_roman", "cp850"),
    *("iso8859_2", "iso8859_15", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)


def guess(sample: bytes) -> str:
    """Return the encoding that the first bytes of a file speak for: UTF-8 where none other is
    marked.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    even, odd = sample[0:2000:2], sample[1:2000:2]
    if len(odd) > 8:  # every second byte of Western text in UTF-16 is 0
        if odd.count(0) > 0.6 * len(odd) and even.count(0) < 0.1 * len(even):
            return "utf-16-le"
        if even.count(0) > 0.6 * len(even) and odd.count(0) < 0.1 * len(odd):
            return "utf-16-be"
    return "utf-8"


def fallback(sample: bytes, names: Sequence[str]) -> str:
    """Return the encoding of a file that is not UTF-8.

    Args:
        sample: its first bytes.
        names: columns that the user named: the encoding that they are found in is the right one.
    """
    telling = [name for name in names if not name.isascii()]
    for encoding in _OTHERS if telling else ():
        try:
            if all(name.encode(encoding) in sample for name in telling):
                return encoding
        except UnicodeEncodeError:
            continue
    return FALLBACK


def keep_undefined(error: UnicodeError) -> tuple[str, int]:
    """Make Latin-1's control characters of the five bytes that mean nothing in Windows-1252."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("refocal-keep", keep_undefined)
