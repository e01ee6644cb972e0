"""The posterior recovers the probability whose expected loss the logits minimise."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import oracle
from cases import POSTERIORS, SIGMOID
from refocal import sigmoid_posterior, softmax_posterior

DOUBLE = torch.float64
PROBABILITIES = (1e-6, 1e-3, 0.0245, 0.3, 0.5, 0.77, 0.99, 1 - 1e-6)
PAIRS = ((0, 0), (0.5, 0.5), (1, 1), (2, 2), (5, 5), (0, 4), (2.5, 1))
VECTORS = ([0.2, 0.3, 0.5], [0.98, 0.015, 0.005], [0.7, 0.3], [0.01, 0.09, 0.4, 0.5])
TO_1E9 = {"rtol": 0, "atol": 1e-9}
every_pair = pytest.mark.parametrize("gamma", PAIRS, ids=str)
every_mode = pytest.mark.parametrize("detached", [False, True], ids=["attached", "detached"])
every_smoothing = pytest.mark.parametrize("smoothing", [0.0, 0.1])


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


# ---------------------------------------------------------------------------------------------
# minimise the risk, then ask for the probability


@every_pair
@every_mode
@every_smoothing
@pytest.mark.parametrize("alpha", [0.05, 0.25, 0.5, 0.9])
def test_sigmoid_posterior_inverts_the_minimiser(
    gamma: tuple[float, float], detached: bool, smoothing: float, alpha: float
) -> None:
    logits = [
        oracle.best_logit(p, alpha=alpha, gamma=gamma, smoothing=smoothing, detached=detached)
        for p in PROBABILITIES
    ]
    keywords = {
        "alpha": alpha,
        "gamma": gamma if gamma[0] != gamma[1] else gamma[0],
        "label_smoothing": smoothing,
        "detach_modulator": detached,
    }
    posterior = sigmoid_posterior(tensor(logits), **keywords)
    assert_close(posterior, tensor(PROBABILITIES), **TO_1E9)
    odds = sigmoid_posterior(tensor(logits), log_odds=True, **keywords)
    assert_close(odds, tensor(PROBABILITIES).logit(), rtol=1e-9, atol=1e-7)


@every_mode
@every_smoothing
@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 5, [0, 1, 2, 3]], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_posterior_inverts_the_minimiser(
    detached: bool, smoothing: float, gamma: float | list[float], weighted: bool
) -> None:
    for vector in VECTORS:
        classes = len(vector)
        gammas = gamma[:classes] if isinstance(gamma, list) else gamma
        alpha = np.linspace(0.5, 2, classes) if weighted else 1.0
        logits = oracle.best_logits(
            np.array(vector),
            alpha=alpha,
            gamma=np.array(gammas),
            smoothing=smoothing,
            detached=detached,
        )
        posterior = softmax_posterior(
            tensor(logits)[None],
            alpha=tensor(alpha) if weighted else None,
            gamma=tensor(gammas) if isinstance(gammas, list) else gammas,
            label_smoothing=smoothing,
            detach_modulator=detached,
        )
        assert_close(posterior, tensor([vector]), **TO_1E9)


def test_the_minimum_is_one() -> None:
    """The oracle's root is lower than its neighbours: what it inverts is a minimum of the risk."""
    p, gamma = 0.3, (2, 1)
    best = oracle.best_logit(p, alpha=0.25, gamma=gamma)
    risk = [
        oracle.sigmoid(best + step, p, alpha=(0.25, 0.75), gamma=gamma).value
        for step in (-0.01, 0, 0.01)
    ]
    assert risk[1] < min(risk[0], risk[2])
    best = oracle.best_logits(np.array([0.2, 0.3, 0.5]), gamma=2)
    centre = oracle.softmax(best[None], np.array([[0.2, 0.3, 0.5]]), gamma=2).value
    for step in itertools.product((-0.01, 0, 0.01), repeat=2):
        moved = best + np.array([0, *step])
        assert oracle.softmax(moved[None], np.array([[0.2, 0.3, 0.5]]), gamma=2).value >= centre


# ---------------------------------------------------------------------------------------------
# known answers


def test_the_focal_optimal_constant_of_the_flights() -> None:
    assert_close(sigmoid_posterior(tensor([-1.5443])), tensor([0.045]), rtol=0, atol=1e-5)
    assert_close(
        sigmoid_posterior(tensor([math.log(0.01 / 0.99)])), tensor([8.5e-6]), rtol=0.01, atol=0
    )


