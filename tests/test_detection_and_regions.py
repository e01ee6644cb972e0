"""Varifocal, Gaussian, distribution, Tversky and Dice: against their formulas at 50 digits."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from refocal import softmax_focal_loss, variants
from refocal.variants import (
    DistributionFocalLoss,
    dice_loss,
    distribution_focal_loss,
    gaussian_focal_loss,
    quality_focal_loss,
    softmax_dice_loss,
    softmax_tversky_loss,
    tversky_loss,
    varifocal_loss,
)

LOGITS = [-300.0, -40.0, -12.0, -3.0, -0.7, 0.0, 0.7, 3.0, 12.0, 40.0, 300.0]
TRUTHS = [0.0, 1e-3, 0.25, 0.5, 0.9, 1.0]
GAMMAS = [0.0, 0.5, 1.0, 1.5, 2.0, 4.0]
DOUBLE = torch.float64
EXACTLY: dict[str, Any] = {"rtol": 0, "atol": 0}


def mp(value: float) -> Any:
    return mpmath.mpf(value)


def logs(z: Any) -> tuple[Any, Any]:
    """-log p and -log(1 - p)."""
    return mpmath.log(1 + mpmath.exp(-mp(z))), mpmath.log(1 + mpmath.exp(mp(z)))


def varifocal(z: Any, q: float, gamma: float) -> Any:
    positive, negative = logs(z)
    if q > 0:
        return mp(q) * (mp(q) * positive + (1 - mp(q)) * negative)
    return mp(0.75) * mpmath.exp(-positive) ** mp(gamma) * negative


def gaussian(z: Any, h: float, gamma: float) -> Any:
    positive, negative = logs(z)
    if h == 1:
        return mpmath.exp(-negative) ** mp(gamma) * positive
    return (1 - mp(h)) ** 4 * mpmath.exp(-positive) ** mp(gamma) * negative


def yolo(z: Any, y: float, gamma: float) -> Any:
    positive, negative = logs(z)
    entropy = mp(y) * positive + (1 - mp(y)) * negative
    weight = mp(y) * mp(0.25) + (1 - mp(y)) * mp(0.75)
    return weight * abs(mp(y) - mpmath.exp(-positive)) ** mp(gamma) * entropy


RULES: dict[str, tuple[Callable[..., Tensor], Callable[..., Any]]] = {
    "varifocal": (lambda z, y, g, **kw: varifocal_loss(z, y, gamma=g, **kw), varifocal),
    "gaussian": (lambda z, y, g, **kw: gaussian_focal_loss(z, y, gamma=g, **kw), gaussian),
    "quality": (lambda z, y, g, **kw: quality_focal_loss(z, y, alpha=0.25, beta=g, **kw), yolo),
}
every_rule = pytest.mark.parametrize("rule", RULES)


def grid(dtype: torch.dtype = DOUBLE) -> tuple[list[tuple[float, float]], Tensor, Tensor]:
    pairs = [(z, y) for z in LOGITS for y in TRUTHS]
    z, y = (torch.tensor(column, dtype=dtype) for column in zip(*pairs, strict=True))
    return pairs, z, y


def floats(numbers: list[Any]) -> Tensor:
    return torch.tensor([float(number) for number in numbers], dtype=DOUBLE)


@pytest.mark.parametrize("gamma", GAMMAS)
@every_rule
def test_value_and_gradient(rule: str, gamma: float) -> None:
    loss, reference = RULES[rule]
    pairs, z, y = grid()
    z.requires_grad_()
    value = loss(z, y, gamma, reduction="none")
    (gradient,) = torch.autograd.grad(value.sum(), z)
    with mpmath.workdps(320):  # 1 + exp(-300) has 131 digits
        expected = floats([reference(*pair, gamma) for pair in pairs])
        slopes = floats(
            [
                mpmath.diff(lambda t, one=target: reference(t, one, gamma), mp(logit))
                for logit, target in pairs
            ]
        )
    assert_close(value.detach(), expected, rtol=1e-12, atol=1e-300)
    smooth = torch.ones(len(pairs), dtype=torch.bool)
    if rule == "quality":  # |y - p| has a kink where a quality is met
        smooth = ~((y == 0.5) & (z == 0))
    assert_close(gradient[smooth], slopes[smooth], rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@every_rule
def test_second_derivatives(rule: str, gamma: float) -> None:
    loss, _ = RULES[rule]
    z = torch.tensor([-3.0, -0.7, 0.3, 2.5] * 3, dtype=DOUBLE, requires_grad=True)
    y = torch.tensor([0.0] * 4 + [0.6] * 4 + [1.0] * 4, dtype=DOUBLE)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, y, gamma, reduction="sum"), z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("truth", [0.0, 0.5, 1.0])
@every_rule
def test_every_half_float(rule: str, truth: float, dtype: torch.dtype) -> None:
    """Computed in float32 and rounded once: half an ulp, and what float32 itself is off."""
    loss, _ = RULES[rule]
    z = torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(dtype)
    y = torch.full_like(z, truth)
    half = loss(z, y, 1.5, reduction="none")
    exact = loss(z.double(), y.double(), 1.5, reduction="none")
    assert half.dtype == dtype
    info = torch.finfo(dtype)
    step = info.tiny * info.eps
    # y - p cancels where a quality is nearly met: an error of float32, absolute
    close = 4 * torch.finfo(torch.float32).eps if rule == "quality" and truth == 0.5 else step
    assert_close(half, exact.to(dtype), rtol=info.eps, atol=close, equal_nan=True)
    apart = (half.double() - exact.to(dtype).double()).abs() > close
    assert apart.logical_and(~z.isnan()).sum() <= 40


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@every_rule
def test_saturation(rule: str, gamma: float) -> None:
    loss, _ = RULES[rule]
    largest = torch.finfo(torch.float32).max
    z = torch.tensor([200.0, -200.0, largest, -largest, torch.inf, -torch.inf, 0.0] * 3)
    y = torch.tensor([1.0] * 7 + [0.0] * 7 + [0.5] * 7)
    z.requires_grad_()
    value = loss(z, y, gamma, reduction="none")
    (gradient,) = torch.autograd.grad(value[value.isfinite()].sum(), z)
    assert not value.isnan().any()
    assert gradient.isfinite().all()


# ---------------------------------------------------------------------------------------------
# what each of them has of its own


def test_a_mask_says_which_are_positive() -> None:
    z = torch.tensor([0.7, 0.7, -1.0, 2.0], requires_grad=True)
    quality, mask = torch.tensor([0.8, 0.0, 0.3, 0.0]), torch.tensor([True, True, False, False])
    loss = varifocal_loss(z, quality, positives=mask, reduction="none")
    assert loss[1] == 0  # a positive of quality 0
    assert_close(loss[0], varifocal_loss(z, quality, reduction="none")[0])
    assert_close(loss[2:], varifocal_loss(z, torch.zeros(4), reduction="none")[2:])
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient[1] == 0


def test_a_constant_modulator() -> None:
    z = torch.tensor([0.7, -1.0], dtype=DOUBLE, requires_grad=True)
    quality = torch.tensor([0.8, 0.0], dtype=DOUBLE, requires_grad=True)
    attached = varifocal_loss(z, quality, reduction="none")
    held = varifocal_loss(z, quality, detach_modulator=True, reduction="none")
    assert_close(held, attached, **EXACTLY)
    (gradient,) = torch.autograd.grad(held.sum(), z)
    p = torch.sigmoid(z.detach())
    assert_close(gradient, torch.stack((0.8 * (p[0] - 0.8), 0.75 * p[1] ** 3)))
    assert not varifocal_loss(z.detach(), quality).requires_grad


def test_peaks_are_counted() -> None:
    z = torch.linspace(-2, 2, 8)
    heatmap = torch.tensor([1.0, 0.9, 0.0, 1.0, 0.5, 0.99, 0.1, 1.0])
    total = gaussian_focal_loss(z, heatmap, reduction="sum")
    assert_close(gaussian_focal_loss(z, heatmap), total / 3)
    nothing = gaussian_focal_loss(z, torch.zeros(8))
    assert_close(nothing, gaussian_focal_loss(z, torch.zeros(8), reduction="sum"))
    heatmap[0] = -1
    ignoring = gaussian_focal_loss(z, heatmap, ignore_index=-1)
    assert_close(ignoring, gaussian_focal_loss(z[1:], heatmap[1:]))
    weighed = gaussian_focal_loss(z, heatmap, ignore_index=-1, pos_weight=2, neg_weight=0)
    peaks = z[heatmap == 1]
    expected = 2 * gaussian_focal_loss(peaks, torch.ones(2), reduction="mean")
    assert_close(weighed, expected)
    nearly = torch.tensor([1 - 1e-9], dtype=DOUBLE)  # 1 in the logits' float32
    assert gaussian_focal_loss(z[:1], nearly) < 1e-30
    with pytest.raises(ValueError, match='normalizer must be one of "elements"'):
        varifocal_loss(z, heatmap.clamp(0), normalizer="peaks")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, DOUBLE], ids=str)
def test_distances(dtype: torch.dtype) -> None:
    """Every bin, the last one too, and what lies between."""
    z = torch.randn(9, 5, dtype=dtype)
    y = torch.linspace(0, 4, 9, dtype=dtype)
    got = distribution_focal_loss(z, y, reduction="none")
    expected = -torch.log_softmax(z.double(), 1)
    left = y.double().floor().clamp(max=3)
    share = y.double() - left
    rows = torch.arange(9)
    right = expected[rows, left.long()] * (1 - share) + expected[rows, left.long() + 1] * share
    assert got.dtype == dtype
    assert_close(got, right.to(dtype))
    stacked = distribution_focal_loss(z.view(3, 3, 5), y.view(3, 3), reduction="none")
    assert_close(stacked, got.view(3, 3), **EXACTLY)
    weight = torch.tensor([1.0, 0.0, 2.0])
    weighed = distribution_focal_loss(
        z.view(3, 3, 5), y.view(3, 3), sample_weight=weight, normalizer="sample_weight"
    )
    assert_close(
        weighed.double(), (right.view(3, 3) * weight[:, None]).sum() / 9, rtol=1e-2, atol=0
    )
    whole = distribution_focal_loss(z, torch.arange(9).to(dtype) % 5)
    assert_close(whole, softmax_focal_loss(z, torch.arange(9) % 5, gamma=0))


@pytest.mark.parametrize("missing", [math.nan, -1, 2])
@pytest.mark.parametrize("weighed", [False, True])
def test_distances_that_are_missing(missing: float, weighed: bool) -> None:
    """As if they were not there, whatever their logits are."""
    z = torch.randn(6, 5, requires_grad=True)
    y = torch.tensor([0.0, missing, 3.5, 4.0, missing, 1.25])
    kept = torch.tensor([0, 2, 3, 5])
    weight = torch.rand(6) if weighed else None
    with torch.no_grad():
        z[4] = math.nan
    for settings in ({}, {"normalizer": "sample_weight"}, {"normalizer": 7}, {"reduction": "sum"}):
        got = distribution_focal_loss(z, y, sample_weight=weight, ignore_index=missing, **settings)
        part = None if weight is None else weight[kept]
        expected = distribution_focal_loss(z[kept], y[kept], sample_weight=part, **settings)
        assert_close(got, expected)
        (gradient,) = torch.autograd.grad(got, z)
        assert_close(gradient[[1, 4]], torch.zeros(2, 5), **EXACTLY)
        assert_close(gradient, torch.autograd.grad(expected, z)[0])
    each = distribution_focal_loss(
        z.view(2, 3, 5), y.view(2, 3), ignore_index=missing, reduction="none"
    )
    assert_close(each.flatten()[[1, 4]], torch.zeros(2), **EXACTLY)
    nothing = distribution_focal_loss(z, torch.full((6,), float(missing)), ignore_index=missing)
    assert_close(nothing.detach(), torch.tensor(0.0))
    module = DistributionFocalLoss(ignore_index=missing)
    assert_close(module(z, y), distribution_focal_loss(z, y, ignore_index=missing))
    whole = distribution_focal_loss(z[kept], y[kept])
    compiled = torch.compile(distribution_focal_loss, backend="aot_eager", fullgraph=True)
    assert_close(compiled(z, y, ignore_index=missing), whole)


def test_distances_are_exact_at_infinity() -> None:
    z = torch.tensor([[torch.inf, 0.0, -torch.inf], [0.0, 0.0, -torch.inf]], requires_grad=True)
    loss = distribution_focal_loss(z, torch.tensor([0.0, 0.5]), reduction="none")
    assert_close(loss, torch.tensor([0.0, float(mpmath.log(2))]))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient.isfinite().all()


# ---------------------------------------------------------------------------------------------
# regions


def tversky_at_50_digits(
    p: list[Any], y: list[float], a: float, b: float, gamma: float, smooth: float
) -> Any:
    hit = sum(one * mp(truth) for one, truth in zip(p, y, strict=True))
    above = sum(one * (1 - mp(truth)) for one, truth in zip(p, y, strict=True))
    below = sum((1 - one) * mp(truth) for one, truth in zip(p, y, strict=True))
    whole = hit + mp(a) * above + mp(b) * below + mp(smooth)
    return (1 - (hit + mp(smooth)) / whole) ** mp(gamma)


@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("smooth", [0.0, 1.0, 1e-5])
@pytest.mark.parametrize("gamma", [0.75, 1.0, 2.0])
def test_regions_against_50_digits(gamma: float, smooth: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z = scale * torch.randn(2, 3, 4, dtype=DOUBLE, generator=generator)
    y = torch.rand(2, 3, 4, dtype=DOUBLE, generator=generator).round(decimals=1)
    index = torch.randint(3, (2, 4), generator=generator)
    settings = {"false_positives": 0.3, "false_negatives": 0.7, "gamma": gamma, "smooth": smooth}
    binary = tversky_loss(z, y, reduction="none", **settings)
    exclusive = softmax_tversky_loss(z, index, reduction="none", **settings)
    assert binary.shape == exclusive.shape == (2, 3)
    with mpmath.workdps(50):
        for n in range(2):
            powers = [[mpmath.exp(mp(one)) for one in row] for row in z[n].tolist()]
            for c in range(3):
                p = [mpmath.exp(-logs(one)[0]) for one in z[n, c].tolist()]
                right = tversky_at_50_digits(p, y[n, c].tolist(), 0.3, 0.7, gamma, smooth)
                assert_close(binary[n, c].item(), float(right), rtol=1e-12, atol=0)
                p = [powers[c][i] / sum(row[i] for row in powers) for i in range(4)]
                truth = (index[n] == c).double().tolist()
                right = tversky_at_50_digits(p, truth, 0.3, 0.7, gamma, smooth)
                assert_close(exclusive[n, c].item(), float(right), rtol=1e-12, atol=0)


@pytest.mark.parametrize("per", ["image", "batch"])
@pytest.mark.parametrize("gamma", [0.75, 1.0, 4 / 3])
def test_gradients_of_regions(gamma: float, per: str) -> None:
    z = torch.randn(2, 3, 2, 2, dtype=DOUBLE, requires_grad=True)
    y, index = torch.rand(2, 3, 2, 2, dtype=DOUBLE), torch.randint(3, (2, 2, 2))
    for loss, truth in ((tversky_loss, y), (softmax_tversky_loss, index)):
        assert torch.autograd.gradcheck(lambda z, f=loss, t=truth: f(z, t, gamma=gamma, per=per), z)


def test_dice_is_tversky_and_what_others_write() -> None:
    z, y = torch.randn(2, 3, 5, dtype=DOUBLE), torch.randint(0, 2, (2, 3, 5)).double()
    assert_close(dice_loss(z, y), tversky_loss(z, y), **EXACTLY)
    p = torch.sigmoid(z)
    written = 1 - (2 * (p * y).sum(2) + 2) / (p.sum(2) + y.sum(2) + 2)
    assert_close(dice_loss(z, y, reduction="none"), written)
    index = torch.randint(3, (2, 5))
    assert_close(softmax_dice_loss(z, index), softmax_tversky_loss(z, index), **EXACTLY)
    every = softmax_dice_loss(z, index, reduction="none")
    assert_close(softmax_dice_loss(z, index, background=False), every[:, 1:].mean())
    together = softmax_dice_loss(z, index, per="batch", reduction="none")
    joined = z.permute(1, 0, 2).reshape(1, 3, 10)
    assert_close(together, softmax_dice_loss(joined, index.view(1, 10), reduction="none")[0])


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_empty_and_perfect_regions(gamma: float, smooth: float) -> None:
    """Finite, with a finite gradient, for gamma below 1 too."""
    sure = torch.tensor([torch.inf, -torch.inf])
    z = torch.stack((sure, -sure, torch.full((2,), -torch.inf), torch.zeros(2)))[None]
    y = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]])
    z.requires_grad_()
    loss = tversky_loss(z, y, gamma=gamma, smooth=smooth, reduction="none")
    assert_close(loss[0, :3], torch.zeros(3))
    expected = (0.5 / (0.5 + smooth)) ** gamma  # two halves said, none true
    assert_close(loss[0, 3].item(), expected)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient.isfinite().all()
    assert_close(tversky_loss(z[:0], y[:0], gamma=gamma), torch.tensor(0.0))


def test_ignored_positions_are_of_no_region() -> None:
    z, y = torch.randn(2, 3, 6), torch.randint(0, 2, (2, 3, 6)).float()
    index = torch.randint(3, (2, 6))
    y[..., 4:], index[:, 4:] = 255, 255
    z[..., 5] = torch.nan
    z.requires_grad_()
    for loss, truth in ((tversky_loss, y), (softmax_tversky_loss, index)):
        got = loss(z, truth, ignore_index=255)
        assert_close(got, loss(z[..., :4], truth[..., :4]))
        (gradient,) = torch.autograd.grad(got, z)
        assert (gradient[..., 4:] == 0).all()
    unlabelled = torch.where(y == 255, torch.nan, y)
    assert_close(
        tversky_loss(z, unlabelled, ignore_index=float("nan")), tversky_loss(z[..., :4], y[..., :4])
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_regions_are_summed_in_float32(dtype: torch.dtype) -> None:
    """300,000 positions, where a sum in half precision stalls or overflows."""
    z = torch.full((1, 1, 300_000), 2.0, dtype=dtype)
    y = torch.ones_like(z)
    p = torch.sigmoid(torch.tensor(2.0, dtype=DOUBLE))
    right = 1 - (p + 1 / 3e5) / ((1 + p) / 2 + 1 / 3e5)
    assert_close(dice_loss(z, y).double(), right, rtol=1e-5, atol=0)


# ---------------------------------------------------------------------------------------------
# modules


MODULES = [name for name in variants.__all__ if name[0].isupper()]
FUNCTION = {"ExpBCEFocalLoss": "exp_bce_focal_loss"}


def function_of(module: str) -> Callable[..., Tensor]:
    words = "".join(f"_{one.lower()}" if one.isupper() else one for one in module).strip("_")
    return getattr(variants, FUNCTION.get(module, words))


def batch(module: str) -> tuple[Tensor, Tensor]:
    z = torch.randn(4, 3, 5)
    if module.startswith("Softmax"):
        return z, torch.randint(3, (4, 5))
    return z, torch.rand(4, 3) * 4 if module.startswith("Distribution") else torch.rand(4, 3, 5)


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_the_functions(name: str) -> None:
    module, function = getattr(variants, name)(), function_of(name)
    z, y = batch(name)
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_close(twin(z, y), function(z, y), **EXACTLY)
    keywords = dict(inspect.signature(function).parameters)
    own = inspect.signature(type(module).__init__).parameters
    in_call = {"logits", "targets", "quality", "heatmap", "sample_weight", "positives"}
    assert {k: p.default for k, p in keywords.items() if k not in in_call} == {
        k: p.default for k, p in own.items() if k != "self"
    }
    with pytest.raises(TypeError, match=rf"^{name}: posterior must be .*fit_temperature"):
        module.posterior(z)


@pytest.mark.parametrize("name", MODULES)
def test_a_wrong_setting_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="reduction must be one of"):
        getattr(variants, name)(reduction="avg")


@pytest.mark.parametrize("name", MODULES)
def test_compiled_in_one_graph(name: str) -> None:
    module, (z, y) = getattr(variants, name)(), batch(name)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    z.requires_grad_()
    right, got = module(z, y), compiled(z, y)
    assert_close(got, right)
    assert_close(torch.autograd.grad(got, z), torch.autograd.grad(right, z))


@pytest.mark.parametrize("name", MODULES)
def test_under_vmap(name: str) -> None:
    module, (z, y) = getattr(variants, name)(), batch(name)
    pairs = torch.stack((z, -z)), torch.stack((y, y))
    each = torch.stack([module(*pair) for pair in zip(*pairs, strict=True)])
    assert_close(torch.func.vmap(module)(*pairs), each)


# ---------------------------------------------------------------------------------------------
# what is refused

Z, Y = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no alpha": (
        lambda: varifocal_loss(Z, Y, alpha=None),  # type: ignore[arg-type]
        TypeError,
        "varifocal_loss: alpha must be a number in [0, 1] or a tensor, got None. Use 1.0 for no"
        " weight.",
    ),
    "quality": (
        lambda: varifocal_loss(Z, Y.cumsum(1) / 2),
        ValueError,
        "varifocal_loss: quality must be in [0, 1], got 1.5. Probabilities are expected, not logits"
        " or percentages.",
    ),
    "quality's shape": (
        lambda: varifocal_loss(Z, Y[0, 0, 0]),
        ValueError,
        "varifocal_loss: quality must have the shape of logits, got () and (2, 3, 4).",
    ),
    "a mask of numbers": (
        lambda: varifocal_loss(Z, Y, positives=Y),
        TypeError,
        "varifocal_loss: positives must be None or a bool tensor, got torch.float32. Use"
        " mask.bool().",
    ),
    "a mask of another shape": (
        lambda: varifocal_loss(Z, Y, positives=Y[0] > 0),
        ValueError,
        "varifocal_loss: positives must have the shape (2, 3, 4) of logits, got (3, 4).",
    ),
    "beta": (
        lambda: gaussian_focal_loss(Z, Y, beta=-1.0),
        ValueError,
        "gaussian_focal_loss: beta must be finite and >= 0, got -1.0.",
    ),
    "a logit of no bins": (
        lambda: distribution_focal_loss(torch.zeros(()), torch.zeros(())),
        ValueError,
        "distribution_focal_loss: logits must have shape (*, bins) with two bins or more, got ().",
    ),
    "whole bins": (
        lambda: distribution_focal_loss(Z, torch.zeros(2, 3, dtype=torch.long)),
        TypeError,
        "distribution_focal_loss: targets must be floating, got torch.int64. Distances that are"
        " whole bins are .float(), too.",
    ),
    "distances of another shape": (
        lambda: distribution_focal_loss(Z, Y),
        ValueError,
        "distribution_focal_loss: targets must have the shape (2, 3) of logits without its bins,"
        " got (2, 3, 4).",
    ),
    "a distance beyond the last bin": (
        lambda: distribution_focal_loss(Z, torch.full((2, 3), 3.5)),
        ValueError,
        "distribution_focal_loss: targets must be in [0, 3], in units of a bin, got 3.5. Clamp"
        " distances that no bin reaches.",
    ),
    "no distance": (
        lambda: distribution_focal_loss(Z, torch.full((2, 3), float("nan"))),
        ValueError,
        "distribution_focal_loss: targets must be in [0, 3], in units of a bin, got nan. If NaN"
        " marks a missing one, use ignore_index=math.nan.",
    ),
    "no positions": (
        lambda: tversky_loss(Z[0], Y[0]),
        ValueError,
        "tversky_loss: logits must have shape (N, C, *) with at least one axis of positions, got"
        " (3, 4). For one mask per image use logits.unsqueeze(1).",
    ),
    "no positions of classes": (
        lambda: softmax_dice_loss(Z[0], torch.zeros(3, dtype=torch.long)),
        ValueError,
        "softmax_dice_loss: logits must have shape (N, C, *) with at least one axis of positions,"
        " got (3, 4).",
    ),
    "one-hot targets": (
        lambda: softmax_tversky_loss(Z, Y),
        TypeError,
        "softmax_tversky_loss: targets must be class indices, got torch.float32. Use .argmax(1) of"
        " a one-hot encoding; for independent classes use tversky_loss.",
    ),
    "a part": (
        lambda: dice_loss(Z, Y, per="pixel"),
        ValueError,
        'dice_loss: per must be one of "image", "batch", got \'pixel\'.',
    ),
    "smooth": (
        lambda: dice_loss(Z, Y, smooth=float("nan")),
        ValueError,
        "dice_loss: smooth must be finite and >= 0, got nan.",
    ),
    "no exponent": (
        lambda: dice_loss(Z, Y, gamma=0.0),
        ValueError,
        "dice_loss: gamma must be finite and > 0, got 0.0.",
    ),
}


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message
