"""One rank of tests/hosts/test_huggingface.py: two processes, started with torchrun's variables."""

import copy
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import transformers
from torch import nn

from refocal import SoftmaxFocalLoss
from refocal.integrations.huggingface import TrainerLoss

ROWS, FEATURES, CLASSES = 12, 4, 3


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)

    def forward(self, x, labels=None):
        return {"logits": self.layer(x)}


def main(folder: Path) -> None:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # before the Trainer does it: a file needs no free port
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    torch.manual_seed(0)
    x, y = torch.randn(ROWS, FEATURES), torch.randint(0, CLASSES, (ROWS,))
    y[[0, 1, 2, 7]] = -100  # so that the ranks count different numbers of labels
    model = Model()
    by_hand = copy.deepcopy(model)
    loss = SoftmaxFocalLoss()
    loss(by_hand.layer(x), y).backward()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
        num_train_epochs=1,
        learning_rate=0.5,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    )
    rows = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    trainer = transformers.Trainer(
        model, arguments, train_dataset=rows, compute_loss_func=TrainerLoss(loss)
    )
    trainer.train()
    assert trainer.accelerator.num_processes == world
    if rank == 0:
        found = {
            "got": model.layer.weight.tolist(),
            "expected": (by_hand.layer.weight - 0.5 * by_hand.layer.weight.grad).tolist(),
        }
        (folder / "found.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
