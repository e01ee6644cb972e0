"""A Keras model trained with a focal loss, saved and loaded with its posterior.

KERAS_BACKEND=torch python examples/keras_model.py    (or jax, or tensorflow)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np

rng = np.random.default_rng(0)
keras.utils.set_random_seed(0)
x = rng.normal(size=(4096, 8)).astype("float32")
y = (x[:, 0] + 0.5 * x[:, 1] + rng.normal(size=4096) > 2.2).astype("int32")
file = Path(tempfile.mkdtemp()) / "served.keras"

# --8<-- [start:train]
from refocal.keras import Posterior, SigmoidFocalLoss  # noqa: E402

model = keras.Sequential(
    [
        keras.Input((8,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1),  # no activation: the loss takes logits
    ]
)
loss = SigmoidFocalLoss(from_logits=True, alpha=0.25, gamma=2.0)
model.compile(keras.optimizers.Adam(0.01), loss=loss)
history = model.fit(x, y, epochs=12, batch_size=256, verbose=0)

served = keras.Sequential([model, Posterior.of(loss)])
served.save(file)
probabilities = keras.models.load_model(file).predict(x, verbose=0)
# --8<-- [end:train]

logits = model.predict(x, verbose=0)
focal = 1 / (1 + np.exp(-logits))
print(f"the loss fell: {history.history['loss'][-1] < history.history['loss'][0] / 2}")
print(f"mean probability within 0.02 of the rate: {abs(probabilities.mean() - y.mean()) < 0.02}")
print(f"mean sigmoid of the logits within 0.02 of it: {abs(focal.mean() - y.mean()) < 0.02}")
