"""The torch backend: every device, every case, and the only one that autograd may look into.

Two bindings of the same formula: `losses` is differentiable to any order (exponential modulator);
`evaluate` is a single pass without autograd (power modulator, more accurate) that returns the loss
together with its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from refocal import links
from refocal.formula.in_torch import BOOK, for_gamma
from refocal.kernels import backward
from refocal.kernels.backward import Keeping
from refocal.kernels.readings import by_elements
from refocal.problem import (
    Number,
    Problem,
    SigmoidProblem,
    SoftmaxProblem,
    class_axis_of,
    computing_dtype,
    has_index_targets,
    is_kept,
    shares,
)
from refocal.reduction import Reduction, reduce


class Term(NamedTuple):
    """One margin per element and what multiplies its loss and its gradient."""

    coefficient: Number
    s: Tensor
    x: Tensor
    gamma: Number
    sign: Number


class Expansion(NamedTuple):
    """A problem as a sum of terms, with the way back from slopes to logits."""

    terms: list[Term]
    collect: Callable[[Tensor], Tensor]  # sum over the classes of one position, if there are any
    pull_back: Callable[[Tensor], Tensor]  # slope per margin -> gradient per logit


def losses(problem: Problem) -> Tensor:
    """Unreduced weighted loss in the computing dtype, safe to differentiate to any order."""
    terms, collect, _ = expand(problem)
    total: Tensor | None = None
    for term in terms:
        functions = for_gamma(term.gamma, "exponential")
        if problem.detach_modulator:
            value = _value_of_constant_modulator(functions, term)
        else:
            value = functions.value(term.s, term.x, term.gamma)
        total = _add(total, _weigh(term.coefficient, value))
    assert total is not None  # noqa: S101 - every expansion has a term
    return collect(total)


checks_values = False
reads = True
keeping = Keeping(each=True, rounded=False)
sees_upstream = True


def unsupported(problem: Problem) -> str | None:
    """Nothing: every device and every case."""
    return None


def evaluate(
    function: str, problem: Problem, reduction: Reduction, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """The reduced loss and, if wanted, its gradient in the computing dtype."""
    unreduced, slopes = _single_pass(problem, gradient=gradient)
    if slopes is not None and reduction.kind == "mean":
        slopes = slopes / reduction.denominator
    return reduce(unreduced, reduction, problem.logits.dtype), slopes


def gradient(problem: Problem, factor: Tensor) -> Tensor:
    """The gradient of the unreduced loss times ``factor``, rounded once."""
    _, slopes = _single_pass(problem, gradient=True)
    assert slopes is not None  # noqa: S101 - they were asked for
    if isinstance(problem, SoftmaxProblem) and factor.dim():
        factor = factor.unsqueeze(class_axis_of(problem))
    return (slopes * factor).to(problem.logits.dtype)


pulled_back = partial(backward.pulled_back, gradient)


def differentiable_loss(problem: Problem, reduction: Reduction) -> Tensor:
    """The reduced loss by operations that autograd may look into."""
    return reduce(losses(problem), reduction, problem.logits.dtype)


def differentiable_gradient(problem: Problem, reduction: Reduction, upstream: Tensor) -> Tensor:
    """The gradient of the reduced loss times ``upstream``, for another derivative."""
    loss = differentiable_loss(problem, reduction)
    (slopes,) = torch.autograd.grad(loss, problem.logits, upstream, create_graph=True)
    return slopes


def _single_pass(problem: Problem, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Unreduced weighted loss and its gradient (None if not wanted), in the computing dtype."""
    terms, collect, pull_back = expand(problem)
    total: Tensor | None = None
    slopes: Tensor | None = None
    for term in terms:
        functions = for_gamma(term.gamma, "power")
        arguments = (term.s, term.x, term.gamma)
        if not gradient:
            value = functions.value(*arguments)
        else:
            both = (
                functions.value_and_detached_slope
                if problem.detach_modulator
                else functions.value_and_slope
            )
            value, slope = both(*arguments)
            slopes = _add(slopes, _times(_times(slope, term.coefficient), term.sign))
        total = _add(total, _weigh(term.coefficient, value))
    assert total is not None  # noqa: S101 - every expansion has a term
    return collect(total), None if slopes is None else pull_back(slopes)


