"""refocal in Keras 3: the losses for `compile`, and the posterior as a layer, on any backend.

``pip install 'refocal[keras]'``, beside the backend that Keras runs on. On torch the losses run in
the kernels of `refocal`, on JAX by `refocal.jax`, on TensorFlow by `keras.ops` bound to the same
book of formulas. See `SigmoidFocalLoss`.
"""

from refocal import extras

extras.need("refocal.keras", "keras")

from refocal.keras.losses import SigmoidFocalLoss, SoftmaxFocalLoss  # noqa: E402

__all__ = ["SigmoidFocalLoss", "SoftmaxFocalLoss"]
