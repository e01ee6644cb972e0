"""torchvision's detectors: their own loss at the paper's settings, and any other setting."""

import copy

import pytest
import torch
from torch.testing import assert_close

from refocal import sigmoid_focal_loss

detection = pytest.importorskip(
    "torchvision.models.detection", reason="pip install torchvision, with a torch that fits it"
)
from refocal.integrations.torchvision import use_focal_loss  # noqa: E402

CLASSES = 4
IMAGES = 3


def retinanet():
    return detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, min_size=64, max_size=64
    )


def fcos():
    return detection.fcos_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, min_size=64, max_size=64
    )


@pytest.fixture(scope="module", params=[retinanet, fcos], ids=["retinanet", "fcos"])
def model(request):
    torch.manual_seed(0)
    return request.param().train()


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, 64, 64, generator=generator) for _ in range(IMAGES)]
    boxes = torch.tensor([[4.0, 4, 40, 44], [20, 10, 60, 30], [0, 0, 62, 62]])
    targets = [
        {"boxes": boxes[: 2 + image], "labels": torch.tensor([1, 3, 2])[: 2 + image]}
        for image in range(IMAGES - 1)
    ]
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    return images, [*targets, nothing]


def losses_and_gradient(model, batch):
    model.zero_grad()
    losses = model(*batch)
    sum(losses.values()).backward()
    gradient = [one.grad for one in model.head.parameters()]
    return {name: value.detach() for name, value in losses.items()}, gradient


def test_the_paper_s_settings_change_nothing(model, batch):
    expected, expected_gradient = losses_and_gradient(model, batch)
    ours = use_focal_loss(copy.deepcopy(model))
    got, gradient = losses_and_gradient(ours, batch)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(got[name], value, rtol=1e-5, atol=1e-6)
    for one, other in zip(gradient, expected_gradient, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_other_settings_act(model, batch, monkeypatch):
    ours = use_focal_loss(copy.deepcopy(model), alpha=0.6, gamma=1.5)
    got, _ = losses_and_gradient(ours, batch)
    # the same settings through the function that torchvision's head calls
    module = __import__(
        f"torchvision.models.detection.{type(model).__name__.lower()}", fromlist=["_"]
    )
    monkeypatch.setattr(
        module,
        "sigmoid_focal_loss",
        lambda z, y, reduction: sigmoid_focal_loss(z, y, alpha=0.6, gamma=1.5, reduction=reduction),
    )
    expected, _ = losses_and_gradient(model, batch)
    assert_close(got["classification"], expected["classification"], rtol=1e-5, atol=1e-6)


def test_one_alpha_per_class_of_the_head(model, batch):
    """A tensor of C is for the classes, not for the anchors that stand on axis 1 of the logits."""
    per_class = torch.linspace(0.1, 0.9, CLASSES)
    got, _ = losses_and_gradient(use_focal_loss(copy.deepcopy(model), alpha=per_class), batch)
    same, _ = losses_and_gradient(
        use_focal_loss(copy.deepcopy(model), alpha=torch.full((CLASSES,), 0.4)), batch
    )
    plain, _ = losses_and_gradient(use_focal_loss(copy.deepcopy(model), alpha=0.4), batch)
    assert_close(same["classification"], plain["classification"])
    assert abs(got["classification"] - plain["classification"]) > 1e-4
    with pytest.raises(ValueError, match=r"use_focal_loss: alpha must be .*per class of the head"):
        use_focal_loss(copy.deepcopy(model), alpha=torch.full((CLASSES + 1,), 0.4))


def test_parameters_and_checkpoint_stay(model):
    ours = use_focal_loss(copy.deepcopy(model), alpha=torch.full((CLASSES,), 0.3))
    assert ours.state_dict().keys() == model.state_dict().keys()
    ours.load_state_dict(model.state_dict())


def test_predictions_stay(model, batch):
    ours = use_focal_loss(copy.deepcopy(model), gamma=5.0).eval()
    expected = copy.deepcopy(model).eval()
    with torch.no_grad():
        for got, other in zip(ours(batch[0]), expected(batch[0]), strict=True):
            assert_close(got, other)


def test_wrong_use(model):
    with pytest.raises(TypeError, match="must be a torchvision RetinaNet or FCOS, got Linear"):
        use_focal_loss(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="must be alpha, gamma and the like, got normalizer"):
        use_focal_loss(model, normalizer="elements")