def expand(problem: Problem) -> Expansion:
    """The terms of a problem: one for hard targets, the expectation over classes for soft ones."""
    if isinstance(problem, SigmoidProblem):
        return _expand_sigmoid(by_elements(problem))
    if has_index_targets(problem) and problem.label_smoothing == 0:
        return _expand_index(problem)
    return _expand_probabilities(problem)


# ---------------------------------------------------------------------------------------------
# sigmoid


def _expand_sigmoid(problem: SigmoidProblem) -> Expansion:
    dtype = computing_dtype(problem.logits)
    z = problem.logits.to(dtype)
    y = problem.targets
    weight = problem.weight
    if problem.ignore_index is not None:
        kept = is_kept(y, problem.ignore_index)
        y = torch.where(kept, y, 0)
        weight = kept.to(dtype) if weight is None else torch.where(kept, weight, 0.0)
    if weight is not None:
        z = torch.where((weight == 0) & ~torch.isfinite(z), 0.0, z)
    if (
        y.dtype.is_floating_point
        or problem.label_smoothing
        or problem.gamma[0] is not problem.gamma[1]
    ):
        y = shares(y, dtype)
        # each share smoothed by itself: 1 - (a smoothed y) would cancel, relative to a small e / 2
        positive = smooth(y, problem.label_smoothing, 2)
        negative = smooth(1 - y, problem.label_smoothing, 2)
        z_negative = -z
        terms = [
            Term(
                _times(_times(positive, problem.alpha[0]), weight),
                z,
                links.decay(z),
                problem.gamma[0],
                1.0,
            ),
            Term(
                _times(_times(negative, problem.alpha[1]), weight),
                z_negative,
                links.decay(z_negative),
                problem.gamma[1],
                -1.0,
            ),
        ]
    else:
        positive = y != 0
        s = torch.where(positive, z, -z)
        alpha: Number = 1.0
        if any(isinstance(one, Tensor) or one != 1 for one in problem.alpha):
            alpha = torch.where(positive, *_pair(problem.alpha, z))
        sign = torch.where(positive, *_pair((1.0, -1.0), z))
        terms = [Term(_times(alpha, weight), s, links.decay(s), problem.gamma[0], sign)]
    return Expansion(terms, _same, _same)


def _pair(pair: tuple[Number, Number], like: Tensor) -> tuple[Tensor, Tensor]:
    """Both of a pair as tensors of ``like``'s dtype: ``where`` of two numbers is float32.

    Numbers are filled in on the device: `torch.as_tensor` copies them there, and waits.
    """
    first, second = (
        one.to(like)
        if isinstance(one, Tensor)
        else torch.full((), one, dtype=like.dtype, device=like.device)
        for one in pair
    )
    return first, second


# ---------------------------------------------------------------------------------------------
# softmax


def _revive(
    problem: SoftmaxProblem, z: Tensor, weight: Tensor | None, kept: Tensor | None
) -> Tensor:
    """Logits with the rows that do not count replaced by zeros where they are not finite.

    A row of padding may hold NaN, or -inf alone, whose loss is indeterminate: weight 0 means 0.
    """
    axis = class_axis_of(problem)
    dead = (
        None
        if weight is None
        else (weight == 0).unsqueeze(axis) & ~torch.isfinite(z.amax(axis, keepdim=True))
    )
    if kept is not None:
        ignored = ~kept.unsqueeze(axis)
        dead = ignored if dead is None else dead | ignored
    return z if dead is None else torch.where(dead, 0.0, z)


def _class_weights(problem: SoftmaxProblem, z: Tensor) -> Tensor | None:
    """Alpha as a tensor that broadcasts to the logits."""
    if problem.alpha is None:
        return None
    shape = [1] * z.dim()
    shape[class_axis_of(problem)] = -1
    return problem.alpha.to(z.dtype).view(shape)


