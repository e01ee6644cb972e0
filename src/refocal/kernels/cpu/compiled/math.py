"""The CPU's side of the shared formula: exp and log1p that LLVM vectorises, exact conversions.

Everything here is written twice over by binding, never by copying: one `exp` and one `log1p`
over named constants, bound to float32 and to float64.

A few rules keep results the same to the last bit on every machine, for every vector width and in
the scalar remainder of every loop:

* No fast-math flags. A multiply and an add are fused only where `fma` is written, so the
  compensated modulator keeps its error terms and NaN in gives NaN out.
* One exception, `add_in_any_order`, for a sigmoid's sum within a block: the loss of a batch may
  differ in its last bit between machines of different vector width, its gradient may not.
* `integer(...)` around shifts: int32 arithmetic is widened to int64, and LLVM narrows it back.
* No integer conversion of a NaN (poison to LLVM): exponents are moved as bits.
"""

from __future__ import annotations

import types
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal import formula
from refocal.formula.binding import rebound
from refocal.kernels.cpu.compiled.values import (
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    SAME_WIDTH,
    UINT16,
    Value,
    common_kind,
    converted,
    kind_of,
)
from refocal.kernels.cpu.compiled.writer import Writer, instruction

# ---------------------------------------------------------------------------------------------
# instructions that Python has no word for, of numbers or of vectors


@instruction
def where(writer: Writer, condition: Any, if_true: Any, if_false: Any) -> Any:
    """`select`: a conditional expression would be a branch, which can keep a loop scalar."""
    if not isinstance(condition, Value):
        return if_true if condition else if_false
    kind, build = common_kind(if_true, if_false), writer.build
    if condition.kind.lanes > 1:
        kind = kind.vector
    either = [converted(build, value, kind).llvm for value in (if_true, if_false)]
    return Value(kind, build.select(condition.llvm, *either))


@instruction
def fma(writer: Writer, a: Any, b: Any, c: Any) -> Value:
    """``a * b + c`` with one rounding."""
    return fused(writer, a, b, c)


def fused(writer: Writer, *factors_and_term: Any) -> Value:
    """Writes it."""
    kind = common_kind(*factors_and_term)
    function = writer.declared(f"llvm.fma.{kind.suffix}", kind.llvm, (kind.llvm,) * 3)
    values = [converted(writer.build, value, kind).llvm for value in factors_and_term]
    return Value(kind, writer.build.call(function, values))


@instruction
def add_in_any_order(writer: Writer, a: Any, b: Any) -> Value:
    """``a + b`` that LLVM may re-associate: what lets the sum of a loop be a vector."""
    kind = common_kind(a, b)
    values = [converted(writer.build, value, kind).llvm for value in (a, b)]
    return Value(kind, writer.build.fadd(*values, flags=("reassoc",)))


@instruction
def bits_of(writer: Writer, value: Any) -> Value:
    """The bits of floats as signed integers of their width, and of integers as floats."""
    given = kind_of(value)
    kind = given.wide_as(SAME_WIDTH[given.element])
    return Value(kind, writer.build.bitcast(converted(writer.build, value, given).llvm, kind.llvm))


from_bits = bits_of


@instruction
def half_to_single(writer: Writer, bits: Value) -> Value:
    """IEEE half, given as its 16 bits, to float32 (one instruction wherever there is F16C)."""
    half = bits.kind.wide_as(FLOAT16)
    value = Value(half, writer.build.bitcast(bits.llvm, half.llvm))
    return converted(writer.build, value, bits.kind.wide_as(FLOAT32))


@instruction
def single_to_half(writer: Writer, value: Any) -> Value:
    """float32 to the 16 bits of the nearest half, ties to even."""
    half = converted(writer.build, value, kind_of(value).wide_as(FLOAT16))
    bits = kind_of(value).wide_as(UINT16)
    return Value(bits, writer.build.bitcast(half.llvm, bits.llvm))


@instruction
def widest_vectors(writer: Writer) -> None:
    """Lets LLVM use 512-bit registers in the function that calls this.

    On recent Intel CPUs LLVM prefers 256 bits, out of care for the clock rate of older ones; here
    that costs a third of the speed. llvmlite knows no string attributes, hence the plain set.add.
    """
    set.add(writer.function.attributes, '"prefer-vector-width"="512"')


# ---------------------------------------------------------------------------------------------
# exp and log1p; the coefficients are the output of scripts/fit_polynomials.py, a minimax fit of the
# relative error with each coefficient rounded to the computing dtype: in exact arithmetic within
# 0.05 eps of the function

