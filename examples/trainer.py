"""Fine-tuning with the Hugging Face Trainer: accumulation, a rare class, probabilities.

python examples/trainer.py                  what it finds
python examples/trainer.py --plot FOLDER    and what it tells of each row

A tiny transformer with random weights, so that nothing is downloaded: it learns to tell rows that
hold the word 7 twice or more (one in twelve) from the others.
"""

from __future__ import annotations

import tempfile

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

# --8<-- [start:loss]
from refocal import SoftmaxFocalLoss
from refocal.integrations.huggingface import TrainerLoss

focal = SoftmaxFocalLoss(gamma=2.0)
# --8<-- [end:loss]

EPOCHS, TRAINING, TEST = 12, 1000, 1000


def rows_of_words():
    """Ten words a row; the label says whether the word 7 is there twice or more."""
    tokens = torch.randint(0, 20, (TRAINING + TEST, 10))
    labels = ((tokens == 7).sum(1) >= 2).long()
    return [{"input_ids": a, "labels": b} for a, b in zip(tokens, labels, strict=True)], labels


def transformer():
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=20,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=16,
        )
    )


def fine_tune(model, rows, folder):
    """Logits of the test rows, and their probabilities."""
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=4,
        num_train_epochs=EPOCHS,
        learning_rate=3e-3,
        report_to=[],
        use_cpu=True,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        logging_strategy="no",
        save_strategy="no",
    )
    # --8<-- [start:trainer]
    trainer = Trainer(
        model, arguments, train_dataset=rows[:TRAINING], compute_loss_func=TrainerLoss(focal)
    )
    # --8<-- [end:trainer]
    trainer.remove_callback(PrinterCallback)  # which prints how long it took
    # --8<-- [start:train]
    trainer.train()
    logits = torch.from_numpy(trainer.predict(rows[TRAINING:]).predictions)
    probabilities = focal.posterior(logits)
    # --8<-- [end:train]
    return logits, probabilities


def main(plot=None):
    set_seed(0)
    rows, labels = rows_of_words()
    with tempfile.TemporaryDirectory() as folder:
        logits, probabilities = fine_tune(transformer(), rows, folder)
    truth = labels[TRAINING:]
    softmax = logits.softmax(1)[:, 1]
    found = probabilities.argmax(1)
    hits, wrong = (found * truth).sum(), (found * (1 - truth)).sum()
    print(f"of {truth.sum()} rare rows {hits} found, {wrong} wrong")
    print(f"share of rare rows {truth.float().mean():.3f}")
    print(f"mean softmax       {softmax.mean():.3f}")
    print(f"mean probability   {probabilities[:, 1].mean():.3f}")
    if plot is not None:
        draw(softmax, probabilities[:, 1], truth, plot)


def draw(softmax, posterior, truth, folder):
    from refocal.comparison.drawing import COLOURS, axes, standalone, style, to_svg

    edges = torch.linspace(0, 1, 21)
    with style():
        figure, panels = axes(8.0, 3.2, columns=2)
        readings = {"softmax of the logits": softmax, "focal.posterior": posterior}
        for panel, (title, probability) in zip(panels, readings.items(), strict=True):
            for k, name in enumerate(("common row", "rare row")):
                panel.hist(
                    probability[truth == k].numpy(),
                    bins=edges.numpy(),
                    color=COLOURS[k],
                    alpha=0.7,
                    label=name,
                )
            panel.set(title=title, xlabel="probability of a rare row", ylabel="test rows")
            panel.set_yscale("log")
        panels[0].legend()
        svg = standalone(to_svg(figure, name="trainer", title="Two readings of the same logits"))
        (folder / "trainer.svg").write_text(svg + "\n")


if __name__ == "__main__":
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    main(parser.parse_args().plot)
