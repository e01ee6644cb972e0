"""alpha, gamma and the initial bias: from class counts, from a probability, from rules of papers.

Plain numbers in, plain numbers out. What can be read off data is in `refocal.budget`. Before any of
it: at the optimum of the loss alpha is an offset of the logit and gamma a monotone link, so neither
changes the ranking there (docs/choosing-alpha-and-gamma.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from refocal import arguments, inverse
from refocal.inverse import BinaryLink, SoftmaxLink, bisect
from refocal.messages import refuse

# ---------------------------------------------------------------------------------------------
# class weights


def effective_number_weights(class_counts: Sequence[float], beta: float = 0.999) -> list[float]:
    r"""Return class weights by the effective number of samples, of mean 1.

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
        TypeError: something that is not a number.

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
    hint = "For inverse frequency use inverse_frequency_weights."
    base = arguments.real(name, "beta", beta, "in [0, 1)", lambda one: 0 <= one < 1, hint)
    if base == 0:
        return [1.0] * len(counts)
    log_base = math.log(base)
    exponents = [n * log_base for n in counts]
    if max(exponents) < -1e-290:
        return _inverse(
            [-math.expm1(exponent) for exponent in exponents]
        )  # 1 - beta**n, no cancellation
    # divided by -log(beta), because 1 - beta**n of a tiny n underflows
    return _inverse(
        [
            -1 / log_base if one < -50 else n * (math.expm1(one) / one if one else 1.0)
            for n, one in zip(counts, exponents, strict=True)
        ]
    )


def inverse_frequency_weights(class_counts: Sequence[float]) -> list[float]:
    """Return class weights proportional to 1 / count, of mean 1.

    The limit of `effective_number_weights` at beta = 1. At the optimum of a weighted loss they
    move every class to the same prior, which the posterior takes back.

    Args:
        class_counts: examples per class, all > 0.

    Returns:
        One weight per class.

    Raises:
        ValueError: a count that is not > 0.
        TypeError: something that is not a number.

    Example:
        >>> from refocal.parameters import inverse_frequency_weights
        >>> [round(w, 4) for w in inverse_frequency_weights([900, 100])]
        [0.2, 1.8]
    """
    return _inverse(_counts("inverse_frequency_weights", class_counts))


def _inverse(sizes: list[float]) -> list[float]:
    """Return weights of mean 1 proportional to 1 / size."""
    # by a power of two, which rounds nothing: the inverse of a subnormal number overflows
    scale = 2.0 ** (math.frexp(min(sizes))[1] - 1)
    weights = [1 / (size / scale) for size in sizes]
    mean = math.fsum(weights) / len(weights)
    return [weight / mean for weight in weights]


# ---------------------------------------------------------------------------------------------
# the bias of a last layer


def prior_bias(
    probability: float,
    *,
    alpha: float | None = 0.25,
    gamma: float | tuple[float, float] = 2.0,
    detach_modulator: bool = False,
) -> float:
    """Return the bias with which an untrained sigmoid layer predicts this probability.

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
        TypeError: something that is not a number.

    Example:
        >>> from refocal.parameters import prior_bias
        >>> print(round(prior_bias(0.01), 3), round(prior_bias(0.01, alpha=None, gamma=0), 3))
        -2.107 -4.595

    References:
        Lin, Goyal, Girshick, He, Dollár, 2017, section 4.1, "Initialization" (the prior, there
        set as if the loss were cross-entropy). https://arxiv.org/abs/1708.02002
    """
    return _prior_bias(
        "prior_bias", probability, alpha=alpha, gamma=gamma, detach_modulator=detach_modulator
    )


def _prior_bias(
    name: str,
    probability: float,
    *,
    alpha: float | None = 0.25,
    gamma: float | tuple[float, float] = 2.0,
    detach_modulator: bool = False,
) -> float:
    p = _probability(name, "probability", probability)
    link = _binary_link(name, alpha, gamma, detach_modulator)
    return link.logit(math.log(p) - math.log1p(-p))


def prior_biases(
    class_counts: Sequence[float],
    *,
    alpha: Sequence[float] | None = None,
    gamma: float | Sequence[float] = 2.0,
    detach_modulator: bool = False,
) -> list[float]:
    """Return the biases, one per class, with which an untrained softmax layer predicts the
    frequencies.

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
        TypeError: something that is not a number.

    Example:
        >>> from refocal.parameters import prior_biases
        >>> [round(b, 3) for b in prior_biases([70, 20, 10])]
        [0.579, -0.024, -0.555]
    """
    name = "prior_biases"
    counts = _counts(name, class_counts)
    weights = _per_class(name, "alpha", [1.0] * len(counts) if alpha is None else alpha, counts)
    gammas = _per_class(
        name, "gamma", [gamma] * len(counts) if arguments.is_number(gamma) else gamma, counts
    )
    link = SoftmaxLink(
        tuple(_class_weight(name, weight) for weight in weights),
        tuple(arguments.gamma_number(name, one, multiclass=True) for one in gammas),
        arguments.flag(name, "detach_modulator", detach_modulator),
    )
    return link.logits_of_logs(_log_shares(counts))


