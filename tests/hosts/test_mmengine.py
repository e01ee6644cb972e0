"""mmdetection's class of docs/hosts.md, as it is printed there, in mmengine's registry."""

import importlib.util

import pytest
import torch
from torch.testing import assert_close

from documents import ROOT, blocks
from refocal import SigmoidFocalLoss, sigmoid_focal_loss

if not importlib.util.find_spec("mmengine"):
    pytest.skip("mmengine is not installed", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # of its own, on what it depends on


@pytest.fixture(scope="module")
def loss_of():
    """Builds the class with the settings of a configuration."""
    from mmengine.registry import MODELS

    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    (code,) = [one.code for one in blocks(page) if "class RefocalLoss" in one.code]
    # the page has run before in this process, maybe
    MODELS._module_dict.pop("RefocalLoss", None)
    exec(compile(code, "docs/hosts.md", "exec"), {"torch": torch})
    yield lambda **settings: MODELS.build({"type": "RefocalLoss", **settings})
    MODELS._module_dict.pop("RefocalLoss", None)


LOGITS = torch.linspace(-3, 3, 12).view(4, 3)
LABELS = torch.tensor([0, 3, 3, 1])  # 3 is background
HOT = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("override", ["none", "mean", "sum"])
def test_a_reduction_that_would_be_ignored_is_refused(loss_of, override):
    with pytest.raises(ValueError, match="name the reduction in the configuration"):
        loss_of()(LOGITS, LABELS, reduction_override=override)
    assert_close(loss_of()(LOGITS, LABELS, reduction_override=None), loss_of()(LOGITS, LABELS))


@pytest.mark.parametrize("factor", [None, 2.0, torch.tensor(2.0)], ids=["none", "number", "tensor"])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 0.0, 2.0, 0.5])], ids=["all", "rows"])
def test_settings_by_mmdetections_names(loss_of, weight, factor):
    made = loss_of(use_sigmoid=True, gamma=1.5, alpha=0.6, loss_weight=3.0)
    assert made.use_sigmoid
    assert isinstance(made.focal, SigmoidFocalLoss)
    got = made(LOGITS, LABELS, weight=weight, avg_factor=factor)
    right = sigmoid_focal_loss(
        LOGITS,
        HOT,
        gamma=1.5,
        alpha=0.6,
        sample_weight=weight,
        normalizer="elements" if factor is None else factor,
    )
    assert_close(got, 3 * right)


@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_the_reduction_of_the_configuration(loss_of, reduction):
    got = loss_of(reduction=reduction)(LOGITS, LABELS)
    assert_close(got, sigmoid_focal_loss(LOGITS, HOT, reduction=reduction))
