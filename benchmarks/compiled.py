"""Inside torch.compile on the CPU: the Numba kernel as an operator beside Inductor's code.

python -m benchmarks.compiled
python -m benchmarks.compiled --save
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import refocal
from benchmarks import measure, table
from benchmarks.cases import DENSE, PROVIDERS, Case, Loss, inputs

RESULTS = Path(__file__).parent / "results" / "compiled.csv"
CASES = (
    Case("sigmoid", (4_000_000,)),
    Case("sigmoid", (4_000_000,), gamma=1.5),
    Case("softmax", (65_536, 10)),
    Case("softmax", (8_192, 1_000)),
    *(Case(link, (4_000_000,)) for link in DENSE),
)
FUNCTIONS = {"sigmoid": refocal.sigmoid_focal_loss, "softmax": refocal.softmax_focal_loss}


def loss_of(case: Case, provider: str) -> Loss:
    """The kernel as an operator, or what Inductor is to make code of."""
    if case.link in DENSE:  # which know no impl: beside what detectors write
        return PROVIDERS[case.link]["refocal" if provider == "operator" else "recipe"](case.gamma)
    # "eager" is traced as plain operations
    impl = "cpu" if provider == "operator" else "eager"
    return partial(FUNCTIONS[case.link], gamma=case.gamma, impl=impl)


def compiled(case: Case, provider: str) -> Callable[[], object]:
    """Forward and backward of the loss of twice the logits: something to fuse with."""
    logits, targets = inputs(case)
    logits.requires_grad_()
    function = loss_of(case, provider)
    loss = torch.compile(lambda z: function(2 * z, targets), fullgraph=True, dynamic=False)

    def run() -> object:
        logits.grad = None
        loss(logits).backward()
        return logits.grad

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="per case")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS}")
    options = parser.parse_args()
    measure.warm_library_pages()
    rows = []
    for case in CASES:
        torch._dynamo.reset()
        runs = {provider: compiled(case, provider) for provider in ("operator", "inductor")}
        for name, stats in measure.measure(runs, options.seconds).items():
            row = {
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "link": case.link,
                "shape": "x".join(map(str, case.shape)),
                "gamma": case.gamma,
                "provider": name,
                "runtime_ms": f"{stats.runtime_ms:.4g}",
                "spread_ms": f"{stats.spread_ms:.2g}",
            }
            rows.append(row)
            print(*row.values(), flush=True)
    if options.save:
        table.save(RESULTS, rows)


if __name__ == "__main__":
    main()
