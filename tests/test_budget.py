"""Gradient budgets against sums of autograd's gradients of the loss as the paper writes it."""

import numpy as np
import pytest
import torch

from refocal import sigmoid_posterior
from refocal.budget import LOSSES, gradient_budget, suggest
from refocal.probabilities import sigmoid_logit


@pytest.fixture(scope="module")
def rare():
    generator = torch.Generator().manual_seed(0)
    odds = torch.randn(20_000, generator=generator, dtype=torch.float64) * 2 - 5.3
    return odds, torch.bernoulli(torch.sigmoid(odds), generator=generator)


def pulls(z, y, alpha, gamma):
    """|d loss / d z| by autograd."""
    z = z.clone().requires_grad_()
    p_t = torch.sigmoid(torch.where(y == 1, z, -z))
    alpha_t = torch.where(y == 1, alpha, 1 - alpha)
    (-alpha_t * (1 - p_t) ** gamma * torch.log(p_t)).sum().backward()
    return z.grad.abs()


def test_shares(rare):
    odds, y = rare
    budget = gradient_budget(odds, y, alpha=0.4, gamma=1.5)
    p_t = torch.where(y == 1, torch.sigmoid(odds), torch.sigmoid(-odds))
    fitted = sigmoid_logit(odds, alpha=0.4, gamma=1.5, log_odds=True)
    expected = {
        "cross_entropy": pulls(odds, y, torch.tensor(0.5), 0.0),
        "focal_at_start": pulls(odds, y, torch.tensor(0.4), 1.5),
        "focal_when_fitted": pulls(fitted, y, torch.tensor(0.4), 1.5),
    }
    for loss in LOSSES:
        pull = expected[loss] / expected[loss].sum()
        for c in (0, 1):
            for d in range(10):
                cell = (y == c) & ((p_t * 10).long() == d)
                got = budget.shares[loss][c][d]
                np.testing.assert_allclose(got, pull[cell].sum(), rtol=1e-6, atol=1e-12)
                assert budget.counts[c][d] == int(cell.sum())
        np.testing.assert_allclose(budget.easy[loss], pull[p_t >= 0.95].sum(), rtol=1e-6)
        np.testing.assert_allclose(sum(budget.by_class(loss)), 1, rtol=1e-12)


def test_what_the_page_says(rare):
    """gamma silences easy examples at the start and not when fitted; classes then pull alike."""
    budget = gradient_budget(*rare)
    assert budget.easy["focal_at_start"] < 0.05 * budget.easy["cross_entropy"]
    np.testing.assert_allclose(
        budget.easy["focal_when_fitted"], budget.easy["cross_entropy"], rtol=0.15
    )
    for loss in ("cross_entropy", "focal_when_fitted"):
        np.testing.assert_allclose(budget.by_class(loss), [0.5, 0.5], atol=0.03)


def test_logits_of_a_focal_model_are_converted_first(rare):
    odds, y = rare
    z = sigmoid_logit(odds, alpha=0.25, gamma=2.0, log_odds=True)
    direct = gradient_budget(odds, y, gamma=1.0)
    converted = gradient_budget(z, y, gamma=1.0, trained_with={"alpha": 0.25, "gamma": 2.0})
    for loss in LOSSES:
        np.testing.assert_allclose(converted.shares[loss], direct.shares[loss], rtol=1e-6)


def test_two_class_softmax_is_the_sigmoid(rare):
    odds, y = rare[0][:500], rare[1][:500]
    two = torch.stack([torch.zeros_like(odds), odds], 1)
    softmax = gradient_budget(two, y.long(), link="softmax", alpha=None, gamma=1.5)
    sigmoid = gradient_budget(odds, y, alpha=None, gamma=1.5)
    for loss in LOSSES:
        np.testing.assert_allclose(softmax.shares[loss], sigmoid.shares[loss], rtol=1e-5, atol=1e-9)
    weighted = gradient_budget(
        two, y.long(), link="softmax", alpha=torch.tensor([0.3, 0.7]), gamma=1.5
    )
    sigmoid = gradient_budget(odds, y, alpha=0.7, gamma=1.5)
    np.testing.assert_allclose(
        weighted.by_class("focal_at_start"), sigmoid.by_class("focal_at_start"), rtol=1e-6
    )


def test_text_and_plot(rare):
    budget = gradient_budget(*rare)
    text = str(budget)
    assert "p_t 0.9 to 1.0" in text
    assert f"{budget.easy['cross_entropy']:.1%}" in text
    pytest.importorskip("matplotlib").use("Agg")
    ax = budget.plot()
    assert len(ax.lines) == 3
    np.testing.assert_allclose(sum(ax.lines[1].get_ydata()), 1)


def test_suggest(rare):
    odds, y = rare
    suggestion = suggest(odds, y)
    pairs = [(one.alpha, one.gamma) for one in suggestion.candidates]
    assert pairs[:3] == [(None, 0.0), (0.25, 2.0), (0.5, 2.0)]
    assert len(set(pairs)) == len(pairs) <= 6
    np.testing.assert_allclose(suggestion.base_rate, y.mean())
    # the reason holds: that gamma, and none smaller of those tried, halves the share
    share = {g: gradient_budget(odds, y, alpha=None, gamma=g).easy for g in (0.5, 1.0)}
    plain = share[0.5]["cross_entropy"]
    assert share[0.5]["focal_at_start"] < 0.5 * plain
    assert (0.5, 0.5) in pairs
    # balanced data: nothing to silence, and it says so
    generator = torch.Generator().manual_seed(1)
    flat = torch.randn(2000, generator=generator)
    calm = suggest(flat, torch.bernoulli(torch.sigmoid(flat), generator=generator))
    assert "little for gamma to silence" in str(calm)


def test_suggest_converts_logits(rare):
    odds, y = rare
    z = sigmoid_logit(odds, log_odds=True)
    torch.testing.assert_close(sigmoid_posterior(z, log_odds=True), odds, rtol=1e-9, atol=1e-9)
    assert suggest(z, y, trained_with={"alpha": 0.25, "gamma": 2.0}).words == suggest(odds, y).words


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: suggest(torch.zeros(3), torch.zeros(3)), "both classes, got a share"),
        (lambda: gradient_budget(torch.zeros(3), torch.zeros(2)), "must have the shape of logits"),
        (lambda: gradient_budget(torch.zeros(3), torch.full((3,), 0.5)), "targets must be 0 or 1"),
        (
            lambda: gradient_budget(torch.zeros(3), torch.zeros(3), link="softmax"),
            r"logits must be \(N, C\)",
        ),
        (lambda: gradient_budget(torch.zeros(3), torch.zeros(3), link="x"), "link must be one of"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
