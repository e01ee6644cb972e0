"""Lightning: the plain module, mixed precision, and a checkpoint that outlives its loss."""

import warnings

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies, on import
    lightning = pytest.importorskip("lightning", reason="pip install lightning")

# Lightning's advice about logging, workers and what it finds on the machine
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
]

CLASSES = 3


class Classifier(lightning.LightningModule):
    def __init__(self, loss):
        super().__init__()
        self.layer = nn.Linear(4, CLASSES)
        self.loss = loss
        self.seen = []

    def training_step(self, batch, index):
        logits = self.layer(batch[0])
        loss = self.loss(logits, batch[1])
        self.seen.append((logits.dtype, loss.dtype))
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


def fit(model, targets, folder, **keywords):
    rows = DataLoader(TensorDataset(torch.randn(16, 4), targets), batch_size=8)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **keywords,
    )
    trainer.fit(model, rows)
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_module_in_a_training_step(precision, tmp_path):
    model = Classifier(SoftmaxFocalLoss(alpha=torch.tensor([1.0, 2.0, 0.5])))
    before = model.layer.weight.detach().clone()
    fit(model, torch.randint(0, CLASSES, (16,)), tmp_path, precision=precision)
    logits = torch.float32 if precision == "32-true" else torch.bfloat16
    assert set(model.seen) == {(logits, torch.float32)}
    assert (model.layer.weight - before).abs().max() > 0.01
    # not rounded to bfloat16 with the rest
    assert model.loss.alpha.dtype == torch.float32


def test_checkpoint_loads_after_the_loss_was_changed(tmp_path):
    model = Classifier(SoftmaxFocalLoss(alpha=torch.tensor([1.0, 2.0, 0.5])))
    path = fit(model, torch.randint(0, CLASSES, (16,)), tmp_path)
    for loss in (SigmoidFocalLoss(alpha=torch.rand(3)), SoftmaxFocalLoss(), nn.CrossEntropyLoss()):
        again = Classifier.load_from_checkpoint(path, loss=loss)
        assert_close(again.layer.weight, model.layer.weight)


def test_checkpoint_of_a_cross_entropy_loads_into_a_focal_loss(tmp_path):
    path = fit(Classifier(nn.CrossEntropyLoss()), torch.randint(0, CLASSES, (16,)), tmp_path)
    Classifier.load_from_checkpoint(path, loss=SoftmaxFocalLoss(alpha=torch.ones(CLASSES)))
