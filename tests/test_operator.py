"""The CPU kernel inside compiled code: the operators, and when the compiler meets them."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch.testing import assert_close

from cases import WHOLE
from refocal import kernels, sigmoid_focal_loss, softmax_focal_loss
from refocal.kernels import eager, operator
from refocal.variants import gaussian_focal_loss, varifocal_loss

if not importlib.util.find_spec("numba"):
    pytest.skip("Numba is not installed", allow_module_level=True)

BACKEND = "aot_eager"  # traces as Inductor does, without its C++


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


SIGMOID = {
    "defaults": {},
    "no alpha": {"alpha": None, "gamma": 1.5},
    "alpha per class": {"alpha": draw(5), "gamma": (1.0, 2.5)},
    "gamma per class": {"gamma": 3 * draw(5)},
    "weight": {"sample_weight": draw(6), "normalizer": "weights"},
    "ignored": {"ignore_index": 1, "label_smoothing": 0.1},
    "missing": {"ignore_index": math.nan, "normalizer": "weights"},
    "positives": {"normalizer": "positives", "detach_modulator": True},
    "none": {"reduction": "none"},
    "sum": {"reduction": "sum"},
}
SOFTMAX = {
    "defaults": {},
    "alpha": {"alpha": draw(5), "gamma": 1.5},
    "gamma per class": {"gamma": 3 * draw(5), "normalizer": 7.0},
    "weight": {"sample_weight": draw(6), "normalizer": "weights"},
    "tensors alone": {"gamma": 3 * draw(5), "normalizer": "weights"},
    "none": {"reduction": "none", "detach_modulator": True},
    "sum": {"reduction": "sum"},
    "smoothed": {"label_smoothing": 0.1},
}
VARIFOCAL = {
    "defaults": {},
    "matched": {"positives": draw(6, 5, seed=4) > 0.5, "normalizer": "positives"},
    "detached": {"detach_modulator": True, "gamma": 1.5, "normalizer": 7.0},
    "weight": {"sample_weight": draw(6), "normalizer": "weights", "alpha": draw(5)},
    "missing": {"ignore_index": math.nan},
    "none": {"reduction": "none", "gamma": 3 * draw(5)},
}
GAUSSIAN = {
    "defaults": {},
    "beta": {"beta": 2.5, "gamma": 1.5, "normalizer": "elements"},
    "weights": {"pos_weight": 2.0, "neg_weight": 0.5, "sample_weight": draw(6)},
    "missing": {"ignore_index": math.nan},
    "none": {"reduction": "none", "gamma": 3 * draw(5)},
}
SETTINGS = {
    sigmoid_focal_loss: SIGMOID,
    softmax_focal_loss: SOFTMAX,
    varifocal_loss: VARIFOCAL,
    gaussian_focal_loss: GAUSSIAN,
}
CASES = [(function, keywords) for function in SETTINGS for keywords in SETTINGS[function].values()]
IDS = [
    f"{function.__name__.split('_')[0]} {name}"
    for function in SETTINGS
    for name in SETTINGS[function]
]
every_function = pytest.mark.parametrize("function", SETTINGS)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def of_dtypes(dtypes):
    """Every case in float32, and in other dtypes those whose result or kernel differs by it alone.

    Each dtype of each setting is a kernel to be compiled, and has its test where kernels are
    compared: tests/test_agreement.py, tests/test_half_floats.py and tests/test_readings.py.
    """
    chosen = [
        pytest.param(function, keywords, dtype, id=f"{name}-{dtype}")
        for (function, keywords), name in zip(CASES, IDS, strict=True)
        for dtype in dtypes
        if dtype == torch.float32
        or not keywords
        or "reduction" in keywords
        or (WHOLE and function in (sigmoid_focal_loss, softmax_focal_loss))
    ]
    return pytest.mark.parametrize(("function", "keywords", "dtype"), chosen)


def inputs(function, dtype=torch.float32, keywords=None, rows=6):
    logits = (8 * draw(rows, 5, seed=1) - 4).to(dtype).requires_grad_()
    if keywords and math.isnan(keywords.get("ignore_index", 0)):
        targets = draw(rows, 5, seed=2)
        return logits, torch.where(draw(rows, 5, seed=3) > 0.7, math.nan, targets)
    if function is sigmoid_focal_loss:
        return logits, (draw(rows, 5, seed=2) > 0.6).long()
    if function is not softmax_focal_loss:  # a third 0, a third 1, and what lies between
        return logits, (3 * draw(rows, 5, seed=2) - 1).clamp(0, 1)
    targets = (draw(rows, seed=2) * 5).long()
    targets[2] = -100
    return logits, targets


def packed(function, keywords, dtype=torch.float32):
    """The problem and the reduction that a call of a function asks for."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "run", lambda _, *call: asked.append(call))
        function(*inputs(function, dtype, keywords), **keywords)
    (problem, reduction, _) = asked[0]
    return problem, reduction


# of opcheck about itself, since torch 2.15: it asks every input for its gradient
@pytest.mark.filterwarnings(
    r"ignore:The \.grad attribute of a Tensor that is not a leaf:UserWarning"
)
@of_dtypes([torch.float32, torch.bfloat16])
def test_opcheck(function, keywords, dtype):
    arguments = operator.pack(*packed(function, keywords, dtype))
    torch.library.opcheck(operator.one_pass, (*arguments, True))
    torch.library.opcheck(operator.one_pass, (*arguments, False))
    detached = (arguments[0].detach(), *arguments[1:])
    torch.library.opcheck(operator.gradient_of, (*detached, torch.tensor(0.5)))


