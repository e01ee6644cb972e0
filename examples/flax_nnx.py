"""A training step of Flax NNX with optax, on one positive in fifty.

python examples/flax_nnx.py
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from refocal.jax import sigmoid_focal_loss, sigmoid_posterior

STEPS = 200
key = jax.random.key(0)
x = jax.random.normal(key, (4096, 8))
y = x[:, 0] + 0.5 * x[:, 1] > 2.3

# --8<-- [start:train]
model = nnx.Sequential(
    nnx.Linear(8, 32, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(32, 1, rngs=nnx.Rngs(1))
)
optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)


@nnx.jit
def step(model, optimizer, features, targets):
    def loss_of(model):
        return sigmoid_focal_loss(model(features)[:, 0], targets)

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


first = step(model, optimizer, x, y)
for _ in range(STEPS):
    last = step(model, optimizer, x, y)
# --8<-- [end:train]

off = abs(sigmoid_posterior(model(x)[:, 0]).mean() - jnp.mean(y))
print(f"the loss fell: {bool(last < first / 5)}")
print(f"mean probability within 0.005 of the rate: {bool(off < 0.005)}")
