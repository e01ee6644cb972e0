"""Using the probabilities: the inverse link, a fitted temperature, other priors, costs.

`refocal.posterior` turns the logits of a focal-trained model into probabilities under conditions:
near the optimum, every example of the same weight, the class proportions of training. This file is
for when one of them does not hold, and for turning a probability into a decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from refocal import arguments
from refocal.formula.in_torch import BOOK
from refocal.inverse import bisect
from refocal.messages import refuse
from refocal.overrides import overridable
from refocal.posterior import (
    BinaryTensorLink,
    binary_link,
    sigmoid_posterior,
    softmax_posterior,
)
from refocal.problem import Number
from refocal.torch_state import untraced

# the largest temperature and its inverse that a fit returns: beyond, the log-odds say nothing
HOTTEST = 100.0

# derivatives of `sigmoid_logit` to the order 2**steps - 1
NEWTON_STEPS = 3

# examples of a batch whose shift is summed over all counts of positives
LARGEST_BATCH = 10_000_000

# examples that a temperature is fitted to, at least
FEWEST_EXAMPLES = 10


@overridable
def sigmoid_logit(
    probability: Tensor,
    *,
    alpha: float | Tensor | None = 0.25,
    gamma: float | Tensor | tuple[float | Tensor, float | Tensor] = 2.0,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
    temperature: float = 1.0,
    log_odds: bool = False,
) -> Tensor:
    r"""Return the logit that means this probability: the inverse of `sigmoid_posterior`.

    For the initial bias of a last layer, and for a threshold on logits. Found by Newton's
    method in a bracket, in float64, because the posterior has no inverse in closed form.
    Differentiable to the seventh order with respect to ``probability``, ``alpha``, ``gamma`` and
    ``temperature``, by the implicit function theorem.

    Args:
        probability: floating, any shape, in [0, 1]; 0 and 1 give -inf and inf.
        alpha: as in training, strictly between 0 and 1, or None.
        gamma: as in training.
        label_smoothing: as in training. With smoothing e a model's logits stay between those of
            e/2 and 1 - e/2.
        detach_modulator: as in training.
        temperature: as given to `sigmoid_posterior`.
        log_odds: ``probability`` holds ``log(P / (1 - P))`` instead, any real number.

    Returns:
        Logits, shape and dtype of ``probability``.

    Raises:
        ValueError: a probability outside [0, 1], or the errors of `sigmoid_posterior`.
        TypeError: ``probability`` is not a floating tensor.

    Example:
        >>> import torch
        >>> from refocal import sigmoid_logit
        >>> sigmoid_logit(torch.tensor([0.045, 0.9]))
        tensor([-1.5443,  0.4104])

    References:
        The inverse of Charoenphakdee, Vongkulbhisal, Chairatanakul, Sugiyama, CVPR 2021, theorem
        11. https://arxiv.org/abs/2011.09172
    """
    name = "sigmoid_logit"
    if not isinstance(probability, Tensor) or not probability.dtype.is_floating_point:
        got = getattr(probability, "dtype", type(probability).__name__)
        raise refuse(
            name,
            "probability",
            "be a floating tensor",
            got,
            "For a plain number use refocal.parameters.prior_bias.",
            TypeError,
        )
    target = probability.double()
    link = binary_link(name, target, torch.float64, alpha, gamma, detach_modulator)
    divisor = arguments.posterior_temperature(name, temperature, target, torch.float64)
    smoothing = arguments.smoothing(name, label_smoothing)
    arguments.check_posterior_smoothing(name, smoothing)
    if not arguments.flag(name, "log_odds", log_odds):
        _check_probabilities(name, "probability", probability)
        target = torch.logit(target)
    target = target * divisor
    if smoothing:
        shares = (1 - smoothing, smoothing / 2)
        smoothed = BOOK.smoothed(torch.sigmoid(target), *shares)
        negative = BOOK.smoothed(torch.sigmoid(-target), *shares)
        target = torch.log(smoothed) - torch.log(negative)
    finite = torch.isfinite(target)
    wanted = torch.where(finite, target, 0.0)
    logits = _root(_constant(link), wanted.detach())
    # The root itself is a constant. Newton steps from it change its value by roundings only, but
    # carry derivatives: right to order 1, 3, 7 after one, two, three of them.
    for _ in range(NEWTON_STEPS):
        logits = logits - (link.log_odds(logits) - wanted) / link.rise(logits)
    return torch.where(finite, logits, target).to(probability.dtype)


def _constant(link: BinaryTensorLink) -> BinaryTensorLink:
    """Holds the link, without derivatives."""

    def held(value: Number) -> Number:
        return value.detach() if isinstance(value, Tensor) else value

    positive, negative = link.gammas
    return BinaryTensorLink(held(link.shift), (held(positive), held(negative)), link.detached)


@untraced
def _root(link: BinaryTensorLink, target: Tensor) -> Tensor:
    """Return the logit of these log-odds: Newton's method, held in a bracket."""
    with torch.no_grad():
        # log-odds rise at least as fast as logits
        gap = target - link.log_odds(torch.zeros_like(target))
        margin = 1e-9 * (1 + torch.abs(gap))
        low, high = gap.clamp(max=0) - margin, gap.clamp(min=0) + margin
        z = gap / 2
        # bisection alone would take 60 steps to the last bit, Newton takes about 8
        readable = target.numel() == 0 or arguments.readable(target)
        for _ in range(200 if readable else 60):
            over = link.log_odds(z) - target
            low, high = torch.where(over > 0, low, z), torch.where(over > 0, z, high)
            newton = z - over / link.rise(z)
            inside = (low <= newton) & (newton <= high)
            following = torch.where(inside, newton, low + (high - low) / 2)
            moved = (following - z).abs() > 8 * torch.finfo(z.dtype).eps * (1 + z.abs())
            z = following
            if readable and not bool(moved.any()):
                break
    return z


