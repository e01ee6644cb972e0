"""What a tile and a prefetch distance cost the sigmoid kernel: ``python -m scripts.sigmoid_tiles``.

Forward and backward in float32 on one thread, nanoseconds per element, the least of many runs;
every shape in a process of its own, several rounds of all of them. The processor is printed: the
choice in `refocal.kernels.cpu.compiled.sigmoid.stride_of` is by its kind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

STRIDES = ((128, 512), (128, 0), (256, 0), (512, 0), (1024, 0), (1024, 2048))
SIZES = (100_000, 1_000_000)
GAMMAS = (2.0, 1.5)


def measure(tile: int, ahead: int) -> None:
    """Prints a row of a table."""
    import torch

    from refocal import sigmoid_focal_loss
    from refocal.kernels.cpu.compiled import sigmoid

    sigmoid.stride_of = lambda host: sigmoid.Stride(tile, ahead)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    cells = []
    for size in SIZES:
        logits = torch.randn(size, generator=generator).mul_(3).requires_grad_()
        targets = (torch.rand(size, generator=generator) < 0.1).float()
        for gamma in GAMMAS:
            least = float("inf")
            for _ in range(30_000_000 // size):
                logits.grad = None
                start = time.perf_counter()
                sigmoid_focal_loss(logits, targets, gamma=gamma, impl="cpu").backward()
                least = min(least, time.perf_counter() - start)
            cells.append(f"{least / size * 1e9:.2f}")
    print(f"| {tile}, {f'{ahead} ahead' if ahead else 'no prefetch'} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        measure(*options.only)
        return
    from llvmlite.binding import get_host_cpu_name

    print(f"processor: {get_host_cpu_name()}")
    print("| tile | " + " | ".join(f"{s:.0e}, gamma {g:g}" for s in SIZES for g in GAMMAS) + " |")
    for _ in range(options.rounds):
        for stride in STRIDES:
            with tempfile.TemporaryDirectory() as cache:  # the kernels' name does not say the tile
                subprocess.run(
                    [sys.executable, "-m", "scripts.sigmoid_tiles", "--only", *map(str, stride)],
                    env={**os.environ, "NUMBA_CACHE_DIR": cache},
                    check=True,
                )


if __name__ == "__main__":
    main()
