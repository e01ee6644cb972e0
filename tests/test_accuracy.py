"""Value and gradient beside the oracle, extremes included, to docs/numerics.md's tolerances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cases import (
    FULL_DTYPES,
    GAMMAS,
    IMPLEMENTATIONS,
    LOSSES,
    SIGMOID,
    SOFTMAX,
    Loss,
    assert_matches,
    extremes,
    inputs,
    shapes_for,
)

every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
every_gamma = pytest.mark.parametrize("gamma", GAMMAS, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", FULL_DTYPES, ids=str)


@every_implementation
@every_dtype
@every_gamma
@pytest.mark.parametrize("y", [0, 1])
def test_sigmoid_of_hard_targets(
    implementation: str, dtype: torch.dtype, gamma: float, y: int
) -> None:
    z = extremes(dtype)
    targets = torch.full(z.shape, y)
    assert_matches(implementation, SIGMOID, z, targets, gamma=gamma, alpha=None, reduction="none")


@every_implementation
@every_dtype
@every_gamma
def test_sigmoid_of_soft_targets(implementation: str, dtype: torch.dtype, gamma: float) -> None:
    z = extremes(dtype)
    targets = torch.rand(z.shape, dtype=dtype)
    targets[::7] = 0
    targets[::11] = 1
    assert_matches(implementation, SIGMOID, z, targets, gamma=gamma, alpha=0.3, reduction="none")


def rows(classes: int, dtype: torch.dtype) -> Tensor:
    """Rows of every spread, with masked, tied and infinite classes."""
    z = torch.randn(60, classes, dtype=torch.float64)
    z *= torch.logspace(-2, 2, 60, dtype=torch.float64)[:, None]
    z[::5] += 1000
    z[::7] = z[::7].round()
    if classes > 1:
        z[1::9, 1] = -torch.inf
        z[2::9, 0] = z[2::9, 1]
    z[3::9] = 0
    return z.to(dtype)


@every_implementation
@every_dtype
@every_gamma
@pytest.mark.parametrize("classes", [2, 3, 17])
def test_softmax_of_class_indices(
    implementation: str, dtype: torch.dtype, gamma: float, classes: int
) -> None:
    z = rows(classes, dtype)
    targets = torch.arange(len(z)) % classes
    assert_matches(implementation, SOFTMAX, z, targets, gamma=gamma, reduction="none")


@every_implementation
@every_dtype
@every_gamma
@pytest.mark.parametrize("classes", [2, 5])
def test_softmax_of_probabilities(
    implementation: str, dtype: torch.dtype, gamma: float, classes: int
) -> None:
    z = rows(classes, dtype)
    targets = torch.rand(z.shape, dtype=dtype)
    targets[::3] = torch.eye(classes, dtype=dtype)[torch.arange(len(z[::3])) % classes]
    assert_matches(implementation, SOFTMAX, z, targets, gamma=gamma, reduction="none")


@every_implementation
@every_gamma
def test_a_softmax_of_many_classes(implementation: str, gamma: float) -> None:
    z = torch.randn(3, 5000) * 3
    targets = torch.tensor([0, 4999, 17])
    assert_matches(implementation, SOFTMAX, z, targets, gamma=gamma, reduction="none")


@every_implementation
@every_dtype
@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
@pytest.mark.parametrize("one_hot", [False, True], ids=["index", "one-hot"])
def test_softmax_at_the_largest_and_infinite_logits(
    implementation: str, dtype: torch.dtype, gamma: float, one_hot: bool
) -> None:
    big, inf = torch.finfo(dtype).max, torch.inf
    z = torch.tensor(
        [
            [big, 0.0, -big],
            [-big, 0.0, big],
            [0.0, big, big],
            [big, big, big],
            [-big, -big, -big],
            [0.0, -inf, -inf],
            [-inf, 0.0, 1.0],
            [-inf, 0.0, -inf],
            [inf, 0.0, 0.0],
            [inf, -inf, big],
            [0.0, inf, 0.0],
            [-inf, inf, 0.0],
            [0.0, inf, inf],
            [-big, inf, inf],
            [0.0, -0.0, 0.0],
        ],
        dtype=dtype,
    )
    targets = torch.zeros(len(z), dtype=torch.long)
    if one_hot:
        targets = torch.nn.functional.one_hot(targets, 3).to(dtype)
    assert_matches(implementation, SOFTMAX, z, targets, gamma=gamma, reduction="none")


@every_implementation
@every_dtype
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.id)
@pytest.mark.parametrize("reductions", [["none"], ["mean", "sum"]], ids="-".join)
def test_every_loss_in_every_shape(
    implementation: str, dtype: torch.dtype, loss: Loss, reductions: list[str]
) -> None:
    """Sums of a shape in one test: JAX compiles each operation anew for a shape and a process."""
    pairs = [
        (reduction, shape)
        for reduction in reductions
        for shape in shapes_for(implementation, loss, dtype, reduction)
    ]
    for reduction, shape in pairs:
        logits, targets = inputs(loss, shape, dtype)
        assert_matches(
            implementation,
            loss,
            logits,
            targets,
            f"{reduction} of {shape}",
            reduction=reduction,
            **loss.keywords(shape),
        )


@every_implementation
@every_dtype
@pytest.mark.parametrize("inner", [2, 33])
@pytest.mark.parametrize("kind", ["index", "probabilities"])
def test_a_softmax_with_few_or_odd_positions_behind_a_class(
    implementation: str, dtype: torch.dtype, inner: int, kind: str
) -> None:
    """Groups of positions that fill no vector, and groups that end with an image."""
    z = 3 * torch.randn(5, 7, inner, dtype=dtype)
    if kind == "index":
        targets = torch.arange(5 * inner).view(5, inner) % 7
    else:
        targets = torch.rand(z.shape, dtype=dtype)
    assert_matches(implementation, SOFTMAX, z, targets, reduction="none")


@every_implementation
@pytest.mark.parametrize("gamma", [1.5, 2.0])
def test_probabilities_of_many_classes(implementation: str, gamma: float) -> None:
    z, targets = torch.randn(3, 3000) * 3, torch.rand(3, 3000)
    assert_matches(implementation, SOFTMAX, z, targets, gamma=gamma, reduction="none")
