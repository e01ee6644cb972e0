"""What a kernel's text means is what Python means by it, for all that one may hold."""

from __future__ import annotations

import importlib
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from refocal.formula.binding import rebound
from refocal.kernels.cpu.compiled import machine
from refocal.kernels.cpu.compiled.dtypes import vectors_of
from refocal.kernels.cpu.compiled.math import fma, operations, where
from refocal.kernels.cpu.compiled.memory import place, table, view
from refocal.kernels.cpu.compiled.text import Unwritable, apart
from refocal.kernels.cpu.compiled.values import (
    FLOAT32,
    INT32,
    INT64,
    LANES,
    UINT16,
)
from refocal.kernels.cpu.compiled.vectors import (
    all_of,
    lane_numbers,
    largest_of,
    put,
    sum_of,
    take,
)
from texts import address, call, each

INTEGERS = np.array([-9, -8, -7, -1, 0, 1, 2, 5, 8, 9, 2**40, -(2**40) + 1])
PAIRS = np.array(list(product(INTEGERS, INTEGERS)))
FLOATS = np.array([-np.inf, -1.5, -0.0, 0.0, 1e-300, 1.0, 2.5, np.inf, np.nan])
FLOAT_PAIRS = np.array(list(product(FLOATS, FLOATS)))


def right(function: Any, one: Any, other: Any) -> list[Any]:
    return [function(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True)]


# ---------------------------------------------------------------------------------------------
# whole numbers


def plus(a: Any, b: Any) -> Any:
    return a + b


def minus(a: Any, b: Any) -> Any:
    return -(a - b) - 3


def times(a: Any, b: Any) -> Any:
    return a % 1000 * (b + 1)


def halves(a: Any, b: Any) -> Any:
    return a // 8 + a % 8 + b // 1 + b % 1


def thirds(a: Any, b: Any) -> Any:
    return a // 3 + a % 3 + -(-b // 7) + b % -7


def bits(a: Any, b: Any) -> Any:
    return (a & b) ^ ((a | 5) & -2) ^ (b >> 3) ^ (a << 2)


def less(a: Any, b: Any) -> Any:
    return (
        min(a, b) * 2
        + max(
            a,
            b,
        )
        + min(a, 3)
        - max(-2, b)
    )


def truths(a: Any, b: Any) -> Any:
    return (
        (a < b)
        + 2 * (a <= b)
        + 4 * (a > b)
        + 8 * (a >= b)
        + 16 * (a == b)
        + 32 * (a != b)
        + 64 * (not a)
        + 128 * (not (a < b))
    )


def both_or_either(a: Any, b: Any) -> Any:
    if a > 0 and b > 0:
        return 1
    if a < -8 or b < -8:
        return 2
    if not (a and b):
        return 3
    return 4 if a < b or a == b or b > 7 else 5


@pytest.mark.parametrize(
    "function",
    [plus, minus, times, halves, thirds, bits, less, truths, both_or_either],
    ids=lambda function: function.__name__,
)
def test_whole_numbers(function: Any) -> None:
    one, other = PAIRS.T
    assert each(function, one, other).tolist() == right(function, one, other)


