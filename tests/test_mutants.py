"""Hand-made wrong losses, each rejected by a check that the normal tests use: the suite can fail.

The six classic mistakes are put into the library one at a time; the check that should notice must
fail, and must pass without the mistake.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from cases import RAGGED, SIGMOID, SOFTMAX, assert_matches
from refocal import reduction
from refocal.formula import binding, focal, in_torch
from refocal.kernels import eager

Mutate = Callable[[pytest.MonkeyPatch], None]


def check(link: str, **keywords: Any) -> None:
    """Value and gradient beside the oracle: `cases.assert_matches`, as in test_accuracy.py."""
    z = torch.linspace(-3, 4, 35).view(RAGGED.sizes)
    y = (torch.arange(35).view(RAGGED.sizes) % 3 == 0).long()
    targets = y if link == SIGMOID else torch.arange(7) % 5
    assert_matches("eager", link, z, targets, **keywords)


def p_for_q(patch: pytest.MonkeyPatch) -> None:
    """The hard examples are silenced instead of the easy ones."""
    wrong = types.FunctionType(focal.probability.__code__, {}, "complement")
    functions = [wrong if one is focal.complement else one for one in binding.FUNCTIONS]
    patch.setattr(binding, "FUNCTIONS", tuple(functions))
    for modulator in in_torch.BINDINGS:
        mistaken = binding.bind(in_torch.OPERATIONS, modulator)
        patch.setitem(in_torch.BINDINGS, modulator, mistaken)


def gamma_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """The exponent gamma - 1 of the derivative's formula in place of the loss's own."""
    original = eager.expand

    def less(problem: Any) -> eager.Expansion:
        expansion = original(problem)
        terms = [term._replace(gamma=term.gamma - 1) for term in expansion.terms]
        return expansion._replace(terms=terms)

    patch.setattr(eager, "expand", less)


def alpha_swapped(patch: pytest.MonkeyPatch) -> None:
    """Alpha on the negatives."""
    original = eager.expand

    def swapped(problem: Any) -> eager.Expansion:
        return original(problem._replace(alpha=problem.alpha[::-1]))

    patch.setattr(eager, "expand", swapped)


def mean_over_all(patch: pytest.MonkeyPatch) -> None:
    """Ignored elements in the denominator."""
    patch.setattr(reduction, "kept_positions", lambda problem: None)


def weight_missing_in_backward(patch: pytest.MonkeyPatch) -> None:
    """The loss is weighted, its gradient is not."""
    original = eager._single_pass

    def unweighted(problem: Any, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
        loss, _ = original(problem, gradient=False)
        bare = problem._replace(weight=None)
        return loss, original(bare, gradient=True)[1] if gradient else None

    patch.setattr(eager, "_single_pass", unweighted)


def sign_of_the_margin(patch: pytest.MonkeyPatch) -> None:
    """s = (1 - 2y) z; x = exp(-|s|) is the same."""
    original = eager.expand

    def negated(problem: Any) -> eager.Expansion:
        expansion = original(problem)
        return expansion._replace(terms=[term._replace(s=-term.s) for term in expansion.terms])

    patch.setattr(eager, "expand", negated)


IGNORED = {"ignore_index": 1, "reduction": "mean"}
WEIGHTED = {"sample_weight": torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0, 1.0, 1.0])}

MUTANTS: list[tuple[Mutate, str, dict[str, Any]]] = [
    (p_for_q, SIGMOID, {}),
    (p_for_q, SOFTMAX, {}),
    (gamma_off_by_one, SIGMOID, {"gamma": 2.5}),
    (gamma_off_by_one, SOFTMAX, {"gamma": 2.0}),
    (alpha_swapped, SIGMOID, {"alpha": 0.25}),
    (mean_over_all, SIGMOID, IGNORED),
    (mean_over_all, SOFTMAX, IGNORED),
    (weight_missing_in_backward, SIGMOID, WEIGHTED),
    (weight_missing_in_backward, SOFTMAX, WEIGHTED),
    (sign_of_the_margin, SIGMOID, {}),
    (sign_of_the_margin, SOFTMAX, {}),
]


@pytest.mark.parametrize(
    ("mutate", "link", "keywords"),
    MUTANTS,
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_mutant_is_rejected(
    mutate: Mutate, link: str, keywords: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(link, **keywords)
    with monkeypatch.context() as patch:
        mutate(patch)
        with pytest.raises(AssertionError):
            check(link, **keywords)
    check(link, **keywords)