def _log_shares(counts: list[float]) -> list[float]:
    """Return logarithms of the shares of a total, which may be beyond the largest float."""
    scale = 2.0 ** (math.frexp(max(counts))[1] - 1)
    total = math.fsum(n / scale for n in counts)
    shares = [n / scale / total for n in counts]
    return [
        math.log(share) if share > 1e-290 else math.log(n) - math.log(scale) - math.log(total)
        for share, n in zip(shares, counts, strict=True)
    ]


def initialize_bias(layer: nn.Module, probability: float, **loss: Any) -> None:
    """Sets the bias of a last layer so that it starts from this probability.

    Args:
        layer: `torch.nn.Linear`, a convolution, or anything with a ``bias``.
        probability: the base rate, or another prior, strictly between 0 and 1.
        **loss: ``alpha``, ``gamma`` and ``detach_modulator`` of the loss, as for `prior_bias`.

    Raises:
        ValueError: the layer has no bias, or a value outside its domain.
        TypeError: something that is not a number.

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
        raise refuse(
            "initialize_bias",
            "layer",
            "have a bias",
            f"{type(layer).__name__} without one",
            "Create it with bias=True.",
        )
    if not isinstance(bias, Tensor) or not bias.dtype.is_floating_point:
        got = bias.dtype if isinstance(bias, Tensor) else type(bias).__name__
        raise refuse(
            "initialize_bias", "the bias of layer", "be a floating tensor", got, kind=TypeError
        )
    # the messages are of the function that was called
    nn.init.constant_(bias, _prior_bias("initialize_bias", probability, **loss))


def _binary_link(
    function: str,
    alpha: float | None,
    gamma: float | tuple[float, float],
    detach_modulator: bool = False,
) -> BinaryLink:
    """Return the link of a sigmoid focal loss, checked."""
    log_weight = 0.0
    if alpha is not None:
        weight = arguments.alpha_number(function, alpha)
        arguments.check_posterior_alpha(function, weight, multiclass=False)
        log_weight = math.log(weight) - math.log1p(-weight)
    pair = gamma if isinstance(gamma, tuple) else (gamma, gamma)
    if len(pair) != 2:
        arguments.fail_gamma_count(function, len(pair))
    positive, negative = (arguments.gamma_number(function, one, multiclass=False) for one in pair)
    detached = arguments.flag(function, "detach_modulator", detach_modulator)
    return BinaryLink(log_weight, (positive, negative), detached)


# ---------------------------------------------------------------------------------------------
# gamma


def mukhoti_gamma(probability: float) -> float:
    """Return the gamma at which focal and cross-entropy pull equally hard on an example of this
    p_t.

    Below this p_t focal's gradient is larger than cross-entropy's, above it smaller. Proposed as a
    rule to choose gamma from the confidence that one accepts. For p_t > 0.5 no gamma > 0 does it
    (the Lambert W solution there is spurious), and the result is 0.

    Args:
        probability: p_t, strictly between 0 and 1.

    Returns:
        The gamma > 0 with ``(1-p)^gamma - gamma p (1-p)^(gamma-1) log p = 1``, or 0; inf beyond
        the largest float.

    Raises:
        ValueError: a probability not strictly between 0 and 1.
        TypeError: something that is not a number.

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
    if p < 1e-290:
        # with x = gamma p the equation is exp(-x) (1 - x log p) = 1: there is no float for gamma
        # at all below about 5e-308
        x = bisect(lambda x: x - math.log1p(-x * math.log(p)), 1.0, 20.0)
        return x / p
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
    """Return w of the branch W <= -1 at ``-exp(log_argument)``, ``log_argument <= -1``.

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
    """Say how many times less than cross-entropy an example of this p_t costs: ``(1 - p)**-gamma``.

    Args:
        probability: p_t, strictly between 0 and 1.
        gamma: >= 0.

    Returns:
        The factor, >= 1; inf beyond the largest float.

    Raises:
        ValueError: a value outside its domain.
        TypeError: something that is not a number.

    Example:
        >>> from refocal.parameters import loss_reduction
        >>> print(round(loss_reduction(0.9), 1), round(loss_reduction(0.968), 1))
        100.0 976.6

    References:
        Lin, Goyal, Girshick, He, Dollár, 2017, section 3.2. https://arxiv.org/abs/1708.02002
    """
    name = "loss_reduction"
    p = _probability(name, "probability", probability)
    exponent = arguments.finite_gamma(name, gamma)
    try:
        # 1 - p is exact from a half on; below, it is its logarithm that is
        return (1 - p) ** -exponent if p >= 0.5 else math.exp(-exponent * math.log1p(-p))
    except OverflowError:
        return math.inf


def gradient_ratio(easy: float, hard: float, gamma: float = 2.0) -> float:
    """Say how many times harder an example of p_t = ``hard`` pulls than one of p_t = ``easy``.

    The ratio of |F'|, the gradients with respect to the logit. Cross-entropy: ``(1 - hard) /
    (1 - easy)``.

    Args:
        easy: p_t, strictly between 0 and 1.
        hard: p_t, strictly between 0 and 1.
        gamma: >= 0.

    Returns:
        The ratio, >= 0; above 1 where ``hard`` is the one that pulls harder; inf beyond the largest
        float.

    Raises:
        ValueError: a value outside its domain.
        TypeError: something that is not a number.

    Example:
        >>> from refocal.parameters import gradient_ratio
        >>> print(round(gradient_ratio(0.9, 0.1, gamma=0), 1), round(gradient_ratio(0.9, 0.1), 1))
        9.0 380.5
    """
    name = "gradient_ratio"
    exponent = arguments.finite_gamma(name, gamma)
    p, p_easy = (_probability(name, "hard", hard), _probability(name, "easy", easy))
    # |F'| = q**(1 + gamma) (1 + gamma p ce / q), by logarithms: either slope may underflow
    distance = math.log1p(-p) - math.log1p(-p_easy)
    gain, gain_easy = (
        math.log1p(exponent * (one * -math.log(one) / (1 - one))) for one in (p, p_easy)
    )
    try:
        return math.exp((1 + exponent) * distance + (gain - gain_easy))
    except OverflowError:
        return math.inf


def half_weight_probability(gamma: float) -> float:
    """Return the p_t at which focal costs half of cross-entropy: ``1 - 2**(-1 / gamma)``.

    As gamma tends to infinity it tends to ``log(2) / gamma``: the loss becomes a soft cut-off,
    cross-entropy for p_t far below 1 / gamma and nothing far above. In that limit only examples
    the model finds nearly impossible are trained on.

    Args:
        gamma: > 0.

    Returns:
        p_t, between 0 and 1.

    Raises:
        ValueError: gamma not > 0.
        TypeError: something that is not a number.

    Example:
        >>> from refocal.parameters import half_weight_probability
        >>> [round(half_weight_probability(g), 4) for g in (0.5, 1, 2, 5, 100)]
        [0.75, 0.5, 0.2929, 0.1294, 0.0069]
    """
    exponent = arguments.real(
        "half_weight_probability",
        "gamma",
        gamma,
        "finite and > 0",
        lambda one: 0 < one < math.inf,
        "Cross-entropy, gamma 0, has no such p_t.",
    )
    return -math.expm1(-math.log(2) / exponent)


def inflection_probability(gamma: float) -> float:
    """Return the p_t below which the focal loss is concave in the logit; 0 for gamma = 0.

    An example below it pulls less the worse it gets. A start that puts a whole class there trains
    slowly, and breaks second-order methods such as boosting with the exact Hessian.

    Args:
        gamma: >= 0.

    Returns:
        p_t, between 0 and 1.

    Raises:
        ValueError: gamma < 0.
        TypeError: something that is not a number.

    Example:
        >>> from refocal.parameters import inflection_probability
        >>> print(round(inflection_probability(2.0), 4))
        0.0578
    """
    return inverse.inflection(arguments.finite_gamma("inflection_probability", gamma))


# ---------------------------------------------------------------------------------------------
# checks


def _counts(function: str, class_counts: Sequence[float]) -> list[float]:
    listed = arguments.per_class(function, "class_counts", class_counts)
    if not listed:
        raise refuse(function, "class_counts", "hold at least one class", "none")
    hint = "A class without examples has no weight; leave it out."
    return [
        arguments.real(
            function, f"class_counts[{position}]", count, "finite and > 0", _finite_positive, hint
        )
        for position, count in enumerate(listed)
    ]


def _per_class(function: str, argument: str, values: Any, counts: list[float]) -> list[Any]:
    """Return one value for each class; a 0-d tensor is one for all."""
    if isinstance(values, Tensor) and values.dim() == 0 and argument == "gamma":
        values = values.expand(len(counts))
    listed = arguments.per_class(function, argument, values)
    if len(listed) != len(counts):
        raise refuse(
            function, argument, f"have one value for each of {len(counts)} classes", len(listed)
        )
    return listed


def _class_weight(function: str, value: Any) -> float:
    hint = "A class of weight 0 is not learned, so it has no prior."
    domain = "finite and > 0 for every class"
    return arguments.real(function, "alpha", value, domain, _finite_positive, hint)


def _finite_positive(value: float) -> bool:
    return 0 < value < math.inf


def _probability(function: str, argument: str, value: Any) -> float:
    return arguments.strictly_between_0_and_1(function, argument, value)