EXP_COEFFICIENTS: dict[type, tuple[float, ...]] = {
    np.float32: (
        0.001382145332172513,
        0.008368661627173424,
        0.041668254882097244,
        0.1666652113199234,
        0.4999999403953552,
    ),
    np.float64: (
        2.500733138441311e-08,
        2.7630218340101847e-07,
        2.7557558406354393e-06,
        2.4801493104506946e-05,
        0.00019841269545769013,
        0.0013888888943762471,
        0.008333333333470923,
        0.04166666666652861,
        0.16666666666666463,
        0.5000000000000011,
    ),
}

LOG1P_COEFFICIENTS: dict[type, tuple[float, ...]] = {
    np.float32: (
        -0.0032905302941799164,
        0.020086422562599182,
        -0.05745742470026016,
        0.10661137104034424,
        -0.15344882011413574,
        0.19692102074623108,
        -0.24958018958568573,
        0.33330464363098145,
        -0.4999993145465851,
    ),
    np.float64: (
        2.533323046377907e-05,
        -0.0002917949123267487,
        0.0015959009840643033,
        -0.005543575437501622,
        0.013839525973410571,
        -0.026745331130442168,
        0.04230161758920878,
        -0.05750327930090047,
        0.07035624879118452,
        -0.08081254048354067,
        0.09013170868981532,
        -0.09981020373800431,
        0.11107507330897583,
        -0.124994798611093,
        0.1428565893143497,
        -0.16666662501868923,
        0.19999999791547193,
        -0.24999999993685912,
        0.33333333333235254,
        -0.4999999999999946,
    ),
}


# so much larger `exp` takes powers of two, on the way to a subnormal result
LIFT = 64


def _constants(real: type) -> dict[str, Any]:
    single = real is np.float32
    mantissa, bias = (23, 127) if single else (52, 1023)
    # ln 2 in two parts: the high one has trailing zeros, so k times it is exact
    high, low = (
        (0.693145751953125, 1.428606820309417e-06)
        if single
        else (0.6931471803691238, 1.9082149292705877e-10)
    )
    numbers = {
        "LOG2_E": 1.4426950408889634,
        # adding it leaves the nearest integer, plus the exponent's bias, in the lowest bits
        "ROUNDER": 1.5 * 2**mantissa + bias,
        "LIFTED_ROUNDER": 1.5 * 2**mantissa + bias + LIFT,
        "LN2_HIGH": -high,
        "LN2_LOW": -low,
        # below, exp is subnormal
        "LOWEST": -87.33654 if single else -708.396418,
        # below, exp is less than half the smallest subnormal
        "LEAST": -104.0 if single else -745.2,
        "UNLIFT": 2.0**-LIFT,
        "LARGEST": float(np.finfo(real).max),
        "INFINITY": np.inf,
    }
    integer = np.int32 if single else np.int64
    return {
        **{name: real(value) for name, value in {**formula.CONSTANTS, **numbers}.items()},
        "MANTISSA": integer(mantissa),
        "EXPONENT_BIAS": integer(bias),
        "FRACTION": integer(2**mantissa - 1),
        "LOWEST_BITS": integer(np.iinfo(integer).max),
        "SIGN_SHIFT": integer(31 if single else 63),
        "real": FLOAT32 if single else FLOAT64,
        "integer": INT32 if single else INT64,
    }


# What `operations` binds over a computing dtype: types, polynomials, and `_constants`.
if TYPE_CHECKING:
    from refocal.formula.plain import ONE, ZERO
    from refocal.kernels.cpu.compiled.bound import (
        EXPONENT_BIAS,
        FRACTION,
        LEAST,
        LIFTED_ROUNDER,
        LN2_HIGH,
        LN2_LOW,
        LOG2_E,
        LOWEST,
        LOWEST_BITS,
        MANTISSA,
        ROUNDER,
        SIGN_SHIFT,
        UNLIFT,
        exp_polynomial,
        integer,
        log1p_polynomial,
        real,
    )


def exp(a: Any) -> Any:
    """e**a for a <= 0, within 1 ulp, down to subnormal results; NaN for NaN.

    ``a = k ln 2 + r``; k is rounded to an integer, and moved into an exponent, by one addition.
    Powers of two are taken 2**LIFT too large, and are normal numbers where the result is not: one
    multiplication more, which rounds once. Out of range the value is garbage (never a trap), which
    the last line replaces.
    """
    shifted = fma(a, LOG2_E, LIFTED_ROUNDER)
    k = shifted - LIFTED_ROUNDER
    r = fma(k, LN2_LOW, fma(k, LN2_HIGH, a))
    power_of_two = from_bits(integer(bits_of(shifted) << MANTISSA))
    e = fma(r, fma(r, exp_polynomial(r), ONE), ONE)
    return where(a < LEAST, ZERO, e * power_of_two * UNLIFT)


