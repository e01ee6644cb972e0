"""What the losses mean: identities with torch, every keyword and rule of the public interface."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cases import (
    BY_ID,
    FUNCTIONS,
    HALF_DTYPES,
    IMPLEMENTATIONS,
    LOSSES,
    SHAPES,
    SIGMOID,
    SOFTMAX,
    Loss,
    Shape,
    assert_matches,
    eps,
    evaluate,
    inputs,
    sigmoid_focal_loss,
    softmax_focal_loss,
)

every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
every_link = pytest.mark.parametrize("link", FUNCTIONS)
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.id)
EXACTLY: dict[str, Any] = {"rtol": 0, "atol": 0}
DOUBLE = torch.float64


def batch(link: str, *sizes: int, dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    loss = BY_ID["sigmoid" if link == SIGMOID else "softmax"]
    return inputs(loss, Shape(sizes or (6, 4)), dtype)


# ---------------------------------------------------------------------------------------------
# identities


def test_gamma_zero_is_binary_cross_entropy() -> None:
    z, y = torch.randn(50, dtype=DOUBLE), torch.rand(50, dtype=DOUBLE)
    for reduction in ("none", "mean", "sum"):
        assert_close(
            sigmoid_focal_loss(z, y, alpha=None, gamma=0, reduction=reduction),
            torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction=reduction),
        )


@pytest.mark.parametrize(("smoothing", "weighted"), [(0.0, False), (0.0, True), (0.1, False)])
def test_gamma_zero_is_cross_entropy(smoothing: float, weighted: bool) -> None:
    """With its weighted mean by another name: torch divides by the weights of the targets."""
    z, y = batch(SOFTMAX, 6, 4, 5)
    y[0, 0] = -100
    alpha = torch.rand(4, dtype=DOUBLE) if weighted else None
    assert_close(
        softmax_focal_loss(
            z, y, alpha=alpha, gamma=0, normalizer="weights", label_smoothing=smoothing
        ),
        torch.nn.functional.cross_entropy(z, y, alpha, label_smoothing=smoothing),
    )
    probabilities = torch.softmax(torch.randn_like(z), 1)
    assert_close(
        softmax_focal_loss(z, probabilities, alpha=alpha, gamma=0, label_smoothing=smoothing),
        torch.nn.functional.cross_entropy(z, probabilities, alpha, label_smoothing=smoothing),
    )


def test_two_classes_are_one_sigmoid() -> None:
    z = torch.randn(40, 2, dtype=DOUBLE)
    y = torch.arange(40) % 2
    assert_close(
        softmax_focal_loss(z, y, reduction="none"),
        sigmoid_focal_loss(z[:, 1] - z[:, 0], y, alpha=None, reduction="none"),
    )


@every_implementation
@pytest.mark.parametrize("shape", [(1,), (5, 1), (5, 1, 2, 2)])
def test_one_class_is_refused(implementation: str, shape: tuple[int, ...]) -> None:
    """Its loss would be 0 for ever: one column of logits is a binary problem."""
    index = torch.zeros(shape[:1] + shape[2:] if len(shape) > 1 else (), dtype=torch.long)
    for targets in (index, torch.ones(shape)):
        with pytest.raises(ValueError, match=r"at least two classes, got .* sigmoid_focal_loss"):
            evaluate(implementation, softmax_focal_loss, torch.zeros(shape), targets)


def test_class_indices_are_one_hot_probabilities() -> None:
    z, y = batch(SOFTMAX, 5, 3, 4)
    one_hot = torch.nn.functional.one_hot(y, 3).movedim(-1, 1).double()
    for keywords in ({}, {"label_smoothing": 0.3}, {"detach_modulator": True}):
        for one, other in zip(
            evaluate("eager", softmax_focal_loss, z, y, **keywords),
            evaluate("eager", softmax_focal_loss, z, one_hot, **keywords),
            strict=True,
        ):
            assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, DOUBLE])
def test_binary_targets_of_any_dtype(dtype: torch.dtype) -> None:
    z, y = batch(SIGMOID)
    assert_close(sigmoid_focal_loss(z, y.to(dtype)), sigmoid_focal_loss(z, y))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_class_indices_of_any_dtype(dtype: torch.dtype) -> None:
    z, y = batch(SOFTMAX)
    assert_close(softmax_focal_loss(z, y.to(dtype)), softmax_focal_loss(z, y), **EXACTLY)


def test_mixing_targets_mixes_losses() -> None:
    z = torch.randn(30, 3, dtype=DOUBLE)
    for function, ends in (
        (sigmoid_focal_loss, (torch.zeros_like(z), torch.ones_like(z))),
        (softmax_focal_loss, (torch.eye(3, dtype=DOUBLE).repeat(10, 1), torch.full_like(z, 1 / 3))),
    ):
        low, high = (function(z, end) for end in ends)
        mixed = function(z, 0.7 * ends[0] + 0.3 * ends[1])
        assert_close(mixed, 0.7 * low + 0.3 * high)


@every_loss
def test_losses_are_not_negative(loss: Loss) -> None:
    logits, targets = inputs(loss, Shape((7, 5)))
    losses = loss.function(logits, targets, reduction="none", **loss.keywords(Shape((7, 5))))
    assert_close(losses.clamp(min=0), losses, **EXACTLY)


@every_loss
def test_inputs_are_left_as_they_are(loss: Loss) -> None:
    shape = Shape((7, 5))
    logits, targets = inputs(loss, shape)
    keywords = loss.keywords(shape)
    held = [logits, targets, *(one for one in keywords.values() if isinstance(one, Tensor))]
    before = [one.clone() for one in held]
    evaluate("eager", loss.function, logits, targets, **keywords)
    for one, copy in zip(held, before, strict=True):
        assert_close(one, copy, equal_nan=True, **EXACTLY)


# ---------------------------------------------------------------------------------------------
# alpha and gamma


def test_alpha_weighs_positives_and_one_minus_alpha_negatives() -> None:
    z, y = torch.zeros(2, dtype=DOUBLE), torch.tensor([1, 0])
    bare = math.log(2) / 4
    loss = sigmoid_focal_loss(z, y, alpha=0.25, reduction="none")
    assert_close(loss, torch.tensor([0.25 * bare, 0.75 * bare], dtype=DOUBLE))


def test_layouts_of_a_parameter() -> None:
    """0-d, (C,) along axis 1 and full ndim mean what the written-out tensor means."""
    z = torch.randn(4, 3, 2, dtype=DOUBLE)
    y = torch.rand_like(z)
    per_class = torch.tensor([0.1, 0.5, 0.8], dtype=DOUBLE)
    for layout in (torch.tensor(0.3), per_class, torch.rand(4, 1, 2), torch.rand(4, 3, 2)):
        written_out = layout.view(1, 3, 1) if layout.dim() == 1 else layout
        written_out = written_out.expand(z.shape)
        for name in ("alpha", "gamma"):
            assert_close(
                sigmoid_focal_loss(z, y, **{name: layout}),
                sigmoid_focal_loss(z, y, **{name: written_out}),
            )
    flat, flat_y = z[0, :, 0], y[0, :, 0]
    elementwise = [
        sigmoid_focal_loss(flat[c], flat_y[c], alpha=per_class[c], gamma=float(per_class[c]))
        for c in range(3)
    ]
    assert_close(
        sigmoid_focal_loss(flat, flat_y, alpha=per_class, gamma=per_class, reduction="none"),
        torch.stack(elementwise),
    )


def test_a_pair_of_gammas() -> None:
    z, y = torch.randn(20, dtype=DOUBLE), torch.arange(20) % 2
    first, second = (sigmoid_focal_loss(z, y, gamma=g, reduction="none") for g in (1.0, 3.0))
    pair = sigmoid_focal_loss(z, y, gamma=(1.0, 3.0), reduction="none")
    assert_close(pair, torch.where(y == 1, first, second))


def test_gamma_per_class_and_per_position_of_a_softmax() -> None:
    z, y = batch(SOFTMAX, 5, 3)
    gammas = torch.tensor([0.0, 1.0, 2.5], dtype=DOUBLE)
    per_class = softmax_focal_loss(z, y, gamma=gammas, reduction="none")
    per_position = softmax_focal_loss(z, y, gamma=gammas[y], reduction="none")
    assert_close(per_class, per_position)
    rows = [softmax_focal_loss(z[n], y[n], gamma=float(gammas[y[n]])) for n in range(5)]
    assert_close(per_class, torch.stack(rows))


def test_per_class_wins_where_both_layouts_fit() -> None:
    z = torch.randn(3, 3, dtype=DOUBLE)
    y = torch.tensor([2, 2, 2])
    gammas = torch.tensor([0.0, 1.0, 2.0])
    assert_close(softmax_focal_loss(z, y, gamma=gammas), softmax_focal_loss(z, y, gamma=2.0))


@every_link
def test_parameters_are_rounded_to_the_computing_dtype(link: str) -> None:
    """Kept in double, gamma 2.1 alone would cost 25 ulp."""
    z, y = batch(link, dtype=torch.float32)
    number = FUNCTIONS[link](z * 20, y, gamma=2.1)
    tensor = FUNCTIONS[link](z * 20, y, gamma=torch.tensor(2.1, dtype=DOUBLE))
    rounded = FUNCTIONS[link](z * 20, y, gamma=torch.tensor(2.1))
    assert_close(number, tensor, **EXACTLY)
    assert_close(number, rounded, **EXACTLY)


@every_link
def test_a_gamma_beyond_float32_is_held(link: str) -> None:
    z, y = batch(link, dtype=torch.float32)
    loss, gradient = evaluate("eager", FUNCTIONS[link], z, y, gamma=1e300, reduction="none")
    assert_close(loss, torch.zeros_like(loss), **EXACTLY)
    assert_close(gradient, torch.zeros_like(z), **EXACTLY)


# ---------------------------------------------------------------------------------------------
# ignored, weighted, smoothed


@every_implementation
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_what_is_ignored_may_hold_anything(implementation: str, reduction: str) -> None:
    """Padding of NaN or of -inf alone leaves neither the loss nor the gradient of the others."""
    bad = torch.tensor([torch.nan, torch.inf, -torch.inf])
    for link, junk in (
        (SIGMOID, bad),
        (SOFTMAX, torch.stack([bad, bad[[2, 2, 2]], bad[[1, 0, 1]]])),
    ):
        z, y = batch(link, 4, *([] if link == SIGMOID else [3]), dtype=torch.float32)
        padded_z = torch.cat([z, junk, z[:1]])
        padded_y = torch.cat([y, torch.full((3,), 255), y[:1]]).to(torch.uint8)
        clean = evaluate(
            implementation,
            FUNCTIONS[link],
            torch.cat([z, z[:1]]),
            torch.cat([y, y[:1]]),
            reduction=reduction,
        )
        loss, gradient = evaluate(
            implementation,
            FUNCTIONS[link],
            padded_z,
            padded_y,
            reduction=reduction,
            ignore_index=255,
        )
        rows = torch.tensor([0, 1, 2, 3, 7])
        if reduction == "none":
            assert_close(loss[4:7], torch.zeros(3), **EXACTLY)
            loss = loss[rows]
        assert_close(loss, clean[0])
        assert_close(gradient[rows], clean[1])
        assert_close(gradient[4:7], torch.zeros_like(gradient[4:7]), **EXACTLY)


@every_implementation
@every_link
def test_a_weight_of_zero_is_exactly_zero(implementation: str, link: str) -> None:
    """Also where the loss is infinite or the logits are NaN."""
    inf, nan = torch.inf, torch.nan
    if link == SIGMOID:
        z, y = torch.tensor([-inf, inf, nan, 1.0]), torch.tensor([1.0, 0.0, 1.0, 1.0])
    else:
        z = torch.tensor([[-inf, 0.0], [0.0, inf], [nan, 0.0], [1.0, 0.0]])
        y = torch.zeros(4, dtype=torch.long)
    weight = torch.tensor([0.0, 0.0, 0.0, 1.0])
    loss, gradient = evaluate(
        implementation, FUNCTIONS[link], z, y, sample_weight=weight, reduction="none"
    )
    assert_close(loss[:3], torch.zeros(3), **EXACTLY)
    assert_close(gradient[:3], torch.zeros_like(gradient[:3]), **EXACTLY)
    assert loss[3] > 0


@every_implementation
def test_a_term_of_weight_zero_is_exactly_zero(implementation: str) -> None:
    """alpha 0, a hard floating target, a class of probability 0: 0, not 0 * inf."""
    infinite = torch.tensor([-torch.inf, torch.inf])
    for y, alpha in (([1.0, 0.0], 0.0), ([0.0, 1.0], None)):
        loss, gradient = evaluate(
            implementation,
            sigmoid_focal_loss,
            infinite,
            torch.tensor(y),
            alpha=alpha,
            reduction="none",
        )
        expected = [0.0, torch.inf] if alpha == 0.0 else [0.0, 0.0]
        assert_close(loss, torch.tensor(expected), **EXACTLY)
        assert_close(gradient.isfinite(), torch.tensor([True, True]))
    loss, gradient = evaluate(
        implementation,
        softmax_focal_loss,
        torch.tensor([[0.0, 1.0, -torch.inf]]),
        torch.tensor([[0.5, 0.5, 0.0]]),
        reduction="none",
    )
    rest, rest_gradient = evaluate(
        implementation,
        softmax_focal_loss,
        torch.tensor([[0.0, 1.0]]),
        torch.tensor([[0.5, 0.5]]),
        reduction="none",
    )
    assert_close(loss, rest, **EXACTLY)
    assert_close(gradient, torch.cat([rest_gradient, torch.zeros(1, 1)], 1), **EXACTLY)


@every_implementation
def test_masked_classes_drop_out(implementation: str) -> None:
    z, y = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    masked = torch.cat([z, torch.full((6, 2), -torch.inf)], 1)
    loss, gradient = evaluate(implementation, softmax_focal_loss, masked, y, reduction="none")
    rest, rest_gradient = evaluate(implementation, softmax_focal_loss, z, y, reduction="none")
    # XLA adds in an order that depends on the shape, and in JAX what terms are relative to depends
    # on the number of classes
    same = {"rtol": 8 * eps(torch.float32), "atol": 0} if implementation == "jax" else EXACTLY
    assert_close(loss, rest, **same)
    assert_close(gradient[:, :3], rest_gradient, **same)
    assert_close(gradient[:, 3:], torch.zeros(6, 2), **EXACTLY)


@every_implementation
def test_smoothing_over_a_masked_class_is_an_infinite_loss(implementation: str) -> None:
    z = torch.tensor([[0.0, 1.0, -torch.inf]])
    loss, gradient = evaluate(
        implementation,
        softmax_focal_loss,
        z,
        torch.tensor([0]),
        label_smoothing=0.1,
        reduction="none",
    )
    assert_close(loss, torch.tensor([torch.inf]))
    assert_close(gradient.isnan(), torch.zeros(1, 3, dtype=torch.bool))


def test_an_ignore_index_that_the_targets_cannot_hold() -> None:
    """torch reads -100 as 156 beside uint8 targets, which would drop class 156."""
    z = torch.randn(4, 200)
    y = torch.tensor([0, 100, 156, 199])
    assert_close(
        softmax_focal_loss(z, y.to(torch.uint8), reduction="none"),
        softmax_focal_loss(z, y, reduction="none"),
        **EXACTLY,
    )
    z, y = batch(SIGMOID)
    for dtype in (torch.uint8, torch.bool):
        assert_close(
            sigmoid_focal_loss(z, y.to(dtype), ignore_index=-100), sigmoid_focal_loss(z, y)
        )


def test_ignoring_one_of_two_binary_targets() -> None:
    z, y = batch(SIGMOID, 12)
    expected = sigmoid_focal_loss(z[y == 1], y[y == 1])
    for dtype in (torch.bool, torch.long, torch.float32):
        assert_close(sigmoid_focal_loss(z, y.to(dtype), ignore_index=0), expected)


@every_link
def test_weights_align_with_leading_axes(link: str) -> None:
    z, y = batch(link, 4, 3, 5)
    rows = torch.rand(4, dtype=DOUBLE)
    written_out = rows.view(4, *(1,) * (y.dim() - 1)).expand(y.shape)
    assert_close(
        FUNCTIONS[link](z, y, sample_weight=rows), FUNCTIONS[link](z, y, sample_weight=written_out)
    )
    bare = FUNCTIONS[link](z, y, reduction="none")
    assert_close(FUNCTIONS[link](z, y, sample_weight=rows, reduction="none"), bare * written_out)
    integers = torch.tensor([0, 1, 2, 3])
    assert_close(
        FUNCTIONS[link](z, y, sample_weight=integers, reduction="sum"),
        (bare * integers.view(4, *(1,) * (y.dim() - 1))).sum(),
    )


def test_order_of_smoothing_alpha_and_weight() -> None:
    """Smoothing mixes the targets first; alpha weighs the mixed terms; the weight comes last."""
    z, y = torch.tensor([1.3], dtype=DOUBLE), torch.tensor([1])
    e, a, w = 0.2, 0.3, torch.tensor([5.0], dtype=DOUBLE)
    positive = sigmoid_focal_loss(z, torch.ones(1), alpha=None)
    negative = sigmoid_focal_loss(z, torch.zeros(1), alpha=None)
    assert_close(
        sigmoid_focal_loss(z, y, alpha=a, label_smoothing=e, sample_weight=w, reduction="sum"),
        5 * ((1 - e / 2) * a * positive + e / 2 * (1 - a) * negative),
    )


# ---------------------------------------------------------------------------------------------
# empty, ignored, weightless: a zero that keeps its graph

NOTHING = {
    "empty": ((0, 3), {}),
    "ignored": ((4, 3), {"ignore_index": 1}),
    "weightless": ((4, 3), {"sample_weight": torch.zeros(4)}),
}


@pytest.mark.parametrize(
    ("link", "reduction", "normalizer"),
    [
        *((link, "sum", "elements") for link in FUNCTIONS),
        *(
            (link, "mean", normalizer)
            for link in FUNCTIONS
            for normalizer in ("elements", "weights", "sample_weight")
        ),
        (SIGMOID, "mean", "positives"),
    ],
)
@pytest.mark.parametrize("case", NOTHING)
def test_nothing_to_learn_from(link: str, reduction: str, normalizer: str, case: str) -> None:
    sizes, keywords = NOTHING[case]
    z = torch.randn(sizes, requires_grad=True)
    y = torch.ones(sizes if link == SIGMOID else sizes[:1], dtype=torch.long)
    loss = FUNCTIONS[link](z, y, reduction=reduction, normalizer=normalizer, **keywords)
    assert_close(loss, torch.tensor(0.0), **EXACTLY)
    loss.backward()
    assert_close(z.grad, torch.zeros(sizes), **EXACTLY)


# ---------------------------------------------------------------------------------------------
# NaN


@every_implementation
def test_a_nan_logit_is_never_hidden(implementation: str) -> None:
    nan = torch.nan
    z = torch.tensor([nan, 1.0])
    for y in (torch.tensor([1, 1]), torch.tensor([0.0, 0.5]), torch.tensor([0.3, 1.0])):
        loss, gradient = evaluate(implementation, sigmoid_focal_loss, z, y, reduction="none")
        assert_close(loss.isnan(), torch.tensor([True, False]))
        assert_close(gradient.isnan(), torch.tensor([True, False]))
    z = torch.tensor([[0.0, nan, 1.0], [nan, 0.0, 0.0], [0.0, 1.0, 2.0]])
    for y in (torch.tensor([0, 0, 0]), torch.eye(3)[[0, 0, 0]], torch.full((3, 3), 1 / 3)):
        loss, _ = evaluate(implementation, softmax_focal_loss, z, y, reduction="none")
        assert_close(loss.isnan(), torch.tensor([True, True, False]))


@every_implementation
def test_what_has_no_answer_is_nan(implementation: str) -> None:
    inf = torch.inf
    z = torch.tensor([[inf, inf, 0.0], [-inf, -inf, -inf]])
    for y in (torch.tensor([0, 0]), torch.eye(3)[[0, 0]]):
        loss, _ = evaluate(implementation, softmax_focal_loss, z, y, reduction="none")
        assert_close(loss.isnan(), torch.tensor([True, True]))


# ---------------------------------------------------------------------------------------------
# other inputs that want a gradient


def parameters_of(link: str) -> dict[str, Tensor]:
    def random(*sizes: int) -> Tensor:
        return torch.rand(sizes, dtype=DOUBLE, requires_grad=True)

    targets = random(4, 3)
    alpha = random(3)
    return {"targets": targets, "alpha": alpha, "gamma": random(3), "sample_weight": random(4)}


@every_link
@pytest.mark.parametrize("wanted", ["targets", "alpha", "gamma", "sample_weight"])
@pytest.mark.parametrize("normalizer", ["elements", "weights", "sample_weight"])
def test_gradients_of_everything_else(link: str, wanted: str, normalizer: str) -> None:
    """Distillation, learned weights: their gradient is there, and right."""
    z = torch.randn(4, 3, dtype=DOUBLE, requires_grad=True)
    others = {
        name: one.detach().requires_grad_(name == wanted)
        for name, one in parameters_of(link).items()
    }

    def loss(z: Tensor, one: Tensor) -> Tensor:
        keywords = {**others, wanted: one}
        return FUNCTIONS[link](z, keywords.pop("targets"), normalizer=normalizer, **keywords)

    assert torch.autograd.gradcheck(loss, (z, others[wanted]))


@every_link
def test_gradient_of_a_given_denominator(link: str) -> None:
    z, y = batch(link, 4, 3)
    count = torch.tensor(3.0, dtype=DOUBLE, requires_grad=True)
    loss = FUNCTIONS[link](z, y, normalizer=count)
    loss.backward()
    assert_close(count.grad, -loss.detach() / 3)


# ---------------------------------------------------------------------------------------------
# neighbours and layouts


@every_implementation
@every_link
def test_results_do_not_depend_on_neighbours(implementation: str, link: str) -> None:
    z, y = batch(link, 37, 5, dtype=torch.float32)
    together = evaluate(implementation, FUNCTIONS[link], z, y, reduction="none", gamma=1.5)
    for n in (0, 17, 36):
        alone = evaluate(
            implementation, FUNCTIONS[link], z[n : n + 1], y[n : n + 1], reduction="none", gamma=1.5
        )
        assert_close(alone[0], together[0][n : n + 1], rtol=3e-7, atol=0)
        assert_close(alone[1], together[1][n : n + 1], rtol=3e-7, atol=0)


@every_loss
def test_layout_does_not_matter(loss: Loss) -> None:
    """Channels-last and strided logits: the same numbers, the gradient in the same layout."""
    for shape in SHAPES:
        if shape.layout is torch.clone:
            continue
        logits, targets = inputs(loss, shape)
        keywords = loss.keywords(shape)
        strided = evaluate("eager", loss.function, logits, targets, reduction="none", **keywords)
        plain = evaluate(
            "eager", loss.function, logits.contiguous(), targets, reduction="none", **keywords
        )
        assert_close(strided[0], plain[0], rtol=1e-6, atol=1e-12)
        assert_close(strided[1], plain[1], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", HALF_DTYPES, ids=str)
@every_loss
def test_half_precision_is_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    shape = Shape((7, 5))
    logits, targets = inputs(loss, shape, dtype)
    keywords = loss.keywords(shape)
    for reduction in ("none", "mean"):
        half = evaluate("eager", loss.function, logits, targets, reduction=reduction, **keywords)
        full = evaluate(
            "eager", loss.function, logits.float(), targets, reduction=reduction, **keywords
        )
        assert half[1].dtype == dtype
        rounded = dtype if reduction == "none" else torch.float32
        tolerance = {"rtol": 1e-6, "atol": 1e-9} if rounded == torch.float32 else EXACTLY
        assert_close(half[0], full[0].to(rounded), **tolerance)
        one_ulp = torch.finfo(dtype).eps
        assert_close(
            half[1], full[1].to(dtype), rtol=one_ulp, atol=torch.finfo(dtype).tiny * one_ulp
        )


@every_implementation
@every_link
def test_an_upstream_gradient_per_element(implementation: str, link: str) -> None:
    z, y = batch(link, 5, 3, 4)
    bare, gradient = evaluate(implementation, FUNCTIONS[link], z, y, reduction="none")
    upstream = torch.randn_like(bare)
    _, scaled = evaluate(implementation, FUNCTIONS[link], z, y, upstream, reduction="none")
    factor = upstream if link == SIGMOID else upstream.unsqueeze(1)
    assert_close(scaled, gradient * factor)


@every_implementation
@every_link
@pytest.mark.parametrize("normalizer", ["elements", "weights", 7.5])
def test_normalizers(implementation: str, link: str, normalizer: str | float) -> None:
    shape = Shape((6, 4))
    z, y = inputs(BY_ID["sigmoid" if link == SIGMOID else "softmax"], shape)
    weight = torch.rand(6)
    alpha = torch.tensor([0.1, 0.2, 0.9, 0.6])
    assert_matches(
        implementation,
        link,
        z,
        y,
        alpha=alpha,
        sample_weight=weight,
        reduction="mean",
        normalizer=normalizer,
    )


@every_implementation
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
@pytest.mark.parametrize("one_hot", [False, True], ids=["index", "one-hot"])
def test_a_loss_of_no_number_has_no_finite_gradient(
    implementation: str, detached: bool, gamma: float, one_hot: bool
) -> None:
    """Or a scaler, which looks at gradients alone, would take the step."""
    inf, nan = math.inf, math.nan
    z = torch.tensor(
        [[inf, inf, 0.0], [inf, inf, inf], [-inf, -inf, -inf], [nan, 0.0, 1.0], [0.0, nan, 1.0]]
    )
    targets = torch.zeros(len(z), dtype=torch.long)
    if one_hot:
        targets = torch.nn.functional.one_hot(targets, 3).float()
    settings = {"gamma": gamma, "detach_modulator": detached, "reduction": "none"}
    loss, gradient = evaluate(implementation, softmax_focal_loss, z, targets, **settings)
    assert loss.isnan().all()
    assert gradient.isnan().any(1).all()