def test_gamma_zero_is_the_sigmoid_and_the_softmax() -> None:
    z = torch.randn(20, 3, dtype=DOUBLE) * 5
    assert_close(sigmoid_posterior(z, alpha=None, gamma=0), torch.sigmoid(z))
    assert_close(softmax_posterior(z, gamma=0.0), torch.softmax(z, 1))


@pytest.mark.parametrize("alpha", [None, 0.3])
def test_a_detached_binary_posterior_is_a_temperature(alpha: float | None) -> None:
    z = torch.linspace(-50, 50, 41, dtype=DOUBLE)
    offset = 0 if alpha is None else math.log((1 - alpha) / alpha)
    odds = sigmoid_posterior(z, alpha=alpha, gamma=1.5, detach_modulator=True, log_odds=True)
    assert_close(odds, 2.5 * z + offset)


@every_pair
def test_two_classes_are_one_sigmoid(gamma: tuple[float, float]) -> None:
    z = torch.randn(20, 2, dtype=DOUBLE) * 4
    both = softmax_posterior(z, gamma=tensor(gamma[::-1]), alpha=tensor([0.8, 0.2]))
    one = sigmoid_posterior(z[:, 1] - z[:, 0], gamma=gamma, alpha=0.2)
    assert_close(both[:, 1], one)


def test_log_odds_are_of_the_probability() -> None:
    z = torch.linspace(-8, 8, 33, dtype=DOUBLE)
    for keywords in ({}, {"gamma": (0.5, 3.0)}, {"label_smoothing": 0.05}, {"temperature": 3}):
        odds = sigmoid_posterior(z, log_odds=True, **keywords)
        assert_close(torch.sigmoid(odds), sigmoid_posterior(z, **keywords))


def test_log_odds_keep_their_digits() -> None:
    """Where the probability rounds to 1 they are (1 + gamma) z - log(1 + gamma)."""
    z = tensor([100.0, 200.0, 1e5])
    odds = sigmoid_posterior(z, gamma=2.0, alpha=None, log_odds=True)
    assert_close(odds, 3 * z - math.log(3), rtol=1e-15, atol=0)


SOFTMAX_SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cross-entropy": {"gamma": 0.0},
    "weighted": {"alpha": torch.tensor([0.2, 1.0, 3.0]), "gamma": torch.tensor([0.0, 1.0, 3.5])},
    "detached": {"detach_modulator": True},
    "smoothed": {"label_smoothing": 0.05},
    "tempered": {"temperature": 0.5},
    "all": {"gamma": 5.0, "label_smoothing": 0.1, "temperature": torch.tensor(3.0)},
}
every_setting = pytest.mark.parametrize("settings", SOFTMAX_SETTINGS.values(), ids=SOFTMAX_SETTINGS)


