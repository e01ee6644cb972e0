"""The gradients that are written out are autograd's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from refocal import kernels
from refocal.comparison import by_name
from refocal.comparison.data.arrays import array_table
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import splits
from refocal.comparison.training.gradients import Differentiated, WrittenOut
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Effort, Work
from refocal.comparison.training.networks import Network, hidden_layers
from refocal.comparison.training.settings import central

ROWS, INPUTS = 90, 7
LOSSES = {
    "cross-entropy": (Loss("l", None, 0.0), 1),
    "focal": (Loss("l", 0.25, 2.0), 1),
    "nearly all weight on positives": (Loss("l", 0.999, 0.5), 1),
    "labels of their own": (Loss("l", (0.9, 0.5, 0.3), 3.0), 3),
    "one against the rest": (Loss("l", None, 1.0), 3),
    "softmax": (Loss("l", None, 0.0, "softmax"), 3),
    "weighted softmax": (Loss("l", (1.5, 1.0, 0.5), 2.5, "softmax"), 3),
}


@pytest.fixture(params=["fastest", "eager"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every loss with the kernel, and without Numba."""
    if request.param == "eager":
        monkeypatch.setattr(kernels, "FASTEST", ())


def rows(loss: Loss, outputs: int) -> tuple[Tensor, Tensor]:
    """Features, and targets as the loss takes them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, INPUTS, generator=generator)
    y = torch.randn(ROWS, outputs, generator=generator)
    return x, y.argmax(1) if loss.link == "softmax" else (y > 0.5).float()


def network(widths: tuple[int, ...], outputs: int) -> Any:
    torch.manual_seed(3)
    model: Any = hidden_layers(*widths)(INPUTS, outputs)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.bias[0] = -50.0  # a unit that no row reaches, and one that every row does
                layer.bias[-1] = 5.0
    return model


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("widths", [(), (5,), (8, 4), (6, 5, 4)])
def test_they_are_those_of_autograd(name: str, widths: tuple[int, ...]) -> None:
    loss, outputs = LOSSES[name]
    x, y = rows(loss, outputs)
    one, other = (network(widths, outputs) for _ in range(2))
    ours = WrittenOut(one, loss, x, y, outputs)
    theirs = Differentiated(other, loss, x, y, outputs)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    moved = 0
    for batch in torch.split(order, 40):  # 40, 40 and 10 rows: memory is used again, and another
        ours.of(batch)
        theirs.of(batch)
        expected = torch.cat([each.grad.flatten() for each in theirs.parameters])
        (found,) = (each.grad for each in ours.parameters)
        size = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * size)
        with torch.no_grad():  # both modules move by what they were told
            for kind in (ours, theirs):
                for each in kind.parameters:
                    each.sub_(each.grad, alpha=0.1 / size)
        moved += 1
        torch.testing.assert_close(one(x), other(x), rtol=1e-4, atol=1e-4)
    assert moved == 3


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", LOSSES)
def test_slopes_are_of_what_the_tensors_hold_when_asked(name: str) -> None:
    loss, outputs = LOSSES[name]
    _, y = rows(loss, outputs)
    logits = torch.zeros(ROWS, outputs)
    targets = torch.zeros_like(y)
    slopes = loss.slopes(logits, targets)
    for scale in (1.0, 30.0):
        logits.copy_(scale * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2)))
        targets.copy_(y)
        z = logits.clone().requires_grad_()
        loss.mean(z, targets).backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(slopes(), z.grad)


def test_a_training_that_diverges_is_no_number_and_no_error() -> None:
    loss, outputs = LOSSES["focal"]
    x, y = rows(loss, outputs)
    x[3] = torch.nan
    gradients = WrittenOut(network((5,), outputs), loss, x, y, outputs)
    gradients.of(torch.arange(ROWS))
    (weights,) = gradients.parameters
    assert weights.grad is not None
    assert bool(weights.grad.isnan().any())
    gradients.of(torch.arange(4, ROWS))
    assert bool(weights.grad.isfinite().all())


@pytest.mark.parametrize("name", LOSSES)
def test_a_whole_training_ends_where_autograd_s_does(name: str) -> None:
    loss, outputs = LOSSES[name]
    generator = np.random.default_rng(0)
    x = generator.normal(size=(700, INPUTS)).astype(np.float32)
    y = x[:, :outputs] + generator.normal(size=(700, outputs))
    labels = y.argmax(1) if loss.link == "softmax" else (y > 1).astype(int)
    table = array_table((x, labels), name="made")
    data = Prepared(table, splits(table, repeats=1, seed=0)[0]).encode()
    build = hidden_layers(16, 8)
    setting = central(Network.axes).with_value("epochs", 8).with_value("rate", 0.01)
    ours, theirs = (
        Network("net", build, ours=ours).fit(Work(loss, setting, data, Effort(), seed=5))
        for ours in (True, False)
    )
    assert_allclose(ours.test_logits, theirs.test_logits, rtol=1e-3, atol=1e-3)
    assert np.ptp(ours.test_logits) > 0.5


def test_images_are_rows_of_numbers_to_a_named_network() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(300, 3, 2, 4, generator=generator)
    labels = (images.mean((1, 2, 3)) > 0.2).long()
    (model,) = by_name(["mlp"])
    fits = []
    for x in (images, images.flatten(1)):
        table = array_table((x, labels), name="made")
        data = Prepared(table, splits(table, repeats=1, seed=0)[0]).encode()
        setting = central(model.axes).with_value("epochs", 2)
        fits.append(model.fit(Work(Loss("l", None, 0.0), setting, data, Effort())))
    assert_allclose(fits[0].test_logits, fits[1].test_logits)
