"""One function of LLVM's while it is written: its memory, its variables, what it hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from llvmlite import ir

from refocal.kernels.cpu.compiled.values import (
    INT64,
    Kind,
    Value,
    View,
    common_kind,
    converted,
    is_known,
    kind_of,
)

BYTES = ir.IntType(8).as_pointer()


class Instruction(NamedTuple):
    """What a text calls and Python has no word for.

    Attributes:
        write: called with a `Writer` and the arguments.
    """

    write: Callable[..., Any]


def instruction(write: Callable[..., Any]) -> Any:
    """Makes an instruction of what writes it."""
    return Instruction(write)


class Writer:
    """Writes one function of LLVM's.

    Attributes:
        function: the function.
        module: of which it is one.
        build: llvmlite's builder, at the place where the next instruction goes.
        beside: what of the module was written for texts of it, by what they were called with.
    """

    def __init__(self, function: Any, beside: dict[Any, Any]) -> None:
        self.function, self.module, self.beside = function, function.module, beside
        self._entry = function.append_basic_block("entry")
        self._body = function.append_basic_block("body")
        self.build = ir.IRBuilder(self._body)
        self._kept: list[Any] = []

    def block(self, name: str) -> Any:
        """A block of instructions that is jumped to."""
        return self.function.append_basic_block(name)

    def room(self, kind: Any, align: int = 0) -> Any:
        """Room on the stack for something of LLVM's type, for as long as the function runs."""
        with self.build.goto_block(self._entry):
            room = self.build.alloca(kind)
        if align:
            room.align = align
        return room

    def heap(self, size: Any) -> Any:
        """So many bytes, which are given back when the function returns."""
        address = self.build.call(self.declared("malloc", BYTES, (INT64.llvm,)), (size,))
        kept = self.room(BYTES)
        with self.build.goto_block(self._entry):
            # on some ways through the function nothing is asked for
            self.build.store(ir.Constant(BYTES, None), kept)
        self.build.store(address, kept)
        self._kept.append(kept)
        return address

    def declared(self, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
        """A function of LLVM's own or of C's, by its name."""
        there = self.module.globals.get(name)
        return there or ir.Function(self.module, ir.FunctionType(result, arguments), name)

    def end(self, result: Any = None) -> None:
        """Gives memory back, and returns."""
        for kept in self._kept:
            address = self.build.load(kept)
            self.build.call(self.declared("free", ir.VoidType(), (BYTES,)), (address,))
        if result is None:
            self.build.ret_void()
        else:
            self.build.ret(result)
        with self.build.goto_block(self._entry):
            self.build.branch(self._body)


# ---------------------------------------------------------------------------------------------
# whatever a text hands over, as a row of LLVM's values


class Known(NamedTuple):
    """What is known when the kernel is written, and so no value."""

    type: type
    text: str
    value: Any

    # by how it is written: NaN is itself, and -0.0 is not 0.0
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self[:2] == other[:2]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:2])


def flat(value: Any) -> tuple[Any, list[Any]]:
    """How something is composed, which can be compared, and the row of values in it."""
    if isinstance(value, Value):
        return value.kind, [value.llvm]
    if isinstance(value, View):
        sizes, row = flat(value.shape)
        return ("view", value.kind, sizes), [value.at, *row]
    if type(value) is tuple:
        parts = [flat(one) for one in value]
        return ("tuple", *(form for form, _ in parts)), [one for _, row in parts for one in row]
    return Known(type(value), repr(value), value), []


def composed(form: Any, row: Iterator[Any]) -> Any:
    """The inverse of `flat`."""
    if isinstance(form, Known):
        return form.value
    if isinstance(form, Kind):
        return Value(form, next(row))
    if form[0] == "view":
        return View(form[1], next(row), composed(form[2], row))
    return tuple(composed(one, row) for one in form[1:])


def as_values(build: Any, value: Any) -> Any:
    """The same with values in place of known numbers, for what may be another number later."""
    if is_known(value):
        return converted(build, value, kind_of(value))
    if type(value) is tuple:
        return tuple(as_values(build, one) for one in value)
    return value


class Variable:
    """What a text gives to one name more than once: room on the stack, of which LLVM makes a
    register. Its kind is that of what it is given first.
    """

    def __init__(self, writer: Writer, value: Any) -> None:
        self._form, row = flat(as_values(writer.build, value))
        self._rooms = [writer.room(one.type) for one in row]

    def store(self, writer: Writer, value: Any) -> None:
        if isinstance(self._form, Kind):
            mine = Value(self._form, None)
            if isinstance(value, Value) and common_kind(value, mine) != self._form:
                raise TypeError(f"a variable of {self._form} is given {value.kind}")
            value = converted(writer.build, value, self._form)
        form, row = flat(as_values(writer.build, value))
        if form != self._form:
            raise TypeError(f"a variable of {self._form} is given {form}")
        for room, one in zip(self._rooms, row, strict=True):
            writer.build.store(one, room)

    def load(self, writer: Writer) -> Any:
        return composed(self._form, iter([writer.build.load(room) for room in self._rooms]))
