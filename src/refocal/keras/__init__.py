"""refocal in Keras 3: the losses for `compile`, and the posterior as a layer, on any backend.

``pip install 'refocal[keras]'``, beside the backend that Keras runs on. On torch the losses run in
the kernels of `refocal`, on JAX by `refocal.jax`, on TensorFlow by `keras.ops` bound to the same
book of formulas. See `SigmoidFocalLoss`.
"""

from refocal import extras

extras.need("refocal.keras", "keras")

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("jax", "tensorflow", "torch"):
        raise
    raise extras.MissingExtra(
        "refocal.keras",
        f"Keras is set to run on {error.name}, which is not installed. Install it, or choose "
        "another backend before Keras is imported: KERAS_BACKEND=torch, jax or tensorflow",
    ) from error

from refocal.keras.losses import SigmoidFocalLoss, SoftmaxFocalLoss  # noqa: E402
from refocal.keras.posterior import Posterior  # noqa: E402

__all__ = ["Posterior", "SigmoidFocalLoss", "SoftmaxFocalLoss"]
