"""What every test runs over: losses, shapes, dtypes, extremes and implementations.

A new loss, or a new implementation, is one line here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

import oracle
import refocal
from oracle import Array, Expected, wide
from refocal.kernels.cpu import backend as cpu

SIGMOID, SOFTMAX = "sigmoid", "softmax"

# by plain torch unless an implementation is named: "auto" may pick a backend that compiles first
sigmoid_focal_loss = partial(refocal.sigmoid_focal_loss, impl="eager")
softmax_focal_loss = partial(refocal.softmax_focal_loss, impl="eager")
FUNCTIONS = {SIGMOID: sigmoid_focal_loss, SOFTMAX: softmax_focal_loss}
MODULES = {SIGMOID: refocal.SigmoidFocalLoss, SOFTMAX: refocal.SoftmaxFocalLoss}
POSTERIORS = {SIGMOID: refocal.sigmoid_posterior, SOFTMAX: refocal.softmax_posterior}

# 0 as int and as float take the same road only by care; 0.1 and 0.5 have an infinite derivative of
# pow at q = 0, 1.5 an infinite second one; 50 is far beyond use
GAMMAS = (0, 0.0, 0.1, 0.5, 1.0, 1.5, 2, 2.0, 2.5, 5.0, 50.0)

# ---------------------------------------------------------------------------------------------
# implementations, each with its error in eps at gamma and margin s (numerics.md, "Tolerances")

Budget = Callable[[Array, Array], Array]

IMPLEMENTATIONS: dict[str, Budget] = {
    "eager": lambda gamma, s: 4 + 1.5 * gamma,
    # the autodiff-safe text, under a torch.func transform: its exponent is rounded (and held at
    # 1000, where q**gamma has underflown unless gamma is tiny)
    "transform": lambda gamma, s: 4 + 2 * gamma + gamma * np.minimum(np.abs(s), 1000) / 2,
}
if cpu.NUMBA_IS_INSTALLED:
    # the compensated exponent
    IMPLEMENTATIONS["cpu"] = lambda gamma, s: 4 + gamma / 2
if find_spec("jax") is not None:
    IMPLEMENTATIONS["jax"] = lambda gamma, s: 4 + 1.5 * gamma
# in a process of its own, which test_keras.py starts: Keras has one backend in each
IN_KERAS = "REFOCAL_CASES_IN_KERAS" in os.environ
if IN_KERAS:
    IMPLEMENTATIONS = {"keras": lambda gamma, s: 4 + 1.5 * gamma}
# what XLA compiles, or may: it takes subnormal numbers for 0, and compiles every shape anew
XLA = ("jax", "keras")


def evaluate(
    implementation: str,
    function: Callable[..., Tensor],
    logits: Tensor,
    targets: Tensor,
    upstream: Tensor | None = None,
    **keywords: Any,
) -> tuple[Tensor, Tensor]:
    """Loss and gradient by one implementation; the upstream gradient is 1 unless given."""
    if implementation in ("jax", "keras"):
        own = import_module(f"in_{implementation}")
        link = next(link for link, one in FUNCTIONS.items() if one is function)
        both: tuple[Tensor, Tensor] = own.evaluate(link, logits, targets, upstream, **keywords)
        return both
    if implementation == "transform":
        loss, pull = torch.func.vjp(lambda z: function(z, targets, **keywords), logits.detach())
        return loss, pull(torch.ones_like(loss) if upstream is None else upstream)[0]
    leaf = logits.detach().clone().requires_grad_()
    loss = function(leaf, targets, impl=implementation, **keywords)
    (gradient,) = torch.autograd.grad(
        loss, leaf, torch.ones_like(loss) if upstream is None else upstream
    )
    return loss.detach(), gradient


# ---------------------------------------------------------------------------------------------
# dtypes


def computing(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def smallest_normal(dtype: torch.dtype) -> np.longdouble:
    return wide(torch.finfo(dtype).tiny)


def numbers(tensor: Tensor | float) -> Array:
    """A tensor, rounded as it is, in the oracle's numbers."""
    tensor = torch.as_tensor(tensor).detach().resolve_neg()
    return wide((tensor.double() if tensor.is_floating_point() else tensor).numpy())


