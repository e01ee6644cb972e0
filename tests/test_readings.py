"""Qualities and heatmaps as the CPU kernel reads them, beside the same loss by elements' labels.

The latter is what every other backend runs, and tests/test_detection_and_regions.py has both
against 50 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from cases import IMPLEMENTATIONS
from refocal import kernels, sigmoid_focal_loss
from refocal.formula.in_torch import LARGEST_POWER
from refocal.kernels.cpu import backend as cpu
from refocal.kernels.cpu.launch import DTYPES, FLOATS
from refocal.kernels.readings import is_read
from refocal.problem import Problem
from refocal.variants import gaussian_focal_loss, varifocal_loss

pytestmark = pytest.mark.skipif("cpu" not in IMPLEMENTATIONS, reason="the CPU kernels need Numba")

Loss = Callable[..., Tensor]
EXACTLY: dict[str, Any] = {"rtol": 0, "atol": 0}
COUNT = 5000  # more than a block, and no multiple of a tile


def matched(logits: Tensor, quality: Tensor, **settings: Any) -> Tensor:
    """With a mask, some of whose positives have quality 0 and some of whose negatives have not."""
    index = torch.arange(quality.numel()).view(quality.shape)
    return varifocal_loss(logits, quality, positives=index % 3 == 0, **settings)


LOSSES: dict[str, Loss] = {
    "varifocal": varifocal_loss,
    "matched": matched,
    "gaussian": gaussian_focal_loss,
    "gaussian, beta 2.5": partial(gaussian_focal_loss, beta=2.5),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def inputs(count: int = COUNT, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits, and targets of which half are 0, some are 1, and others between."""
    generator = torch.Generator().manual_seed(3)
    z = 4 * torch.randn(count, generator=generator) - 1
    y = (1.5 * torch.rand(count, generator=generator) - 0.75).clamp(min=0).mul(2).clamp(max=1)
    y[::7] = 1
    return z.to(dtype), y


def by_elements(patch: pytest.MonkeyPatch, loss: Callable[[], Any]) -> Any:
    """The same from plain torch operations, which know no readings but as labels."""
    with patch.context() as without_kernels:
        without_kernels.setattr(kernels, "FASTEST", ())
        return loss()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each of the kernel's problems was given as it is."""
    seen = []
    original = cpu._run

    def spy(problem: Problem, *settings: Any, **others: Any) -> Any:
        seen.append(is_read(problem))
        return original(problem, *settings, **others)

    monkeypatch.setattr(cpu, "_run", spy)
    return seen


def value_and_gradient(loss: Loss, z: Tensor, y: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
    leaf = z.detach().clone().requires_grad_()
    value = loss(leaf, y, **settings)
    upstream = torch.linspace(0.5, 2, value.numel(), dtype=torch.float64).view(value.shape)
    value.backward(upstream.to(value.dtype))
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def agree(
    patch: pytest.MonkeyPatch, loss: Loss, z: Tensor, y: Tensor, **settings: Any
) -> tuple[Tensor, Tensor]:
    got = value_and_gradient(loss, z, y, **settings)
    right = by_elements(patch, lambda: value_and_gradient(loss, z, y, **settings))
    eps = max(torch.finfo(z.dtype).eps, torch.finfo(torch.float32).eps)
    if z.dtype == torch.float64:
        eps = torch.finfo(torch.float64).eps
    for one, other in zip(got, right, strict=True):
        assert one.dtype == other.dtype
        # a quality nearly met has a gradient that cancels
        assert_close(one, other, rtol=16 * eps, atol=4 * eps, equal_nan=True)
    return got


SETTINGS: dict[str, dict[str, Any]] = {
    "none": {"reduction": "none"},
    "sum": {"reduction": "sum"},
    "mean": {},
    "gamma 1.5": {"gamma": 1.5},
    "gamma 0": {"gamma": 0.0},
    "gamma 0.5": {"gamma": 0.5},
    "a number to divide by": {"normalizer": 7.0},
    "positives": {"normalizer": "positives"},
    "weights": {"normalizer": "weights"},
    "weight": {"sample_weight": (torch.arange(COUNT) % 4).float()},
    "weight, none": {"sample_weight": (torch.arange(COUNT) % 4).float(), "reduction": "none"},
    "ignored": {"ignore_index": 1},
    "ignored zeros": {"ignore_index": 0, "reduction": "none"},
    "gamma of each": {"gamma": torch.linspace(0, 4, COUNT)},
}
OWN: dict[str, dict[str, Any]] = {
    "varifocal": {
        "detached": {"detach_modulator": True},
        "detached 1.5": {"detach_modulator": True, "gamma": 1.5},
        "alpha 0": {"alpha": 0.0},
        "alpha 1": {"alpha": 1.0},
        "alpha of each": {"alpha": torch.linspace(0, 1, COUNT)},
    },
    "gaussian": {
        "peaks weigh 2": {"pos_weight": 2.0, "neg_weight": 0.5},
        "no peaks": {"pos_weight": 0.0},
        "peaks alone": {"neg_weight": 0.0},
        "beta 0": {"beta": 0.0},
        "beta 1": {"beta": 1},
        "beta 0.3": {"beta": 0.3},
        "beta 100": {"beta": LARGEST_POWER},
    },
}
OWN["matched"] = OWN["varifocal"]
CASES = [
    (name, what, settings)
    for name in LOSSES
    for what, settings in {**SETTINGS, **OWN.get(name, {})}.items()
]


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, _, settings in CASES],
    ids=[f"{name}-{what}" for name, what, _ in CASES],
)
def test_every_setting(
    monkeypatch: pytest.MonkeyPatch, read: list[bool], name: str, settings: dict[str, Any]
) -> None:
    agree(monkeypatch, LOSSES[name], *inputs(), **settings)
    assert read
    assert all(read)


