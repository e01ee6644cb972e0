"""value, slope and curvature of (s, x): the oracle's two forms, the book, its limits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_less
from torch import Tensor

import oracle
from cases import eps
from refocal import formula, links
from refocal.formula import focal, hessian, in_torch, plain, posterior

MARGINS = (-700.0, -45.5, -12.6, -2.790377, -1.0, -1e-8, 0.0, 0.3, 1.0, 12.6, 17.0, 40.0, 300.0)
GAMMAS = (0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0)
DERIVATIVES = (oracle.value, oracle.slope, oracle.curvature)
PYTHON = {"value": focal.value, "slope": focal.slope, "curvature": focal.curvature}
GENERAL = ("power", "exponential", "compensated", "raised")
every_gamma = pytest.mark.parametrize("gamma", GAMMAS)


# ---------------------------------------------------------------------------------------------
# the oracle itself


@every_gamma
@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_fast_oracle_is_the_literal_formula(gamma: float, order: int) -> None:
    """Two forms from the same paper, one differentiated numerically at 60 digits and more."""
    for s in MARGINS:
        with mpmath.workdps(40):
            literal = oracle.exact(s, gamma, order)
            fast = mpmath.mpf(
                np.format_float_scientific(DERIVATIVES[order](s, gamma), precision=25)
            )
            error = float(abs(fast - literal) / (abs(literal) or 1))
        # beside the curvature's root, at gamma 2, six digits cancel
        root = (s, gamma, order) == (-2.790377, 2.0, 2)
        assert_array_less(error, 1e-11 if root else (1 + gamma) * 4e-18, err_msg=f"s = {s}")


# ---------------------------------------------------------------------------------------------
# the expressions over Python floats


@every_gamma
@pytest.mark.parametrize("function", PYTHON)
def test_expressions_over_python_floats(function: str, gamma: float) -> None:
    order = list(PYTHON).index(function)
    for s in MARGINS:
        expected = DERIVATIVES[order](s, gamma)
        size = curvature_size(s, gamma) if function == "curvature" else abs(expected)
        error = abs(PYTHON[function](s, math.exp(-abs(s)), gamma) - expected)
        assert_array_less(error, (8 + 2 * gamma) * eps(torch.float64) * size + 1e-307)


def curvature_size(s: oracle.Array, gamma: float) -> oracle.Array:
    """The sum of the sizes of its two terms: it cancels at its root and nowhere else."""
    p, q, ce = oracle.parts(s)
    return p * q**gamma * ((1 + 2 * gamma) * q + gamma * np.abs(gamma * p - q) * ce)


def test_values_by_hand() -> None:
    half = math.log(2)
    assert_allclose(focal.value(0.0, 1.0, 0.0), half, rtol=1e-15)
    assert_allclose(focal.value(0.0, 1.0, 2.0), half / 4, rtol=1e-15)
    assert_allclose(focal.slope(0.0, 1.0, 2.0), -(0.5 + half) / 4, rtol=1e-15)
    # p = 0.8: odds of 4 to 1
    assert_allclose(focal.value(math.log(4), 0.25, 2.0), -0.04 * math.log(0.8), rtol=1e-15)


@every_gamma
def test_limits(gamma: float) -> None:
    assert focal.value(math.inf, 0.0, gamma) == 0
    assert focal.value(-math.inf, 0.0, gamma) == math.inf
    assert focal.slope(-math.inf, 0.0, gamma) == -1
    assert focal.slope(math.inf, 0.0, gamma) == 0
    assert focal.curvature(-math.inf, 0.0, gamma) == 0
    assert focal.curvature(math.inf, 0.0, gamma) == 0
    # F e^((1 + gamma) s) -> 1
    s = 60.0 / (1 + gamma)
    assert_allclose(
        focal.value(s, math.exp(-s), gamma) * math.exp((1 + gamma) * s),
        1,
        rtol=2 * (1 + gamma) * math.exp(-s) + 1e-12,
    )


def test_the_inflection_at_gamma_two() -> None:
    s = -2.790377
    before, after = (focal.curvature(s + step, math.exp(s + step), 2.0) for step in (-1e-6, 1e-6))
    assert before < 0 < after
    assert_allclose(focal.slope(s, math.exp(s), 2.0), -1.128983, atol=5e-7)


def stand_in(kind: str, s: float, gamma: float, *, detached: bool = False) -> float:
    x = math.exp(-abs(s))
    p, q = focal.probability(s, x), focal.complement(s, x)
    slope = focal.value_and_detached_slope(s, x, gamma)[1] if detached else focal.slope(s, x, gamma)
    return float(getattr(hessian, f"hessian_{kind}")(s, x, gamma, p, q, slope))


@every_gamma
def test_the_other_stand_ins(gamma: float) -> None:
    for s in MARGINS:
        exact = focal.curvature(s, math.exp(-abs(s)), gamma)
        assert stand_in("exact", s, gamma) == exact
        assert stand_in("absolute", s, gamma) == abs(exact)
        p, q, _ = oracle.parts(oracle.wide(s))
        assert_allclose(stand_in("cross_entropy", s, gamma), float(p * q), rtol=1e-14)


@every_gamma
def test_the_curvature_bound_holds(gamma: float) -> None:
    for s in np.linspace(-40, 40, 401):
        x = math.exp(-abs(s))
        bound = stand_in("bound", s, gamma)
        p = oracle.parts(oracle.wide(s))[0]
        assert_allclose(bound, float(-(1 + gamma) * p * oracle.slope(s, gamma)), rtol=1e-14)
        assert bound > 0
        assert_array_less(focal.curvature(s, x, gamma), bound * (1 + 1e-14))


@every_gamma
def test_the_detached_curvature_is_the_derivative_of_the_detached_slope(gamma: float) -> None:
    for s in MARGINS[1:]:
        with mpmath.workdps(60):
            expected = mpmath.diff(lambda t: -((1 + mpmath.exp(t)) ** (-gamma - 1)), s)
        actual = stand_in("bound", s, gamma, detached=True)
        assert_allclose(actual, float(expected), rtol=1e-13)


@every_gamma
def test_log_slope(gamma: float) -> None:
    for s in MARGINS:
        expected = float(np.log(-oracle.slope(s, gamma)))
        actual = posterior.log_slope(s, math.exp(-abs(s)), gamma)
        assert_allclose(actual, expected, rtol=1e-14, atol=1e-14)


# ---------------------------------------------------------------------------------------------
# bound to torch


def margins(dtype: torch.dtype) -> Tensor:
    return torch.linspace(-60, 60, 2401, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_gamma
def test_curvature_in_torch(dtype: torch.dtype, gamma: float) -> None:
    s = margins(dtype)
    actual = in_torch.for_gamma(gamma, "power").curvature(s, links.decay(s), gamma)
    gamma = float(torch.tensor(gamma, dtype=dtype))
    error = np.abs(actual.numpy() - oracle.curvature(s.numpy(), gamma))
    bound = (8 + 2 * gamma) * eps(dtype) * curvature_size(s.numpy(), gamma)
    assert_array_less((error / (bound + torch.finfo(dtype).tiny)).max(), 1)


@pytest.mark.parametrize("modulator", GENERAL)
@every_gamma
def test_modulators_agree(modulator: str, gamma: float) -> None:
    """Four expressions of q**gamma; the compensated one needs the fused multiply-add Python has."""
    book = formula.bind(
        {"exp": math.exp, "log1p": math.log1p, "where": plain.where, "fma": plain.fma}
        | {"power": math.pow, "log": math.log},
        modulator,
    )
    for s in MARGINS:
        x = math.exp(-abs(s))
        exact = float(1 / (1 + np.exp(oracle.wide(s))) ** oracle.wide(gamma))
        actual = book.modulator(s, math.log1p(x), book.complement(s, x), gamma)
        k = 4 + gamma * (1 + max(s, 0) / 2 * (modulator in ("exponential", "raised")))
        assert_allclose(actual, exact, rtol=k * eps(torch.float64), atol=1e-300)


@pytest.mark.parametrize("modulator", GENERAL)
def test_the_modulator_of_an_infinite_margin(modulator: str) -> None:
    """1 at gamma 0, where its exponent is no 0 times infinity."""
    operations = {"exp": math.exp, "log1p": math.log1p, "where": plain.where, "power": math.pow}
    operations["log"] = math.log
    book = formula.bind({**operations, "fma": plain.fma}, modulator)
    assert book.modulator(math.inf, 0.0, 0.0, 0.0) == 1
    assert book.modulator(math.inf, 0.0, 0.0, 2.0) == 0


def test_three_gammas_have_exact_modulators() -> None:
    chosen = {gamma: formula.modulator_for(gamma, "general") for gamma in GAMMAS}
    exact = {0.0: "zero", 1.0: "one", 2.0: "two"}
    assert chosen == {gamma: exact.get(gamma, "general") for gamma in GAMMAS}
    assert formula.modulator_for(2, "general") == "two"
    for array in (torch.tensor(2.0), np.array(2.0)):
        assert formula.modulator_for(array, "general") == "general"


@pytest.mark.parametrize("gamma", formula.EXACT)
def test_exact_modulators_are_powers(gamma: float) -> None:
    s = margins(torch.float64)
    names = (formula.modulator_for(gamma, "power"), "power")
    short, general = (in_torch.bound(name).value(s, links.decay(s), gamma) for name in names)
    torch.testing.assert_close(short, general, rtol=2 * eps(torch.float64), atol=0)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_expressions_are_safe_to_differentiate(gamma: float, dtype: torch.dtype) -> None:
    """First, second and third derivative by autograd: finite everywhere and the oracle's at 0."""
    largest = torch.finfo(dtype).max
    edges = [0.0, -0.0, 1e-3, 20, -20, 90, -90, 800, -800, largest, -largest, torch.inf, -torch.inf]
    s = torch.tensor(edges, dtype=dtype, requires_grad=True)
    derivative = in_torch.for_gamma(gamma, "exponential").value(s, links.decay(s), gamma)
    for order in (1, 2, 3):
        (derivative,) = torch.autograd.grad(derivative.sum(), s, create_graph=True)
        torch.testing.assert_close(derivative, derivative.nan_to_num(torch.inf, 0, 0))
        exact = [float(oracle.exact(one, gamma, order)) for one in (0.0, 0.0, 1e-3, 20.0, -20.0)]
        torch.testing.assert_close(
            derivative[:5].detach(),
            torch.tensor(exact, dtype=dtype),
            rtol=100 * eps(dtype),
            atol=(1 + gamma) ** 3 * eps(dtype),
        )
