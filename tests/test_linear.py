"""The fused linear loss against the same loss of materialised logits."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from refocal import LinearFocalLoss, linear_focal_loss, softmax_focal_loss
from refocal.kernels import eager

ROWS, FEATURES, CLASSES = 13, 6, 9
IGNORED = 3

# product rounding and order of summation over chunks, in units of the dtype that the products have
TOLERANCE = {
    torch.float64: (1e-12, 1e-13),
    torch.float32: (1e-5, 1e-6),
    torch.bfloat16: (3e-2, 6e-3),
    torch.float16: (4e-3, 8e-4),
}


def factors(dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = (ROWS,)):
    generator = torch.Generator().manual_seed(4)
    sizes = ((*shape, FEATURES), (CLASSES, FEATURES), (CLASSES,))
    return [
        torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for size in sizes
    ]


def indices(shape: tuple[int, ...] = (ROWS,)) -> torch.Tensor:
    targets = torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(5))
    targets.view(-1)[IGNORED : IGNORED + 1] = -100
    return targets


def probabilities(shape: tuple[int, ...] = (ROWS,)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.rand((*shape, CLASSES), generator=generator, dtype=torch.float64).softmax(-1)


def compare(fused, unfused, inputs, dtype=torch.float64):
    rtol, atol = TOLERANCE[dtype]
    assert_close(fused, unfused, rtol=rtol, atol=atol)
    upstream = torch.linspace(0.5, 2, fused.numel(), dtype=fused.dtype).view(fused.shape)
    found = torch.autograd.grad(fused, inputs, upstream)
    expected = torch.autograd.grad(unfused, inputs, upstream)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        largest = max([1.0, *other.abs().flatten().tolist()])
        assert_close(one, other, rtol=rtol, atol=atol * largest)


KEYWORDS = {
    "defaults": {},
    "gamma": {"gamma": 0.5},
    "gamma tensor": {"gamma": torch.tensor(1.5)},
    "gamma per class": {"gamma": torch.linspace(0, 3, CLASSES)},
    "gamma per row": {"gamma": torch.linspace(0, 3, ROWS)},
    "alpha": {"alpha": torch.linspace(0, 2, CLASSES)},
    "sample_weight": {"sample_weight": torch.linspace(0, 2, ROWS)},
    "ignore_index": {"ignore_index": 2},
    "label_smoothing": {"label_smoothing": 0.2},
    "detach_modulator": {"detach_modulator": True},
    "normalizer": {"normalizer": 7.5},
    "normalizer sample_weight": {
        "normalizer": "sample_weight",
        "sample_weight": torch.linspace(0, 2, ROWS),
    },
    "normalizer weights": {"normalizer": "weights", "alpha": torch.linspace(0, 2, CLASSES)},
}


@pytest.mark.parametrize("keywords", KEYWORDS.values(), ids=KEYWORDS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_keyword_means_what_it_means_unfused(keywords, reduction):
    if "normalizer" in keywords and reduction != "mean":
        keywords = {key: value for key, value in keywords.items() if key != "normalizer"}
    keywords = {"reduction": reduction, **keywords}
    hidden, weight, bias = inputs = factors()
    targets = indices().clamp(min=0) if "ignore_index" in keywords else indices()
    fused = linear_focal_loss(hidden, weight, targets, bias, chunk_size=4, **keywords)
    compare(fused, softmax_focal_loss(F.linear(*inputs), targets, **keywords), inputs)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(
    "gamma", [2.0, torch.rand(ROWS, CLASSES, generator=torch.Generator().manual_seed(1))]
)
def test_probability_targets(reduction, gamma):
    hidden, weight, bias = inputs = factors()
    keywords = {"gamma": gamma, "reduction": reduction, "label_smoothing": 0.1}
    fused = linear_focal_loss(hidden, weight, probabilities(), bias, chunk_size=5, **keywords)
    compare(fused, softmax_focal_loss(F.linear(*inputs), probabilities(), **keywords), inputs)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("shape", [(), (ROWS,), (3, 4), (2, 3, 2), (0,), (2, 0)])
@pytest.mark.parametrize("make", [indices, probabilities])
def test_any_number_of_leading_axes(shape, make, reduction):
    targets = make(shape)
    hidden, weight, bias = inputs = factors(shape=shape)
    weights = torch.linspace(0.5, 1, shape[0]) if shape else None
    keywords = {"sample_weight": weights, "reduction": reduction}
    fused = linear_focal_loss(hidden, weight, targets, bias, chunk_size=4, **keywords)
    if weights is not None:
        weights = weights.view(-1, *(1,) * (len(shape) - 1)).expand(shape).reshape(-1)
    unfused = softmax_focal_loss(
        F.linear(hidden.reshape(-1, FEATURES), weight, bias),
        targets.reshape(-1, CLASSES) if make is probabilities else targets.reshape(-1),
        reduction=reduction,
        sample_weight=weights,
    )
    compare(fused, unfused.view(shape) if reduction == "none" else unfused, inputs)


@pytest.mark.parametrize("chunk_size", [1, 4, ROWS, 1000, None])
def test_chunks_do_not_show(chunk_size):
    hidden, weight, _ = inputs = factors()
    fused = linear_focal_loss(hidden, weight, indices(), chunk_size=chunk_size)
    compare(fused, softmax_focal_loss(hidden @ weight.T, indices()), inputs[:2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_dtypes(dtype, reduction):
    hidden, weight, bias = inputs = factors(dtype)
    fused = linear_focal_loss(hidden, weight, indices(), bias, reduction=reduction, chunk_size=4)
    unfused = softmax_focal_loss(F.linear(*inputs), indices(), reduction=reduction)
    assert fused.dtype == unfused.dtype
    compare(fused, unfused, inputs, dtype)


def test_half_precision_gradients_of_a_large_mean_survive():
    """Divided by N before they are summed, most of these would flush to zero in float16."""
    rows = 4096
    hidden = torch.ones(rows, 2, dtype=torch.float16, requires_grad=True)
    weight = torch.tensor([[4.0, 3.0], [0.0, 0.0]], dtype=torch.float16, requires_grad=True)
    targets = torch.zeros(rows, dtype=torch.long)
    (found,) = torch.autograd.grad(
        linear_focal_loss(hidden, weight, targets, chunk_size=64), weight
    )
    wide = weight.detach().double().requires_grad_()
    (true,) = torch.autograd.grad(softmax_focal_loss(hidden.double() @ wide.T, targets), wide)
    assert true.abs().max() / rows < torch.finfo(torch.float16).smallest_normal
    assert_close(found.double(), true, rtol=2**-10, atol=2**-24)


def test_weight_gradient_is_summed_in_float32():
    """A bfloat16 running sum stalls once it outweighs an addend 256 times."""
    rows = 2048
    hidden = torch.ones(rows, 1, dtype=torch.bfloat16)
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.zeros(rows, dtype=torch.long)
    loss = linear_focal_loss(hidden, weight, targets, gamma=0, reduction="sum", chunk_size=1)
    (found,) = torch.autograd.grad(loss, weight)
    assert_close(found.float(), torch.tensor([[-rows / 2.0], [rows / 2.0]]), rtol=0, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_autocast(reduction):
    hidden, weight, bias = inputs = factors(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = linear_focal_loss(
            hidden, weight, indices(), bias, reduction=reduction, chunk_size=4
        )
        unfused = softmax_focal_loss(F.linear(*inputs), indices(), reduction=reduction)
    compare(fused, unfused, inputs, torch.bfloat16)
    assert fused.dtype == unfused.dtype


@pytest.mark.parametrize(
    "learns", [(True, False, False), (False, True, False), (False, False, True)]
)
def test_only_what_learns_gets_a_gradient(learns):
    inputs = [
        one.detach().requires_grad_(learn) for one, learn in zip(factors(), learns, strict=True)
    ]
    hidden, weight, bias = inputs
    loss = linear_focal_loss(hidden, weight, indices(), bias, chunk_size=4)
    wanted = [one for one in inputs if one.requires_grad]
    compare(loss, softmax_focal_loss(F.linear(*inputs), indices()), wanted)


def test_without_gradient_none_is_accumulated(monkeypatch):
    asked = []
    whole = eager.evaluate

    def watched(*arguments, gradient):
        asked.append(gradient)
        return whole(*arguments, gradient=gradient)

    monkeypatch.setattr(eager, "evaluate", watched)
    hidden, weight, bias = factors()
    monkeypatch.setattr("refocal.kernels.choose", lambda *_: eager)
    with torch.no_grad():
        linear_focal_loss(hidden, weight, indices(), bias, chunk_size=4)
    linear_focal_loss(hidden, weight, indices(), bias, reduction="none", chunk_size=4)
    assert asked
    assert not any(asked)
    linear_focal_loss(hidden, weight, indices(), bias, chunk_size=4)
    assert asked[-1]


def test_no_more_than_a_chunk_of_logits_exists(monkeypatch):
    seen = []
    whole = eager.evaluate

    def watched(function, problem, *rest, **keywords):
        seen.append(tuple(problem.logits.shape))
        return whole(function, problem, *rest, **keywords)

    monkeypatch.setattr(eager, "evaluate", watched)
    monkeypatch.setattr("refocal.kernels.choose", lambda *_: eager)
    hidden, weight, bias = factors()
    linear_focal_loss(hidden, weight, indices(), bias, chunk_size=4).backward()
    assert seen == [(4, CLASSES), (4, CLASSES), (4, CLASSES), (1, CLASSES)]


def test_backward_may_run_twice():
    hidden, weight, bias = inputs = factors()
    loss = linear_focal_loss(hidden, weight, indices(), bias, chunk_size=4)
    first = torch.autograd.grad(loss, inputs, torch.tensor(3.0).double(), retain_graph=True)
    second = torch.autograd.grad(loss, inputs, torch.tensor(3.0).double())
    for one, other in zip(first, second, strict=True):
        assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_inside_a_checkpoint(reentrant, reduction):
    inputs = factors()

    def loss(hidden, weight, bias):
        keywords = {"reduction": reduction, "chunk_size": 4}
        return linear_focal_loss(torch.tanh(hidden), weight, indices(), bias, **keywords).sum()

    checkpoint(loss, *inputs, use_reentrant=reentrant).backward()  # reentrant ones refuse grad()
    expected = torch.autograd.grad(loss(*inputs), inputs)
    for one, other in zip(inputs, expected, strict=True):
        assert_close(one.grad, other, rtol=0, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_second_derivatives(reduction):
    inputs = [one[:4].detach().requires_grad_() for one in factors()]
    inputs[1] = factors()[1].detach()[:4].requires_grad_()
    targets = indices()[4:8] % 4

    def loss(hidden, weight, bias):
        return linear_focal_loss(hidden, weight, targets, bias, reduction=reduction, chunk_size=3)

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize("learner", ["targets", "alpha", "gamma", "sample_weight"])
def test_whatever_else_learns_gets_its_gradient(learner):
    hidden, weight, bias = inputs = factors()
    others = {
        "targets": probabilities(),
        "alpha": torch.linspace(0.1, 2, CLASSES),
        "gamma": torch.tensor(1.5),
        "sample_weight": torch.linspace(0.1, 1, ROWS),
    }
    others[learner].requires_grad_()
    targets = others.pop("targets")
    inputs = [*inputs, targets if learner == "targets" else others[learner]]
    fused = linear_focal_loss(hidden, weight, targets, bias, chunk_size=4, **others)
    unfused = softmax_focal_loss(F.linear(hidden, weight, bias), targets, **others)
    compare(fused, unfused, inputs, torch.float32)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_function_transforms():
    hidden, weight, bias = (one.detach() for one in factors())
    targets = indices()

    def fused(hidden):
        return linear_focal_loss(hidden, weight, targets, bias, chunk_size=4)

    def unfused(hidden):
        return softmax_focal_loss(F.linear(hidden, weight, bias), targets)

    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.hessian):
        assert_close(transform(fused)(hidden), transform(unfused)(hidden))
    batch = torch.stack([hidden, hidden + 1])
    assert_close(torch.func.vmap(fused)(batch), torch.func.vmap(unfused)(batch))


def test_compiles_without_a_graph_break():
    inputs = factors()
    targets = indices()

    @torch.compile(backend="aot_eager", fullgraph=True)
    def loss(hidden, weight, bias):
        return linear_focal_loss(hidden, weight, targets, bias, chunk_size=4)

    compare(loss(*inputs), softmax_focal_loss(F.linear(*inputs), targets), inputs)


def test_strided_factors():
    hidden, weight, bias = factors()
    hidden = hidden.detach().T.contiguous().T.requires_grad_()
    weight = weight.detach().T.contiguous().T.requires_grad_()
    loss = linear_focal_loss(hidden, weight, indices(), bias, chunk_size=4)
    compare(loss, softmax_focal_loss(F.linear(hidden, weight, bias), indices()), [hidden, weight])


def test_the_module_is_the_function():
    module = copy.deepcopy(LinearFocalLoss(alpha=torch.rand(CLASSES), gamma=1.5, chunk_size=4))
    hidden, weight, bias = factors()
    expected = linear_focal_loss(
        hidden, weight, indices(), bias, alpha=module.alpha, gamma=1.5, chunk_size=4
    )
    assert_close(module(hidden, weight, indices(), bias), expected, rtol=0, atol=0)
    assert not module.state_dict()
    assert "chunk_size=4" in repr(module)
    assert_close(module.posterior(F.linear(hidden, weight)).sum(1), torch.ones(ROWS).double())


@pytest.mark.parametrize("normalizer", ["elements", "weights", "sample_weight"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("axes", [1, 2])
def test_the_module_counts_and_takes_a_count(normalizer, soft, axes):
    """Micro-batches divided by the count of the whole batch are the whole batch."""
    _, weight, bias = factors()
    hidden = torch.randn(10, *[4] * (axes - 1), weight.shape[1], dtype=weight.dtype)
    positions = hidden.shape[:-1]
    targets = torch.randint(0, CLASSES, positions)
    targets[0] = -100
    if soft:
        targets = torch.rand(*positions, CLASSES).softmax(-1)
    sample_weight = torch.rand(10) + 0.5
    loss = LinearFocalLoss(alpha=torch.rand(CLASSES) + 0.5, normalizer=normalizer)
    expected = loss(hidden, weight, targets, bias, sample_weight=sample_weight)
    parts = [slice(0, 3), slice(3, 4), slice(4, 10)]
    count = sum(loss.denominator(targets[part], sample_weight[part]) for part in parts)
    rest = [
        loss(
            hidden[part],
            weight,
            targets[part],
            bias,
            sample_weight=sample_weight[part],
            normalizer=count,
        )
        for part in parts
    ]
    assert_close(sum(rest), expected)


H, W, T = torch.zeros(3, 4), torch.zeros(5, 4), torch.zeros(3, dtype=torch.long)
REFUSED = {
    "hidden type": ((None, W, T), {}, TypeError, "hidden must be a floating tensor, got NoneType"),
    "weight type": ((H, W.long(), T), {}, TypeError, r"weight must be a .* got torch.int64"),
    "dtypes": ((H, W.double(), T), {}, TypeError, r"dtype of hidden.*use torch.autocast"),
    "weight shape": ((H, W.T, T), {}, ValueError, r"Pass weight.T"),
    "features": ((H, W[:, :3], T), {}, ValueError, r"with the features of hidden, got \(5, 3\)"),
    "no features": ((H[0, 0], W, T), {}, ValueError, r"hidden \(\)"),
    "bias": ((H, W, T, H[0]), {}, ValueError, r"bias must have shape \(5,\)"),
    "device": ((H, W.to("meta"), T), {}, ValueError, r"device of hidden, cpu, got meta"),
    "targets": (
        (H, W, T[:2]),
        {},
        ValueError,
        r"indices of shape \(3,\) or probabilities of shape "
        r"\(3, 5\), got torch.int64 of shape \(2,\)",
    ),
    "range": ((H, W, T + 5), {}, ValueError, "indices from 0 to 4, got 5"),
    "chunk": ((H, W, T), {"chunk_size": 0}, ValueError, "at least 1 row, got 0"),
    "chunk type": ((H, W, T), {"chunk_size": 2.0}, TypeError, "chunk_size must be an integer"),
    "alpha": ((H, W, T), {"alpha": 0.25}, TypeError, r"alpha must be None or a tensor of shape"),
    "positives": ((H, W, T), {"normalizer": "positives"}, ValueError, "no negatives"),
}


@pytest.mark.parametrize(("tensors", "keywords", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(tensors, keywords, kind, message):
    with pytest.raises(kind, match=rf"^linear_focal_loss: .*{message}"):
        linear_focal_loss(*tensors, **keywords)


def test_the_module_refuses_at_once():
    with pytest.raises(ValueError, match=r"^LinearFocalLoss: chunk_size"):
        LinearFocalLoss(chunk_size=0)