def _expand_index(problem: SoftmaxProblem) -> Expansion:
    axis = class_axis_of(problem)
    kept = is_kept(problem.targets, problem.ignore_index)
    index = torch.where(kept, problem.targets, 0).long().unsqueeze(axis)
    z = _revive(problem, problem.logits.to(computing_dtype(problem.logits)), problem.weight, kept)
    margin = links.softmax_margin(z, index, axis)
    coefficient: Number = kept.unsqueeze(axis).to(z.dtype)
    alpha = _class_weights(problem, z)
    if alpha is not None:
        coefficient = coefficient * alpha.expand_as(z).gather(axis, index)
    if problem.weight is not None:
        coefficient = coefficient * problem.weight.unsqueeze(axis)
    gamma = problem.gamma
    if isinstance(gamma, Tensor) and gamma.dim() and gamma.shape[axis] != 1:
        gamma = gamma.expand_as(z).gather(axis, index)
    return Expansion(
        [Term(coefficient, margin.s, margin.x, gamma, 1.0)],
        lambda value: value.squeeze(axis),
        lambda slope: links.softmax_gradient(margin, slope, index, axis),
    )


def _expand_probabilities(problem: SoftmaxProblem) -> Expansion:
    axis = class_axis_of(problem)
    z = problem.logits.to(computing_dtype(problem.logits))
    kept = None
    if has_index_targets(problem):
        kept = is_kept(problem.targets, problem.ignore_index)
        index = torch.where(kept, problem.targets, 0).long().unsqueeze(axis)
        y = torch.zeros_like(z).scatter(axis, index, 1.0) * kept.unsqueeze(axis)
        # smoothing comes after ignoring: an ignored row stays all zero
        y = smooth(y, problem.label_smoothing, z.shape[axis]) * kept.unsqueeze(axis)
    else:
        y = smooth(shares(problem.targets, z.dtype), problem.label_smoothing, z.shape[axis])
    z = _revive(problem, z, problem.weight, kept)
    coefficient = _times(y, _class_weights(problem, z))
    if problem.weight is not None:
        coefficient = _times(coefficient, problem.weight.unsqueeze(axis))
    margins = links.softmax_margins(z, axis, idle=coefficient == 0)
    return Expansion(
        [Term(coefficient, margins.s, margins.x, problem.gamma, 1.0)],
        lambda value: value.sum(axis),
        lambda slopes: links.softmax_gradients(margins, slopes, z, axis),
    )


# ---------------------------------------------------------------------------------------------
# small shared pieces


def smooth(y: Tensor, label_smoothing: float, classes: int) -> Tensor:
    """Targets mixed with the uniform distribution over the classes."""
    if label_smoothing == 0:
        return y
    smoothed: Tensor = BOOK.smoothed(y, 1 - label_smoothing, label_smoothing / classes)
    return smoothed


def _weigh(coefficient: Number, value: Tensor) -> Tensor:
    """Coefficient * value, where 0 * inf is 0. NaN stays: a NaN logit is never hidden."""
    if not isinstance(coefficient, Tensor):
        return value if coefficient == 1 else value * coefficient
    weighed: Tensor = BOOK.weighed(coefficient, value)
    return weighed


def _value_of_constant_modulator(functions: SimpleNamespace, term: Term) -> Tensor:
    """The value, with the modulator constant under differentiation."""
    s, x = term.s.detach(), term.x.detach()
    m = functions.modulator(s, torch.log1p(x), functions.complement(s, x), term.gamma)
    value: Tensor = functions.value_of(functions.cross_entropy(term.s, torch.log1p(term.x)), m)
    return value


def _times(a: Number, b: Number | None) -> Number:
    if b is None or (not isinstance(b, Tensor) and b == 1):
        return a
    return a * b if isinstance(a, Tensor) or a != 1 else b


def _add(a: Tensor | None, b: Number) -> Tensor:
    return b if a is None else a + b  # type: ignore[return-value]


def _same(tensor: Tensor) -> Tensor:
    return tensor
