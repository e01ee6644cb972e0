"""The losses that compete. Cross-entropy comes first: all others are measured against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from refocal.compare.data.table import Kind
from refocal.losses import sigmoid_focal_loss, softmax_focal_loss
from refocal.parameters import inverse_frequency_weights

Alpha: TypeAlias = float | tuple[float, ...] | None
Link: TypeAlias = Literal["sigmoid", "softmax"]

# Of the focal losses: the paper's, a milder one, and one that weighs positives up.
PAPER = (0.25, 2.0)
BINARY = (PAPER, (0.25, 1.0), (0.75, 2.0))


@dataclass(frozen=True)
class Candidate:
    """One loss: `sigmoid_focal_loss` or `softmax_focal_loss` with these numbers.

    Attributes:
        name: for people.
        alpha: sigmoid: weight of positives, or one for each class; softmax: one for each class.
        gamma: focusing exponent; 0 is cross-entropy.
        link: "softmax" for classes that exclude each other; with "sigmoid" each is one against
            the rest.
        prior_bias: a network's last layer starts from the base rate in place of even odds.
    """

    name: str
    alpha: Alpha
    gamma: float
    link: Link = "sigmoid"
    prior_bias: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Alpha and gamma as the library's functions take them."""
        return {"alpha": self.tensor_alpha(), "gamma": self.gamma}

    def tensor_alpha(self) -> float | Tensor | None:
        """alpha, with one for each class as a tensor."""
        if isinstance(self.alpha, tuple):
            return torch.tensor(self.alpha)
        return self.alpha

    def alphas(self, count: int) -> list[float | None]:
        """One alpha for each of so many classes against the rest."""
        return list(self.alpha) if isinstance(self.alpha, tuple) else [self.alpha] * count

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of logits `(n, K)` and targets `(n, K)` (softmax: `(n,)` indices)."""
        if self.link == "softmax":
            return softmax_focal_loss(logits, targets, **self.settings)
        return sigmoid_focal_loss(logits, targets, **self.settings)

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
        return self.alpha is None and self.gamma == 0


def focal(alpha: float, gamma: float, *, prior_bias: bool = False) -> Candidate:
    """A binary focal loss under its usual name."""
    name = f"focal, α {alpha:.3g}, γ {gamma:.3g}"
    if prior_bias:
        name += ", prior bias"
    return Candidate(name, alpha, gamma, prior_bias=prior_bias)


def candidates(
    kind: Kind, base_rates: list[float], *, network: bool, quick: bool = False
) -> list[Candidate]:
    """The losses of a comparison without a search.

    Args:
        kind: of the task.
        base_rates: share of each class among the training rows.
        network: whether the model is a network, whose last bias is free; boosted trees always
            start from the base rate.
        quick: the fewest that make sense.
    """
    if kind == "multiclass":
        found = _multiclass(base_rates, network=network)
        return found[:2] + found[4:] if quick else found
    # With alpha = 1 - base rate both classes weigh the same in total.
    weights = tuple(1.0 - rate for rate in base_rates)
    balanced = Candidate(
        "balanced cross-entropy", weights[0] if len(weights) == 1 else weights, 0.0
    )
    plain = Candidate("cross-entropy", None, 0.0)
    if quick:
        return [plain, balanced, focal(*PAPER)]
    if not network:
        return [plain, balanced, *(focal(*pair) for pair in BINARY)]
    return [
        plain,
        Candidate("cross-entropy, prior bias", None, 0.0, prior_bias=True),
        balanced,
        focal(*PAPER),
        focal(*PAPER, prior_bias=True),
        focal(0.75, 2.0),
    ]


def _multiclass(base_rates: list[float], *, network: bool) -> list[Candidate]:
    """Softmax and one against the rest, side by side."""
    weights = tuple(inverse_frequency_weights(base_rates))
    return [
        Candidate("cross-entropy", None, 0.0, "softmax"),
        Candidate("focal, γ 2", None, 2.0, "softmax"),
        Candidate("balanced cross-entropy", weights, 0.0, "softmax"),
        Candidate("balanced focal, γ 2", weights, 2.0, "softmax"),
        Candidate("one-vs-rest cross-entropy", None, 0.0, prior_bias=network),
        Candidate("one-vs-rest focal, α 0.25, γ 2", *PAPER, prior_bias=network),
    ]
