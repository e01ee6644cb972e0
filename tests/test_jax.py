"""What only JAX has: transformations, traced settings, mapped axes, its kinds of arrays and words.

Values, gradients, shapes and dtypes are tested with the other implementations, by their one list.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import torch  # noqa: E402
from jax.experimental import checkify  # noqa: E402

import in_jax  # noqa: E402
import refocal  # noqa: E402
from cases import LOSSES, Shape, inputs  # noqa: E402
from refocal.jax import (  # noqa: E402
    sigmoid_focal_loss,
    sigmoid_posterior,
    softmax_focal_loss,
    softmax_posterior,
)

Z = jnp.array([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]])
Y = jnp.array([[1, 0, 0], [0, 0, 1]])
C = jnp.array([0, 2])
CALLS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda z: sigmoid_focal_loss(z, Y),
    "sigmoid-general": lambda z: sigmoid_focal_loss(z, Y, gamma=1.5),
    "sigmoid-soft": lambda z: sigmoid_focal_loss(z, 0.2 + 0.5 * Y, gamma=(0.5, 3.0)),
    "sigmoid-detached": lambda z: sigmoid_focal_loss(z, Y, detach_modulator=True),
    "softmax": lambda z: softmax_focal_loss(z, C),
    "softmax-general": lambda z: softmax_focal_loss(z, C, gamma=0.5, alpha=jnp.array([1.0, 2, 3])),
    "softmax-soft": lambda z: softmax_focal_loss(z, jnp.full((2, 3), 1 / 3), label_smoothing=0.1),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def close(actual: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=rtol, atol=atol),
        actual,
        expected,
    )


@every_call
def test_transformations_agree_with_the_plain_call(call: Callable[[Any], Any]) -> None:
    value, gradient = jax.value_and_grad(call)(Z)
    close(jax.jit(call)(Z), value)
    close(jax.jit(jax.grad(call))(Z), gradient)
    close(jax.grad(jax.checkpoint(call))(Z), gradient)
    close(jax.jacfwd(call)(Z), gradient)
    tangent = jnp.ones_like(Z)
    close(jax.jvp(call, (Z,), (tangent,))[1], gradient.sum(), atol=1e-6)
    several = jnp.stack([Z, -Z, 0 * Z])
    close(jax.vmap(call)(several), jnp.stack([call(one) for one in several]))
    close(jax.vmap(jax.grad(call))(several), jnp.stack([jax.grad(call)(one) for one in several]))
    _, scanned = jax.lax.scan(lambda carry, one: (carry, call(one)), 0.0, several)
    close(scanned, jnp.stack([call(one) for one in several]))
    donated = jax.jit(jax.grad(call), donate_argnums=0)(Z + 0)
    close(donated, gradient)


@pytest.mark.parametrize("name", [name for name in CALLS if "detached" not in name])
def test_derivatives_of_three_orders(name: str) -> None:
    """Each beside the difference quotient of the one before; a custom rule could have any."""
    call = CALLS[name]
    step = 1e-5
    with jax.enable_x64(True):
        z = jnp.asarray(np.asarray(Z, np.float64))
        along = jnp.asarray(np.cos(np.arange(6.0)).reshape(2, 3))
        function = call
        for _ in range(3):
            quotient = (function(z + step * along) - function(z - step * along)) / (2 * step)
            function = partial(lambda one, x: jax.jvp(one, (x,), (along,))[1], function)
            close(function(z), quotient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_every_derivative_is_finite_at_every_logit(gamma: float) -> None:
    ends = [0.0, -0.0, 1e-30, 88.0, 1e3, 3e38, math.inf]
    z = jnp.array([sign * end for end in ends for sign in (1, -1)])
    one: Any = lambda x, y: sigmoid_focal_loss(x, y, gamma=gamma)  # noqa: E731
    for y in map(jnp.asarray, (0, 1)):
        function = jax.grad(one)
        for _ in range(3):
            values = jax.vmap(function, (0, None))(z, y)
            assert bool(jnp.isfinite(values).all()), (gamma, y, values)
            function = jax.grad(function)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.id)
def test_second_derivatives_are_those_of_torch(loss: Any) -> None:
    shape = Shape((3, 4))
    logits, targets = inputs(loss, shape, torch.float64)
    keywords = {**loss.keywords(shape), "reduction": "sum"}
    want = torch.func.hessian(lambda z: loss.function(z, targets, **keywords))(logits)
    with jax.enable_x64(True):
        settings = {name: in_jax.given(value) for name, value in keywords.items()}
        function = in_jax.FUNCTIONS[loss.link]
        y = in_jax.given(targets)
        got = jax.hessian(lambda z: function(z, y, **settings))(in_jax.given(logits))
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-9, atol=1e-12)


def test_parameters_learn() -> None:
    """Along gamma, alpha, targets and weights, as autograd in torch."""
    z, y = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
    gamma, alpha = torch.rand(3, dtype=torch.float64) + 1, torch.rand(3, dtype=torch.float64)
    weight = torch.rand(5, dtype=torch.float64)

    def theirs(y: Any, gamma: Any, alpha: Any, weight: Any) -> Any:
        return refocal.sigmoid_focal_loss(z, y, gamma=gamma, alpha=alpha, sample_weight=weight)

    want = torch.func.grad(theirs, (0, 1, 2, 3))(y, gamma, alpha, weight)
    with jax.enable_x64(True):
        logits = in_jax.given(z)
        got = jax.grad(
            lambda y, g, a, w: sigmoid_focal_loss(logits, y, gamma=g, alpha=a, sample_weight=w),
            (0, 1, 2, 3),
        )(*map(in_jax.given, (y, gamma, alpha, weight)))
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-12)


def test_a_traced_gamma_compiles_once() -> None:
    traces = []

    @jax.jit
    def step(z: Any, gamma: Any, alpha: Any) -> Any:
        traces.append(gamma)
        return jax.grad(lambda x: sigmoid_focal_loss(x, Y, gamma=gamma, alpha=alpha))(z)

    for gamma, alpha in ((0.0, 0.25), (1.0, 0.5), (2.0, 0.75), (2.5, 1.0)):
        want = jax.grad(lambda x, g=gamma, a=alpha: sigmoid_focal_loss(x, Y, gamma=g, alpha=a))(Z)
        close(step(Z, gamma, alpha), want, rtol=2e-6)
    assert len(traces) == 1


def exponentiated(program: Any, like: Any) -> int:
    """How many numbers of this shape go through `exp`; an accurate one stands there twice."""
    shape = "x".join(map(str, like.shape))
    found = re.findall(rf"stablehlo\.exponential (%\w+)\b.*tensor<{shape}xf32>", program.as_text())
    return len(set(found))


def test_hard_targets_take_one_margin() -> None:
    """bool and integers evaluate one exponential per logit, floating targets two."""

    def exponentials(targets: Any) -> int:
        return exponentiated(jax.jit(lambda z: sigmoid_focal_loss(z, targets)).lower(Z), Z)

    assert exponentials(Y) == exponentials(Y > 0) == 1
    assert exponentials(Y.astype(jnp.float32)) == 2


def test_class_indices_take_one_exponential_per_logit() -> None:
    """In value and gradient together, and nothing is scattered: both would cost passes."""
    z, c = jnp.zeros((64, 10)), jnp.zeros(64, int)
    program = jax.jit(jax.value_and_grad(softmax_focal_loss)).lower(z, c)
    assert exponentiated(program, z) == 1
    assert "scatter" not in program.as_text()


INFINITY, LARGEST = math.inf, float(np.finfo(np.float32).max)
ENDS = [
    [INFINITY, 0, 0],
    [0, INFINITY, 0],
    [INFINITY, INFINITY, 0],
    [0, INFINITY, INFINITY],
    [-INFINITY, INFINITY, INFINITY],
    [INFINITY, LARGEST, 0],
    [-INFINITY, 0, 0],
    [-INFINITY, -INFINITY, 0],
    [-INFINITY, -INFINITY, -INFINITY],
    [0, -INFINITY, -INFINITY],
    [0, -INFINITY, 1],
    [math.nan, 0, 0],
    [0, math.nan, 0],
    [INFINITY, math.nan, 0],
    [0, math.nan, INFINITY],
    [-INFINITY, math.nan, 0],
    [LARGEST, -LARGEST, -LARGEST],
    [-LARGEST, LARGEST, LARGEST],
    [-LARGEST, -LARGEST, -LARGEST],
    [3e38, -3e38, 1],
    [200, 0, 0],
    [0, 200, 0],
]


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("compiled", [False, True], ids=["called", "jitted"])
def test_logits_without_end_are_read_as_in_torch(gamma: float, compiled: bool) -> None:
    """Many rows of each, so that XLA takes the reductions of large arrays: they pass over NaN."""
    ends = torch.tensor(ENDS).repeat(200, 1).requires_grad_()
    index = torch.zeros(len(ends), dtype=torch.long)
    want = refocal.softmax_focal_loss(ends, index, gamma=gamma, reduction="none", impl="eager")
    (slopes,) = torch.autograd.grad(want.sum(), ends)

    def value_and_gradient(z: Any) -> Any:
        call = partial(softmax_focal_loss, targets=in_jax.given(index), gamma=gamma)
        loss, pull = jax.vjp(lambda one: call(one, reduction="none"), z)
        return loss, *pull(jnp.ones_like(loss))

    function = jax.jit(value_and_gradient) if compiled else value_and_gradient
    close(
        function(in_jax.given(ends)),
        (want.detach().numpy(), slopes.numpy()),
        rtol=2e-6,
        atol=1e-37,
    )


def test_a_winner_far_ahead_of_many_keeps_its_loss() -> None:
    """Where each rival alone is subnormal beside the own logit, and their sum is not."""
    classes = 1000
    ahead = np.linspace(60, 93, 100)
    z = np.zeros((len(ahead), classes), np.float32)
    z[:, 7] = ahead
    index = np.full(len(ahead), 7)
    loss, slopes = jax.value_and_grad(
        lambda one: softmax_focal_loss(one, index, gamma=0.0, reduction="sum")
    )(jnp.asarray(z))
    each = softmax_focal_loss(z, index, gamma=0.0, reduction="none")
    exact = np.log1p((classes - 1) * np.exp(-z[:, 7].astype(np.float64)))
    np.testing.assert_allclose(each, exact, rtol=2e-6, atol=1.2e-38)
    np.testing.assert_allclose(slopes[:, 7], -exact, rtol=2e-6, atol=1.2e-38)
    np.testing.assert_allclose(loss, exact.sum(), rtol=2e-6)


TARGETS = [
    "bool",
    "int4",
    "uint4",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "float16",
]


@pytest.mark.parametrize("dtype", TARGETS)
@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_every_dtype_of_targets(dtype: str, promotion: str) -> None:
    """Also where JAX is told to promote no dtype, and no rank, by itself."""
    y, c = Y.astype(dtype), C.astype(dtype)
    weight, each = jnp.array([0.5, 2.0]), jnp.array([0.2, 0.5, 1.0])
    for keywords in (
        {},
        {"ignore_index": 0, "normalizer": "weights", "sample_weight": weight},
        {"label_smoothing": 0.1, "alpha": each, "gamma": each},
        {"gamma": 1.5, "normalizer": jnp.array(3)},
        {"detach_modulator": True, "reduction": "none"},
    ):

        def total(z: Any, function: Any, targets: Any, keywords: Any = keywords) -> Any:
            return jnp.sum(function(z, targets, **keywords))

        both = jax.value_and_grad(total)
        hard = dtype not in ("bool", "float16")
        want = both(Z, sigmoid_focal_loss, Y), both(Z, softmax_focal_loss, C) if hard else None
        raising = "raise" if promotion == "strict" else "allow"
        with jax.numpy_dtype_promotion(promotion), jax.numpy_rank_promotion(raising):
            close(both(Z, sigmoid_focal_loss, y), want[0], rtol=1e-6)
            if hard:
                close(both(Z, softmax_focal_loss, c), want[1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "uint32", "uint64"])
def test_wide_class_indices(dtype: str) -> None:
    """JAX promotes 64 unsigned bits beside signed ones to a float."""
    want = softmax_focal_loss(Z, C)
    with jax.enable_x64(True):
        close(softmax_focal_loss(Z, jnp.asarray(np.asarray(C), dtype)), want, rtol=0)


def test_sizes_may_be_left_open() -> None:
    """An exported program runs with any number of rows and of classes."""
    export = pytest.importorskip("jax.export")
    rows, classes = export.symbolic_shape("rows, classes")
    logits = jax.ShapeDtypeStruct((rows, classes), jnp.float32)
    index = jax.ShapeDtypeStruct((rows,), jnp.int32)
    for function, given, targets in (
        (softmax_focal_loss, (logits, index), (C,)),
        (softmax_focal_loss, (logits, logits), (jax.nn.softmax(Z),)),
        (sigmoid_focal_loss, (logits, logits), (jax.nn.sigmoid(Z),)),
        (softmax_posterior, (logits,), ()),
        (sigmoid_posterior, (logits,), ()),
    ):
        program = export.export(jax.jit(function))(*given)
        close(program.call(Z, *targets), function(Z, *targets), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_half_precision_is_rounded_once(dtype: str, reduction: str) -> None:
    z = Z.astype(dtype)
    exact = sigmoid_focal_loss(z.astype(jnp.float32), Y, reduction=reduction)
    loss = sigmoid_focal_loss(z, Y, reduction=reduction)
    assert loss.dtype == (z.dtype if reduction == "none" else jnp.float32)
    np.testing.assert_array_equal(loss, exact.astype(loss.dtype))


def test_kinds_of_arrays() -> None:
    """NumPy's arrays and scalars, weak types, 0-d and empty arrays."""
    want = float(sigmoid_focal_loss(Z, Y))
    assert float(sigmoid_focal_loss(np.asarray(Z), np.asarray(Y))) == want
    assert float(sigmoid_focal_loss(Z, Y, gamma=np.float32(2), alpha=np.array(0.25))) == (
        pytest.approx(want, rel=1e-6)
    )
    weak = jnp.asarray(2.0)
    assert sigmoid_focal_loss(weak, jnp.asarray(1)).dtype == jnp.float32
    assert float(sigmoid_focal_loss(jnp.zeros((0, 3)), jnp.zeros((0, 3)))) == 0
    assert softmax_focal_loss(jnp.zeros((0, 3)), jnp.zeros(0, int), reduction="none").shape == (0,)


