"""Every check of user input and every message.

A message is `<function>: <argument> must be <domain>, got <value>. <likely cause or way out>`:
ValueError for values and shapes, TypeError for types. Shapes, dtypes, devices and plain numbers are
always checked. Values inside tensors are checked on the CPU in eager mode; elsewhere reading them
would synchronise the device, so only after :func:`check_values`.
"""

from __future__ import annotations

from refocal.arguments.inspection import (
    check_values,
    is_number,
    readable,
)
from refocal.arguments.numbers import (
    LARGEST_GAMMA,
    alpha_number,
    flag,
    fraction,
    gamma_number,
    integer,
    smoothing,
)
from refocal.arguments.posteriors import (
    check_outcomes,
    check_posterior_alpha,
    check_posterior_gamma,
    check_posterior_smoothing,
    default_alpha,
    posterior_temperature,
    softmax_posterior_gamma,
)
from refocal.arguments.problems import (
    check_values_of,
    linear_problem,
    sigmoid_problem,
    softmax_problem,
)
from refocal.arguments.reals import (
    as_float,
    finite_gamma,
    finite_positive,
    per_class,
    real,
    shown,
    strictly_between_0_and_1,
)
from refocal.arguments.settings import (
    IMPLEMENTATIONS,
    NORMALIZERS,
    check_chunk_size,
    check_class_sharded,
    check_constant_denominator,
    check_implementation,
    check_loss_parameters,
    check_normalizer_device,
    check_process_group,
    check_reduction,
    check_settings,
)
from refocal.arguments.tensors import (
    alpha_pair,
    check_kind,
    check_logits,
    check_memory,
    check_targets_type,
    class_axis,
    class_weights,
    gamma_pair,
)
from refocal.arguments.wording import (
    fail_choice,
    fail_class_index,
    fail_gamma_count,
    fail_implementation,
    fail_sigmoid_shape,
    quoted,
)

__all__ = [
    "IMPLEMENTATIONS",
    "LARGEST_GAMMA",
    "NORMALIZERS",
    "alpha_number",
    "alpha_pair",
    "as_float",
    "check_chunk_size",
    "check_class_sharded",
    "check_constant_denominator",
    "check_implementation",
    "check_kind",
    "check_logits",
    "check_loss_parameters",
    "check_memory",
    "check_normalizer_device",
    "check_outcomes",
    "check_posterior_alpha",
    "check_posterior_gamma",
    "check_posterior_smoothing",
    "check_process_group",
    "check_reduction",
    "check_settings",
    "check_targets_type",
    "check_values",
    "check_values_of",
    "class_axis",
    "class_weights",
    "default_alpha",
    "fail_choice",
    "fail_class_index",
    "fail_gamma_count",
    "fail_implementation",
    "fail_sigmoid_shape",
    "finite_gamma",
    "finite_positive",
    "flag",
    "fraction",
    "gamma_number",
    "gamma_pair",
    "integer",
    "is_number",
    "linear_problem",
    "per_class",
    "posterior_temperature",
    "quoted",
    "readable",
    "real",
    "shown",
    "sigmoid_problem",
    "smoothing",
    "softmax_posterior_gamma",
    "softmax_problem",
    "strictly_between_0_and_1",
]