PAIRS = sorted(
    {
        *((torch.float32, target) for target in DTYPES),
        *((logit, torch.float32) for logit in FLOATS),
        *((logit, logit) for logit in FLOATS),
    },
    key=str,
)


@pytest.mark.parametrize(("logit", "target"), PAIRS, ids=str)
@pytest.mark.parametrize("name", ["varifocal", "matched", "gaussian"])
def test_every_dtype(
    monkeypatch: pytest.MonkeyPatch,
    read: list[bool],
    name: str,
    logit: torch.dtype,
    target: torch.dtype,
) -> None:
    z, y = inputs(500, logit)
    agree(monkeypatch, LOSSES[name], z, y.to(target))
    assert read
    assert all(read)


def last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": last,
    "transposed": lambda t: t.transpose(1, 3),
    "every other": lambda t: t[..., ::2],
    "expanded": lambda t: t[:1, :1].expand(2, 3, -1, -1),
    "an offset": lambda t: t[1:],
}


@pytest.mark.parametrize("of_targets", [True, False], ids=["all", "logits"])
@pytest.mark.parametrize("layout", LAYOUTS)
@every_loss
def test_every_layout(name: str, layout: str, of_targets: bool) -> None:
    """As contiguous ones: the gradient to the bit, the sum up to its order."""
    z, y = inputs(2 * 3 * 6 * 6)
    z, y = (LAYOUTS[layout](t.view(2, 3, 6, 6)) for t in (z, y))
    mask = torch.arange(y.numel()).view(y.shape) % 3 == 0
    if of_targets and layout == "channels last":
        mask = last(mask)
    loss = LOSSES[name]
    if name == "matched":
        loss = partial(varifocal_loss, positives=mask)
    flat = value_and_gradient(loss, z.contiguous(), y.contiguous())
    got = value_and_gradient(loss, z, y if of_targets else y.contiguous())
    assert_close(got[0], flat[0])
    assert_close(got[1], flat[1], **EXACTLY)


