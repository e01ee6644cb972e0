"""The losses that compete, in three families: cross-entropy, focal loss, the other remedies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from refocal import arguments, kernels
from refocal.comparison.data.table import Kind
from refocal.kernels.packing import tensors_of
from refocal.losses import sigmoid_focal_loss, softmax_focal_loss
from refocal.parameters import inverse_frequency_weights
from refocal.problem import Problem, loss_shape
from refocal.reduction import Reduction

Alpha: TypeAlias = float | tuple[float, ...] | None
Link: TypeAlias = Literal["sigmoid", "softmax"]
Role: TypeAlias = Literal["baseline", "focal", "remedy"]

PAPER = (0.25, 2.0)
GAMMAS = (0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Loss:
    """One loss: `sigmoid_focal_loss` or `softmax_focal_loss` with these numbers.

    Attributes:
        name: for people.
        alpha: sigmoid: weight of positives, or one for each class; softmax: one for each class.
        gamma: focusing exponent; 0 is cross-entropy.
        link: "softmax" for classes that exclude each other; with "sigmoid" each is one against
            the rest.
        prior_bias: a network's last layer starts from the base rate in place of even odds.
        synthetic: class weights in alpha's form that synthetic training rows amount to; None
            without such rows.
    """

    name: str
    alpha: Alpha
    gamma: float
    link: Link = "sigmoid"
    prior_bias: bool = False
    synthetic: Alpha = None

    @property
    def settings(self) -> dict[str, Any]:
        """Alpha and gamma as the library's functions take them."""
        return {"alpha": _tensor(self.alpha), "gamma": self.gamma}

    @property
    def meaning(self) -> Loss:
        """The loss whose posterior is that of a model trained so: synthetic rows of a class shift
        its log-odds as a weight would that amounts to them.
        """
        if self.synthetic is None:
            return self
        return replace(self, alpha=self.synthetic, synthetic=None)

    def alphas(self, count: int) -> list[float | None]:
        """Return one alpha for each of so many classes against the rest."""
        return list(self.alpha) if isinstance(self.alpha, tuple) else [self.alpha] * count

    def mean(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits and targets `(n, K)`, or (softmax) indices `(n,)`."""
        if self.link == "softmax":
            return softmax_focal_loss(logits, targets, **self.settings)
        return sigmoid_focal_loss(logits, targets, **self.settings)

    def slopes(self, logits: Tensor, targets: Tensor) -> Callable[[], Tensor]:
        """Return what gives the gradient of `mean` with respect to the logits, of the values that
        both tensors hold when it is called: the same kernel, without the way there, which takes
        several times as long as the kernel of a small batch.
        """
        settings = self.settings | {"label_smoothing": 0.0, "detach_modulator": False}
        name = f"{self.link}_focal_loss"
        make: Callable[..., Problem] = arguments.sigmoid_problem
        ignored = None
        if self.link == "softmax":
            make, ignored = arguments.softmax_problem, -100
        problem = make(name, logits, targets, **settings, sample_weight=None, ignore_index=ignored)
        reduction = Reduction("mean", float(math.prod(loss_shape(problem))))
        backend = kernels.choose(name, problem, "auto", tensors_of(problem))

        def now() -> Tensor:
            _, slopes = backend.evaluate(name, problem, reduction, gradient=True)
            assert slopes is not None  # noqa: S101 - it was asked for
            return slopes

        return now

    @property
    def call(self) -> str:
        """The call to write in a training loop."""
        return f"refocal.{self.link}_focal_loss(logits, targets, {self.arguments})"

    @property
    def arguments(self) -> str:
        """Alpha and gamma as source text."""
        if isinstance(self.alpha, tuple):
            weights = ", ".join(f"{one:.4g}" for one in self.alpha)
            return f"alpha=torch.tensor([{weights}]), gamma={self.gamma:g}"
        alpha = "None" if self.alpha is None else f"{self.alpha:.4g}"
        return f"alpha={alpha}, gamma={self.gamma:g}"

    @property
    def plain(self) -> bool:
        """Whether its sigmoid or softmax is the probability."""
        return self.alpha is None and self.gamma == 0 and self.synthetic is None


@dataclass(frozen=True)
class Family:
    """Losses of which each split picks one on its own validation rows: what is judged is the pick.

    Attributes:
        name: for people.
        role: "baseline" for cross-entropy, "focal", or "remedy" for what else helps against
            imbalance.
        losses: at least one.
    """

    name: str
    role: Role
    losses: tuple[Loss, ...]


def families(
    kind: Kind,
    base_rates: list[float],
    *,
    network: bool,
    softmax: bool = True,
    quick: bool = False,
    smote: bool = False,
) -> list[Family]:
    """Return what competes: cross-entropy first, then focal loss, then the other remedies.

    Args:
        kind: of the task.
        base_rates: share of each class among the training rows.
        network: whether the model starts from weights of its own, so that a bias from the base
            rate is a remedy; trees start there, and a converged linear model forgets its start.
        softmax: whether the model can be trained with a loss for classes that exclude each other.
        quick: one loss of each family.
        smote: whether synthetic rows compete among the other remedies.
    """
    link: Link = "softmax" if kind == "multiclass" and softmax else "sigmoid"
    balanced, milder = weightings(base_rates, link)
    plain = Loss("cross-entropy", None, 0.0, link)
    heavier = Loss("balanced cross-entropy", balanced, 0.0, link)
    filled = []
    if smote and (kind == "binary" or link == "softmax"):  # else rows are of no class alone
        filled = [Loss("cross-entropy, SMOTE", None, 0.0, link, synthetic=balanced)]
    if quick:
        paper = PAPER if link == "sigmoid" else (None, 2.0)
        return [
            Family("cross-entropy", "baseline", (plain,)),
            Family("focal loss", "focal", (focal(*paper, link=link),)),
            Family("other remedies", "remedy", (heavier, *filled)),
        ]
    weights: tuple[tuple[Alpha, str | None], ...] = (
        (None, None),
        ((0.25, None) if link == "sigmoid" else (milder, "milder weights")),
        (balanced, "balanced"),
    )
    every = tuple(
        focal(alpha, gamma, link=link, weights=name) for gamma in GAMMAS for alpha, name in weights
    )
    remedies = [heavier, Loss("mildly weighted cross-entropy", milder, 0.0, link)]
    if link == "softmax":
        remedies.append(Loss("one-vs-rest cross-entropy", None, 0.0, prior_bias=network))
    elif network:
        remedies.append(Loss("cross-entropy, prior bias", None, 0.0, prior_bias=True))
    return [
        Family("cross-entropy", "baseline", (plain,)),
        Family("focal loss", "focal", every),
        Family("other remedies", "remedy", (*remedies, *filled)),
    ]


def weightings(base_rates: list[float], link: Link) -> tuple[Alpha, Alpha]:
    """Return class weights that make all classes weigh the same in total, and half of the way
    there.

    Half of the way is the square root of the odds (sigmoid) or of the inverse frequency (softmax).
    """
    if link == "softmax":
        balanced = tuple(inverse_frequency_weights(base_rates))
        return balanced, tuple(inverse_frequency_weights([rate**0.5 for rate in base_rates]))
    whole = tuple(1.0 - rate for rate in base_rates)
    half = tuple((1.0 - rate) ** 0.5 / ((1.0 - rate) ** 0.5 + rate**0.5) for rate in base_rates)
    return (whole[0], half[0]) if len(whole) == 1 else (whole, half)


def _tensor(alpha: Alpha) -> float | Tensor | None:
    """Return one alpha for each class as a tensor."""
    return torch.tensor(alpha) if isinstance(alpha, tuple) else alpha


def focal(
    alpha: Alpha,
    gamma: float,
    *,
    prior_bias: bool = False,
    link: Link = "sigmoid",
    weights: str | None = None,
) -> Loss:
    """Return a focal loss under its usual name; `weights` names an alpha that follows the base
    rates.
    """
    name = f"focal, γ {gamma:.3g}"
    if weights is not None:
        name = f"focal, {weights}, γ {gamma:.3g}"
    elif isinstance(alpha, float):
        name = f"focal, α {alpha:.3g}, γ {gamma:.3g}"
    if prior_bias:
        name += ", prior bias"
    return Loss(name, alpha, gamma, link, prior_bias)
