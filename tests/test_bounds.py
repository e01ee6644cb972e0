"""The CPU kernels touch nothing beyond the tensors that they are given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

SCRIPT = Path(__file__).parent / "between_guards.py"


@pytest.mark.skipif(sys.platform != "linux", reason="the guards are Linux' pages")
def test_nothing_is_touched_beyond_a_tensor() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "480 calls\n"