FULL_DTYPES = (torch.float32, torch.float64)
HALF_DTYPES = (torch.float16, torch.bfloat16)


def extremes(dtype: torch.dtype) -> Tensor:
    """Signed zeros, subnormals, all magnitudes, the largest numbers and the infinities."""
    info = torch.finfo(dtype)
    sizes = torch.cat(
        [
            torch.tensor([0.0, info.smallest_normal / 4, info.tiny, info.max / 2, info.max]),
            torch.tensor([torch.inf], dtype=torch.float64),
            torch.logspace(-8, 4, 61, dtype=torch.float64),
            torch.linspace(0, 120, 481, dtype=torch.float64),
        ]
    )
    return torch.cat([sizes, -sizes]).to(dtype)


# ---------------------------------------------------------------------------------------------
# shapes and layouts of the logits


def channels_last(z: Tensor) -> Tensor:
    return z.contiguous(memory_format=torch.channels_last)


def transposed(z: Tensor) -> Tensor:
    return z.mT.contiguous().mT


def every_other(z: Tensor) -> Tensor:
    return z.repeat_interleave(2, 0)[::2]


@dataclass(frozen=True)
class Shape:
    sizes: tuple[int, ...]
    layout: Callable[[Tensor], Tensor] = torch.clone

    @property
    def classes(self) -> int:
        return ((1, *self.sizes)[:2] if len(self.sizes) < 2 else self.sizes)[1]


ROUND, RAGGED, IMAGE = Shape((64, 4)), Shape((7, 5)), Shape((2, 3, 4, 5))
SHAPES = (
    Shape(()),
    Shape((1,)),
    Shape((11,)),
    Shape((0, 3)),
    Shape((2, 3, 0)),
    Shape((4, 1)),
    ROUND,
    RAGGED,
    IMAGE,
    Shape((2, 3, 4, 5), channels_last),
    Shape((7, 5), transposed),
    Shape((7, 5), every_other),
)


# What JAX makes of a tensor has no strides
OWN_SIZES = tuple(shape for shape in SHAPES if shape.layout is torch.clone)

# Of a product of cases a part that changes from loss to loss, or, as `make whole` asks for, all
WHOLE = "REFOCAL_WHOLE" in os.environ


def shapes_for(
    implementation: str, loss: Loss, dtype: torch.dtype, reduction: str
) -> tuple[Shape, ...]:
    """The shapes that a loss is tried in: all, but of what XLA compiles a few.

    A program takes it a quarter of a second and some megabytes. So every loss has a few shapes,
    most of them in float32 and unreduced, and every shape a good share of the losses.
    """
    if implementation not in XLA:
        return tuple(filter(loss.fits, SHAPES))
    single = dtype == torch.float32
    count = (4 if single else 2) if reduction == "none" else 1
    return share(tuple(filter(loss.fits, OWN_SIZES)), LOSSES.index(loss) + (not single), count)


def share(items: tuple[Any, ...], turn: int, count: int) -> tuple[Any, ...]:
    """Some of the items, others at every turn."""
    if WHOLE or count >= len(items):
        return items
    return tuple(items[(turn * count + i) % len(items)] for i in range(count))


# ---------------------------------------------------------------------------------------------
# losses

Settings = Callable[[Shape], dict[str, Any]]


def ramp(low: float, high: float, *sizes: int) -> Tensor:
    return torch.linspace(low, high, int(np.prod(sizes))).view(sizes)


def per_class(name: str, low: float, high: float) -> Settings:
    """A parameter of shape (C,), or 0-d for 0-d logits."""
    return lambda shape: {name: ramp(low, high, *((shape.classes,) if shape.sizes else ()))}


def positions(shape: Shape) -> tuple[int, ...]:
    return (shape.sizes[:1] if len(shape.sizes) > 1 else ()) + shape.sizes[2:]


def weights(low: float, high: float, sizes: tuple[int, ...]) -> Tensor:
    """Sample weights, every third 0."""
    weight = ramp(low, high, *sizes)
    return torch.where(torch.arange(weight.numel()).view(sizes) % 3 == 1, 0.0, weight)


