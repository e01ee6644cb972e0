"""Is focal loss worth it on this data? The experiment behind `refocal compare`.

The package is callable: ``refocal.compare(model, data)`` is `refocal.compare.compare`, which trains
models with each loss, measures them and recommends one. `diagnose` asks logits that exist. Needs
the extra: ``pip install 'refocal[compare]'``.
"""

import sys
from types import ModuleType
from typing import Any

try:
    from refocal.compare.api import compare
    from refocal.compare.curves import focal_svg
    from refocal.compare.data.flights import flights_table
    from refocal.compare.data.sources import frame_table, read_table
    from refocal.compare.data.table import Table
    from refocal.compare.diagnosis import Diagnosis, diagnose, read_logits
    from refocal.compare.diagnosis import to_json as diagnosis_json
    from refocal.compare.errors import CompareError
    from refocal.compare.experiment import run
    from refocal.compare.folder import check_folder, workplace
    from refocal.compare.plan import Costs, Plan
    from refocal.compare.report.files import rebuild, summary, write
    from refocal.compare.results import Results
    from refocal.compare.training.models import NAMES, by_name
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
    "read_logits",
    "read_table",
    "rebuild",
    "run",
    "summary",
    "workplace",
    "write",
]


class _Callable(ModuleType):
    """A module that is called as the function of its own name."""

    def __call__(self, *arguments: Any, **options: Any) -> Results:
        return compare(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
