"""alpha, gamma and the initial bias against the papers' numbers and direct definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.special import lambertw

from refocal import sigmoid_posterior, softmax_posterior
from refocal.inverse import rising_root
from refocal.parameters import (
    effective_number_weights,
    gradient_ratio,
    half_weight_probability,
    inflection_probability,
    initialize_bias,
    inverse_frequency_weights,
    loss_reduction,
    mukhoti_gamma,
    prior_bias,
    prior_biases,
)


def test_effective_number_weights():
    counts, beta = [5000, 500, 50, 1], 0.99
    raw = np.array([(1 - beta) / (1 - beta**n) for n in counts])
    np.testing.assert_allclose(effective_number_weights(counts, beta), raw / raw.mean(), rtol=1e-12)
    np.testing.assert_array_equal(effective_number_weights(counts, 0.0), [1, 1, 1, 1])
    np.testing.assert_allclose(
        effective_number_weights(counts, 1 - 1e-12), inverse_frequency_weights(counts), rtol=1e-7
    )
    # the published normalisation: the weights sum to the number of classes
    np.testing.assert_allclose(sum(effective_number_weights(counts, 0.999)), 4)


@pytest.mark.parametrize(
    ("p", "gamma"),
    [(0.1, 14.924), (0.2, 4.8506), (0.25, 3.0702), (0.3, 1.9572), (0.4, 0.6805), (0.5, 0.0)],
)
def test_mukhotis_rule_as_published(p, gamma):
    np.testing.assert_allclose(mukhoti_gamma(p), gamma, atol=6e-4 if p == 0.1 else 6e-5)


@pytest.mark.parametrize("p", [1e-6, 1e-3, 0.1, 0.3, 0.49, 0.4999, 0.4999999])
def test_mukhotis_rule_solves_its_equation(p):
    """Focal's gradient equals cross-entropy's: the definition."""
    gamma = mukhoti_gamma(p)
    g = math.exp(gamma * math.log1p(-p)) * (1 - gamma * p * math.log(p) / (1 - p))
    np.testing.assert_allclose(g, 1, rtol=1e-9 if p > 1e-4 else 1e-6)
    assert gamma > 0
    if 0.01 < p < 0.49:
        a, b = 1 - p, p * math.log(p)
        w = lambertw(-(a ** (1 - a / b)) / b * math.log(a), k=-1).real
        np.testing.assert_allclose(gamma, a / b + w / math.log(a), rtol=1e-6)


@pytest.mark.parametrize("p", [0.5, 0.500001, 0.7, 0.99])
def test_mukhotis_rule_is_zero_above_a_half(p):
    assert mukhoti_gamma(p) == 0


def test_exact_ratios():
    np.testing.assert_allclose(loss_reduction(0.9), 100, rtol=1e-12)
    np.testing.assert_allclose(loss_reduction(0.968), 976.5625, rtol=1e-12)
    np.testing.assert_allclose(loss_reduction(0.5), 4, rtol=1e-12)

    def slope(p, gamma):
        return (1 - p) ** gamma * (1 - p - gamma * p * math.log(p))

    expected = slope(0.1, 2) / slope(0.9, 2)
    np.testing.assert_allclose(gradient_ratio(0.9, 0.1), expected, rtol=1e-12)
    np.testing.assert_allclose(gradient_ratio(0.9, 0.1, 0), 9, rtol=1e-12)
    for gamma in (0.5, 2.0, 7.0):
        p = half_weight_probability(gamma)
        np.testing.assert_allclose((1 - p) ** gamma, 0.5, rtol=1e-12)
    np.testing.assert_allclose(half_weight_probability(1e6) * 1e6, math.log(2), rtol=1e-6)


@pytest.mark.parametrize(("gamma", "p"), [(0.25, 0.0025), (0.5, 0.018), (1, 0.043), (2, 0.0578),
                                          (3, 0.058), (5, 0.050)])  # fmt: skip
def test_inflection(gamma, p):
    np.testing.assert_allclose(inflection_probability(gamma), p, atol=5.1e-4)
    z = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64)
    exact = inflection_probability(gamma)
    for share, sign in ((0.99, -1), (1.01, 1)):
        z = torch.logit(torch.tensor(exact * share, dtype=torch.float64)).requires_grad_()
        loss = (1 - torch.sigmoid(z)) ** gamma * -torch.nn.functional.logsigmoid(z)
        (first,) = torch.autograd.grad(loss, z, create_graph=True)
        (second,) = torch.autograd.grad(first, z)
        assert second.item() * sign > 0
    assert inflection_probability(0.0) == 0


def test_prior_bias_and_retinanets():
    """RetinaNet's logit(.01) = -4.595 means 8.5e-6 under its own loss."""
    z = torch.tensor([math.log(0.01 / 0.99), prior_bias(0.01)], dtype=torch.float64)
    np.testing.assert_allclose(sigmoid_posterior(z), [8.46e-6, 0.01], rtol=1e-3)
    np.testing.assert_allclose(prior_bias(0.045), -1.5443, atol=5e-5)
    np.testing.assert_allclose(prior_bias(0.01, alpha=None, gamma=0), math.log(0.01 / 0.99))
    # detached: exactly a temperature and an offset
    expected = (math.log(0.01 / 0.99) - math.log(3)) / 3
    np.testing.assert_allclose(prior_bias(0.01, detach_modulator=True), expected, rtol=1e-14)


