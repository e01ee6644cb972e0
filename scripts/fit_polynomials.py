"""Fits polynomials for exp and log1p as src/refocal/kernels/cpu/compiled/math.py needs them.

    python scripts/fit_polynomials.py   # ten seconds

Prints, for each function and dtype, the largest relative error in exact arithmetic, in eps of the
dtype, and whether the library has these coefficients; then the coefficients in the form in which
the library writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath
import numpy as np
from mpmath import mp, mpf

from refocal.kernels.cpu.compiled.math import EXP_COEFFICIENTS, LOG1P_COEFFICIENTS

Coefficients = list[mpf]  # of a whole polynomial, lowest power first
Library = dict[type, tuple[float, ...]]  # what follows the known ones, highest power first

# An error of 0.02 eps is less than arithmetic in float64 resolves; and powers of x are so nearly
# dependent that equations for twenty of them lose eighteen digits more.
mp.prec = 200
GRID_POINTS_PER_NODE = 50
EXCHANGES = 100


@dataclass(frozen=True)
class Function:
    """A function, its interval, and the first coefficients, which are not fitted."""

    name: str
    value: Callable[[mpf], mpf]
    low: mpf
    high: mpf
    known: tuple[int, int]
    library: Library


# In floating point the reduced argument of exp exceeds ln 2 / 2 = 0.346574 a little.
EXP = Function("EXP", mpmath.exp, mpf("-0.3466"), mpf("0.3466"), (1, 1), EXP_COEFFICIENTS)
LOG1P = Function("LOG1P", mpmath.log1p, mpf(0), mpf(1), (0, 1), LOG1P_COEFFICIENTS)


def chebyshev_points(low: mpf, high: mpf, count: int) -> list[mpf]:
    """Both ends among them, and closer together near the ends, where a fit's error is steep."""
    return [
        (low + high - (high - low) * mpmath.cospi(mpf(i) / (count - 1))) / 2 for i in range(count)
    ]


class Samples:
    """Points of the interval with the function's values there.

    Without 0, where every error is 0.
    """

    def __init__(self, function: Function, count: int) -> None:
        points = chebyshev_points(function.low, function.high, count)
        self.points = [x for x in points if x != 0]
        self.values = [function.value(x) for x in self.points]

    def errors(self, coefficients: Coefficients) -> list[mpf]:
        """Relative errors of a polynomial."""
        descending = coefficients[::-1]
        return [
            mpmath.polyval(descending, x) / value - 1
            for x, value in zip(self.points, self.values, strict=True)
        ]

    def spread(self, count: int) -> list[int]:
        """Indices of so many points, themselves Chebyshev's: where the first exchange starts."""
        return [round(i * (len(self.points) - 1) / (count - 1)) for i in range(count)]


def levelled(
    samples: Samples, nodes: Sequence[int], fixed: Coefficients, free: int
) -> Coefficients:
    """The polynomial whose error at the nodes has one size and alternating sides."""
    powers = range(len(fixed), len(fixed) + free)
    matrix, wanted = mp.matrix(free + 1), mp.matrix(free + 1, 1)
    for row, node in enumerate(nodes):
        x, value = samples.points[node], samples.values[node]
        for column, power in enumerate(powers):
            matrix[row, column] = x**power / value
        matrix[row, free] = (-1) ** row * side(x, len(fixed))
        wanted[row] = 1 - mpmath.polyval(fixed[::-1], x) / value
    solution = mp.lu_solve(matrix, wanted)
    return [*fixed, *solution[:free]]


def side(x: mpf, lowest_power: int) -> int:
    """The sign of the lowest free power.

    Errors alternate only once this is divided out: what can be added to the polynomial is this
    power times a polynomial, and where an odd power changes its sign, so does the whole.
    """
    return -1 if x < 0 and lowest_power % 2 else 1


def peaks(errors: Sequence[mpf], count: int) -> list[int]:
    """Where the errors are largest: so many indices, at which they alternate in sign."""
    found: list[int] = []
    for i, error in enumerate(errors):
        if not found or (error > 0) != (errors[found[-1]] > 0):
            found.append(i)
        elif abs(error) > abs(errors[found[-1]]):
            found[-1] = i
    while len(found) > count:
        # An inner peak leaves with its smaller neighbour, or two of one sign would meet.
        single = len(found) == count + 1
        candidates = (0, len(found) - 1) if single else range(len(found))
        least = min(candidates, key=lambda k: abs(errors[found[k]]))
        if 0 < least < len(found) - 1:
            around = found[least - 1], found[least + 1]
            found[least - 1 : least + 2] = [max(around, key=lambda i: abs(errors[i]))]
        else:
            del found[least]
    return found


def minimax(
    samples: Samples, nodes: Sequence[int], fixed: Coefficients, free: int
) -> tuple[Coefficients, list[int]]:
    """The polynomial of least relative error that begins with fixed coefficients, and its peaks."""
    nodes = list(nodes)
    for _ in range(EXCHANGES):
        fitted = levelled(samples, nodes, fixed, free)
        errors = samples.errors(fitted)
        sided = [e * side(x, len(fixed)) for e, x in zip(errors, samples.points, strict=True)]
        moved = peaks(sided, free + 1)
        if moved == nodes:
            return fitted, nodes
        nodes = moved
    raise ArithmeticError(f"no fit after {EXCHANGES} exchanges")


def rounded_fit(function: Function, real: type) -> Coefficients:
    """Coefficients of the dtype: each is rounded before those of higher powers are fitted anew.

    The lowest first: its rounding weighs most, and all others can make up for it.
    """
    free = len(function.library[real])
    samples = Samples(function, GRID_POINTS_PER_NODE * (free + 1))
    fixed = [mpf(known) for known in function.known]
    nodes = samples.spread(free + 1)
    while free:
        fitted, nodes = minimax(samples, nodes, fixed, free)
        fixed = [*fixed, mpf(fitted[len(fixed)], prec=np.finfo(real).nmant + 1)]
        free -= 1
        nodes = nodes[1:]  # one unknown less; the others are a good start for what is left
    return fixed


def largest_error(function: Function, coefficients: Coefficients, real: type) -> float:
    """In units of the dtype's eps."""
    samples = Samples(function, 2000)
    return float(max(map(abs, samples.errors(coefficients))) / np.finfo(real).eps)


def in_library(function: Function, real: type) -> Coefficients:
    """The coefficients that stand in the library."""
    return [mpf(c) for c in (*function.known, *function.library[real][::-1])]


def print_errors(function: Function, fits: dict[type, Coefficients]) -> None:
    for real, fit in fits.items():
        kept = "as" if fit == in_library(function, real) else "not as"
        error = largest_error(function, fit, real)
        print(f"{function.name.lower()}, {real.__name__}: {error:.4f} eps, {kept} in the library")


def print_coefficients(function: Function, fits: dict[type, Coefficients]) -> None:
    """As compiled/math.py writes them, highest power first."""
    print(f"\n{function.name}_COEFFICIENTS: dict[type, tuple[float, ...]] = {{")
    for real, fit in fits.items():
        print(f"    np.{real.__name__}: (")
        for coefficient in fit[:1:-1]:
            print(f"        {float(coefficient)!r},")
        print("    ),")
    print("}")


def main() -> None:
    fitted = [(one, {real: rounded_fit(one, real) for real in one.library}) for one in (EXP, LOG1P)]
    for function, fits in fitted:
        print_errors(function, fits)
    for function, fits in fitted:
        print_coefficients(function, fits)


if __name__ == "__main__":
    main()