# ---------------------------------------------------------------------------------------------
# is the closed form good on held-out data, and what one number repairs it


@dataclass(frozen=True)
class TemperatureFit:
    """What `fit_temperature` found on held-out data; log losses are means in nats.

    Attributes:
        temperature: what to pass to the posterior; above 1 the closed form was overconfident.
        raw: log loss of the plain sigmoid or softmax of the logits.
        closed_form: log loss of the posterior.
        fitted: log loss of the posterior with this temperature, on the data it was fitted to.
        base_rate: log loss of the class frequencies alone.
        count: examples.
    """

    temperature: float
    raw: float
    closed_form: float
    fitted: float
    base_rate: float
    count: int

    @property
    def closed_form_holds(self) -> bool:
        """Whether the closed form beats the raw probabilities here."""
        return self.closed_form <= self.raw

    def __str__(self) -> str:
        verdict = (
            "The closed form holds."
            if self.closed_form_holds
            else "The closed form is worse than the raw probabilities: the model is not near the "
            "optimum of its loss (overfit, or not trained out). Use the fitted temperature, or "
            "stop earlier."
        )
        if min(self.raw, self.closed_form, self.fitted) >= self.base_rate:
            verdict += " Nothing here beats the class frequencies."
        return (
            f"log loss on {self.count} held-out examples: raw {self.raw:.4f}, closed form "
            f"{self.closed_form:.4f}, with temperature {self.temperature:.3f} {self.fitted:.4f}, "
            f"class frequencies {self.base_rate:.4f}. {verdict}"
        )


