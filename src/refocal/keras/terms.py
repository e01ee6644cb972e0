"""Checked arguments to unreduced losses over keras.ops; see `refocal.kernels.eager`."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from refocal.formula.binding import modulator_for
from refocal.formula.in_keras import BOOK
from refocal.keras import focal
from refocal.keras.focal import Tensor
from refocal.keras.links import class_mask, softmax_margin, softmax_margins
from refocal.keras.problem import (
    Number,
    Settings,
    along,
    computing_dtype,
    dtype_of,
    is_floating,
    is_kept,
    shares,
)


def _value(s: Tensor, x: Tensor, gamma: Number, detached: bool) -> Tensor:
    modulator = modulator_for(gamma, "power")
    if not detached:
        return focal.value(modulator, s, x, gamma)
    ce = focal.value("zero", s, x, 0.0)
    return BOOK.value_of(ce, focal.modulator_of(modulator, s, x, gamma))


def _weighed(coefficient: Number, value: Tensor) -> Tensor:
    """Coefficient * value, where 0 * inf is 0. NaN stays: a NaN logit is never hidden."""
    if isinstance(coefficient, (int, float)):
        if coefficient == 1:
            return value
        coefficient = ops.convert_to_tensor(coefficient, dtype_of(value))
    return BOOK.weighed(coefficient, value)


def _times(a: Number, b: Number | None) -> Number:
    if b is None or (isinstance(b, (int, float)) and b == 1):
        return a
    return b if isinstance(a, (int, float)) and a == 1 else a * b


def _smooth(y: Tensor, label_smoothing: float, classes: int) -> Tensor:
    """Targets mixed with the uniform distribution over the classes."""
    if label_smoothing == 0:
        return y
    return BOOK.smoothed(y, 1 - label_smoothing, label_smoothing / classes)


def sigmoid(logits: Tensor, targets: Tensor, settings: Settings, axis: int) -> Tensor:
    """The loss of every logit, in the computing dtype."""
    dtype = computing_dtype(dtype_of(logits))
    z = ops.cast(logits, dtype)
    y = targets
    weight: Number = 1.0
    kept = is_kept(y, settings.ignore_index)
    if kept is not None:
        y = ops.where(kept, y, ops.zeros_like(y))
        weight = ops.cast(kept, dtype)
        # what does not count may be anything
        z = ops.where(ops.logical_or(kept, ops.isfinite(z)), z, 0.0)
    gamma = settings.gamma if isinstance(settings.gamma, tuple) else (settings.gamma,) * 2
    gammas = [along(one, axis, z) for one in gamma]
    alpha = along(settings.alpha, axis, z)
    alphas = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    detached = settings.detach_modulator
    if not is_floating(y) and settings.label_smoothing == 0:
        # hard by their dtype: one margin
        positive = ops.cast(y, "bool")
        s = ops.where(positive, z, -z)
        coefficient = alphas[0] if alpha is None else ops.where(positive, *_as(alphas, dtype))
        exponent = gammas[0] if gamma[0] is gamma[1] else ops.where(positive, *_as(gammas, dtype))
        coefficient = _times(coefficient, weight)
        return _weighed(coefficient, _value(s, _decay(s), exponent, detached))
    y = shares(y, dtype)
    total: Any = 0.0
    # each share smoothed by itself: 1 - (a smoothed y) would cancel, relative to a small e / 2
    for share, s, a, exponent in zip((y, 1 - y), (z, -z), alphas, gammas, strict=True):
        coefficient = _times(_times(_smooth(share, settings.label_smoothing, 2), a), weight)
        total = total + _weighed(coefficient, _value(s, _decay(s), exponent, detached))
    return total


def _decay(s: Tensor) -> Tensor:
    """What it contributes to derivatives is in those along s already."""
    return ops.stop_gradient(BOOK.decay(s))


def _as(pair: Any, dtype: str) -> list[Tensor]:
    return [ops.convert_to_tensor(one, dtype) for one in pair]


def softmax(logits: Tensor, targets: Tensor, settings: Settings, axis: int) -> Tensor:
    """The loss of every position, in the computing dtype; targets are indices or floating."""
    dtype = computing_dtype(dtype_of(logits))
    z = ops.cast(logits, dtype)
    classes = z.shape[axis]
    kept = None
    hard = not is_floating(targets)
    if hard:
        kept = is_kept(targets, settings.ignore_index)
        index = targets if kept is None else ops.where(kept, targets, ops.zeros_like(targets))
        if kept is not None:
            kept = ops.expand_dims(kept, axis)
            z = ops.where(kept, z, 0.0)
        mask = class_mask(ops.expand_dims(index, axis), classes, axis, len(z.shape))
    alpha, gamma = along(settings.alpha, axis, z), along(settings.gamma, axis, z)
    if hard and settings.label_smoothing == 0:
        s, x = softmax_margin(z, mask, axis)
        coefficient: Number = 1.0 if kept is None else ops.cast(kept, dtype)
        coefficient = _times(coefficient, None if alpha is None else _picked(alpha, mask, axis))
        if isinstance(settings.gamma, list):
            gamma = _picked(gamma, mask, axis)
        loss = _weighed(coefficient, _value(s, x, gamma, settings.detach_modulator))
        return ops.squeeze(loss, axis)
    y = shares(targets, dtype) if not hard else ops.cast(mask, dtype)
    if hard:  # an index out of range is no class
        y = ops.where(ops.any(mask, axis, keepdims=True), y, math.nan)
    y = _smooth(y, settings.label_smoothing, classes)
    if kept is not None:  # smoothing comes after ignoring: an ignored row stays all zero
        y = ops.where(kept, y, 0.0)
    coefficient = _times(y, alpha)
    s, x = softmax_margins(z, axis, idle=ops.stop_gradient(coefficient) == 0)
    values = _value(s, x, gamma, settings.detach_modulator)
    return ops.sum(_weighed(coefficient, values), axis)


def _picked(parameter: Tensor, mask: Tensor, axis: int) -> Tensor:
    """The value of every position's class."""
    return ops.sum(ops.where(mask, parameter, 0.0), axis, keepdims=True)
