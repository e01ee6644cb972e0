"""The softmax kernel for class indices: each logit is read once, its gradient written once.

A block is a group of positions, small enough to stay in the cache between the passes that a softmax
takes: the largest rival, the rivals' exponentials and their sum, the margin, the gradient. What
differs is how a group lies in memory, and with it what a vector runs over:

* "rows": many classes, side by side. Vectors run along the classes of one position. One loop has
  three positions under way: one comes, one becomes exponentials, one leaves as a gradient.
* "transposed": few classes, side by side. The group is transposed into a buffer, and vectors run
  over positions: of the classes of one, a vector of 16 has 10 at work, or 16 and then 4.
* "adjacent": classes along axis 1, positions behind it side by side (images, volumes). As
  "transposed", but nothing has to be transposed.
* "scattered": the same with too few positions behind a class to fill a vector.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from refocal.formula.binding import rebound
from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import columns, pool, positions, rows, vectors
from refocal.kernels.cpu.compiled.common import real_type, softmax_names
from refocal.kernels.cpu.compiled.dtypes import STORAGE, vectors_of
from refocal.kernels.cpu.compiled.text import apart
from refocal.kernels.cpu.compiled.tiles import reader, writer


class SoftmaxKernel(NamedTuple):
    """What a kernel is compiled for.

    Attributes:
        logits: dtype of logits, gradient and unreduced losses.
        targets: dtype of the class indices.
        layout: "rows", "transposed", "adjacent" or "scattered".
        modulator: a key of `formula.MODULATORS`.
        detached: no gradient through the modulator.
        gradient: whether the gradient is written.
    """

    logits: str
    targets: str
    layout: str
    modulator: str
    detached: bool
    gradient: bool


def vector_names(kernel: SoftmaxKernel) -> dict[str, Any]:
    """Under which names vectors come from memory and go there."""
    number = real_type(kernel)
    copied = kernel.layout in ("transposed", "scattered")
    in_place = np.dtype(number).name if copied else kernel.logits
    take_logits, put_slopes = vectors_of(in_place)
    return {
        "take": vectors_of(np.dtype(number).name)[0],
        "put": vectors.put,
        "take_logits": take_logits,
        "put_slopes": put_slopes,
        "SOURCE_SIZE": STORAGE[in_place].size,
        "take_classes": vectors.take,
        "all_of": vectors.all_of,
        "lane_numbers": vectors.lane_numbers,
        "largest_of": vectors.largest_of,
        "sum_of": vectors.sum_of,
    }


@cache
def address(kernel: SoftmaxKernel) -> int:
    """Returns the address of a kernel's C function, compiled or from the cache on disk."""
    number, logits = real_type(kernel), STORAGE[kernel.logits]
    room: Any = rows if kernel.layout == "rows" else columns
    names: dict[str, Any] = {
        **vars(positions),
        **vars(room),
        **softmax_names(kernel, log1p_given=True),
        **vector_names(kernel),
    }
    for function in (positions.is_plain, rows.rear_of):
        names[function.__name__] = rebound(function, names)
    for function in (*positions.STEPS, *room.STEPS):
        names[function.__name__] = apart(rebound(function, names))
    if room is columns:
        names["read_tile"] = reader(kernel.layout, frame.LOGITS, logits, number)
        names["write_tile"] = writer(kernel.layout, frame.GRADIENT, logits, number)
    return pool.kernel_address(rebound(room.kernel, names), pool.name_of("softmax", kernel))
