"""Jitted value and gradient in JAX beside optax's losses: a table on docs/frameworks.md.

    python -m benchmarks.in_jax           # prints it
    python -m benchmarks.in_jax --save    # keeps the rows, and puts the table on the page

Where JAX or optax is missing a line says so, and nothing is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import table

RESULTS = Path(__file__).parent / "results" / "jax.csv"
PAGE = Path(__file__).parent.parent / "docs" / "frameworks.md"
PROVIDERS = ("refocal", "optax focal", "optax cross-entropy")


class Case(NamedTuple):
    """One measurement: float32 logits, and hard targets as integers."""

    title: str
    shape: tuple[int, ...]
    gamma: float = 2.0


CASES = (
    Case("sigmoid, 1e6, gamma 2", (1_000_000,)),
    Case("sigmoid, 1e6, gamma 1.5", (1_000_000,), 1.5),
    Case("softmax, 65,536 × 10", (65_536, 10)),
    Case("softmax, 65,536 × 100", (65_536, 100)),
    Case("softmax, 8,192 × 1,000", (8_192, 1_000)),
    Case("softmax, 1,024 × 32,000", (1_024, 32_000)),
    Case("softmax, 2 × 21 × 128 × 128", (2, 21, 128, 128)),
)


def inputs(case: Case) -> tuple[Any, Any]:
    """Logits of a model in training, and targets: 10 % positives, or uniform classes."""
    import jax

    key, other = jax.random.split(jax.random.key(0))
    logits = 3 * jax.random.normal(key, case.shape)
    if len(case.shape) == 1:
        return logits, jax.random.bernoulli(other, 0.1, case.shape).astype(int)
    rows, classes, *image = case.shape
    return logits, jax.random.randint(other, (rows, *image), 0, classes)


def losses(case: Case) -> dict[str, Callable[[Any, Any], Any]]:
    """Means of hard targets. optax has no focal loss of a softmax."""
    from optax import losses as optax

    from refocal.jax import sigmoid_focal_loss, softmax_focal_loss

    if len(case.shape) > 1:
        plain = partial(optax.softmax_cross_entropy_with_integer_labels, axis=1)
        return {
            "refocal": partial(softmax_focal_loss, gamma=case.gamma),
            "optax cross-entropy": lambda z, y: plain(z, y).mean(),
        }
    focal = partial(optax.sigmoid_focal_loss, alpha=0.25, gamma=case.gamma)
    return {
        "refocal": partial(sigmoid_focal_loss, gamma=case.gamma),
        "optax focal": lambda z, y: focal(z, y).mean(),
        "optax cross-entropy": lambda z, y: optax.sigmoid_binary_cross_entropy(z, y).mean(),
    }


def measured(case: Case, seconds: float) -> list[dict[str, Any]]:
    """A row of every provider, in turns with one another."""
    import jax
    import optax

    from benchmarks import measure

    logits, targets = inputs(case)

    def run(step: Any) -> Callable[[], object]:
        return lambda: jax.block_until_ready(step(logits, targets))

    runs = {name: run(jax.jit(jax.value_and_grad(loss))) for name, loss in losses(case).items()}
    return [
        {
            "jax": jax.__version__,
            "optax": optax.__version__,
            "device": jax.devices()[0].device_kind,
            "case": case.title,
            "provider": name,
            "runtime_ms": f"{stats.runtime_ms:.4g}",
            "spread_ms": f"{stats.spread_ms:.2g}",
        }
        for name, stats in measure.measure(runs, seconds).items()
    ]


def section(rows: list[dict[str, str]]) -> str:
    """Markdown: what others take, as multiples of refocal's time."""
    lines = [
        "| jitted value and gradient | refocal | optax's focal loss | optax's cross-entropy |",
        "| --- | ---: | ---: | ---: |",
    ]
    for title in dict.fromkeys(row["case"] for row in rows):
        times = {r["provider"]: float(r["runtime_ms"]) for r in rows if r["case"] == title}
        ours = times[PROVIDERS[0]]
        cells = [f"{times[name] / ours:.1f}×" if name in times else "–" for name in PROVIDERS[1:]]
        lines.append(" | ".join([f"| {title}", f"{ours:.2f} ms", *cells]) + " |")
    first = rows[0]
    where = f"jax {first['jax']}, optax {first['optax']}, {first['device']}"
    return "\n".join([*lines, "", f"Medians of interleaved turns; {where}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="per case")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS} and {PAGE}")
    options = parser.parse_args()
    missing = [name for name in ("jax", "optax") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"The rows of JAX are left out: {' and '.join(missing)} not installed.")
        return
    rows = [row for case in CASES for row in measured(case, options.seconds)]
    if options.save:
        table.save(RESULTS, rows)
        PAGE.write_text(table.replaced(PAGE.read_text(), section(rows)))
    print(section(rows))


if __name__ == "__main__":
    main()
