"""What the calls of all compiled kernels share: dtypes, the frame, the launch."""

from __future__ import annotations

import ctypes
import math
import struct
from functools import cache
from typing import Any

import torch
from torch import Tensor

from refocal.kernels.cpu import frame, threads
from refocal.problem import Number

FLOATS = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
DTYPES = {
    **FLOATS,
    torch.bool: "bool",
    torch.uint8: "uint8",
    torch.int8: "int8",
    torch.int16: "int16",
    torch.int32: "int32",
    torch.int64: "int64",
}
# Logits below which waking the other threads costs more than they save.
SERIAL_BELOW = 32_768
SINGLE_MAX = torch.finfo(torch.float32).max


# a fraction of the cost of torch.empty(()); on the CPU, whatever torch's default device is
_SINGLE = torch.zeros((), dtype=torch.float32, device="cpu")
_DOUBLE = torch.zeros((), dtype=torch.float64, device="cpu")


def scalar(*, double: bool) -> Tensor:
    """A 0-d tensor for a kernel to write."""
    return torch.empty_like(_DOUBLE if double else _SINGLE)


def address(tensor: Tensor | None) -> int:
    """Returns where a tensor's elements lie; 0, "not given" to a kernel, only of None."""
    if tensor is None:
        return 0
    at = tensor.data_ptr()
    if at == 0 and tensor.numel():
        raise RuntimeError(f"a tensor of shape {tuple(tensor.shape)} has no memory of its own")
    return at


def double_bits(value: float) -> int:
    """The bits of a double as the integer of a slot."""
    bits: int = _BITS.unpack(_DOUBLE_BYTES.pack(value))[0]
    return bits


_BITS, _DOUBLE_BYTES = struct.Struct("=q"), struct.Struct("=d")


@cache
def slots_type(count: int) -> Any:
    return ctypes.c_int64 * count


@cache
def packer(layout: str, double: bool) -> struct.Struct:
    """A run of slots: "q" an integer, "d" a double, "r" a number in the computing dtype."""
    return struct.Struct("=" + layout.replace("r", "d" if double else "f4x"))


def launch(
    kernel: int, layout: struct.Struct, values: tuple[Any, ...], blocks: int, logits: int
) -> Any:
    """Runs a kernel over a new frame.

    Args:
        kernel: its address.
        layout: of ``values``.
        values: the slots from RESULT_IS_DOUBLE on.
        blocks: how many blocks there are.
        logits: how many logits, by which the number of threads is chosen.

    Returns:
        The frame, for `relaunch` and for what the kernel has left there.
    """
    team = threads.threads_for(logits >= SERIAL_BELOW)
    slots = slots_type(frame.COUNTERS + frame.COUNTER_STRIDE * team + blocks)()
    slots[frame.THREADS] = team
    slots[frame.BLOCKS] = blocks
    slots[frame.KERNEL] = kernel
    layout.pack_into(slots, 8 * frame.RESULT_IS_DOUBLE, *values)
    threads.run(team_address(), slots, team)
    return slots


def relaunch(kernel: int, slots: Any) -> None:
    """Runs another kernel over the blocks that the first has left undone."""
    team = slots[frame.THREADS]
    slots[frame.KERNEL] = kernel
    slots[frame.REDO] = 1
    slots[frame.FINISHED] = slots[frame.REJECTED] = 0
    for thread in range(team):
        slots[frame.COUNTERS + frame.COUNTER_STRIDE * thread] = 0
    threads.run(team_address(), slots, team)


@cache
def team_address() -> int:
    """Address of what runs the kernels, compiled or from the cache on disk."""
    from refocal.kernels.cpu.compiled import pool

    return pool.team_address()


def number(value: Number) -> Number:
    """A tensor of one element as a plain number."""
    if type(value) is float:
        return value
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def representable(value: float, *, double: bool) -> float:
    """Infinity for what float32 cannot hold: struct would raise."""
    return value if double or abs(value) <= SINGLE_MAX else math.copysign(math.inf, value)


def dense(tensor: Tensor) -> Tensor:
    """A tensor whose memory holds its values in order."""
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    return tensor.contiguous()
