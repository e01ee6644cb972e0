"""Is focal loss worth it on this data? The experiment behind `refocal compare`.

`run` trains models with each loss, measures them and recommends one; `write` makes the folder with
the report. Needs the extra: ``pip install 'refocal[compare]'``.
"""

try:
    from refocal.compare.curves import focal_svg
    from refocal.compare.data import flights_table, frame_table, read_table
    from refocal.compare.errors import CompareError
    from refocal.compare.experiment import run
    from refocal.compare.folder import check_folder, workplace
    from refocal.compare.models import NAMES, by_name
    from refocal.compare.plan import Costs, Plan
    from refocal.compare.report import rebuild, summary, write
    from refocal.compare.results import Results
    from refocal.compare.table import Table
except ModuleNotFoundError as error:
    if (error.name or "").startswith("refocal"):
        raise
    raise ImportError(
        f"{error.name} is not installed. Install it with: pip install 'refocal[compare]'"
    ) from error

__all__ = [
    "NAMES",
    "CompareError",
    "Costs",
    "Plan",
    "Results",
    "Table",
    "by_name",
    "check_folder",
    "flights_table",
    "focal_svg",
    "frame_table",
    "read_table",
    "rebuild",
    "run",
    "summary",
    "workplace",
    "write",
]
