"""Kinds of tensors that a user may hand over: how each is made of a plain one.

A new kind is one entry of `KINDS`; tests/test_kinds.py puts it in the place of every tensor of
every public function.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map


class Derived(Tensor):
    """As medical imaging and fastai derive theirs: results are of the class again."""


class Unwrapping(Tensor):
    """As torchvision's tv_tensors: what an operation returns is a plain tensor."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        return result.as_subclass(Tensor) if isinstance(result, cls) else result


class Silent(Tensor):
    """A class without rules of its own, as Parameter is."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class DerivedParameter(torch.nn.Parameter):
    """As packages of quantised weights derive theirs."""


class Wrapper(Tensor):
    """A tensor without memory of its own that carries every operation out on the one inside."""

    @staticmethod
    def __new__(cls, inside: Tensor):
        return Tensor._make_wrapper_subclass(
            cls,
            inside.shape,
            strides=inside.stride(),
            dtype=inside.dtype,
            device=inside.device,
            requires_grad=inside.requires_grad,
        )

    def __init__(self, inside: Tensor) -> None:
        self.inside = inside.detach()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        inside = tree_map(lambda one: one.inside if isinstance(one, cls) else one, (args, kwargs))
        result = func(*inside[0], **(inside[1] or {}))
        return tree_map(lambda one: cls(one) if isinstance(one, Tensor) else one, result)


class Mute(Wrapper):
    """A wrapper that carries out nothing."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError(f"no {func}")


def of_jax(tensor: Tensor) -> Any:
    """An array of another framework, whose losses are loaded, too."""
    import jax.numpy as jnp

    import refocal.jax  # noqa: F401

    return jnp.asarray(tensor.numpy())


class Kind(NamedTuple):
    """A kind of tensor.

    Attributes:
        make: of a plain tensor one of this kind with the same values.
        result: "number" where a call gives the plain number, "error" where it must refuse, "either"
            where a class may do what it can, "torch's" where torch has an error of its own.
        checked: whether values are read, and bad ones refused.
    """

    make: Callable[[Tensor], Any]
    result: str = "number"
    checked: bool = True


def apart(tensor: Tensor) -> Tensor:
    """Every second element of a larger memory, from an offset on."""
    if tensor.dim() == 0:
        return torch.stack([tensor, tensor, tensor])[1]
    room = torch.full((2 * tensor.shape[0] + 1, *tensor.shape[1:]), 77, dtype=tensor.dtype)
    view = room[1::2]
    view.copy_(tensor)
    return view


def transposed(tensor: Tensor) -> Tensor:
    return tensor.mT.contiguous().mT if tensor.dim() >= 2 else tensor.clone()


def negated(tensor: Tensor) -> Tensor:
    """The same values with torch's lazy minus sign."""
    return torch._neg_view(-tensor) if tensor.dtype.is_floating_point else tensor


def from_read_only(tensor: Tensor) -> Tensor:
    array = np.array(tensor.numpy())
    array.setflags(write=False)
    return torch.from_numpy(array)


def masked(tensor: Tensor) -> Tensor:
    from torch.masked import masked_tensor

    return masked_tensor(tensor, torch.ones_like(tensor, dtype=torch.bool))


def nested(tensor: Tensor) -> Tensor:
    return torch.nested.nested_tensor([tensor, tensor])


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.quint8)


def inference(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


KINDS: dict[str, Kind] = {
    "plain": Kind(torch.clone),
    "a parameter": Kind(lambda t: torch.nn.Parameter(t.clone(), requires_grad=False)),
    "a parameter's subclass": Kind(
        lambda t: t.clone().as_subclass(DerivedParameter).requires_grad_(False)
    ),
    "a subclass": Kind(lambda t: t.clone().as_subclass(Derived)),
    "a subclass that unwraps": Kind(lambda t: t.clone().as_subclass(Unwrapping)),
    "a subclass without rules": Kind(lambda t: t.clone().as_subclass(Silent)),
    "apart in memory": Kind(apart),
    "transposed": Kind(transposed),
    "negated lazily": Kind(negated),
    "read-only": Kind(from_read_only),
    "in shared memory": Kind(lambda t: t.clone().share_memory_()),
    "of inference mode": Kind(inference, "torch's"),
    "a wrapper": Kind(Wrapper, checked=False),
    "a mute wrapper": Kind(Mute, "error"),
    "masked": Kind(masked, "either", checked=False),
    "sparse": Kind(lambda t: t.to_sparse(), "error"),
    "compressed": Kind(lambda t: t.to_sparse_csr() if t.dim() == 2 else t.to_sparse(), "error"),
    "nested": Kind(nested, "error"),
    "quantised": Kind(quantised, "error"),
    "complex": Kind(lambda t: t.to(torch.complex64), "error"),
    "on the meta device": Kind(lambda t: t.to("meta"), "error"),
}
if find_spec("jax") is not None:
    KINDS["of JAX"] = Kind(of_jax, "error")
