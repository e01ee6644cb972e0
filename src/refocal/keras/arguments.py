"""Every check of a loss in Keras: settings when it is made, shapes when it is called.

Values inside tensors are checked where they can be read, that is outside of a graph.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from refocal.arguments import values, wording
from refocal.arguments.adapter import Facts
from refocal.keras.backends import as_tensor, checks_values, readable
from refocal.keras.focal import Tensor
from refocal.keras.problem import (
    Settings,
    as_integers,
    dtype_of,
    is_floating,
    is_kept,
    shape_of,
)
from refocal.messages import refuse

DIMENSION = int | None


def facts(tensor: Tensor) -> Facts:
    """What messages say of a tensor."""
    shape: Any = shape_of(tensor)
    return Facts(shape, dtype_of(tensor), is_floating(tensor), "")


# ---------------------------------------------------------------------------------------------
# settings


def settings(
    function: str,
    *,
    alpha: Any,
    gamma: Any,
    ignore_index: Any,
    label_smoothing: Any,
    detach_modulator: Any,
    axis: Any,
    multiclass: bool,
) -> Settings:
    """Checked settings."""
    values.check_ignore_index(function, ignore_index, multiclass=multiclass)
    return Settings(
        checked_alpha(function, alpha, multiclass=multiclass),
        checked_gamma(function, gamma, multiclass=multiclass),
        ignore_index,
        values.smoothing(function, label_smoothing),
        values.flag(function, "detach_modulator", detach_modulator),
        values.integer(function, "axis", axis),
    )


def saved(given: Settings) -> dict[str, Any]:
    """Settings as a file holds them: JSON has no tuples, so gamma's are named."""
    gamma = given.gamma
    named = {"pos": gamma[0], "neg": gamma[1]} if isinstance(gamma, tuple) else gamma
    return {**given._asdict(), "gamma": named}


