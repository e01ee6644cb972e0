"""Which readers read a table right in every spelling that the tests know: a table for the record.

Run with the readers to try installed beside refocal's compare extra::

    pip install duckdb skrub charset-normalizer python-calamine
    python scripts/reading_tables.py

A spelling is read right if the rows, the numbers, the days and the two values of the target are
those of the plain table. What the rest is called or typed does not matter.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "compare"))

import test_compare_spellings as known
from spellings import plain_frame, text

from refocal import comparison

Reader = Callable[[Path], pd.DataFrame]
FRAME = plain_frame()


def pandas_alone(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, parse_dates=["day"])


def skrub_cleaner(path: Path) -> pd.DataFrame:
    from skrub import Cleaner

    cleaned: pd.DataFrame = Cleaner().fit_transform(pd.read_csv(path))
    return cleaned


def duckdb_sniffer(path: Path) -> pd.DataFrame:
    import duckdb

    frame: pd.DataFrame = duckdb.sql(f"from read_csv('{path}', sample_size=-1)").df()
    return frame


def refocal_itself(path: Path) -> pd.DataFrame:
    table = comparison.read_table(path, target="ended")
    features = pd.DataFrame(table.features)
    days = FRAME["day"].min() + pd.to_timedelta(features["day: day"], unit="D")
    return features.assign(day=days, ended=table.targets[:, 0])


READERS: dict[str, Reader] = {
    "pandas": pandas_alone,
    "pandas, then skrub's Cleaner": skrub_cleaner,
    "DuckDB's sniffer": duckdb_sniffer,
    "refocal": refocal_itself,
}


def right(frame: pd.DataFrame, expected: pd.DataFrame) -> bool:
    """Whether a frame holds the plain table's values; other numbers raise."""
    if len(frame) != len(expected):
        return False
    for name in ("amount", "share"):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            return False
        np.testing.assert_allclose(frame[name], expected[name], rtol=1e-9)
    days = frame["day"]
    if not pd.api.types.is_datetime64_any_dtype(days):
        return False
    days = days.dt.tz_convert("UTC").dt.tz_localize(None) if days.dt.tz is not None else days
    same = (days.astype("datetime64[s]").to_numpy() == expected["day"].to_numpy()).all()
    return bool(same) and frame["ended"].nunique() == 2


def groups() -> dict[str, dict[str, tuple[str | bytes, pd.DataFrame]]]:
    """The spellings of the tests, with the table that each must give."""
    holes = FRAME.copy()
    holes.loc[np.arange(len(holes)) % 7 == 3, "amount"] = np.nan
    lines = text(holes).splitlines()
    missing = {
        word: ("\n".join(f"{word}{x}" if x[0] == "," else x for x in lines), holes)
        for word in known.MISSING
    }
    return {
        "numbers": {key: (text(FRAME, **ways), FRAME) for key, (ways, _) in known.NUMBERS.items()},
        "missing values": missing,
        "dates": {key: (text(FRAME, day=day), FRAME) for key, (day, _) in known.DATES.items()},
        "forms of the file": {key: (content, FRAME) for key, (content, _) in known.FORMS.items()},
    }


WORDS = {
    "cp1252": ("geschätzt", ["rot", "grün", "blau"]),
    "latin-1": ("année", ["café", "thé", "lait"]),
    "iso8859-15": ("année", ["œuvre", "été", "12 €"]),
    "mac_roman": ("geschätzt", ["rot", "grün", "blau"]),
    "cp850": ("geschätzt", ["rot", "grün", "blau"]),
    "cp1250": ("słowo", ["żółty", "biały", "czerwony"]),
    "cp1251": ("цвет", ["красный", "белый", "синий"]),
    "koi8-r": ("цвет", ["красный", "белый", "синий"]),
    "cp1253": ("χρώμα", ["κόκκινο", "μπλε"]),
    "cp1254": ("yaş", ["kırmızı", "yeşil", "İstanbul"]),
    "shift_jis": ("年", ["赤い", "青い", "はい"]),
    "euc_jp": ("年", ["赤い", "青い", "カタカナ"]),
    "gb18030": ("年", ["红色", "蓝色", "男"]),
    "big5": ("年", ["紅色", "藍色", "男"]),
    "euc_kr": ("년", ["빨강", "파랑", "예"]),
}


def encodings(folder: Path) -> None:
    """Texts in 15 encodings: the letters right, and the table right."""
    from charset_normalizer import from_bytes

    from refocal.comparison.data.encodings import FALLBACK, fallback

    spelled, named, apart = 0, 0, 0
    for encoding, (name, words) in WORDS.items():
        rows = "".join(f"{k * k % 97};{words[k % len(words)]};{k % 4 == 0}\n" for k in range(300))
        whole = f"x;{name};ended\n{rows}"
        raw = whole.encode(encoding)
        best = from_bytes(raw).best()
        spelled += best is not None and str(best) == whole
        named += raw.decode(fallback(raw, [name])) == whole
        path = folder / "t.csv"
        path.write_bytes(raw)
        table = comparison.read_table(path, target="ended")
        features = pd.DataFrame(table.features)
        apart += features.iloc[:, 1].nunique() == len(words)
    print(
        f"\nOf {len(WORDS)} encodings that are not UTF charset-normalizer spells {spelled} right."
    )
    print(f"{FALLBACK} keeps the categories of {apart} apart; a column's name tells {named}.")


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print("| read right | " + " | ".join(READERS) + " |\n|---|" + "---|" * len(READERS))
    with tempfile.TemporaryDirectory() as folder:
        for title, spellings in groups().items():
            counts = dict.fromkeys(READERS, 0)
            for content, expected in spellings.values():
                path = Path(folder) / "t.csv"
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
                for name, reader in READERS.items():
                    try:
                        counts[name] += right(reader(path), expected)
                    except Exception:  # each reader refuses in its own way
                        continue
            row = " | ".join(str(counts[name]) for name in READERS)
            print(f"| {title}, of {len(spellings)} | {row} |")
        encodings(Path(folder))


if __name__ == "__main__":
    main()
