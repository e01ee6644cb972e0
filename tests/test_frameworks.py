"""docs/tables/frameworks.md: the table is whole, within its bound, and what is measured again."""

from __future__ import annotations

from pathlib import Path

import pytest
from trust import frameworks

LINES = (Path(__file__).parents[1] / frameworks.TABLE).read_text().splitlines()[2:]
ROWS = {tuple(line.strip("| ").split(" | ")[:2]): line.split(" | ")[2:] for line in LINES}


def test_the_table_has_every_framework_and_dtype() -> None:
    names = {
        (framework, dtype)
        for framework in frameworks.FRAMEWORKS
        for dtype in frameworks.dtypes_of(framework)
    }
    assert set(ROWS) == names


def slack(framework: str, gamma: float) -> float:
    return 4 + (1.5 + (framework == "NumPy") / 2) * gamma


@pytest.mark.parametrize(("framework", "dtype"), ROWS)
def test_every_row_is_within_the_tolerance(framework: str, dtype: str) -> None:
    """4 + 1.5 gamma eps; in half precision the rounding of the result alone.

    NumPy's exponential of single-precision numbers is wrong by more than one eps, where the others'
    are not, and an exponent of gamma multiplies that.
    """
    for gamma, cell in zip(frameworks.GAMMAS, ROWS[framework, dtype], strict=True):
        bound = 0.5 if "16" in dtype else slack(framework, gamma)
        assert max(map(float, cell.strip("| ").split(" / "))) <= bound


@pytest.mark.parametrize("framework", ["torch, plain", "NumPy"])
def test_a_row_is_measured(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frameworks, "SAMPLE", 5_000)
    for dtype, found in frameworks.errors(framework).items():
        for gamma, pair in zip(frameworks.GAMMAS, found, strict=True):
            assert 0.4 < max(pair) <= slack(framework, gamma), (dtype, gamma)
