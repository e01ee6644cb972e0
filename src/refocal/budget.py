"""Who gets the gradient: shares by class and by probability, at the start and when fitted.

The one question about alpha and gamma that can be answered from data before training, and the one
that is most often answered wrongly: a gradient budget read off one set of logits describes the
*start* of training. A model trained out under focal loss has other logits for the same
probabilities, and on those it weighs examples nearly as cross-entropy does. So both are shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from refocal import arguments, extras, links
from refocal.formula.in_torch import BOOK
from refocal.messages import refuse
from refocal.posterior import sigmoid_posterior, softmax_posterior
from refocal.probabilities import sigmoid_logit
from refocal.problem import Number

DECILES = 10
EASY = 0.95  # "easy": the true class has at least this probability
LOSSES = ("cross_entropy", "focal_at_start", "focal_when_fitted")

# focal logits of a softmax are found in as many steps
STEPS = 2000
NO_WEIGHTS = (1.0, 1.0)

# "default" is the loss' own: 0.25 of the sigmoid, None of the softmax
Alpha = float | Tensor | str | None
Gamma = float | Tensor | tuple[float | Tensor, float | Tensor]


@dataclass(frozen=True)
class GradientBudget:
    """Shares of the summed |gradient|, of each loss 1 in total.

    Three losses, over the same examples with the same probabilities:

    * ``cross_entropy``;
    * ``focal_at_start``: focal on the logits of these probabilities under cross-entropy, as when
      training starts or switches over;
    * ``focal_when_fitted``: focal on its own logits for these probabilities, as after training.

    Attributes:
        counts: examples ``[class][decile of the true class' probability]``.
        shares: for each loss ``[class][decile]``.
        easy: for each loss, the share of examples whose true class has probability >= 0.95.
        alpha: of the focal loss, as text.
        gamma: of the focal loss, as text.
    """

    counts: tuple[tuple[int, ...], ...]
    shares: dict[str, tuple[tuple[float, ...], ...]]
    easy: dict[str, float]
    alpha: str
    gamma: str

    def by_class(self, loss: str) -> list[float]:
        """Return the share of each class under a loss of ``shares``."""
        return [math.fsum(row) for row in self.shares[loss]]

    def __str__(self) -> str:
        names = ("cross-entropy", "focal, start", "focal, fitted")
        lines = [
            f"share of the gradient, focal(alpha={self.alpha}, gamma={self.gamma})",
            f"{'':20}{'examples':>10}" + "".join(f"{name:>15}" for name in names),
        ]
        for c, counts in enumerate(self.counts):
            cells = "".join(f"{self.by_class(loss)[c]:15.2%}" for loss in LOSSES)
            lines.append(f"{f'class {c}':20}{sum(counts):>10}{cells}")
        for d in range(DECILES):
            cells = "".join(
                f"{math.fsum(row[d] for row in self.shares[loss]):15.2%}" for loss in LOSSES
            )
            count = sum(row[d] for row in self.counts)
            lines.append(f"{f'p_t {d / 10:.1f} to {(d + 1) / 10:.1f}':20}{count:>10}{cells}")
        cells = "".join(f"{self.easy[loss]:15.2%}" for loss in LOSSES)
        lines.append(f"{'easy (p_t >= .95)':20}{'':>10}{cells}")
        return "\n".join([*lines, self.words()])

    def words(self) -> str:
        """Return what the table says, in two sentences."""
        plain, start, fitted = (self.easy[loss] for loss in LOSSES)
        return (
            f"At the start focal gives easy examples {start:.1%} of the gradient where "
            f"cross-entropy gives them {plain:.1%}; once fitted, {fitted:.1%}. "
            "The first says how training begins, the second what the finished model weighs."
        )

    def plot(self, ax: Any = None) -> Any:
        """Return shares by decile of the true class' probability, one line per loss.

        Args:
            ax: a matplotlib axes, or None for a new one.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed.
        """
        if ax is None:
            extras.imported("GradientBudget.plot", "matplotlib")
            import matplotlib.pyplot as plt

            _, ax = plt.subplots()
        centres = [(d + 0.5) / DECILES for d in range(DECILES)]
        for loss, style in zip(LOSSES, ("-", ":", "--"), strict=True):
            totals = [math.fsum(row[d] for row in self.shares[loss]) for d in range(DECILES)]
            ax.plot(centres, totals, style, marker="o", label=loss.replace("_", " "))
        ax.set_xlabel("probability of the true class")
        ax.set_ylabel("share of the gradient")
        ax.set_title(f"focal(alpha={self.alpha}, gamma={self.gamma}) against cross-entropy")
        ax.legend()
        return ax


def gradient_budget(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: Alpha = "default",
    gamma: Gamma = 2.0,
    link: str = "sigmoid",
    trained_with: dict[str, Any] | None = None,
) -> GradientBudget:
    """Return the share of the total gradient by class and by decile of p_t.

    Args:
        logits: of a model worth asking, on data it has not seen. ``(*)`` for the sigmoid,
            ``(N, C)`` for the softmax.
        targets: 0 or 1 in the shape of ``logits``; class indices ``(N,)`` for the softmax.
        alpha: of the focal loss in question; softmax: None or ``(C,)``. "default": the loss' own,
            0.25 and None. For several labels ``(N, C)`` also ``(C,)``, as in the loss.
        gamma: of the focal loss in question.
        link: "sigmoid" or "softmax".
        trained_with: the ``alpha``, ``gamma``, ... of the focal loss that ``logits`` were trained
            with, to convert them to probabilities first. None: cross-entropy.

    Returns:
        A `GradientBudget`; print it, or call ``.plot()``.

    Raises:
        ValueError: shapes or values outside their domain.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> from refocal.budget import gradient_budget
        >>> odds = torch.tensor([-4.0] * 98 + [-1.0, 1.0])
        >>> targets = torch.tensor([0.0] * 98 + [1.0, 1.0])
        >>> budget = gradient_budget(odds, targets)
        >>> {loss: round(share, 3) for loss, share in budget.easy.items()}
        {'cross_entropy': 0.638, 'focal_at_start': 0.006, 'focal_when_fitted': 0.66}
    """
    name = "gradient_budget"
    z, y = _as_cross_entropy(
        name, logits, targets, link, {} if trained_with is None else trained_with
    )
    if not y.numel():
        raise refuse(name, "targets", "hold at least one example", "none")
    alpha = arguments.default_alpha(alpha, link)
    if link == "sigmoid":
        pulls, p_true, classes = *_binary_pulls(name, z, y, alpha, gamma), 2
    else:
        pulls, p_true, classes = *_class_pulls(name, z, y, alpha, gamma), z.shape[1]
    index, p_true = y.flatten(), p_true.flatten()
    decile = (p_true * DECILES).long().clamp(max=DECILES - 1)
    cell = index * DECILES + decile
    size = classes * DECILES

    def table(weights: Tensor) -> list[list[float]]:
        sums = weights.new_zeros(size).index_add(0, cell, weights)
        rows: list[list[float]] = sums.view(classes, DECILES).tolist()
        return rows

    shares, easy = {}, {}
    for loss, pull in zip(LOSSES, pulls, strict=True):
        share = _shares(pull.flatten())
        shares[loss] = tuple(map(tuple, table(share)))
        easy[loss] = share[p_true >= EASY].sum().item()
    counts = tuple(tuple(map(int, row)) for row in table(torch.ones_like(p_true)))
    return GradientBudget(counts, shares, easy, _text(alpha), _text(gamma))


# ---------------------------------------------------------------------------------------------
# candidates for a search


@dataclass(frozen=True)
class Candidate:
    """One (alpha, gamma) worth trying, and why.

    Attributes:
        alpha: weight of positives, None for no weight.
        gamma: focusing exponent; 0 is cross-entropy.
        why: the reason, in words.
    """

    alpha: float | None
    gamma: float
    why: str


@dataclass(frozen=True)
class Suggestion:
    """Candidates for a search: not an answer.

    Attributes:
        base_rate: share of positives.
        candidates: at most six, cross-entropy first.
        words: what the data say, in a sentence or two.
    """

    base_rate: float
    candidates: tuple[Candidate, ...]
    words: str

    def __str__(self) -> str:
        lines = [
            f"alpha={'None' if one.alpha is None else f'{one.alpha:g}':5} gamma={one.gamma:<4g} "
            f"{one.why}"
            for one in self.candidates
        ]
        return "\n".join([self.words, *lines])


def suggest(
    logits: Tensor, targets: Tensor, *, trained_with: dict[str, Any] | None = None
) -> Suggestion:
    """Return (alpha, gamma) candidates for a binary search, with the reason for each.

    No rule knows the best pair: at the optimum neither parameter changes the ranking, so what is
    best depends on how training goes. What data can tell is how much of the early gradient easy
    examples take, and which gammas change that. Compare the candidates by validation, on
    `sigmoid_posterior` probabilities.

    Args:
        logits: of a first model on data it has not seen, any shape.
        targets: 0 or 1, shape of ``logits``.
        trained_with: the ``alpha``, ``gamma``, ... that ``logits`` were trained with, to convert
            them first. None: cross-entropy.

    Returns:
        A `Suggestion` of at most six candidates, cross-entropy first; print it.

    Raises:
        ValueError: shapes or values outside their domain, or one class only.
        TypeError: a wrong type.

    Example:
        >>> import torch
        >>> from refocal.budget import suggest
        >>> odds = torch.tensor([-4.0] * 98 + [-1.0, 1.0])
        >>> targets = torch.tensor([0.0] * 98 + [1.0, 1.0])
        >>> [(one.alpha, one.gamma) for one in suggest(odds, targets).candidates]
        [(None, 0.0), (0.25, 2.0), (0.5, 2.0), (0.5, 0.5), (0.5, 1.0)]
    """
    name = "suggest"
    odds, index = _as_cross_entropy(
        name, logits, targets, "sigmoid", {} if trained_with is None else trained_with
    )
    odds, index = odds.flatten(), index.flatten()
    rate = index.double().mean().item() if len(index) else 0.0
    if not 0 < rate < 1:
        raise refuse(name, "targets", "hold both classes", f"a share of positives of {rate:g}")
    p_true = torch.where(index == 1, torch.sigmoid(odds), torch.sigmoid(-odds))

    def easy_share(gamma: float) -> float:
        return (
            _shares(_sigmoid_pull(odds, index, NO_WEIGHTS, (gamma, gamma)))[p_true >= EASY]
            .sum()
            .item()
        )

    plain = easy_share(0.0)
    candidates = [
        Candidate(None, 0.0, "cross-entropy: the baseline that the others must beat"),
        Candidate(0.25, 2.0, "the paper's best on its own task"),
        Candidate(0.5, 2.0, "the same gamma without an offset between the classes"),
    ]
    if plain < 0.1:
        words = (
            f"base rate {rate:.3%}. Easy examples (p_t >= {EASY}) take {plain:.1%} of "
            "cross-entropy's gradient: there is little for gamma to silence, so expect little "
            "from it."
        )
        candidates.append(Candidate(0.5, 1.0, "a milder gamma, for completeness"))
    else:
        words = (
            f"base rate {rate:.3%}. Easy examples (p_t >= {EASY}) take {plain:.1%} of "
            "cross-entropy's gradient at the start."
        )
        seen = {2.0}
        for part, word in ((0.5, "halves"), (0.1, "leaves a tenth of")):
            gamma = next(
                (g for g in (0.5, 1.0, 2.0, 3.0, 5.0) if easy_share(g) < part * plain), 5.0
            )
            if gamma not in seen:
                seen.add(gamma)
                why = f"the smallest gamma tried that {word} the easy examples' early share"
                candidates.append(Candidate(0.5, gamma, f"{why}, to {easy_share(gamma):.1%}"))
    return Suggestion(rate, tuple(candidates), words)


# ---------------------------------------------------------------------------------------------
# pieces


def _as_cross_entropy(
    name: str, logits: Tensor, targets: Tensor, link: str, trained_with: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return logits whose sigmoid or softmax is the probability, and indices; float64, flat."""
    arguments.check_outcomes(name, logits, targets, link)
    if not isinstance(trained_with, dict):
        raise refuse(
            name,
            "trained_with",
            "be None or a dict of the loss' keywords",
            type(trained_with).__name__,
            kind=TypeError,
        )
    z = logits.detach().double()
    index = targets.detach().long()
    if link == "sigmoid":
        if trained_with:
            z = sigmoid_posterior(z, log_odds=True, **trained_with)
        return z, index
    if trained_with:
        z = softmax_posterior(z, log_probabilities=True, **trained_with)
    return z, index


def _binary_pulls(
    name: str, odds: Tensor, y: Tensor, alpha: Any, gamma: Any
) -> tuple[list[Tensor], Tensor]:
    """Return log-pulls under the three losses, and the probability of what happened; of ``y``'s
    shape.
    """
    weights = arguments.alpha_pair(name, alpha, odds, torch.float64)
    gammas = arguments.gamma_pair(name, gamma, odds, torch.float64)
    arguments.check_posterior_alpha(name, alpha, multiclass=False)
    arguments.check_posterior_gamma(name, gammas, odds)
    with torch.no_grad():
        fitted = sigmoid_logit(odds, log_odds=True, alpha=alpha, gamma=gamma)
        pulls = [
            _sigmoid_pull(odds, y, NO_WEIGHTS, (0.0, 0.0)),
            _sigmoid_pull(odds, y, weights, gammas),
            _sigmoid_pull(fitted, y, weights, gammas),
        ]
    return pulls, torch.sigmoid(torch.where(y == 1, odds, -odds))


def _sigmoid_pull(
    z: Tensor, y: Tensor, weights: tuple[Number, Number], gammas: tuple[Number, Number]
) -> Tensor:
    """Return the logarithm of alpha_t |F'(s)| per example."""
    positive, negative = (
        torch.log(torch.as_tensor(weight, dtype=z.dtype, device=z.device))
        + BOOK.log_slope(s, BOOK.decay(s), exponent)
        for s, weight, exponent in zip((z, -z), weights, gammas, strict=True)
    )
    return torch.where(y == 1, positive, negative)


def _class_pulls(
    name: str, odds: Tensor, index: Tensor, alpha: Any, gamma: Any
) -> tuple[list[Tensor], Tensor]:
    """Return the same of one class per row."""
    weights = arguments.class_weights(name, alpha, odds, odds.shape[1], torch.float64)
    exponents = arguments.softmax_posterior_gamma(name, gamma, odds, torch.float64)
    arguments.check_posterior_alpha(name, alpha, multiclass=True)
    with torch.no_grad():
        fitted = _softmax_logits(name, odds, weights, exponents)
        p_true = torch.softmax(odds, 1).gather(1, index[:, None]).squeeze(1)
        pulls = [
            _softmax_pull(odds, index, None, 0.0),
            _softmax_pull(odds, index, weights, exponents),
            _softmax_pull(fitted, index, weights, exponents),
        ]
    return pulls, p_true


def _softmax_pull(z: Tensor, index: Tensor, weights: Tensor | None, gamma: Number) -> Tensor:
    """Return the logarithm of alpha_y |F'(s)| per row; the gradient's L1 norm is twice that."""
    margin = links.softmax_margin(z, index.unsqueeze(1), 1)
    s, x = margin.s.squeeze(1), margin.x.squeeze(1)
    if isinstance(gamma, Tensor) and gamma.dim():
        gamma = gamma.flatten()[index]
    pull: Tensor = BOOK.log_slope(s, x, gamma)
    return pull if weights is None else pull + torch.log(weights)[index]


def _shares(pull: Tensor) -> Tensor:
    """Return shares of the total from logarithms, of which each may underflow; 0 where nothing
    pulls.
    """
    largest = pull.max()
    if not bool(torch.isfinite(largest)):
        return torch.zeros_like(pull)
    return torch.softmax(pull, 0)


def _softmax_logits(name: str, odds: Tensor, alpha: Tensor | None, gamma: Number) -> Tensor:
    """Return focal logits with the posterior ``softmax(odds)``, by a contraction.

    The posterior's log-probabilities rise by between 1 and 1 + gamma per unit of logit, so a step
    of the error over 1 + gamma never overshoots.
    """
    # finite: no logit gives the posterior of a masked class
    tiny = torch.finfo(odds.dtype).tiny
    target = torch.log_softmax(odds, 1).clamp(min=math.log(tiny))
    largest = gamma.max().item() if isinstance(gamma, Tensor) else gamma
    exponents = gamma.flatten() if isinstance(gamma, Tensor) and gamma.dim() else gamma
    z = target.clone()
    for _ in range(STEPS):
        got = softmax_posterior(z, alpha=alpha, gamma=exponents, log_probabilities=True)
        step = (target - got) / (1 + largest)
        z = z + step
        if step.abs().max() < 1e-9 / (1 + largest):
            return z
    raise refuse(
        name,
        "gamma",
        f'be at most about {STEPS // 25} with link="softmax"',
        f"{largest:g}",
        "Larger ones are not inverted.",
    )


def _text(value: Any) -> str:
    if isinstance(value, Tensor):
        return str([float(f"{one:.4g}") for one in value.flatten().tolist()])
    return str(value)
