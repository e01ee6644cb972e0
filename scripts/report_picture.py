"""The picture of a report that the README shows: its first screen, by Chromium, in light colours.

    python scripts/report_picture.py refocal-compare docs/img/report.png

Needs Chromium. `make picture` runs the demo and takes the picture.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SIZE = (1160, 760)
LARGEST = 200_000  # bytes


def main() -> None:
    """Take it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of a comparison")
    parser.add_argument("out", type=Path, help="PNG file")
    options = parser.parse_args()
    take(options.folder / "report.html", options.out)


def take(page: Path, out: Path) -> None:
    """The first screen of a page as a picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("There is no chromium on the path.")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                chromium,
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--disable-background-networking", "--no-first-run", "--disable-sync"),
                f"--user-data-dir={profile}",
                f"--window-size={SIZE[0]},{SIZE[1]}",
                f"--screenshot={out.resolve()}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    if out.stat().st_size > LARGEST:
        sys.exit(f"{out} has {out.stat().st_size:,} bytes, more than {LARGEST:,}.")


if __name__ == "__main__":
    main()
