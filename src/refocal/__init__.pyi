"""What a type checker sees of the package; the names stand in __init__.py, too."""

from refocal import arguments as arguments
from refocal import boosting as boosting
from refocal import budget as budget
from refocal import commands as commands
from refocal import comparison as comparison
from refocal import data as data
from refocal import extras as extras
from refocal import files as files
from refocal import formula as formula
from refocal import gate as gate
from refocal import gpu_check as gpu_check
from refocal import integrations as integrations
from refocal import inverse as inverse
from refocal import jax as jax
from refocal import keras as keras
from refocal import kernels as kernels
from refocal import lazy as lazy
from refocal import linear as linear
from refocal import links as links
from refocal import losses as losses
from refocal import messages as messages
from refocal import metrics as metrics
from refocal import modules as modules
from refocal import overrides as overrides
from refocal import parameters as parameters
from refocal import posterior as posterior
from refocal import probabilities as probabilities
from refocal import problem as problem
from refocal import ranks as ranks
from refocal import reduction as reduction
from refocal import torch_state as torch_state
from refocal import variants as variants
from refocal import warm_up as warm_up
from refocal.arguments import check_values as check_values
from refocal.comparison import compare as compare
from refocal.linear import LinearFocalLoss as LinearFocalLoss
from refocal.linear import linear_focal_loss as linear_focal_loss
from refocal.losses import SigmoidFocalLoss as SigmoidFocalLoss
from refocal.losses import SoftmaxFocalLoss as SoftmaxFocalLoss
from refocal.losses import sigmoid_focal_loss as sigmoid_focal_loss
from refocal.losses import softmax_focal_loss as softmax_focal_loss
from refocal.posterior import sigmoid_posterior as sigmoid_posterior
from refocal.posterior import softmax_posterior as softmax_posterior
from refocal.probabilities import correct_sampling as correct_sampling
from refocal.probabilities import cost_threshold as cost_threshold
from refocal.probabilities import fit_temperature as fit_temperature
from refocal.probabilities import shift_prior as shift_prior
from refocal.probabilities import sigmoid_logit as sigmoid_logit

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
__version__: str
