"""Autograd of every kind: backward to third derivatives, torch.func, compile, export, autocast."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import refocal
from cases import (
    BY_ID,
    FUNCTIONS,
    LOSSES,
    MODULES,
    SIGMOID,
    Loss,
    Shape,
    evaluate,
    expected,
    inputs,
    sigmoid_focal_loss,
    softmax_focal_loss,
)
from refocal import kernels

SMALL = Shape((3, 4))
DOUBLE = torch.float64
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.id)
# with the modulator held constant the gradient is not the derivative of the value
every_true_gradient = pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES if loss.is_gradient_of_value], ids=lambda loss: loss.id
)
# one per road through the links: hard, soft, index, probabilities, held modulator
FEW = [
    BY_ID[name]
    for name in ("sigmoid", "sigmoid-soft-2.5", "softmax", "softmax-probabilities-alpha")
] + [BY_ID["softmax-detached"]]
few_losses = pytest.mark.parametrize("loss", FEW, ids=lambda loss: loss.id)


def problem(
    loss: Loss, shape: Shape = SMALL, reduction: str = "sum"
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A loss as a function of its logits alone."""
    logits, targets = inputs(loss, shape, DOUBLE)
    keywords = {"reduction": reduction, **loss.keywords(shape)}
    return lambda z: loss.function(z, targets, **keywords), logits


def at_zero_and_far(logits: Tensor) -> Tensor:
    """Kinks of a careless text lie at 0, its overflows far out."""
    logits = logits.clone()
    logits.view(-1)[:3] = torch.tensor([0.0, 40.0, -40.0], dtype=logits.dtype)
    return logits


# ---------------------------------------------------------------------------------------------
# reverse mode


@every_true_gradient
def test_first_and_second_derivatives(loss: Loss) -> None:
    function, logits = problem(loss)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(function, logits)
    assert torch.autograd.gradgradcheck(function, logits)


