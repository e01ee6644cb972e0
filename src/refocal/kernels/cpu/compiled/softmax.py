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

from refocal.kernels.cpu import frame
from refocal.kernels.cpu.compiled import columns, pool, positions, rows, vectors
from refocal.kernels.cpu.compiled.binding import called, compiled, inlined, part, rebound
from refocal.kernels.cpu.compiled.common import accumulated, real_type, softmax_names
from refocal.kernels.cpu.compiled.dtypes import STORAGE
from refocal.kernels.cpu.compiled.math import formula_of, operations
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


def over_vectors(kernel: SoftmaxKernel, names: dict[str, Any]) -> dict[str, Any]:
    """What some functions find under names that mean numbers elsewhere."""
    number = real_type(kernel)
    copied = kernel.layout in ("transposed", "scattered")
    in_place = np.dtype(number).name if copied else kernel.logits
    bound = {
        **names,
        **operations(number, vector=True),
        **formula_of(number, kernel.modulator, kernel.detached, True, vector=True),
        "integer": names["integer"],  # what an index lies in memory as
        "take": vectors.STORAGE[np.dtype(number).name][0],
        "put": vectors.put,
        "take_logits": vectors.STORAGE[in_place][0],
        "put_slopes": vectors.STORAGE[in_place][1],
        "SOURCE_SIZE": STORAGE[in_place].size,
        "take_classes": vectors.take,
        "all_of": vectors.all_of,
        "lane_numbers": vectors.lane_numbers,
        "largest_of": vectors.largest_of,
        "sum_of": vectors.sum_of,
    }
    bound["accumulated"] = part(called, accumulated, bound)
    return bound


@cache
def address(kernel: SoftmaxKernel) -> int:
    """Returns the address of a kernel's C function, compiled or from the cache on disk."""
    number, logits = real_type(kernel), STORAGE[kernel.logits]
    names: dict[str, Any] = {
        **vars(positions),
        **(vars(rows) if kernel.layout == "rows" else vars(columns)),
        **softmax_names(kernel, log1p_given=True),
    }
    names["is_plain"] = part(inlined, positions.is_plain, names)
    names_of_vectors = over_vectors(kernel, names)

    def bind(*functions: Any, of: dict[str, Any]) -> None:
        for function in functions:
            names[function.__name__] = part(compiled, function, of)

    bind(positions.losses_of, of=names_of_vectors)
    bind(positions.describe, positions.total_of, positions.total_losses, of=names)
    if kernel.layout == "rows":
        names_of_vectors["rear_of"] = part(called, rows.rear_of, names_of_vectors)
        bind(rows.fetch, rows.advance, rows.leave, of=names_of_vectors)
        bind(rows.largest_in, rows.hold, of=names_of_vectors)
        bind(rows.settle, of=names)
        kernel_function = rows.kernel_of_rows
    else:
        steps = (columns.rivals_of, columns.exponentials_of, columns.slopes_of)
        bind(*steps, of=names_of_vectors)
        bind(columns.copy_rows, of=names)
        names["read_tile"] = reader(kernel.layout, frame.LOGITS, logits, number)
        names["write_tile"] = writer(kernel.layout, frame.GRADIENT, logits, number)
        kernel_function = columns.kernel_of_tile
    return pool.kernel_address(rebound(kernel_function, names), pool.name_of("softmax", kernel))
