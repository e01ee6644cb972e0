"""The properties of numerics.md, over logits, targets and gammas that hypothesis chooses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from cases import IMPLEMENTATIONS, evaluate, sigmoid_focal_loss, softmax_focal_loss

DOUBLE = torch.float64
EXACTLY: dict[str, Any] = {"rtol": 0, "atol": 0}

SINGLE_MAX = torch.finfo(torch.float32).max
any_logit = st.floats(-SINGLE_MAX, SINGLE_MAX, width=32) | st.sampled_from([math.inf, -math.inf])
usual_logit = st.floats(-40, 40)
gammas = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 5.0]) | st.floats(0, 10)
shares = st.floats(0, 1)
# sums and differences of these are exact
dyadic = st.integers(-400, 400).map(lambda n: n / 16)


def rows(logit: st.SearchStrategy[float], least: int = 2) -> st.SearchStrategy[list[float]]:
    return st.lists(logit, min_size=least, max_size=6)


def one(values: Any) -> Tensor:
    return torch.tensor([values], dtype=DOUBLE)


def slope_and_value(s: float, gamma: float) -> tuple[float, float]:
    value, slope = evaluate(
        "eager", sigmoid_focal_loss, one(s), torch.ones(1), alpha=None, gamma=gamma
    )
    return float(slope), float(value)


# ---------------------------------------------------------------------------------------------
# exact


@given(any_logit, gammas, shares)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_sigmoid_is_never_nan_nor_negative(
    implementation: str, dtype: torch.dtype, z: float, gamma: float, y: float
) -> None:
    value, gradient = evaluate(
        implementation,
        sigmoid_focal_loss,
        torch.tensor([z], dtype=dtype),
        torch.tensor([y], dtype=dtype),
        gamma=gamma,
    )
    assert value >= 0
    assert gradient.isfinite().all()


@given(rows(any_logit, 2), gammas, st.data())
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_softmax_is_never_nan_where_there_is_an_answer(
    implementation: str, z: list[float], gamma: float, data: st.DataObject
) -> None:
    target = data.draw(st.integers(0, len(z) - 1))
    rivals = z[:target] + z[target + 1 :]
    indeterminate = (z[target] == math.inf and math.inf in rivals) or max(z) == -math.inf
    value, gradient = evaluate(
        implementation, softmax_focal_loss, torch.tensor([z]), torch.tensor([target]), gamma=gamma
    )
    assert bool(value.isnan()) == indeterminate
    if not indeterminate:
        assert value >= 0
        assert gradient.isfinite().all()
        assert_close(gradient.sum(), torch.tensor(0.0), rtol=0, atol=1e-6)


@given(any_logit, gammas)
def test_between_zero_and_cross_entropy(s: float, gamma: float) -> None:
    s32 = torch.tensor([s])
    value = sigmoid_focal_loss(s32, torch.ones(1), alpha=None, gamma=gamma)
    ce = sigmoid_focal_loss(s32, torch.ones(1), alpha=None, gamma=0)
    assert 0 <= value <= ce
    slope, _ = slope_and_value(s, gamma)
    assert slope <= 0


@given(usual_logit, gammas, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_the_other_class_is_the_mirror_image(z: float, gamma: float, alpha: float) -> None:
    positive = sigmoid_focal_loss(one(z), torch.ones(1), alpha=alpha, gamma=gamma)
    negative = sigmoid_focal_loss(one(-z), torch.zeros(1), alpha=1 - alpha, gamma=gamma)
    assert_close(positive, negative, **EXACTLY)


@given(usual_logit, gammas, st.integers(0, 16))
def test_alpha_is_linear(z: float, gamma: float, sixteenths: int) -> None:
    bare = sigmoid_focal_loss(one(z), torch.ones(1), alpha=None, gamma=gamma)
    weighted = sigmoid_focal_loss(one(z), torch.ones(1), alpha=sixteenths / 16, gamma=gamma)
    assert_close(weighted, bare * (sixteenths / 16))


@given(rows(dyadic), gammas, dyadic, st.data())
def test_softmax_does_not_see_a_shift(
    z: list[float], gamma: float, shift: float, data: st.DataObject
) -> None:
    target = torch.tensor([data.draw(st.integers(0, len(z) - 1))])
    plain = evaluate("eager", softmax_focal_loss, one(z), target, gamma=gamma)
    moved = evaluate("eager", softmax_focal_loss, one(z) + shift, target, gamma=gamma)
    assert_close(moved, plain, **EXACTLY)


@given(dyadic, dyadic, gammas)
def test_two_classes_are_one_sigmoid(first: float, second: float, gamma: float) -> None:
    pair = softmax_focal_loss(one([first, second]), torch.tensor([0]), gamma=gamma)
    single = sigmoid_focal_loss(one(first - second), torch.ones(1), alpha=None, gamma=gamma)
    assert_close(pair, single, rtol=1e-14 * (1 + gamma), atol=0)


@given(rows(usual_logit), gammas, st.randoms(use_true_random=False), st.data())
def test_the_order_of_classes_does_not_matter(
    z: list[float], gamma: float, random: Any, data: st.DataObject
) -> None:
    target = data.draw(st.integers(0, len(z) - 1))
    order = list(range(len(z)))
    random.shuffle(order)
    value, gradient = evaluate(
        "eager", softmax_focal_loss, one(z), torch.tensor([target]), gamma=gamma
    )
    shuffled = evaluate(
        "eager",
        softmax_focal_loss,
        one([z[c] for c in order]),
        torch.tensor([order.index(target)]),
        gamma=gamma,
    )
    assert_close(shuffled[0], value, rtol=1e-12, atol=0)
    assert_close(shuffled[1], gradient[:, order], rtol=1e-12, atol=0)


# ---------------------------------------------------------------------------------------------
# to tolerance


@given(rows(usual_logit), gammas, st.data())
def test_a_softmax_gradient_is_shared_by_probability(
    z: list[float], gamma: float, data: st.DataObject
) -> None:
    """It sums to 0, and the rivals' parts are in proportion to their probabilities."""
    target = data.draw(st.integers(0, len(z) - 1))
    _, gradient = evaluate("eager", softmax_focal_loss, one(z), torch.tensor([target]), gamma=gamma)
    gradient = gradient[0]
    assert_close(gradient.sum(), gradient[0] * 0, rtol=0, atol=1e-14 * float(gradient.abs().sum()))
    others = [c for c in range(len(z)) if c != target]
    probabilities = torch.softmax(one(z)[0][others], 0)
    assert_close(gradient[others], -gradient[target] * probabilities, rtol=1e-12, atol=1e-320)


