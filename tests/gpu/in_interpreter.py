"""The Triton kernels in Triton's interpreter, against the formula in float64.

Run by tests/test_gpu_interpreter.py in a process of its own: ``TRITON_INTERPRET=1`` must be set
before Triton is imported. The interpreter takes milliseconds per program whatever its size, so
there are few programs, and every case is one call of the backend.
"""

from __future__ import annotations

import importlib
import math
import os

import pytest
import torch
import triton
import triton.language as tl
from launches import problem
from packaging.version import Version
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import refocal
from cases import share
from refocal import sigmoid_focal_loss, softmax_focal_loss
from refocal.kernels import eager
from refocal.kernels.gpu import backend as gpu
from refocal.kernels.gpu import softmax
from refocal.problem import SigmoidProblem
from refocal.reduction import Reduction, reduction_for

assert os.environ["TRITON_INTERPRET"] == "1"

EPS = torch.finfo(torch.float32).eps
TINY = torch.finfo(torch.float32).smallest_normal
# The interpreter truncates to bfloat16 where a GPU rounds: one ulp instead of half of one.
HALF_ULP = {torch.float16: 2**-11 * 1.02, torch.bfloat16: 2**-7}
# Before 3.9 the interpreter rounds a fused multiply-add twice, GPUs never: float32 shows it.
FUSED = pytest.mark.skipif(
    Version(triton.__version__) < Version("3.9"), reason="a fused multiply-add is rounded twice"
)
EVERY_DTYPE = [pytest.param(torch.float32, marks=FUSED), torch.bfloat16, torch.float16]
SMALLEST = {torch.float16: 2**-24, torch.bfloat16: TINY, torch.float32: TINY}


@pytest.fixture(autouse=True)
def quiet():
    """NumPy warns of inf * 0 in lanes that a mask or a `where` throws away."""
    import numpy as np

    with np.errstate(all="ignore"):
        yield


def assert_within(found, expected, relative, absolute, scale=None):
    """|found - expected| <= relative * scale + absolute; infinities equal."""
    found, expected = found.double(), expected.double()
    scale = expected.abs() if scale is None else scale.abs().double()
    finite = torch.isfinite(expected)
    assert_close(found[~finite], expected[~finite], equal_nan=True)
    excess = ((found - expected).abs() - relative * scale)[finite]
    assert_close(excess.clamp(min=0), torch.zeros_like(excess), rtol=0, atol=absolute)


def truth(case, factor=1.0):
    """Unreduced loss and its gradient times ``factor``, in float64 by torch operations."""
    wide = case._replace(logits=case.logits.double())
    if isinstance(case, SigmoidProblem) and case.targets.dtype.is_floating_point:
        wide = wide._replace(targets=case.targets.double())
    loss, _ = eager.evaluate("test", wide, Reduction("none", 1.0), gradient=False)
    return loss, eager.gradient(wide, torch.as_tensor(factor, dtype=torch.float64))


def sizes(case):
    """The sizes of the two terms that a soft target's gradient subtracts from each other."""
    certain = [case._replace(targets=torch.full_like(case.targets, value)) for value in (0.0, 1.0)]
    first, second = (truth(one)[1].abs() for one in certain)
    return torch.maximum(first, second)


def tolerance(gamma):
    """In eps. The formula's `4 + 1.5 gamma`, and 2 more for what the lean sequence rounds."""
    return 6 + 1.5 * gamma


# ---------------------------------------------------------------------------------------------
# sigmoid: accuracy

LOGITS = torch.cat(
    [
        torch.linspace(-30, 30, 6000),
        torch.linspace(-110, 110, 1500),
        torch.randn(2000, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0.0, -0.0, 1e-30, -1e-30, 3.4028235e38, -3.4028235e38, 1e-8, 88.7, -88.7]),
    ]
)