def test_what_has_weight_0_may_be_anything() -> None:
    z = jnp.array([[jnp.nan, jnp.inf, 0.0], [1.0, 2.0, 3.0]])
    weight = jnp.array([0.0, 1.0])
    for function, targets in ((sigmoid_focal_loss, Y), (softmax_focal_loss, C)):
        loss, gradient = jax.value_and_grad(
            lambda x, f=function, y=targets: f(x, y, sample_weight=weight, reduction="sum")
        )(z)
        close(loss, function(z[1:], targets[1:], reduction="sum"), rtol=1e-6)
        np.testing.assert_array_equal(gradient[0], 0)
    assert bool(jnp.isnan(sigmoid_focal_loss(z, Y)))  # a NaN logit that counts is never hidden


@pytest.mark.parametrize("targets", ["indices", "probabilities"])
def test_what_is_left_out_may_be_anything_in_a_large_program(targets: str) -> None:
    """Jitted, by weight and by ignored class, at first and second order."""
    rows, classes = 512, 100
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(rows, classes)).astype(np.float32)
    out = np.arange(rows) % 4 == 0
    z = clean.copy()
    z[0::8, 3], z[4::8, 5] = np.nan, np.inf
    z[0::16] = -np.inf
    index = rng.integers(0, classes, rows)
    settings: list[dict[str, Any]] = [{"sample_weight": jnp.asarray(~out, jnp.float32)}]
    y = jnp.asarray(index)
    if targets == "indices":
        settings.append({})
    else:
        y = jax.nn.one_hot(y, classes)
    for keywords in settings:
        given = y if keywords else jnp.where(out, -100, y)

        def total(one: Any, given: Any = given, keywords: Any = keywords) -> Any:
            return softmax_focal_loss(one, given, reduction="sum", **keywords)

        along = jnp.ones_like(clean).at[:, 0].set(2.0)
        second = jax.jit(lambda one, f=total, t=along: jax.jvp(jax.grad(f), (one,), (t,)))
        got, want = second(z), second(clean)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one[out], 0)
            close(one[~out], other[~out], rtol=1e-6)
        close(jax.jit(total)(z), total(clean), rtol=1e-5)