@pytest.mark.parametrize(("function", "keywords"), CASES, ids=IDS)
def test_a_problem_survives_the_packing(function, keywords):
    problem, reduction = packed(function, keywords)
    again, same = operator.unpack(*operator.pack(problem, reduction))
    assert type(again) is type(problem)
    for one, other in zip((*again, *same), (*problem, *reduction), strict=True):
        assert one is other or one == other or (one != one and other != other)


def graphs_of(function, *example, **keywords):
    """Everything that compiling a function hands to the backend, as text."""
    seen = []

    def backend(graph, _):
        seen.append(graph.print_readable(print_output=False))
        return graph.forward

    torch._dynamo.reset()
    torch.compile(function, backend=backend, fullgraph=True)(*example, **keywords)
    return "\n".join(seen)


@of_dtypes(DTYPES)
def test_compiled_code_computes_what_eager_code_does(function, keywords, dtype):
    logits, targets = inputs(function, dtype, keywords)

    def loss(logits):
        return function(logits * 1.5, targets, **keywords)

    torch._dynamo.reset()
    compiled = torch.compile(loss, backend=BACKEND, fullgraph=True)
    found, expected = compiled(logits), loss(logits)
    assert_close(found, expected)
    upstream = torch.linspace(0.5, 2, found.numel(), dtype=found.dtype).view(found.shape)
    (slope,) = torch.autograd.grad(found, logits, upstream)
    (true_slope,) = torch.autograd.grad(expected, logits, upstream)
    assert_close(slope, true_slope)
    with torch.no_grad():
        assert_close(compiled(logits), expected)


@every_function
def test_who_meets_the_operator(function):
    logits, targets = inputs(function)
    assert "ops.refocal.one_pass" in graphs_of(function, logits, targets)
    if function in (varifocal_loss, gaussian_focal_loss):  # which cannot be told by name
        return
    assert "ops.refocal.one_pass" in graphs_of(function, logits, targets, impl="cpu")
    assert "ops.refocal" not in graphs_of(function, logits, targets, impl="eager")


def test_what_the_kernel_does_not_do_is_traced_as_text():
    logits = draw(6, 5).requires_grad_()
    learned = draw(6, 5, seed=3).requires_grad_()
    assert "ops.refocal" not in graphs_of(sigmoid_focal_loss, logits, learned)
    assert "ops.refocal" in graphs_of(sigmoid_focal_loss, logits, learned.detach())


@pytest.mark.parametrize("strict", [False, True])
@every_function
def test_export_does_not_depend_on_the_operator(function, strict):
    logits, targets = inputs(function)

    class Loss(torch.nn.Module):
        def forward(self, logits, targets):
            return function(logits, targets)

    program = torch.export.export(Loss(), (logits.detach(), targets), strict=strict)
    assert "ops.refocal" not in str(program.graph)
    assert_close(program.module()(logits.detach(), targets), function(logits, targets).detach())


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("transform", ["grad", "jacfwd", "hessian", "vmap"])
@every_function
def test_compiled_transforms_trace_the_text(function, transform):
    logits, targets = inputs(function)
    logits, targets = logits.detach()[0].double(), targets[0]

    def loss(logits):
        return function(logits, targets, gamma=1.5)

    def transformed(logits):
        if transform == "vmap":
            return torch.func.vmap(loss)(torch.stack([logits, 2 * logits]))
        return getattr(torch.func, transform)(loss)(logits)

    torch._dynamo.reset()
    compiled = torch.compile(transformed, backend=BACKEND, fullgraph=True)
    assert_close(compiled(logits), transformed(logits))
    assert "ops.refocal" not in graphs_of(transformed, logits)


@every_function
def test_batches_of_calls(function):
    problem, reduction = packed(function, {"gamma": 3 * draw(5)})
    logits, *rest, _ = (*operator.pack(problem, reduction), None)
    batch = torch.stack([logits.detach(), 2 * logits.detach()])
    found = torch.vmap(lambda one: operator.one_pass(one, *rest, True))(batch)
    for number in range(2):
        for whole, one in zip(found, operator.one_pass(batch[number], *rest, True), strict=True):
            assert_close(whole[number], one, rtol=0, atol=0)
    scaled = torch.vmap(lambda factor: operator.gradient_of(batch[0], *rest, factor))
    factors = torch.tensor([1.0, 3.0])
    assert_close(scaled(factors)[1], operator.gradient_of(batch[0], *rest, factors[1]))


@every_function
def test_a_second_derivative_of_the_operator_is_not_silently_zero(function):
    problem, reduction = packed(function, {"gamma": 1.5}, torch.float64)
    slopes = []
    for loss in (
        operator.run(problem, reduction),
        eager.losses(problem).sum() / reduction.denominator,
    ):
        (first,) = torch.autograd.grad(loss, problem.logits, create_graph=True)
        slopes.append(torch.autograd.grad(first.square().sum(), problem.logits)[0])
    assert_close(*slopes)


@every_function
def test_shapes_may_change_without_compiling_again(function):
    compilations = []

    def backend(graph, example):
        compilations.append(graph)
        return torch._dynamo.lookup_backend(BACKEND)(graph, example)

    torch._dynamo.reset()
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    for rows in (4, 7, 19):
        logits, targets = inputs(function, rows=rows)
        for tensor in (logits, targets):
            torch._dynamo.mark_dynamic(tensor, 0)
        loss, expected = compiled(logits, targets), function(logits, targets)
        assert_close(loss, expected)
        assert_close(*(torch.autograd.grad(one, logits)[0] for one in (loss, expected)))
    assert len(compilations) == 1
