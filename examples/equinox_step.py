"""A training step of Equinox with optax, several classes.

python examples/equinox_step.py
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from refocal.jax import softmax_focal_loss, softmax_posterior

STEPS = 200
features_key, model_key = jax.random.split(jax.random.key(0))
x = jax.random.normal(features_key, (2048, 8))
y = jnp.digitize(x[:, 0] + 0.5 * x[:, 1], jnp.array([-0.5, 1.0, 2.3]))

# --8<-- [start:train]
model = eqx.nn.MLP(8, 4, 32, 1, key=model_key)
optimizer = optax.adam(0.01)
state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))


@eqx.filter_jit
def step(model, state, features, targets):
    def loss_of(model):
        return softmax_focal_loss(jax.vmap(model)(features), targets)

    loss, gradients = eqx.filter_value_and_grad(loss_of)(model)
    updates, state = optimizer.update(gradients, state)
    return eqx.apply_updates(model, updates), state, loss


model, state, first = step(model, state, x, y)
for _ in range(STEPS):
    model, state, last = step(model, state, x, y)
# --8<-- [end:train]

probabilities = softmax_posterior(jax.vmap(model)(x))
off = jnp.abs(probabilities.mean(0) - jnp.bincount(y, length=4) / len(y)).max()
print(f"the loss fell: {bool(last < first / 5)}")
print(f"mean probabilities within 0.01 of the rates: {bool(off < 0.01)}")
