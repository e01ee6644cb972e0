"""Where the tensors of a call become one problem: every one of them is looked at, together.

A kernel works on addresses, so it may be given memory alone: no wrapper, whose address is 0. And
torch's operations refuse some mixtures, as of a DTensor and a plain tensor. Behind the gate the
tensors of a problem are all plain, or logits and all others are of one kind that carries out
operations itself. `refocal.kernels.run` then decides which way is taken.
"""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor

from refocal import arguments
from refocal.arguments.inspection import suspect_probabilities
from refocal.messages import refuse
from refocal.problem import Problem, SigmoidProblem
from refocal.torch_state import PLAIN, dispatches, has_memory, is_distributed, is_traced

P = TypeVar("P", bound=Problem)

PLAIN_VALUES = frozenset((*PLAIN, float, int, bool, str, tuple, type(None)))
# the fields of a problem whose names are not the arguments'
ARGUMENTS = {"weight": "sample_weight"}


def admit(function: str, problem: P, normalizer: Any, lead: Tensor | None = None) -> tuple[P, Any]:
    """A problem and its normalizer with tensors that go together.

    Args:
        function: whose name an error bears.
        problem: checked arguments.
        normalizer: as given by the user.
        lead: the tensor that the others go with; unless given the logits, which otherwise stand in
            for some that do not exist, and stay as they are.

    Raises:
        TypeError: a tensor that cannot be brought together with the logits.
    """
    lead = problem.logits if lead is None else lead
    if is_traced():
        return problem, normalizer
    if lead is problem.logits:
        suspect_probabilities(function, lead)
    if type(problem.targets) is Tensor and not has_memory(problem.targets):
        arguments.check_memory(function, "targets", problem.targets)
    if _all_plain(lead, problem, normalizer):
        return problem, normalizer
    logits = together(function, "logits", lead, lead) if lead is problem.logits else problem.logits
    others = [
        together(function, ARGUMENTS.get(name, name), value, lead)
        for name, value in zip(problem._fields[1:], problem[1:], strict=True)
    ]
    admitted: P = type(problem)(logits, *others)  # type: ignore[assignment]
    return admitted, together(function, "normalizer", normalizer, lead)


def _all_plain(lead: Tensor, problem: Problem, normalizer: Any) -> bool:
    """Whether every tensor is plain, as most are."""
    pairs = (*problem.alpha, *problem.gamma) if isinstance(problem, SigmoidProblem) else ()
    return PLAIN_VALUES.issuperset(map(type, (lead, normalizer, *problem, *pairs)))


def together(function: str, argument: str, value: Any, lead: Tensor) -> Any:
    """A value of a call in the form that goes with the leading tensor; no tensor stays as it is."""
    if type(value) is tuple:
        return tuple([together(function, argument, part, lead) for part in value])
    if not isinstance(value, Tensor):
        return value
    if type(value) not in PLAIN and not dispatches(value):
        # a class of its own over plain memory, whose rules `overridable` has honoured
        value = value.as_subclass(Tensor)
    if is_distributed(value) == is_distributed(lead):
        return value
    if is_distributed(lead):
        return _replicated(value, lead)
    return _gathered(function, argument, value)


def _replicated(value: Tensor, lead: Any) -> Tensor:
    """A plain tensor, which every rank has whole, beside a DTensor."""
    from torch.distributed.tensor import DTensor, Replicate

    if dispatches(value):
        return value
    placements = [Replicate()] * lead.device_mesh.ndim
    return DTensor.from_local(value, lead.device_mesh, placements, run_check=False)


def _gathered(function: str, argument: str, value: Any) -> Tensor:
    """The whole of a DTensor beside plain logits, as after `distribute_module` of a loss."""
    if value.requires_grad and not all(part.is_replicate() for part in value.placements):
        raise refuse(
            function,
            argument,
            "be a plain tensor beside plain logits if it requires grad",
            (
                f"a DTensor with placements {tuple(value.placements)}: its ranks' gradients would "
                "not be added"
            ),
            f"Pass the logits as a DTensor on the same mesh, or {argument}.full_tensor().",
            TypeError,
        )
    whole: Tensor = value.full_tensor()
    return whole
