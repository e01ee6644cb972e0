"""The Numba backend: one pass over logits and targets that leaves the loss and its gradient.

12 bytes per float32 element move, and one tensor is kept for backward. Kernels are compiled when
first needed, one per combination of dtypes and features, and cached on disk. Numba itself is
imported with the first of them.
"""

from __future__ import annotations

import warnings
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from refocal import arguments
from refocal.kernels import backward, eager
from refocal.kernels.backward import Keeping
from refocal.kernels.cpu import count as counting
from refocal.kernels.cpu import launch, sigmoid, softmax
from refocal.kernels.cpu.launch import DTYPES, FLOATS
from refocal.problem import Number, Problem, SoftmaxProblem
from refocal.reduction import Reduction
from refocal.torch_state import constant

checks_values = True
reads = True
keeping = Keeping(each=True, rounded=True)
sees_upstream = True

# asked once and not behind a cache, which torch.compile warns of
NUMBA_IS_INSTALLED = find_spec("numba") is not None

_trouble: str | None = None
_tried = False


@constant
def trouble() -> str | None:
    """Why the Numba that is installed cannot be used, or None if it can. Warns the first time.

    It may refuse the NumPy beside it, miss a library, or have been switched off: then plain torch
    does the work, slower, and the user should know why.
    """
    global _tried, _trouble
    if not _tried:
        _trouble = _try_numba()
        _tried = True
        if _trouble:
            warnings.warn(
                f"refocal runs on plain PyTorch, several times slower, because its CPU kernels "
                f"cannot use Numba: {_trouble}",
                RuntimeWarning,
                stacklevel=2,
            )
    return _trouble


def _try_numba() -> str | None:
    try:
        import numba

        if numba.config.DISABLE_JIT:
            return "its compiler is switched off (NUMBA_DISABLE_JIT)."
        launch.team_address()
    except Exception as error:  # whatever another library raises while it is imported or compiles
        return f"{type(error).__name__}: {error}"
    return None


def unsupported(problem: Problem) -> str | None:
    """Why this problem cannot run here, or None if it can."""
    logits, targets = problem.logits, problem.targets
    gammas: tuple[Number, ...]
    if not logits.is_cpu or logits.layout is not torch.strided:
        return f"needs dense logits on the cpu, got {logits.layout} on {logits.device}."
    if not NUMBA_IS_INSTALLED:
        return 'needs Numba, which is not installed: pip install "refocal[cpu]".'
    if logits.dtype not in FLOATS or targets.dtype not in DTYPES:
        return f"has no kernel for {logits.dtype} logits and {targets.dtype} targets."
    gammas = (problem.gamma,) if isinstance(problem, SoftmaxProblem) else problem.gamma
    for gamma in gammas:
        if type(gamma) is float and gamma > arguments.LARGEST_GAMMA:
            return f"has no kernel for a gamma above {arguments.LARGEST_GAMMA:g}."
    if why := trouble():
        return f"cannot use Numba: {why}"
    return None


def evaluate(
    function: str, problem: Problem, reduction: Reduction, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """The reduced loss and, if wanted, its gradient, rounded once to the logits' dtype."""
    output = "each" if reduction.kind == "none" else "sum"
    factor = 1 / float(reduction.denominator)
    loss, slopes, suspicious = _run(problem, output, factor, gradient=gradient)
    if suspicious:
        arguments.check_values_of(function, problem)
        # nothing wrong is found: a kernel never returns the sum of blocks that it has left undone
        wanted = gradient and problem.logits.dtype in backward.FULL
        return eager.evaluate(function, problem, reduction, gradient=wanted)
    assert loss is not None  # noqa: S101 - it was asked for
    return loss, slopes


def count(problem: Problem) -> int | None:
    """Counts the targets that are not ignored, at least 1; None where plain operations do."""
    found = counting.kept(problem)
    return None if found is None else max(found, 1)


def gradient(problem: Problem, factor: Tensor) -> Tensor:
    """The gradient of the unreduced loss times ``factor``, rounded once."""
    plain: Number = factor if factor.dim() else factor.item()
    _, slopes, suspicious = _run(problem, "nothing", plain, gradient=True)
    if suspicious:
        return eager.gradient(problem, factor)
    assert slopes is not None  # noqa: S101 - it was asked for
    return slopes


def counts(targets: Tensor) -> bool:
    """Whether `occurrences` can be asked, and is faster than plain operations."""
    return (
        targets.is_cpu
        and targets.layout is torch.strided
        and targets.dtype in DTYPES
        and targets.numel() >= counting.WORTHWHILE
        and NUMBA_IS_INSTALLED
        and trouble() is None
    )


occurrences = counting.occurrences
pulled_back = partial(backward.pulled_back, gradient)


def _run(
    problem: Problem, output: str, factor: Number, *, gradient: bool
) -> tuple[Tensor | None, Tensor | None, bool]:
    if isinstance(problem, SoftmaxProblem):
        return softmax.run(problem, output, factor, gradient=gradient)
    return sigmoid.run(problem, output, factor, gradient=gradient)
