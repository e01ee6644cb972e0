"""refocal: the focal loss library.

Exact at every logit and dtype, calibrated in closed form. See `sigmoid_focal_loss` for binary and
multi-label problems and `softmax_focal_loss` for multi-class ones.
"""

from importlib import import_module
from typing import Any

from refocal.arguments import check_values
from refocal.linear import LinearFocalLoss, linear_focal_loss
from refocal.losses import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)
from refocal.posterior import sigmoid_posterior, softmax_posterior
from refocal.probabilities import (
    correct_sampling,
    cost_threshold,
    fit_temperature,
    shift_prior,
    sigmoid_logit,
)

__all__ = [
    "LinearFocalLoss",
    "SigmoidFocalLoss",
    "SoftmaxFocalLoss",
    "check_values",
    "correct_sampling",
    "cost_threshold",
    "fit_temperature",
    "linear_focal_loss",
    "shift_prior",
    "sigmoid_focal_loss",
    "sigmoid_logit",
    "sigmoid_posterior",
    "softmax_focal_loss",
    "softmax_posterior",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # heavy: imported when it is asked for
    if name == "compare":
        return import_module("refocal.comparison").compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