@pytest.mark.parametrize("detach_modulator", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 1.5, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_certain_targets_at_every_logit(dtype, gamma, detach_modulator):
    logits = LOGITS.clamp(-60000, 60000).to(dtype) if dtype == torch.float16 else LOGITS.to(dtype)
    logits = torch.cat([logits, logits])
    targets = torch.arange(len(logits)) < len(logits) // 2
    case = problem(
        "sigmoid", logits, targets, gamma=gamma, alpha=None, detach_modulator=detach_modulator
    )
    loss, _ = gpu.evaluate("test", case, Reduction("none", 1.0), gradient=False)
    slope = gpu.gradient(case, torch.ones(()))
    true_loss, true_slope = truth(case)
    relative = HALF_ULP.get(dtype, 0) + tolerance(gamma) * EPS
    for found, expected in ((loss, true_loss), (slope, true_slope)):
        assert found.dtype == dtype
        keep = expected.abs() <= torch.finfo(dtype).max
        assert_within(found[keep], expected[keep], relative, SMALLEST[dtype] * (1 + gamma))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.0, (0.5, 3.0)])
@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_soft_targets(dtype, gamma):
    generator = torch.Generator().manual_seed(2)
    logits = (torch.randn(8000, generator=generator) * 12).to(dtype)
    targets = torch.rand(8000, generator=generator).to(dtype)
    targets[:50], targets[50:100] = 0.0, 1.0
    case = problem("sigmoid", logits, targets, gamma=gamma)
    loss, _ = gpu.evaluate("test", case, Reduction("none", 1.0), gradient=False)
    slope = gpu.gradient(case, torch.ones(()))
    true_loss, true_slope = truth(case)
    relative = HALF_ULP.get(dtype, 0) + tolerance(3.0) * EPS
    assert_within(loss, true_loss, relative, SMALLEST[dtype])
    assert_within(slope, true_slope, relative, SMALLEST[dtype] * 4, sizes(case))


def test_infinite_and_nan_logits():
    infinity, nan = float("inf"), float("nan")
    logits = torch.tensor([infinity, infinity, -infinity, -infinity, nan, nan])
    targets = torch.tensor([1, 0, 1, 0, 1, 0])
    for dtype in (torch.int64, torch.float32):
        for gamma in (0.0, 0.5, 2.0):
            case = problem("sigmoid", logits, targets.to(dtype), alpha=None, gamma=gamma)
            loss, _ = gpu.evaluate("test", case, Reduction("none", 1.0), gradient=False)
            assert_close(loss, torch.tensor([0, infinity, infinity, 0, nan, nan]), equal_nan=True)
            slope = gpu.gradient(case, torch.ones(()))
            assert_close(slope, torch.tensor([0.0, 1, -1, 0, nan, nan]), equal_nan=True)


def test_weight_zero_is_zero_whatever_the_logit():
    logits = torch.tensor([float("inf"), float("-inf"), float("nan"), 1.0])
    zero = torch.zeros(4)
    for targets in (torch.tensor([0, 1, 1, 0]), torch.tensor([0.0, 1.0, 0.5, 0.3])):
        cases = [
            problem("sigmoid", logits, targets, sample_weight=zero),
            problem("sigmoid", logits[:2], targets[:2], alpha=torch.tensor([1.0, 0.0])),
        ]
        for case in cases:
            loss, slope = gpu.evaluate("test", case, Reduction("sum", 1.0), gradient=True)
            assert_close(loss, torch.tensor(0.0))
            assert_close(slope, torch.zeros_like(slope))
    ignored = problem("sigmoid", logits, torch.tensor([255, 255, 255, 1]).byte(), ignore_index=255)
    loss, slope = gpu.evaluate("test", ignored, Reduction("sum", 1.0), gradient=True)
    assert_close(slope[:3], torch.zeros(3))
    assert_close(loss, truth(ignored)[0].sum().float())


# ---------------------------------------------------------------------------------------------
# every keyword, through the public functions

SHAPE = (6, 10, 7)


def draw(*shape, seed=3):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


