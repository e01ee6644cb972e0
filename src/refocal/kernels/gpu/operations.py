"""The book over Triton blocks, bound for Triton's compiler or for its interpreter.

The compiler takes the copies as `triton.jit` functions whose constants are literals; the
interpreter takes plain functions. Which of the two runs is decided by the environment
(``TRITON_INTERPRET=1``) when the functions are made.

The operations are built from what a GPU has as instructions: 2**x, fused multiply-add, a
reciprocal square root. The sigmoid kernels go one step further: `Margin` below orders the
arithmetic by the larger side of the logit, which the text cannot know.
docs/decisions/0003-lean-triton-arithmetic.md says what that saves, and
tests/gpu/in_interpreter.py holds both to the formula's tolerance.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import math
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from refocal import formula, problem


@triton.jit
def _probe():  # type: ignore[no-untyped-def]
    pass


# asked of the decorator itself: the environment may have changed since Triton read it
INTERPRETED = isinstance(_probe, InterpretedFunction)


class Literals(ast.NodeTransformer):
    """Writes numbers in place of the names of constants, and drops annotations of values.

    Triton compares every global that a kernel reaches with what it was at compilation, at every
    launch: twenty constants of a polynomial take longer than the launch itself.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.names.get(node.id)
        if not isinstance(node.ctx, ast.Load) or type(value) not in (float, int):
            return node
        return ast.copy_location(ast.Constant(value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = []
        node.returns = None
        for argument in node.args.args:
            kind = argument.annotation
            if not (isinstance(kind, ast.Attribute) and kind.attr == "constexpr"):
                argument.annotation = None
        return self.generic_visit(node)


def with_literals(function: Any) -> Any:
    """The same function with its constants written out in the source, which Triton reads."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    source = (
        ast.unparse(ast.fix_missing_locations(Literals(function.__globals__).visit(tree))) + "\n"
    )
    file = f"<{function.__module__}.{function.__name__} with literals>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    made: dict[str, Any] = {}
    exec(compile(source, file, "exec"), function.__globals__, made)
    written = made[function.__name__]
    written.__module__ = function.__module__
    return written


def helper(function: Any) -> Any:
    """A function that kernels and copies of the formula may call."""
    return function if INTERPRETED else triton.jit(with_literals(function))


def kernel(*unspecialised: str) -> Callable[[Any], Any]:
    """A kernel. It is not compiled anew for other values of the ``unspecialised`` arguments."""

    def wrap(function: Any) -> Any:
        text = function if INTERPRETED else with_literals(function)
        return triton.jit(text, do_not_specialize=list(unspecialised))

    return wrap


INFINITY = math.inf
LARGEST = 3.4028234663852886e38
FAR = formula.FAR
ROUNDING_OF_SINGLES = problem.ROUNDING_OF_SINGLES
ROUNDING_OF_HALF = problem.ROUNDING[torch.float16]
ROUNDING_OF_BRAIN = problem.ROUNDING[torch.bfloat16]
LOG2E = 1.4426950408889634
LN2 = 0.6931471824645996  # ln 2 as float32, and what that leaves of it
LN2_LOW = -1.904654299957768e-09
LOWEST = -200.0  # exp of it is 0 in float32

# log1p(x) = x + x**2 Q(x) on [0, 1], minimax of the relative error by Remez exchange: 3.3e-8
Q0 = -0.499996479738
Q1 = 0.333213228442
Q2 = -0.248571655345
Q3 = 0.191536626622
Q4 = -0.137538198632
Q5 = 0.0792047562179
Q6 = -0.0300659366261
Q7 = 0.0053648625214
# the same for results that are rounded to half precision: 9.6e-6
H0 = -0.499539454686
H1 = 0.326225933936
H2 = -0.212403807647
H3 = 0.103592203832
H4 = -0.0247343736159


@helper
def quick_exp(t):  # type: ignore[no-untyped-def]
    """e**t in two instructions: the rounding of t log2(e) costs |t| / 2 ulp."""
    return tl.exp2(t * LOG2E)


@helper
def exp(t):  # type: ignore[no-untyped-def]
    """e**t for t up to about 20: 2**h e**(t - h ln 2), whatever h = t log2(e) was rounded to.

    Held above LOWEST, because an infinite t would leave inf - inf. NaN stays.
    """
    t = tl.maximum(t, LOWEST, propagate_nan=tl.PropagateNan.ALL)
    h = t * LOG2E
    rest = tl.fma(-h, LN2_LOW, tl.fma(-h, LN2, t))
    power = tl.exp2(h)
    return tl.fma(power, rest, power)


@helper
def log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x) for 0 <= x <= 1, within 2 ulp."""
    q = tl.fma(x, Q7, Q6)
    q = tl.fma(x, q, Q5)
    q = tl.fma(x, q, Q4)
    q = tl.fma(x, q, Q3)
    q = tl.fma(x, q, Q2)
    q = tl.fma(x, q, Q1)
    q = tl.fma(x, q, Q0)
    return tl.fma(x * x, q, x)


@helper
def quick_log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x) for 0 <= x <= 1, within 2 % of half a float16 ulp."""
    q = tl.fma(x, H4, H3)
    q = tl.fma(x, q, H2)
    q = tl.fma(x, q, H1)
    q = tl.fma(x, q, H0)
    return tl.fma(x * x, q, x)


# The interpreter exchanges what the module `tl` holds, so its functions are looked up when called.
@helper
def where(condition, if_true, if_false):  # type: ignore[no-untyped-def]
    return tl.where(condition, if_true, if_false)


@helper
def fma(a, b, c):  # type: ignore[no-untyped-def]
    return tl.fma(a, b, c)


@helper
def log(t):  # type: ignore[no-untyped-def]
    return tl.log(t)


@helper
def at_most(value, limit):  # type: ignore[no-untyped-def]
    return tl.minimum(value, limit, propagate_nan=tl.PropagateNan.ALL)


@helper
def at_least(value, limit):  # type: ignore[no-untyped-def]
    return tl.maximum(value, limit, propagate_nan=tl.PropagateNan.ALL)


OPERATIONS = {
    "exp": exp,
    "exp_of_term": quick_exp,
    "log": log,
    "log1p": log1p,
    "where": where,
    "fma": fma,
    "at_most": at_most,
    "at_least": at_least,
    **formula.CONSTANTS,
    "LARGEST": LARGEST,
}


@cache
def bound(modulator: str) -> SimpleNamespace:
    """The book over Triton blocks; "compensated" is the modulator of a general gamma."""
    return formula.bind(OPERATIONS, modulator, wrap=helper)


BOOK = bound("zero")
finite, term, against, weighed, smoothed = (
    BOOK.finite,
    BOOK.term,
    BOOK.against,
    BOOK.weighed,
    BOOK.smoothed,
)


# ---------------------------------------------------------------------------------------------
# the lean sequence of the sigmoid kernels


@helper
def sides(z, PRECISE):  # type: ignore[no-untyped-def]
    """What both classes need of a logit: |z|, log1p(e**-|z|), and the larger and smaller of p, q.

    1 / (1 + x) is the square of a reciprocal square root: two instructions where a division is
    eight.
    """
    size = tl.abs(z)
    if PRECISE:
        x = exp(-size)
        low = log1p(x)
    else:
        x = quick_exp(-size)
        low = quick_log1p(x)
    root = tl.rsqrt(1.0 + x)
    large = root * root
    return size, low, large, x * large


@helper
def steepness(p, q, ce, gamma, MODULATOR, DETACHED):  # type: ignore[no-untyped-def]
    """-F' / q**gamma: the bracket q + gamma p ce, or what a held modulator leaves of it."""
    bracket = q
    if not DETACHED and MODULATOR != "zero":
        bracket = q + gamma * (p * ce)
    return bracket
