"""alpha, gamma and the initial bias: from class counts, from a probability, from rules of papers.

Plain numbers in, plain numbers out. What can be read off data is in `refocal.budget`. Before any of
it: at the optimum of the loss alpha is an offset of the logit and gamma a monotone link, so neither
changes the ranking there (docs/choosing-alpha-and-gamma.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from torch import nn

from refocal import arguments, formula, inverse
from refocal.inverse import BinaryLink, SoftmaxLink

# ---------------------------------------------------------------------------------------------
# class weights


def effective_number_weights(class_counts: Sequence[float], beta: float = 0.999) -> list[float]:
    r"""Class weights by the effective number of samples, of mean 1.

    $$ w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}} $$

    ``beta=0`` weighs all classes alike; as beta tends to 1 the weights tend to inverse frequency.

    Args:
        class_counts: examples per class, all > 0.
        beta: in [0, 1).

    Returns:
        One weight per class, for ``softmax_focal_loss(alpha=torch.tensor(...))``. Of two classes
        (negative, positive), ``weights[1] / 2`` is the alpha of `sigmoid_focal_loss`.

    Raises:
        ValueError: a count that is not > 0, or beta outside [0, 1).

    Example:
        >>> from refocal.parameters import effective_number_weights
        >>> [round(w, 4) for w in effective_number_weights([5000, 500, 50], beta=0.999)]
        [0.1256, 0.317, 2.5574]

    References:
        Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples",
        2019, eq. 2 (they normalise to a sum of C, which is a mean of 1).
        https://arxiv.org/abs/1901.05555
    """
    name = "effective_number_weights"
    counts = _counts(name, class_counts)
    if not arguments.is_number(beta) or not 0 <= beta < 1:
        _fail(
            name,
            f"beta must be in [0, 1), got {beta!r}. For inverse frequency use "
            "inverse_frequency_weights.",
        )
    if beta == 0:
        return [1.0] * len(counts)
    # 1 - beta**n without cancellation
    return _of_mean_one([1 / -math.expm1(n * math.log(beta)) for n in counts])


def inverse_frequency_weights(class_counts: Sequence[float]) -> list[float]:
    """Class weights proportional to 1 / count, of mean 1.

    The limit of `effective_number_weights` at beta = 1. At the optimum of a weighted loss they
    move every class to the same prior, which the posterior takes back.

    Args:
        class_counts: examples per class, all > 0.

    Returns:
        One weight per class.

    Raises:
        ValueError: a count that is not > 0.

    Example:
        >>> from refocal.parameters import inverse_frequency_weights
        >>> [round(w, 4) for w in inverse_frequency_weights([900, 100])]
        [0.2, 1.8]
    """
    return _of_mean_one([1 / n for n in _counts("inverse_frequency_weights", class_counts)])


def _of_mean_one(weights: list[float]) -> list[float]:
    mean = math.fsum(weights) / len(weights)
    return [one / mean for one in weights]


# ---------------------------------------------------------------------------------------------
# the bias of a last layer


def prior_bias(
    probability: float,
    *,
    alpha: float | None = 0.25,
    gamma: float | tuple[float, float] = 2.0,
    detach_modulator: bool = False,
) -> float:
    """The bias with which an untrained sigmoid layer predicts this probability.

    RetinaNet sets the bias to ``logit(0.01) = -4.595``. Under its own loss (alpha 0.25, gamma 2)
    that logit means a posterior of 8.5e-6, not 0.01; the bias that means 0.01 is -2.107. Both
    start the training with quiet negatives; only the second starts at the stated prior.

    For the base rate this is the focal-optimal constant: the logit that minimises the mean loss of
    a model without features.

    Args:
        probability: strictly between 0 and 1; usually the base rate.
        alpha: of the loss to be trained with, strictly between 0 and 1, or None.
        gamma: of the loss, a number or ``(gamma_pos, gamma_neg)``.
        detach_modulator: of the loss.

    Returns:
        The logit whose `sigmoid_posterior` is ``probability``.

    Raises:
        ValueError: a value outside its domain.

    Example:
        >>> from refocal.parameters import prior_bias
        >>> print(round(prior_bias(0.01), 3), round(prior_bias(0.01, alpha=None, gamma=0), 3))
        -2.107 -4.595

    References:
        Lin, Goyal, Girshick, He, Dollár, 2017, section 4.1, "Initialization" (the prior, there
        set as if the loss were cross-entropy). https://arxiv.org/abs/1708.02002
    """
    name = "prior_bias"
    if not arguments.is_number(probability) or not 0 < probability < 1:
        _fail(name, f"probability must be strictly between 0 and 1, got {probability!r}.")
    link = _binary_link(name, alpha, gamma, detach_modulator)
    return link.logit(math.log(probability) - math.log1p(-probability))


def prior_biases(
    class_counts: Sequence[float],
    *,
    alpha: Sequence[float] | None = None,
    gamma: float | Sequence[float] = 2.0,
    detach_modulator: bool = False,
) -> list[float]:
    """The biases, one per class, with which an untrained softmax layer predicts the frequencies.

    The focal-optimal constants of `softmax_focal_loss`, of mean 0.

    Args:
        class_counts: examples per class (or frequencies), all > 0.
        alpha: class weights > 0 of the loss, or None.
        gamma: of the loss, a number or one per class.
        detach_modulator: of the loss.

    Returns:
        Logits whose `softmax_posterior` is the class frequencies.

    Raises:
        ValueError: a value outside its domain.

    Example:
        >>> from refocal.parameters import prior_biases
        >>> [round(b, 3) for b in prior_biases([70, 20, 10])]
        [0.579, -0.024, -0.555]
    """
    name = "prior_biases"
    counts = _counts(name, class_counts)
    total = math.fsum(counts)
    gammas = [gamma] * len(counts) if arguments.is_number(gamma) else list(gamma)  # type: ignore[arg-type]
    weights = [1.0] * len(counts) if alpha is None else list(alpha)
    for argument, values in (("alpha", weights), ("gamma", gammas)):
        if len(values) != len(counts):
            _fail(
                name,
                f"{argument} must have one value for each of {len(counts)} classes, got "
                f"{len(values)}.",
            )
    for weight in weights:
        if not 0 < weight < math.inf:
            _fail(name, f"alpha must be finite and > 0 for every class, got {weight}.")
    exponents = tuple(arguments.gamma_number(name, one, multiclass=True) for one in gammas)
    link = SoftmaxLink(tuple(map(float, weights)), exponents, detach_modulator)
    return link.logits([n / total for n in counts])


def initialize_bias(layer: nn.Module, probability: float, **loss: Any) -> None:
    """Sets the bias of a last layer so that it starts from this probability.

    Args:
        layer: `torch.nn.Linear`, a convolution, or anything with a ``bias``.
        probability: the base rate, or another prior, strictly between 0 and 1.
        **loss: ``alpha``, ``gamma`` and ``detach_modulator`` of the loss, as for `prior_bias`.

    Raises:
        ValueError: the layer has no bias, or a value outside its domain.

    Example:
        >>> import torch
        >>> from refocal import sigmoid_posterior
        >>> from refocal.parameters import initialize_bias
        >>> layer = torch.nn.Linear(4, 1)
        >>> initialize_bias(layer, 0.01)
        >>> sigmoid_posterior(layer.bias.detach())
        tensor([0.0100])
    """
    bias = getattr(layer, "bias", None)
    if bias is None:
        _fail(
            "initialize_bias",
            f"layer must have a bias, got {type(layer).__name__} without one. Create it with "
            "bias=True.",
        )
    nn.init.constant_(bias, prior_bias(probability, **loss))


def _binary_link(
    function: str,
    alpha: float | None,
    gamma: float | tuple[float, float],
    detach_modulator: bool = False,
) -> BinaryLink:
    """The link of a sigmoid focal loss, checked."""
    arguments.check_loss_parameters(function, alpha, gamma, 0.0, multiclass=False)
    arguments.check_posterior_alpha(function, alpha, multiclass=False)
    pair = gamma if isinstance(gamma, tuple) else (gamma, gamma)
    weight = 0.0 if alpha is None else math.log(alpha) - math.log1p(-alpha)
    return BinaryLink(weight, (float(pair[0]), float(pair[1])), detach_modulator)


# ---------------------------------------------------------------------------------------------
# gamma


def mukhoti_gamma(probability: float) -> float:
    """The gamma at which focal and cross-entropy pull equally hard on an example of this p_t.

    Below this p_t focal's gradient is larger than cross-entropy's, above it smaller. Proposed as a
    rule to choose gamma from the confidence that one accepts. For p_t > 0.5 no gamma > 0 does it
    (the Lambert W solution there is spurious), and the result is 0.

    Args:
        probability: p_t, strictly between 0 and 1.

    Returns:
        The gamma > 0 with ``(1-p)^gamma - gamma p (1-p)^(gamma-1) log p = 1``, or 0.

    Raises:
        ValueError: a probability not strictly between 0 and 1.

    Example:
        >>> from refocal.parameters import mukhoti_gamma
        >>> print(round(mukhoti_gamma(0.2), 4), round(mukhoti_gamma(0.25), 4), mukhoti_gamma(0.5))
        4.8506 3.0702 0.0

    References:
        Mukhoti, Kulharia, Sanyal, Golodetz, Torr, Dokania, "Calibrating Deep Neural Networks using
        Focal Loss", 2020, proposition 1. https://arxiv.org/abs/2002.09437
    """
    name = "mukhoti_gamma"
    p = _probability(name, "probability", probability)
    if p >= 0.5:
        return 0.0
    a, b = 1 - p, p * math.log(p)
    # gamma = a / b + W(-a**(1 - a/b) log(a) / b) / log(a), on the branch W <= -1; the argument by
    # its logarithm, because a**(-a/b) overflows for small p
    log_a = math.log1p(-p)
    log_argument = (1 - a / b) * log_a + math.log(log_a / b)
    gamma = a / b + _lambert_w_lower(log_argument) / log_a
    for _ in range(3):  # Newton on log g, which loses no digits where the two terms above cancel
        ratio = b / a  # g = a**gamma (1 - gamma b / a)
        value = gamma * log_a + math.log1p(-gamma * ratio)
        gamma -= value / (log_a - ratio / (1 - gamma * ratio))
    return max(gamma, 0.0)


def _lambert_w_lower(log_argument: float) -> float:
    """W of the branch W <= -1 at ``-exp(log_argument)``, ``log_argument <= -1``.

    By Newton on ``w + log(-w)`` form: with v = -w, ``v - log v = -log_argument``, v >= 1.
    """
    target = -log_argument
    if target <= 1:
        return -1.0
    v = target + math.log(target) if target > 2 else 1 + math.sqrt(2 * (target - 1))
    for _ in range(50):
        step = (v - math.log(v) - target) * v / (v - 1)
        v -= step
        if abs(step) <= 1e-15 * v:
            break
    return -v


def loss_reduction(probability: float, gamma: float = 2.0) -> float:
    """How many times less than cross-entropy an example of this p_t costs: ``(1 - p)**-gamma``.

    Args:
        probability: p_t, strictly between 0 and 1.
        gamma: >= 0.

    Returns:
        The factor, >= 1.

    Raises:
        ValueError: a value outside its domain.

    Example:
        >>> from refocal.parameters import loss_reduction
        >>> print(round(loss_reduction(0.9), 1), round(loss_reduction(0.968), 1))
        100.0 976.6

    References:
        Lin, Goyal, Girshick, He, Dollár, 2017, section 3.2. https://arxiv.org/abs/1708.02002
    """
    p = _probability("loss_reduction", "probability", probability)
    return float((1 - p) ** -_gamma("loss_reduction", gamma))


def gradient_ratio(easy: float, hard: float, gamma: float = 2.0) -> float:
    """How many times harder an example of p_t = ``hard`` pulls than one of p_t = ``easy``.

    The ratio of |F'|, the gradients with respect to the logit. Cross-entropy: ``(1 - hard) /
    (1 - easy)``.

    Args:
        easy: p_t, strictly between 0 and 1.
        hard: p_t, strictly between 0 and 1.
        gamma: >= 0.

    Returns:
        The ratio, >= 0; above 1 where ``hard`` is the one that pulls harder.

    Raises:
        ValueError: a value outside its domain.

    Example:
        >>> from refocal.parameters import gradient_ratio
        >>> print(round(gradient_ratio(0.9, 0.1, gamma=0), 1), round(gradient_ratio(0.9, 0.1), 1))
        9.0 380.5
    """
    name = "gradient_ratio"
    exponent = _gamma(name, gamma)
    slopes = []
    for argument, value in (("hard", hard), ("easy", easy)):
        p = _probability(name, argument, value)
        s = math.log(p) - math.log1p(-p)
        slopes.append(float(formula.slope(s, math.exp(-abs(s)), exponent)))
    return slopes[0] / slopes[1]


def half_weight_probability(gamma: float) -> float:
    """The p_t at which focal costs half of cross-entropy: ``1 - 2**(-1 / gamma)``.

    As gamma tends to infinity it tends to ``log(2) / gamma``: the loss becomes a soft cut-off,
    cross-entropy for p_t far below 1 / gamma and nothing far above. In that limit only examples
    the model finds nearly impossible are trained on.

    Args:
        gamma: > 0.

    Returns:
        p_t, between 0 and 1.

    Raises:
        ValueError: gamma not > 0.

    Example:
        >>> from refocal.parameters import half_weight_probability
        >>> [round(half_weight_probability(g), 4) for g in (0.5, 1, 2, 5, 100)]
        [0.75, 0.5, 0.2929, 0.1294, 0.0069]
    """
    exponent = _gamma("half_weight_probability", gamma)
    if exponent == 0:
        _fail("half_weight_probability", "gamma must be > 0, got 0. Cross-entropy has no such p_t.")
    return -math.expm1(-math.log(2) / exponent)


def inflection_probability(gamma: float) -> float:
    """The p_t below which the focal loss is concave in the logit; 0 for gamma = 0.

    An example below it pulls less the worse it gets. A start that puts a whole class there trains
    slowly, and breaks second-order methods such as boosting with the exact Hessian.

    Args:
        gamma: >= 0.

    Returns:
        p_t, between 0 and 1.

    Raises:
        ValueError: gamma < 0.

    Example:
        >>> from refocal.parameters import inflection_probability
        >>> print(round(inflection_probability(2.0), 4))
        0.0578
    """
    return inverse.inflection(_gamma("inflection_probability", gamma))


# ---------------------------------------------------------------------------------------------
# checks


def _counts(function: str, class_counts: Sequence[float]) -> list[float]:
    counts = [float(one) for one in class_counts]
    if not counts:
        _fail(function, "class_counts must hold at least one class, got none.")
    for position, count in enumerate(counts):
        if not 0 < count < math.inf:
            _fail(
                function,
                f"class_counts must be finite and > 0, got {count} for class {position}. A class "
                "without examples has no weight; leave it out.",
            )
    return counts


def _probability(function: str, argument: str, value: Any) -> float:
    if not arguments.is_number(value) or not 0 < value < 1:
        _fail(function, f"{argument} must be strictly between 0 and 1, got {value!r}.")
    return float(value)


def _gamma(function: str, gamma: Any) -> float:
    return arguments.gamma_number(function, gamma, multiclass=True)


def _fail(function: str, message: str) -> NoReturn:
    raise ValueError(f"{function}: {message}")
