"""What a kernel's text computes with while it is written down for LLVM: values and their kinds.

A value is a number that the kernel will have when it runs, or `LANES` of them at once. What is
known before stays a number of Python's or NumPy's, and is computed when the kernel is written. The
kinds follow NumPy, as Numba does: integers meet as int64, float32 and float64 as float64.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

# numbers of a vector; LLVM splits what a processor has no register for
LANES = 16
INDEX = ir.IntType(32)


class Kind(NamedTuple):
    """A type of numbers, or of vectors of them.

    Attributes:
        sort: "real", "signed", "unsigned", or "truth" for what is true or false.
        bits: of one number.
        lanes: numbers, 1 or LANES.
    """

    sort: str
    bits: int
    lanes: int = 1

    def __call__(self, number: Any) -> Any:
        """A number that is known, as one of this kind."""
        return NUMBERS[self](number)

    @property
    def element(self) -> Kind:
        return self._replace(lanes=1)

    @property
    def vector(self) -> Kind:
        return self._replace(lanes=LANES)

    def wide_as(self, other: Kind) -> Kind:
        """Another kind, of as many numbers at once."""
        return other._replace(lanes=self.lanes)

    @property
    def size(self) -> int:
        """Bytes of one number."""
        return self.bits // 8

    @property
    def suffix(self) -> str:
        """Of names of LLVM's own functions of floats."""
        return f"v{self.lanes}f{self.bits}" if self.lanes > 1 else f"f{self.bits}"

    @property
    def llvm(self) -> Any:
        """The type in LLVM's words."""
        if self.lanes > 1:
            return ir.VectorType(self.element.llvm, self.lanes)
        if self.sort == "real":
            return {16: ir.HalfType(), 32: ir.FloatType(), 64: ir.DoubleType()}[self.bits]
        return ir.IntType(self.bits)


TRUTH = Kind("truth", 1)
INT8, INT16, INT32, INT64 = (Kind("signed", bits) for bits in (8, 16, 32, 64))
UINT8, UINT16 = Kind("unsigned", 8), Kind("unsigned", 16)
FLOAT16, FLOAT32, FLOAT64 = (Kind("real", bits) for bits in (16, 32, 64))

KINDS: dict[type, Kind] = {
    bool: TRUTH,
    int: INT64,
    float: FLOAT64,
    np.bool_: TRUTH,
    np.uint8: UINT8,
    np.uint16: UINT16,
    np.int8: INT8,
    np.int16: INT16,
    np.int32: INT32,
    np.int64: INT64,
    np.float32: FLOAT32,
    np.float64: FLOAT64,
}
NUMBERS = {kind: number for number, kind in KINDS.items() if issubclass(number, np.generic)}
SAME_WIDTH = {FLOAT32: INT32, FLOAT64: INT64, INT32: FLOAT32, INT64: FLOAT64}


class Value(NamedTuple):
    """A number, or a vector, that there will be when the kernel runs."""

    kind: Kind
    llvm: Any


class View(NamedTuple):
    """An array in memory, its last axis side by side.

    Attributes:
        kind: of its elements.
        at: where they lie, a pointer of LLVM's.
        shape: sizes of its one axis or two, each a value or known.
    """

    kind: Kind
    at: Any
    shape: tuple[Any, ...]


def is_known(value: Any) -> bool:
    """Whether it is a number already."""
    return type(value) in KINDS


def kind_of(value: Any) -> Kind:
    """The kind of a value, or of a number that is known."""
    return value.kind if isinstance(value, Value) else KINDS[type(value)]


def common_kind(*values: Any) -> Kind:
    """What values can all be taken for."""
    kinds = [kind_of(value) for value in values]
    vectors = [kind for kind in kinds if kind.lanes > 1]
    if vectors:
        return vectors[0]
    if len(set(kinds)) == 1:
        return kinds[0]
    reals = [kind for kind in kinds if kind.sort == "real"]
    return max(reals, key=lambda kind: kind.bits) if reals else INT64


def converted(build: Any, value: Any, kind: Kind) -> Value:
    """A value as one of another kind, or a known number as a value.

    Raises:
        TypeError: a whole number would have to be made of a real one.
    """
    if not isinstance(value, Value):
        number = float(value) if kind.sort == "real" else int(value)
        if kind.sort == "truth":
            number = int(bool(value))
        elif number != value and value == value:
            raise TypeError(f"{value!r} for {kind}")
        numbers = [number] * kind.lanes if kind.lanes > 1 else number
        return Value(kind, ir.Constant(kind.llvm, numbers))
    if value.kind == kind:
        return value
    if value.kind.lanes < kind.lanes:
        return Value(kind, spread(build, converted(build, value, kind.element).llvm, kind))
    return Value(kind, _cast(build, value, kind))


def spread(build: Any, number: Any, kind: Kind) -> Any:
    """A number of LLVM's as a vector of it."""
    undefined = ir.Constant(kind.llvm, ir.Undefined)
    first = build.insert_element(undefined, number, ir.Constant(INDEX, 0))
    mask = ir.Constant(ir.VectorType(INDEX, kind.lanes), [0] * kind.lanes)
    return build.shuffle_vector(first, undefined, mask)


