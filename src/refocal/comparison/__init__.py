"""Is focal loss worth it on this data? The experiment behind `refocal compare`.

``refocal.compare(model, data)`` trains models with each loss, measures them and recommends one;
`diagnose` asks logits that exist. Needs the extra: ``pip install 'refocal[compare]'``.
"""

try:
    from refocal.comparison.api import compare
    from refocal.comparison.curves import focal_svg
    from refocal.comparison.data.flights import flights_table
    from refocal.comparison.data.sources import frame_table, read_table
    from refocal.comparison.data.table import Table
    from refocal.comparison.diagnosis import Diagnosis, diagnose, read_logits
    from refocal.comparison.diagnosis import to_json as diagnosis_json
    from refocal.comparison.errors import CompareError
    from refocal.comparison.experiment import run
    from refocal.comparison.folder import check_folder, free_folder, workplace
    from refocal.comparison.plan import Costs, Plan
    from refocal.comparison.report.files import rebuild, summary, write
    from refocal.comparison.results import Results
    from refocal.comparison.training.named import NAMES, by_name
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
    "Diagnosis",
    "Plan",
    "Results",
    "Table",
    "by_name",
    "check_folder",
    "compare",
    "diagnose",
    "diagnosis_json",
    "flights_table",
    "focal_svg",
    "frame_table",
    "free_folder",
    "read_logits",
    "read_table",
    "rebuild",
    "run",
    "summary",
    "workplace",
    "write",
]
