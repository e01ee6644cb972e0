"""The coefficients of the kernels' exp and log1p are those that the fit finds."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("mpmath")

from scripts.fit_polynomials import EXP, LOG1P, Function, in_library, largest_error, rounded_fit


@pytest.mark.parametrize("function", [EXP, LOG1P], ids=lambda function: function.name)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_the_library_has_what_the_fit_finds(function: Function, real: type) -> None:
    fit = rounded_fit(function, real)
    assert fit == in_library(function, real)
    assert largest_error(function, fit, real) < 0.05  # as compiled/math.py says
