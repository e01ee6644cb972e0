"""All 65,536 logits of float16 and bfloat16: computed in float32, rounded once."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor

import oracle
from calls import COMPILED, Call
from cases import (
    GAMMAS,
    HALF_DTYPES,
    IMPLEMENTATIONS,
    SIGMOID,
    SOFTMAX,
    eps,
    evaluate,
    numbers,
    sigmoid_focal_loss,
    smallest_normal,
    softmax_focal_loss,
    wide,
)
from oracle import Array
from refocal.kernels.cpu import backend as cpu

# An error in float32 moves a result across the middle between two half-precision numbers only
# where the exact value lies next to it: of 65,536 results at most so many
NEAR_TIES = 12
CURVATURE_ULP = 0.7

EVERY_GAMMA = sorted({*map(float, GAMMAS), 0.25, 3.0, 10.0})
SOFT = 0.3

every_dtype = pytest.mark.parametrize("dtype", HALF_DTYPES, ids=str)


def every_number(dtype: torch.dtype) -> Tensor:
    return torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(dtype)


def ulp(values: Array, dtype: torch.dtype) -> Array:
    """Distance between neighbours of a half-precision dtype around exact values."""
    info = torch.finfo(dtype)
    _, exponent = np.frexp(np.maximum(np.abs(values), wide(info.tiny)))
    return np.ldexp(wide(info.eps), exponent - 1)


def assert_rounded(
    actual: Tensor, exact: Array, size: Array | None = None, *, k: float = 0, within: float = 0.51
) -> int:
    """Within so many ulp of the exact values; returns how many are beyond 0.5 ulp.

    Where terms of this ``size`` cancel, their own errors in float32, ``k`` eps, come on top.
    """
    got = numbers(actual)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    infinite = np.isinf(exact)
    np.testing.assert_array_equal(got[infinite], exact[infinite])
    finite = np.isfinite(exact)
    error = np.abs(got[finite] - exact[finite])
    if size is not None:
        error = np.maximum(error - k * eps(torch.float32) * size[finite], 0)
    error /= ulp(exact[finite], actual.dtype)
    np.testing.assert_array_less(error.max(), within)
    return int((error > 0.5).sum())


@cache
def exact_answers(dtype: torch.dtype, gamma: float) -> tuple[Array, Array]:
    s = numbers(every_number(dtype))
    rounded = numbers(torch.tensor(gamma, dtype=torch.float32))
    return oracle.value(s, rounded), oracle.slope(s, rounded)


@lru_cache(maxsize=4)
def exact_with_alpha(dtype: torch.dtype, gamma: float, y: float) -> oracle.Expected:
    """Of every logit, which each implementation is compared with."""
    z = every_number(dtype)
    rounded = numbers(torch.tensor(gamma))
    return oracle.sigmoid(
        numbers(z),
        numbers(torch.full(z.shape, y)),
        alpha=(wide(0.25), wide(0.75)),
        gamma=(rounded, rounded),
    )


def seen_by(implementation: str, actual: Tensor, exact: Array, gamma: float) -> Array:
    """The answer as far as a backend can give it: XLA takes subnormal numbers of float32 for 0.

    That is the modulator, which a slope multiplies by up to 1 + gamma.
    """
    if implementation != "jax":
        return exact
    floor = (1 + gamma) * smallest_normal(torch.float32)
    got = numbers(actual)
    tiny = np.abs(exact) < floor
    np.testing.assert_array_less(np.abs(got[tiny]), floor)
    return np.where(tiny, got, exact)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@every_dtype
@pytest.mark.parametrize("gamma", EVERY_GAMMA)
def test_value_and_gradient_of_every_logit(
    implementation: str, dtype: torch.dtype, gamma: float
) -> None:
    z = every_number(dtype)
    value, gradient = evaluate(
        implementation,
        sigmoid_focal_loss,
        z,
        torch.ones(z.shape, dtype=torch.bool),
        gamma=gamma,
        alpha=None,
        reduction="none",
    )
    assert value.dtype == gradient.dtype == dtype
    exact_value, exact_slope = exact_answers(dtype, gamma)
    exact_value = seen_by(implementation, value, exact_value, gamma)
    exact_slope = seen_by(implementation, gradient, exact_slope, gamma)
    assert assert_rounded(value, exact_value) < NEAR_TIES + gamma
    assert assert_rounded(gradient, exact_slope) < NEAR_TIES + gamma


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@every_dtype
@pytest.mark.parametrize("gamma", EVERY_GAMMA)
@pytest.mark.parametrize("y", [0.0, SOFT, 1.0])
def test_alpha_and_other_targets_at_every_logit(
    implementation: str, dtype: torch.dtype, gamma: float, y: float
) -> None:
    z = every_number(dtype)
    targets = torch.full(z.shape, y)
    value, gradient = evaluate(
        implementation, sigmoid_focal_loss, z, targets, gamma=gamma, alpha=0.25, reduction="none"
    )
    exact = exact_with_alpha(dtype, gamma, y)
    # ties are no accident here: 0.75 z, which a large loss is, lies in the middle for every odd z
    k = float(np.max(IMPLEMENTATIONS[implementation](wide(gamma), wide(0))))
    soft = 0 < y < 1
    exact_value = seen_by(implementation, value, exact.value, gamma)
    exact_slope = seen_by(implementation, gradient, exact.gradient, gamma)
    assert_rounded(value, exact_value, exact.value_size if soft else None, k=k)
    assert_rounded(gradient, exact_slope, exact.gradient_size if soft else None, k=k)


@pytest.mark.skipif(not cpu.NUMBA_IS_INSTALLED, reason="Numba is not installed")
@every_dtype
@pytest.mark.parametrize("gamma", EVERY_GAMMA)
@pytest.mark.parametrize("y", [0.0, SOFT, 1.0])
def test_compiled_code_has_the_bits_of_the_kernel(
    dtype: torch.dtype, gamma: float, y: float
) -> None:
    z = every_number(dtype)
    keywords = {"alpha": 0.25, "gamma": gamma, "reduction": "none"}
    call = Call(SIGMOID, z, torch.full(z.shape, y), keywords, torch.ones(()))
    for one, other in zip(call.evaluate(COMPILED), call.evaluate("cpu"), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@every_dtype
@pytest.mark.parametrize("gamma", EVERY_GAMMA)
@pytest.mark.parametrize("y", [0, 1])
def test_curvature_of_every_logit(dtype: torch.dtype, gamma: float, y: int) -> None:
    """By differentiating twice, which is the same text whatever ran the forward."""
    z = every_number(dtype).requires_grad_()
    loss = sigmoid_focal_loss(z, torch.full(z.shape, y), gamma=gamma, alpha=None, reduction="none")
    ones = torch.ones_like(loss)
    (gradient,) = torch.autograd.grad(loss, z, ones, create_graph=True)
    (actual,) = torch.autograd.grad(gradient, z, ones)
    assert actual.dtype == dtype
    s = numbers(z) * (1 if y else -1)
    rounded = numbers(torch.tensor(gamma))
    exact = np.where(np.isinf(s), 0, oracle.curvature(s, rounded))
    size = np.where(np.isinf(s), 0, oracle.curvature_size(s, rounded))
    assert_rounded(actual, exact, size, k=8 + 3 * gamma, within=CURVATURE_ULP)


@every_dtype
def test_the_other_side_is_the_mirror_image(dtype: torch.dtype) -> None:
    z = every_number(dtype)
    keywords = {"alpha": None, "reduction": "none"}
    positive, rising = evaluate(
        "eager", sigmoid_focal_loss, z, torch.ones(z.shape, dtype=torch.int8), **keywords
    )
    negative, falling = evaluate(
        "eager", sigmoid_focal_loss, -z, torch.zeros(z.shape, dtype=torch.int8), **keywords
    )
    exactly = {"rtol": 0, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(positive, negative, **exactly)
    torch.testing.assert_close(rising, -falling, **exactly)


@every_dtype
@pytest.mark.parametrize("link", [SIGMOID, SOFTMAX])
def test_sums_and_means_are_float32(dtype: torch.dtype, link: str) -> None:
    """A float16 sum would overflow at 65,504, a bfloat16 count stall at 256."""
    if link == SIGMOID:
        z, y = torch.full((100_000,), -20.0, dtype=dtype), torch.ones(100_000)
        function = sigmoid_focal_loss
        keywords = {"alpha": None}
    else:
        z = torch.tensor([[-20.0, 0.0]], dtype=dtype).repeat(100_000, 1)
        y = torch.zeros(100_000, dtype=torch.long)
        function = softmax_focal_loss
        keywords = {}
    one = float(oracle.value(-20.0, 2.0))
    total = function(z, y, reduction="sum", **keywords)
    mean = function(z, y, **keywords)
    torch.testing.assert_close(total, torch.tensor(100_000 * one))
    torch.testing.assert_close(mean, torch.tensor(one))


@every_dtype
def test_the_gradient_of_a_mean_is_divided_in_float32(dtype: torch.dtype) -> None:
    """Stored in half precision divided by 1e6 it would flush to 0, and a half upstream / N is 19 %
    off. 65,536 is what a gradient scaler starts with.
    """
    count, scale = 1_000_000, 65536.0
    z = torch.full((count,), -2.0, dtype=dtype, requires_grad=True)
    loss = sigmoid_focal_loss(z, torch.zeros(count), alpha=None)
    (loss * scale).backward()
    exact = -oracle.slope(2.0, 2.0) * scale / count
    torch.testing.assert_close(
        z.grad, torch.full_like(z, float(exact)), rtol=torch.finfo(dtype).eps, atol=0
    )


@every_dtype
def test_the_starting_point_of_a_detector(dtype: torch.dtype) -> None:
    """Easy negatives at z = -4.594, which the usual recipe loses altogether in bfloat16."""
    z = torch.tensor([-4.594], dtype=dtype)
    loss = sigmoid_focal_loss(z, torch.zeros(1), alpha=None)
    torch.testing.assert_close(loss, torch.tensor(float(oracle.value(-numbers(z), 2.0)[0])))


@every_dtype
def test_autocast_changes_neither_dtype_nor_value(dtype: torch.dtype) -> None:
    z = torch.randn(6, 4, dtype=dtype)
    y = torch.randint(0, 4, (6,))
    for reduction, expected in (("none", dtype), ("mean", torch.float32), ("sum", torch.float32)):
        outside = softmax_focal_loss(z, y, gamma=1.5, reduction=reduction)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = softmax_focal_loss(z, y, gamma=1.5, reduction=reduction)
        assert outside.dtype == expected
        torch.testing.assert_close(inside, outside, rtol=0, atol=0)