def test_an_axis_of_classes() -> None:
    z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32))
    index = jnp.array([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])
    moved = jnp.moveaxis(z, -1, 1)
    alpha = jnp.array([0.2, 0.5, 0.9])
    for one, other in (
        (
            softmax_focal_loss(z, index, axis=-1, alpha=alpha, gamma=alpha),
            softmax_focal_loss(moved, index, alpha=alpha, gamma=alpha),
        ),
        (
            sigmoid_focal_loss(z, z > 0, axis=-1, alpha=alpha),
            sigmoid_focal_loss(moved, moved > 0, alpha=alpha),
        ),
        (
            jnp.moveaxis(softmax_posterior(z, axis=2, gamma=alpha), -1, 1),
            softmax_posterior(moved, gamma=alpha),
        ),
        (
            jnp.moveaxis(sigmoid_posterior(z, axis=2, gamma=alpha, alpha=alpha), -1, 1),
            sigmoid_posterior(moved, gamma=alpha, alpha=alpha),
        ),
    ):
        close(one, other, rtol=1e-6)


POSTERIORS: list[dict[str, Any]] = [
    {},
    {"gamma": 0.5},
    {"gamma": torch.tensor([0.0, 1.0, 2.5])},
    {"detach_modulator": True},
    {"label_smoothing": 0.1},
    {"temperature": 1.7},
]


