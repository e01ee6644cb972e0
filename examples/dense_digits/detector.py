"""A small dense detector: an image to a logit for every class and pixel."""

from __future__ import annotations

import torch
from torch import nn

from examples.dense_digits.scenes import CLASSES

WIDTH = 32


def detector(bias: float, seed: int) -> nn.Sequential:
    """A network from an image ``(N, 1, 40, 40)`` to a logit per class and pixel.

    The convolutions run on 20 x 20 positions of four pixels each, and the last layer answers for
    those four pixels; every answer sees 14 x 14 pixels.

    Args:
        bias: the first bias of the last layer, whose other weights start near 0.
        seed: of the first weights.

    Returns:
        The network, in training mode.

    """
    random = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
    inputs = 4
    for _ in range(3):
        layer = nn.Conv2d(inputs, WIDTH, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(layer.weight, generator=random)
        layers += [layer, nn.BatchNorm2d(WIDTH), nn.ReLU()]
        inputs = WIDTH
    head = nn.Conv2d(WIDTH, 4 * CLASSES, 1)
    nn.init.normal_(head.weight, std=0.01, generator=random)
    nn.init.constant_(head.bias, bias)
    return nn.Sequential(*layers, head, nn.PixelShuffle(2))