@pytest.mark.parametrize("count", [0, 1, 15, 129, 4096, 4097, 40_000])
@every_loss
def test_every_size(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """None of them, one, a tile and one more, a block and one more, several threads."""
    z, y = inputs(count)
    loss, _ = agree(monkeypatch, LOSSES[name], z, y)
    assert loss.isfinite()
    if count == 1:
        agree(monkeypatch, LOSSES[name], z[0], y[0])


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
@pytest.mark.parametrize("weighed", [False, True])
@every_loss
def test_infinite_logits_and_those_of_no_number(
    monkeypatch: pytest.MonkeyPatch, name: str, weighed: bool, gamma: float
) -> None:
    ends = torch.tensor([math.inf, -math.inf, math.nan, 3e38, -3e38, 0.0, -0.0, 89.0, -89.0])
    y = torch.tensor([0.0, 1e-3, 0.5, 1 - 2.0**-24, 1.0])
    z, y = (t.flatten() for t in torch.meshgrid(ends, y, indexing="ij"))
    settings: dict[str, Any] = {"gamma": gamma}
    if weighed:
        settings["sample_weight"] = (torch.arange(len(z)) % 2).float()
    for reduction in ("none", "sum"):
        agree(monkeypatch, LOSSES[name], z, y, reduction=reduction, **settings)


def test_what_weighs_nothing_is_not_looked_at() -> None:
    """A matched box of quality 0, and a negative so near a peak that nothing is left of it."""
    z = torch.tensor([math.nan, math.inf, -math.inf, 0.5], requires_grad=True)
    one = torch.ones(4, dtype=torch.bool)
    loss = varifocal_loss(z, torch.tensor([0.0, 0.0, 0.0, 1.0]), positives=one, reduction="sum")
    near = torch.tensor([1 - 1e-12] * 3 + [1.0], dtype=torch.float64)
    loss = loss + gaussian_focal_loss(z, near, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, z)
    assert_close(gradient[:3], torch.zeros(3), **EXACTLY)
    assert gradient[3] < 0
    assert loss.isfinite()


@pytest.mark.parametrize("count", [4, 300_000])
@pytest.mark.parametrize("wrong", [1.5, -0.25, math.nan, math.inf])
@every_loss
def test_targets_that_are_refused(name: str, wrong: float, count: int) -> None:
    z, y = inputs(count)
    y[-1] = wrong
    argument = "heatmap" if name.startswith("gaussian") else "quality"
    for learns in (True, False):
        with pytest.raises(ValueError, match=rf"_loss: {argument} must be in \[0, 1\], got"):
            LOSSES[name](z.clone().requires_grad_(learns), y)
        if name != "matched":
            y[0] = 1  # which is ignored, unlike the wrong one
            with pytest.raises(ValueError, match=f"{argument} must be in"):
                LOSSES[name](z, y, ignore_index=1)
    weight = torch.ones(count)
    weight[-1] = -1
    with pytest.raises(ValueError, match="sample_weight must be"):
        LOSSES[name](z, y.clamp(0, 1).nan_to_num(0), sample_weight=weight)


@pytest.mark.parametrize("missing", [math.nan, -1, 255])
@every_loss
def test_what_is_missing_counts_for_nothing(name: str, missing: float) -> None:
    """Whatever the values and logits of what is ignored, and whatever "mean" divides by."""
    z, y = inputs(64)
    kept = torch.arange(64) % 5 != 0
    z = torch.where(kept, z, math.nan)
    y = torch.where(kept, y, float(missing))
    mask = torch.arange(64) % 3 == 0
    loss = LOSSES[name]
    if name == "matched":
        loss = partial(varifocal_loss, positives=mask)
    whole = value_and_gradient(loss, z, y, ignore_index=missing)
    if name == "matched":
        loss = partial(varifocal_loss, positives=mask[kept])
    part = value_and_gradient(loss, z[kept], y[kept])
    assert_close(whole[0], part[0])
    assert_close(whole[1][kept], part[1])
    assert_close(whole[1][~kept], torch.zeros(13), **EXACTLY)


@every_loss
def test_rounding_alone_is_moved_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As after the blur of a mask. What is nearly 1 is no peak."""
    z, _ = inputs(6)
    y = torch.tensor([1 + 2.0**-22, -(2.0**-22), 1.0, 0.0, 1 - 2.0**-24, 2.0**-140])
    for reduction in ("none", "mean"):
        agree(monkeypatch, LOSSES[name], z, y, reduction=reduction)
    if name.startswith("gaussian"):
        assert LOSSES[name](z, y, reduction="none")[0] == 0


@pytest.mark.parametrize("gamma", [1.5, 2.0])
@every_loss
def test_a_kept_graph_another_upstream_and_a_second_derivative(name: str, gamma: float) -> None:
    z, y = inputs(40, torch.float64)
    z.requires_grad_()
    loss = LOSSES[name](z, y, gamma=gamma)
    (first,) = torch.autograd.grad(loss, z, retain_graph=True)
    (tripled,) = torch.autograd.grad(loss, z, torch.tensor(3.0, dtype=z.dtype), retain_graph=True)
    assert_close(tripled, 3 * first)
    (again,) = torch.autograd.grad(loss, z, create_graph=True)
    assert_close(again.detach(), first)
    (curvature,) = torch.autograd.grad(again.sum(), z)
    step = 1e-6
    up, down = (
        torch.autograd.grad(LOSSES[name](moved, y, gamma=gamma), moved)[0]
        for moved in (z.detach() + step, z.detach() - step)
        for moved in (moved.requires_grad_(),)
    )
    assert_close(curvature, (up - down) / (2 * step), rtol=1e-5, atol=1e-10)


@every_loss
def test_without_a_gradient(name: str) -> None:
    z, y = inputs()
    learning = LOSSES[name](z.clone().requires_grad_(), y)
    assert_close(LOSSES[name](z, y), learning.detach(), **EXACTLY)
    with torch.no_grad():
        assert not LOSSES[name](z.clone().requires_grad_(), y).requires_grad


@pytest.mark.parametrize("threads", [1, 2])
@every_loss
def test_no_bit_depends_on_the_threads(name: str, threads: int) -> None:
    before = torch.get_num_threads()
    z, y = inputs(200_000)
    right = value_and_gradient(LOSSES[name], z, y)
    try:
        torch.set_num_threads(threads)
        assert_close(value_and_gradient(LOSSES[name], z, y), right, **EXACTLY)
    finally:
        torch.set_num_threads(before)


@every_loss
def test_a_backend_without_readings_is_given_labels(
    monkeypatch: pytest.MonkeyPatch, read: list[bool], name: str
) -> None:
    """As a GPU's is. The values of the targets themselves are checked before."""
    z, y = inputs()
    right = value_and_gradient(LOSSES[name], z, y)
    assert read
    assert all(read)
    read.clear()
    monkeypatch.setattr(cpu, "reads", False)
    assert_close(value_and_gradient(LOSSES[name], z, y), right, rtol=2e-6, atol=1e-9)
    assert read
    assert not any(read)
    y[5] = 1.25
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.25"):
        LOSSES[name](z, y)


def compiled(loss: Loss, **settings: Any) -> Loss:
    torch._dynamo.reset()
    # traces as Inductor does, without its C++
    return torch.compile(partial(loss, **settings), fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, _, settings in CASES],
    ids=[f"{name}-{what}" for name, what, _ in CASES],
)
def test_compiled_code_reads_them_in_the_kernel_too(
    read: list[bool], name: str, settings: dict[str, Any]
) -> None:
    """Value and gradient of one graph to the bit."""
    z, y = inputs()
    right = value_and_gradient(partial(LOSSES[name], **settings), z, y)
    read.clear()
    got = value_and_gradient(compiled(LOSSES[name], **settings), z, y)
    assert read
    assert all(read)
    assert_close(got, right, **EXACTLY)


