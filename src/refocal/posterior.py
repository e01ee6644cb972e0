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
from typing import Any

import torch
from torch import Tensor

from refocal import arguments, links
from refocal.kernels.eager import bound
from refocal.problem import Number


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
    weights = arguments.alpha_pair(name, alpha, logits, dtype)
    gammas = arguments.gamma_pair(name, gamma, logits, dtype)
    arguments.check_posterior_alpha(name, alpha, multiclass=False)
    arguments.check_posterior_gamma(name, gammas, logits)
    arguments.check_temperature(name, temperature)
    smoothing = arguments.smoothing(name, label_smoothing)
    arguments.check_posterior_smoothing(name, smoothing)
    z = logits.to(dtype)
    minus = -z
    if arguments.flag(name, "detach_modulator", detach_modulator):
        odds = _log_detached_slope(minus, gammas[1]) - _log_detached_slope(z, gammas[0])
    else:
        functions = bound("exponential")
        odds = functions.log_slope(minus, links.decay(minus), gammas[1]) - functions.log_slope(
            z, links.decay(z), gammas[0]
        )
    if alpha is not None:
        odds = odds + (_log(weights[1], z) - _log(weights[0], z))
    if smoothing:
        smoothed = torch.sigmoid(odds)
        # (1 - e) P + e/2 for both classes: 1 - P from the other tail, not from 1 - smoothed
        positive = (smoothed - smoothing / 2).clamp(min=0)
        negative = (torch.sigmoid(-odds) - smoothing / 2).clamp(min=0)
        odds = torch.log(positive) - torch.log(negative)
    odds = odds / temperature
    return (odds if log_odds else torch.sigmoid(odds)).to(logits.dtype)


def softmax_posterior(
    logits: Tensor,
    *,
    alpha: Tensor | None = None,
    gamma: float | Tensor = 2.0,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    temperature: float = 1.0,
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

    Returns:
        Probabilities that sum to 1 over the class axis, shape and dtype of ``logits``.

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
    weights = arguments.class_weights(name, alpha, logits, classes, dtype)
    exponent = arguments.softmax_posterior_gamma(name, gamma, logits, dtype)
    arguments.check_posterior_alpha(name, alpha, multiclass=True)
    arguments.check_temperature(name, temperature)
    smoothing = arguments.smoothing(name, label_smoothing)
    arguments.check_posterior_smoothing(name, smoothing)
    z = logits.to(dtype)
    margins = links.softmax_margins(z, axis)
    s, x = margins.s, margins.x
    # log |l'(v)| = -gamma (-log(1 - v)) - log v + log(1 + gamma p ce / q), detached without the
    # last term
    log_x = torch.log1p(x)
    cross_entropy = torch.where(s >= 0, 0.0, -s) + log_x
    # finite, so that gamma = 0 switches it off also where the margin is infinite
    largest = torch.finfo(dtype).max / 4
    softplus = (torch.where(s >= 0, s, 0.0) + log_x).clamp(max=largest)
    score = exponent * softplus - cross_entropy
    if not arguments.flag(name, "detach_modulator", detach_modulator):
        score = score - bound("exponential").log_gain(s, x, exponent)
    if weights is not None:
        score = score - torch.log(weights).view(
            [-1 if one == axis else 1 for one in range(z.dim())]
        )
    # at logits of 3e38 the scores overflow: held apart, so that no inf - inf is formed
    score = score.clamp(-largest, largest)
    probabilities = torch.softmax(score, axis)
    if smoothing:
        score = torch.log((probabilities - smoothing / classes).clamp(min=0))
    if temperature != 1 or smoothing:
        probabilities = torch.softmax(score / temperature, axis)
    return probabilities.to(logits.dtype)


def _log_detached_slope(s: Tensor, gamma: Number) -> Tensor:
    """Log of (1 - p)**(gamma + 1)."""
    return -(1 + gamma) * (torch.where(s >= 0, s, 0.0) + torch.log1p(links.decay(s)))


def _log(value: Number, like: Tensor) -> Any:
    return torch.log(value).to(like.dtype) if isinstance(value, Tensor) else math.log(value)
