"""A kernel's text, written down for LLVM.

Kernels are plain functions of Python, over names that mean a dtype, an instruction or another
function. Here their syntax trees are gone through once, statement by statement, and each becomes
the instructions it stands for. What is known is computed on the way, and branches that are then
not taken are not written. A function that is called is written into its caller, or once beside it
if it is `apart`. Of Python this understands what kernels need: numbers, arrays at addresses,
``if``, ``while`` and ``for`` over a ``range``; anything else is an error.

Numba's front end does this, too, and did. Finding the types of everything, anew for every kernel,
took it most of the time in which one was compiled; see docs/decisions/0020. Here a name has the
kind of what it is given first, and nothing needs finding.
"""

from __future__ import annotations

import ast
import builtins
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from refocal.kernels.cpu.compiled.values import (
    INDEX,
    INT64,
    KINDS,
    TRUTH,
    Kind,
    Value,
    View,
    combined,
    common_kind,
    compared,
    converted,
    inverted,
    is_known,
    negated,
)
from refocal.kernels.cpu.compiled.writer import (
    BYTES,
    Instruction,
    Variable,
    Writer,
    as_values,
    composed,
    flat,
)


class Unwritable(TypeError):
    """A text has something that no kernel can have."""


class Apart(NamedTuple):
    """A function that is one in LLVM, too: its loops have all registers to themselves."""

    function: Callable[..., Any]


def apart(function: Callable[..., Any]) -> Any:
    """Makes a function one of its own in LLVM. What it returns may not be an array of its own:
    that is given back when it returns.
    """
    return Apart(function)


# ---------------------------------------------------------------------------------------------
# syntax trees


@cache
def source_of(file: Path) -> str:
    """A source as it was when it was first read: what is kept on disk is named by a hash of it, and
    must be made of the same even if the file is edited meanwhile.
    """
    return file.read_text(encoding="utf-8")


@cache
def _functions_in(file: str) -> dict[tuple[str, int], ast.FunctionDef]:
    try:
        tree = ast.parse(source_of(Path(file).resolve()))
    except FileNotFoundError:
        return {}
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {(node.name, node.lineno): node for node in functions}


def tree_of(function: Any) -> ast.FunctionDef:
    """The syntax tree of a function.

    Raises:
        OSError: its source is not there.
    """
    code = function.__code__
    functions = _functions_in(code.co_filename)
    if (code.co_name, code.co_firstlineno) not in functions:
        raise OSError(f"the source of {code.co_name} in {code.co_filename} is not there.")
    return functions[code.co_name, code.co_firstlineno]