def divided(a: Any, b: Any) -> Any:
    return (a // b) * 1000 + a % b


def test_whole_numbers_are_divided_downwards() -> None:
    one, other = PAIRS[PAIRS[:, 1] != 0].T
    assert each(divided, one, other).tolist() == right(divided, one, other)


# ---------------------------------------------------------------------------------------------
# floats


def sums(a: Any, b: Any) -> Any:
    return a + b * 2.0 - -a


def quotient(a: Any, b: Any) -> Any:
    return abs(a) / (abs(b) + 1.0)


def compared(a: Any, b: Any) -> Any:
    return (
        1.0 * (a < b)
        + 2.0 * (a <= b)
        + 4.0 * (a > b)
        + 8.0 * (a >= b)
        + 16.0 * (a == b)
        + 32.0 * (a != b)
    )


def branched(a: Any, b: Any) -> Any:
    if a != a:
        return b
    elif a < b:
        b = a * 1.0
    return b if a > 0 else -b


@pytest.mark.parametrize("function", [sums, quotient, compared, branched])
def test_floats(function: Any) -> None:
    one, other = FLOAT_PAIRS.T
    np.testing.assert_array_equal(each(function, one, other), right(function, one, other))


def chosen(a: Any, b: Any) -> Any:
    return where(a < b, a, where(b == b, b, 0.5))


def test_a_choice() -> None:
    one, other = FLOAT_PAIRS.T
    found = [a if a < b else b if b == b else 0.5 for a, b in FLOAT_PAIRS.tolist()]
    np.testing.assert_array_equal(each(chosen, one, other), found)


def mixed(a: Any, b: Any) -> Any:
    return a + b * 3  # of float32 and a whole number: float64, as with NumPy's scalars


def test_kinds_meet_as_numbers_of_numpy_do() -> None:
    one = np.array([0.1, 0.7, 1e8], np.float32)
    found = each(mixed, one, one, found=np.float64)
    np.testing.assert_array_equal(found, one + one.astype(np.float64) * 3)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int8, np.int16, np.int32])
def test_small_integers_are_widened(dtype: Any) -> None:
    values = np.array([0, 1] if dtype is np.bool_ else [0, 1, np.iinfo(dtype).max], dtype)
    given = values.view(np.uint8) if dtype is np.bool_ else values
    assert each(squared, given, found=np.int64).tolist() == [int(v) * int(v) for v in values]


def squared(a: Any) -> Any:
    return INT64(a) * a


def narrowed(a: Any) -> Any:
    return INT32(a) + UINT16(a)


def test_narrow_integers_wrap() -> None:
    found = each(narrowed, INTEGERS)
    assert found.tolist() == [int(v.astype(np.int32)) + int(v.astype(np.uint16)) for v in INTEGERS]


# ---------------------------------------------------------------------------------------------
# statements, arrays


def steps(base: Any) -> Any:
    """Loops in loops, with all ways out of them."""
    slots = view(base, 3, np.int64)
    count, limit = slots[0], slots[1]
    found = view(slots[2], count, np.int64)
    total = 0
    for i in range(count):
        if i % 3 == 2:
            continue
        inner = 0
        while True:
            inner += 1
            if inner > i:
                break
            if inner == 5:
                continue
            total += inner
        for j in range(1, i, 4):
            total -= j
        found[i] = total
        if total > limit:
            return total
    else_ = -1
    return else_


def steps_in_python(count: int, limit: int, found: Any) -> Any:
    total = 0
    for i in range(count):
        if i % 3 == 2:
            continue
        total += sum(inner for inner in range(1, i + 1) if inner != 5)
        total -= sum(range(1, i, 4))
        found[i] = total
        if total > limit:
            return total
    return -1


@pytest.mark.parametrize("count", [0, 1, 7, 40])
@pytest.mark.parametrize("limit", [-1, 30, 10**9])
def test_loops(count: int, limit: int) -> None:
    found, expected = np.zeros((2, max(count, 1)), np.int64)
    assert call(steps, count, limit, found) == steps_in_python(count, limit, expected)
    assert found.tolist() == expected.tolist()


def arrays(base: Any) -> Any:
    slots = view(base, 3, np.int64)
    rows, columns = slots[0], slots[1]
    own = np.empty((rows, columns), np.float64)
    own[:] = 7.0
    given = table(slots[2], rows, columns, np.float64)
    high, wide = given.shape
    for i in range(high):
        row = given[i]
        part = row[1 : wide - 1]
        for j in range(len(part)):
            part[j] += 10.0
        own[i, 0] = row[0]
        row[wide - 1], own[i, 1] = own[i, 1], row[wide - 1]
    first = second = own[rows - 1, 0]
    whole = view(place(given) + 8, rows * columns - 1, np.float64)
    return first + second + whole[0] + own.shape[1]


