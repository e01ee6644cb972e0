"""What XLA makes of the losses: exact in programs of every size, and compiled once.

Which products and sums a compiler fuses depends on shapes and on what stands beside a loss, so the
bounds of the one list of cases are tried again inside of jitted programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import in_jax  # noqa: E402
from cases import SIGMOID, SOFTMAX, Shape, assert_within, expected  # noqa: E402
from refocal.jax import (  # noqa: E402
    posterior,
    sigmoid_focal_loss,
    sigmoid_posterior,
    softmax_focal_loss,
    softmax_posterior,
    terms,
)

# rows of three and four are unrolled, and fused otherwise than those of five
SIZES = ((), (1,), (11,), (64, 3), (64, 4), (7, 5), (2, 3, 4, 5), (1000, 7))
OF_CLASSES = ((11,), (64, 4), (7, 5), (2, 3, 4, 5))

Gamma = Callable[[Shape], Any]
GAMMAS: dict[str, Gamma] = {
    "general": lambda shape: 3.3,
    "traced": lambda shape: torch.tensor(3.3),
    "classes": lambda shape: torch.linspace(0.3, 7, shape.classes if shape.sizes else 1).view(
        (shape.classes,) if shape.sizes else ()
    ),
}
PAIRS: dict[str, Gamma] = {
    "pair": lambda shape: (1.0, 3.5),
    "traced-pair": lambda shape: (torch.tensor(1.3), torch.tensor(5.0)),
}


def scaled(z: Any) -> Any:
    """Something before the loss that XLA fuses with it: a product, so that sums may take it in."""
    return z * (1 + jnp.arange(z.shape[-1], dtype=z.dtype) / 3) if z.ndim else z * z.dtype.type(1.7)


def linear(z: Any) -> Any:
    """A layer before the loss."""
    size = z.shape[-1]
    return z @ jnp.cos(jnp.arange(size * size, dtype=z.dtype)).reshape(size, size)


BEFORE: dict[str, Callable[[Any], Any]] = {"alone": lambda z: z, "scaled": scaled, "linear": linear}


def check(link: str, sizes: tuple[int, ...], gamma: Any, before: str, dtype: torch.dtype) -> None:
    """Loss and gradient of one jitted program with what stands before and after, by the oracle."""
    shape = Shape(sizes)
    generator = torch.Generator().manual_seed(0)
    z = (6 * torch.randn(sizes, generator=generator, dtype=torch.float64)).to(dtype)
    if link == SIGMOID:
        targets = (torch.rand(sizes, generator=generator) < 0.4).long()
    else:
        rows = sizes[:1] if len(sizes) > 1 else ()
        targets = torch.randint(shape.classes, rows + sizes[2:], generator=generator)

    def program(z: Any, y: Any, gamma: Any) -> Any:
        logits = BEFORE[before](z)

        def total(one: Any) -> Any:
            losses = in_jax.FUNCTIONS[link](one, y, gamma=gamma, reduction="none")
            return losses.sum(), losses

        (total_loss, losses), gradient = jax.value_and_grad(total, has_aux=True)(logits)
        return logits, losses, gradient, total_loss * (gradient * z).sum()

    with in_jax.wide_if(dtype):
        pair = isinstance(gamma, tuple)
        if any(isinstance(one, Tensor) for one in (gamma if pair else (gamma,))):
            compiled = jax.jit(program)
            out = compiled(in_jax.given(z), in_jax.given(targets), in_jax.given(gamma))
        else:  # a Python number is a part of the program
            compiled = jax.jit(program, static_argnums=2)
            out = compiled(in_jax.given(z), in_jax.given(targets), gamma)
        logits, losses, gradient = map(in_jax.back, out[:3])
    answer = expected(link, logits, targets, "jax", gamma=gamma, reduction="none")
    assert_within(losses, answer.value, answer.value_bound, "loss")
    assert_within(gradient, answer.gradient, answer.gradient_bound, "gradient")


@pytest.mark.parametrize("before", ["alone", "scaled"])
@pytest.mark.parametrize("name", [*GAMMAS, *PAIRS])
def test_sigmoids_are_exact_in_small_programs(name: str, before: str) -> None:
    """Where a product of the exponent was fused with its own difference, up to twice the bound."""
    for sizes in SIZES:
        gamma = {**GAMMAS, **PAIRS}[name](Shape(sizes))
        check(SIGMOID, sizes, gamma, before, torch.float32)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", GAMMAS)
def test_softmaxes_are_exact_in_small_programs(name: str, before: str) -> None:
    for sizes in OF_CLASSES:
        check(SOFTMAX, sizes, GAMMAS[name](Shape(sizes)), before, torch.float32)


@pytest.mark.parametrize("link", [SIGMOID, SOFTMAX])
@pytest.mark.parametrize("name", ["general", "traced"])
def test_doubles_are_exact_in_small_programs(link: str, name: str) -> None:
    for sizes in ((64, 4), (7, 5)):
        check(link, sizes, GAMMAS[name](Shape(sizes)), "scaled", torch.float64)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The problems that have been traced: what is not, was compiled before."""
    problems: list[Any] = []
    losses = terms.losses

    def noted(problem: Any) -> Any:
        problems.append(problem)
        return losses(problem)

    monkeypatch.setattr(terms, "losses", noted)
    return problems


