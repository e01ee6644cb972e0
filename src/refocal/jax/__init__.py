"""refocal in JAX: the losses and posteriors of `refocal` on JAX's arrays, without PyTorch.

``pip install 'refocal[jax]'``. The same keywords, defaults, meanings and numbers: both bind one
book of formulas. See `sigmoid_focal_loss`.
"""

from refocal import extras

extras.need("refocal.jax", "jax")

from refocal.jax.losses import sigmoid_focal_loss, softmax_focal_loss  # noqa: E402
from refocal.jax.posterior import sigmoid_posterior, softmax_posterior  # noqa: E402

__all__ = [
    "sigmoid_focal_loss",
    "sigmoid_posterior",
    "softmax_focal_loss",
    "softmax_posterior",
]