def fit_temperature(
    logits: Tensor,
    targets: Tensor,
    *,
    link: str = "sigmoid",
    alpha: float | Tensor | str | None = "default",
    gamma: float | Tensor | tuple[float | Tensor, float | Tensor] = 2.0,
    label_smoothing: float = 0.0,
    detach_modulator: bool = False,
) -> TemperatureFit:
    """Checks the closed-form posterior on held-out data, and fits one temperature to repair it.

    The posterior assumes a model near the optimum of its loss. On an overfit network it makes
    probabilities worse; the result says so. A temperature on the posterior's log-odds has one
    parameter and keeps the ranking of a binary problem. Its log loss is convex in 1 / temperature.

    Args:
        logits: of a trained model on data it has not seen. ``(*)`` for the sigmoid; ``(N, C)`` for
            the softmax.
        targets: 0 or 1 in the shape of ``logits``; class indices ``(N,)`` for the softmax.
        link: "sigmoid" or "softmax".
        alpha: as in training (softmax: None or ``(C,)``). "default": that of the loss, 0.25 for the
            sigmoid and None for the softmax.
        gamma: as in training.
        label_smoothing: as in training.
        detach_modulator: as in training.

    Returns:
        A `TemperatureFit`. Its temperature lies in [0.01, 100].

    Raises:
        ValueError: shapes differ, targets of another kind, or too few examples.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> from refocal import fit_temperature
        >>> logits = torch.tensor([3.0, 1.0, -1.0, -3.0] * 25)
        >>> targets = torch.tensor([1.0, 0.0, 1.0, 0.0] * 25)
        >>> print(fit_temperature(logits, targets, alpha=None).temperature > 1)
        True

    References:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017, section 4.2,
        applied after the closed form. https://arxiv.org/abs/1706.04599
    """
    name = "fit_temperature"
    settings: dict[str, Any] = {
        "alpha": arguments.default_alpha(alpha, link),
        "gamma": gamma,
        "label_smoothing": label_smoothing,
        "detach_modulator": detach_modulator,
    }
    arguments.check_outcomes(name, logits, targets, link)
    z = logits.detach().double()
    if link == "sigmoid":
        scores, raw, index = _binary_scores(name, z, targets, settings)
    else:
        scores, raw, index = _class_scores(name, z, targets, settings)

    def loss(beta: float, of: Tensor = scores) -> float:
        return functional.cross_entropy(beta * of, index).item()

    def slope(beta: float) -> float:
        # d/d beta of the log loss: expected score under the model less the score of the label
        if link == "sigmoid":  # the two scores differ in sign alone
            expected = scores[:, 1] * torch.tanh(beta * scores[:, 1])
        else:
            expected = (torch.softmax(beta * scores, 1) * scores).sum(1)
        return (expected - scores.gather(1, index.unsqueeze(1)).squeeze(1)).mean().item()

    low, high = 1 / HOTTEST, HOTTEST
    beta = low if slope(low) >= 0 else high if slope(high) <= 0 else bisect(slope, low, high)
    frequencies = torch.bincount(index, minlength=scores.shape[1]).double() / len(index)
    return TemperatureFit(
        temperature=1 / beta,
        raw=loss(1.0, raw),
        closed_form=loss(1.0),
        fitted=loss(beta),
        base_rate=-torch.special.xlogy(frequencies, frequencies).sum().item(),
        count=len(index),
    )


