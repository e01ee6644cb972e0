"""Vectors that are written, not found: so many numbers that an expression takes at once.

LLVM makes a vector of a loop where it sees that it may, and that it pays. Where loops over classes
lie around short ones over positions it does not: it unrolls what is short, checks at run time what
may overlap, spills between loops what was in a register, and writes each loop three times. With a
type of its own, ``LANES`` numbers wide, scalar code of this room and the book are bound to vectors
as to numbers, a loop over classes keeps its sums in registers, and there is less to compile. LLVM
splits what a processor has no register for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types as nt
from numba.core.typing import signature
from numba.core.typing.npydecl import parse_dtype
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16


class Vector(nt.Type):  # type: ignore[misc]
    """``LANES`` numbers, or whether something holds of each."""

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"Vector({element})")


TRUTH = Vector(nt.boolean)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """In LLVM's words."""

    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        element = fe_type.element
        one = ir.IntType(1) if element == nt.boolean else dmm.lookup(element).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(one, LANES))


def _spread(context: Any, builder: Any, value: Any, kind: Any, vector: Vector) -> Any:
    """A number as a vector of it; a vector as it is."""
    if isinstance(kind, Vector):
        return value
    one = context.cast(builder, value, kind, vector.element)
    shape = context.get_value_type(vector)
    zero = ir.Constant(ir.IntType(32), 0)
    first = builder.insert_element(ir.Constant(shape, ir.Undefined), one, zero)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(shape, ir.Undefined), mask)


def _vector_of(args: Any) -> Vector | None:
    return next((one for one in args if isinstance(one, Vector)), None)


def _is_real(vector: Vector) -> bool:
    return isinstance(vector.element, nt.Float)


def _operator(function: Any, emit: Callable[..., Any], *, truth: bool = False) -> None:
    """Gives an operator of Python its meaning for vectors, and for a vector and a number."""

    @infer_global(function)
    class Typed(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            vector = _vector_of(args)
            if vector is None or len(args) > 2:
                return None
            if not all(isinstance(one, (Vector, nt.Number, nt.Boolean)) for one in args):
                return None
            return signature(TRUTH if truth else vector, *map(nt.unliteral, args))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = _vector_of(sig.args)
        assert vector is not None  # noqa: S101 - `generic` has asked
        pairs = zip(args, sig.args, strict=True)
        return emit(builder, vector, *[_spread(context, builder, *p, vector) for p in pairs])

    lower_builtin(function, Vector, Vector)(lower)
    lower_builtin(function, Vector, nt.Number)(lower)
    lower_builtin(function, nt.Number, Vector)(lower)
    lower_builtin(function, Vector)(lower)


def _arithmetic(real: str, whole: str) -> Callable[..., Any]:
    def emit(builder: Any, vector: Vector, *args: Any) -> Any:
        return getattr(builder, real if _is_real(vector) else whole)(*args)

    return emit


def _comparison(sign: str) -> Callable[..., Any]:
    def emit(builder: Any, vector: Vector, *args: Any) -> Any:
        if not _is_real(vector):
            return builder.icmp_signed(sign, *args)
        # all but != are False of NaN
        compare = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
        return compare(sign, *args)

    return emit


for _function, _real, _whole in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", "sdiv"),
    (operator.neg, "fneg", "neg"),
    (operator.lshift, "", "shl"),
    (operator.rshift, "", "ashr"),
    (operator.and_, "", "and_"),
    (operator.or_, "", "or_"),
    (operator.xor, "", "xor"),
):
    _operator(_function, _arithmetic(_real, _whole))
for _function, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _operator(_function, _comparison(_sign), truth=True)


# ---------------------------------------------------------------------------------------------
# in place of the intrinsics of `math`, under the same names