@dataclass(frozen=True)
class Loss:
    """One loss: a link, the kind of its targets and the keywords that define it."""

    id: str
    link: str
    targets: str
    fixed: dict[str, Any] = field(default_factory=dict)
    settings: Settings = lambda shape: {}

    @property
    def function(self) -> Callable[..., Tensor]:
        return FUNCTIONS[self.link]

    def keywords(self, shape: Shape) -> dict[str, Any]:
        return {**self.fixed, **self.settings(shape)}

    def fits(self, shape: Shape) -> bool:
        return self.link == SIGMOID or (shape.sizes != () and shape.classes > 1)

    @property
    def is_gradient_of_value(self) -> bool:
        return not self.fixed.get("detach_modulator", False)


LOSSES = (
    Loss("sigmoid", SIGMOID, "hard"),
    Loss("bce", SIGMOID, "hard", {"gamma": 0, "alpha": None}),
    Loss("bce-bool", SIGMOID, "bool", {"gamma": 0.0, "alpha": 0.75}),
    Loss("sigmoid-half-gamma", SIGMOID, "hard", {"gamma": 0.5}),
    Loss("sigmoid-floating", SIGMOID, "floating", {"gamma": 1.5}),
    Loss("sigmoid-soft", SIGMOID, "soft", {"gamma": 1.0}),
    Loss("sigmoid-soft-2.5", SIGMOID, "soft", {"gamma": 2.5, "alpha": None}),
    Loss("sigmoid-pair", SIGMOID, "hard", {"gamma": (1.0, 3.5)}),
    Loss("sigmoid-alpha-0", SIGMOID, "hard", {"alpha": 0.0}),
    Loss("sigmoid-alpha-1", SIGMOID, "soft", {"alpha": 1}),
    Loss("sigmoid-alpha-classes", SIGMOID, "hard", settings=per_class("alpha", 0.1, 0.9)),
    Loss("sigmoid-gamma-classes", SIGMOID, "hard", settings=per_class("gamma", 0.0, 3.0)),
    Loss("sigmoid-gamma-0d", SIGMOID, "soft", {"gamma": torch.tensor(1.7)}),
    Loss(
        "sigmoid-elements",
        SIGMOID,
        "hard",
        settings=lambda shape: {
            "gamma": ramp(0, 4, *shape.sizes),
            "alpha": ramp(0.2, 0.6, *(1 for _ in shape.sizes)),
        },
    ),
    Loss(
        "sigmoid-pair-tensors",
        SIGMOID,
        "soft",
        settings=lambda shape: {"gamma": (ramp(0.5, 3, *shape.sizes), torch.tensor(2.0))},
    ),
    Loss("sigmoid-smoothed", SIGMOID, "hard", {"label_smoothing": 0.1}),
    Loss("sigmoid-detached", SIGMOID, "hard", {"detach_modulator": True}),
    Loss("sigmoid-detached-soft", SIGMOID, "soft", {"detach_modulator": True, "gamma": 1.5}),
    Loss("sigmoid-ignored", SIGMOID, "hard-ignored", {"ignore_index": 255}),
    Loss("sigmoid-ignored-soft", SIGMOID, "soft-ignored", {"ignore_index": 255, "gamma": 1.0}),
    Loss("sigmoid-missing", SIGMOID, "soft-ignored", {"ignore_index": math.nan, "gamma": 1.5}),
    Loss(
        "sigmoid-weights",
        SIGMOID,
        "hard",
        settings=lambda shape: {"sample_weight": weights(0.2, 3, shape.sizes)},
    ),
    Loss(
        "sigmoid-rows",
        SIGMOID,
        "soft",
        settings=lambda shape: {"sample_weight": weights(0.5, 2, shape.sizes[:1])},
    ),
    Loss("softmax", SOFTMAX, "index"),
    Loss("cross-entropy", SOFTMAX, "index", {"gamma": 0}),
    Loss("softmax-half-gamma", SOFTMAX, "index", {"gamma": 0.5}),
    Loss("softmax-alpha", SOFTMAX, "index", settings=per_class("alpha", 0.0, 2.0)),
    Loss("softmax-gamma-classes", SOFTMAX, "index", settings=per_class("gamma", 0.0, 3.0)),
    Loss(
        "softmax-gamma-positions",
        SOFTMAX,
        "index",
        settings=lambda shape: {"gamma": ramp(0.0, 3.0, *positions(shape))},
    ),
    Loss("softmax-smoothed", SOFTMAX, "index", {"label_smoothing": 0.1, "gamma": 1.5}),
    Loss("softmax-detached", SOFTMAX, "index", {"detach_modulator": True}),
    Loss("softmax-ignored", SOFTMAX, "index-ignored", {"ignore_index": 255}),
    Loss(
        "softmax-ignored-smoothed",
        SOFTMAX,
        "index-ignored",
        {"ignore_index": 255, "label_smoothing": 0.2},
    ),
    Loss(
        "softmax-weights",
        SOFTMAX,
        "index",
        settings=lambda shape: {"sample_weight": weights(0.2, 3, positions(shape))},
    ),
    Loss(
        "softmax-rows",
        SOFTMAX,
        "probabilities",
        settings=lambda shape: {"sample_weight": weights(0.2, 3, positions(shape)[:1])},
    ),
    Loss("softmax-probabilities", SOFTMAX, "probabilities"),
    Loss(
        "softmax-probabilities-alpha",
        SOFTMAX,
        "probabilities",
        {"gamma": 1.5, "label_smoothing": 0.05},
        per_class("alpha", 0.5, 1.5),
    ),
    Loss(
        "softmax-probabilities-gammas",
        SOFTMAX,
        "probabilities",
        settings=lambda shape: {"gamma": ramp(0, 3, *shape.sizes)},
    ),
    Loss(
        "softmax-probabilities-detached",
        SOFTMAX,
        "probabilities",
        {"detach_modulator": True, "gamma": 1.0},
        per_class("gamma", 0.5, 3.0),
    ),
)
BY_ID = {loss.id: loss for loss in LOSSES}


