"""refocal: the focal loss library.

Exact at every logit and dtype, calibrated in closed form. See `sigmoid_focal_loss` for binary and
multi-label problems and `softmax_focal_loss` for multi-class ones.

Nothing but this page is imported until a name is asked for: a framework is needed where it is used.
"""

from refocal.lazy import lazily

# Where each name of this page is defined; the same in __init__.pyi, for type checkers.
_ROOMS = {
    "LinearFocalLoss": "linear",
    "SigmoidFocalLoss": "losses",
    "SoftmaxFocalLoss": "losses",
    "check_values": "arguments",
    "compare": "comparison",
    "correct_sampling": "probabilities",
    "cost_threshold": "probabilities",
    "fit_temperature": "probabilities",
    "linear_focal_loss": "linear",
    "shift_prior": "probabilities",
    "sigmoid_focal_loss": "losses",
    "sigmoid_logit": "probabilities",
    "sigmoid_posterior": "posterior",
    "softmax_focal_loss": "losses",
    "softmax_posterior": "posterior",
}

# Every room is an attribute too; with the extra that it cannot be imported without, if any.
_MODULES = {
    "arguments": None,
    "boosting": None,
    "budget": "torch",
    "commands": None,
    "comparison": None,
    "data": None,
    "extras": None,
    "files": None,
    "formula": None,
    "gate": "torch",
    "gpu_check": "torch",
    "integrations": None,
    "inverse": None,
    "jax": "jax",
    "keras": "keras",
    "kernels": "torch",
    "lazy": None,
    "linear": "torch",
    "links": "torch",
    "losses": "torch",
    "messages": None,
    "metrics": None,
    "modules": "torch",
    "overrides": "torch",
    "parameters": "torch",
    "posterior": "torch",
    "probabilities": "torch",
    "problem": "torch",
    "ranks": "torch",
    "reduction": "torch",
    "torch_state": "torch",
    "variants": "torch",
    "warm_up": "torch",
}
_USES = {name: extra for name, extra in _MODULES.items() if extra} | dict.fromkeys(_ROOMS, "torch")

# what `from refocal import *` brings: what needs the losses' framework alone
__all__ = [name for name in _ROOMS if name != "compare"]
__version__ = "0.1.0"

__getattr__, __dir__ = lazily(__name__, _ROOMS, _MODULES, {"compare": "compare"}, _USES)