def test_arrays() -> None:
    given = np.arange(12, dtype=np.float64).reshape(3, 4)
    assert call(arrays, 3, 4, given) == 8 + 8 + 11 + 4
    expected = [[0, 11, 12, 7], [4, 15, 16, 7], [8, 19, 20, 7]]
    assert given.tolist() == expected


SWITCH: Any = False


def switched(a: Any) -> Any:
    if SWITCH:
        return a + unknown  # type: ignore[name-defined]  # noqa: F821
    while SWITCH:
        a = unknown  # type: ignore[name-defined]  # noqa: F821
    return (1.0 if not SWITCH else unknown) + a  # type: ignore[name-defined]  # noqa: F821


def test_what_is_known_is_not_written() -> None:
    """Nor looked at: names that are not there."""
    assert each(switched, np.array([1.0])) == [2.0]


def pair_of(a: Any, known: Any) -> Any:
    total = known
    while total < a:
        total += 1.0
    return total, (total > 3.0, known)


def called_apart(a: Any) -> Any:
    beside = apart_pair_of  # type: ignore[name-defined]  # noqa: F821
    one, (large, known) = beside(a, 0.5)
    other, (larger, known_too) = beside(a, 0.25)
    third, _ = beside(a, 0.5)
    return one + 100.0 * large + other + 1000.0 * larger + known + known_too + third


def test_a_function_apart() -> None:
    names = {**called_apart.__globals__, "apart_pair_of": apart(pair_of)}
    function = rebound(called_apart, names)
    for a in (0.0, 2.0, 5.0):
        one, other = (start + max(math.ceil(a - start), 0) for start in (0.5, 0.25))
        expected = one + 100 * (one > 3) + other + 1000 * (other > 3) + 0.75 + one
        assert each(function, np.array([a])) == [expected]


# ---------------------------------------------------------------------------------------------
# vectors


def of_vectors(base: Any) -> None:
    """The largest and the sum of each row of sixteen, and each number by its lane."""
    slots = view(base, 4, np.int64)
    for i in range(slots[0]):
        row = take(slots[1] + i * 64, FLOAT32)
        lanes = lane_numbers(INT32)
        small = (lanes < 3) | (row > ONE)  # type: ignore[name-defined]  # noqa: F821
        put(slots[2] + i * 64, where(small, row, -row * fma(row, row, all_of(ONE))))  # type: ignore[name-defined]  # noqa: F821
        view(slots[3], slots[0] * 2, FLOAT32)[2 * i] = largest_of(row)
        view(slots[3], slots[0] * 2, FLOAT32)[2 * i + 1] = sum_of(where(lanes == 5, ZERO, row))  # type: ignore[name-defined]  # noqa: F821


def test_vectors() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(4, LANES)).astype(np.float32)
    out, facts = np.empty_like(given), np.empty((4, 2), np.float32)
    call(of_vectors, 4, given, out, facts, **operations(np.float32))
    double = given.astype(np.float64)
    small = (np.arange(LANES) < 3) | (given > 1)
    np.testing.assert_allclose(out, np.where(small, double, -double * (double**2 + 1)), 1e-6)
    np.testing.assert_array_equal(facts[:, 0], given.max(1))
    others = np.delete(double, 5, axis=1).sum(1)
    np.testing.assert_allclose(facts[:, 1], others, rtol=1e-5, atol=1e-6)


def through_vectors(base: Any) -> None:
    slots = view(base, 3, np.int64)
    for i in range(0, slots[0], LANES):
        put_raw(slots[2] + 2 * i, take_raw(slots[1] + 2 * i))  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_every_half_float_survives_a_vector(dtype: str) -> None:
    given = np.arange(2**16, dtype=np.uint16)
    found = np.empty_like(given)
    take_raw, put_raw = vectors_of(dtype)
    call(through_vectors, 2**16, given, found, take_raw=take_raw, put_raw=put_raw)
    exponent = 0x7F80 if dtype == "bfloat16" else 0x7C00
    is_nan = (given & 0x7FFF) > exponent
    assert (found[~is_nan] == given[~is_nan]).all()
    assert ((found[is_nan] & 0x7FFF) > exponent).all()