@pytest.mark.parametrize("logit", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["varifocal", "matched", "gaussian"])
def test_compiled_code_of_every_dtype(read: list[bool], name: str, logit: torch.dtype) -> None:
    z, y = inputs(500, logit)
    y = y.to(logit)
    right = value_and_gradient(LOSSES[name], z, y)
    read.clear()
    assert_close(value_and_gradient(compiled(LOSSES[name]), z, y), right, **EXACTLY)
    assert read
    assert all(read)


@every_loss
def test_compiled_code_takes_any_number_of_positions(read: list[bool], name: str) -> None:
    """None and one are other programs by torch's own rule; all else is the same."""
    loss = partial(LOSSES[name], ignore_index=math.nan)
    programs = []

    def backend(graph: Any, example: Any) -> Any:
        programs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, example)

    torch._dynamo.reset()
    program = torch.compile(loss, fullgraph=True, backend=backend, dynamic=True)
    made = []
    for count in (7, 300, 4097, 33_000):  # the last of several threads, counted in a kernel
        z, y = inputs(count)
        y[3] = math.nan
        read.clear()
        got = value_and_gradient(program, z, y)
        assert read
        assert all(read)
        assert_close(got, value_and_gradient(loss, z, y))
        made.append(len(programs))
    # the first call may begin anew, once it has found which numbers are constant
    assert set(made) == {made[0]}
    z, y = inputs(0)
    assert_close(value_and_gradient(program, z, y), value_and_gradient(loss, z, y), **EXACTLY)


@every_loss
def test_compiled_code_refuses_values_by_their_own_names(name: str) -> None:
    z, y = inputs(40)
    y[5] = 1.25
    argument = "heatmap" if name.startswith("gaussian") else "quality"
    function = "gaussian_focal" if name.startswith("gaussian") else "varifocal"
    with pytest.raises(ValueError, match=rf"^{function}_loss: {argument} must be in \[0, 1\], got"):
        compiled(LOSSES[name])(z, y)


