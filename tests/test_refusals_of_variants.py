"""What every variant refuses, in its own words: of each argument, each thing that it cannot be.

A message names the argument as the function has it, and its hints no argument of another one.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from refocal import variants
from refocal.messages import OWN_NAMES

FUNCTIONS = [name for name in variants.__all__ if name.endswith("_loss")]
TRUTHS = {"targets", "quality", "heatmap"}
# arguments whose names no English sentence uses
NAMES = TRUTHS | {"alpha", "beta", "gamma", "gamma_pos", "gamma_neg", "clip"}
# hints that send to another function name its arguments
PAIR = "A pair (gamma_pos, gamma_neg) belongs to sigmoid_focal_loss"
LABELS_OF_OTHERS = re.compile(r"one-hot targets")

Row = tuple[str, str, Any]


def function_of(name: str) -> Callable[..., Tensor]:
    return getattr(variants, name)


def settings_of(name: str) -> list[str]:
    return list(inspect.signature(function_of(name)).parameters)


def batch(name: str) -> list[Tensor]:
    """Logits and truth."""
    z = torch.linspace(-2, 2, 24).view(2, 3, 4)
    if name.startswith("softmax"):
        return [z, torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])]
    y = torch.linspace(0, 1, 24).view(2, 3, 4)
    return [z, y[..., 0] * 3 if name.startswith("distribution") else y]


def with_one(truth: Tensor, value: float) -> Tensor:
    changed = truth.clone()
    changed.view(-1)[5] = value
    return changed


def wrong_truths(name: str, y: Tensor) -> Iterator[tuple[str, Any]]:
    yield "None", None
    yield "a list", y.tolist()
    yield "complex", y + 0j
    yield "sparse", y.to_sparse()
    yield "transposed", y.transpose(0, 1)
    yield "one axis less", y[..., 0]
    yield "a column more", y.unsqueeze(1)
    yield "a column more behind", y.unsqueeze(-1)
    yield "elsewhere", y.to("meta")
    yield "an index of each row", torch.zeros(2, 4, 1, dtype=torch.long)
    for value in (255, -1, -7):
        yield f"{value}", with_one(y, value)
    if y.is_floating_point():
        yield "no number", with_one(y, math.nan)
        yield "infinite", with_one(y, math.inf)
        yield "a share above all", with_one(y, 3.5)
        yield "whole numbers", torch.arange(y.numel()).to(y.dtype).view(y.shape)
        yield "grey levels", torch.where(y > y.mean(), 255.0, 0.0)
        yield "of two signs", torch.where(y > y.mean(), 1.0, -1.0)
        if not name.startswith("distribution"):
            yield "classes", torch.zeros(2, 4, dtype=torch.long)
    else:
        yield "one-hot", torch.nn.functional.one_hot(y, 3).movedim(-1, 1)
        yield "shares", torch.nn.functional.one_hot(y, 3).movedim(-1, 1).float()
        yield "bool", y > 0


WRONG: dict[str, list[Any]] = {
    "alpha": [-1, 1.5, math.nan, "a", [0.5], (0.5, 0.5), True, torch.ones(7), torch.tensor(1.5)],
    "gamma": [-1, math.nan, math.inf, "a", [1.0], True, None],
    "beta": [-1, math.nan, math.inf, "a", [1.0], True, None],
    "gamma_pos": [-1, math.nan, "a", [1.0], (1.0, 2.0), None, torch.tensor(1.0)],
    "gamma_neg": [-1, math.nan, "a", [1.0], (1.0, 2.0), None, torch.tensor(1.0)],
    "clip": [-0.1, 1.5, math.nan, "a", None],
    "pos_weight": [-1, math.inf, "a", None, torch.tensor(1.0)],
    "neg_weight": [-1, math.inf, "a", None, torch.tensor(1.0)],
    "false_positives": [-1, math.inf, "a", None, torch.tensor(1.0)],
    "false_negatives": [-1, math.inf, "a", None, torch.tensor(1.0)],
    "smooth": [-1, math.inf, "a", None],
    "per": ["pixel", None],
    "background": [0, None, "no"],
    "detach_modulator": [1, None],
    "positives": [[True], torch.ones(2, 3, 4), torch.ones(3, dtype=torch.bool)],
    "reduction": ["avg", None, 0],
    "normalizer": ["avg", 0, -1.0, math.nan, None, torch.ones(2)],
    "sample_weight": [1.0, [1.0], torch.ones(7), -torch.ones(2), torch.full((2,), math.nan)],
    "ignore_index": [0.5, "a", [1]],
}
# exponents that may be a tensor
ALIGNED = {
    "blend_focal_loss": "gamma",
    "exp_bce_focal_loss": "gamma",
    "gaussian_focal_loss": "gamma",
    "quality_focal_loss": "beta",
    "varifocal_loss": "gamma",
}
WRONG_EXPONENTS = [(1.0, 2.0), (1.0,), torch.ones(7), torch.tensor(-1.0), torch.tensor(math.nan)]


def rows() -> Iterator[tuple[str, str, str, Any]]:
    for name in FUNCTIONS:
        _, truth = settings_of(name)[:2]
        for what, value in wrong_truths(name, batch(name)[1]):
            yield name, truth, what, value
        for argument in settings_of(name)[2:]:
            for k, value in enumerate(WRONG[argument]):
                yield name, argument, f"{k}", value
        for k, value in enumerate(WRONG_EXPONENTS if name in ALIGNED else []):
            yield name, ALIGNED[name], f"aligned {k}", value


ROWS = list(rows())


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [(name, argument, value) for name, argument, _, value in ROWS],
    ids=[f"{name}-{argument}-{what}" for name, argument, what, _ in ROWS],
)
def test_a_refusal_speaks_of_its_own_arguments(name: str, argument: str, value: Any) -> None:
    function, own = function_of(name), settings_of(name)
    given: dict[str, Any] = dict(zip(own, batch(name), strict=False))
    with pytest.raises((TypeError, ValueError)) as caught:
        function(**{**given, argument: value})
    message = str(caught.value)
    assert re.match(rf"{name}: {argument} must ", message), message
    assert ", got " in message
    said = LABELS_OF_OTHERS.sub("", message.replace(PAIR, ""))
    foreign = {one for one in re.findall(r"\w+", said) if one in NAMES} - set(own)
    assert not foreign, message


def test_the_names_are_those_of_the_functions() -> None:
    for name, names in OWN_NAMES.items():
        assert set(names.values()) <= set(settings_of(name))
        assert not set(names) & set(settings_of(name))


def test_logits_are_named_before_what_they_go_with() -> None:
    for name in FUNCTIONS:
        z, y = batch(name)
        for wrong in (None, z.long(), z.tolist(), z + 0j, z.to_sparse()):
            with pytest.raises((TypeError, ValueError), match=rf"^{name}: logits must "):
                function_of(name)(wrong, y)


@pytest.mark.parametrize("name", ["softmax_dice_loss", "softmax_tversky_loss"])
def test_ways_out_of_regions_are_ways_out(name: str) -> None:
    """What the message says is taken."""
    function, (z, y) = function_of(name), batch(name)
    right = function(z, y)
    hot = torch.nn.functional.one_hot(y, 3).movedim(-1, 1)
    for one in (hot, hot.float()):
        with pytest.raises((TypeError, ValueError), match=r"Use \.argmax\(1\)"):
            function(z, one)
        assert_close(function(z, one.argmax(1)), right)
    with pytest.raises(ValueError, match=r"Use targets\[:, 0\]"):
        function(z, y[:, None])
    with pytest.raises(TypeError, match=r"Use \.long\(\)"):
        function(z, y > 0)
    with pytest.raises(ValueError, match="use tversky_loss or dice_loss"):
        function(z[:, :1], y)


@pytest.mark.parametrize("name", sorted(ALIGNED))
def test_one_exponent_is_one(name: str) -> None:
    """A number of whatever kind; of a pair the second was dropped in silence."""
    function, (z, y) = function_of(name), batch(name)
    right = function(z, y, **{ALIGNED[name]: 3.0})
    for value in (3, np.float32(3), torch.tensor(3.0), torch.full((3,), 3.0)):
        assert_close(function(z, y, **{ALIGNED[name]: value}), right)
    with pytest.raises(TypeError, match=rf"{ALIGNED[name]} must be .*, got tuple\. A pair"):
        function(z, y, **{ALIGNED[name]: (3.0, 3.0)})