@every_setting
@pytest.mark.parametrize("sizes", [(3,), (20, 3), (4, 3, 5)], ids=str)
def test_log_probabilities_are_of_the_probabilities(
    settings: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    z = torch.randn(sizes, dtype=DOUBLE) * 3
    logs = softmax_posterior(z, log_probabilities=True, **settings)
    assert_close(torch.exp(logs), softmax_posterior(z, **settings))
    leaf = z.clone().requires_grad_()
    smooth = {**settings, "label_smoothing": 0.0}  # its clipping has no derivative

    def function(z: Tensor) -> Tensor:
        return softmax_posterior(z, log_probabilities=True, **smooth)

    assert torch.autograd.gradcheck(function, leaf)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
@pytest.mark.parametrize("gap", [1.0, 40.0, 900.0, 1e5, 1e37])
def test_log_probabilities_keep_their_digits(
    dtype: torch.dtype, detached: bool, gamma: float, gap: float
) -> None:
    """Two classes are one sigmoid: log P is -log(1 + exp(-odds)), however small P is."""
    gap = float(torch.tensor(gap, dtype=dtype))
    keywords = {"gamma": gamma, "detach_modulator": detached}
    odds = sigmoid_posterior(tensor([gap]), alpha=None, log_odds=True, **keywords)
    logs = softmax_posterior(
        torch.tensor([[gap / 2, -gap / 2]], dtype=dtype), log_probabilities=True, **keywords
    )
    for actual, sign in zip(logs[0], (1, -1), strict=True):
        expected = -torch.logaddexp(tensor(0.0), -sign * odds[0])
        # the likely class' is exp(-odds), as exact as the rounding of the odds leaves it
        bound = 8 * (float(odds) if sign == 1 else 1) + 8
        assert_close(
            actual, expected.to(dtype), rtol=min(bound * torch.finfo(dtype).eps, 0.1), atol=0
        )


@every_setting
def test_log_probabilities_of_what_is_masked(settings: dict[str, Any]) -> None:
    z = torch.tensor([[0.3, -torch.inf, -0.2], [-torch.inf, 1.0, -torch.inf]], requires_grad=True)
    logs = softmax_posterior(z, log_probabilities=True, **settings)
    assert_close(logs == -torch.inf, z == -torch.inf)
    logs[0, 0].backward()
    assert not z.grad.isnan().any()


def test_log_probabilities_are_of_the_kind_of_their_flag() -> None:
    message = r"^softmax_posterior: log_probabilities must be True or False, got int\."
    with pytest.raises(TypeError, match=message):
        softmax_posterior(torch.zeros(3), log_probabilities=1)


@pytest.mark.parametrize("temperature", [0.5, 2, torch.tensor(3.0)], ids=str)
def test_temperature_divides_the_log_odds(temperature: float | Tensor) -> None:
    z = torch.randn(10, 3, dtype=DOUBLE)
    divisor = float(temperature)
    plain = sigmoid_posterior(z, log_odds=True)
    assert_close(sigmoid_posterior(z, log_odds=True, temperature=temperature), plain / divisor)
    for smoothing in (0.0, 0.1):
        scores = softmax_posterior(z, label_smoothing=smoothing).log() / divisor
        assert_close(
            softmax_posterior(z, temperature=temperature, label_smoothing=smoothing),
            torch.softmax(scores, 1),
        )


def test_one_class_is_certain() -> None:
    for keywords in ({}, {"gamma": 0}, {"alpha": torch.ones(1)}, {"label_smoothing": 0.1}):
        assert_close(softmax_posterior(torch.randn(4, 1), **keywords), torch.ones(4, 1))


def test_shapes_and_dtypes() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, DOUBLE):
        for sizes in ((), (0,), (5,), (4, 3), (2, 3, 4)):
            z = torch.randn(sizes).to(dtype)
            posterior = sigmoid_posterior(z)
            assert (posterior.shape, posterior.dtype) == (z.shape, dtype)
            if not sizes or not sizes[-1]:
                continue
            posterior = softmax_posterior(z)
            axis = 0 if len(sizes) == 1 else 1
            total = posterior.double().sum(axis)
            assert posterior.dtype == dtype
            assert_close(total, torch.ones_like(total), rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_parameters_per_class() -> None:
    z = torch.randn(5, 3, dtype=DOUBLE)
    alpha, gamma = tensor([0.1, 0.5, 0.8]), tensor([0.0, 1.0, 3.0])
    together = sigmoid_posterior(z, alpha=alpha, gamma=gamma)
    for c in range(3):
        one = sigmoid_posterior(z[:, c], alpha=float(alpha[c]), gamma=float(gamma[c]))
        assert_close(together[:, c], one)


def test_weights_follow_the_class_axis() -> None:
    z = torch.randn(2, 3, 4, 5, dtype=DOUBLE)
    weights = tensor([0.2, 1.0, 3.0])
    actual = softmax_posterior(z, alpha=weights)
    expected = softmax_posterior(z.movedim(1, -1).reshape(-1, 3), alpha=weights)
    assert_close(actual.movedim(1, -1).reshape(-1, 3), expected)


def test_defaults() -> None:
    z = torch.randn(7, 3)
    assert_close(sigmoid_posterior(z), sigmoid_posterior(z, alpha=0.25, gamma=2.0), rtol=0, atol=0)
    assert_close(softmax_posterior(z), softmax_posterior(z, alpha=None, gamma=2.0), rtol=0, atol=0)
    for posterior in POSTERIORS.values():
        with pytest.raises(TypeError, match="positional"):
            posterior(z, None)


def test_several_infinite_logits_have_no_posterior() -> None:
    """Not even odds: how far apart they were is not known."""
    z = torch.tensor([[math.inf, math.inf, 0.0], [math.inf, 1.0, 0.0]])
    assert_close(
        softmax_posterior(z),
        torch.tensor([[math.nan] * 3, [1.0, 0.0, 0.0]]),
        equal_nan=True,
    )


def test_half_precision_is_rounded_once() -> None:
    z = torch.randn(50, 3).to(torch.bfloat16)
    for function in POSTERIORS.values():
        assert_close(function(z), function(z.float()).to(torch.bfloat16), rtol=0, atol=0)


# ---------------------------------------------------------------------------------------------
# extremes and clipping


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, DOUBLE], ids=str)
@every_mode
@every_smoothing
@pytest.mark.parametrize("gamma", [0, 0.5, 2.0, 50.0])
@pytest.mark.parametrize("link", POSTERIORS)
def test_extreme_logits_have_a_posterior(
    dtype: torch.dtype, detached: bool, smoothing: float, gamma: float, link: str
) -> None:
    big = torch.finfo(dtype).max
    keywords = {"gamma": gamma, "detach_modulator": detached, "label_smoothing": smoothing}
    edges = torch.tensor([0.0, -0.0, 90.0, -90.0, 1e4, -1e4, big, -big], dtype=dtype)
    if link == SIGMOID:
        posterior = sigmoid_posterior(edges, **keywords)
        odds = sigmoid_posterior(edges, log_odds=True, **keywords)
        assert_close(odds.isnan(), torch.zeros(8, dtype=torch.bool))
        certain = posterior[[2, 4, 6, 3, 5, 7]]
        expected = torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=dtype)
    else:
        rows = torch.stack([edges, torch.zeros_like(edges), -edges], 1)
        ties = torch.tensor([[big] * 3, [-big] * 3, [big, big, -big]], dtype=dtype)
        rows = torch.cat([rows, ties])
        posterior = softmax_posterior(rows, **keywords)
        logs = softmax_posterior(rows, log_probabilities=True, **keywords)
        assert_close(logs.isnan(), torch.zeros(11, 3, dtype=torch.bool))
        least = torch.finfo(dtype).eps
        assert_close(torch.exp(logs.double()), posterior.double(), rtol=4 * least, atol=4 * least)
        total = posterior.double().sum(1)
        assert_close(total, torch.ones(11, dtype=DOUBLE), rtol=0, atol=4 * torch.finfo(dtype).eps)
        certain = posterior[[2, 4, 6, 3, 5, 7], [0, 0, 0, 2, 2, 2]]
        expected = torch.ones(6, dtype=dtype)
        third = torch.full((2, 3), 1 / 3, dtype=dtype)
        assert_close(posterior[8:10], third, rtol=4 * torch.finfo(dtype).eps, atol=0)
    assert_close(posterior.clamp(0, 1), posterior, rtol=0, atol=0)
    assert_close(certain, expected, rtol=0, atol=torch.finfo(dtype).eps)


