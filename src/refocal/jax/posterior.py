"""Logits of a model trained with a focal loss to class probabilities, in JAX.

The derivation and the conditions are those of `refocal.posterior`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from refocal.arguments import values, wording
from refocal.formula.in_jax import BOOK, for_dtype
from refocal.jax import arguments
from refocal.jax.links import softmax_margins
from refocal.jax.losses import Gamma
from refocal.jax.problem import Number, computing_dtype
from refocal.jax.program import as_program
from refocal.jax.wording import spoken
from refocal.messages import refuse


@spoken
def sigmoid_posterior(
    logits: ArrayLike,
    *,
    alpha: ArrayLike | None = 0.25,
    gamma: Gamma = 2.0,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    temperature: ArrayLike = 1.0,
    log_odds: bool = False,
    axis: int | None = None,
) -> Array:
    """The probability of the positive class, from the logits of a focal-trained model, in JAX.

    The formula, the conditions and the keywords of `refocal.sigmoid_posterior`.

    Args:
        logits: floating, any shape.
        alpha: as in training, and strictly between 0 and 1, also after rounding to float32 (to
            float64 for float64 logits).
        gamma: as in training: a number, an array per class, or a pair.
        label_smoothing: as in training; it is undone, and the result clipped to [0, 1].
        detach_modulator: as in training.
        temperature: a number > 0, or a 0-d array of one, which may be traced and differentiated;
            divides the posterior's log-odds.
        log_odds: return ``log(P / (1 - P))``, which keeps its digits where P rounds to 0 or 1.
        axis: the class axis, that of ``(C,)`` arrays; 1 unless given (0 of 1-d logits).

    Returns:
        Probabilities in [0, 1] (or log-odds), shape and dtype of ``logits``.

    Raises:
        ValueError: alpha of 0 or 1, a gamma per example, temperature <= 0.
        TypeError: integer logits or another wrong type.

    Example:
        >>> import jax.numpy as jnp
        >>> from refocal.jax import sigmoid_posterior
        >>> print(sigmoid_posterior(jnp.array([-1.5443, 0.0, 2.0])).round(4))
        [0.045  0.75   0.9985]
    """
    name = "sigmoid_posterior"
    logits = arguments.logits_of(name, logits)
    number = arguments.axis_of(name, logits, axis)
    weights = arguments.alpha_pair(name, alpha, logits, number, traced=False)
    gammas = arguments.gamma_pair(name, gamma, logits, number, traced=False)
    for end in weights if alpha is not None else ():
        check_learned(name, end, weights[0], "strictly between 0 and 1")
    for one in gammas:
        if isinstance(one, Array) and one.ndim:
            per_example = [size for place, size in enumerate(one.shape) if place != number]
            if logits.ndim == 1 or any(size != 1 for size in per_example):
                wording.fail_gamma_per_example(name, tuple(one.shape))
    divisor = _temperature(name, temperature, computing_dtype(logits))
    smoothing = _smoothing(name, label_smoothing)
    wanted = values.flag(name, "log_odds", log_odds)
    detached = values.flag(name, "detach_modulator", detach_modulator)
    shift = 0.0 if alpha is None else _log(weights[1]) - _log(weights[0])
    return _sigmoid((logits, gammas, shift, divisor), (smoothing, wanted, detached))


@as_program
def _sigmoid(values: Any, settings: Any) -> Array:
    logits, gammas, shift, divisor = values
    smoothing, wanted, detached = settings
    odds = (BOOK.detached_log_odds if detached else BOOK.log_odds)(
        logits.astype(computing_dtype(logits)), *gammas
    )
    odds = odds + shift
    if smoothing:
        # (1 - e) P + e/2 for both classes: 1 - P from the other tail, not from 1 - smoothed
        positive = jnp.maximum(jax.nn.sigmoid(odds) - smoothing / 2, 0)
        negative = jnp.maximum(jax.nn.sigmoid(-odds) - smoothing / 2, 0)
        odds = jnp.log(positive) - jnp.log(negative)
    certain = jnp.isinf(odds)  # these stay, and along the temperature their derivative is 0
    odds = jnp.where(certain, odds, jnp.where(certain, 0.0, odds) / divisor)
    result: Array = (odds if wanted else jax.nn.sigmoid(odds)).astype(logits.dtype)
    return result


@spoken
def softmax_posterior(
    logits: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    gamma: ArrayLike = 2.0,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    temperature: ArrayLike = 1.0,
    log_probabilities: bool = False,
    axis: int | None = None,
) -> Array:
    """Class probabilities, from the logits of a model trained with `softmax_focal_loss`, in JAX.

    The formula, the conditions and the keywords of `refocal.softmax_posterior`.

    Args:
        logits: floating, with the classes along ``axis``.
        alpha: as in training, and > 0 for every class.
        gamma: as in training: a number, a 0-d or a ``(C,)`` array.
        label_smoothing: as in training; it is undone, clipped at 0 and normalised again.
        detach_modulator: as in training.
        temperature: a number > 0, or a 0-d array of one, which may be traced and differentiated;
            divides the log-probabilities before they are normalised.
        log_probabilities: return ``log P``, which keeps its digits where P rounds to 0 or 1.
        axis: the class axis; 1 unless given (0 of 1-d logits).

    Returns:
        Probabilities that sum to 1 over the class axis (or their logarithms), shape and dtype of
        ``logits``.

    Raises:
        ValueError: an alpha of 0, a gamma per example, temperature <= 0.
        TypeError: integer logits, a number for alpha or another wrong type.

    Example:
        >>> import jax.numpy as jnp
        >>> from refocal.jax import softmax_posterior
        >>> print(softmax_posterior(jnp.array([[1.0, 0.0, 0.0]]), gamma=2.0).round(4))
        [[0.7752 0.1124 0.1124]]
    """
    name = "softmax_posterior"
    logits = arguments.logits_of(name, logits)
    number, classes = arguments.class_axis(name, logits, axis)
    weights = arguments.class_weights(name, alpha, logits, number, traced=False)
    gamma = arguments.as_array(gamma)
    if isinstance(gamma, Array) and gamma.ndim and tuple(gamma.shape) != (classes,):
        wording.fail_gamma_per_example(name, tuple(gamma.shape))
    shape = tuple(logits.shape)
    exponent = arguments.softmax_gamma(name, gamma, logits, number, shape, True, traced=False)
    if weights is not None:
        check_learned(name, weights, weights, "> 0 for every class")
    dtype = computing_dtype(logits)
    divisor = _temperature(name, temperature, dtype)
    smoothing = _smoothing(name, label_smoothing)
    wanted = values.flag(name, "log_probabilities", log_probabilities)
    detached = values.flag(name, "detach_modulator", detach_modulator)
    settings = number, smoothing, wanted, detached
    return _softmax((logits, weights, exponent, divisor), settings)


@as_program
def _softmax(values: Any, settings: Any) -> Array:
    logits, weights, exponent, divisor = values
    number, smoothing, wanted, detached = settings
    dtype = computing_dtype(logits)
    book = for_dtype(dtype)
    s, x = softmax_margins(logits.astype(dtype), number)
    score = (book.detached_score if detached else book.score)(s, x, exponent)
    if weights is not None:
        score = score - jnp.log(weights)
    # at logits of 3e38 the scores overflow: held apart, so that no inf - inf is formed
    masked = score == -jnp.inf
    largest = float(jnp.finfo(dtype).max) / (1 if wanted else 4)
    score = jnp.clip(score, -largest, largest)
    if smoothing:
        left = jnp.maximum(jax.nn.softmax(score, number) - smoothing / logits.shape[number], 0)
        masked = left == 0
        score = jnp.log(jnp.where(masked, 1.0, left))
    if smoothing or isinstance(divisor, Array) or divisor != 1:
        # relative to the largest, which a small temperature leaves at 0; a masked class stays one
        score = jnp.where(masked, -jnp.inf, score)
        score = score - jnp.max(jax.lax.stop_gradient(score), number, keepdims=True)
        score = jnp.where(masked, -jnp.inf, jnp.where(masked, 0.0, score) / divisor)
    if wanted:
        # by margins, because the log-softmax of a likely class rounds to 0 where P rounds to 1
        s, x = softmax_margins(jnp.where(masked, -jnp.inf, score), number)
        logs: Array = (0.0 - book.cross_entropy(s, jnp.log1p(x))).astype(logits.dtype)
        return logs
    return jax.nn.softmax(score, number).astype(logits.dtype)


def check_learned(function: str, weight: Any, alpha: Any, domain: str) -> None:
    """No class weight of 0, under which a class is never learned; ``alpha`` is what is shown."""
    ends = arguments.ends(weight) if isinstance(weight, Array) else (weight, weight)
    if ends is None or ends[0] > 0:
        return
    shown = arguments.ends(alpha) if isinstance(alpha, Array) else (alpha, alpha)
    got = values.shown((shown or ends)[0 if weight is alpha else 1])
    wording.fail_unlearned(function, domain, got)


def _temperature(function: str, temperature: Any, dtype: Any) -> Number:
    """A finite number > 0, held within what the computing dtype divides by; an array may learn."""

    def number(value: Any) -> float:
        return values.real(
            function, "temperature", value, "finite and > 0", lambda one: 0 < one < math.inf
        )

    limits = jnp.finfo(dtype)
    least, most = float(limits.tiny), float(limits.max)
    temperature = arguments.as_array(temperature)
    if not isinstance(temperature, Array):
        return min(max(number(temperature), least), most)
    arguments.Jax.check_real(function, "temperature", temperature)
    if temperature.ndim:
        shape = tuple(temperature.shape)
        raise refuse(function, "temperature", "be a number or a 0-d array", f"shape {shape}")
    ends = arguments.ends(temperature)
    if ends is not None:
        number(float(ends[0]))
    return jnp.clip(temperature.astype(dtype), least, most)


def _smoothing(function: str, label_smoothing: Any) -> float:
    number = values.smoothing(function, label_smoothing)
    wording.check_posterior_smoothing(function, number)
    return number


def _log(value: Any) -> Any:
    return jnp.log(value) if isinstance(value, Array) else math.log(value)
