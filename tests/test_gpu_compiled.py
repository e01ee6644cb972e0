"""The Triton kernels compiled ahead of time for GPUs that are not here, within their budgets.

What is compiled is what `refocal.kernels.gpu` launches, recorded on meta tensors; reading any value
of those raises, so recording also shows that no launch waits for a device.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from packaging.version import Version

if not importlib.util.find_spec("triton"):
    pytest.skip("Triton is not installed", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent / "gpu"))
from launches import StaysOnTheDevice, compiled, inspected, meta, problem, recorded, training_launch

from refocal.kernels import eager, gpu
from refocal.problem import loss_shape
from refocal.reduction import Reduction, reduction_for

TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROWS, ELEMENTS = 4096, 2**22
# Instructions and registers depend on the compiler: counted with the one of the constraints. CUDA
# builds of torch pin an older one, which takes more registers.
COUNTED_WITH = "3.9.0"
TRITON = importlib.metadata.version("triton")


def sigmoid(dtype, targets=None, **keywords):
    logits = meta(ELEMENTS, dtype=dtype)
    return problem("sigmoid", logits, meta(ELEMENTS, dtype=targets or dtype), **keywords)


def softmax(dtype, classes, *, soft=False, **keywords):
    logits = meta(ROWS, classes, dtype=dtype)
    targets = meta(ROWS, classes, dtype=dtype) if soft else meta(ROWS, dtype=torch.int64)
    return problem("softmax", logits, targets, **keywords)


VARIANTS = {
    "soft": sigmoid,
    "hard int64": lambda dtype: sigmoid(dtype, torch.int64),
    "hard bool": lambda dtype: sigmoid(dtype, torch.bool),
    "soft any gamma": lambda dtype: sigmoid(dtype, gamma=1.5),
    "hard any gamma": lambda dtype: sigmoid(dtype, torch.bool, gamma=1.5),
    "softmax 128": lambda dtype: softmax(dtype, 128),
    "softmax 4096": lambda dtype: softmax(dtype, 4096, gamma=1.5),
    "softmax 16384": lambda dtype: softmax(dtype, 16384),
    "softmax 50000": lambda dtype: softmax(dtype, 50000),
    "probabilities 128": lambda dtype: softmax(dtype, 128, soft=True),
    "probabilities 50000": lambda dtype: softmax(dtype, 50000, soft=True),
}


def traffic(launch):
    """Bytes that one program writes as gradient, and reads as logits and targets like them."""
    constants = launch.constants
    elements = constants["BLOCK"] * constants.get("ROWS", 1)
    logits, targets = launch.values["logits"], launch.values["targets"]
    written = logits.element_size() * elements
    # bytes of bool targets come as many at a time as logits do, so in narrower loads
    alike = targets.shape == logits.shape and targets.element_size() >= logits.element_size()
    return written, written + alike * targets.element_size() * elements


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_budgets(variant, dtype, target, tmp_path, monkeypatch):
    amd = target.startswith("gfx")
    monkeypatch.setattr(gpu, "LANES", 64 if amd else 32)
    launch = training_launch(VARIANTS[variant](DTYPES[dtype]))
    machine = inspected(compiled(launch, target), tmp_path)
    assert machine.spills == 0
    assert machine.stack == 0
    if Version(TRITON) >= Version(COUNTED_WITH):
        assert machine.registers <= 80
    written, read = traffic(launch)
    # Four classes per thread are what 80 registers hold where each is a target: 8 bytes in half
    # precision.
    wide = 8 if "probabilities" in variant and dtype == "bfloat16" else 16
    if amd:
        names = (f"global_load_dwordx{wide // 4}", f"global_store_dwordx{wide // 4}")
    else:
        names = (rf"LDG\.E\.{8 * wide}", rf"STG\.E\.{8 * wide}")
    loaded, stored = (machine.bytes_by(rf"{name}\b", wide) for name in names)
    # long rows are read once per pass
    assert loaded >= (written if "50000" in variant else read)
    assert stored >= written


@pytest.mark.skipif(
    TRITON != COUNTED_WITH, reason=f"instructions were counted with Triton {COUNTED_WITH}"
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("variant", "budget"), [("soft", 52), ("hard int64", 46), ("hard bool", 46)]
)
def test_instructions_per_element(variant, dtype, budget, tmp_path):
    launch = training_launch(VARIANTS[variant](DTYPES[dtype]))
    machine = inspected(compiled(launch, "sm_90"), tmp_path)
    per_thread = launch.constants["BLOCK"] / machine.threads
    assert len(machine.instructions) / per_thread <= budget
    # 2**x and a reciprocal square root per element; a division per thread
    assert machine.count("MUFU") // per_thread == 2


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_ragged_sizes_and_the_early_exit_compile(target, tmp_path):
    """No hint of divisibility, every keyword, and a kernel that may leave at once."""
    logits = meta(1001, 7)
    case = problem(
        "sigmoid",
        logits,
        meta(1001, 7, dtype=torch.bool),
        alpha=meta(7),
        gamma=(meta(1001, 1), 1.5),
        sample_weight=meta(1001),
        ignore_index=1,
        label_smoothing=0.1,
    )
    kept = meta(1001, 7, dtype=torch.bfloat16)
    rows = problem("softmax", kept, meta(1001, 7), alpha=meta(7), sample_weight=meta(1001))
    with recorded() as launches:
        gpu.evaluate("test", case, Reduction("sum", 1.0), gradient=True)
        gpu.scaled(rows, Reduction("mean", 3.0), kept, meta(), in_place=True)
        gpu.scaled(rows, Reduction("mean", 3.0), logits, meta(), in_place=True)
    assert len(launches) == 3
    for launch in launches:
        assert inspected(compiled(launch, target), tmp_path).spills == 0


# ---------------------------------------------------------------------------------------------
# 2**31 logits and more

LARGE = {
    # one sample, so that the product of classes and pixels is what overflows
    "pixels": (1, 19, 2**27 + 16),
    "many pixels": (3, 150, 2**24 + 1),
    "rows": (2**28, 10),
    "long rows": (2**16, 2**15 + 3),
    "two classes": (1, 2, 2**30 + 1),
}


@pytest.mark.parametrize("shape", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("targets", ["index", "probabilities", "smoothed"])
@pytest.mark.parametrize("looped", [False, True])
def test_no_product_has_32_bits(shape, targets, looped, monkeypatch):
    if looped:
        monkeypatch.setattr(gpu, "LARGEST_ROW", {"index": 0, "classes": 0})
    logits = meta(*shape, dtype=torch.bfloat16)
    assert logits.numel() > 2**31
    soft = targets == "probabilities"
    labels = logits if soft else meta(shape[0], *shape[2:], dtype=torch.int64)
    smoothing = 0.1 if targets == "smoothed" else 0.0
    case = problem("softmax", logits, labels, label_smoothing=smoothing)
    source = compiled(training_launch(case), "sm_90").asm["ttir"]
    products = [line for line in source.splitlines() if "arith.muli" in line]
    assert products
    assert not [line for line in products if re.search(r"[:x<] ?i32", line)]


def test_no_product_has_32_bits_for_a_sigmoid():
    logits = meta(2**21 + 1, 1031, dtype=torch.bfloat16)
    assert logits.numel() > 2**31
    case = problem("sigmoid", logits, logits, alpha=meta(1031), sample_weight=meta(2**21 + 1))
    source = compiled(training_launch(case), "sm_90").asm["ttir"]
    products = [line for line in source.splitlines() if "arith.muli" in line]
    assert products
    assert not [line for line in products if re.search(r"[:x<] ?i32", line)]


def test_a_row_too_long_for_32_bits_is_left_to_plain_operations():
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        for classes, taken in ((2**31 - 2**16, True), (2**31, False), (2**33, False)):
            logits = torch.empty(1, classes, device="cuda", dtype=torch.bfloat16)
            case = problem("softmax", logits, torch.empty(1, device="cuda", dtype=torch.int64))
            assert (gpu.unsupported(case) is None) == taken


# ---------------------------------------------------------------------------------------------
# no launch reads a value of a tensor

# 0-d tensors may stay on the CPU, as everywhere in torch; the others here are on a device
ON_CPU = torch.tensor(0.5)
KEYWORDS = {
    "sigmoid": {
        "alpha": [None, 0.25, ON_CPU, meta(), meta(5), meta(3, 5)],
        "gamma": [
            *(2.0, 1.5, (1.0, 3.0), meta(), meta(5), (meta(3, 1), 2.0), (1, meta())),
            *(ON_CPU, (ON_CPU, 1.5), (ON_CPU, meta(5)), (2.0, ON_CPU)),
        ],
        "sample_weight": [None, meta(3), meta(3, 5)],
        "ignore_index": [None, -1],
        "label_smoothing": [0.0, 0.1],
    },
    "softmax": {
        "alpha": [None, meta(5)],
        "gamma": [2.0, 1.5, ON_CPU, meta(), meta(5), meta(3)],
        "sample_weight": [None, meta(3)],
        "label_smoothing": [0.0, 0.1],
    },
}
CASES = [
    (link, keyword, value)
    for link, keywords in KEYWORDS.items()
    for keyword, values in keywords.items()
    for value in values
]


@pytest.mark.parametrize(("link", "keyword", "value"), CASES)
@pytest.mark.parametrize("kind", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_launch_reads_a_value(link, keyword, value, kind, dtype):
    targets = meta(3, 5) if link == "sigmoid" else meta(3, dtype=torch.int64)
    logits = meta(3, 5, dtype=dtype)
    case = problem(link, logits, targets, **{keyword: value})
    normalizers = ["elements"]
    if kind == "mean":
        normalizers += ["weights", 7.0, meta(), torch.tensor(7.0)]
    for normalizer in normalizers:
        with recorded() as launches, StaysOnTheDevice():
            reduction = reduction_for(case, kind, normalizer)
            loss, kept = gpu.evaluate("test", case, reduction, gradient=True)
            slope = gpu.gradient(case, torch.empty_like(loss, dtype=torch.float32))
            if kept is not None:
                gpu.scaled(case, reduction, kept, loss, in_place=True)
        assert (kept is None) == (kind == "none" or dtype == torch.float16)
        assert len(launches) == (2 if kept is None else 3)
        assert loss.shape == (loss_shape(case) if kind == "none" else ())
        assert loss.dtype == (dtype if kind == "none" else torch.float32)
        assert (slope.shape, slope.dtype) == (logits.shape, dtype)


def test_reading_a_value_would_raise():
    with pytest.raises(RuntimeError, match="meta"):
        meta().item()


@pytest.mark.parametrize(
    ("link", "keywords"),
    [
        ("sigmoid", {}),
        ("sigmoid", {"alpha": ON_CPU, "gamma": ON_CPU, "sample_weight": torch.tensor(2.0)}),
        ("softmax", {"sample_weight": torch.tensor(2.0)}),
    ],
)
def test_a_single_decision_with_everything_on_the_cpu(link, keywords):
    """Even targets may be there, and their address would mean nothing to a kernel."""
    softmax = link == "softmax"
    logits = meta(7) if softmax else meta()
    case = problem(link, logits, torch.tensor(1) if softmax else torch.tensor(1.0), **keywords)
    with recorded() as launches, StaysOnTheDevice():
        gpu.evaluate("test", case, Reduction("mean", torch.tensor(3.0)), gradient=True)
        gpu.gradient(case, meta())
    for launch in launches:
        found = [one for one in launch.values.values() if isinstance(one, torch.Tensor)]
        assert {one.device.type for one in found} == {"meta"}


@pytest.mark.parametrize("gamma", [2.0, (0.0, 3.0)])
def test_plain_operations_copy_nothing_to_the_device_either(gamma):
    """What runs where the kernels do not: float64, and whatever is differentiated."""
    case = problem("sigmoid", meta(3, 5), meta(3, 5, dtype=torch.bool), gamma=gamma)
    with StaysOnTheDevice():
        eager.evaluate("test", case, Reduction("mean", 15.0), gradient=True)
        eager.losses(case)


@pytest.mark.parametrize(
    "copy",
    [
        lambda: torch.as_tensor(2.0, device="meta"),
        lambda: torch.tensor([2.0, 3.0], device="meta"),
        lambda: meta(3).new_tensor(2.0),
        lambda: torch.ones(3).to("meta"),
        lambda: meta(3).copy_(torch.ones(3)),
        lambda: meta(3).__setitem__(0, torch.ones(())),
    ],
)
def test_a_copy_to_the_device_would_raise(copy):
    with pytest.raises(AssertionError, match="from the host"), StaysOnTheDevice():
        copy()


# ---------------------------------------------------------------------------------------------
# which problems it takes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_refusals(dtype):
    from refocal import sigmoid_focal_loss

    logits = torch.zeros(3, dtype=dtype)
    message = r'^sigmoid_focal_loss: impl="gpu" needs logits on cuda, got cpu. Use impl="auto".$'
    with pytest.raises(ValueError, match=message):
        sigmoid_focal_loss(logits, torch.zeros(3), impl="gpu")


def test_only_its_dtypes_on_a_device():
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            logits = torch.empty(3, device="cuda", dtype=dtype)
            reason = gpu.unsupported(problem("sigmoid", logits, logits))
            assert (reason is None) == (dtype != torch.float64)
    assert reason == "needs float32, bfloat16 or float16 logits, got torch.float64."


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_fake_tensors_have_the_right_shapes(dtype, reduction):
    """What torch.compile and shape inference see: the text, whatever the device."""
    from refocal import sigmoid_focal_loss, softmax_focal_loss

    with torch._subclasses.FakeTensorMode():
        logits = torch.empty(3, 5, 2, dtype=dtype)
        index = torch.empty(3, 2, dtype=torch.int64)
        wide = dtype if dtype == torch.float64 or reduction == "none" else torch.float32
        for loss, shape in (
            (sigmoid_focal_loss(logits, logits, reduction=reduction), (3, 5, 2)),
            (softmax_focal_loss(logits, index, reduction=reduction), (3, 2)),
        ):
            assert loss.shape == (shape if reduction == "none" else ())
            assert loss.dtype == wide
            assert isinstance(loss, torch._subclasses.FakeTensor)
