"""The other rules for soft targets, each against its published formula at 50 digits."""

import mpmath
import pytest
import torch
from torch.testing import assert_close

from refocal import sigmoid_focal_loss
from refocal.variants import (
    asymmetric_loss,
    blend_focal_loss,
    exp_bce_focal_loss,
    quality_focal_loss,
)

LOGITS = [-40.0, -12.0, -3.0, -0.7, 0.0, 0.7, 3.0, 12.0, 40.0]
TARGETS = [0.0, 0.25, 0.3, 0.5, 0.9, 1.0]
EXPONENTS = [0.5, 1.0, 1.5, 2.0, 4.0]


def probability(z):
    return 1 / (1 + mpmath.exp(-mpmath.mpf(z)))


def bce(z, y):
    p, y = probability(z), mpmath.mpf(y)
    return -(y * mpmath.log(p) + (1 - y) * mpmath.log(1 - p))


def blend(z, y, exponent):
    p, y = probability(z), mpmath.mpf(y)
    return (1 - (p * y + (1 - p) * (1 - y))) ** exponent * bce(z, y)


def exp_bce(z, y, exponent):
    return (1 - mpmath.exp(-bce(z, y))) ** exponent * bce(z, y)


def quality(z, y, exponent):
    return abs(mpmath.mpf(y) - probability(z)) ** exponent * bce(z, y)


def asymmetric(z, y, exponent, clip=0.05):
    p, y = probability(z), mpmath.mpf(y)
    shifted = max(p - mpmath.mpf(clip), 0)
    negative = shifted**exponent * mpmath.log(1 - shifted)
    return -(y * mpmath.log(p)) - (1 - y) * negative


RULES = [
    pytest.param(
        lambda z, y, e: blend_focal_loss(z, y, alpha=None, gamma=e, reduction="none"),
        blend,
        id="blend",
    ),
    pytest.param(
        lambda z, y, e: exp_bce_focal_loss(z, y, alpha=None, gamma=e, reduction="none"),
        exp_bce,
        id="exp_bce",
    ),
    pytest.param(
        lambda z, y, e: quality_focal_loss(z, y, beta=e, reduction="none"), quality, id="quality"
    ),
    pytest.param(
        lambda z, y, e: asymmetric_loss(z, y, gamma_neg=e, reduction="none"),
        asymmetric,
        id="asymmetric",
    ),
]


def grid():
    pairs = [(z, y) for z in LOGITS for y in TARGETS]
    z, y = (torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True))
    return pairs, z, y


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize(("rule", "reference"), RULES)
def test_value_and_gradient(rule, reference, exponent):
    pairs, z, y = grid()
    z.requires_grad_()
    loss = rule(z, y, exponent)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    with mpmath.workdps(50):
        expected = torch.tensor(
            [float(reference(*pair, exponent)) for pair in pairs], dtype=torch.float64
        )
        slopes = []
        for one, target in pairs:
            if reference is quality and abs(probability(one) - target) < 1e-9:
                slopes.append(0.0)  # the kink of |y - p|: checked apart
            else:
                slopes.append(
                    float(mpmath.diff(lambda t, y=target: reference(t, y, exponent), one))
                )
    assert_close(loss.detach(), expected, rtol=1e-12, atol=1e-300)
    smooth = torch.tensor(slopes, dtype=torch.float64)
    kink = (smooth == 0) & (reference is quality)
    assert_close(gradient[~kink], smooth[~kink], rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(
    ("rule", "number"),
    [(blend_focal_loss, 0.28743), (exp_bce_focal_loss, 0.31160)],
)
def test_published_numbers(rule, number):
    """x = .7, y = .3, gamma 2: what torchvision and segmentation-models-pytorch return."""
    loss = rule(torch.tensor([0.7]), torch.tensor([0.3]), alpha=None)
    assert_close(loss.item(), number, rtol=0, atol=5e-6)


@pytest.mark.parametrize("rule", [blend_focal_loss, exp_bce_focal_loss])
def test_hard_targets_are_the_focal_loss(rule):
    z = torch.linspace(-30, 30, 61, dtype=torch.float64)
    y = (torch.arange(61) % 2).double()
    for gamma in EXPONENTS:
        assert_close(rule(z, y, gamma=gamma), sigmoid_focal_loss(z, y, gamma=gamma))


def test_asymmetric_without_shift_is_a_gamma_pair():
    z = torch.linspace(-30, 30, 61, dtype=torch.float64)
    y = (torch.arange(61) % 2).double()
    mine = asymmetric_loss(z, y, gamma_pos=1.0, gamma_neg=3.0, clip=0.0)
    assert_close(mine, sigmoid_focal_loss(z, y, alpha=None, gamma=(1.0, 3.0)))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("rule", "reference"), RULES)
def test_saturation_is_finite(rule, reference, exponent):
    largest = torch.finfo(torch.float32).max
    z = torch.tensor([200.0, -200.0, largest, -largest, torch.inf, -torch.inf, 0.0] * 2)
    y = torch.tensor([1.0] * 7 + [0.0] * 7)
    z.requires_grad_()
    loss = rule(z, y, exponent)
    (gradient,) = torch.autograd.grad(loss[torch.isfinite(loss)].sum(), z)
    assert not loss.isnan().any()
    assert gradient.isfinite().all()
    assert_close(loss[:1], torch.zeros(1))


def test_quality_is_zero_where_met():
    z = torch.tensor([0.0], requires_grad=True)
    loss = quality_focal_loss(z, torch.tensor([0.5]))
    loss.backward()
    assert_close(loss.item(), 0.0)
    assert_close(z.grad, torch.zeros(1))


@pytest.mark.parametrize(("rule", "reference"), RULES)
def test_weights_ignore_and_half(rule, reference):
    z = torch.tensor([1.0, -2.0, torch.nan])
    y = torch.tensor([1.0, 0.0, 255.0])
    names = {"blend": blend_focal_loss, "exp_bce": exp_bce_focal_loss}
    for function in names.values():
        kept = function(z, y, ignore_index=255)
        assert_close(kept, function(z[:2], y[:2]))
        weighted = function(z[:2], y[:2], sample_weight=torch.tensor([2.0, 0.0]), reduction="sum")
        assert_close(weighted, 2 * function(z[:1], y[:1], reduction="sum"))
    half = rule(z[:2].bfloat16(), y[:2], 2.0)
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), rule(z[:2], y[:2], 2.0).bfloat16().float(), rtol=0, atol=0)


def test_domain_of_clip():
    with pytest.raises(ValueError, match=r"asymmetric_loss: clip must be in \[0, 1\], got 1.5"):
        asymmetric_loss(torch.zeros(1), torch.zeros(1), clip=1.5)
    with pytest.raises(TypeError, match="clip must be a number"):
        asymmetric_loss(torch.zeros(1), torch.zeros(1), clip="a")