TARGETS = {
    "float": draw(*SHAPE),
    "float64": draw(*SHAPE).double(),
    "bool": draw(*SHAPE) > 0.7,
    "uint8": (draw(*SHAPE) * 3).byte(),
    "int64": (draw(*SHAPE) > 0.7).long(),
}
SIGMOID = {
    "defaults": {},
    "no alpha": {"alpha": None},
    "alpha 1": {"alpha": 1.0},
    "alpha 0-d": {"alpha": torch.tensor(0.3)},
    "alpha per class": {"alpha": draw(10)},
    "alpha per row": {"alpha": draw(6, 1, 1)},
    "alpha apart": {"alpha": draw(6, 1, 7)},
    "alpha full": {"alpha": draw(*SHAPE)},
    "gamma pair": {"gamma": (1.0, 2.5)},
    "gamma mixed pair": {"gamma": (torch.tensor(0.5), 2.0)},
    "gamma per class": {"gamma": 3 * draw(10)},
    "gamma full": {"gamma": 3 * draw(*SHAPE)},
    "gamma full and 0-d": {"gamma": (3 * draw(*SHAPE), torch.tensor(2.0))},
    "gamma full and number": {"gamma": (1.5, 3 * draw(*SHAPE))},
    "gamma per class and per row": {"gamma": (3 * draw(10), 3 * draw(6, 1, 1))},
    "gamma per class and full": {"gamma": (3 * draw(10), 3 * draw(*SHAPE))},
    "weight": {"sample_weight": draw(*SHAPE)},
    "weight per row": {"sample_weight": draw(6)},
    "smoothing": {"label_smoothing": 0.1},
    "detached": {"detach_modulator": True},
    "positives": {"normalizer": "positives"},
    "weights": {"normalizer": "weights", "sample_weight": draw(6)},
    "sample weight": {"normalizer": "sample_weight", "sample_weight": draw(6)},
    "number": {"normalizer": 12.5},
}


def compare(function, logits, targets, keywords, upstream=None):
    """Loss and gradient of both backends, whose inputs are the same numbers."""
    results = []
    for impl in ("gpu", "eager"):
        z = logits.clone().requires_grad_()
        loss = function(z, targets, impl=impl, **keywords)
        loss.backward(torch.ones_like(loss) if upstream is None else upstream.expand_as(loss))
        results.append((loss, z.grad))
    (loss, slope), (expected, expected_slope) = results
    largest = max(expected_slope.abs().flatten().tolist())
    assert_close(loss, expected, rtol=2e-5, atol=1e-6)
    assert_close(slope, expected_slope, rtol=2e-5, atol=2e-6 * largest)


@pytest.mark.parametrize("keywords", SIGMOID.values(), ids=SIGMOID)
@pytest.mark.parametrize("targets", ["float", "int64"])
def test_sigmoid_keywords(targets, keywords):
    logits = torch.randn(SHAPE, generator=torch.Generator().manual_seed(4)) * 3
    compare(sigmoid_focal_loss, logits, TARGETS[targets], {"reduction": "mean", **keywords})
    if "normalizer" not in keywords:
        scaled = torch.tensor(1.7)
        compare(
            sigmoid_focal_loss, logits, TARGETS[targets], {"reduction": "none", **keywords}, scaled
        )


@pytest.mark.parametrize("targets", TARGETS)
def test_target_types(targets):
    logits = torch.randn(SHAPE, generator=torch.Generator().manual_seed(4)) * 3
    keywords = {"ignore_index": 2} if targets == "uint8" else {}
    compare(sigmoid_focal_loss, logits, TARGETS[targets], {"reduction": "sum", **keywords})
    compare(sigmoid_focal_loss, logits.mT, TARGETS[targets].mT, {"reduction": "mean", **keywords})


SOFTMAX = {
    "defaults": {},
    "gamma 0": {"gamma": 0.0},
    "gamma": {"gamma": 1.5},
    "gamma 0-d": {"gamma": torch.tensor(0.5)},
    "gamma per class": {"gamma": 3 * draw(10)},
    "gamma per position": {"gamma": 3 * draw(6, 7)},
    "alpha": {"alpha": draw(10)},
    "weight": {"sample_weight": draw(6, 7)},
    "weight per row": {"sample_weight": draw(6)},
    "smoothing": {"label_smoothing": 0.1},
    "detached": {"detach_modulator": True},
    "weights": {"normalizer": "weights", "alpha": draw(10)},
}
INDICES = (draw(6, 7) * 10).long()
INDICES[2, 3:5] = -100


@pytest.mark.parametrize("keywords", SOFTMAX.values(), ids=SOFTMAX)
@pytest.mark.parametrize("targets", ["index", "probabilities"])
def test_softmax_keywords(targets, keywords):
    logits = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5)) * 3
    if targets == "index":
        target = INDICES
    else:
        target = draw(*SHAPE).softmax(1)
        if "gamma" in keywords and torch.as_tensor(keywords["gamma"]).dim() == 2:
            keywords = {"gamma": 3 * draw(*SHAPE)}
    compare(softmax_focal_loss, logits, target, {"reduction": "mean", **keywords})
    if "normalizer" not in keywords:
        upstream = torch.linspace(0.5, 2, 42).view(6, 7)
        compare(softmax_focal_loss, logits, target, {"reduction": "none", **keywords}, upstream)