# of sizes that no other test has
Z = jnp.asarray(np.random.default_rng(0).normal(size=(3, 29)).astype(np.float32))
Y = (Z > 0.5).astype(jnp.int32)
C = jnp.array([1, 0, 28])


def test_numbers_that_change_compile_nothing(traced: list[Any]) -> None:
    """Where the caller jits nothing: a schedule of gamma or alpha, a count as normalizer."""
    for gamma, alpha, count in ((1.5, 0.25, 7), (2.5, 0.3, 9), (0.7, 0.9, 11)):
        keywords = {"gamma": gamma, "normalizer": count}
        loss = sigmoid_focal_loss(Z, Y, alpha=alpha, **keywords)
        want = sigmoid_focal_loss(Z, Y, alpha=jnp.array(alpha), gamma=(gamma, gamma + 1e-7))
        np.testing.assert_allclose(loss * count, want * Z.size, rtol=1e-5)
        sigmoid_focal_loss(Z, Y, gamma=(gamma, 3.5), alpha=alpha)
        softmax_focal_loss(Z, C, **keywords)
    assert len(traced) == 4, traced


def test_a_gradient_compiles_nothing_twice(traced: list[Any]) -> None:
    for gamma in (1.5, 2.5, 0.7):
        jax.value_and_grad(lambda z, g=gamma: sigmoid_focal_loss(z, Y, gamma=g))(Z)
        jax.value_and_grad(lambda z, g=gamma: softmax_focal_loss(z, C, gamma=g))(Z)
    assert len(traced) == 2, traced


def test_what_decides_the_program_makes_another(traced: list[Any]) -> None:
    """And numbers that have an expression of their own keep it."""
    for gamma in (0, 1, 2, 1.5, 2.0):
        sigmoid_focal_loss(Z, Y, gamma=gamma, reduction="none")
    assert [problem.gamma[0] for problem in traced[:3]] == [0.0, 1.0, 2.0]
    assert len(traced) == 4
    for smoothing in (0.0, 0.1):
        softmax_focal_loss(Z, C, label_smoothing=smoothing, reduction="none")
    assert len(traced) == 6


def test_missing_labels_compile_once(traced: list[Any]) -> None:
    """NaN is not equal to itself, and what is compiled for it is still found again."""
    y = jnp.where(Z > 1, jnp.nan, Y)
    for nothing in (float("nan"), np.nan, np.float64("nan")):
        sigmoid_focal_loss(Z, y, ignore_index=nothing)
    assert len(traced) == 1


def test_under_jit_nothing_is_nested() -> None:
    """One flat program, which XLA and a reader see through."""
    for function, targets in ((sigmoid_focal_loss, Y), (softmax_focal_loss, C)):
        text = str(jax.make_jaxpr(lambda z, f=function, y=targets: f(z, y, gamma=1.5))(Z))
        assert "name=program" not in text


def test_without_jit_the_same_numbers() -> None:
    want = sigmoid_focal_loss(Z, Y, gamma=1.5)
    with jax.disable_jit():
        np.testing.assert_allclose(sigmoid_focal_loss(Z, Y, gamma=1.5), want, rtol=1e-6)


def test_posteriors_are_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that change compile nothing, and what has an expression of its own keeps it."""
    traced: list[Any] = []
    margins, odds = posterior.softmax_margins, posterior.BOOK.log_odds
    monkeypatch.setattr(
        posterior, "softmax_margins", lambda *given: traced.append(given) or margins(*given)
    )
    monkeypatch.setattr(
        posterior.BOOK, "log_odds", lambda *given: traced.append(given) or odds(*given)
    )
    for gamma, alpha, temperature in ((1.5, 0.25, 1.5), (2.5, 0.3, 3.0), (0.7, 0.9, 0.5)):
        each = jnp.full(Z.shape[1], alpha)
        got = (
            sigmoid_posterior(Z, gamma=gamma, alpha=alpha, temperature=temperature),
            softmax_posterior(Z, gamma=gamma, alpha=each, temperature=temperature),
        )
        assert len(traced) == 2, traced
        with jax.disable_jit():
            want = (
                sigmoid_posterior(Z, gamma=gamma, alpha=alpha, temperature=temperature),
                softmax_posterior(Z, gamma=gamma, alpha=each, temperature=temperature),
            )
        del traced[2:]
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
    softmax_posterior(Z, gamma=2)
    assert traced[-1][0].shape == Z.shape
    assert len(traced) == 3
