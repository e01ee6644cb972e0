"""Fine-tuning with the Hugging Face Trainer: accumulation, class weights, probabilities.

python examples/trainer.py

A tiny transformer with random weights, so that nothing is downloaded: it learns to tell rows that
hold the word 7 twice or more (one in twelve) from the others.
"""

from __future__ import annotations

import tempfile

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

# --8<-- [start:loss]
from refocal import SoftmaxFocalLoss
from refocal.integrations.huggingface import TrainerLoss

focal = SoftmaxFocalLoss(gamma=2.0)
# --8<-- [end:loss]

set_seed(0)
tokens = torch.randint(0, 20, (1200, 10))
labels = ((tokens == 7).sum(1) >= 2).long()
rows = [{"input_ids": a, "labels": b} for a, b in zip(tokens, labels, strict=True)]
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=20,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
)

with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=4,
        num_train_epochs=12,
        learning_rate=3e-3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        save_strategy="no",
    )
    # --8<-- [start:train]
    trainer = Trainer(
        model, arguments, train_dataset=rows[:1000], compute_loss_func=TrainerLoss(focal)
    )
    trainer.train()
    logits = torch.from_numpy(trainer.predict(rows[1000:]).predictions)
    probabilities = focal.posterior(logits)
    # --8<-- [end:train]

truth = labels[1000:]
found = probabilities.argmax(1)
print(
    f"of {truth.sum()} rare rows {(found * truth).sum()} found, {(found * (1 - truth)).sum()} wrong"
)
print(f"mean probability {probabilities[:, 1].mean():.3f}, share {truth.float().mean():.3f}")
print(f"mean softmax {logits.softmax(1)[:, 1].mean():.3f}")