def exp_or_zero(a: Any) -> Any:
    """Does as `exp`, with 0 for what is subnormal: for the many terms of a sum of at least 1."""
    shifted = fma(a, LOG2_E, ROUNDER)
    k = shifted - ROUNDER
    r = fma(k, LN2_LOW, fma(k, LN2_HIGH, a))
    power_of_two = from_bits(integer(bits_of(shifted) << MANTISSA))
    e = fma(r, fma(r, exp_polynomial(r), ONE), ONE)
    return where(a < LOWEST, ZERO, e * power_of_two)


def log1p(x: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1, within 1.2 ulp: all the formula asks for, as x = exp(-|s|).

    Not ``x * x`` times the polynomial: that is subnormal from x = 1e-19 on, at which a CPU may
    take a hundred cycles, though the result is not.
    """
    return fma(x * log1p_polynomial(x), x, x)


def log(x: Any) -> Any:
    """Logarithm of a normal x, within 1 ulp of max(1, result).

    NaN for NaN, whose bits look like a number's here.
    """
    bits = bits_of(x)
    exponent = real((bits >> MANTISSA) - EXPONENT_BIAS)
    fraction = from_bits(integer((bits & FRACTION) | (EXPONENT_BIAS << MANTISSA))) - ONE
    result = fma(exponent, -LN2_HIGH, fma(exponent, -LN2_LOW, log1p(fraction)))
    return where(x == x, result, x)


def power(base: Any, exponent: Any) -> Any:
    """base**exponent for a base in [0, 1] that is not subnormal, and an exponent >= 0.

    ``log(base)`` is k ln 2, of whose product with the exponent nothing is lost, and the logarithm
    of a fraction, whose error is one of at most ln 2: relative to the result `exponent` ulp.
    """
    bits = bits_of(base)
    k = real((bits >> MANTISSA) - EXPONENT_BIAS)
    fraction = from_bits(integer((bits & FRACTION) | (EXPONENT_BIAS << MANTISSA))) - ONE
    rest = fma(k, -LN2_LOW, log1p(fraction))
    high = k * -LN2_HIGH
    t = exponent * (high + rest)
    low = rest - ((high + rest) - high)
    error = fma(exponent, high + rest, -t) + exponent * low
    grown = exp(t)
    raised = fma(grown, error, grown)
    return where(base == ZERO, where(exponent == ZERO, ONE, ZERO), raised)


def ordered(value: Any) -> Any:
    """An integer that compares as the float does, NaN of either sign aside.

    LLVM makes a vector of an integer maximum; of a float one only under a promise of no NaN.
    """
    bits = bits_of(value)
    return integer(bits ^ ((bits >> SIGN_SHIFT) & LOWEST_BITS))


def unordered(key: Any) -> Any:
    """The inverse of `ordered`."""
    return from_bits(integer(key ^ ((key >> SIGN_SHIFT) & LOWEST_BITS)))


def _horner(real: type, coefficients: tuple[float, ...]) -> Any:
    """A polynomial, highest power first."""

    def polynomial(writer: Writer, x: Value) -> Any:
        value, *others = map(real, coefficients)
        for coefficient in others:
            value = fused(writer, x, value, coefficient)
        return value

    return instruction(polynomial)


@cache
def operations(real: type) -> dict[str, Any]:
    """What a formula over this dtype is bound to, and what else the kernels need."""
    names = {
        **_constants(real),
        "where": where,
        "fma": fma,
        "bits_of": bits_of,
        "from_bits": from_bits,
        "exp_polynomial": _horner(real, EXP_COEFFICIENTS[real]),
        "log1p_polynomial": _horner(real, LOG1P_COEFFICIENTS[real]),
        "__builtins__": __builtins__,
    }
    for function in (exp, exp_or_zero, log1p, log, power, ordered, unordered):
        names[function.__name__] = rebound(function, names)
    names["exp_of_term"] = names["exp_or_zero"]
    return names


@cache
def bound_formula(real: type, modulator: str) -> types.SimpleNamespace:
    """The book over a computing dtype."""
    return formula.bind(operations(real), modulator)


# of the book, beside the loss itself: no modulator is in them
OF_MARGINS = (
    "finite",
    "term",
    "plain_term",
    "against",
    "weighed",
    "faded",
    "faded_four",
    "smoothed",
)


def formula_of(
    real: type, modulator: str, detached: bool, log1p_given: bool = False
) -> dict[str, Any]:
    """The book over a computing dtype: what a kernel calls, under the names it uses.

    With ``log1p_given`` the losses are functions of ``(s, x, log1p_x, gamma)``.
    """
    suffix = "_from" if log1p_given else ""
    both = "value_and_detached_slope" if detached else "value_and_slope"
    losses = {"value": "value" + suffix, "value_and_slope": both + suffix}
    margins, book = bound_formula(real, "zero"), bound_formula(real, modulator)
    return {
        **{name: getattr(margins, name) for name in OF_MARGINS},
        **{name: getattr(book, of) for name, of in losses.items()},
    }