@intrinsic
def where(typingctx: Any, condition: Any, if_true: Any, if_false: Any) -> Any:
    """For each its one or its other."""
    vector = _vector_of((if_true, if_false)) or Vector(nt.unliteral(if_true))
    kinds = (condition, nt.unliteral(if_true), nt.unliteral(if_false))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        condition, *values = arguments
        pairs = zip(values, signature.args[1:], strict=True)
        return builder.select(
            condition, *[_spread(context, builder, *pair, vector) for pair in pairs]
        )

    return vector(*kinds), emit


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` with one rounding."""
    vector = _vector_of((a, b, c))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        assert vector is not None  # noqa: S101
        kind = context.get_value_type(vector)
        name = f"llvm.fma.v{LANES}f{vector.element.bitwidth}"
        function = builder.module.declare_intrinsic(
            name, (), ir.FunctionType(kind, (kind, kind, kind))
        )
        pairs = zip(arguments, signature.args, strict=True)
        return builder.call(function, [_spread(context, builder, *pair, vector) for pair in pairs])

    return None if vector is None else vector(a, b, c), emit


SAME_WIDTH = {
    nt.float32: nt.int32,
    nt.float64: nt.int64,
    nt.int32: nt.float32,
    nt.int64: nt.float64,
}


@intrinsic
def bits_of(typingctx: Any, value: Any) -> Any:
    """The bits of floats as integers, and of integers as floats."""
    found = Vector(SAME_WIDTH[value.element])

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(found))

    return found(value), emit


from_bits = bits_of


@intrinsic
def integer(typingctx: Any, value: Any) -> Any:
    """Integers as they are: theirs is the width of a number already."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[0]

    return value(value), emit


@intrinsic
def real(typingctx: Any, value: Any) -> Any:
    """Integers as floats of their width."""
    found = Vector(SAME_WIDTH[value.element])

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sitofp(arguments[0], context.get_value_type(found))

    return found(value), emit


def _folded(builder: Any, value: Any, join: Callable[[Any, Any], Any]) -> Any:
    """One number of a vector's: each half joined with the other, until one is left."""
    width = LANES
    while width > 1:
        width //= 2
        halves = [_selected(builder, value, range(at, at + width)) for at in (0, width)]
        value = join(*halves)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _selected(builder: Any, value: Any, lanes: range) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


@intrinsic
def sum_of(typingctx: Any, value: Any) -> Any:
    """The sum of a vector's numbers, in an order that is the same on every processor."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _folded(builder, arguments[0], builder.fadd)

    return value.element(value), emit


@intrinsic
def largest_of(typingctx: Any, value: Any) -> Any:
    """The largest of a vector's numbers, none of which is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def larger(one: Any, other: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", one, other), one, other)

        return _folded(builder, arguments[0], larger)

    return value.element(value), emit


@intrinsic
def lane_numbers(typingctx: Any, dtype: Any) -> Any:
    """0, 1, 2, … in an integer type."""
    vector = Vector(parse_dtype(dtype))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), list(range(LANES)))

    return vector(dtype), emit


# ---------------------------------------------------------------------------------------------
# memory


@intrinsic
def all_of(typingctx: Any, number: Any) -> Any:
    """A number, so many times."""
    vector = Vector(nt.unliteral(number))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(context, builder, arguments[0], signature.args[0], vector)

    return vector(nt.unliteral(number)), emit


@intrinsic
def take(typingctx: Any, address: Any, dtype: Any) -> Any:
    """What lies at an address and behind it."""
    vector = Vector(parse_dtype(dtype))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(builder, arguments[0], context.get_value_type(vector), vector.element)

    return vector(nt.int64, dtype), emit


@intrinsic
def put(typingctx: Any, address: Any, value: Any) -> Any:
    """Writes to an address and behind it."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, vector = arguments
        _store(builder, address, vector, value.element)
        return context.get_dummy_value()

    return nt.none(nt.int64, value), emit


def _load(builder: Any, address: Any, kind: Any, element: Any) -> Any:
    at = builder.inttoptr(address, kind.as_pointer())
    return builder.load(at, align=element.bitwidth // 8)


def _store(builder: Any, address: Any, value: Any, element: Any) -> None:
    at = builder.inttoptr(address, value.type.as_pointer())
    builder.store(value, at, align=element.bitwidth // 8)


def _of(element: Any) -> Any:
    return ir.VectorType(element, LANES)


def _all(number: int) -> Any:
    return ir.Constant(_of(ir.IntType(32)), [number] * LANES)


def _from_brain(builder: Any, raw: Any) -> Any:
    wide = builder.zext(raw, _of(ir.IntType(32)))
    return builder.bitcast(builder.shl(wide, _all(16)), _of(ir.FloatType()))


def _to_brain(builder: Any, value: Any) -> Any:
    """To nearest, ties to even, by carrying into the upper half; NaN would carry into infinity."""
    bits = builder.bitcast(value, _of(ir.IntType(32)))
    odd = builder.and_(builder.lshr(bits, _all(16)), _all(1))
    rounded = builder.lshr(builder.add(builder.add(bits, _all(0x7FFF)), odd), _all(16))
    is_nan = builder.fcmp_unordered("uno", value, value)
    return builder.trunc(builder.select(is_nan, _all(0x7FC0), rounded), _of(ir.IntType(16)))


def _from_half(builder: Any, raw: Any) -> Any:
    return builder.fpext(builder.bitcast(raw, _of(ir.HalfType())), _of(ir.FloatType()))


def _to_half(builder: Any, value: Any) -> Any:
    return builder.bitcast(builder.fptrunc(value, _of(ir.HalfType())), _of(ir.IntType(16)))


def _half_storage(load: Callable[..., Any], store: Callable[..., Any]) -> tuple[Any, Any]:
    """`take` and `put` of numbers that lie in 16 bits each."""

    def take_half(typingctx: Any, address: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return load(builder, _load(builder, arguments[0], _of(ir.IntType(16)), nt.uint16))

        return Vector(nt.float32)(nt.int64), emit

    def put_half(typingctx: Any, address: Any, value: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _store(builder, arguments[0], store(builder, arguments[1]), nt.uint16)
            return context.get_dummy_value()

        return nt.none(nt.int64, value), emit

    return intrinsic(take_half), intrinsic(put_half)


def _full_storage(element: Any) -> tuple[Any, Any]:
    def take_full(typingctx: Any, address: Any) -> Any:
        vector = Vector(element)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _load(builder, arguments[0], context.get_value_type(vector), element)

        return vector(nt.int64), emit

    return intrinsic(take_full), put


# a dtype's way from memory into a vector and back, rounded once
STORAGE: dict[str, tuple[Any, Any]] = {
    "float32": _full_storage(nt.float32),
    "float64": _full_storage(nt.float64),
    "bfloat16": _half_storage(_from_brain, _to_brain),
    "float16": _half_storage(_from_half, _to_half),
}
