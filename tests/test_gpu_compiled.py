"""The Triton kernels compiled ahead of time for GPUs that are not here, within their budgets.

What is compiled is what `refocal.kernels.gpu` launches, recorded on meta tensors; reading any value
of those raises, so recording also shows that no launch waits for a device.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from packaging.version import Version
from torch.utils._python_dispatch import TorchDispatchMode

if not importlib.util.find_spec("triton"):
    pytest.skip("Triton is not installed", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent / "gpu"))
from launches import (
    KERNELS,
    StaysOnTheDevice,
    compiled,
    inspected,
    meta,
    problem,
    recorded,
    training_launch,
)

from cases import share
from refocal.kernels import eager
from refocal.kernels.backward import keeps
from refocal.kernels.gpu import backend as gpu
from refocal.kernels.gpu import operations
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


def pixels(dtype, classes, side, *, soft=False, **keywords):
    logits = meta(2, classes, side, side, dtype=dtype)
    targets = logits if soft else meta(2, side, side, dtype=torch.int64)
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
    "softmax 50257": lambda dtype: softmax(dtype, 50257),
    "probabilities 50257": lambda dtype: softmax(dtype, 50257, soft=True),
    "pixels 19": lambda dtype: pixels(dtype, 19, 512),
    "pixels 150": lambda dtype: pixels(dtype, 150, 512),
    "soft pixels 19": lambda dtype: pixels(dtype, 19, 512, soft=True),
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


@pytest.mark.parametrize(
    ("variant", "dtype", "target"),
    [
        (variant, dtype, target)
        for (row, variant), (column, dtype) in product(enumerate(VARIANTS), enumerate(DTYPES))
        for target in share(TARGETS, row + column, 2)  # each takes a second to compile
    ],
)
def test_budgets(variant, dtype, target, tmp_path, monkeypatch):
    amd = target.startswith("gfx")
    monkeypatch.setattr(gpu, "LANES", 64 if amd else 32)
    launch = training_launch(VARIANTS[variant](DTYPES[dtype]))
    machine = inspected(compiled(launch, target), tmp_path)
    assert machine.spills == 0
    assert machine.stack == 0
    if Version(TRITON) >= Version(COUNTED_WITH):
        # of an image, a thread holds what is known of several positions; and a row that begins
        # anywhere has loads and stores of two kinds
        more = "pixels" in variant or "50257" in variant
        assert machine.registers <= (96 if more else 80)
    written, read = traffic(launch)
    # Four classes per thread are what 80 registers hold where each is a target: 8 bytes in half
    # precision.
    wide = 8 if "probabilities" in variant and dtype == "bfloat16" else 16
    if "soft pixels" in variant:  # two positions per thread
        wide = 2 * DTYPES[dtype].itemsize
    if amd:
        size = "dword" if wide == 4 else f"dwordx{wide // 4}"
        names = (rf"(global|buffer)_{way}_{size}\b" for way in ("load", "store"))
    else:
        size = r"\.E " if wide == 4 else rf"\.E\.{8 * wide}\b"
        names = (f"LDG{size}", f"STG{size}")
    loaded, stored = (machine.bytes_by(name, wide) for name in names)
    # long rows are read once per pass
    assert loaded >= (written if "50" in variant or "pixels" in variant else read)
    assert stored >= written


@pytest.mark.skipif(
    TRITON != COUNTED_WITH, reason=f"instructions were counted with Triton {COUNTED_WITH}"
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("variant", "budget"), [("soft", 53), ("hard int64", 46), ("hard bool", 46)]
)
def test_instructions_per_element(variant, dtype, budget, tmp_path):
    launch = training_launch(VARIANTS[variant](DTYPES[dtype]))
    machine = inspected(compiled(launch, "sm_90"), tmp_path)
    per_thread = launch.constants["BLOCK"] / machine.threads
    assert len(machine.instructions) / per_thread <= budget
    # 2**x and a reciprocal square root per element; a division per thread
    assert machine.count("MUFU") // per_thread == 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("classes", "unit"), [(10, 2), (80, 8), (91, 1), (1000, 8), (4100, 4)])
@pytest.mark.parametrize("soft", [False, True])
def test_loads_are_as_wide_as_what_divides_the_classes(classes, unit, soft, dtype, tmp_path):
    """Not only where 16 divides them, which is all that Triton asks of a size."""
    launch = training_launch(softmax(DTYPES[dtype], classes, soft=soft))
    machine = inspected(compiled(launch, "sm_90"), tmp_path)
    assert machine.spills == 0
    each = launch.constants["BLOCK"] * launch.constants["ROWS"] // machine.threads
    width = min(16, min(unit, each) * DTYPES[dtype].itemsize)
    written, _ = traffic(launch)
    name = {2: r"\.U16", 4: r"(?!\.\d)", 8: r"\.64", 16: r"\.128"}[width]
    loads = rf"LDG\.E{name}\b" if width != 4 else r"LDG\.E "
    stores = rf"STG\.E{name}\b" if width != 4 else r"STG\.E "
    assert machine.bytes_by(loads, width) >= written
    assert machine.bytes_by(stores, width) >= written


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("link", ["sigmoid", "sigmoid per class"])
def test_a_ragged_count_costs_wide_loads_in_the_last_program_alone(link, dtype, tmp_path):
    logits = meta(1001, 1031, dtype=DTYPES[dtype])
    alpha = meta(1031) if "class" in link else 0.25
    launch = training_launch(problem("sigmoid", logits, logits, alpha=alpha))
    machine = inspected(compiled(launch, "sm_90"), tmp_path)
    written, read = traffic(launch)
    assert machine.spills == 0
    assert machine.bytes_by(r"LDG\.E\.128\b", 16) >= read
    assert machine.bytes_by(r"STG\.E\.128\b", 16) >= written


@pytest.mark.parametrize("kind", ["index", "probabilities"])
@pytest.mark.parametrize("classes", [19, 150])
def test_odd_images_fit_the_registers(classes, kind, tmp_path):
    for dtype in DTYPES.values():
        launch = training_launch(pixels(dtype, classes, 513, soft=kind != "index"))
        machine = inspected(compiled(launch, "sm_90"), tmp_path)
        assert machine.spills == 0
        assert launch.constants["ROWS"] >= 128  # neighbours


# ---------------------------------------------------------------------------------------------
# the host's work


def test_no_launch_compares_globals():
    """Triton looks every global of a kernel up at every launch: constants are literals instead."""
    kernels = [getattr(module, name) for module, name in KERNELS]
    for modulator in ("zero", "one", "two", "compensated"):
        functions = vars(operations.bound(modulator)).values()
        kernels += [one for one in functions if hasattr(one, "used_global_vals")]
    assert len(kernels) > 20
    for kernel in kernels:
        assert kernel.cache_key
        assert kernel.used_global_vals == {}, kernel


def test_a_constant_is_in_the_source():
    source = operations.exp.src
    assert "LOG2E" not in source
    assert repr(operations.LOG2E) in source


def calls(problem, kind, normalizer="elements"):
    """Launches of ours, and operations of torch that launch, in forward and backward of a loss."""
    operations = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            name = function.overloadpacket.__name__
            operations.append(name)
            return function(*arguments, **(keywords or {}))

    with recorded() as launches, Watch():
        reduction = reduction_for(problem, kind, normalizer, gpu.count)
        keep = keeps(gpu.keeping, problem.logits.dtype, kind)
        loss, kept = gpu.evaluate("test", problem, reduction, gradient=keep)
        forward = [one.kernel.__name__ for one in launches], list(operations)
        launches.clear()
        operations.clear()
        gpu.pulled_back(problem, reduction, kept, torch.empty_like(loss), in_place=True)
        backward = [one.kernel.__name__ for one in launches], list(operations)
    return forward, backward


FREE = {"empty", "empty_like", "new_empty", "view", "expand", "as_strided", "detach", "alias"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("link", "shape", "keywords", "forward"),
    [
        ("sigmoid", (1001,), {}, ["sigmoid_kernel"]),
        ("sigmoid", (1001,), {"ignore_index": 3}, ["count_kernel", "sigmoid_kernel"]),
        ("softmax", (1001, 10), {}, ["count_kernel", "softmax_index_kernel"]),
        ("softmax", (3, 19, 32, 32), {}, ["count_kernel", "softmax_index_loop_kernel"]),
        ("softmax", (5000, 50257), {}, ["count_kernel", "softmax_index_loop_kernel"]),
        # one program would read too much
        ("softmax", (100_000, 10), {}, ["count_kernel"] * 2 + ["softmax_index_kernel"]),
        (
            "softmax",
            (100, 10),
            {"label_smoothing": 0.1},
            ["count_kernel", "softmax_classes_kernel"],
        ),
    ],
)
def test_a_mean_takes_few_launches(link, shape, keywords, forward, dtype):
    softmax = link == "softmax"
    logits = meta(*shape, dtype=dtype)
    labels = meta(shape[0], *shape[2:], dtype=torch.int64)
    case = problem(link, logits, labels, **keywords)
    (launched, operations), (pulled, others) = calls(case, "mean")
    assert launched == [*forward, "finish_kernel"]
    assert not set(operations) - FREE
    own = "scale_kernel" if dtype == torch.float32 else forward[-1]
    assert pulled == [own]
    assert not set(others) - FREE
    assert softmax or operations.count("empty") <= 3  # with the gradient: sums and the loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("link", ["sigmoid", "softmax", "pixels"])
@pytest.mark.parametrize("axes", ["all", "rows", "columns", "none"])
def test_an_expanded_upstream_is_not_written_out(link, axes, dtype):
    """`loss.sum()` of "none" hands down one number, expanded; `loss.sum(1)` one for each row."""
    shape = {"sigmoid": (6, 10), "softmax": (6, 10), "pixels": (6, 4, 10)}[link]
    logits = meta(*shape, dtype=dtype)
    labels = meta(shape[0], *shape[2:], dtype=torch.int64)
    case = (
        problem("softmax", logits, labels)
        if link != "sigmoid"
        else problem("sigmoid", logits, meta(6, 10))
    )
    whole = loss_shape(case)
    given = {
        "all": (1,) * len(whole),
        "rows": (6,) + (1,) * (len(whole) - 1),
        "columns": (1,) * (len(whole) - 1) + (whole[-1],),
        "none": whole,
    }[axes]
    upstream = meta(*given, dtype=dtype).expand(whole)
    with recorded() as launches:
        gpu.pulled_back(case, Reduction("none", 1.0), None, upstream, in_place=True)
    (launch,) = launches
    distinct = torch.Size(given).numel()
    layout = "single" if distinct == 1 else "full" if given == whole else "cycle"
    assert launch.constants["FACTOR"] == layout
    assert launch.values["factor"].numel() == distinct
    assert launch.values["factor"].dtype == dtype


def specialised(launch):
    """What Triton would compile anew for: constants, and what it learns of every argument."""
    learnt = {}
    for number, name in enumerate(launch.kernel.arg_names):
        value = launch.values.get(name)
        if isinstance(value, int) and not launch.kernel.params[number].do_not_specialize:
            learnt[name] = value == 1, value % 16 == 0
    constants = {key: value for key, value in launch.constants.items() if key != "BOTH"}
    return {**constants, **learnt}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("link", ["sigmoid", "softmax", "long", "smoothed", "pixels"])
def test_a_variable_batch_compiles_once_or_twice(link, dtype):
    found = []
    for batch in (2, 3, 16, 17, 48, 64, 1000, 1024, 1):
        if batch == 1 and link == "sigmoid":
            continue  # a value per class is then one per element
        classes = 50_000 if link == "long" else 10
        shape = (batch, classes, 20, 30) if link == "pixels" else (batch, classes)
        logits = meta(*shape, dtype=dtype)
        labels = meta(batch, *shape[2:], dtype=torch.int64)
        smoothing = 0.1 if link == "smoothed" else 0.0
        if link == "sigmoid":
            case = problem("sigmoid", logits, logits, alpha=meta(10), ignore_index=batch)
        else:
            case = problem("softmax", logits, labels, label_smoothing=smoothing)
        variant = specialised(training_launch(case))
        if variant not in found:
            found.append(variant)
    # a sigmoid's blocks come out even or do not
    assert len(found) <= (2 if link == "sigmoid" else 1)


@pytest.mark.parametrize(("classes", "far"), [(91, 64), (1031, 64), (1031, 3)])
def test_a_value_per_class_divides_in_32_bits(classes, far):
    """The 64-bit remainders are of a block's first element, not of every one."""
    for shape, alpha in (((far, classes), meta(classes)), ((far, classes, 7), meta(1, classes, 1))):
        logits = meta(*shape)
        launch = training_launch(problem("sigmoid", logits, logits, alpha=alpha))
        source = compiled(launch, "sm_90").asm["ttir"]
        divisions = [line for line in source.splitlines() if re.search(r"arith\.(rem|div)", line)]
        assert [line for line in divisions if "tensor" in line]
        wide = [line for line in divisions if re.search(r"tensor<.*xi64>", line)]
        assert not wide


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
        gpu.pulled_back(rows, Reduction("mean", 3.0), kept, meta(), in_place=True)
        gpu.pulled_back(rows, Reduction("mean", 3.0), logits, meta(), in_place=True)
    assert len(launches) == 4
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
    "vast images": (1, 3, 2**31),
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
    check_products(training_launch(case))


def check_products(launch):
    """All of 64 bits, but those of a size and the constant that is known to divide it."""
    source = compiled(launch, "sm_90").asm["ttir"]
    products = [line for line in source.splitlines() if "arith.muli" in line]
    assert products
    short = [line for line in products if re.search(r"[:x<] ?i32", line)]
    assert not [line for line in short if not re.search(r"muli %(inner_)?units, %\w+ : i32", line)]


def test_no_product_has_32_bits_for_a_sigmoid():
    logits = meta(2**21 + 1, 1031, dtype=torch.bfloat16)
    assert logits.numel() > 2**31
    case = problem("sigmoid", logits, logits, alpha=meta(1031), sample_weight=meta(2**21 + 1))
    check_products(training_launch(case))


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
            keep = keeps(gpu.keeping, dtype, kind)
            loss, kept = gpu.evaluate("test", case, reduction, gradient=keep)
            slope = gpu.gradient(case, torch.empty_like(loss, dtype=torch.float32))
            if kept is not None:
                gpu.pulled_back(case, reduction, kept, loss, in_place=True)
        assert (kept is None) == (kind == "none" or dtype == torch.float16)
        reduced = kind != "none"  # then a second launch adds up
        assert len(launches) == (2 if kept is None else 3) + reduced
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