@given(usual_logit, st.integers(1, 5), gammas)
def test_equal_rivals_are_one_larger_rival(z: float, count: int, gamma: float) -> None:
    many = softmax_focal_loss(one([0.0] + [z] * count), torch.tensor([0]), gamma=gamma)
    single = softmax_focal_loss(one([0.0, z + math.log(count)]), torch.tensor([0]), gamma=gamma)
    assert_close(many, single, rtol=1e-12, atol=0)


@given(usual_logit, st.floats(0, 5), st.floats(0, 5), st.floats(0, 1))
def test_log_linear_in_gamma(s: float, low: float, high: float, share: float) -> None:
    middle = (1 - share) * low + share * high
    logs = [math.log(slope_and_value(s, gamma)[1]) for gamma in (low, middle, high)]
    expected = (1 - share) * logs[0] + share * logs[2]
    assert_close(one(logs[1]), one(expected), rtol=1e-12, atol=1e-12)


@given(usual_logit, gammas)
def test_what_gamma_takes_away_is_bounded(s: float, gamma: float) -> None:
    ce = slope_and_value(s, 0.0)[1]
    taken = ce - slope_and_value(s, gamma)[1]
    bound = gamma * float(torch.nn.functional.softplus(one(s))) * ce
    assert -1e-15 * ce <= taken <= bound * (1 + 1e-12) + 1e-15 * ce


@given(any_logit, gammas)
def test_the_slope_is_bounded(s: float, gamma: float) -> None:
    assert -slope_and_value(s, gamma)[0] <= (1 + gamma / math.e) * (1 + 1e-14)


@given(st.floats(20, 60), st.floats(0, 5))
def test_the_tail_is_an_exponential(s: float, gamma: float) -> None:
    """F e^((1 + gamma) s) -> 1."""
    value = slope_and_value(s, gamma)[1]
    assert_close(one(math.log(value)), one(-(1 + gamma) * s), rtol=1e-9, atol=0)


@given(st.lists(usual_logit, min_size=1, max_size=40), gammas)
def test_a_batch_is_its_elements(z: list[float], gamma: float) -> None:
    together = sigmoid_focal_loss(
        torch.tensor(z), torch.ones(len(z)), gamma=gamma, reduction="none"
    )
    apart = [
        sigmoid_focal_loss(torch.tensor([each]), torch.ones(1), gamma=gamma, reduction="none")
        for each in z
    ]
    assert_close(together, torch.cat(apart), **EXACTLY)


@given(st.lists(usual_logit, min_size=1, max_size=10), shares, shares, gammas)
def test_linear_in_the_targets(z: list[float], first: float, second: float, gamma: float) -> None:
    def loss(y: float) -> Tensor:
        logits = torch.tensor(z, dtype=DOUBLE)
        return sigmoid_focal_loss(logits, torch.full_like(logits, y), gamma=gamma)

    assert_close(loss((first + second) / 2), (loss(first) + loss(second)) / 2)


@given(st.integers(2, 6), usual_logit, gammas, shares)
def test_full_smoothing_is_the_uniform_target(
    classes: int, z: float, gamma: float, smoothing: float
) -> None:
    logits = one([z * c / classes for c in range(classes)])
    hard = softmax_focal_loss(logits, torch.tensor([0]), gamma=gamma)
    uniform = softmax_focal_loss(
        logits, torch.full((1, classes), 1 / classes, dtype=DOUBLE), gamma=gamma
    )
    smoothed = softmax_focal_loss(logits, torch.tensor([0]), gamma=gamma, label_smoothing=smoothing)
    assert_close(smoothed, (1 - smoothing) * hard + smoothing * uniform)
