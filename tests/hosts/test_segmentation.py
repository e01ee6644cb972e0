"""Segmentation networks of three libraries: (N, C, H, W) and (N, H, W) with ignore_index 255."""

import pytest
import torch
from torch.testing import assert_close

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss

CLASSES, SIZE = 4, 32


def unet_of_smp(classes):
    smp = pytest.importorskip(
        "segmentation_models_pytorch", reason="pip install segmentation-models-pytorch"
    )
    return smp.Unet("resnet18", encoder_weights=None, classes=classes)


def unet_of_monai(classes):
    nets = pytest.importorskip("monai.networks.nets", reason="pip install monai")
    return nets.UNet(2, 3, classes, channels=(4, 8), strides=(2,))


def convolution(classes):
    pytest.importorskip("kornia", reason="pip install kornia")
    import kornia

    return torch.nn.Sequential(
        kornia.color.BgrToRgb(), torch.nn.Conv2d(3, classes, 3, padding="same")
    )


NETWORKS = [unet_of_smp, unet_of_monai, convolution]


@pytest.mark.parametrize("network", NETWORKS, ids=["smp", "monai", "kornia"])
def test_classes_with_a_void_label(network):
    model = network(CLASSES)
    y = torch.randint(0, CLASSES, (2, SIZE, SIZE), dtype=torch.uint8)  # as masks are stored
    y[:, :5] = 255
    logits = model(torch.rand(2, 3, SIZE, SIZE))
    loss = SoftmaxFocalLoss(ignore_index=255)(logits, y)
    loss.backward()
    kept = SoftmaxFocalLoss()(logits.detach()[:, :, 5:], y[:, 5:])
    assert_close(loss.detach(), kept)
    assert all(torch.isfinite(one.grad).all() for one in model.parameters())


@pytest.mark.parametrize("network", NETWORKS, ids=["smp", "monai", "kornia"])
def test_one_foreground_class_with_a_void_label(network):
    model = network(1)
    y = torch.randint(0, 2, (2, 1, SIZE, SIZE), dtype=torch.uint8)
    y[0, :, 3] = 255
    logits = model(torch.rand(2, 3, SIZE, SIZE))
    loss = SigmoidFocalLoss(ignore_index=255)(logits, y)
    loss.backward()
    kept = y != 255
    assert_close(loss.detach(), SigmoidFocalLoss()(logits.detach()[kept], y[kept]))