def test_masked_classes_have_probability_zero() -> None:
    z = torch.tensor([[0.3, -torch.inf, -0.2], [-torch.inf, 1.0, -torch.inf]])
    posterior = softmax_posterior(z)
    pair = softmax_posterior(z[:1, [0, 2]])
    assert_close(posterior[0], torch.tensor([float(pair[0, 0]), 0.0, float(pair[0, 1])]))
    assert_close(posterior[1], torch.tensor([0.0, 1.0, 0.0]))


def test_nan_is_not_hidden() -> None:
    assert sigmoid_posterior(torch.tensor([math.nan])).isnan().all()
    assert softmax_posterior(torch.tensor([[math.nan, 0.0]])).isnan().all()


def test_smoothing_is_undone_and_clipped() -> None:
    """A logit beyond what smoothed targets can teach is certainty, not a probability above 1."""
    z = tensor([-40.0, 40.0])
    assert_close(sigmoid_posterior(z, label_smoothing=0.1), tensor([0.0, 1.0]), rtol=0, atol=0)
    odds = sigmoid_posterior(z, label_smoothing=0.1, log_odds=True)
    assert_close(odds, tensor([-math.inf, math.inf]))
    row = softmax_posterior(tensor([[40.0, 0.0, 0.0]]), label_smoothing=0.1)
    assert_close(row, tensor([[1.0, 0.0, 0.0]]), rtol=0, atol=0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_the_posterior_rises_with_the_logit(gamma: float) -> None:
    z = torch.linspace(-30, 30, 2001, dtype=DOUBLE)
    odds = sigmoid_posterior(z, gamma=gamma, log_odds=True)
    assert (odds.diff() > 0).all()