HALVES_AND_SINGLE = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((10,), (3, 2), (40, 2), (9, 130), (2, 3000), (3, 5, 2, 4))


@pytest.mark.parametrize(
    ("shape", "targets", "dtype"),
    [
        (shape, targets, dtype)
        for row, shape in enumerate(SHAPES)
        for column, targets in enumerate(("index", "smooth", "probabilities"))
        for dtype in share(HALVES_AND_SINGLE, row + column, 1)  # up to three seconds each
    ],
)
@pytest.mark.parametrize("looped", [False, True])
def test_softmax_shapes(shape, dtype, targets, looped, monkeypatch):
    if looped:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
        monkeypatch.setattr(gpu, "LOOP_WARPS", 1)
        if shape == (40, 2):
            pytest.skip("forty programs; the other shapes say as much")
    axis = 0 if len(shape) == 1 else 1
    positions = shape[:axis] + shape[axis + 1 :]
    generator = torch.Generator().manual_seed(6)
    logits = (torch.randn(shape, generator=generator) * 6).to(dtype)
    keywords = {"label_smoothing": 0.2 if targets == "smooth" else 0.0, "gamma": 1.5}
    if targets == "probabilities":
        target = torch.rand(shape, generator=generator)
    else:
        target = torch.randint(0, shape[axis], positions, generator=generator)
    case = problem("softmax", logits, target, **keywords)
    loss, _ = gpu.evaluate("test", case, Reduction("none", 1.0), gradient=False)
    slope = gpu.gradient(case, torch.ones(()))
    true_loss, true_slope = truth(case)
    # the formula's tolerance for a softmax, over the range of the logits
    span = (logits.amax() - logits.amin()).float() if logits.numel() else torch.zeros(())
    relative = HALF_ULP.get(dtype, 0) + 2.5 * (8 + span / 2) * EPS
    soft = targets != "index"
    scale = true_slope.abs().amax(axis, keepdim=True) if soft else None
    assert_within(loss, true_loss, relative, SMALLEST[dtype] + (EPS if soft else 0))
    assert_within(slope, true_slope, relative, SMALLEST[dtype] * 4, scale)


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_softmax_edges(soft, looped, monkeypatch):
    """Masked, infinite, NaN and ignored rows as the eager backend has them."""
    if looped:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
    inf, nan, big = float("inf"), float("nan"), 3.4028235e38
    logits = torch.tensor(
        [
            [1.0, -inf, 2.0],
            [-inf, -inf, 2.0],
            [1.0, inf, 2.0],
            [1.0, 1.0, inf],
            [inf, inf, 0.0],
            [-inf, -inf, -inf],
            [nan, 0.0, 1.0],
            [nan, -inf, inf],
            [big, -big, 0.0],
            [5.0, 5.0, 5.0],
            [inf, nan, 1.0],
            [nan, -inf, inf],
        ]
    )
    targets = torch.tensor([0, 2, 0, 2, 2, 1, 2, -100, 1, 0, 2, 1])
    keywords = {"gamma": 2.0}
    if soft:
        targets, keywords = torch.nn.functional.one_hot(targets.clamp(min=0), 3).float(), {}
        targets[9] = torch.tensor([0.2, 0.3, 0.5])
        keywords["sample_weight"] = torch.tensor([1.0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1])
    case = problem("softmax", logits, targets, **keywords)
    loss, _ = gpu.evaluate("test", case, Reduction("none", 1.0), gradient=False)
    slope = gpu.gradient(case, torch.ones(()))
    expected, _ = eager.evaluate("test", case, Reduction("none", 1.0), gradient=False)
    assert_close(loss, expected, equal_nan=True)
    assert_close(slope, eager.gradient(case, torch.ones(())), equal_nan=True)


@pytest.mark.parametrize("looped", [False, True])
def test_an_index_out_of_range_is_nan_and_reads_nothing(looped, monkeypatch):
    if looped:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
    case = problem("softmax", torch.zeros(3, 4), torch.tensor([0, 4, -1]), alpha=torch.ones(4))
    loss, _ = gpu.evaluate("test", case, Reduction("none", 1.0), gradient=False)
    nan = float("nan")
    expected = torch.tensor([0.75**2 * torch.log(torch.tensor(4.0)), nan, nan])
    assert_close(loss, expected, equal_nan=True)