@every_true_gradient
def test_third_derivatives(loss: Loss) -> None:
    function, logits = problem(loss, Shape((2,) if loss.link == SIGMOID else (3,)))
    logits = (logits / 4).requires_grad_()

    def second(z: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(function(z), z, create_graph=True)
        (again,) = torch.autograd.grad(first.square().sum(), z, create_graph=True)
        return again

    assert torch.autograd.gradcheck(second, logits)
    assert torch.autograd.gradgradcheck(second, logits)


@every_loss
def test_create_graph_gives_the_same_gradient(loss: Loss) -> None:
    """Under create_graph the backward is the safe text, otherwise one pass."""
    function, logits = problem(loss)
    leaf = at_zero_and_far(logits).requires_grad_()
    (plain,) = torch.autograd.grad(function(leaf), leaf)
    (differentiable,) = torch.autograd.grad(function(leaf), leaf, create_graph=True)
    assert_close(differentiable, plain, rtol=1e-13, atol=1e-30)
    assert differentiable.requires_grad


@every_loss
def test_retain_graph_and_a_second_backward(loss: Loss) -> None:
    function, logits = problem(loss)
    leaf = logits.clone().requires_grad_()
    value = function(leaf)
    value.backward(retain_graph=True)
    once = leaf.grad.clone()
    value.backward()
    assert_close(leaf.grad, 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


@pytest.mark.parametrize("link", FUNCTIONS)
def test_no_nan_in_any_derivative_at_the_extremes(link: str) -> None:
    big, inf = torch.finfo(torch.float32).max, torch.inf
    edges = torch.tensor([0.0, -0.0, 16.7, 90.0, 104.0, 1e4, big, inf])
    edges = torch.cat([edges, -edges])
    for gamma in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5):
        if link == SIGMOID:
            z, ys = edges, [torch.ones(16), torch.full((16,), 0.3)]
        else:
            z = torch.stack([edges, torch.zeros(16), torch.full((16,), -inf)], 1)
            ys = [torch.zeros(16, dtype=torch.long), torch.tensor([[0.4, 0.6, 0.0]]).repeat(16, 1)]
        for y in ys:
            leaf = z.clone().requires_grad_()
            value = FUNCTIONS[link](leaf, y, gamma=gamma, reduction="none")
            for _ in range(3):
                finite = value[value.isfinite()]
                (value,) = torch.autograd.grad(finite.sum(), leaf, create_graph=True)
                assert_close(value.isnan(), torch.zeros_like(value, dtype=torch.bool))


@every_loss
def test_one_tensor_saved_beyond_the_inputs(loss: Loss) -> None:
    shape = Shape((64, 32))
    logits, targets = inputs(loss, shape)
    keywords = loss.keywords(shape)
    flat = [
        one
        for value in keywords.values()
        for one in (value if isinstance(value, tuple) else [value])
    ]
    known = {one.data_ptr() for one in (logits, targets, *flat) if isinstance(one, Tensor)}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in known and tensor.numel() > shape.sizes[0]:
            saved[tensor.data_ptr()] = tensor.numel()
        return tensor

    leaf = logits.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss.function(leaf, targets, **keywords)
    value.backward()
    assert list(saved.values()) == [logits.numel()]


def test_nothing_is_saved_where_no_gradient_is_wanted() -> None:
    z, y = torch.randn(5), torch.ones(5)
    assert sigmoid_focal_loss(z, y).grad_fn is None
    with torch.no_grad():
        assert sigmoid_focal_loss(z.requires_grad_(), y).grad_fn is None
    with torch.inference_mode():
        assert_close(sigmoid_focal_loss(z.detach(), y), sigmoid_focal_loss(z, y).detach())


@every_loss
def test_without_a_gradient_the_value_is_the_same(loss: Loss) -> None:
    function, logits = problem(loss, reduction="none")
    with_gradient = function(logits.clone().requires_grad_()).detach()
    assert_close(function(logits), with_gradient, rtol=0, atol=0)


def test_checkpointing() -> None:
    z, y = torch.randn(6, 4, dtype=DOUBLE, requires_grad=True), torch.randint(0, 4, (6,))
    through = checkpoint(lambda t: softmax_focal_loss(t * 2, y), z, use_reentrant=False)
    (recomputed,) = torch.autograd.grad(through, z)
    (plain,) = torch.autograd.grad(softmax_focal_loss(z * 2, y), z)
    assert_close(recomputed, plain, rtol=0, atol=0)


def test_a_batch_of_upstream_gradients() -> None:
    z, y = torch.randn(4, dtype=DOUBLE, requires_grad=True), torch.ones(4)
    losses = sigmoid_focal_loss(z, y, reduction="none")
    (rows,) = torch.autograd.grad(
        losses, z, torch.eye(4, dtype=DOUBLE), is_grads_batched=True, retain_graph=True
    )
    (diagonal,) = torch.autograd.grad(losses.sum(), z)
    assert_close(rows, torch.diag(diagonal))


# ---------------------------------------------------------------------------------------------
# forward mode and torch.func


@every_true_gradient
def test_forward_mode(loss: Loss) -> None:
    function, logits = problem(loss)
    logits = at_zero_and_far(logits)
    direction = torch.randn_like(logits)
    with forward_ad.dual_level():
        value = function(forward_ad.make_dual(logits, direction))
        primal, tangent = forward_ad.unpack_dual(value)
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf), leaf)
    assert_close(primal, function(logits), rtol=1e-13, atol=1e-30)
    assert_close(tangent, (gradient * direction).sum())
    assert_close(torch.func.jvp(function, (logits,), (direction,))[1], tangent)


@every_loss
def test_func_grad(loss: Loss) -> None:
    function, logits = problem(loss)
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf), leaf)
    assert_close(torch.func.grad(function)(logits), gradient)


@every_true_gradient
def test_hessian_and_jacobians(loss: Loss) -> None:
    function, logits = problem(loss, Shape((2, 3)))
    leaf = logits.clone().requires_grad_()
    by_rows = torch.autograd.functional.hessian(function, leaf)
    assert_close(torch.func.hessian(function)(logits), by_rows)
    assert_close(torch.func.jacfwd(torch.func.jacfwd(function))(logits), by_rows)
    assert_close(torch.func.jacrev(torch.func.jacrev(function))(logits), by_rows)


