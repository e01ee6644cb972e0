"""Jitted value and gradient in JAX beside optax's losses, in the same run: medians of turns.

    python scripts/jax_speed.py

Needs optax. Interleaved, so that a loaded machine is loaded for all.
"""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp
import optax

from refocal.jax import sigmoid_focal_loss, softmax_focal_loss

TURNS = 41


def seconds(step, *arrays):
    start = time.perf_counter()
    jax.block_until_ready(step(*arrays))
    return time.perf_counter() - start


def medians(losses, *arrays):
    steps = {name: jax.jit(jax.value_and_grad(loss)) for name, loss in losses.items()}
    for step in steps.values():
        jax.block_until_ready(step(*arrays))
    turns = [{name: seconds(step, *arrays) for name, step in steps.items()} for _ in range(TURNS)]
    return {name: statistics.median(turn[name] for turn in turns) for name in steps}


def main():
    key, other = jax.random.split(jax.random.key(0))
    print("| jitted value and gradient | refocal | optax's focal loss | optax's cross-entropy |")
    print("| --- | ---: | ---: | ---: |")
    z = 3 * jax.random.normal(key, (1_000_000,))
    y = (jax.random.uniform(other, z.shape) < 0.1).astype(jnp.int32)
    for gamma in (2.0, 1.5):
        found = medians(
            {
                "ours": lambda z, y, g=gamma: sigmoid_focal_loss(z, y, gamma=g),
                "focal": lambda z, y, g=gamma: optax.losses.sigmoid_focal_loss(
                    z, y, alpha=0.25, gamma=g
                ).mean(),
                "plain": lambda z, y: optax.losses.sigmoid_binary_cross_entropy(z, y).mean(),
            },
            z,
            y,
        )
        ours = found["ours"]
        print(
            f"| sigmoid, 1e6, gamma {gamma:g} | {ours * 1e3:.2f} ms | "
            f"{found['focal'] / ours:.1f}× | {found['plain'] / ours:.1f}× |"
        )
    for rows, classes in ((65_536, 10), (8_192, 1_000)):
        z = 3 * jax.random.normal(key, (rows, classes))
        y = jax.random.randint(other, (rows,), 0, classes)
        found = medians(
            {
                "ours": softmax_focal_loss,
                "plain": lambda z, y: optax.losses.softmax_cross_entropy_with_integer_labels(
                    z, y
                ).mean(),
            },
            z,
            y,
        )
        ours = found["ours"]
        plain = found["plain"] / ours
        print(f"| softmax, {rows:,} × {classes:,} | {ours * 1e3:.2f} ms | – | {plain:.1f}× |")
    print(f"\njax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].platform}")


if __name__ == "__main__":
    main()
