"""What the losses of one decision per logit share: checks, weights, reduction around a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from refocal import arguments, gate, kernels
from refocal.formula import FAR
from refocal.formula.in_torch import BOOK, for_gamma
from refocal.problem import Number, SigmoidProblem, computing_dtype, shares
from refocal.reduction import Reduction, at_least, kept_positions, reduce, reduction_for


class Point(NamedTuple):
    """Targets with everything a rule may need, each formed without cancellation."""

    y: Tensor
    p: Tensor
    q: Tensor  # 1 - p
    ce_positive: Tensor  # -log p
    ce_negative: Tensor  # -log q
    bce: Tensor


def point(z: Tensor, y: Tensor) -> Point:
    """What a rule needs of logits and soft targets."""
    x = BOOK.decay(z)
    log1p_x = torch.log1p(x)
    positive = BOOK.cross_entropy(z, log1p_x)
    # not cross_entropy(-z): at z = 0 it would take the other branch than x, and so another slope
    negative = BOOK.softplus(z, log1p_x)
    bce = BOOK.weighed(y, positive) + BOOK.weighed(1 - y, negative)
    return Point(y, BOOK.probability(z, x), BOOK.complement(z, x), positive, negative, bce)


def pointwise(
    name: str,
    rule: Callable[[Point, SigmoidProblem], Tensor],
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: Any,
    exponent: Any,
    reduction: str,
    normalizer: str | float | Tensor,
    sample_weight: Any,
    ignore_index: Any,
) -> Tensor:
    """Checks, the rule, alpha, weights and the reduction of `sigmoid_focal_loss`.

    Args:
        name: whose name the errors bear.
        rule: the unweighted loss of every element, from what a point holds and the checked call.
        logits: of the user, as all that follow.
        targets: in [0, 1].
        alpha: None, a number or a tensor.
        exponent: of the modulator, gamma of the problem.
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by.
        sample_weight: None or a tensor.
        ignore_index: None or a target value.
    """
    problem, normalizer = _checked(
        name, logits, targets, alpha, exponent, sample_weight, ignore_index, reduction, normalizer
    )
    arguments.check_values_of(name, problem)
    logits, targets = problem.logits, problem.targets
    dtype = computing_dtype(logits)
    kept = kept_positions(problem)
    z = logits.to(dtype)
    if kept is not None:
        targets, z = torch.where(kept, targets, 0), torch.where(kept, z, 0.0)
    if problem.weight is not None:  # weight 0 is 0, also of NaN
        z = torch.where((problem.weight == 0) & ~torch.isfinite(z), 0.0, z)
    y = shares(targets, dtype)
    losses = rule(point(z, y), problem)
    if alpha is not None:
        losses = BOOK.weighed(y * problem.alpha[0] + (1 - y) * problem.alpha[1], losses)
    if problem.weight is not None:
        losses = BOOK.weighed(problem.weight, losses)
    if kept is not None:
        losses = torch.where(kept, losses, 0.0)
    return reduce(losses, reduction_for(problem, reduction, normalizer), logits.dtype)


def elementwise(
    name: str,
    read: Callable[[SigmoidProblem], SigmoidProblem],
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: Any,
    exponent: Any,
    reduction: str,
    normalizer: str | float | Tensor,
    sample_weight: Any,
    ignore_index: Any,
    peaks: bool = False,
    impl: str = "auto",
) -> Tensor:
    """A loss that is the sigmoid focal loss with targets that are read otherwise.

    Args:
        name: whose name the errors bear.
        read: the checked call with its reading of the targets.
        logits: of the user, as all that follow.
        targets: in [0, 1].
        alpha: None, a number or a tensor.
        exponent: gamma of the problem.
        reduction: "none", "sum" or "mean".
        normalizer: what "mean" divides by; of the user's targets and alpha.
        sample_weight: None or a tensor.
        ignore_index: None or a target value.
        peaks: whether "mean" may divide by the count of targets that are 1.
        impl: as in `sigmoid_focal_loss`.
    """
    by_peaks = peaks and isinstance(normalizer, str) and normalizer == "peaks"
    if by_peaks:
        normalizer = "elements"
    problem, normalizer = _checked(
        name,
        logits,
        targets,
        alpha,
        exponent,
        sample_weight,
        ignore_index,
        reduction,
        normalizer,
        ("peaks",) if peaks else (),
    )
    if by_peaks and reduction == "mean":
        how = Reduction(reduction, _peaks(problem))
    else:
        how = reduction_for(problem, reduction, normalizer, kernels.counter(problem, impl))
    return kernels.run(name, read(problem), how, impl)


def _peaks(problem: SigmoidProblem) -> Number:
    """The count of targets that are 1 and not ignored, at least 1."""
    if problem.ignore_index == 1:
        return 1
    return at_least(kernels.occurrences(problem.targets, 1), "elements")


def _checked(
    name: str,
    logits: Tensor,
    targets: Tensor,
    alpha: Any,
    exponent: Any,
    sample_weight: Any,
    ignore_index: Any,
    reduction: str,
    normalizer: str | float | Tensor,
    own: tuple[str, ...] = (),
) -> tuple[SigmoidProblem, Any]:
    if not isinstance(exponent, Tensor):
        arguments.single_gamma(name, exponent)
    problem = arguments.sigmoid_problem(
        name,
        logits,
        targets,
        alpha=alpha,
        gamma=exponent,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=0.0,
        detach_modulator=False,
    )
    problem, normalizer = gate.admit(name, problem, normalizer)
    arguments.check_reduction(name, reduction, normalizer, multiclass=False, own=own)
    arguments.check_normalizer_device(name, normalizer, problem.logits)
    return problem, normalizer


def modulated(ce: Tensor, base: Tensor, exponent: Number) -> Tensor:
    """base**exponent * ce. Far out base is constant, and its zero slope must not meet ce = inf."""
    modulator = power(base, exponent)
    far = ce > FAR
    return torch.where(far, ce * modulator.detach(), torch.where(far, 0.0, ce) * modulator)


def power(base: Tensor, exponent: Number) -> Tensor:
    """base**exponent for base in [0, 1], whose gradient at base 0 is 0 instead of inf or NaN."""
    raised = for_gamma(exponent, "raised").modulator(base, base, base, exponent)
    return raised if isinstance(raised, Tensor) else torch.ones_like(base)
