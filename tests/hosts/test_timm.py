"""timm: soft targets of mixup and cutmix go in as they are, and mix the loss."""

import pytest
import torch
from torch.testing import assert_close

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss

data = pytest.importorskip("timm.data", reason="pip install timm, with a torchvision that fits")

CLASSES = 5


@pytest.fixture(params=["mixup", "cutmix"])
def mixed(request):
    kind = (
        {"mixup_alpha": 0.8} if request.param == "mixup" else {"mixup_alpha": 0, "cutmix_alpha": 1}
    )
    mix = data.Mixup(**kind, label_smoothing=0.0, num_classes=CLASSES)
    y = torch.tensor([0, 3, 1, 4])
    _, targets = mix(torch.rand(4, 3, 8, 8), y)
    return y, targets


def test_softmax_loss_of_mixed_targets_is_the_mix_of_the_losses(mixed):
    y, targets = mixed
    loss = SoftmaxFocalLoss(alpha=torch.rand(CLASSES), reduction="none")
    logits = torch.randn(4, CLASSES, requires_grad=True)
    share = targets[torch.arange(4), y]  # of the row's own label; the rest is its partner's
    assert 0 < share[0] < 1
    expected = share * loss(logits, y) + (1 - share) * loss(logits, y.flip(0))
    got = loss(logits, targets)
    assert_close(got, expected)
    got.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_sigmoid_loss_of_mixed_targets_is_the_mix_of_the_losses(mixed):
    y, targets = mixed
    loss = SigmoidFocalLoss(reduction="none")
    logits = torch.randn(4, CLASSES)
    one_hot = torch.nn.functional.one_hot(y, CLASSES)
    share = targets[torch.arange(4), y].unsqueeze(1)
    expected = share * loss(logits, one_hot) + (1 - share) * loss(logits, one_hot.flip(0))
    assert_close(loss(logits, targets), expected)
