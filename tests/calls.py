"""Calls of the losses that hypothesis draws: shapes, strides, dtypes and keywords in any
combination.

What the choice of a compiled kernel depends on comes from a short list, because each is compiled
when first met; everything else is free.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

import refocal
from cases import MODULES, SIGMOID, SOFTMAX, Shape, computing, extremes, positions
from refocal import arguments
from refocal.kernels import operator
from refocal.reduction import reduction_for

FUNCTIONS = {SIGMOID: refocal.sigmoid_focal_loss, SOFTMAX: refocal.softmax_focal_loss}
PROBLEMS = {SIGMOID: arguments.sigmoid_problem, SOFTMAX: arguments.softmax_problem}
DEFAULTS: dict[str, dict[str, Any]] = {
    SIGMOID: {"alpha": 0.25, "ignore_index": None},
    SOFTMAX: {"alpha": None, "ignore_index": -100},
}
COMPILED = "compiled"  # the operator that compiled code calls, here without the compiler


@dataclass(frozen=True)
class Call:
    """Arguments of a loss, and an upstream gradient for its result."""

    link: str
    logits: Tensor
    targets: Tensor
    keywords: dict[str, Any]
    upstream: Tensor

    def evaluate(self, implementation: str) -> tuple[Tensor, Tensor]:
        """Loss and gradient."""
        logits = self.logits.detach().requires_grad_()  # the same memory, the same strides
        if implementation == COMPILED:
            settings = {**SHARED, **DEFAULTS[self.link], **self.keywords}
            kind, normalizer = settings.pop("reduction"), settings.pop("normalizer")
            problem = PROBLEMS[self.link]("operator", logits, self.targets, **settings)
            loss = operator.run(problem, reduction_for(problem, kind, normalizer))
        else:
            function = FUNCTIONS[self.link]
            loss = function(logits, self.targets, impl=implementation, **self.keywords)
        return self._both(loss, logits)

    def by_module(self, implementation: str) -> tuple[Tensor, Tensor]:
        """The same by the module form."""
        logits = self.logits.detach().requires_grad_()
        settings = dict(self.keywords)
        at_call = {name: settings.pop(name) for name in ("sample_weight",) if name in settings}
        module = MODULES[self.link](impl=implementation, **settings)
        return self._both(module(logits, self.targets, **at_call), logits)

    def _both(self, loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        upstream = self.upstream.to(loss.dtype).expand(loss.shape)
        (gradient,) = torch.autograd.grad(loss, logits, upstream)
        return loss.detach(), gradient

    @property
    def rows(self) -> int:
        """Length of the batch axis; 0 where there is none."""
        has_rows = self.logits.dim() > (1 if self.link == SOFTMAX else 0)
        return self.logits.shape[0] if has_rows else 0

    def of_rows(self, order: Tensor) -> Call:
        """Some of the rows, in some order, laid out anew; unreduced."""
        full = self.logits.shape
        keywords = dict(self.keywords)

        def picked(name: str, value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(picked(name, one) for one in value)
            if not isinstance(value, Tensor) or not value.dim():
                return value
            by_position = value.shape == (full[0], *full[2:]) and self.link == SOFTMAX
            by_row = (
                name == "sample_weight"
                or (by_position and name == "gamma" and tuple(value.shape) != (full[1],))
                or (value.dim() == len(full) and value.shape[0] == full[0])
            )
            return value[order] if by_row else value

        for name in ("alpha", "gamma", "sample_weight"):
            if name in keywords:
                keywords[name] = picked(name, keywords[name])
        return replace(
            self, logits=self.logits[order], targets=self.targets[order], keywords=keywords
        )


SHARED: dict[str, Any] = {
    "gamma": 2.0,
    "sample_weight": None,
    "label_smoothing": 0.0,
    "detach_modulator": False,
    "reduction": "mean",
    "normalizer": "elements",
}

# ---------------------------------------------------------------------------------------------
# memory


def reversed_axes(t: Tensor) -> Tensor:
    axes = tuple(reversed(range(t.dim())))
    return t.permute(axes).contiguous().permute(axes)


def classes_last(t: Tensor) -> Tensor:
    return t.movedim(1, -1).contiguous().movedim(-1, 1) if t.dim() > 1 else t


def every_other(t: Tensor) -> Tensor:
    return t.repeat_interleave(2, -1)[..., ::2] if t.dim() else t


def off_the_start(t: Tensor) -> Tensor:
    """In memory that starts at no multiple of a vector."""
    memory = torch.empty(t.numel() + 1, dtype=t.dtype)
    memory[1:] = t.reshape(-1)
    return memory[1:].view(t.shape)


def one_row_for_all(t: Tensor) -> Tensor:
    """Stride 0."""
    return t[:1].expand(t.shape) if t.dim() else t


def negated(t: Tensor) -> Tensor:
    """A view whose sign is yet to be turned."""
    if t.dtype not in (torch.float32, torch.float64):
        return t
    return torch.complex(torch.zeros_like(t), -t).conj().imag


LAYOUTS: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.clone,
    reversed_axes,
    classes_last,
    every_other,
    off_the_start,
    one_row_for_all,
    negated,
)
layouts = st.sampled_from(LAYOUTS)

# ---------------------------------------------------------------------------------------------
# what compiled kernels depend on

HALF, BRAIN, SINGLE, DOUBLE = torch.float16, torch.bfloat16, torch.float32, torch.float64
Sizes = tuple[int, ...]

# small ones of every kind, and some that fill several blocks or none quite
sizes_of_any_kind = st.lists(st.integers(0, 5), max_size=4).map(tuple) | st.sampled_from(
    [(4097,), (1025, 4), (3, 130), (130, 3), (70, 1), (2, 3, 17), (2, 7, 33, 2), (9, 40, 3)]
)


class Sort(NamedTuple):
    """The link, the dtypes, and what else a kernel depends on.

    Attributes:
        gammas: exponents, or none for tensors of them.
        plain: whether all other settings are plain numbers, and nothing is ignored; None for
            either.
    """

    link: str
    logits: torch.dtype
    targets: torch.dtype
    gammas: tuple[float, ...]
    sizes: st.SearchStrategy[Sizes] = sizes_of_any_kind
    reductions: tuple[str, ...] = ("none", "sum", "mean")
    smoothings: tuple[float, ...] = (0.0,)
    detached: bool = False
    plain: bool | None = None


GAMMAS = ((0, 0.0), (1, 1.0), (2, 2.0), (0.1, 0.5, 1.5, 5.0, 10.0), ())
every_sort = st.builds(
    Sort,
    link=st.sampled_from([SIGMOID, SOFTMAX]),
    logits=st.sampled_from([HALF, BRAIN, SINGLE, DOUBLE]),
    targets=st.sampled_from([HALF, BRAIN, SINGLE, DOUBLE, torch.bool])
    | st.sampled_from([torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]),
    gammas=st.sampled_from(GAMMAS),
    sizes=st.just(sizes_of_any_kind),
    reductions=st.just(("none", "sum", "mean")),
    plain=st.none(),
    smoothings=st.just((0.0, 0.0, 0.1, 1.0)),
    detached=st.booleans(),
).filter(lambda sort: sort.link == SIGMOID or sort.targets != torch.bool)

TABLES = st.sampled_from([(0, 3), (7, 5), (5, 2), (130, 3), (1025, 4)])
IMAGES = st.sampled_from([(2, 3, 17), (1, 4, 4, 4), (2, 7, 33, 2)])
ANY_LAYOUT = TABLES | IMAGES | st.sampled_from([(5,), (3, 130), (70, 129), (9, 40, 3), (6, 1)])
NONE, MEAN = ("none",), ("mean",)
kernel_sorts = st.sampled_from(
    [
        Sort(SIGMOID, SINGLE, torch.int64, (2, 2.0), reductions=MEAN, plain=True),
        Sort(SIGMOID, SINGLE, SINGLE, (), reductions=NONE, plain=False),
        Sort(SIGMOID, BRAIN, torch.bool, (0.5, 3.0), reductions=NONE, detached=True, plain=False),
        Sort(SIGMOID, DOUBLE, torch.uint8, (2.5,), reductions=NONE, plain=True),
        Sort(SOFTMAX, SINGLE, torch.int64, (2, 2.0), ANY_LAYOUT),
        Sort(SOFTMAX, SINGLE, SINGLE, (), TABLES | IMAGES),
        Sort(SOFTMAX, HALF, torch.int64, (0.5, 5.0), TABLES, detached=True),
        Sort(SOFTMAX, DOUBLE, torch.int32, (1, 1.0), TABLES, smoothings=(0.1, 1.0)),
    ]
)


class Draw:
    """Numbers of a generator that hypothesis seeds, and choices of its own."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.choose = draw
        self.generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def one_of(self, *values: Any) -> Any:
        return self.choose(st.sampled_from(values))

    def normal(self, sizes: tuple[int, ...]) -> Tensor:
        return torch.randn(sizes, generator=self.generator, dtype=DOUBLE)

    def uniform(self, sizes: tuple[int, ...], low: float = 0, high: float = 1) -> Tensor:
        values = torch.rand(sizes, generator=self.generator, dtype=DOUBLE)
        return self.choose(layouts)((low + (high - low) * values).to(self.one_of(SINGLE, DOUBLE)))

    def laid_out(self, t: Tensor) -> Tensor:
        return self.choose(layouts)(t)

    def with_share(self, t: Tensor, share: float, value: Any) -> Tensor:
        """Some of the elements replaced; by several values in turn if it is a tensor."""
        hit = torch.rand(t.shape, generator=self.generator) < share
        if isinstance(value, Tensor):
            picks = torch.randint(len(value), t.shape, generator=self.generator)
            value = value[picks]
        return torch.where(hit, value, t)


