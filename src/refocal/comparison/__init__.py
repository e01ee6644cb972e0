"""Is focal loss worth it on this data? The experiment behind `refocal compare`.

``refocal.compare(model, data)`` trains models with each loss, measures them and recommends one;
`diagnose` asks logits that exist. Needs the extra: ``pip install 'refocal[compare]'``.
"""

from typing import TYPE_CHECKING

from refocal.lazy import lazily

if TYPE_CHECKING:
    from refocal.comparison.api import compare
    from refocal.comparison.curves import focal_svg
    from refocal.comparison.data.flights import flights_table
    from refocal.comparison.data.logits import read_logits
    from refocal.comparison.data.sources import frame_table, read_table
    from refocal.comparison.data.table import Table
    from refocal.comparison.diagnosis import Diagnosis, diagnose, diagnosis_json
    from refocal.comparison.errors import CompareError
    from refocal.comparison.experiment import run
    from refocal.comparison.folder import check_folder, free_folder, workplace
    from refocal.comparison.plan import Costs, Plan
    from refocal.comparison.report.again import rebuild
    from refocal.comparison.report.files import summary, write
    from refocal.comparison.results import Results
    from refocal.comparison.training.named import NAMES, by_name, check_names

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
    "check_names",
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

# Where each name is defined, as above; a file that is refused needs no framework.
_ROOMS = {
    "NAMES": "training.named",
    "CompareError": "errors",
    "Costs": "plan",
    "Diagnosis": "diagnosis",
    "Plan": "plan",
    "Results": "results",
    "Table": "data.table",
    "by_name": "training.named",
    "check_folder": "folder",
    "check_names": "training.named",
    "compare": "api",
    "diagnose": "diagnosis",
    "diagnosis_json": "diagnosis",
    "flights_table": "data.flights",
    "focal_svg": "curves",
    "frame_table": "data.sources",
    "free_folder": "folder",
    "read_logits": "data.logits",
    "read_table": "data.sources",
    "rebuild": "report.again",
    "run": "experiment",
    "summary": "report.files",
    "workplace": "folder",
    "write": "report.files",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _ROOMS, needs=dict.fromkeys(_ROOMS, "compare"))