@pytest.mark.parametrize("keywords", POSTERIORS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_posteriors_are_those_of_torch(keywords: dict[str, Any], dtype: torch.dtype) -> None:
    z = (torch.randn(20, 3, dtype=torch.float64) * 10).to(dtype)
    z[0, 0], z[1, 1] = -torch.inf, 3e38
    rtol = 1e-12 if dtype == torch.float64 else 2e-5
    with in_jax.wide_if(dtype):
        settings = {name: in_jax.given(value) for name, value in keywords.items()}
        for name, log in (
            ("sigmoid_posterior", "log_odds"),
            ("softmax_posterior", "log_probabilities"),
        ):
            for wanted in (False, True):
                want = getattr(refocal, name)(z, **keywords, **{log: wanted})
                got = getattr(refocal.jax, name)(in_jax.given(z), **settings, **{log: wanted})
                np.testing.assert_allclose(got, want.numpy(), rtol=rtol, atol=1e-30)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("log", [False, True], ids=["probabilities", "logarithms"])
@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
def test_a_traced_temperature_learns(link: str, log: bool, smoothing: float) -> None:
    """One program for all of them, with the derivative of its numbers."""
    with jax.enable_x64(True):
        z = 3 * jnp.asarray(np.random.default_rng(0).normal(size=(40, 3)))
        posterior: Any = sigmoid_posterior if link == "sigmoid" else softmax_posterior
        name = "log_odds" if link == "sigmoid" else "log_probabilities"
        traces = []

        def call(temperature: Any) -> Any:
            traces.append(temperature)
            return posterior(z, temperature=temperature, label_smoothing=smoothing, **{name: log})

        compiled = jax.jit(lambda t: jax.jvp(call, (t,), (jnp.ones_like(t),)))
        for temperature in (0.5, 1.0, 1.7):
            value, slope = compiled(temperature)
            step = 1e-6
            close(value, call(temperature), rtol=1e-12)
            quotient = (call(temperature + step) - call(temperature - step)) / (2 * step)
            finite = np.isfinite(value)  # what smoothing cuts off at 0 has no logarithm
            close(slope[finite], quotient[finite], rtol=1e-6, atol=1e-8)
        assert sum(isinstance(one, jax.core.Tracer) for one in traces) == 1
        several = jax.vmap(call)(jnp.array([0.5, 1.7]))
        close(several, jnp.stack([call(0.5), call(1.7)]), rtol=1e-12)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: sigmoid_focal_loss([1.0], Y),
        TypeError,
        "logits must be an array, got list. Use jnp.asarray.",
    ),
    (
        lambda: sigmoid_focal_loss(torch.ones(3), Y),
        TypeError,
        "logits must be an array, got Tensor. Use jnp.asarray.",
    ),
    (
        lambda: sigmoid_focal_loss(Y, Z),
        TypeError,
        "logits must be floating, got int32. Pass the network's raw output; if these are the "
        "labels, the arguments are swapped.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, 255 * Y),
        ValueError,
        "targets must be in [0, 1], got 255. Only 0 and 255 occur: if 255 is the positive class, "
        "as in a mask of grey levels, use targets > 0. If 255 marks what to leave out, pass "
        "ignore_index=255.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, C),
        ValueError,
        "targets must have the shape of logits, got (2,) and (2, 3). For class indices use "
        "softmax_focal_loss, where classes exclude each other, or jax.nn.one_hot(targets, 3)"
        ".astype(logits.dtype) for one decision per class.",
    ),
    (
        lambda: softmax_focal_loss(Z, jnp.array([0, 3])),
        ValueError,
        "targets must be class indices from 0 to 2, got 3. If 3 marks what to leave out, pass "
        "ignore_index=3.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, alpha=0.3),
        TypeError,
        "alpha must be None or an array of shape (3,), got the float 0.3. One number has no agreed "
        "meaning for several classes. To weigh a background class 0 use jnp.array([1 - a, a, a, "
        "...]); to scale the whole loss, multiply it.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=-1.0),
        ValueError,
        "gamma must be finite and >= 0, got -1.0.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=jnp.array(1.5)),
        ValueError,
        "alpha must be in [0, 1], got 1.5. A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is "
        "alpha=w / (1 + w) and the loss times 1 + w: here alpha=1.5 / (1 + 1.5), times 1 + 1.5.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, sample_weight=jnp.array([1.0, -2.0])),
        ValueError,
        "sample_weight must be finite and >= 0, got -2.0. A negative weight would reward the wrong "
        "answer; 0 leaves an element out.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer=torch.tensor(3.0)),
        TypeError,
        'normalizer must be one of "elements", "positives", "weights", "sample_weight", or a '
        "positive number, got Tensor. Pass it as a number, float(normalizer).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=torch.ones(3)),
        TypeError,
        "gamma must be a number >= 0 or an array, got Tensor. Use jnp.asarray.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, reduction="sum", axis_name="data"),
        ValueError,
        "axis_name must be None unless reduction is \"mean\", got reduction='sum', which has no "
        "denominator to sum over devices.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, axis=2),
        ValueError,
        "axis must be an axis of logits (2, 3), got 2.",
    ),
    (
        lambda: jax.jit(lambda i: softmax_focal_loss(Z, C, ignore_index=i))(1),
        TypeError,
        "ignore_index must be a Python value, got an array. It is a part of the program: under jit "
        "name it in static_argnames, or close over it.",
    ),
    (
        lambda: jax.jit(lambda e: sigmoid_focal_loss(Z, Y, label_smoothing=e))(0.1),
        TypeError,
        "label_smoothing must be a Python value, got an array. It is a part of the program: under "
        "jit name it in static_argnames, or close over it.",
    ),
    (
        lambda: sigmoid_posterior(Z, temperature=jnp.array(0.0)),
        ValueError,
        "temperature must be finite and > 0, got 0.0.",
    ),
    (
        lambda: softmax_posterior(Z, temperature=jnp.ones(3)),
        ValueError,
        "temperature must be a number or a 0-d array, got shape (3,).",
    ),
    (
        lambda: sigmoid_posterior(Z, alpha=0),
        ValueError,
        "alpha must be strictly between 0 and 1, got 0.0. A class of weight 0 is not learned, so "
        "it has no posterior.",
    ),
    (
        lambda: softmax_posterior(Z, gamma=jnp.ones(2)),
        ValueError,
        "gamma must be a number or one value per class, got shape (2,). No posterior exists for a "
        "gamma that depends on the example.",
    ),
]