@few_losses
def test_vmap_is_a_loop(loss: Loss) -> None:
    logits, targets = inputs(loss, Shape((5, 4)), DOUBLE)
    keywords = loss.keywords(Shape((4,)))

    def one(z: Tensor, y: Tensor) -> Tensor:
        return loss.function(z, y, **keywords)

    def stacked(function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.stack([function(z, y) for z, y in zip(logits, targets, strict=True)])

    assert_close(torch.func.vmap(one)(logits, targets), stacked(one))
    gradient = torch.func.grad(one)
    assert_close(torch.func.vmap(gradient)(logits, targets), stacked(gradient))
    if loss.is_gradient_of_value:
        hessian = torch.func.hessian(one)
        assert_close(torch.func.vmap(hessian)(logits, targets), stacked(hessian))


def test_vmap_over_targets_alone() -> None:
    z, y = torch.randn(4, dtype=DOUBLE), torch.randint(0, 2, (3, 4))
    batched = torch.func.vmap(sigmoid_focal_loss, in_dims=(None, 0))(z, y)
    assert_close(batched, torch.stack([sigmoid_focal_loss(z, row) for row in y]))


@every_loss
def test_a_held_modulator_is_constant_in_every_mode(loss: Loss) -> None:
    """For the rest of the losses this is the agreement of the safe text with the one pass."""
    logits, targets = inputs(loss, SMALL, DOUBLE)
    keywords = loss.keywords(SMALL)
    answer = expected(loss, logits, targets, reduction="sum", **keywords)
    for implementation in ("eager", "transform"):
        _, gradient = evaluate(
            implementation, loss.function, logits, targets, reduction="sum", **keywords
        )
        assert_close(gradient.numpy(), answer.gradient.astype(float), rtol=1e-12, atol=1e-30)


def test_the_second_derivative_of_a_held_modulator() -> None:
    """numerics.md: p q**(gamma + 1), as autograd has it with the modulator constant."""
    s = torch.linspace(-30, 30, 121, dtype=DOUBLE, requires_grad=True)
    loss = sigmoid_focal_loss(
        s, torch.ones(121), alpha=None, gamma=1.5, detach_modulator=True, reduction="sum"
    )
    (slope,) = torch.autograd.grad(loss, s, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), s)
    p, q = torch.sigmoid(s.detach()), torch.sigmoid(-s.detach())
    assert_close(slope.detach(), -(q**2.5))
    assert_close(curvature, p * q**2.5)


# ---------------------------------------------------------------------------------------------
# which road is taken: asks torch for its state by private names, so tested for each version


def test_what_runs_plainly() -> None:
    seen: list[bool] = []

    def look(z: Tensor) -> Tensor:
        seen.append(kernels.runs_plainly([z]))
        return z.sum()

    z = torch.randn(3)
    look(z)
    look(torch.nn.Parameter(z))
    assert seen == [True, True]
    seen.clear()
    torch.func.grad(look)(z)
    torch.func.vmap(look)(z[None])
    torch.func.jvp(look, (z,), (z,))
    with forward_ad.dual_level():
        look(z)
    look(z.as_subclass(Subclass))
    assert seen == [False] * 5


class Subclass(Tensor):
    """A tensor that is not plain."""


def test_a_tensor_subclass() -> None:
    z, y = torch.randn(4), torch.ones(4)
    loss = sigmoid_focal_loss(z.as_subclass(Subclass), y)
    assert isinstance(loss, Subclass)
    assert_close(loss.as_subclass(Tensor), sigmoid_focal_loss(z, y))


# ---------------------------------------------------------------------------------------------
# torch.compile and torch.export