# ---------------------------------------------------------------------------------------------
# memory: nothing but the outputs is written, and no more of them than there are elements


@pytest.mark.parametrize("count", [1, 31, 1023, 1024, 2049, 5000])
@pytest.mark.parametrize("loss", ["none", "sum"])
@pytest.mark.parametrize("hard", [False, True])
def test_canaries_around_a_sigmoid(count, loss, hard):
    logits, targets = torch.randn(count), draw(count)
    case = problem("sigmoid", logits, targets > 0.5 if hard else targets)
    size = count if loss == "none" else gpu.programs(case)
    check_canaries(case, size, loss)


@pytest.mark.parametrize("shape", [(1, 2), (33, 10), (5, 130), (3, 7, 11)])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("loss", ["none", "sum"])
@pytest.mark.parametrize("looped", [False, True])
def test_canaries_around_a_softmax(shape, soft, loss, looped, monkeypatch):
    if looped:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
    positions = (shape[0], *shape[2:])
    logits = torch.randn(shape)
    targets = draw(*shape) if soft else torch.zeros(positions, dtype=torch.long)
    case = problem("softmax", logits, targets)
    size = gpu.programs(case) if loss == "sum" else torch.Size(positions).numel()
    check_canaries(case, size, loss)


def check_canaries(case, size, loss):
    count = case.logits.numel()
    before = case.logits.clone(), case.targets.clone()
    outputs = [torch.full((length + 128,), 77.0) for length in (size, count)]
    inner = [whole[64:-64] for whole in outputs]
    for one in inner:
        one.fill_(float("nan"))
    gpu.launch(case, 0.5, *inner, loss)
    for whole, one in zip(outputs, inner, strict=True):
        assert_close(whole[:64], torch.full((64,), 77.0), rtol=0, atol=0)
        assert_close(whole[-64:], torch.full((64,), 77.0), rtol=0, atol=0)
        assert not one.isnan().any()
    for now, then in zip((case.logits, case.targets), before, strict=True):
        assert_close(now, then, rtol=0, atol=0)
    total = truth(case)[0].sum()
    assert_close(inner[0].double().sum(), total, rtol=1e-5, atol=1e-6)


@triton.jit
def offsets_kernel(
    out, blocks, count, classes, inner, spans, ROWS: tl.constexpr, INNER: tl.constexpr
):
    """Where the kernels look for the last class of the last position of some blocks."""
    block = tl.load(blocks + tl.program_id(0))
    base, end = softmax.span_of(block, count, inner, spans, ROWS, INNER)
    origin = softmax.origin_of(block, base, classes, inner, spans, INNER)
    lane = tl.minimum(end - base, ROWS) - 1
    last = origin + (lane if INNER else lane.to(tl.int64) * classes)
    number = tl.full((1,), classes - 1, tl.int32)
    lanes = tl.arange(0, 1)
    tl.store(out + tl.program_id(0) + lanes, last + softmax.along_row(number, inner, INNER))


