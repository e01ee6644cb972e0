"""The modules are the functions, with settings that move but are not saved."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from cases import (
    LOSSES,
    MODULES,
    POSTERIORS,
    RAGGED,
    SIGMOID,
    SOFTMAX,
    Loss,
    evaluate,
    inputs,
    sigmoid_focal_loss,
)
from refocal import LinearFocalLoss, SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.modules import FocalModule

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.id)
EXACTLY = {"rtol": 0, "atol": 0}


def module_and_keywords(loss: Loss, **more: Any) -> tuple[FocalModule, dict[str, Any]]:
    """The module of a loss, and what is left to pass in its call."""
    settings = {**loss.keywords(RAGGED), **more}
    call = {name: settings.pop(name) for name in ("sample_weight",) if name in settings}
    return MODULES[loss.link](impl="eager", **settings), call


@every_loss
def test_module_is_function(loss: Loss) -> None:
    logits, targets = inputs(loss, RAGGED)
    module, call = module_and_keywords(loss)
    leaf = logits.clone().requires_grad_()
    value = module(leaf, targets, **call)
    value.backward()
    expected, gradient = evaluate("eager", loss.function, logits, targets, **loss.keywords(RAGGED))
    assert_close(value.detach(), expected, **EXACTLY)
    assert_close(leaf.grad, gradient, **EXACTLY)


@every_loss
def test_copies_are_the_module(loss: Loss) -> None:
    logits, targets = inputs(loss, RAGGED)
    module, call = module_and_keywords(loss)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_close(twin(logits, targets, **call), module(logits, targets, **call), **EXACTLY)
        assert repr(twin) == repr(module)


@every_loss
def test_nothing_enters_the_state_dict(loss: Loss) -> None:
    module, _ = module_and_keywords(loss)
    assert module.state_dict() == {}
    assert list(module.parameters()) == []


@pytest.mark.parametrize("convert", ["half", "bfloat16", "double"])
@every_loss
def test_settings_keep_their_dtype(loss: Loss, convert: str) -> None:
    """A class weight rounded to bfloat16 would be another loss."""
    logits, targets = inputs(loss, RAGGED)
    module, call = module_and_keywords(loss)
    before = module(logits, targets, **call)
    getattr(module, convert)()
    assert_close(module(logits, targets, **call), before, **EXACTLY)
    assert {buffer.dtype for buffer in module.buffers()} <= {torch.float32}


def test_double_settings_stay_double() -> None:
    module = SoftmaxFocalLoss(alpha=torch.rand(3, dtype=torch.float64)).half()
    assert module.alpha.dtype == torch.float64


@pytest.mark.parametrize("setting", ["alpha", "gamma", "normalizer"])
def test_tensors_move_with_the_module(setting: str) -> None:
    value = torch.tensor([1, 2, 3]) if setting != "normalizer" else torch.tensor(3)
    module = SoftmaxFocalLoss(**{setting: value})
    assert getattr(module, setting).dtype == torch.float32
    assert getattr(module.to("meta"), setting).device.type == "meta"
    # a module made on the meta device gets memory, as any other
    assert getattr(module.to_empty(device="cpu"), setting).device.type == "cpu"


def test_a_pair_of_tensors_moves_too() -> None:
    module = SigmoidFocalLoss(gamma=(torch.tensor(1.0), torch.tensor(2.0))).to("meta")
    assert [one.device.type for one in module.keywords()["gamma"]] == ["meta", "meta"]


def test_the_loss_moves_inside_a_model() -> None:
    model = torch.nn.ModuleDict(
        {"head": torch.nn.Linear(2, 3), "loss": SoftmaxFocalLoss(alpha=torch.rand(3))}
    )
    model.bfloat16()
    assert model["head"].weight.dtype == torch.bfloat16
    assert model["loss"].alpha.dtype == torch.float32
    assert model.to("meta")["loss"].alpha.is_meta


def test_a_checkpoint_loads_after_the_loss_has_changed() -> None:
    """Strictly, both ways: with settings where there were none, and the reverse."""

    def model(**settings: Any) -> torch.nn.Module:
        loss = SigmoidFocalLoss(**settings)
        return torch.nn.ModuleDict({"head": torch.nn.Linear(2, 3), "loss": loss})

    first, second = model(), model(alpha=torch.rand(3), gamma=(torch.tensor(1.0), 2.0))
    assert str(second.load_state_dict(first.state_dict())) == "<All keys matched successfully>"
    assert str(first.load_state_dict(second.state_dict())) == "<All keys matched successfully>"


def test_repr_is_how_it_would_be_written() -> None:
    written = repr(SigmoidFocalLoss(gamma=1.5))
    assert written.startswith("SigmoidFocalLoss(alpha=0.25, gamma=1.5, reduction='mean', ")
    twin = eval(written, {"SigmoidFocalLoss": SigmoidFocalLoss})
    assert repr(twin) == written
    text = repr(SigmoidFocalLoss(alpha=torch.tensor([0.1, 0.2]), gamma=(torch.tensor(1.5), 3.0)))
    assert "alpha=tensor([0.1, 0.2])" in text
    assert "gamma=(tensor([1.5]), 3)" in text
    assert "alpha=tensor of shape (80,)" in repr(SoftmaxFocalLoss(alpha=torch.ones(80)))
    assert "alpha=tensor of shape (2,)" in repr(SoftmaxFocalLoss(alpha=torch.ones(2)).to("meta"))


@pytest.mark.parametrize("pair", [False, True])
def test_a_learnable_gamma_warns(pair: bool) -> None:
    gamma = torch.nn.Parameter(torch.tensor(2.0))
    with pytest.warns(UserWarning, match="learnable gamma has no minimum") as caught:
        module = SigmoidFocalLoss(gamma=(gamma, 1.0) if pair else gamma)
    assert caught[0].filename == __file__
    assert list(module.parameters()) == [gamma]
    module(torch.randn(4), torch.ones(4)).backward()
    assert gamma.grad < 0


def test_a_fixed_gamma_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SigmoidFocalLoss(gamma=torch.tensor(2.0))
        SigmoidFocalLoss(
            gamma=(1.0, torch.tensor(2.0)), alpha=torch.nn.Parameter(torch.tensor(0.5))
        )


@pytest.mark.parametrize("link", [SIGMOID, SOFTMAX])
def test_posterior_uses_the_settings(link: str) -> None:
    alpha = torch.tensor([0.2, 0.5, 0.7])
    settings = {"alpha": alpha, "gamma": 1.5, "label_smoothing": 0.1, "detach_modulator": True}
    logits = torch.randn(4, 3)
    module = MODULES[link](reduction="sum", **settings)
    assert_close(
        module.posterior(logits, temperature=2.0),
        POSTERIORS[link](logits, temperature=2.0, **settings),
        **EXACTLY,
    )


def methods(module: type[FocalModule]) -> dict[str, list[str]]:
    """What a module defines for its users, with the names of the parameters."""
    return {
        name: list(inspect.signature(getattr(module, name)).parameters)
        for name in dir(module)
        if not name.startswith("_") and not hasattr(torch.nn.Module, name)
    }


def test_all_modules_have_the_same_methods() -> None:
    sigmoid, softmax, linear = map(methods, (SigmoidFocalLoss, SoftmaxFocalLoss, LinearFocalLoss))
    assert {"denominator", "posterior"} <= set(sigmoid)
    assert sigmoid == softmax == linear


def test_all_modules_are_called_alike() -> None:
    """With what is left to a call; the linear one has the factors of its logits before."""
    sigmoid, softmax, linear = (
        list(inspect.signature(module.forward).parameters)
        for module in (SigmoidFocalLoss, SoftmaxFocalLoss, LinearFocalLoss)
    )
    assert sigmoid == softmax
    assert [name for name in linear if name not in ("hidden", "weight", "bias")] == [
        name for name in softmax if name != "logits"
    ]


def test_settings_are_plain_attributes() -> None:
    module = SigmoidFocalLoss(gamma=1.5, impl="eager")
    module.gamma = 0.0
    z, y = torch.randn(5), torch.ones(5)
    assert_close(module(z, y), sigmoid_focal_loss(z, y, gamma=0), **EXACTLY)


FORMS: dict[str, Any] = {
    "number": 1.5,
    "integer": 3,
    "tensor": torch.tensor(0.5),
    "double": torch.tensor(2.5, dtype=torch.float64),
    "of elements": torch.linspace(0, 2, 5),
    "parameter": torch.nn.Parameter(torch.tensor(2.0)),
    "pair": (1.0, 4.0),
    "pair with a tensor": (torch.tensor(1.0), 4.0),
    "pair of tensors": (torch.tensor(1.0), torch.tensor(3.0)),
    "pair with a parameter": (0.5, torch.nn.Parameter(torch.tensor(1.0))),
}


@pytest.mark.filterwarnings("ignore:SigmoidFocalLoss. a learnable gamma")
@pytest.mark.parametrize("after", FORMS)
@pytest.mark.parametrize("before", FORMS)
def test_a_setting_may_be_assigned_later(before: str, after: str) -> None:
    """In any form after any other, as if the module had been made with it."""
    z, y = torch.randn(5), torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])
    module = SigmoidFocalLoss(gamma=FORMS[before], impl="eager")
    module.gamma = FORMS[after]
    fresh = SigmoidFocalLoss(gamma=FORMS[after], impl="eager")
    assert repr(module) == repr(fresh)
    for name in ("_parameters", "_buffers", "_non_persistent_buffers_set"):
        assert set(getattr(module, name)) == set(getattr(fresh, name)), name
    assert module.state_dict().keys() == fresh.state_dict().keys()
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_close(twin(z, y), fresh(z, y), **EXACTLY)
        if not list(twin.parameters()):  # whose values a checkpoint would bring
            assert_close(twin.to("meta").to_empty(device="cpu")(z, y), fresh(z, y), **EXACTLY)


@pytest.mark.parametrize("after", FORMS)
def test_a_copy_is_assigned_for_itself(after: str) -> None:
    """Also a shallow one, with which its original shares its tables."""
    module = SigmoidFocalLoss(alpha=torch.tensor(0.3))
    written = repr(module)
    copy.copy(module).gamma = FORMS[after]
    assert repr(module) == written


@pytest.mark.parametrize(
    "value", [None, 0.3, torch.full((5,), 0.3)], ids=["none", "number", "tensor"]
)
@pytest.mark.parametrize("loss", [SigmoidFocalLoss, SoftmaxFocalLoss, LinearFocalLoss])
def test_alpha_may_be_assigned_later(loss: type[FocalModule], value: Any) -> None:
    """Of every module; what is wrong is refused by the call."""
    module = loss(alpha=torch.ones(5))
    module.alpha = value
    assert ("alpha" in dict(module.named_buffers())) == isinstance(value, torch.Tensor)
    assert module.keywords()["alpha"] is None or "0.3" in f"{module.keywords()['alpha']}"
    module.alpha = torch.full((5,), -1.0)
    call: tuple[torch.Tensor, ...] = (torch.randn(4, 5), torch.rand(4, 5).softmax(1))
    if loss is LinearFocalLoss:
        call = (torch.randn(4, 3), torch.randn(5, 3), torch.arange(4))
    with pytest.raises(ValueError, match="alpha must be"):
        module(*call)
