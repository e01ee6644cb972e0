"""Logits of a model trained with a focal loss to class probabilities, in closed form.

The focal loss is classification-calibrated but not proper: the sigmoid or softmax of a trained
model's logits is not the class probability, but the minimiser of the expected loss can be inverted
exactly. The one-class-against-the-rest balance ``P(y|x) * slope(y) = const`` gives, with
``g = -F' > 0``:

    sigmoid:  logit P = log((1 - alpha) / alpha) + log g_neg(-z) - log g_pos(z)
    softmax:  P(j) proportional to 1 / (alpha_j |l_j'(v_j)|),  v = softmax(z),
              |l'(v)| = (1 - v)**gamma / v - gamma (1 - v)**(gamma - 1) log v

(Charoenphakdee, Vongkulbhisal, Chairatanakul, Sugiyama, "On Focal Loss for Class-Posterior
Probability Estimation: A Theoretical Perspective", CVPR 2021, for unweighted classes; alpha, gamma
pairs, smoothing and the detached modulator by the same first-order condition.)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from refocal import arguments, gate, links
from refocal.formula import in_torch
from refocal.formula.in_torch import BOOK
from refocal.overrides import overridable
from refocal.problem import Number


@overridable
def sigmoid_posterior(
    logits: Tensor,
    *,
    alpha: float | Tensor | None = 0.25,
    gamma: float | Tensor | tuple[float | Tensor, float | Tensor] = 2.0,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    temperature: float = 1.0,
    log_odds: bool = False,
) -> Tensor:
    r"""The probability of the positive class, from the logits of a focal-trained model.

    $$ \mathrm{logit}\,P = \log\frac{1-\alpha}{\alpha} + \log g_-(-z) - \log g_+(z),
    \qquad g(s) = (1-p)^\gamma\,\bigl((1-p) - \gamma\,p \log p\bigr),\; p = \sigma(s) $$

    Conditions. The formula inverts the minimiser of the expected loss, so it holds

    * near the optimum of the loss: it stretches logits by up to ``1 + gamma``, which makes an
      overfit network worse. Compare on held-out data; a fitted ``temperature`` repairs it;
    * when every example weighed the same: normalizer "elements" or a constant. "positives" and
      "weights" divide by something that depends on the labels and bias it;
    * for the class proportions of the training data. For others shift the log-odds by
      ``logit(deployed prior) - logit(training prior)``.

    It does not exist where gamma depends on the example, nor for `refocal.variants`.

    Args:
        logits: floating, any shape.
        alpha: as in training, and strictly between 0 and 1: at 0 or 1 one class was never learned.
            The loss rounds alpha to float32 (to float64 for float64 logits), so it must not be 0
            or 1 after that rounding either.
        gamma: as in training: a number, a tensor per class, or a pair.
        label_smoothing: as in training; it is undone, and the result clipped to [0, 1].
        detach_modulator: as in training.
        temperature: > 0; divides the posterior's log-odds.
        log_odds: return ``log(P / (1 - P))``, which keeps its digits where P rounds to 0 or 1.

    Returns:
        Probabilities in [0, 1] (or log-odds), shape and dtype of ``logits``.

    Raises:
        ValueError: alpha of 0 or 1, a gamma per example, temperature <= 0.
        TypeError: integer logits or another wrong type.

    Example:
        >>> import torch
        >>> from refocal import sigmoid_posterior
        >>> sigmoid_posterior(torch.tensor([-1.5443, 0.0, 2.0]))
        tensor([0.0450, 0.7500, 0.9985])

    References:
        Charoenphakdee, Vongkulbhisal, Chairatanakul, Sugiyama, CVPR 2021, theorem 11.
        https://arxiv.org/abs/2011.09172
    """
    name = "sigmoid_posterior"
    dtype = arguments.check_logits(name, logits)
    link = binary_link(name, logits, dtype, alpha, gamma, detach_modulator)
    divisor = arguments.posterior_temperature(name, temperature, logits, dtype)
    divisor = gate.together(name, "temperature", divisor, logits)
    smoothing = arguments.smoothing(name, label_smoothing)
    arguments.check_posterior_smoothing(name, smoothing)
    wanted = arguments.flag(name, "log_odds", log_odds)
    odds = link.log_odds(logits.to(dtype))
    if smoothing:
        smoothed = torch.sigmoid(odds)
        # (1 - e) P + e/2 for both classes: 1 - P from the other tail, not from 1 - smoothed
        positive = (smoothed - smoothing / 2).clamp(min=0)
        negative = (torch.sigmoid(-odds) - smoothing / 2).clamp(min=0)
        odds = torch.log(positive) - torch.log(negative)
    odds = odds / divisor
    return (odds if wanted else torch.sigmoid(odds)).to(logits.dtype)


class BinaryTensorLink(NamedTuple):
    """What the posterior of a sigmoid focal loss depends on, checked; see `refocal.inverse`.

    Attributes:
        shift: ``log((1 - alpha) / alpha)``.
        gammas: exponents of the positive and of the negative term.
        detached: whether the modulator was held constant in training.
    """

    shift: Number
    gammas: tuple[Number, Number]
    detached: bool

    def log_odds(self, z: Tensor) -> Tensor:
        """``log g_neg(-z) - log g_pos(z) + shift``, rising with a slope between 1 and 1 + gamma."""
        log_odds: Tensor = (BOOK.detached_log_odds if self.detached else BOOK.log_odds)(
            z, *self.gammas
        )
        return log_odds + self.shift

    def rise(self, z: Tensor) -> Tensor:
        """The derivative of `log_odds`."""
        rise: Tensor = (BOOK.detached_log_odds_rise if self.detached else BOOK.log_odds_rise)(
            z, *self.gammas
        )
        return rise


def binary_link(
    function: str, logits: Tensor, dtype: torch.dtype, alpha: Any, gamma: Any, detached: Any
) -> BinaryTensorLink:
    """The checked link of a sigmoid focal loss; ``logits`` give its tensors their alignment."""
    weights = gate.together(
        function, "alpha", arguments.alpha_pair(function, alpha, logits, dtype), logits
    )
    gammas = gate.together(
        function, "gamma", arguments.gamma_pair(function, gamma, logits, dtype), logits
    )
    arguments.check_posterior_alpha(function, alpha, multiclass=False, dtype=dtype)
    arguments.check_posterior_gamma(function, gammas, logits)
    shift = 0.0 if alpha is None else _log(weights[1], dtype) - _log(weights[0], dtype)
    return BinaryTensorLink(shift, gammas, arguments.flag(function, "detach_modulator", detached))


@overridable
def softmax_posterior(
    logits: Tensor,
    *,
    alpha: Tensor | None = None,
    gamma: float | Tensor = 2.0,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    temperature: float = 1.0,
    log_probabilities: bool = False,
) -> Tensor:
    r"""Class probabilities, from the logits of a model trained with `softmax_focal_loss`.

    $$ P(j) \propto \frac{1}{\alpha_j\,|\ell_j'(v_j)|}, \qquad
    |\ell'(v)| = \frac{(1-v)^\gamma}{v} - \gamma\,(1-v)^{\gamma-1} \log v,
    \qquad v = \mathrm{softmax}(z) $$

    Under the conditions of `sigmoid_posterior`: near the optimum of the loss, every example of the
    same weight, the class proportions of training.

    Args:
        logits: floating, ``(C,)`` or ``(N, C, *)``.
        alpha: as in training, and > 0 for every class.
        gamma: as in training: a number, a 0-d or a ``(C,)`` tensor.
        label_smoothing: as in training; it is undone, clipped at 0 and normalised again.
        detach_modulator: as in training.
        temperature: > 0; divides the posterior's log-probabilities before they are normalised.
        log_probabilities: return ``log P``, which keeps its digits where P rounds to 0 or 1. It is
            -inf for a class that is masked or that smoothing leaves nothing.

    Returns:
        Probabilities that sum to 1 over the class axis (or their logarithms), shape and dtype of
        ``logits``.

    Raises:
        ValueError: an alpha of 0, a gamma per example, temperature <= 0.
        TypeError: integer logits, a number for alpha or another wrong type.

    Example:
        >>> import torch
        >>> from refocal import softmax_posterior
        >>> softmax_posterior(torch.tensor([[1.0, 0.0, 0.0]]), gamma=2.0)
        tensor([[0.7752, 0.1124, 0.1124]])

    References:
        Charoenphakdee, Vongkulbhisal, Chairatanakul, Sugiyama, CVPR 2021, theorem 11.
        https://arxiv.org/abs/2011.09172
    """
    name = "softmax_posterior"
    dtype = arguments.check_logits(name, logits)
    axis, classes = arguments.class_axis(name, logits)
    weights = gate.together(
        name, "alpha", arguments.class_weights(name, alpha, logits, classes, dtype), logits
    )
    exponent = gate.together(
        name, "gamma", arguments.softmax_posterior_gamma(name, gamma, logits, dtype), logits
    )
    arguments.check_posterior_alpha(name, alpha, multiclass=True, dtype=dtype)
    divisor = arguments.posterior_temperature(name, temperature, logits, dtype)
    divisor = gate.together(name, "temperature", divisor, logits)
    smoothing = arguments.smoothing(name, label_smoothing)
    arguments.check_posterior_smoothing(name, smoothing)
    wanted = arguments.flag(name, "log_probabilities", log_probabilities)
    z = logits.to(dtype)
    margins = links.softmax_margins(z, axis)
    book = in_torch.for_dtype(dtype)
    detached = arguments.flag(name, "detach_modulator", detach_modulator)
    score = (book.detached_score if detached else book.score)(margins.s, margins.x, exponent)
    if weights is not None:
        score = score - torch.log(weights).view(
            [-1 if one == axis else 1 for one in range(z.dim())]
        )
    # at logits of 3e38 the scores overflow: held apart, so that no inf - inf is formed
    masked = score == -torch.inf
    largest = torch.finfo(dtype).max / (1 if wanted else 4)
    score = score.clamp(-largest, largest)
    if smoothing:
        left = (torch.softmax(score, axis) - smoothing / classes).clamp(min=0)
        masked = left == 0
        score = torch.log(torch.where(masked, 1.0, left))
    if smoothing or isinstance(divisor, Tensor) or divisor != 1:
        # relative to the largest, which a small temperature leaves at 0; a masked class stays one
        score = torch.where(masked, -torch.inf, score)
        score = score - score.detach().amax(axis, keepdim=True)
        score = torch.where(masked, -torch.inf, torch.where(masked, 0.0, score) / divisor)
    if wanted:
        # by margins, because the log-softmax of a likely class rounds to 0 where P rounds to 1
        margins = links.softmax_margins(torch.where(masked, -torch.inf, score), axis)
        logs = 0.0 - book.cross_entropy(margins.s, torch.log1p(margins.x))
        return logs.to(logits.dtype)  # type: ignore[no-any-return]
    return torch.softmax(score, axis).to(logits.dtype)


def _log(value: Number, dtype: torch.dtype) -> Any:
    return torch.log(value).to(dtype) if isinstance(value, Tensor) else math.log(value)
