"""What torch is doing at this moment, and what kind of tensor it hands over.

The one place that asks, partly by private names: a torch version that renames them fails
tests/test_transforms.py and tests/test_kinds.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from refocal import extras

if reason := extras.lack("torch"):  # asked once, by the module that all others reach first
    raise extras.MissingExtra("refocal", reason)

F = TypeVar("F", bound=Callable[..., Any])

# most tensors are of these, and asking for the class spares them every other question
PLAIN = (Tensor, torch.nn.Parameter)
# what a class inherits that leaves its operations to torch
_NO_DISPATCH = Tensor.__torch_dispatch__


def constant(function: F) -> F:
    """A function that torch.compile calls once and does not look into.

    As `torch.compiler.assume_constant_result`, without its import of the compiler.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def untraced(function: F) -> F:
    """A function that torch.compile leaves to Python, with a break of the graph around it.

    As `torch.compiler.disable`, without its import of the compiler until there is one.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        return torch.compiler.disable(function)(*args, **kwargs)  # type: ignore[no-untyped-call]

    call._torchdynamo_disable = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def is_traced() -> bool:
    """Whether torch.compile, torch.export or torch.jit.trace records what is called."""
    return torch.compiler.is_compiling() or torch._C._is_tracing()


def is_transformed() -> bool:
    """Whether a transform of torch.func is active, also while torch.compile traces it."""
    # traced, the None of an empty stack is an object whose class is known, but not that it is None
    return not isinstance(torch._C._functorch.peek_interpreter_stack(), type(None))


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor stands for several, as in vmap, or for one that is differentiated.

    The vmap of a batched backward (`is_grads_batched`) is an older one, of which the stack of
    torch.func's transforms knows nothing.
    """
    functorch = torch._C._functorch
    return functorch.is_legacy_batchedtensor(tensor) or functorch.is_functorch_wrapped_tensor(
        tensor
    )


def is_watched() -> bool:
    """Whether anything has to see every operation.

    Forward mode carries tangents through them; a `TorchDispatchMode` (fake tensors, counters of
    operations, selective checkpoints) takes their place.
    """
    return forward_ad._current_level >= 0 or torch._C._len_torch_dispatch_stack() > 0


def dispatches(tensor: Tensor) -> bool:
    """Whether the class of a tensor runs operations itself, by a `__torch_dispatch__` of its own.

    Such a tensor (DTensor, a masked, fake or quantised tensor, the pending result of a collective)
    wraps others or nothing: it has no memory of its own, and its address is 0.
    """
    kind = type(tensor)
    return kind not in PLAIN and kind.__torch_dispatch__ is not _NO_DISPATCH


def wrappers_among(tensors: Iterable[Tensor]) -> str:
    """The classes of those that run operations themselves, for a message; "" for none."""
    return ", ".join(sorted({type(one).__name__ for one in tensors if dispatches(one)}))


def has_memory(tensor: Tensor) -> bool:
    """Whether the elements of a tensor lie at its address.

    Those of a tensor of zeros that stands for a missing tangent do not, nor those of several in a
    batched backward, nor those of a tensor whose storage has been freed.
    """
    try:
        return tensor.data_ptr() != 0 or tensor.numel() == 0
    except RuntimeError:  # there is no storage to ask
        return False


def is_freed(tensor: Tensor) -> bool:
    """Whether the storage of a plain tensor has been freed, as FSDP frees parameters."""
    return not (
        has_memory(tensor)
        or tensor.is_meta
        or is_transformed()
        or tensor._is_zerotensor()
        or is_batched(tensor)
        or torch._is_functional_tensor(tensor)
    )


def graph_is_kept() -> bool:
    """Whether what backward reads may be read again. A torch that does not say keeps it."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return ask is None or bool(ask())


def is_distributed(tensor: Any) -> bool:
    """Whether this is a DTensor."""
    # not imported for the question, which takes seconds: who has one has imported it
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def is_readable(tensor: Tensor) -> bool:
    """Whether the values of a tensor can be read here and now, whatever that costs."""
    return not (
        tensor.is_meta
        or is_traced()
        or is_transformed()
        or is_batched(tensor)
        or (dispatches(tensor) and not is_distributed(tensor))
    )


def values_of(tensor: Tensor) -> Tensor:
    """The values that this process holds, as a plain tensor without a history."""
    if is_distributed(tensor):
        tensor = tensor.to_local()  # type: ignore[attr-defined]
    return tensor.detach()


def unwatched() -> AbstractContextManager[Any]:
    """A context in which no `TorchDispatchMode` takes the place of an operation."""
    if not torch._C._len_torch_dispatch_stack():
        return nullcontext()
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()
