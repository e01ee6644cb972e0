"""The data that come with refocal.

`flights.npz` is 336,776 flights, 2.45 % of them cancelled; `flights.NOTICE` says where they come
from and under which licence (CC0), `flights.sha256` holds the file's hash.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["flights"]

Column: TypeAlias = npt.NDArray[Any]

_WEATHER = "weather_"
_HOURS = 365 * 24


def flights() -> dict[str, Column]:
    """Return every flight scheduled out of New York City in 2013, one array per column.

    Returns:
        336,776 rows each. `cancelled` (bool) is the target. `day_of_year` (0 for 1 January) is for
        splitting: cancellations come in storms, so rows of one day must stay together. The rest
        was known when the flight was to leave: `month`, `weekday` (0 is Monday), `carrier`,
        `origin`, `dest`, `flight` (its number), `sched_dep_time` and `sched_arr_time` (minutes
        after midnight), `distance` (miles), and the weather at the origin in the scheduled hour:
        `temp` and `dewp` (degrees Fahrenheit), `humid` (%), `wind_dir` (degrees), `wind_speed` and
        `wind_gust` (mph), `precip` (inches), `pressure` (millibars), `visib` (miles); NaN where
        missing.

    Example:
        >>> columns = flights()
        >>> columns["cancelled"].size, int(columns["cancelled"].sum())
        (336776, 8255)
    """
    with (
        as_file(files(__name__) / "flights.npz") as path,
        np.load(path, allow_pickle=False) as pack,
    ):
        packed: dict[str, Column] = dict(pack)

    day = packed["day_of_year"].astype(np.int64)
    date = np.datetime64("2013-01-01") + day.astype("timedelta64[D]")
    columns: dict[str, Column] = {
        "day_of_year": day,
        "month": date.astype("datetime64[M]").astype(np.int64) % 12 + 1,
        "weekday": (day + 1) % 7,  # 1 January 2013 was a Tuesday
    }
    for name in ("carrier", "origin", "dest"):
        columns[name] = packed[f"{name}_names"][packed[name]]
    columns["flight"] = packed["flight"]
    for name in ("sched_dep_time", "sched_arr_time"):
        hours, minutes = np.divmod(packed[name].astype(np.int64), 100)  # 1730 is half past five
        columns[name] = hours * 60 + minutes
    columns["distance"] = packed["distance"]
    columns.update(_weather(packed, day))
    columns["cancelled"] = np.unpackbits(packed["cancelled"], count=day.size).astype(bool)
    return columns


def _weather(packed: dict[str, Column], day: Column) -> dict[str, Column]:
    """Return the weather table joined to the flights by airport and scheduled hour."""
    rows = np.full((packed["origin_names"].size, _HOURS), -1)
    hours = packed["weather_hour"]
    rows[packed["weather_origin"], hours] = np.arange(hours.size)
    row = rows[packed["origin"], day * 24 + packed["sched_dep_time"] // 100]
    names = [n for n in packed if n.startswith(_WEATHER) and packed[n].dtype.kind == "f"]
    return {
        name.removeprefix(_WEATHER): np.where(row < 0, np.float32(np.nan), packed[name][row])
        for name in names
    }
