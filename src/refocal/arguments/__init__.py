"""Every check of user input and every message.

A message is `<function>: <argument> must be <domain>, got <value>. <likely cause or way out>`:
ValueError for values and shapes, TypeError for types. Shapes, dtypes, devices and plain numbers are
always checked. Values inside tensors are checked on the CPU in eager mode; elsewhere reading them
would synchronise the device, so only after :func:`check_values`.

What knows no framework (`messages`, `values`, `settings`, `wording`) is found without one.
"""

from refocal.lazy import lazily

# Where each check is; the same in __init__.pyi.
_ROOMS = {
    "IMPLEMENTATIONS": "settings",
    "LARGEST_GAMMA": "values",
    "NORMALIZERS": "settings",
    "alpha_number": "values",
    "alpha_pair": "tensors",
    "as_float": "values",
    "binary_regions": "variants",
    "check_chunk_size": "settings",
    "check_class_sharded": "problems",
    "check_constant_denominator": "problems",
    "check_implementation": "settings",
    "check_kind": "tensors",
    "check_logits": "tensors",
    "check_loss_parameters": "settings",
    "check_memory": "tensors",
    "check_normalizer_device": "problems",
    "check_outcomes": "posteriors",
    "check_part": "variants",
    "check_posterior_alpha": "posteriors",
    "check_posterior_gamma": "posteriors",
    "check_posterior_smoothing": "wording",
    "check_process_group": "problems",
    "check_reduction": "settings",
    "check_settings": "settings",
    "check_targets_type": "tensors",
    "check_values": "inspection",
    "check_values_of": "problems",
    "class_axis": "tensors",
    "class_regions": "variants",
    "class_weights": "tensors",
    "default_alpha": "posteriors",
    "distances": "variants",
    "fail_choice": "values",
    "fail_class_index": "wording",
    "fail_gamma_count": "values",
    "fail_implementation": "settings",
    "fail_sigmoid_shape": "wording",
    "finite_gamma": "values",
    "finite_positive": "values",
    "flag": "values",
    "fraction": "values",
    "gamma_number": "values",
    "gamma_pair": "tensors",
    "integer": "values",
    "is_number": "values",
    "kept_distances": "variants",
    "linear_problem": "problems",
    "not_negative": "values",
    "per_class": "values",
    "positives": "variants",
    "posterior_temperature": "posteriors",
    "quoted": "values",
    "readable": "inspection",
    "real": "values",
    "shown": "values",
    "single_gamma": "values",
    "sigmoid_problem": "problems",
    "smoothing": "values",
    "softmax_posterior_gamma": "posteriors",
    "softmax_problem": "problems",
    "strictly_between_0_and_1": "values",
}

__all__ = list(_ROOMS)

__getattr__, __dir__ = lazily(__name__, _ROOMS)