@every_loss
def test_compiled_code_that_teaches_settings_is_of_operations(read: list[bool], name: str) -> None:
    """Targets get no gradient, a gamma or a weight does."""
    z, y = inputs(40)
    z.requires_grad_()
    gamma = torch.full((40,), 1.5, requires_grad=True)
    weight = torch.linspace(0.5, 2, 40).requires_grad_()

    def gradients(loss: Loss) -> tuple[Tensor, ...]:
        value = loss(z, y, gamma=gamma, sample_weight=weight)
        return torch.autograd.grad(value, (z, gamma, weight))

    got = gradients(compiled(LOSSES[name]))
    assert not read
    assert_close(got, gradients(LOSSES[name]))


@every_loss
def test_a_mode_that_watches_every_operation(read: list[bool], name: str) -> None:
    z, y = inputs(300)
    right = LOSSES[name](z, y)
    read.clear()
    with FlopCounterMode(display=False):
        assert_close(LOSSES[name](z, y), right)
    assert not read


def test_a_power_far_beyond_use_is_torchs(read: list[bool]) -> None:
    z, y = inputs(100)
    steep = gaussian_focal_loss(z, y, beta=2 * LARGEST_POWER, reduction="none")
    assert not read
    right = gaussian_focal_loss(z, y, beta=LARGEST_POWER, reduction="none")
    assert read
    assert (steep <= right * (1 + 1e-5)).all()


@pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0, 2.5, 10.0, LARGEST_POWER])
@pytest.mark.parametrize("real", [np.float32, np.float64], ids=["float32", "float64"])
def test_the_kernels_power(real: type, exponent: float) -> None:
    """Of what is left of 1: from the last bit before it to 1 itself, and 0."""
    from refocal.kernels.cpu.compiled.math import operations
    from texts import each

    eps = float(np.finfo(real).eps)
    tiny = eps * np.arange(0, 40)
    bases = np.concatenate((tiny, np.geomspace(1e-6, 1, 400), 1 - tiny)).astype(real)
    out = each(operations(real)["power"], bases, np.full_like(bases, exponent))
    with mpmath.workdps(40):
        right = [mpmath.mpf(float(base)) ** mpmath.mpf(float(real(exponent))) for base in bases]
        for one, other in zip(out, right, strict=True):
            smallest = float(np.finfo(real).tiny)
            assert abs(float(one) - other) <= (1 + exponent) * eps * max(other, smallest)


# ---------------------------------------------------------------------------------------------
# counting


@pytest.mark.parametrize("count", [0, 1, 16_385, 100_000])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_targets_are_counted(dtype: torch.dtype, count: int) -> None:
    y = (torch.arange(count) % 3 == 0).to(dtype)
    for value in (0, 1):
        right = (y == value).sum()
        assert kernels.occurrences(y, value) == right
        assert cpu.occurrences(y, value) == right


def test_numbers_that_are_none_are_counted() -> None:
    y = torch.tensor([math.nan, 1.0, math.nan, 0.0, -0.0])
    for count in (kernels.occurrences, cpu.occurrences):
        assert count(y, math.nan) == 2
        assert count(y, 0.0) == 2
        assert count(y.view(5, 1).expand(5, 4), 1.0) == 4
        assert count(torch.tensor([2**60, 2**60 + 1]), 2**60) == 1


@pytest.mark.parametrize("missing", [math.nan, -1, 255])
def test_ignored_numbers_of_a_large_batch_are_counted(missing: float) -> None:
    z, y = inputs(40_000)
    kept = torch.arange(40_000) % 5 != 0
    got = sigmoid_focal_loss(z, torch.where(kept, y, float(missing)), ignore_index=missing)
    assert_close(got, sigmoid_focal_loss(z[kept], y[kept]))


def test_they_are_counted_where_there_is_no_kernel() -> None:
    y = torch.tensor([1.0, 0.5, 1.0])
    counted = torch.func.vmap(lambda one: kernels.occurrences(one, 1.0))(torch.stack((y, 1 - y)))
    assert counted.tolist() == [2, 0]
    assert kernels.occurrences(torch.ones(3, device="meta"), 1.0).is_meta