@pytest.mark.parametrize(
    ("samples", "classes", "inner"),
    [
        (2**30, 19, 1),
        (2, 2**31 - 2**16, 1),
        (1, 19, 2**27 + 16),  # one sample beyond 2**31
        (3, 2, 2**30 + 1),
        (2**20, 2**16, 2**16),
        (5, 150, 513 * 513),
    ],
)
@pytest.mark.parametrize("rows", [1, 512])
def test_offsets_beyond_32_bits(samples, classes, inner, rows):
    """The interpreter wraps 32-bit products, as a device does."""
    count, spans = samples * inner, -(-inner // rows)
    whole = samples * spans if inner > 1 else -(-samples // rows)
    blocks = torch.tensor([0, whole // 2, whole - 1])
    out = torch.zeros(3, dtype=torch.int64)
    offsets_kernel[(3,)](out, blocks, count, classes, inner, spans, ROWS=rows, INNER=inner > 1)
    expected = []
    for block in blocks.tolist():
        if inner > 1:
            sample, part = divmod(block, spans)
            position = sample * inner + min((part + 1) * rows, inner) - 1
        else:
            position = min((block + 1) * rows, samples) - 1
        sample, pixel = divmod(position, inner)
        expected.append((sample * classes + classes - 1) * inner + pixel)
    assert out.tolist() == expected
    assert expected[-1] == samples * classes * inner - 1


# ---------------------------------------------------------------------------------------------
# the launches around the kernels


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float32])
@pytest.mark.parametrize("size", [1, 4095, 4096, 16384, 16385, 300_000])
def test_counts(dtype, size):
    link = "sigmoid" if dtype == torch.float32 else "softmax"
    targets = (draw(size) * 5).to(dtype)
    shape = (size,) if link == "sigmoid" else (size, 5)
    logits = torch.zeros(()).expand(shape)
    for ignored in (3, -1):
        case = problem(link, logits, targets, ignore_index=ignored)
        count = gpu.count(case)
        assert (count.shape, count.dtype) == ((), torch.int64)
        assert count == (targets != ignored).sum().clamp(min=1)
    everything = problem(link, logits, torch.full_like(targets, 2), ignore_index=2)
    assert gpu.count(everything) == 1
    if link == "sigmoid":
        assert gpu.count(problem(link, logits, targets)) is None
    else:
        assert gpu.count(problem(link, logits, logits)) is None


def test_an_ignored_value_as_the_targets_hold_it():
    targets = torch.tensor([0.0, -9999.0, 1.0]).bfloat16()  # -9984
    keywords = {"ignore_index": -9999, "reduction": "none"}
    compare(sigmoid_focal_loss, torch.randn(3), targets, keywords)
    compare(sigmoid_focal_loss, torch.randn(3), targets, {"ignore_index": -9999})
    missing = torch.tensor([0.0, torch.nan, 1.0])
    compare(sigmoid_focal_loss, torch.randn(3), missing, {"ignore_index": math.nan})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("looped", [False, True])
def test_labels_that_rounding_put_outside(dtype, looped, monkeypatch):
    """Taken for 0 and 1; what is further out stays, as a device does not check it."""
    if looped:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
    slack = refocal.problem.rounding_of(dtype)
    inside = (draw(3, 4) < 0.5).to(dtype)
    outside = torch.where(inside == 1, 1 + slack, -slack).to(dtype)
    for function in (sigmoid_focal_loss, softmax_focal_loss):
        z = torch.randn(3, 4)
        right = function(z, inside, impl="gpu", reduction="none")
        assert_close(function(z, outside, impl="gpu", reduction="none"), right, rtol=0, atol=0)
        compare(function, z, outside, {"reduction": "none"})


@pytest.mark.parametrize("size", [1, 2048, 2049, 10_000])
@pytest.mark.parametrize("denominator", [None, 3.0, torch.tensor(7), torch.tensor(0.3)])
def test_sums_are_added_in_float64(size, denominator):
    sums = draw(size) * 1e8
    total = torch.empty(())
    gpu.finish(sums, total, denominator)
    expected = sums.double().sum() / (1.0 if denominator is None else denominator)
    assert_close(total.double(), expected, rtol=EPS / 2, atol=0)


LINKS = {"sigmoid": (9000, 3), "tile": (200, 10), "loop": (27, 300), "pixels": (3, 5, 600)}


@pytest.mark.parametrize(
    ("link", "shape", "soft", "rescale", "persistent"),
    [
        (link, shape, soft, *choice)
        for row, (link, shape) in enumerate(LINKS.items())
        for soft in (False, True)
        for choice in share(  # up to four seconds each
            (("lane", 1), ("chunk", 3), ("lane", 3), ("chunk", 1)), row + soft, 2
        )
    ],
)
def test_other_choices_give_the_same(link, shape, soft, rescale, persistent, monkeypatch):
    """What `python -m benchmarks.gpu` varies: no choice changes more than last bits."""
    if link == "sigmoid" and rescale == "chunk":
        pytest.skip("it has no running sums")
    family = "sigmoid" if link == "sigmoid" else f"{'classes' if soft else 'index'} {link}"
    if link == "loop":
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
    choice = gpu.Choice(
        each=4,
        warps=1,
        rows=2 if link in ("tile", "loop") else 64 if link == "pixels" else None,
        stages=2,
        hints=True,
        rescale=rescale,
        persistent=persistent,
    )
    monkeypatch.setitem(gpu.CHOICES, family, choice)
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(shape, generator=generator) * 4
    if soft or link == "sigmoid":
        targets = torch.rand(shape, generator=generator)
    else:
        positions = (shape[0], *shape[2:])
        targets = torch.randint(0, shape[1], positions, generator=generator)
    case = problem("sigmoid" if link == "sigmoid" else "softmax", logits, targets, gamma=1.5)
    assert gpu.programs(case) == 4 * persistent
    loss, slope = gpu.evaluate("test", case, Reduction("sum", 1.0), gradient=True)
    true_loss, true_slope = truth(case)
    assert_close(loss.double(), true_loss.sum(), rtol=1e-5, atol=0)
    assert_close(slope.double(), true_slope, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("classes", [40, 3000])
def test_a_linear_loss_overwrites_its_logits(classes, reduction, dtype, monkeypatch):
    """One launch a chunk, in the factors' dtype, and one that adds up."""
    monkeypatch.setattr(refocal.kernels, "FASTEST", ("gpu",))
    if classes > 1000:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 1024, "classes": 1024})
    launches = []
    launch = gpu.launch
    monkeypatch.setattr(
        gpu, "launch", lambda *parts, **named: launches.append(parts) or launch(*parts, **named)
    )
    generator = torch.Generator().manual_seed(12)
    factors = [
        torch.randn(size, generator=generator).to(dtype).requires_grad_()
        for size in ((7, 6), (classes, 6), (classes,))
    ]
    hidden, weight, bias = factors
    targets = torch.randint(0, classes, (7,), generator=generator)
    targets[2] = -100
    keywords = {"reduction": reduction, "gamma": 1.5, "alpha": draw(classes)}
    loss = refocal.linear_focal_loss(hidden, weight, targets, bias, chunk_size=3, **keywords)
    assert loss.dtype == torch.float32
    assert len(launches) == 3
    for chunk, _, _, gradients, kind in launches:
        assert gradients is chunk.logits
        assert (kind, gradients.dtype) == ("sum", dtype)
    slopes = torch.autograd.grad(2 * loss, factors)
    wide = [one.detach().double().requires_grad_() for one in factors]
    logits = torch.nn.functional.linear(*wide)
    rounded = torch.nn.functional.linear(*factors).detach().double()
    logits = logits + (rounded - logits.detach())
    true = softmax_focal_loss(logits, targets, impl="eager", **keywords)
    assert_close(loss.double(), true, rtol=1e-5, atol=0)
    for found, expected in zip(slopes, torch.autograd.grad(2 * true, wide), strict=True):
        scale = expected.abs().max().item()
        close = 1e-5 if dtype == torch.float32 else 4 * HALF_ULP[dtype]
        assert_close(found.double(), expected, rtol=close, atol=close * scale)


# ---------------------------------------------------------------------------------------------
# the way from the public function to the kernel


def test_float16_means_are_never_stored_divided():
    logits = torch.zeros(4096, dtype=torch.float16, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.zeros(4096), impl="gpu", normalizer=1e6)
    (slope,) = torch.autograd.grad(loss, logits, torch.tensor(1e6))
    expected = torch.autograd.grad(
        sigmoid_focal_loss(wide := logits.detach().double().requires_grad_(), torch.zeros(4096)),
        wide,
    )[0]
    assert_close(slope.double(), expected * 4096, rtol=2**-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_backward_twice_and_scaled(dtype, reduction):
    logits = torch.randn(300, generator=torch.Generator().manual_seed(7)).to(dtype)
    targets = draw(300)
    z = logits.requires_grad_()
    loss = sigmoid_focal_loss(z, targets, impl="gpu", reduction=reduction)
    upstream = torch.full_like(loss, 3.0)
    first = torch.autograd.grad(loss, z, upstream, retain_graph=True)[0].clone()
    second = torch.autograd.grad(loss, z, upstream, retain_graph=True)[0].clone()
    third = torch.autograd.grad(loss, z, torch.ones_like(loss))[0]
    assert_close(first, second, rtol=0, atol=0)
    assert_close(first.float(), 3 * third.float(), rtol=2**-7, atol=1e-6)
    plain = sigmoid_focal_loss(z, targets, impl="eager", reduction=reduction)
    expected = torch.autograd.grad(plain, z, upstream)[0]
    assert_close(first, expected, rtol=2**-6 if dtype == torch.bfloat16 else 1e-3, atol=1e-6)


def test_second_derivatives_take_the_differentiable_text():
    z = torch.randn(20, generator=torch.Generator().manual_seed(8)).requires_grad_()
    targets = draw(20)
    slopes = [
        torch.autograd.grad(
            torch.autograd.grad(sigmoid_focal_loss(z, targets, impl=impl), z, create_graph=True)[
                0
            ].sum(),
            z,
        )[0]
        for impl in ("gpu", "eager")
    ]
    assert_close(*slopes)


class NoReading(TorchDispatchMode):
    """Refuses whatever makes the host wait for the value of a tensor."""

    REFUSED = ("_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero", "_unique2")

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        assert function.overloadpacket.__name__ not in self.REFUSED, f"{function} synchronises"
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_forward_and_backward_read_no_value(link, reduction, dtype, monkeypatch):
    """With the checks of values off, as they are on a device."""
    for reader in ("problems", "tensors"):
        module = importlib.import_module(f"refocal.arguments.{reader}")
        monkeypatch.setattr(module, "readable", lambda tensor: False)
    # whatever watches operations gets operations; here it is to watch what the kernels' host does
    monkeypatch.setattr(refocal.kernels, "is_watched", lambda: False)

    def unwatched(launch):
        # the interpreter itself may read what it likes
        def run(*arguments, **keywords):
            with torch.utils._python_dispatch._disable_current_modes():
                return launch(*arguments, **keywords)

        return run

    for name in ("launch", "finish", "count", "_scaled"):
        monkeypatch.setattr(gpu, name, unwatched(getattr(gpu, name)))
    logits = torch.randn(12, 5).to(dtype).requires_grad_()
    if link == "sigmoid":
        function, targets, count = sigmoid_focal_loss, draw(12, 5), torch.tensor(7.0)
        keywords = {"alpha": draw(5), "gamma": 2 * draw(5), "ignore_index": -1}
    else:
        function, targets, count = softmax_focal_loss, (draw(12) * 5).long(), torch.tensor(7.0)
        keywords = {"alpha": draw(5), "gamma": 2 * draw(5)}
    keywords |= {"sample_weight": draw(12), "reduction": reduction}
    normalizers = [{}]
    if reduction == "mean":
        normalizers = [
            {"normalizer": one} for one in ("elements", "weights", "sample_weight", count)
        ]
    for normalizer in normalizers:
        with NoReading():
            loss = function(logits, targets, impl="gpu", **keywords, **normalizer)
            loss.backward(torch.full_like(loss, 2.0))


def test_the_refusal_would_notice():
    with NoReading(), pytest.raises(AssertionError, match="synchronises"):
        torch.ones(()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", ["sigmoid", "softmax index", "softmax classes"])
@pytest.mark.parametrize("looped", [False, True])
def test_a_kept_gradient_is_scaled_once_or_left_alone(case, dtype, looped, monkeypatch):
    if looped:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(9)).to(dtype)
    targets = torch.arange(6) % 5 if case == "softmax index" else draw(6, 5)
    case = problem(case.split()[0], logits, targets)
    reduction = reduction_for(case, "mean", "elements")
    _, kept = gpu.evaluate("test", case, reduction, gradient=True)
    marked = torch.full_like(kept, 7.0)
    one = gpu.pulled_back(case, reduction, marked.clone(), torch.tensor(1.0), in_place=True)
    assert_close(one, marked, rtol=0, atol=0)
    upstream = torch.tensor(0.3)
    beside = gpu.pulled_back(case, reduction, kept, upstream, in_place=False)
    assert beside is not kept
    inside = gpu.pulled_back(case, reduction, kept, upstream, in_place=True)
    assert inside is kept
    assert_close(inside, beside, rtol=0, atol=0)
    wide = truth(case)[1] * 0.3 / reduction.denominator
    assert_close(inside.double(), wide, rtol=HALF_ULP.get(dtype, 1e-5), atol=1e-7)


@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_elements(link, reduction):
    logits = torch.zeros(0, 4, requires_grad=True)
    if link == "sigmoid":
        loss = sigmoid_focal_loss(logits, torch.zeros(0, 4), reduction=reduction, impl="gpu")
    else:
        targets = torch.zeros(0, dtype=torch.long)
        loss = softmax_focal_loss(logits, targets, reduction=reduction, impl="gpu")
    assert_close(loss.sum(), torch.tensor(0.0))
    loss.sum().backward()
    assert logits.grad.shape == (0, 4)