@cache
def _variables(tree: ast.FunctionDef) -> frozenset[str]:
    """Names that are given something more than once. That of a loop is new in every round."""
    times = {argument.arg: 1 for argument in tree.args.args}
    of_loops = [node.target for node in ast.walk(tree) if isinstance(node, ast.For)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in of_loops:
            times[node.id] = times.get(node.id, 0) + 1
    for name in {target.id for target in of_loops if isinstance(target, ast.Name)} & times.keys():
        times[name] += 1
    # `+=` stores once in the tree
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            times[node.target.id] += 1
    return frozenset(name for name, often in times.items() if often > 1)


class Text:
    """One function's text at one place, from its arguments to its result.

    Attributes:
        result: what it returns: a value, an array, a tuple of them, what is known, or None.

    Raises:
        Unwritable: something in it is nothing for a kernel.
        OSError: the source of a function is not there.
    """

    def __init__(self, writer: Writer, function: Any, arguments: list[Any]) -> None:
        self._writer, self._build, self._function = writer, writer.build, function
        tree = tree_of(function)
        names = [argument.arg for argument in tree.args.args]
        if len(names) != len(arguments):
            raise TypeError(f"{function.__name__} takes {len(names)} arguments")
        self._variables = _variables(tree)
        self._names: dict[str, Any] = {}
        for name, value in zip(names, arguments, strict=True):
            self._bind(name, value)
        self._inside = 0  # branches and loops around the statement
        # of each loop: where `continue` and `break` go
        self._loops: list[tuple[Any, Any]] = []
        self._exit: Any = None
        self._returned: Variable | None = None
        self.result: Any = None
        ended = self._run(tree.body)
        if self._exit is not None:
            if not ended:
                self._build.branch(self._exit)
            self._build.position_at_end(self._exit)
            self.result = self._returned and self._returned.load(writer)

    # -----------------------------------------------------------------------------------------
    # statements: each returns whether what follows is never reached

    def _run(self, statements: list[ast.stmt]) -> bool:
        for node in statements:
            try:
                ended = getattr(self, f"_{type(node).__name__}")(node)
            except (Unwritable, OSError):
                raise
            except Exception as error:
                code = self._function.__code__
                where = f"{code.co_filename}:{node.lineno}, in {code.co_name}"
                raise Unwritable(f"{where}: {type(error).__name__}: {error}") from error
            if ended:
                return True
        return False

    def _Expr(self, node: ast.Expr) -> None:
        self._value(node.value)

    def _Pass(self, node: ast.Pass) -> None:
        pass

    def _Assign(self, node: ast.Assign) -> None:
        value = self._value(node.value)
        for target in node.targets:
            self._give(target, value)

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._give(node.target, self._value(node.value))

    def _AugAssign(self, node: ast.AugAssign) -> None:
        before, value = self._value(node.target), self._value(node.value)
        self._give(node.target, combined(self._build, type(node.op).__name__, before, value))

    def _give(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, value)
        elif isinstance(target, ast.Tuple):
            for one, part in zip(target.elts, value, strict=True):
                self._give(one, part)
        elif isinstance(target, ast.Subscript):
            view = self._value(target.value)
            if isinstance(target.slice, ast.Slice):
                self._fill(view, target.slice, value)
            else:
                at = self._element(view, self._value(target.slice))
                self._build.store(converted(self._build, value, view.kind).llvm, at)
        else:
            raise TypeError(f"nothing can be given to a {type(target).__name__}")

    def _bind(self, name: str, value: Any) -> None:
        if name not in self._variables:
            self._names[name] = value
            return
        if name not in self._names:
            self._names[name] = Variable(self._writer, value)
        self._names[name].store(self._writer, value)

    def _fill(self, view: View, which: ast.Slice, value: Any) -> None:
        if which.lower or which.upper or which.step:
            raise TypeError("only all of an array is filled")
        count: Any = 1
        for size in view.shape:
            count = combined(self._build, "Mult", count, size)
        value = converted(self._build, value, view.kind)

        def store(i: Value) -> bool:
            self._build.store(value.llvm, self._offset(view.at, i))
            return False

        self._repeat(0, count, 1, store)

    def _Return(self, node: ast.Return) -> bool:
        value = None if node.value is None else self._value(node.value)
        if not self._inside and self._exit is None:
            self.result = value
            return True
        if self._exit is None:
            self._exit = self._writer.block("returned")
        if value is not None:
            if self._returned is None:
                self._returned = Variable(self._writer, value)
            self._returned.store(self._writer, value)
        self._build.branch(self._exit)
        return True

    def _If(self, node: ast.If) -> bool:
        test = self._value(node.test)
        if not isinstance(test, Value):
            return self._run(node.body if test else node.orelse)
        *blocks, after = map(self._writer.block, ("then", "else", "after"))
        self._build.cbranch(converted(self._build, test, TRUTH).llvm, *blocks)
        self._inside += 1
        ended = []
        for block, statements in zip(blocks, (node.body, node.orelse), strict=True):
            self._build.position_at_end(block)
            ended.append(self._run(statements))
            if not ended[-1]:
                self._build.branch(after)
        self._inside -= 1
        self._build.position_at_end(after)
        if all(ended):
            self._build.unreachable()
        return all(ended)

    def _While(self, node: ast.While) -> None:
        head = self._writer.block("while")
        self._build.branch(head)
        self._build.position_at_end(head)
        test = self._value(node.test)
        if not isinstance(test, Value) and not test:
            return
        body, after = map(self._writer.block, ("do", "done"))
        test = as_values(self._build, test)
        self._build.cbranch(converted(self._build, test, TRUTH).llvm, body, after)
        self._build.position_at_end(body)
        with self._within(head, after):
            if not self._run(node.body):
                self._build.branch(head)
        self._build.position_at_end(after)

    @contextmanager
    def _within(self, again: Any, after: Any) -> Iterator[None]:
        """A loop around statements: where `continue` and `break` go."""
        self._loops.append((again, after))
        self._inside += 1
        yield
        self._inside -= 1
        self._loops.pop()

    def _Break(self, node: ast.Break) -> bool:
        self._build.branch(self._loops[-1][1])
        return True

    def _Continue(self, node: ast.Continue) -> bool:
        self._build.branch(self._loops[-1][0])
        return True

    def _For(self, node: ast.For) -> None:
        if not (isinstance(node.iter, ast.Call) and self._value(node.iter.func) is range):
            raise TypeError("loops go over a range")
        given = [self._value(one) for one in node.iter.args]
        start, stop, step = (0, *given, 1) if len(given) == 1 else (*given, 1)[:3]

        def run(i: Value) -> bool:
            self._give(node.target, i)
            return self._run(node.body)

        self._repeat(start, stop, step, run)

    def _repeat(self, start: Any, stop: Any, step: int, run: Callable[[Value], bool]) -> None:
        if not (is_known(step) and step > 0):
            raise TypeError("loops have steps that are known, and lead upwards")
        build = self._build
        head, body, following, after = map(self._writer.block, ("for", "each", "next", "done"))
        number = self._writer.room(INT64.llvm)
        last = converted(build, stop, INT64).llvm
        build.store(converted(build, start, INT64).llvm, number)
        build.branch(head)
        build.position_at_end(head)
        build.cbranch(build.icmp_signed("<", build.load(number), last), body, after)
        build.position_at_end(body)
        with self._within(following, after):
            if not run(Value(INT64, build.load(number))):
                build.branch(following)
        build.position_at_end(following)
        by = converted(build, step, INT64).llvm
        build.store(build.add(build.load(number), by, flags=("nsw",)), number)
        build.branch(head)
        build.position_at_end(after)

    # -----------------------------------------------------------------------------------------
    # expressions

    def _value(self, node: ast.expr) -> Any:
        return getattr(self, f"_{type(node).__name__}")(node)

    def _Constant(self, node: ast.Constant) -> Any:
        return node.value

    def _Name(self, node: ast.Name) -> Any:
        if node.id in self._names:
            found = self._names[node.id]
            return found.load(self._writer) if isinstance(found, Variable) else found
        if node.id in self._function.__code__.co_varnames:
            raise NameError(f"{node.id} is read before it is given anything")
        if node.id in self._function.__globals__:
            return self._function.__globals__[node.id]
        return getattr(builtins, node.id)

    def _Tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._value(one) for one in node.elts)

    def _Attribute(self, node: ast.Attribute) -> Any:
        return getattr(self._value(node.value), node.attr)

    def _UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self._value(node.operand)
        if isinstance(node.op, ast.Not):
            return inverted(self._build, value)
        if not isinstance(node.op, ast.USub):
            raise TypeError(f"no meaning for {type(node.op).__name__}")
        return negated(self._build, value)

    def _BinOp(self, node: ast.BinOp) -> Any:
        left, right = self._value(node.left), self._value(node.right)
        return combined(self._build, type(node.op).__name__, left, right)

    def _Compare(self, node: ast.Compare) -> Any:
        (sign,), (other,) = node.ops, node.comparators
        left, right = self._value(node.left), self._value(other)
        return compared(self._build, type(sign).__name__, left, right)

    def _BoolOp(self, node: ast.BoolOp) -> Any:
        value = self._value(node.values[0])
        for other in node.values[1:]:
            value = self._both(value, other, wanted=isinstance(node.op, ast.And))
        return value

    def _both(self, value: Any, other: ast.expr, *, wanted: bool) -> Any:
        """Two parts of an `and` or an `or`; the second is only looked at where it matters."""
        if not isinstance(value, Value):
            return self._value(other) if bool(value) == wanted else value
        decided = ast.Constant(not wanted)
        ways = (other, decided) if wanted else (decided, other)
        return self._chosen(value, ways, TRUTH)

    def _IfExp(self, node: ast.IfExp) -> Any:
        test = self._value(node.test)
        if not isinstance(test, Value):
            return self._value(node.body if test else node.orelse)
        return self._chosen(test, (node.body, node.orelse))

    def _chosen(self, test: Value, ways: tuple[ast.expr, ...], kind: Kind | None = None) -> Value:
        build = self._build
        *blocks, after = map(self._writer.block, ("if", "or", "chosen"))
        build.cbranch(converted(build, test, TRUTH).llvm, *blocks)
        found = []
        for block, node in zip(blocks, ways, strict=True):
            build.position_at_end(block)
            found.append((self._value(node), build.block))
        kind = kind or common_kind(*(value for value, _ in found))
        incoming = []
        for value, block in found:
            build.position_at_end(block)
            incoming.append((converted(build, value, kind).llvm, block))
            build.branch(after)
        build.position_at_end(after)
        either = build.phi(kind.llvm)
        for value, block in incoming:
            either.add_incoming(value, block)
        return Value(kind, either)

    def _Call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise TypeError("arguments are given by position")
        callee, arguments = self._value(node.func), [self._value(one) for one in node.args]
        return called(self._writer, callee, arguments)

    def _Subscript(self, node: ast.Subscript) -> Any:
        value = self._value(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._slice(value, node.slice)
        index = self._value(node.slice)
        if not isinstance(value, View):
            return value[index]
        if len(value.shape) == 1 or type(index) is tuple:
            return Value(value.kind, self._build.load(self._element(value, index)))
        _, width = value.shape
        start = combined(self._build, "Mult", index, width)
        return View(value.kind, self._offset(value.at, start), (width,))

    def _slice(self, view: View, which: ast.Slice) -> View:
        if which.step:
            raise TypeError("a part of an array has all elements between two")
        (size,) = view.shape
        start = 0 if which.lower is None else self._value(which.lower)
        stop = size if which.upper is None else self._value(which.upper)
        count = combined(self._build, "Sub", stop, start)
        return View(view.kind, self._offset(view.at, start), (count,))

    def _element(self, view: View, index: Any) -> Any:
        if len(view.shape) > 1:
            row, column = index
            start = combined(self._build, "Mult", row, view.shape[1])
            index = combined(self._build, "Add", start, column)
        return self._offset(view.at, index)

    def _offset(self, at: Any, index: Any) -> Any:
        return self._build.gep(at, [converted(self._build, index, INT64).llvm])


# ---------------------------------------------------------------------------------------------
# calls


def called(writer: Writer, callee: Any, arguments: list[Any]) -> Any:
    """What a call returns, of anything that a text may call."""
    if isinstance(callee, types.FunctionType):
        return Text(writer, callee, arguments).result
    if isinstance(callee, Instruction):
        return callee.write(writer, *arguments)
    if isinstance(callee, Apart):
        return _called_apart(writer, callee, arguments)
    if callee in OF_PYTHON:
        return OF_PYTHON[callee](writer, *arguments)
    kind = callee if isinstance(callee, Kind) else KINDS[callee]
    (value,) = arguments
    if is_known(value):
        return kind(value)
    return converted(writer.build, value, kind.vector if value.kind.lanes > 1 else kind)


def _called_apart(writer: Writer, callee: Apart, arguments: list[Any]) -> Any:
    form, row = flat(tuple(arguments))
    key = (callee.function, form)
    if key not in writer.beside:
        writer.beside[key] = _written_apart(writer, callee.function, form, row)
    function, result, kinds = writer.beside[key]
    room = writer.room(ir.LiteralStructType(kinds))
    writer.build.call(function, (writer.build.bitcast(room, BYTES), *row))
    found = [writer.build.load(_part(writer.build, room, i)) for i in range(len(kinds))]
    return composed(result, iter(found))


def _written_apart(writer: Writer, text: Any, form: Any, row: list[Any]) -> tuple[Any, Any, Any]:
    """A function, how its result is composed, and the types of the values in that.

    It leaves them at an address, the first argument: the types are only known at its end.
    """
    kind = ir.FunctionType(ir.VoidType(), (BYTES, *(one.type for one in row)))
    name = f"{text.__name__}.{len(writer.beside)}"
    function = ir.Function(writer.module, kind, writer.module.get_unique_name(name))
    function.linkage = "internal"
    function.attributes.add("noinline")
    inner = Writer(function, writer.beside)
    into, *given = function.args
    arguments = composed(form, iter(given))
    result, left = flat(as_values(inner.build, Text(inner, text, list(arguments)).result))
    kinds = [one.type for one in left]
    room = inner.build.bitcast(into, ir.LiteralStructType(kinds).as_pointer())
    for i, one in enumerate(left):
        inner.build.store(one, _part(inner.build, room, i))
    inner.end()
    return function, result, kinds


def _part(build: Any, room: Any, number: int) -> Any:
    return build.gep(room, [ir.Constant(INDEX, 0), ir.Constant(INDEX, number)])


def _length(writer: Writer, view: View) -> Any:
    return view.shape[0]


def _extreme(sign: str, of_python: Callable[..., Any]) -> Callable[..., Any]:
    def write(writer: Writer, one: Any, other: Any) -> Any:
        if is_known(one) and is_known(other):
            return of_python(one, other)
        one, other = (converted(writer.build, value, INT64) for value in (one, other))
        first = compared(writer.build, sign, one, other)
        return Value(INT64, writer.build.select(first.llvm, one.llvm, other.llvm))

    return write


def _absolute(writer: Writer, value: Value) -> Value:
    kind = value.kind
    function = writer.declared(f"llvm.fabs.{kind.suffix}", kind.llvm, (kind.llvm,))
    return Value(kind, writer.build.call(function, (value.llvm,)))


def _empty(writer: Writer, shape: Any, kind: Any) -> View:
    """An array that is the function's until it returns."""
    kind = KINDS.get(kind, kind)
    shape = shape if type(shape) is tuple else (shape,)
    size: Any = kind.size
    for axis in shape:
        size = combined(writer.build, "Mult", axis, size)
    address = writer.heap(converted(writer.build, size, INT64).llvm)
    return View(kind, writer.build.bitcast(address, kind.llvm.as_pointer()), shape)


OF_PYTHON: dict[Any, Callable[..., Any]] = {
    len: _length,
    min: _extreme("Lt", min),
    max: _extreme("Gt", max),
    abs: _absolute,
    np.empty: _empty,
}