COMPILED = {
    "sigmoid": {"gamma": 1.5},
    "sigmoid-rows": {},
    "softmax": {},
    "softmax-probabilities-alpha": {},
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The whole of a function in one graph, by the fastest of the backends that trace it all."""
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_loss_and_gradient(name: str) -> None:
    loss = BY_ID[name]
    logits, targets = inputs(loss, SMALL)
    keywords = {**loss.keywords(SMALL), **COMPILED[name]}

    def function(z: Tensor, y: Tensor) -> Tensor:
        return loss.function(z, y, **keywords)

    leaf, plain_leaf = (logits.clone().requires_grad_() for _ in range(2))
    value = compiled(function)(leaf, targets)
    value.backward()
    plain = function(plain_leaf, targets)
    plain.backward()
    assert_close(value, plain)
    assert_close(leaf.grad, plain_leaf.grad)


@pytest.mark.parametrize(
    ("name", "transform"),
    [("sigmoid", torch.func.grad), ("softmax", torch.func.grad), ("sigmoid", torch.func.hessian)],
    ids=["sigmoid-grad", "softmax-grad", "sigmoid-hessian"],
)
def test_compiled_transforms(name: str, transform: Callable[..., Any]) -> None:
    loss = BY_ID[name]
    logits, targets = inputs(loss, SMALL, DOUBLE)

    def function(z: Tensor) -> Tensor:
        return loss.function(z, targets, gamma=1.5)

    assert_close(compiled(transform(function))(logits), transform(function)(logits))


def test_compiled_by_inductor() -> None:
    """The default backend, which generates code."""
    z, y = torch.randn(64, 5), torch.randint(0, 5, (64,))
    torch._dynamo.reset()
    module = refocal.SoftmaxFocalLoss(alpha=torch.rand(5), impl="eager")
    fast = torch.compile(module, fullgraph=True)
    leaf, plain_leaf = (z.clone().requires_grad_() for _ in range(2))
    fast(leaf, y).backward()
    module(plain_leaf, y).backward()
    assert_close(leaf.grad, plain_leaf.grad)


@pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])
@pytest.mark.parametrize("link", FUNCTIONS)
def test_export(link: str, strict: bool) -> None:
    loss = BY_ID["sigmoid-soft" if link == SIGMOID else "softmax"]
    logits, targets = inputs(loss, SMALL)
    module = MODULES[link](gamma=1.5, label_smoothing=0.1, impl="eager")
    program = torch.export.export(module, (logits, targets), strict=strict)
    leaf, plain_leaf = (logits.clone().requires_grad_() for _ in range(2))
    value, plain = program.module()(leaf, targets), module(plain_leaf, targets)
    assert_close(value, plain)
    value.backward()
    plain.backward()
    assert_close(leaf.grad, plain_leaf.grad)


# ---------------------------------------------------------------------------------------------
# copies


@pytest.mark.parametrize("link", FUNCTIONS)
def test_copies_of_a_loss_inside_a_model(link: str) -> None:
    loss = MODULES[link](gamma=torch.tensor([0.5, 1.0, 2.0]), impl="eager")
    model = torch.nn.ModuleDict({"head": torch.nn.Linear(4, 3), "loss": loss})
    x = torch.randn(5, 4)
    y = torch.zeros(5, 3) if link == SIGMOID else torch.zeros(5, dtype=torch.long)
    expected_loss = model["loss"](model["head"](x), y)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_close(twin["loss"](twin["head"](x), y), expected_loss)


def test_a_loss_tensor_survives_deepcopy_and_pickle() -> None:
    loss = softmax_focal_loss(torch.randn(3, 4), torch.tensor([0, 1, 2]))
    assert_close(copy.deepcopy(loss), loss)
    assert_close(pickle.loads(pickle.dumps(loss)), loss)


def test_a_gamma_that_changes_is_compiled() -> None:
    """A schedule makes a symbol of gamma, whose rounding must be traceable."""
    logits, targets = torch.randn(6, 5), torch.rand(6, 5)
    torch._dynamo.reset()
    compiled = torch.compile(sigmoid_focal_loss, backend="eager", fullgraph=True, dynamic=True)
    for gamma in (1.5, 2.5):
        found = compiled(logits, targets, gamma=gamma)
        torch.testing.assert_close(found, sigmoid_focal_loss(logits, targets, gamma=gamma))
