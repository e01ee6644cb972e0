"""Matrices transposed in registers: with the masks of one kind of processor and without, on any."""

import ctypes

import numpy as np
import pytest

pytest.importorskip("numba")

from refocal.kernels.cpu.compiled.memory import view
from refocal.kernels.cpu.compiled.tiles import transposer
from texts import address

MOST = 35  # more than two squares of the widest


def transposed(base):
    slots = view(base, 6, np.int64)
    transpose_all(slots[0], slots[1], slots[2], slots[3], slots[4], slots[5])  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_every_size_and_nothing_beside(number, masked):
    at = address(transposed, transpose_all=transposer(number, masked))
    kernel = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(at)
    source = np.random.default_rng(0).normal(size=(MOST, MOST + 3)).astype(number)
    for rows in range(MOST + 1):
        for columns in range(MOST + 1):
            found = np.zeros((MOST, MOST + 5), number)
            sizes = (source.shape[1], rows, columns)
            frame = np.array([source.ctypes.data, *sizes, found.ctypes.data, found.shape[1]])
            kernel(frame.ctypes.data)
            expected = np.zeros_like(found)
            expected[:columns, :rows] = source[:rows, :columns].T
            np.testing.assert_array_equal(found, expected)