def _cast(build: Any, value: Value, kind: Kind) -> Any:
    given, llvm = value.kind, kind.llvm
    if kind.sort == "truth":
        return build.icmp_signed("!=", value.llvm, ir.Constant(value.llvm.type, 0))
    if given.sort == "real":
        if kind.sort != "real":
            raise TypeError(f"{given} for {kind}: NaN has no integer")
        cast = build.fpext if kind.bits > given.bits else build.fptrunc
        return cast(value.llvm, llvm)
    if kind.sort == "real":
        return (build.sitofp if given.sort == "signed" else build.uitofp)(value.llvm, llvm)
    if kind.bits < given.bits:
        return build.trunc(value.llvm, llvm)
    if kind.bits == given.bits:
        return value.llvm
    return (build.sext if given.sort == "signed" else build.zext)(value.llvm, llvm)


# ---------------------------------------------------------------------------------------------
# operators


def negated(build: Any, value: Any) -> Any:
    """Minus a number."""
    if not isinstance(value, Value):
        return -value
    if value.kind.sort == "real":
        return Value(value.kind, build.fneg(value.llvm))
    kind = value.kind if value.kind.lanes > 1 else INT64
    return Value(kind, build.neg(converted(build, value, kind).llvm))


def inverted(build: Any, value: Any) -> Any:
    """Whether something is false, or 0."""
    if not isinstance(value, Value):
        return not value
    truth = converted(build, value, TRUTH) if value.kind.lanes == 1 else value
    return Value(truth.kind, build.not_(truth.llvm))


REAL = {"Add": "fadd", "Sub": "fsub", "Mult": "fmul", "Div": "fdiv"}
WHOLE = {"Add": "add", "Sub": "sub", "Mult": "mul", "LShift": "shl", "RShift": "ashr"}
BITWISE = {"BitAnd": "and_", "BitOr": "or_", "BitXor": "xor"}
OF_PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "LShift": operator.lshift,
    "RShift": operator.rshift,
    "BitAnd": operator.and_,
    "BitOr": operator.or_,
    "BitXor": operator.xor,
}


def combined(build: Any, name: str, one: Any, other: Any) -> Any:
    """One operator's result, by the name that Python's syntax trees have for it."""
    if is_known(one) and is_known(other):
        return OF_PYTHON[name](one, other)
    kind = common_kind(one, other)
    if kind.lanes == 1 and kind.sort != "real":
        bitwise_truth = kind == TRUTH and name in BITWISE
        kind = kind if bitwise_truth else INT64
    if kind.sort == "real" and kind.lanes == 1:
        # as with NumPy's scalars: a whole number beside a float is no float32
        whole = [k for k in map(kind_of, (one, other)) if k.sort != "real"]
        kind = FLOAT64 if whole else kind
    if name in ("FloorDiv", "Mod"):
        return _divided(build, name, converted(build, one, kind), other)
    a, b = (converted(build, value, kind).llvm for value in (one, other))
    words = REAL if kind.sort == "real" else WHOLE | BITWISE
    return Value(kind, getattr(build, words[name])(a, b))


def _divided(build: Any, name: str, one: Value, other: Any) -> Value:
    """Whole numbers, rounded down as Python does."""
    kind, a = one.kind, one.llvm
    if kind != INT64:
        raise TypeError(f"{name} of {kind}")
    if is_known(other) and other > 0 and other & (other - 1) == 0:
        if name == "Mod":
            return Value(kind, build.and_(a, ir.Constant(kind.llvm, int(other) - 1)))
        return Value(kind, build.ashr(a, ir.Constant(kind.llvm, int(other).bit_length() - 1)))
    b = converted(build, other, kind).llvm
    zero = ir.Constant(kind.llvm, 0)
    quotient = build.sdiv(a, b)
    rest = build.sub(a, build.mul(quotient, b))
    apart = build.icmp_signed("<", build.xor(rest, b), zero)
    below = build.and_(build.icmp_signed("!=", rest, zero), apart)
    if name == "Mod":
        return Value(kind, build.add(rest, build.select(below, b, zero)))
    return Value(kind, build.sub(quotient, build.zext(below, kind.llvm)))


SIGNS = {"Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!="}
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "Eq": operator.eq,
    "NotEq": operator.ne,
}


def compared(build: Any, name: str, one: Any, other: Any) -> Any:
    """Whether a comparison holds; all but != are false of NaN."""
    if is_known(one) and is_known(other):
        return bool(COMPARED[name](one, other))
    kind = common_kind(one, other)
    if kind.lanes == 1 and kind.sort != "real":
        kind = INT64
    a, b = (converted(build, value, kind).llvm for value in (one, other))
    truth = TRUTH.vector if kind.lanes > 1 else TRUTH
    if kind.sort != "real":
        return Value(truth, build.icmp_signed(SIGNS[name], a, b))
    compare = build.fcmp_unordered if name == "NotEq" else build.fcmp_ordered
    return Value(truth, compare(SIGNS[name], a, b))
