"""Hugging Face Trainer: the update under gradient accumulation is that of the large batch."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.integrations.huggingface import TrainerLoss

transformers = pytest.importorskip("transformers", reason="pip install transformers accelerate")
pytest.importorskip("accelerate", reason="pip install transformers accelerate")

ROWS, TOKENS, WORDS, CLASSES = 7, 5, 11, 3  # 7 rows in micro-batches of 2: the last is half full
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
NO_SPECIAL = {"bos_token_id": None, "eos_token_id": None}
WORKER = Path(__file__).parent.parent / "ranks" / "trainer.py"

# Trainer pins memory whether or not there is a device that needs it
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")


def train(model, rows, loss, folder, **arguments):
    """One step on all rows, in micro-batches of 2."""
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        gradient_accumulation_steps=4,
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
        **arguments,
    )
    trainer = transformers.Trainer(
        model, arguments, train_dataset=rows, eval_dataset=rows, compute_loss_func=loss
    )
    trainer.train()
    return trainer


def expected_step(model, logits_and_labels, loss):
    """The same step by hand, with all rows at once."""
    logits, labels = logits_and_labels(model)
    loss(logits, labels).backward()
    return {
        name: (one - 0.5 * one.grad).detach() if one.grad is not None else one.detach()
        for name, one in model.named_parameters()
    }


def rows_of(tokens, labels):
    return [{"input_ids": a, "labels": b} for a, b in zip(tokens, labels, strict=True)]


def case(name):
    """A tiny randomly initialised model, its data, the loss, and logits as the loss wants them."""
    tokens = torch.randint(0, WORDS, (ROWS, TOKENS))
    bert = transformers.BertConfig(**SIZES, num_labels=CLASSES)
    classifier = transformers.BertForSequenceClassification
    index = torch.randint(0, CLASSES, (ROWS,))
    by_token = torch.randint(0, CLASSES, (ROWS, TOKENS))
    by_token[0, 1:] = -100
    by_token[3] = -100
    soft = torch.rand(ROWS, CLASSES)
    plain = {"whole": lambda model, y: (model(tokens).logits, y), "causal": False}
    if name == "single label":
        loss = SoftmaxFocalLoss(alpha=torch.tensor([1.0, 2.0, 0.5]))
        return classifier(bert), tokens, index, loss, plain
    if name == "multi-label":
        return classifier(bert), tokens, (soft > 0.5).float(), SigmoidFocalLoss(), plain
    if name == "class probabilities":
        return classifier(bert), tokens, soft, SoftmaxFocalLoss(gamma=1.5), plain
    if name == "constant denominator":
        loss = SigmoidFocalLoss(normalizer=5.0)
        return classifier(bert), tokens, (soft > 0.5).float(), loss, plain
    if name == "one logit":
        one = transformers.BertConfig(**SIZES, num_labels=1)
        squeezed = {
            "whole": lambda model, y: (model(tokens).logits.squeeze(1), y),
            "causal": False,
        }
        return classifier(one), tokens, index % 2, SigmoidFocalLoss(), squeezed
    if name == "tokens":
        moved = {"whole": lambda model, y: (model(tokens).logits.movedim(2, 1), y), "causal": False}
        model = transformers.BertForTokenClassification(bert)
        return model, tokens, by_token, SoftmaxFocalLoss(), moved
    shifted = {
        "whole": lambda model, y: (model(tokens).logits[:, :-1].movedim(2, 1), y[:, 1:]),
        "causal": True,
    }
    labels = tokens.clone()
    labels[1, 2:] = -100
    return language_model(name), tokens, labels, SoftmaxFocalLoss(), shifted


def language_model(name):
    if name == "causal":
        sizes = {key: SIZES[key] for key in SIZES if "dropout" not in key}
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **NO_SPECIAL))
    config = transformers.GPT2Config(
        vocab_size=WORDS,
        n_positions=16,
        n_embd=8,
        n_layer=1,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **NO_SPECIAL,
    )
    model = transformers.GPT2LMHeadModel(config)
    # by its name the Trainer does not know it for a causal model, and counts first labels too
    model.loss_type = "ForCausalLM"
    return model


CASES = [
    "single label",
    "multi-label",
    "class probabilities",
    "constant denominator",
    "one logit",
    "tokens",
    "causal",
    "causal, GPT-2",
]


@pytest.mark.parametrize("name", CASES)
def test_accumulated_update_is_that_of_the_large_batch(name, tmp_path):
    model, tokens, labels, loss, how = case(name)
    by_hand = copy.deepcopy(model).train()
    expected = expected_step(by_hand, lambda model: how["whole"](model, labels), loss)
    trainer_loss = TrainerLoss(loss, causal=how["causal"])
    train(model, rows_of(tokens, labels), trainer_loss, tmp_path)
    for parameter, value in model.named_parameters():
        assert_close(value.detach(), expected[parameter], rtol=1e-5, atol=1e-6)


def test_a_mean_of_each_micro_batch_would_train_four_times_as_fast(tmp_path):
    model, tokens, labels, loss, _ = case("multi-label")
    before = model.classifier.bias.detach().clone()
    by_hand = copy.deepcopy(model)
    half, other = rows_of(tokens[:4], labels[:4]), copy.deepcopy(model)
    mean = lambda outputs, labels, num_items_in_batch: loss(outputs.logits, labels)  # noqa: E731
    train(model, half * 2, mean, tmp_path)
    train(by_hand, half * 2, TrainerLoss(loss), tmp_path)
    # why the adapter exists: should the Trainer change, this says so
    assert_close(
        model.classifier.bias.detach() - before,
        4 * (by_hand.classifier.bias.detach() - before),
        rtol=1e-4,
        atol=1e-7,
    )
    assert_close(other.classifier.bias.detach(), before)


@pytest.mark.parametrize("name", ["multi-label", "tokens"])
def test_evaluation(name, tmp_path):
    model, tokens, labels, loss, how = case(name)
    trainer = train(model, rows_of(tokens, labels), TrainerLoss(loss), tmp_path)
    metrics = trainer.evaluate()
    with torch.no_grad():
        parts = [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)]
        logits, y = how["whole"](model.eval(), labels)
        # the Trainer averages the batches' means by their rows
        weighed = [loss(logits[part], y[part]) * len(y[part]) for part in parts]
    assert_close(metrics["eval_loss"], (sum(weighed) / ROWS).item(), rtol=1e-5, atol=1e-7)


def test_without_a_count_it_is_the_mean():
    loss = SigmoidFocalLoss()
    logits, labels = torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()
    trainer_loss = TrainerLoss(loss)
    assert_close(trainer_loss({"logits": logits}, labels), loss(logits, labels))
    assert_close(trainer_loss((logits,), labels, None), loss(logits, labels))


def test_a_step_in_which_everything_is_ignored_is_zero():
    logits = torch.randn(2, 4, 3, requires_grad=True)
    loss = TrainerLoss(SoftmaxFocalLoss())((logits,), torch.full((2, 4), -100), torch.tensor(0))
    loss.backward()
    assert_close(loss.detach(), torch.tensor(0.0))
    assert_close(logits.grad, torch.zeros_like(logits))


def test_tensors_of_the_loss_follow_the_logits():
    loss = SoftmaxFocalLoss(alpha=torch.ones(3))
    logits = torch.empty(2, 3, device="meta")
    TrainerLoss(loss)((logits,), torch.empty(2, dtype=torch.long, device="meta"))
    assert loss.alpha.device == logits.device


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (SoftmaxFocalLoss(reduction="sum"), "reduction must be \"mean\", got 'sum'"),
        (SigmoidFocalLoss(normalizer="positives"), "got 'positives'"),
        (SoftmaxFocalLoss(ignore_index=255), "ignore_index must be -100, got 255"),
    ],
)
def test_settings_that_the_count_does_not_fit_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        TrainerLoss(loss)


def test_wrong_use():
    with pytest.raises(TypeError, match="must be a SigmoidFocalLoss or a SoftmaxFocalLoss, got "):
        TrainerLoss(torch.nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match="labels must be in the batch, got None"):
        TrainerLoss(SoftmaxFocalLoss())((torch.zeros(1, 2),), None)


def as_it_is(loss):
    return loss


def by_a_function(loss):
    return lambda outputs, labels, num_items_in_batch=None: loss(outputs, labels)


@pytest.mark.parametrize("wrapped", [as_it_is, by_a_function])
def test_smoothing_that_the_trainer_would_ignore_is_refused(wrapped, tmp_path):
    model, tokens, labels, _, _ = case("single label")
    rows = rows_of(tokens, labels)
    with pytest.raises(ValueError, match=r"label_smoothing_factor must be 0 .*, got 0\.1\. Pass "):
        train(
            model,
            rows,
            wrapped(TrainerLoss(SoftmaxFocalLoss())),
            tmp_path,
            label_smoothing_factor=0.1,
        )
    with pytest.raises(ValueError, match=r"Pass SoftmaxFocalLoss\(label_smoothing=0\.1\)"):
        train(
            model,
            rows,
            wrapped(TrainerLoss(SoftmaxFocalLoss(label_smoothing=0.2))),
            tmp_path,
            label_smoothing_factor=0.1,
        )


def test_smoothing_of_the_loss_is_that_of_the_trainer(tmp_path):
    model, tokens, labels, _, _ = case("single label")
    rows, theirs = rows_of(tokens, labels), copy.deepcopy(model)
    loss = SoftmaxFocalLoss(gamma=0, label_smoothing=0.1)
    train(model, rows, TrainerLoss(loss), tmp_path, label_smoothing_factor=0.1)
    train(theirs, rows, smoothed_without_refocal, tmp_path)
    for ours, other in zip(model.parameters(), theirs.parameters(), strict=True):
        assert_close(ours, other, rtol=1e-5, atol=1e-6)


def smoothed_without_refocal(outputs, labels, num_items_in_batch):
    losses = torch.nn.functional.cross_entropy(
        outputs.logits, labels, reduction="sum", label_smoothing=0.1
    )
    return losses / num_items_in_batch


def test_two_processes_take_the_step_of_one(tmp_path):
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
        "WORLD_SIZE": "2",
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, WORKER, str(tmp_path)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=1800) for rank in ranks] == [0, 0]
    found = json.loads((tmp_path / "found.json").read_text())
    assert_close(torch.tensor(found["got"]), torch.tensor(found["expected"]), rtol=1e-5, atol=1e-6)