@st.composite
def calls(draw: st.DrawFn, sorts: st.SearchStrategy[Sort] = every_sort) -> Call:
    """Any call that is not refused."""
    some = Draw(draw)
    sort = draw(sorts)
    sizes = draw(sort.sizes)
    if sort.link == SOFTMAX:
        axis = 0 if len(sizes) < 2 else 1
        sizes = (*sizes[:axis], max(sizes[axis], 2), *sizes[axis + 1 :]) if sizes else (3,)
    logits = some.normal(sizes) * some.one_of(0.01, 4.0, 30.0)
    logits = some.with_share(logits, some.one_of(0, 0, 0.1), extremes(sort.logits).double())
    keywords: dict[str, Any] = {"gamma": _gamma(some, sort, sizes)}
    targets = _targets(some, sort, sizes, keywords)
    if draw(st.booleans()):
        keywords["alpha"] = _alpha(some, sort, sizes)
    loss_sizes = sizes if sort.link == SIGMOID else without_classes(sizes)
    weighted = draw(st.booleans()) if sort.plain is None else not sort.plain
    if weighted:
        axes = draw(st.integers(0, len(loss_sizes)))
        weight = some.uniform(loss_sizes[:axes], 0, 3)
        keywords["sample_weight"] = some.with_share(weight, 0.3, 0.0)
    if sort.detached:
        keywords["detach_modulator"] = True
    keywords["label_smoothing"] = some.one_of(*sort.smoothings)
    keywords["reduction"] = some.one_of(*sort.reductions)
    if keywords["reduction"] == "mean":
        normalizers = ("elements", "weights", "sample_weight", 7, 0.3, torch.tensor(2.5))
        if sort.link == SIGMOID:
            normalizers += ("positives",)
        keywords["normalizer"] = some.one_of(*normalizers)
    upstream = torch.tensor(some.one_of(1.0, 1.0, -2.5))
    if keywords["reduction"] == "none":
        upstream = upstream * some.uniform(loss_sizes, 0.5, 1.5)
    return Call(
        sort.link, some.laid_out(logits.to(sort.logits)), some.laid_out(targets), keywords, upstream
    )