def raised_in_vectors(base: Any) -> None:
    slots = view(base, 3, np.int64)
    for i in range(0, slots[0], LANES):
        put(slots[2] + 4 * i, exp(take(slots[1] + 4 * i, FLOAT32)))  # type: ignore[name-defined]  # noqa: F821


def test_a_formula_has_the_same_bits_over_vectors_as_over_numbers() -> None:
    given = -np.geomspace(1e-8, 120, 50 * LANES).astype(np.float32)
    found = np.empty_like(given)
    call(raised_in_vectors, given.size, given, found, **operations(np.float32))
    alone = each(operations(np.float32)["exp"], given)
    assert found.tobytes() == alone.tobytes()


# ---------------------------------------------------------------------------------------------
# what no kernel can have


def with_a_list(base: Any) -> None:
    [1, 2]  # noqa: B018


def with_a_keyword(base: Any) -> None:
    view(base, 1, kind=np.int64)


def with_an_unknown_name(base: Any) -> None:
    nowhere + 1  # type: ignore[name-defined]  # noqa: F821


def over_a_view(base: Any) -> None:
    for _ in view(base, 3, np.int64):
        pass


def downwards(base: Any) -> None:
    for _ in range(3, 0, -1):
        pass


def of_two_kinds(base: Any) -> None:
    x = view(base, 1, np.int64)
    x = 3.0  # noqa: F841


def whole_of_a_float(base: Any) -> Any:
    return view(base, 1, np.int64)[view(base, 1, np.float64)[0]]


def with_too_few(base: Any) -> Any:
    return plus(base)  # type: ignore[call-arg]


def narrowed_by_a_variable(base: Any) -> Any:
    x = INT32(view(base, 1, np.int64)[0])
    x = x * 3
    return x


def rounded_by_a_variable(base: Any) -> Any:
    x = view(base, 1, np.int64)[0]
    x = 2.7
    return x


def read_before_it_is_given(base: Any) -> Any:
    return given_later  # noqa: F821
    given_later = 3  # noqa: F841


@pytest.mark.parametrize(
    "text",
    [
        narrowed_by_a_variable,
        rounded_by_a_variable,
        read_before_it_is_given,
        with_a_list,
        with_a_keyword,
        with_an_unknown_name,
        over_a_view,
        downwards,
        of_two_kinds,
        whole_of_a_float,
        with_too_few,
    ],
    ids=lambda text: text.__name__,
)
def test_what_no_kernel_can_have_is_named_with_its_line(text: Any) -> None:
    line = text.__code__.co_firstlineno
    with pytest.raises(Unwritable, match=rf"test_texts\.py:{line + 1}|:{line + 2}") as caught:
        address(text)
    assert text.__name__ in str(caught.value)


def test_what_is_hashed_is_what_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a file is edited between, whose code would be kept under the hash of another."""
    file = tmp_path / "edited_text.py"
    file.write_text("def text(base):\n    return 1.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = importlib.import_module("edited_text").text
    before = machine.fingerprint((str(file),))
    file.write_text("def text(base):\n    return 2.5\n")
    assert call(text) == 1.5
    assert machine.fingerprint((str(file),)) == before != machine.fingerprint()


def test_without_its_source_a_text_says_so() -> None:
    names: dict[str, Any] = {}
    exec(compile("def text(base):\n    return 0.0\n", "no-file.py", "exec"), names)
    with pytest.raises(OSError, match=r"the source of text in no-file\.py is not there"):
        address(names["text"])


def test_an_address_stays_what_it_is() -> None:
    """Two texts of one name are two functions."""
    assert call(plain, number=3.0) == 3.0
    assert call(plain, number=-4.5) == -4.5


def plain(base: Any) -> Any:
    return number  # type: ignore[name-defined]  # noqa: F821
