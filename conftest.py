"""Doctests of an integration run where its host is installed."""

import os
from importlib.util import find_spec

# what Keras runs on in this process; tests/test_keras.py has others
os.environ.setdefault("KERAS_BACKEND", "torch")

INTEGRATIONS = {"skorch": "skorch", "torchvision": "torchvision"}

collect_ignore = [
    f"src/refocal/integrations/{file}.py"
    for file, host in INTEGRATIONS.items()
    if find_spec(host) is None
]
if find_spec("jax") is None:
    collect_ignore += ["src/refocal/jax", "src/refocal/formula/in_jax.py"]
if find_spec("keras") is None:
    collect_ignore += ["src/refocal/keras", "src/refocal/formula/in_keras.py"]