def named(part: object) -> str | None:
    return part[:40] if isinstance(part, str) else None


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=named)
def test_refusals(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind
    assert str(error.value).partition(": ")[2] == message


@pytest.mark.parametrize(
    ("keywords", "targets", "message"),
    [
        ({}, 2 * Y, "targets must be in [0, 1], got 2.0."),
        ({"gamma": jnp.array(-1.0)}, Y, "gamma must be finite and >= 0, got -1.0."),
        ({"alpha": jnp.array(2.0)}, Y, "alpha must be in [0, 1], got 2.0."),
        ({"sample_weight": jnp.array([1.0, -1])}, Y, "sample_weight must be finite and >= 0, got"),
        ({}, Y, None),
    ],
)
def test_checkify(keywords: Any, targets: Any, message: str | None) -> None:
    def call(z: Any, y: Any, settings: Any) -> Any:
        return sigmoid_focal_loss(z, y, checkify=True, **settings)

    error, _ = jax.jit(checkify.checkify(call))(Z, targets, keywords)
    found = error.get()
    assert found is None if message is None else message in found


def test_a_class_index_out_of_range_is_nan_where_it_cannot_be_refused() -> None:
    for smoothing in (0.0, 0.1):
        losses = jax.jit(
            lambda c, e=smoothing: softmax_focal_loss(Z, c, reduction="none", label_smoothing=e)
        )(jnp.array([3, -1]))
        assert bool(jnp.isnan(losses).all())


DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from functools import partial
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from refocal.jax import (
    sigmoid_focal_loss, sigmoid_posterior, softmax_focal_loss, softmax_posterior
)

assert jax.device_count() == 4
mesh = Mesh(np.array(jax.devices()), ("data",))
rng = np.random.default_rng(0)
z = jnp.asarray(rng.normal(size=(32, 5)).astype(np.float32))
y = jnp.asarray(rng.random((32, 5)) < 0.2).astype(jnp.uint8).at[::3].set(255)
c = jnp.asarray(rng.integers(0, 5, 32)).at[:9].set(-100)
for function, targets, keywords in (
    (sigmoid_focal_loss, y, dict(ignore_index=255, normalizer="positives")),
    (sigmoid_focal_loss, y, dict(ignore_index=255)),
    (softmax_focal_loss, c, dict(normalizer="weights", alpha=jnp.arange(1.0, 6))),
):
    def whole(z):
        return function(z, targets, **keywords)

    def part(z, targets):
        return jax.lax.pmean(function(z, targets, axis_name="data", **keywords), "data")

    shared = jax.shard_map(part, mesh=mesh, in_specs=(P("data"), P("data")), out_specs=P())
    want, slopes = jax.value_and_grad(whole)(z)
    got, own = jax.value_and_grad(shared)(z, targets)
    np.testing.assert_allclose(got, want, rtol=2e-6)
    np.testing.assert_allclose(own, slopes, rtol=2e-5, atol=1e-9)
    # and without a word, where the compiler splits
    placed = jax.device_put(z, NamedSharding(mesh, P("data")))
    np.testing.assert_allclose(jax.jit(jax.grad(whole))(placed), slopes, rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(whole(placed), want, rtol=2e-6)

# where the mesh is explicit, as `jax.make_mesh` has it now, batch or classes split
explicit = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
z, soft = z[:, :4], jax.nn.softmax(z[:, 1:])
y, c = soft > 0.3, jnp.where(c == 4, 0, c)
each = jnp.arange(1.0, 5) / 5
calls = (sigmoid_focal_loss, y), (softmax_focal_loss, c), (softmax_focal_loss, soft)
for function, targets in calls:
    for keywords in (
        {}, dict(alpha=each), dict(gamma=each), dict(label_smoothing=0.1),
        dict(normalizer="weights"),
        dict(sample_weight=jnp.arange(32.0), normalizer="sample_weight"), dict(reduction="none"),
    ):
        def both(z, targets):
            def total(z):
                return jnp.sum(function(z, targets, **keywords))

            return jax.value_and_grad(total)(z)

        want = both(z, targets)
        for spec in (P("data"), P(None, "data")):
            with jax.set_mesh(explicit):
                rows = spec if targets.ndim == 2 else P(*spec[:1])
                got = jax.jit(both)(jax.device_put(z, spec), jax.device_put(targets, rows))
            for one, other in zip(got, want):
                np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-7)
for posterior in (sigmoid_posterior, softmax_posterior):
    want = posterior(z, alpha=each - 0.1)
    for spec in (P("data"), P(None, "data")):
        with jax.set_mesh(explicit):
            got = posterior(jax.device_put(z, spec), alpha=each - 0.1)
        np.testing.assert_allclose(got, want, rtol=1e-5)
print("equal")
"""


def test_four_devices_equal_one() -> None:
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    ran = subprocess.run(
        [sys.executable, "-c", DEVICES], capture_output=True, text=True, env=environment
    )
    assert ran.stdout == "equal\n", ran.stderr


@pytest.mark.parametrize("names", ["ranks", ("ranks",), ["ranks"]], ids=repr)
def test_an_axis_of_vmap_shares_a_batch(names: Any) -> None:
    z, y = jnp.stack([Z, -Z]), jnp.stack([Y, 1 - Y])
    losses = jax.vmap(
        lambda one, target: sigmoid_focal_loss(
            one, target, normalizer="positives", axis_name=names
        ),
        axis_name="ranks",
    )(z, y)
    close(losses.mean(), sigmoid_focal_loss(z, y, normalizer="positives"), rtol=1e-6)