def test_prior_biases():
    counts = [70, 20, 10, 0.01]
    alpha, gamma = [1.0, 2.0, 3.0, 0.5], [2.0, 0.0, 1.0, 4.0]
    biases = prior_biases(counts, alpha=alpha, gamma=gamma)
    p = softmax_posterior(
        torch.tensor([biases], dtype=torch.float64),
        alpha=torch.tensor(alpha).double(),
        gamma=torch.tensor(gamma).double(),
    )
    np.testing.assert_allclose(p[0], np.array(counts) / sum(counts), rtol=1e-9)
    np.testing.assert_allclose(sum(biases), 0, atol=1e-12)


def test_a_root_beyond_every_number_is_infinite():
    """A score that is bounded, as cross-entropy's is, never reaches some constants."""
    for sign in (1, -1):
        asked = []

        def bounded(s, sign=sign, asked=asked):
            asked.append(s)
            assert len(asked) < 5000
            return math.atan(s) - 2 * sign

        assert rising_root(bounded) == sign * math.inf
    assert rising_root(lambda s: s**3 - 27) == 3


def test_initialize_bias():
    for layer in (torch.nn.Linear(3, 2), torch.nn.Conv2d(3, 5, 1)):
        initialize_bias(layer, 0.02, alpha=0.5, gamma=1.0)
        p = sigmoid_posterior(layer.bias.detach(), alpha=0.5, gamma=1.0)
        np.testing.assert_allclose(p, 0.02, rtol=1e-5)


MESSAGES = [
    (
        lambda: effective_number_weights([10, 0]),
        r"class_counts\[1\] must be finite and > 0, got 0\. A",
    ),
    (
        lambda: effective_number_weights([10, 1], 1.0),
        r"beta must be in \[0, 1\), got 1.0. For inverse",
    ),
    (lambda: inverse_frequency_weights([]), "at least one class"),
    (lambda: mukhoti_gamma(0.0), "probability must be strictly between 0 and 1, got 0.0"),
    (lambda: prior_bias(1.0), "probability must be strictly between 0 and 1, got 1.0"),
    (lambda: prior_bias(0.1, alpha=1.0), "alpha must be strictly between 0 and 1, got 1.0"),
    (lambda: prior_bias(0.1, gamma=-1.0), "gamma must be finite and >= 0, got -1.0"),
    (lambda: prior_biases([1, 2], alpha=[1.0]), "alpha must have one value for each of 2 classes"),
    (lambda: prior_biases([1, 2], alpha=[1.0, 0.0]), "alpha must be finite and > 0"),
    (lambda: initialize_bias(torch.nn.Linear(2, 1, bias=False), 0.1), "layer must have a bias"),
    (lambda: half_weight_probability(0), "gamma must be finite and > 0, got 0"),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
