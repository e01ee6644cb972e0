"""The inverse link, the fitted temperature, other priors, costs, and what a denominator does."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch

from refocal import sigmoid_posterior, softmax_posterior
from refocal.probabilities import (
    correct_sampling,
    cost_threshold,
    fit_temperature,
    normalizer_shift,
    shift_prior,
    sigmoid_logit,
)

LINKS = [
    {},
    {"alpha": None, "gamma": 0.0},
    {"alpha": 0.9, "gamma": (3.0, 0.5)},
    {"gamma": 1.5, "detach_modulator": True},
    {"gamma": 5.0, "label_smoothing": 0.1},
    {"temperature": 1.7},
]


def probability_that_minimises(z, alpha, gamma):
    """P for which z is the minimiser of the expected focal loss, by derivatives in mpmath."""
    loss = lambda t, y: (  # noqa: E731
        -(alpha if y else 1 - alpha)
        * (1 / (1 + mp.exp(t if y else -t))) ** gamma
        * mp.log(1 / (1 + mp.exp(-t if y else t)))
    )
    positive, negative = (mp.diff(lambda t, y=y: loss(t, y), mp.mpf(z)) for y in (1, 0))
    return float(negative / (negative - positive))


@pytest.mark.parametrize("z", [-6.0, -2.79, 0.0, 1.3, 5.0])
def test_logit_inverts_the_first_order_condition(z):
    with mp.workdps(40):
        p = probability_that_minimises(z, mp.mpf("0.25"), 2)
    got = sigmoid_logit(torch.tensor(p, dtype=torch.float64))
    torch.testing.assert_close(got.item(), z, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_logit_and_posterior_are_inverses(link):
    p = torch.linspace(0.001, 0.999, 41, dtype=torch.float64)
    torch.testing.assert_close(
        sigmoid_posterior(sigmoid_logit(p, **link), **link), p, rtol=1e-12, atol=0
    )
    odds = torch.tensor([-700.0, -40.0, -1.0, 0.0, 30.0, 900.0], dtype=torch.float64)
    if "label_smoothing" not in link:
        back = sigmoid_posterior(sigmoid_logit(odds, log_odds=True, **link), log_odds=True, **link)
        torch.testing.assert_close(back, odds, rtol=1e-13, atol=1e-13)


def test_logit_edges_shapes_and_dtypes():
    torch.testing.assert_close(
        sigmoid_logit(torch.tensor([0.0, 1.0, math.nan])),
        torch.tensor([-torch.inf, torch.inf, torch.nan]),
        equal_nan=True,
    )
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert sigmoid_logit(torch.tensor(0.3, dtype=dtype)).dtype == dtype
    per_class = sigmoid_logit(
        torch.full((2, 3), 0.1),
        alpha=torch.tensor([0.1, 0.5, 0.9]),
        gamma=torch.tensor([0.0, 1, 2]),
    )
    assert per_class.shape == (2, 3)
    for c, (alpha, gamma) in enumerate([(0.1, 0.0), (0.5, 1.0), (0.9, 2.0)]):
        one = sigmoid_logit(torch.tensor(0.1), alpha=alpha, gamma=gamma)
        torch.testing.assert_close(per_class[0, c], one, rtol=1e-6, atol=1e-6)
    assert sigmoid_logit(torch.empty(0, 4)).shape == (0, 4)


def test_logit_differentiates_by_the_implicit_function_theorem():
    p = torch.tensor([0.02, 0.4, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: sigmoid_logit(t, gamma=1.5), p)


# ---------------------------------------------------------------------------------------------


def test_temperature_of_a_sharpened_model_is_found():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(4000, generator=generator, dtype=torch.float64) * 0.9 + 0.02
    y = torch.bernoulli(p, generator=generator)
    honest = sigmoid_logit(p)
    fit = fit_temperature(honest, y)
    torch.testing.assert_close(fit.temperature, 1.0, rtol=0, atol=0.08)
    assert fit.closed_form_holds
    assert fit.fitted <= fit.closed_form < fit.base_rate
    # an overfit model: its logits three times what they should be
    wild = fit_temperature(3 * honest, y)
    assert wild.temperature > 2
    assert not wild.closed_form_holds
    assert wild.fitted < wild.raw < wild.closed_form
    assert "worse than the raw" in str(wild)
    assert "The closed form holds" in str(fit)
    # the fitted loss is a minimum, and is the loss of the posterior at that temperature
    nearby = [
        torch.nn.functional.binary_cross_entropy(
            sigmoid_posterior(3 * honest, temperature=wild.temperature * t), y
        ).item()
        for t in (0.98, 1.0, 1.02)
    ]
    torch.testing.assert_close(nearby[1], wild.fitted, rtol=1e-12, atol=0)
    assert nearby[1] < min(nearby[0], nearby[2])


def test_temperature_of_a_softmax():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(3000, 4, generator=generator, dtype=torch.float64)
    y = torch.multinomial(softmax_posterior(z), 1, generator=generator).squeeze(1)
    fit = fit_temperature(z, y, link="softmax", alpha=None)
    torch.testing.assert_close(fit.temperature, 1.0, rtol=0, atol=0.1)
    assert fit.closed_form < fit.raw
    hot = fit_temperature(2 * z, y, link="softmax", alpha=None)
    expected = softmax_posterior(2 * z, temperature=hot.temperature)
    torch.testing.assert_close(
        hot.fitted, -expected.log().gather(1, y[:, None]).mean().item(), rtol=1e-9, atol=0
    )


def test_temperature_is_bounded_where_the_logits_say_nothing():
    z = torch.tensor([2.0, -2.0] * 20)
    y = torch.tensor([0.0, 1.0] * 20)
    fit = fit_temperature(z, y)
    torch.testing.assert_close(fit.temperature, 100.0)
    assert "Nothing here beats the class frequencies" in str(fit)


# ---------------------------------------------------------------------------------------------


def test_shift_prior_is_bayes_rule():
    p, train, deploy = 0.3, 0.2, 0.01
    likelihood_ratio = p / (1 - p) * (1 - train) / train
    expected = deploy * likelihood_ratio / (deploy * likelihood_ratio + 1 - deploy)
    odds = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(shift_prior(odds, train, deploy)).item(), expected)


def test_correct_sampling_restores_the_full_data():
    """10 of 1,000 positive at a point; 1 % of the negatives kept."""
    odds = torch.tensor(math.log(10 / 9.9), dtype=torch.float64)
    p = torch.sigmoid(correct_sampling(odds, 0.01))
    torch.testing.assert_close(p.item(), 10 / 1000)


def test_cost_threshold_is_where_costs_balance():
    t = cost_threshold(3.0, 50.0, alpha=0.4, gamma=(1.0, 2.0))
    p = t.probability
    torch.testing.assert_close(p * 50.0, (1 - p) * 3.0)
    torch.testing.assert_close(t.log_odds, math.log(p / (1 - p)))
    z = torch.tensor(t.logit, dtype=torch.float64)
    torch.testing.assert_close(sigmoid_posterior(z, alpha=0.4, gamma=(1.0, 2.0)).item(), p)


@pytest.mark.parametrize(("positives", "shift"), [(1, -0.30), (2, -0.38), (5, -0.28), (10, -0.12)])
def test_shift_of_positives_as_published(positives, shift):
    n = 40 * positives
    np.testing.assert_allclose(normalizer_shift("positives", n, 0.025), shift, atol=0.0095)


@pytest.mark.parametrize(("n", "shift"), [(16, -1.12), (32, -0.65), (64, -0.34), (256, -0.08)])
def test_shift_of_weights_as_published(n, shift):
    got = normalizer_shift("weights", n, 0.025, alpha=0.975)
    np.testing.assert_allclose(got, shift, atol=0.015)  # the published ones were simulated


def test_shift_by_enumeration():
    """All 2**6 batches of 6: the first-order condition of the expected mean loss."""
    pi, alpha = 0.3, 0.8
    own = {1: 0.0, 0: 0.0}
    for code in range(64):
        y = [(code >> i) & 1 for i in range(6)]
        chance = math.prod(pi if one else 1 - pi for one in y)
        denominator = sum(alpha if one else 1 - alpha for one in y)
        for one in y:
            own[one] += chance / denominator
    expected = math.log(own[1] / own[0]) - math.log(pi / (1 - pi))
    np.testing.assert_allclose(
        normalizer_shift("weights", 6, pi, alpha=alpha), expected, rtol=1e-12
    )
    assert normalizer_shift("elements", 6, pi) == 0
    np.testing.assert_allclose(
        normalizer_shift("weights", 6, pi, alpha=None), 0, atol=1e-14
    )  # equal weights: the sum of weights does not depend on the labels


# ---------------------------------------------------------------------------------------------

odds = torch.zeros(3)
MESSAGES = [
    (lambda: sigmoid_logit(0.5), TypeError, "probability must be a floating tensor, got float"),
    (lambda: sigmoid_logit(torch.tensor([1])), TypeError, "floating tensor, got torch.int64"),
    (lambda: sigmoid_logit(torch.tensor([1.5])), ValueError, r"must be in \[0, 1\], got 1.5. For"),
    (lambda: sigmoid_logit(odds, alpha=0.0), ValueError, "alpha must be strictly between"),
    (lambda: shift_prior(0.5, 0.1, 0.1), TypeError, "log_odds must be a floating tensor"),
    (lambda: shift_prior(odds, 0.0, 0.1), ValueError, "train_prior must be strictly between"),
    (lambda: shift_prior(odds, 0.1, 1.0), ValueError, "deploy_prior must be strictly between"),
    (lambda: correct_sampling(odds, 0.0), ValueError, r"negative_rate must be in \(0, 1\], got 0"),
    (lambda: cost_threshold(0, 1), ValueError, "cost_fp must be finite and > 0, got 0"),
    (lambda: cost_threshold(1, math.inf), ValueError, "cost_fn must be finite and > 0, got inf"),
    (lambda: normalizer_shift("mean", 8, 0.1), ValueError, 'normalizer must be one of "elements"'),
    (lambda: normalizer_shift("weights", 0, 0.1), ValueError, "and at most 10,000,000, got 0"),
    (lambda: fit_temperature(odds, odds), ValueError, "10 examples and two classes, got 3 of 1"),
    (lambda: fit_temperature(odds, odds + 0.5), ValueError, "targets must be 0 or 1"),
    (lambda: fit_temperature(odds, odds, link="tanh"), ValueError, 'link must be one of "sigmoid"'),
    (
        lambda: fit_temperature(odds, odds, link="softmax", alpha=None),
        ValueError,
        r"logits must be \(N, C\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), MESSAGES)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()
