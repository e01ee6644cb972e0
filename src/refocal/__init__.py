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

# Every room is an attribute too.
_MODULES = (
    "arguments",
    "boosting",
    "budget",
    "commands",
    "comparison",
    "data",
    "extras",
    "files",
    "formula",
    "gate",
    "gpu_check",
    "integrations",
    "inverse",
    "jax",
    "kernels",
    "lazy",
    "linear",
    "links",
    "losses",
    "messages",
    "metrics",
    "modules",
    "overrides",
    "parameters",
    "posterior",
    "probabilities",
    "problem",
    "ranks",
    "reduction",
    "torch_state",
    "variants",
    "warm_up",
)

# The rooms that know no framework, or ask for it where they are used.
_ALONE = (
    "arguments",
    "boosting",
    "commands",
    "comparison",
    "data",
    "extras",
    "files",
    "formula",
    "integrations",
    "inverse",
    "lazy",
    "messages",
    "metrics",
)
_USES = {name: "torch" for name in (*_ROOMS, *_MODULES) if name not in _ALONE}
_USES["jax"] = "jax"

# what `from refocal import *` brings: what needs the losses' framework alone
__all__ = [name for name in _ROOMS if name != "compare"]
__version__ = "0.1.0"

__getattr__, __dir__ = lazily(__name__, _ROOMS, _MODULES, {"compare": "compare"}, _USES)