def _binary_scores(
    name: str, z: Tensor, targets: Tensor, settings: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return two-column log scores of the posterior and of the raw sigmoid, and class indices."""
    odds = sigmoid_posterior(z, log_odds=True, **settings).flatten()
    index = targets.detach().flatten().long()
    _check_count(name, index)
    scores, raw = (
        torch.stack([-one / 2, one / 2], 1).clamp(-1e300, 1e300) for one in (odds, z.flatten())
    )
    return scores, raw, index


def _class_scores(
    name: str, z: Tensor, targets: Tensor, settings: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log scores ``(N, C)`` of the posterior and of the raw softmax, and class indices."""
    index = targets.detach().long()
    _check_count(name, index)
    # finite: a temperature has nothing to say of a class that a mask or smoothing leaves at 0
    tiny = math.log(torch.finfo(z.dtype).tiny)
    scores = softmax_posterior(z, log_probabilities=True, **settings).clamp(min=tiny)
    return scores, z, index


def _check_count(name: str, index: Tensor) -> None:
    if len(index) < FEWEST_EXAMPLES or len(torch.unique(index)) < 2:
        raise refuse(
            name,
            "targets",
            f"hold at least {FEWEST_EXAMPLES} examples and two classes",
            f"{len(index)} of {len(torch.unique(index))}",
            "One parameter needs held-out data.",
        )


# ---------------------------------------------------------------------------------------------
# other class proportions than in training


@overridable
def shift_prior(log_odds: Tensor, train_prior: float, deploy_prior: float) -> Tensor:
    """Return posterior log-odds for a base rate other than that of the training data.

    ``logit P += logit(deploy_prior) - logit(train_prior)``: Bayes' rule where the classes look the
    same and only their proportions change.

    Args:
        log_odds: ``sigmoid_posterior(..., log_odds=True)``, any shape.
        train_prior: share of positives in training, strictly between 0 and 1.
        deploy_prior: share of positives where the model is used.

    Returns:
        Log-odds, shape and dtype of ``log_odds``; their sigmoid is the probability.

    Raises:
        ValueError: a prior not strictly between 0 and 1.
        TypeError: ``log_odds`` is not a floating tensor.

    Example:
        >>> import torch
        >>> from refocal import shift_prior
        >>> torch.sigmoid(shift_prior(torch.tensor([0.0]), 0.5, 0.01))
        tensor([0.0100])

    References:
        Saerens, Latinne, Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori
        Probabilities", Neural Computation 2002, eq. 2.4.
    """
    name = "shift_prior"
    _check_log_odds(name, log_odds)
    shift = _logit(name, "deploy_prior", deploy_prior) - _logit(name, "train_prior", train_prior)
    return log_odds + shift


@overridable
def correct_sampling(log_odds: Tensor, negative_rate: float) -> Tensor:
    """Return posterior log-odds of the full data, from a model trained on a subsample of the
    negatives.

    ``logit P += log(negative_rate)``. A rate of 0.01 moves log-odds by -4.6.

    Args:
        log_odds: ``sigmoid_posterior(..., log_odds=True)``, any shape.
        negative_rate: share of the negatives that was kept, independently of their features, in
            (0, 1]. All positives were kept.

    Returns:
        Log-odds, shape and dtype of ``log_odds``.

    Raises:
        ValueError: a rate outside (0, 1].
        TypeError: ``log_odds`` is not a floating tensor.

    Example:
        >>> import torch
        >>> from refocal import correct_sampling
        >>> correct_sampling(torch.tensor([0.0]), 0.01)
        tensor([-4.6052])
    """
    name = "correct_sampling"
    _check_log_odds(name, log_odds)
    rate = arguments.real(
        name, "negative_rate", negative_rate, "in (0, 1]", lambda one: 0 < one <= 1
    )
    return log_odds + math.log(rate)


# ---------------------------------------------------------------------------------------------
# decisions


class CostThreshold(NamedTuple):
    """The threshold above which to decide "positive".

    Attributes:
        probability: of the positive class, between 0 and 1.
        log_odds: the same as log-odds of the posterior, in nats.
        logit: the same as a logit of the model, trained with the focal loss.
    """

    probability: float
    log_odds: float
    logit: float


def cost_threshold(
    cost_fp: float,
    cost_fn: float,
    *,
    alpha: float | None = 0.25,
    gamma: float | tuple[float, float] = 2.0,
    detach_modulator: bool = False,
) -> CostThreshold:
    """Return the threshold of least expected cost, in three currencies.

    Deciding "positive" costs ``(1 - P) cost_fp`` on average, "negative" ``P cost_fn``: positive
    pays where ``P > cost_fp / (cost_fp + cost_fn)``. The logit is the same threshold before the
    posterior, for the focal loss the model was trained with.

    Args:
        cost_fp: cost of a false alarm, > 0, in any unit.
        cost_fn: cost of a miss, > 0, in the same unit.
        alpha: as in training.
        gamma: as in training.
        detach_modulator: as in training.

    Returns:
        The threshold as a probability, as log-odds and as a logit of the trained model.

    Raises:
        ValueError: a cost that is not > 0, or the errors of `sigmoid_posterior`.

    Example:
        >>> from refocal import cost_threshold
        >>> threshold = cost_threshold(1, 50)
        >>> print(f"{threshold.probability:.4f} {threshold.logit:.3f}")
        0.0196 -1.859

    References:
        Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, eq. 2.
    """
    name = "cost_threshold"
    false_alarm = arguments.finite_positive(name, "cost_fp", cost_fp)
    miss = arguments.finite_positive(name, "cost_fn", cost_fn)
    log_odds = math.log(false_alarm) - math.log(miss)
    at = torch.tensor(log_odds, dtype=torch.float64, device="cpu")
    link = binary_link(name, at, torch.float64, alpha, gamma, detach_modulator)
    if math.isinf(false_alarm + miss):
        false_alarm, miss = false_alarm / 2, miss / 2
    return CostThreshold(
        false_alarm / (false_alarm + miss), log_odds, _root(_constant(link), at).item()
    )


# ---------------------------------------------------------------------------------------------
# what a denominator that depends on the labels does


def normalizer_shift(
    normalizer: str, batch_size: int, base_rate: float, *, alpha: float | None = 0.25
) -> float:
    """Says by how much a label-dependent denominator of "mean" moves the posterior's log-odds.

    The posterior assumes that every example weighs the same. Divided by the batch's positives (or
    by the sum of its class weights) a positive weighs less than a negative, because it raises its
    own denominator. With K' positives among the other ``batch_size - 1`` examples the shift is
    ``log E[1 / D(K' + 1)] - log E[1 / D(K')]``, K' binomial, ``D = max(1, K)`` for "positives" and
    ``alpha K + (1 - alpha)(N - K)`` for "weights". Subtract it from the log-odds, or train with
    ``normalizer="elements"`` or a constant, which have none.

    Args:
        normalizer: "elements", "positives", "weights" or "sample_weight" (of weights that know
            nothing of the targets).
        batch_size: examples per batch, drawn at random; at most ten million.
        base_rate: share of positives, strictly between 0 and 1.
        alpha: as in training; matters for "weights" only, and is then strictly between 0 and 1.

    Returns:
        The shift in nats: negative, probabilities come out too small.

    Raises:
        ValueError: a value outside its domain.

    Example:
        >>> from refocal.probabilities import normalizer_shift
        >>> print(round(normalizer_shift("positives", 80, 0.025), 2))  # 2 positives per batch
        -0.38
    """
    name = "normalizer_shift"
    log_rate, log_rest = _log_shares(name, base_rate)
    if not 1 <= arguments.integer(name, "batch_size", batch_size) <= LARGEST_BATCH:
        raise refuse(
            name,
            "batch_size",
            f"be >= 1, and at most {LARGEST_BATCH:,}",
            arguments.shown(batch_size),
        )
    weight = 0.5 if alpha is None else arguments.alpha_number(name, alpha)
    if normalizer not in arguments.NORMALIZERS:
        arguments.fail_choice(name, "normalizer", arguments.NORMALIZERS, normalizer)
    if normalizer in ("elements", "sample_weight"):
        return 0.0
    if normalizer == "weights":
        arguments.check_posterior_alpha(name, weight, multiclass=False)

    def log_denominator(positives: int) -> float:
        if normalizer == "positives":
            return math.log(max(1, positives))
        return math.log(weight * positives + (1 - weight) * (batch_size - positives))

    others = batch_size - 1
    chances = [
        math.lgamma(others + 1)
        - math.lgamma(k + 1)
        - math.lgamma(others - k + 1)
        + k * log_rate
        + (others - k) * log_rest
        for k in range(others + 1)
    ]
    # by logarithms: a denominator of subnormal weights has no inverse
    own = _log_of_sum([chance - log_denominator(k + 1) for k, chance in enumerate(chances)])
    other = _log_of_sum([chance - log_denominator(k) for k, chance in enumerate(chances)])
    return own - other


def _log_of_sum(logarithms: list[float]) -> float:
    largest = max(logarithms)
    return largest + math.log(math.fsum(math.exp(logarithm - largest) for logarithm in logarithms))


# ---------------------------------------------------------------------------------------------
# checks


def _check_log_odds(function: str, log_odds: Any) -> None:
    if not isinstance(log_odds, Tensor) or not log_odds.dtype.is_floating_point:
        got = getattr(log_odds, "dtype", type(log_odds).__name__)
        raise refuse(
            function,
            "log_odds",
            "be a floating tensor",
            got,
            "Pass sigmoid_posterior(logits, ..., log_odds=True).",
            TypeError,
        )


def _check_probabilities(function: str, argument: str, values: Tensor) -> None:
    if values.numel() and arguments.readable(values.detach()):
        low, high = torch.aminmax(values.detach())
        if low < 0 or high > 1:
            bad = (low if low < 0 else high).item()
            raise refuse(function, argument, "be in [0, 1]", bad, "For log-odds, log_odds=True.")


def _logit(function: str, argument: str, value: Any) -> float:
    present, absent = _log_shares(function, value, argument)
    return present - absent


def _log_shares(function: str, value: Any, argument: str = "base_rate") -> tuple[float, float]:
    """Return logarithms of a prior P and of 1 - P."""
    probability = arguments.strictly_between_0_and_1(function, argument, value)
    return math.log(probability), math.log1p(-probability)
