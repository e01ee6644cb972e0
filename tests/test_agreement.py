"""Eager text, CPU kernel, compiled operator and module: one function, whatever the call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from calls import COMPILED, Call, Sort, calls, every_sort, kernel_sorts, rounding
from cases import (
    SIGMOID,
    SOFTMAX,
    assert_within,
    computing,
    eps,
    expected,
    numbers,
    smallest_normal,
)
from refocal.kernels.cpu import backend as cpu
from refocal.kernels.cpu import launch

IMPLEMENTATIONS = ["eager", *(["cpu", COMPILED] if cpu.NUMBA_IS_INSTALLED else [])]
KERNELS = IMPLEMENTATIONS[1:]
SAME_BITS = {"rtol": 0, "atol": 0, "equal_nan": True}
every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def sorts_of(implementation: str) -> st.SearchStrategy[Sort]:
    """Every kind of call where nothing needs compiling."""
    return every_sort if implementation == "eager" else kernel_sorts


def calls_of(implementation: str) -> st.SearchStrategy[Call]:
    return calls(sorts_of(implementation))


def scale_of_underflow(call: Call) -> float:
    """What a result that has underflown is multiplied by."""
    scale = 1.0
    for name in ("alpha", "sample_weight"):
        factor = call.keywords.get(name)
        if isinstance(factor, Tensor) and factor.numel():
            scale *= max(1.0, float(factor.max()))
    return scale


@every_implementation
@given(st.data())
@settings(max_examples=150)
def test_every_implementation_is_within_its_tolerance(
    implementation: str, data: st.DataObject
) -> None:
    """Of the exact result; and so two of them are within the sum of their tolerances."""
    call = data.draw(calls_of(implementation))
    value, gradient = call.evaluate(implementation)
    name = "eager" if implementation == "eager" else "cpu"
    answer = expected(call.link, call.logits, call.targets, name, **call.keywords)
    dtype = call.logits.dtype
    up = numbers(call.upstream.to(value.dtype)) * np.ones_like(answer.value)
    # the denominator is a sum in the computing dtype, the upstream gradient a factor
    loose = 4 * eps(computing(dtype))
    tiny = scale_of_underflow(call) * smallest_normal(computing(dtype))
    bound = answer.value_bound + loose * abs(answer.value) + tiny
    assert_within(value, answer.value, bound + rounding(answer.value, value.dtype), "loss")
    if call.link == SOFTMAX and up.ndim:
        up = np.expand_dims(up, 0 if call.logits.dim() == 1 else 1)
    slope = answer.gradient * up
    bound = (answer.gradient_bound + tiny) * abs(up) + loose * abs(slope)
    assert_within(gradient, slope, bound + rounding(slope, dtype), "gradient")


@pytest.mark.skipif(not KERNELS, reason="Numba is not installed")
@given(calls(kernel_sorts))
def test_compiled_code_runs_the_kernel(call: Call) -> None:
    for one, other in zip(call.evaluate(COMPILED), call.evaluate("cpu"), strict=True):
        assert one.dtype == other.dtype
        assert_close(one, other, **SAME_BITS)


@pytest.mark.parametrize("implementation", ["auto", "eager"])
@given(st.data())
def test_a_module_is_its_function(implementation: str, data: st.DataObject) -> None:
    call = data.draw(calls_of(implementation))
    assert_close(call.by_module(implementation), call.evaluate(implementation), **SAME_BITS)


def unreduced_rows(sorts: st.SearchStrategy[Sort]) -> st.SearchStrategy[Call]:
    """Calls with rows, each with a loss of its own."""

    def unreduced(call: Call) -> Call:
        keywords = {**call.keywords, "reduction": "none", "normalizer": "elements"}
        return replace(call, keywords=keywords, upstream=torch.tensor(1.0))

    some = calls(sorts.filter(lambda sort: "none" in sort.reductions))
    return some.map(unreduced).filter(lambda call: call.rows)


@every_implementation
@given(st.data())
def test_neighbours_do_not_matter(implementation: str, data: st.DataObject) -> None:
    """A row keeps its bits whatever stands in the others, NaN and infinities included."""
    call = data.draw(unreduced_rows(sorts_of(implementation)))
    row = data.draw(st.integers(0, call.rows - 1))
    others = torch.arange(call.rows) != row
    stranger = data.draw(st.sampled_from([0.0, -7.5, torch.nan, torch.inf, -torch.inf]))
    logits = call.logits.clone()
    logits[others] = stranger
    loss, gradient = call.evaluate(implementation)
    beside = replace(call, logits=logits).evaluate(implementation)
    assert_close(beside[0][row], loss[row], **SAME_BITS)
    assert_close(beside[1][row], gradient[row], **SAME_BITS)


@every_implementation
@given(st.data())
def test_a_row_may_stand_anywhere(implementation: str, data: st.DataObject) -> None:
    """Rows shuffled, repeated and left out, in a batch of another length: the same bits.

    Plain torch raises the last elements of a batch to a power by another routine than the others,
    which rounds differently: there, for exponents that need no power.
    """
    sorts = sorts_of(implementation)
    if implementation == "eager":
        sorts = sorts.filter(lambda sort: set(sort.gammas) & {0, 1, 2})
    call = data.draw(unreduced_rows(sorts))
    count = data.draw(st.integers(1, 2 * call.rows))
    order = torch.randint(call.rows, (count,), generator=torch.Generator().manual_seed(count))
    loss, gradient = call.evaluate(implementation)
    moved = call.of_rows(order).evaluate(implementation)
    assert_close(moved[0], loss[order], **SAME_BITS)
    assert_close(moved[1], gradient[order], **SAME_BITS)


@pytest.fixture
def threads_for_any_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "SERIAL_BELOW", 0)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("threads_for_any_size")
@pytest.mark.skipif(not KERNELS, reason="Numba is not installed")
@given(calls(kernel_sorts), st.integers(2, 7))
def test_the_number_of_threads_does_not_matter(call: Call, threads: int) -> None:
    torch.set_num_threads(1)
    alone = call.evaluate("cpu")
    torch.set_num_threads(threads)
    assert_close(call.evaluate("cpu"), alone, **SAME_BITS)
    assert torch.get_num_threads() == threads


@every_implementation
@pytest.mark.parametrize("sizes", [(0, 0, 0, 0), (2, 0, 0, 3), (0,)])
def test_no_elements_along_several_axes(implementation: str, sizes: tuple[int, ...]) -> None:
    """With weights, which are read along axes: hypothesis found that these did not merge."""
    weight, targets = torch.ones(sizes), torch.zeros(sizes)
    call = Call(SIGMOID, torch.zeros(sizes), targets, {"sample_weight": weight}, torch.tensor(1.0))
    loss, gradient = call.evaluate(implementation)
    assert loss == 0
    assert gradient.shape == sizes