def loaded(config: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a saved configuration."""
    config = dict(config)
    if isinstance(config.get("gamma"), dict):
        config["gamma"] = (config["gamma"]["pos"], config["gamma"]["neg"])
    if isinstance(config.get("dtype"), dict):
        config["dtype"] = keras.saving.deserialize_keras_object(config["dtype"])
    return config


def checked_from_logits(function: str, from_logits: Any) -> bool:
    """True or False; it has no default."""
    if from_logits is REQUIRED:
        raise refuse(
            function,
            "from_logits",
            "be given",
            "nothing",
            "Keras' own losses take y_pred for probabilities where nothing is said, and a loss "
            "that takes scores for them trains on the wrong thing without a word. "
            "from_logits=True if the model ends in a Dense layer without an activation, which "
            "keeps every digit; from_logits=False if it ends in a sigmoid or a softmax.",
            TypeError,
        )
    return values.flag(function, "from_logits", from_logits)


class Required:
    """In the place of a default."""

    def __repr__(self) -> str:
        return "<required>"


REQUIRED: Any = Required()


def listed(function: str, argument: str, value: Any) -> Any:
    """Numbers per class as a list, whatever holds them; a 0-d array as its number."""
    if isinstance(value, list) or (hasattr(value, "shape") and not values.is_number(value)):
        try:
            held = np.asarray(_plain(value), np.float64)
        except (TypeError, ValueError):
            held = np.empty((0, 0))
        if held.ndim > 1 or (isinstance(value, list) and not all(map(values.is_number, value))):
            raise refuse(
                function,
                argument,
                "be a number or a list of one number per class",
                values.shown(value),
                kind=TypeError,
            )
        return held.tolist()
    return value


def _plain(value: Any) -> Any:
    """A list as it is, a tensor as NumPy's; by itself if it can: Keras' way makes NumPy warn."""
    if isinstance(value, list):
        return value
    return value.tolist() if hasattr(value, "tolist") else ops.convert_to_numpy(value)


def checked_alpha(function: str, alpha: Any, *, multiclass: bool) -> float | list[float] | None:
    """None, a number of a sigmoid, or a list of C class weights."""
    alpha = listed(function, "alpha", list(alpha) if isinstance(alpha, tuple) else alpha)
    if alpha is None:
        return None
    if isinstance(alpha, list):
        if alpha:
            low, high = _ends(alpha)
            values.check_alpha_range(function, low, high, multiclass=multiclass)
        return alpha
    if multiclass:
        values.fail_class_weights_type(function, alpha, "C")
    return values.alpha_number(function, alpha)


def checked_gamma(function: str, gamma: Any, *, multiclass: bool) -> Any:
    """A number, a list of one per class, or of a sigmoid a pair of these."""
    if not isinstance(gamma, tuple):
        return _one_gamma(function, gamma, multiclass=multiclass)
    if multiclass:
        values.fail_gamma_pair(function)
    if len(gamma) != 2:
        values.fail_gamma_count(function, len(gamma))
    return tuple(_one_gamma(function, one, multiclass=multiclass) for one in gamma)


def _one_gamma(function: str, gamma: Any, *, multiclass: bool) -> float | list[float]:
    gamma = listed(function, "gamma", gamma)
    if not isinstance(gamma, list):
        return values.gamma_number(function, gamma, multiclass=multiclass)
    if gamma:
        values.check_gamma_range(function, *_ends(gamma))
    return [values.gamma_number(function, one, multiclass=multiclass) for one in gamma]


def _ends(numbers: list[float]) -> tuple[float, float]:
    """The smallest and the largest, NaN if any is NaN."""
    held = np.asarray(numbers)
    return float(held.min()), float(held.max())


# ---------------------------------------------------------------------------------------------
# tensors


def prediction(function: str, y_pred: Any, dtype: str, from_logits: bool) -> Tensor:
    """y_pred in the dtype of the loss."""
    if from_logits and getattr(y_pred, "_keras_logits", None) is not None:
        raise refuse(
            function,
            "from_logits",
            "be False where the model ends in a sigmoid or a softmax",
            True,
            "y_pred are probabilities. Leave the activation out, which keeps every digit, or pass "
            "from_logits=False.",
        )
    given = as_tensor(y_pred)
    if not is_floating(given):
        wording.fail_integer_logits(function, dtype_of(given))
    return ops.cast(given, dtype)


def class_axis(function: str, y_pred: Tensor, axis: int) -> int:
    """The class axis, counted from the front; 0 of scalars and of 1-d predictions."""
    rank = len(y_pred.shape)
    if rank < 2 and axis in (-1, 1, 0):
        return 0
    if not -rank <= axis < rank:
        raise refuse(function, "axis", f"be an axis of y_pred {shape_of(y_pred)}", axis)
    return axis % rank


def classes_of(function: str, y_pred: Tensor, axis: int, targets: Tensor) -> int:
    """How many classes there are along the axis of a softmax, which a graph must know."""
    if not len(y_pred.shape):
        wording.fail_scalar_logits(function)
    classes = y_pred.shape[axis]
    if classes is None:
        raise refuse(
            function,
            "y_pred",
            "have a known number of classes",
            shape_of(y_pred),
            "Give the model's last layer, or keras.Input, its size.",
        )
    if classes == 0:
        raise refuse(function, "y_pred", "have at least one class", shape_of(y_pred))
    if classes == 1:
        wording.fail_one_class(function, facts(y_pred), facts(targets))
    return int(classes)


def same(one: DIMENSION, other: DIMENSION) -> bool:
    """Whether two sizes may be equal: a graph may not know them."""
    return one is None or other is None or one == other


def agree(shape: tuple[DIMENSION, ...], other: tuple[DIMENSION, ...]) -> bool:
    """Whether two shapes may be equal."""
    return len(shape) == len(other) and all(map(same, shape, other))


def binary_targets(function: str, targets: Tensor, y_pred: Tensor) -> Tensor:
    """Targets of the shape of y_pred; Keras' column of one is added or taken away."""
    rank, ours = len(y_pred.shape), len(targets.shape)
    if ours + 1 == rank and y_pred.shape[-1] == 1:
        targets = ops.expand_dims(targets, -1)
    elif ours == rank + 1 and targets.shape[-1] == 1:
        targets = ops.squeeze(targets, -1)
    if not agree(shape_of(targets), shape_of(y_pred)):
        wording.fail_sigmoid_shape(function, facts(y_pred), facts(targets))
    return targets


def class_targets(
    function: str, targets: Tensor, y_pred: Tensor, axis: int, ignored: int
) -> tuple[Tensor, bool]:
    """Class indices without the class axis, or shares of the shape of y_pred; whether indices.

    By their shape, not their dtype: data pipelines hand over indices as floats and one-hot rows as
    integers.
    """
    shape, whole = shape_of(targets), shape_of(y_pred)
    positions = whole[:axis] + whole[axis + 1 :]
    if len(shape) == len(whole) and shape[axis] == 1:
        targets = ops.squeeze(targets, axis)
        shape = shape_of(targets)
    if agree(shape, positions):
        if dtype_of(targets) == "bool":
            wording.fail_bool_classes(function, "bool")
        return _as_indices(function, targets), True
    if len(shape) != len(whole) or not agree(shape, whole):
        raise refuse(
            function,
            "y_true",
            f"be class indices of shape {positions} or one-hot rows and probabilities of shape "
            f"{whole}",
            f"shape {shape}",
        )
    if ignored != -100:
        wording.fail_ignored_probabilities(function, ignored)
    return targets if is_floating(targets) else ops.cast(targets, "float32"), False


def _as_indices(function: str, targets: Tensor) -> Tensor:
    """Whole numbers as integers."""
    if not is_floating(targets):
        return as_integers(targets)
    held = readable(targets)
    if held is not None:
        odd = held[~(np.isfinite(held) & (held == np.round(held)))]
        if odd.size:
            raise refuse(
                function,
                "y_true",
                "be class indices, that is whole numbers",
                odd.flat[0],
                "Probabilities have one column per class.",
            )
    return ops.cast(targets, "int32")


def check_shares(function: str, targets: Tensor, ignored: float | None, link: str) -> None:
    """Targets in [0, 1] but for rounding, where they can be read and are not ignored."""
    held = None if checks_values() else readable(targets)
    if held is None or held.dtype == bool:
        return
    kept = is_kept(targets, ignored)
    flat = held.reshape(-1) if kept is None else held[ops.convert_to_numpy(kept)]
    if not flat.size:
        return
    low, high = flat.min(), flat.max()
    if low >= -(2.0**-21) and high <= 1 + 2.0**-21:
        return
    value = (low if not low >= 0 else high).item()
    others = flat[flat != value]
    pair = (others.min().item(), others.max().item()) if others.size else None
    wording.fail_target_range(function, value, link, pair)


def check_indices(function: str, targets: Tensor, ignored: int | None, classes: int) -> None:
    """Class indices in range, where they can be read and are not ignored."""
    held = None if checks_values() else readable(targets)
    if held is None:
        return
    flat = held[held != ignored]
    if flat.size and (flat.min() < 0 or flat.max() >= classes):
        value = flat.min() if flat.min() < 0 else flat.max()
        wording.fail_class_index(function, int(value), classes)


def check_per_class(function: str, given: Settings, y_pred: Tensor, axis: int) -> None:
    """Lists of alpha and gamma have one number per class."""
    pair = given.gamma if isinstance(given.gamma, tuple) else (given.gamma,)
    for argument, one in (("alpha", given.alpha), *(("gamma", gamma) for gamma in pair)):
        if not isinstance(one, list):
            continue
        classes = y_pred.shape[axis] if len(y_pred.shape) else 0
        if not same(classes, len(one)):
            raise refuse(
                function,
                argument,
                f"have one number for each of the {classes} classes of y_pred {shape_of(y_pred)}",
                f"{len(one)} numbers",
            )