def inputs(
    loss: Loss, shape: Shape, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Logits of a few units and targets of the loss's kind."""
    generator = torch.Generator().manual_seed(seed)

    def random(*sizes: int) -> Tensor:
        return torch.rand(sizes, generator=generator, dtype=torch.float64)

    logits = torch.randn(shape.sizes, generator=generator, dtype=torch.float64) * 4
    logits = shape.layout(logits.to(dtype)) if logits.dim() else logits.to(dtype)
    y = random(*shape.sizes)
    kind = loss.targets.removesuffix("-ignored")
    if kind == "index":
        targets = (random(*positions(shape)) * shape.classes).long()
    elif kind == "probabilities":
        targets = (y / y.sum(0 if y.dim() == 1 else 1, keepdim=True)).to(computing(dtype))
    elif kind == "soft":
        targets = torch.where(y < 0.1, 0.0, torch.where(y > 0.9, 1.0, y)).to(computing(dtype))
    else:
        targets = (y < 0.4).to({"hard": torch.long, "bool": torch.bool, "floating": dtype}[kind])
    if loss.targets.endswith("-ignored"):
        left_out = random(*targets.shape) < 0.3
        targets = torch.where(left_out, loss.fixed["ignore_index"], targets)
        targets = targets if targets.is_floating_point() else targets.to(torch.uint8)
    return logits, targets


# ---------------------------------------------------------------------------------------------
# the oracle's answer, with bounds


@dataclass(frozen=True)
class Answer:
    """Expected loss and logit gradient, each with the error allowed."""

    value: Array
    gradient: Array
    value_bound: Array
    gradient_bound: Array


def align(parameter: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
    """A number or tensor rounded to the computing dtype, (C,) laid along the class axis."""
    parameter = torch.as_tensor(parameter, dtype=torch.float64).to(computing(dtype))
    if parameter.dim() == 1 and len(shape) > 1:
        parameter = parameter.view(-1, *(1,) * (len(shape) - 2))
    return numbers(parameter)


def leading(weight: Tensor | None, dims: int) -> Array:
    """A sample weight that broadcasts along the leading axes."""
    if weight is None:
        return wide(1)
    return numbers(weight[(..., *(None,) * (dims - weight.dim()))])


def expected(
    loss: Loss | str,
    logits: Tensor,
    targets: Tensor,
    implementation: str = "eager",
    *,
    alpha: Any = "default",
    gamma: Any = 2.0,
    reduction: str = "mean",
    normalizer: Any = "elements",
    sample_weight: Tensor | None = None,
    ignore_index: float | None = None,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
) -> Answer:
    """The oracle's loss and gradient for the public keywords, from their meaning alone."""
    link = loss if isinstance(loss, str) else loss.link
    if isinstance(alpha, str):
        alpha = 0.25 if link == SIGMOID else None
    dtype = logits.dtype
    z, y = numbers(logits), numbers(targets)
    kept = np.ones(y.shape, bool) if ignore_index is None else y != ignore_index
    if ignore_index is not None and math.isnan(ignore_index):
        kept = ~np.isnan(y)
    y = np.where(kept, y, 0)
    smoothing = wide(label_smoothing)
    if link == SIGMOID:
        a = (wide(1), wide(1))
        if alpha is not None:
            positive = align(alpha, z.shape, dtype)
            a = (positive, 1 - positive)
        g = gamma if isinstance(gamma, tuple) else (gamma, gamma)
        g = tuple(align(one, z.shape, dtype) for one in g)
        weight = np.where(kept, leading(sample_weight, z.ndim), 0)
        answer = oracle.sigmoid(
            z,
            y,
            alpha=a,
            gamma=g,
            weight=weight,
            smoothing=smoothing,
            detached=detach_modulator,
        )
        k = np.maximum(*(IMPLEMENTATIONS[implementation](one, z) for one in g))
        value_k = gradient_k = np.broadcast_to(k, z.shape)
        alpha_t = y * a[0] + (1 - y) * a[1]
    else:
        axis = 0 if z.ndim == 1 else 1
        classes = z.shape[axis]
        index_shape = z.shape[:axis] + z.shape[axis + 1 :]
        by_index = not targets.is_floating_point()
        g = align(gamma, z.shape, dtype)
        if by_index:
            one_hot = np.zeros((*y.shape, classes), z.dtype)
            np.put_along_axis(one_hot, y.astype(int)[..., None], 1, -1)
            y = np.moveaxis(one_hot, -1, axis)
        else:
            kept = np.ones(index_shape, bool)
        if g.ndim and g.shape == index_shape and g.shape != (classes,):
            g = np.expand_dims(g, axis)
        a = wide(1) if alpha is None else align(alpha, z.shape, dtype)
        weight = np.where(kept, leading(sample_weight, len(index_shape)), 0)

        def rows(array: Array) -> Array:
            return np.moveaxis(np.broadcast_to(array, z.shape), axis, -1).reshape(-1, classes)

        row_answer = oracle.softmax(
            rows(z),
            rows(y),
            alpha=rows(a),
            gamma=rows(g),
            weight=weight.reshape(-1),
            smoothing=smoothing,
            detached=detach_modulator,
        )
        moved = z.shape[:axis] + z.shape[axis + 1 :] + (classes,)

        def back(array: Array) -> Array:
            return np.moveaxis(array.reshape(moved), -1, axis)

        answer = Expected(
            row_answer.value.reshape(index_shape),
            back(row_answer.gradient),
            row_answer.value_size.reshape(index_shape),
            back(row_answer.gradient_size),
        )
        k = (1 + np.max(rows(g), axis=-1, initial=0)) * (8 + spread(rows(z)) / 2)
        value_k = k.reshape(index_shape)
        gradient_k = np.expand_dims(value_k, axis)
        alpha_t = (y * a).sum(axis)
    # XLA and TensorFlow take subnormal numbers for 0: the modulator, which a slope multiplies by up
    # to 1 + gamma
    flushed = 1 + max(float(np.max(one, initial=0)) for one in (g if link == SIGMOID else (g,)))
    floor = smallest_normal(computing(dtype)) * (flushed if implementation in XLA else 1)
    return reduced(answer, value_k, gradient_k, reduction, dtype, floor).divided_by(
        denominator(reduction, normalizer, y, kept, leading(sample_weight, kept.ndim), alpha_t)
    )


def spread(rows: Array) -> Array:
    """max z - min z over the finite logits of every row."""
    finite = np.isfinite(rows)
    high = np.max(rows, axis=-1, where=finite, initial=-np.inf)
    low = np.min(rows, axis=-1, where=finite, initial=np.inf)
    return np.where(finite.any(axis=-1), high - low, 0)


def denominator(
    reduction: str, normalizer: Any, y: Array, kept: Array, weight: Array, alpha_t: Array
) -> Array:
    if reduction != "mean":
        return wide(1)
    if normalizer == "elements":
        count = kept.sum()
    elif normalizer == "positives":
        count = max(1, (y * kept).sum())
    elif normalizer == "weights":
        count = (np.broadcast_to(weight * alpha_t, kept.shape) * kept).sum()
    elif normalizer == "sample_weight":
        count = (np.broadcast_to(weight, kept.shape) * kept).sum()
    else:
        count = normalizer
    return wide(count or 1)


class Bounded(Answer):
    def divided_by(self, count: Array) -> Answer:
        return Answer(
            self.value / count,
            self.gradient / count,
            self.value_bound / count,
            self.gradient_bound / count,
        )


def reduced(
    answer: Expected,
    value_k: Array,
    gradient_k: Array,
    reduction: str,
    dtype: torch.dtype,
    floor: np.longdouble,
) -> Bounded:
    """Summed unless "none". The absolute term is docs/numerics.md's: where an intermediate result
    is subnormal no relative bound can hold; the scaling by weight and 1 / N cannot enlarge it.
    """
    one = eps(computing(dtype))
    value, value_bound = answer.value, value_k * one * answer.value_size + floor
    if reduction != "none":
        # and the summation itself: pairwise, so a few eps of the sum of sizes
        value_bound = value_bound.sum() + 4 * one * answer.value_size.sum() + floor
        value = value.sum()
    gradient_bound = gradient_k * one * answer.gradient_size + floor
    return Bounded(value, answer.gradient, value_bound, gradient_bound)


# ---------------------------------------------------------------------------------------------
# comparison


def assert_within(actual: Tensor, answer: Array, bound: Array, note: str = "") -> None:
    """|actual - answer| <= bound; NaN and what overflows to inf at the same places."""
    largest = wide(torch.finfo(actual.dtype).max)
    got = numbers(actual)
    answer = np.broadcast_to(answer, got.shape)
    bound = np.broadcast_to(bound, got.shape)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(answer), err_msg=f"NaN {note}")
    beyond = np.abs(answer) > largest
    signed = np.where(beyond, np.where(answer > 0, np.inf, -np.inf), 0)
    np.testing.assert_array_equal(
        np.where(beyond, got, 0).astype(float), signed.astype(float), err_msg=f"inf {note}"
    )
    finite = ~(beyond | np.isnan(answer))
    with np.errstate(invalid="ignore"):
        excess = np.where(finite, np.abs(got - answer) / np.where(finite, bound, 1), 0)
    if not excess.size:
        return
    worst = int(excess.argmax())
    place = tuple(int(one) for one in np.unravel_index(worst, excess.shape))
    np.testing.assert_array_less(
        excess.flat[worst],
        1 + 1e-12,
        err_msg=f"{note} at {place}: got {got.flat[worst]}, expected {answer.flat[worst]}, error "
        "over its bound:",
    )


def assert_matches(
    implementation: str,
    loss: Loss | str,
    logits: Tensor,
    targets: Tensor,
    note: str = "",
    **keywords: Any,
) -> None:
    """The check behind most tests: value and gradient of an implementation beside the oracle."""
    link = loss if isinstance(loss, str) else loss.link
    function = FUNCTIONS[link]
    if implementation == "keras" and not import_module("in_keras").drives(logits, **keywords):
        return  # it has no such setting
    value, gradient = evaluate(implementation, function, logits, targets, **keywords)
    answer = expected(loss, logits, targets, implementation, **keywords)
    assert_within(value, answer.value, answer.value_bound, f"loss {note}")
    assert_within(gradient, answer.gradient, answer.gradient_bound, f"gradient {note}")
