"""The report once more, from the results that lie in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from refocal.comparison.errors import CompareError
from refocal.comparison.folder import write_files
from refocal.comparison.results import Results


def rebuild(folder: Path) -> None:
    """Write everything but `run.json` anew from the folder's results.json.

    Raises:
        CompareError: there is no results.json of this version, or the folder cannot be written.
    """
    path = folder / "results.json"
    try:
        results = Results.from_dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise CompareError(f"there is no {path}.") from None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CompareError(
            f"{path} cannot be read as the results of this version: {reason}."
        ) from error
    from refocal.comparison.report.files import report_files  # what is refused needs no framework

    write_files(folder, report_files(results))