def classes_of(sizes: Sizes) -> int:
    """Length of the class axis."""
    return sizes[min(1, len(sizes) - 1)] if sizes else 1


def without_classes(sizes: Sizes) -> Sizes:
    return positions(Shape(sizes))


def per_class(sizes: Sizes) -> Sizes:
    return (classes_of(sizes),) if sizes else ()


def _gamma(some: Draw, sort: Sort, sizes: Sizes) -> Any:
    if sort.gammas:
        return some.one_of(*sort.gammas)
    shapes = [per_class(sizes)]
    if sort.link == SIGMOID:
        shapes += [(), sizes, *((1, *sizes[1:]) for _ in sizes[:1])]
        if some.one_of(False, True):
            other = some.one_of(1.5, some.uniform((), 0, 4))
            return some.uniform(some.one_of(*shapes), 0, 4), other
    else:
        shapes += [without_classes(sizes)]
        if sort.targets.is_floating_point:
            shapes += [sizes]
    return some.uniform(some.one_of(*shapes), 0, 4)


def _alpha(some: Draw, sort: Sort, sizes: Sizes) -> Any:
    if sort.link == SOFTMAX:
        return some.one_of(None, some.with_share(some.uniform(per_class(sizes), 0, 3), 0.2, 0.0))
    if sort.plain:
        return some.one_of(None, 0.1, 0.75)
    shapes = [(), per_class(sizes), sizes]
    return some.one_of(None, 0.0, 0.75, 1, some.uniform(some.one_of(*shapes)))


def _targets(some: Draw, sort: Sort, sizes: Sizes, keywords: dict[str, Any]) -> Tensor:
    """Targets of the sort's dtype; the index to ignore is among them and the keywords."""
    floating = sort.targets.is_floating_point
    y = torch.rand(sizes, generator=some.generator, dtype=DOUBLE)
    if sort.link == SOFTMAX and floating:
        y = some.with_share(y, 0.2, 0.0)
        return (y / y.sum(0 if y.dim() == 1 else 1, keepdim=True).clamp(min=1)).to(sort.targets)
    fill = {torch.bool: 1, torch.int8: 127}.get(sort.targets, 255)
    missing = math.nan if sort.link == SIGMOID and floating else fill
    ignored = None if sort.plain else some.one_of(None, 1, fill, missing)
    if sort.link == SOFTMAX:
        y = torch.rand(without_classes(sizes), generator=some.generator, dtype=DOUBLE)
        y = (y * min(classes_of(sizes), fill)).floor()
    elif floating:
        y = torch.where(y < 0.1, 0.0, torch.where(y > 0.9, 1.0, y))
    else:
        y = (y < 0.4).double()
    if ignored is not None:
        keywords["ignore_index"] = ignored
        if ignored != 1:
            y = some.with_share(y, 0.3, float(ignored))
    return y.to(sort.targets)


# ---------------------------------------------------------------------------------------------
# how far a result may be off


def rounding(exact: Any, dtype: torch.dtype) -> Any:
    """Half a unit in the last place of a half-precision result, and nothing of another."""
    if dtype == computing(dtype):
        return 0.0
    info = torch.finfo(dtype)
    return abs(exact) * info.eps / 2 * 1.02 + info.smallest_normal * info.eps / 2
