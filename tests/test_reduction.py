"""Denominators and the three reductions, unit by unit and through the losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cases import (
    BY_ID,
    FUNCTIONS,
    IMAGE,
    IMPLEMENTATIONS,
    LOSSES,
    RAGGED,
    SIGMOID,
    XLA,
    Loss,
    Shape,
    assert_matches,
    evaluate,
    inputs,
    share,
    sigmoid_focal_loss,
    softmax_focal_loss,
)

every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.id)
DOUBLE = torch.float64


@every_implementation
@every_loss
def test_denominators(implementation: str, loss: Loss) -> None:
    normalizers = ("weights", 17, 0.5) + (("positives",) if loss.link == SIGMOID else ())
    for turn, normalizer in enumerate(normalizers):
        shapes = (Shape((11,)), RAGGED, IMAGE)
        if implementation in XLA:  # which compiles each anew
            shapes = share(shapes, LOSSES.index(loss) + turn, 1)
        for shape in shapes:
            assert_matches(
                implementation,
                loss,
                *inputs(loss, shape),
                f"over {normalizer} of {shape}",
                reduction="mean",
                normalizer=normalizer,
                **loss.keywords(shape),
            )


@pytest.mark.parametrize("link", FUNCTIONS)
def test_a_number_and_a_tensor_divide_alike(link: str) -> None:
    z, y = inputs(BY_ID["sigmoid" if link == SIGMOID else "softmax"], RAGGED, DOUBLE)
    total = FUNCTIONS[link](z, y, reduction="sum")
    for count in (7, 7.0, torch.tensor(7), torch.tensor(7.0), torch.tensor(7.0, dtype=DOUBLE)):
        value, gradient = evaluate("eager", FUNCTIONS[link], z, y, normalizer=count)
        assert_close(value, total / 7)
        assert value.dtype == gradient.dtype == DOUBLE


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64])
@pytest.mark.parametrize("link", FUNCTIONS)
def test_a_number_of_numpy_divides_as_its_own(link: str, kind: type[np.generic]) -> None:
    """Without a warning: beside the largest double, a single would round that to infinity."""
    z, y = inputs(BY_ID["sigmoid" if link == SIGMOID else "softmax"], RAGGED)
    want = FUNCTIONS[link](z, y, normalizer=7)
    assert_close(FUNCTIONS[link](z, y, normalizer=kind(7)), want, rtol=0, atol=0)
    for nothing in (kind(0), *((kind("inf"), kind("nan")) if kind(0.5) else ())):
        with pytest.raises(ValueError, match="normalizer must be"):
            FUNCTIONS[link](z, y, normalizer=nothing)


def test_elements_counts_positions_that_are_not_ignored() -> None:
    """Unweighted: a weight of 0 does not shrink the count."""
    z, y = torch.randn(4, 5), torch.tensor([0, -100, 2, 3])
    each = softmax_focal_loss(z, y, reduction="none")
    assert_close(softmax_focal_loss(z, y), each.sum() / 3)
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert_close(softmax_focal_loss(z, y, sample_weight=weight), each[0] / 3)


def test_positives_is_the_sum_of_targets_and_at_least_one() -> None:
    z = torch.randn(4)
    for targets, count in (
        ([1.0, 1.0, 0.0, 0.5], 2.5),
        ([0.3, 0.0, 0.0, 0.0], 1.0),
        ([0.0, 0.0, 0.0, 0.0], 1.0),
        ([1.0, 1.0, 1.0, 7.0], 3.0),
    ):
        y = torch.tensor(targets)
        total = sigmoid_focal_loss(z, y, reduction="sum", ignore_index=7)
        mean = sigmoid_focal_loss(z, y, normalizer="positives", ignore_index=7)
        assert_close(mean, total / count)


def test_positives_of_every_target_dtype() -> None:
    """Counted without overflow: 300 uint8 targets, 3,000 float16 ones."""
    for dtype in (torch.bool, torch.uint8, torch.int8, torch.float16, torch.bfloat16):
        z, y = torch.randn(3000), torch.ones(3000).to(dtype)
        total = sigmoid_focal_loss(z, y, reduction="sum")
        assert_close(sigmoid_focal_loss(z, y, normalizer="positives"), total / 3000)


def test_denominators_use_unsmoothed_targets() -> None:
    z, y = torch.randn(6), torch.tensor([1.0, 0, 0, 1, 0, 0])
    keywords = {"label_smoothing": 0.4, "alpha": 0.2}
    total = sigmoid_focal_loss(z, y, reduction="sum", **keywords)
    assert_close(sigmoid_focal_loss(z, y, normalizer="positives", **keywords), total / 2)
    weights = 2 * 0.2 + 4 * 0.8
    assert_close(sigmoid_focal_loss(z, y, normalizer="weights", **keywords), total / weights)


def test_weights_of_probability_targets() -> None:
    """sum of w sum_c y_c a_c; rows need not sum to 1."""
    z, y = torch.randn(5, 3, dtype=DOUBLE), torch.rand(5, 3, dtype=DOUBLE)
    alpha, weight = torch.rand(3, dtype=DOUBLE), torch.rand(5, dtype=DOUBLE)
    keywords = {"alpha": alpha, "sample_weight": weight}
    total = softmax_focal_loss(z, y, reduction="sum", **keywords)
    count = (weight[:, None] * y * alpha).sum()
    assert_close(softmax_focal_loss(z, y, normalizer="weights", **keywords), total / count)


def test_counts_are_never_half_precision() -> None:
    """A half-precision count of 5,000 stalls at 2,048, one of 70,000 is inf."""
    for count in (5_000, 70_000):
        z = torch.zeros(count, dtype=torch.float16)
        for normalizer in ("elements", "positives", "weights"):
            mean = sigmoid_focal_loss(
                z, torch.ones(count, dtype=torch.float16), normalizer=normalizer, alpha=None
            )
            assert_close(mean, torch.tensor(2.0).log() / 4)


def test_a_softmax_mean_counts_positions_not_logits() -> None:
    z, y = torch.randn(2, 3, 4, 5), torch.zeros(2, 4, 5, dtype=torch.long)
    assert_close(softmax_focal_loss(z, y), softmax_focal_loss(z, y, reduction="none").mean())


@pytest.mark.parametrize("link", FUNCTIONS)
def test_shapes_and_dtypes_of_the_result(link: str) -> None:
    for shape in (Shape((11,)), RAGGED, Shape((2, 3, 4, 5)), Shape((0, 3))):
        for dtype in (torch.float16, torch.bfloat16, torch.float32, DOUBLE):
            z, y = inputs(BY_ID["sigmoid" if link == SIGMOID else "softmax"], shape, dtype)
            each = FUNCTIONS[link](z, y, reduction="none")
            assert (each.shape, each.dtype) == (y.shape, dtype)
            for reduction in ("mean", "sum"):
                one = FUNCTIONS[link](z, y, reduction=reduction)
                full = DOUBLE if dtype == DOUBLE else torch.float32
                assert (one.shape, one.dtype) == ((), full)


def test_a_large_sum_keeps_its_digits() -> None:
    """A single float32 accumulator would be off by up to 9 %."""
    z = torch.linspace(-8, 8, 3_000_000)
    y = torch.ones_like(z)
    exact = sigmoid_focal_loss(z.double(), y, reduction="sum")
    assert_close(sigmoid_focal_loss(z, y, reduction="sum").double(), exact, rtol=3e-7, atol=0)


@pytest.mark.parametrize("normalizer", ["positives", "weights", "sample_weight", "elements"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_denominators_of_double_logits_are_double(dtype: torch.dtype, normalizer: str) -> None:
    """Whatever the targets and weights are kept in."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(1000, generator=generator).to(dtype)
    weight = torch.rand(1000, generator=generator).to(dtype)
    z = torch.randn(1000, dtype=torch.float64, generator=generator)
    settings = {"sample_weight": weight, "normalizer": normalizer}
    whole = {"sample_weight": weight.double(), "normalizer": normalizer}
    got = sigmoid_focal_loss(z, y, **settings)
    torch.testing.assert_close(got, sigmoid_focal_loss(z, y.double(), **whole), rtol=1e-13, atol=0)
