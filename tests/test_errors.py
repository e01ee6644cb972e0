"""Every message of refocal.arguments, word for word, with its type.

A message names the function, the argument, its domain, the value and the way out. The last test
walks refocal.arguments and holds that every place that raises is reached from this table.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import refocal
from cases import sigmoid_focal_loss, softmax_focal_loss
from refocal import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    arguments,
    sigmoid_posterior,
    softmax_posterior,
)
from refocal.arguments import adapter
from refocal.messages import refuse

Z = torch.tensor([[1.0, -1.0, 0.0]] * 4)
Y = torch.tensor([[1.0, 0.0, 0.0]] * 4)
C = torch.tensor([0, 1, 2, 0])
CHOICES = arguments.quoted(arguments.IMPLEMENTATIONS)

Row = tuple[Callable[[], object], type[Exception], str]


def freed() -> Tensor:
    tensor = torch.ones(4, 3)
    tensor.untyped_storage().resize_(0)
    return tensor


def quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves quantisation elsewhere
        return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8)


TABLE: list[Row] = [
    # shapes and types of logits and targets
    (
        lambda: sigmoid_focal_loss(Z, torch.zeros(4)),
        ValueError,
        "targets must have the shape of logits, got (4,) and (4, 3).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.zeros(3, 4)),
        ValueError,
        "targets must have the shape of logits, got (3, 4) and (4, 3). Reshape one of "
        "them: broadcasting here would pair every logit with every target.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.zeros(4, dtype=torch.long)),
        ValueError,
        "targets must have the shape of logits, got (4,) and (4, 3). For class indices use "
        "softmax_focal_loss, where classes exclude each other, or "
        "torch.nn.functional.one_hot(targets.long(), 3).to(logits.dtype) for one decision per "
        "class.",
    ),
    (
        lambda: sigmoid_focal_loss([0.0], torch.zeros(1)),
        TypeError,
        "logits must be a tensor, got list. Use torch.as_tensor.",
    ),
    (
        lambda: sigmoid_focal_loss(torch.zeros(3, dtype=torch.long), torch.zeros(3)),
        TypeError,
        "logits must be floating, got torch.int64. Pass the network's raw output; if "
        "these are the labels, the arguments are swapped.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, None),
        TypeError,
        "targets must be a tensor, got NoneType. Use torch.as_tensor.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.zeros(4, 3, dtype=torch.complex64)),
        TypeError,
        "targets must be bool, integer or floating, got torch.complex64.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Z.to_sparse()),
        TypeError,
        "targets must be a dense tensor, got a sparse one. Use .to_dense().",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Z, sample_weight=freed()),
        ValueError,
        "sample_weight must have its values in memory, got a tensor of shape (4, 3) whose storage "
        "has been freed, as FSDP frees parameters between their uses.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Z, sample_weight=quantised()),
        TypeError,
        "sample_weight must be real, got torch.quint8. Use .dequantize().",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Z, sample_weight=-torch.ones(4)),
        ValueError,
        "sample_weight must be finite and >= 0, got -1.0. A negative weight would reward the wrong "
        "answer; 0 leaves an element out.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Z, ignore_index=2**70),
        ValueError,
        f"ignore_index must be an integer of 64 bits, got {2**70}.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.zeros(4, 3, device="meta")),
        ValueError,
        "targets must be on the device of logits, cpu, got meta. Move it with .to(logits.device).",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.zeros(3, dtype=torch.long)),
        ValueError,
        "targets must be class indices of shape (4,) or probabilities of shape (4, 3), "
        "got torch.int64 of shape (3,).",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.zeros(4)),
        ValueError,
        "targets must be class indices of shape (4,) or probabilities of shape (4, 3), "
        "got torch.float32 of shape (4,). For class indices use targets.long().",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.zeros(4, 3, dtype=torch.long)),
        ValueError,
        "targets must be class indices of shape (4,) or probabilities of shape (4, 3), "
        "got torch.int64 of shape (4, 3). For a one-hot encoding use targets.float(); "
        "for multi-label sigmoid_focal_loss.",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.zeros(4, dtype=torch.bool)),
        TypeError,
        "targets must be class indices or probabilities, got torch.bool. Use .long() "
        "for indices, .float() for a one-hot encoding.",
    ),
    (
        lambda: softmax_focal_loss(torch.zeros(()), torch.tensor(0)),
        ValueError,
        "logits must have a class axis, (C,) or (N, C, *), got shape (). For one binary"
        " decision use the sigmoid form.",
    ),
    (
        lambda: softmax_focal_loss(torch.zeros(4, 0), torch.zeros(4, dtype=torch.long)),
        ValueError,
        "logits must have at least one class, got (4, 0).",
    ),
    (
        lambda: softmax_focal_loss(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)),
        ValueError,
        "logits must have at least two classes, got (4, 1). The softmax of one class is 1, so its "
        "loss is 0 and nothing is learned. One column is a binary problem: use "
        "sigmoid_focal_loss(logits, targets[:, None]).",
    ),
    (
        lambda: softmax_focal_loss(Z, C, alpha=torch.tensor([1j, 1, 1])),
        TypeError,
        "alpha must be real, got torch.complex64.",
    ),
    (
        lambda: SigmoidFocalLoss(gamma=torch.tensor(2j)),
        TypeError,
        "gamma must be real, got torch.complex64.",
    ),
    # values of the targets
    (
        lambda: sigmoid_focal_loss(Z, torch.full((4, 3), 255)),
        ValueError,
        "targets must be in [0, 1], got 255. Only 0 and 255 occur: if 255 is the positive class, "
        "as in a mask of grey levels, use targets > 0. If 255 marks what to leave out, pass "
        "ignore_index=255.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.full((4, 3), -1)),
        ValueError,
        "targets must be in [0, 1], got -1. If -1 marks what to leave out, pass ignore_index=-1.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.full((4, 3), 0.5) + Z),
        ValueError,
        "targets must be in [0, 1], got -0.5. Probabilities are expected, not logits or"
        " percentages.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, torch.full((4, 3), torch.nan)),
        ValueError,
        "targets must be in [0, 1], got nan. If NaN marks what has no label, pass "
        "ignore_index=math.nan.",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.tensor([0, 1, 2, 3])),
        ValueError,
        "targets must be class indices from 0 to 2, got 3. If 3 marks what to leave "
        "out, pass ignore_index=3.",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.tensor([0, 1, 2, -1])),
        ValueError,
        "targets must be class indices from 0 to 2, got -1. If -1 marks what to leave "
        "out, pass ignore_index=-1.",
    ),
    (
        lambda: softmax_focal_loss(
            Z, torch.tensor([0, 1, 2, 3]), alpha=torch.ones(3), normalizer="weights"
        ),
        ValueError,
        "targets must be class indices from 0 to 2, got 3. If 3 marks what to leave "
        "out, pass ignore_index=3.",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.full((4, 3), 33.3)),
        ValueError,
        "targets must be in [0, 1], got 33.29999923706055. Probabilities are expected, "
        "not logits or percentages.",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.full((4, 3), -0.25)),
        ValueError,
        "targets must be in [0, 1], got -0.25. Probabilities are expected, not logits "
        "or percentages.",
    ),
    # alpha
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=-1),
        ValueError,
        "alpha must be in [0, 1], got -1. To switch the weighting off use alpha=None.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=1.5),
        ValueError,
        "alpha must be in [0, 1], got 1.5. A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is "
        "alpha=w / (1 + w) and the loss times 1 + w: here alpha=1.5 / (1 + 1.5), times 1 + 1.5.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=torch.tensor([0.5, 2.0, 0.5])),
        ValueError,
        "alpha must be in [0, 1], got 2.0. A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is "
        "alpha=w / (1 + w) and the loss times 1 + w: here alpha=2.0 / (1 + 2.0), times 1 + 2.0.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=torch.tensor(torch.nan)),
        ValueError,
        "alpha must be in [0, 1], got nan.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=[0.1, 0.2, 0.3]),
        TypeError,
        "alpha must be None, a number in [0, 1] or a tensor, got list. Use a tensor for"
        " one value per class.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha="0.25"),
        TypeError,
        "alpha must be None, a number in [0, 1] or a tensor, got str.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=torch.tensor([0.5, 0.5])),
        ValueError,
        "alpha must be 0-d, (3,) per class, or 2-d and broadcastable, for logits (4, 3), got (2,).",
    ),
    (
        lambda: sigmoid_focal_loss(torch.zeros(()), torch.tensor(0.0), alpha=torch.tensor([0.5])),
        ValueError,
        "alpha must be 0-d for logits (), got (1,).",
    ),
    (
        lambda: sigmoid_focal_loss(
            Z, Y, alpha=torch.tensor([0.5, 0.5, 0.5], dtype=torch.complex64)
        ),
        TypeError,
        "alpha must be real, got torch.complex64.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=torch.ones(3, device="meta")),
        ValueError,
        "alpha must be on the device of logits, cpu, got meta. Move it with .to(logits.device).",
    ),
    (
        lambda: softmax_focal_loss(Z, C, alpha=0.25),
        TypeError,
        "alpha must be None or a tensor of shape (3,), got the float 0.25. One number "
        "has no agreed meaning for several classes. To weigh a background class 0 use "
        "torch.tensor([1 - a, a, a, ...]); to scale the whole loss, multiply it.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, alpha=[1.0, 2.0, 3.0]),
        TypeError,
        "alpha must be None or a tensor of shape (3,), got list. Use torch.tensor(...).",
    ),
    (
        lambda: softmax_focal_loss(Z, C, alpha=torch.ones(4)),
        ValueError,
        "alpha must have shape (3,), one weight per class of logits (4, 3), got (4,).",
    ),
    (
        lambda: softmax_focal_loss(Z, C, alpha=torch.tensor([1.0, -1.0, 1.0])),
        ValueError,
        "alpha must be finite and >= 0 for every class, got -1.0.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, alpha=torch.tensor([1.0, torch.inf, 1.0])),
        ValueError,
        "alpha must be finite and >= 0 for every class, got inf.",
    ),
    # gamma
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=-2.0),
        ValueError,
        "gamma must be finite and >= 0, got -2.0.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=math.nan),
        ValueError,
        "gamma must be finite and >= 0, got nan.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=math.inf),
        ValueError,
        "gamma must be finite and >= 0, got inf.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=True),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got bool.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=[1.0, 2.0]),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got list. Use a tensor for one value "
        "per class or a tuple (gamma_pos, gamma_neg).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=(1.0, 2.0, 3.0)),
        ValueError,
        "gamma must be a number, a tensor or a tuple of exactly two, (gamma_pos, "
        "gamma_neg), got 3 values. For one value per class use a tensor.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=(1.0, -3.0)),
        ValueError,
        "gamma must be finite and >= 0, got -3.0.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=torch.tensor([1.0, -1.0, 1.0])),
        ValueError,
        "gamma must be finite and >= 0, got -1.0.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=torch.tensor([1.0, 1.0, torch.inf])),
        ValueError,
        "gamma must be finite and >= 0, got inf.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=torch.ones(4)),
        ValueError,
        "gamma must be 0-d, (3,) per class, or 2-d and broadcastable, for logits (4, 3), got (4,).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=torch.tensor(2j)),
        TypeError,
        "gamma must be real, got torch.complex64.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, gamma=[1.0, 2.0, 3.0]),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got list. Use a tensor for one value per class.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, gamma=(1.0, 2.0)),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got tuple. A pair (gamma_pos, "
        "gamma_neg) belongs to sigmoid_focal_loss; for one value per class use a "
        "tensor.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, gamma=torch.ones(5)),
        ValueError,
        "gamma must be 0-d, (3,) per class or (4,) like targets, got (5,).",
    ),
    (
        lambda: softmax_focal_loss(Z, C, gamma=torch.tensor(2j)),
        TypeError,
        "gamma must be real, got torch.complex64.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, gamma=None),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got NoneType.",
    ),
    # reduction, normalizer, impl
    (
        lambda: sigmoid_focal_loss(Z, Y, reduction="batchmean"),
        ValueError,
        'reduction must be one of "none", "mean", "sum", got \'batchmean\'.',
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer="batch"),
        ValueError,
        'normalizer must be one of "elements", "positives", "weights", "sample_weight", or a '
        "positive number, got 'batch'.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer=None),
        TypeError,
        'normalizer must be one of "elements", "positives", "weights", "sample_weight", or a '
        "positive number, got NoneType.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer=np.ones(())),
        TypeError,
        'normalizer must be one of "elements", "positives", "weights", "sample_weight", or a '
        "positive number, got ndarray. Pass it as a number, float(normalizer).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, alpha=np.ones(3)),
        TypeError,
        "alpha must be None, a number in [0, 1] or a tensor, got ndarray. Use torch.as_tensor.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, gamma=np.ones(3)),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got ndarray. Use torch.as_tensor.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer=0),
        ValueError,
        "normalizer must be > 0 and finite, got 0. For a count that may be zero pass "
        "max(1, count).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer=torch.tensor(0.0)),
        ValueError,
        "normalizer must be > 0 and finite, got 0.0. For a count that may be zero pass "
        "max(1, count).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer=torch.ones(4)),
        ValueError,
        "normalizer must be a number or a 0-d tensor, got a tensor of shape (4,). Sum it first.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer="positives", reduction="sum"),
        ValueError,
        'normalizer must be "elements" unless reduction is "mean", got \'positives\' with'
        " reduction='sum'. Divide the result yourself.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, normalizer=7, reduction="none"),
        ValueError,
        'normalizer must be "elements" unless reduction is "mean", got 7 with '
        "reduction='none'. Divide the result yourself.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, normalizer="positives"),
        ValueError,
        'normalizer must be "elements", "weights", "sample_weight" or a positive number, got '
        '"positives". A softmax has no negatives; pass the count of foreground targets '
        "as a number.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, impl="cuda"),
        ValueError,
        f"impl must be one of {CHOICES}, got 'cuda'.",
    ),
    # sample_weight, ignore_index, smoothing, flags
    (
        lambda: sigmoid_focal_loss(Z, Y, sample_weight=torch.ones(3)),
        ValueError,
        "sample_weight must have the shape (4, 3) of the loss or of its leading axes, "
        "got (3,). For one weight per class use alpha.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, sample_weight=2.0),
        TypeError,
        "sample_weight must be None or a tensor, got float. Use torch.as_tensor.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, sample_weight=torch.ones(4, 3)),
        ValueError,
        "sample_weight must have the shape (4,) of the loss or of its leading axes, got"
        " (4, 3). For one weight per class use alpha.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, sample_weight=torch.ones(4, device="meta")),
        ValueError,
        "sample_weight must be on the device of logits, cpu, got meta. Move it with "
        ".to(logits.device).",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, ignore_index=0.5),
        TypeError,
        "ignore_index must be an integer, got float.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, ignore_index=math.nan),
        TypeError,
        "ignore_index must be an integer, got float. No integer target is NaN: mark what is "
        "missing by a number.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Z.long(), ignore_index=math.nan),
        TypeError,
        "ignore_index must be an integer, got float. No integer target is NaN: mark what is "
        "missing by a number.",
    ),
    (
        lambda: softmax_focal_loss(Z, C, ignore_index=None),
        TypeError,
        "ignore_index must be an integer, got NoneType.",
    ),
    (
        lambda: softmax_focal_loss(Z, torch.full((4, 3), 0.25), ignore_index=0),
        ValueError,
        "ignore_index must be left at -100 with probability targets, got 0. Mask "
        "positions with sample_weight=0.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, label_smoothing=1.5),
        ValueError,
        "label_smoothing must be in [0, 1], got 1.5.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, label_smoothing="0.1"),
        TypeError,
        "label_smoothing must be a number in [0, 1], got str.",
    ),
    (
        lambda: sigmoid_focal_loss(Z, Y, detach_modulator=1),
        TypeError,
        "detach_modulator must be True or False, got int.",
    ),
    # modules refuse when they are made
    (
        lambda: SigmoidFocalLoss(gamma=-1),
        ValueError,
        "gamma must be finite and >= 0, got -1.",
    ),
    (
        lambda: SigmoidFocalLoss(alpha=torch.tensor(2.0)),
        ValueError,
        "alpha must be in [0, 1], got 2.0. A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is "
        "alpha=w / (1 + w) and the loss times 1 + w: here alpha=2.0 / (1 + 2.0), times 1 + 2.0.",
    ),
    (
        lambda: SigmoidFocalLoss(gamma=(1.0, 2.0, 3.0)),
        ValueError,
        "gamma must be a number, a tensor or a tuple of exactly two, (gamma_pos, "
        "gamma_neg), got 3 values. For one value per class use a tensor.",
    ),
    (
        lambda: SigmoidFocalLoss(ignore_index="255"),
        TypeError,
        "ignore_index must be an integer, got str.",
    ),
    (
        lambda: SoftmaxFocalLoss(alpha=0.25),
        TypeError,
        "alpha must be None or a tensor of shape (C,), got the float 0.25. One number "
        "has no agreed meaning for several classes. To weigh a background class 0 use "
        "torch.tensor([1 - a, a, a, ...]); to scale the whole loss, multiply it.",
    ),
    (
        lambda: SoftmaxFocalLoss(gamma=(1.0, 2.0)),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got tuple. A pair (gamma_pos, "
        "gamma_neg) belongs to sigmoid_focal_loss; for one value per class use a "
        "tensor.",
    ),
    (
        lambda: SoftmaxFocalLoss(gamma=torch.tensor([1.0, -1.0])),
        ValueError,
        "gamma must be finite and >= 0, got -1.0.",
    ),
    (
        lambda: SoftmaxFocalLoss(reduction="batchmean"),
        ValueError,
        'reduction must be one of "none", "mean", "sum", got \'batchmean\'.',
    ),
    (
        lambda: SoftmaxFocalLoss(impl="cuda"),
        ValueError,
        f"impl must be one of {CHOICES}, got 'cuda'.",
    ),
    (
        lambda: SoftmaxFocalLoss(detach_modulator=None),
        TypeError,
        "detach_modulator must be True or False, got NoneType.",
    ),
    # posteriors
    (
        lambda: sigmoid_posterior([0.0]),
        TypeError,
        "logits must be a tensor, got list. Use torch.as_tensor.",
    ),
    (
        lambda: sigmoid_posterior(Z, alpha=0.0),
        ValueError,
        "alpha must be strictly between 0 and 1, got 0.0. A class of weight 0 is not "
        "learned, so it has no posterior.",
    ),
    (
        lambda: sigmoid_posterior(Z, alpha=1),
        ValueError,
        "alpha must be strictly between 0 and 1, got 1. A class of weight 0 is not "
        "learned, so it has no posterior.",
    ),
    (
        lambda: sigmoid_posterior(Z, alpha=torch.tensor([0.0, 0.5, 0.5])),
        ValueError,
        "alpha must be strictly between 0 and 1, got 0.0. A class of weight 0 is not "
        "learned, so it has no posterior.",
    ),
    (
        lambda: sigmoid_posterior(Z, gamma=torch.ones(4, 1)),
        ValueError,
        "gamma must be a number or one value per class, got shape (4, 1). No posterior "
        "exists for a gamma that depends on the example.",
    ),
    (
        lambda: sigmoid_posterior(Z, gamma=(1.0, torch.ones(4, 3))),
        ValueError,
        "gamma must be a number or one value per class, got shape (4, 3). No posterior "
        "exists for a gamma that depends on the example.",
    ),
    (
        lambda: sigmoid_posterior(Z, temperature=0),
        ValueError,
        "temperature must be finite and > 0, got 0.",
    ),
    (
        lambda: sigmoid_posterior(Z, temperature="1"),
        TypeError,
        "temperature must be finite and > 0, got '1'.",
    ),
    (
        lambda: sigmoid_posterior(Z, temperature=torch.tensor(-1.0)),
        ValueError,
        "temperature must be finite and > 0, got -1.0.",
    ),
    (
        lambda: sigmoid_posterior(Z, label_smoothing=1),
        ValueError,
        "label_smoothing must be below 1, got 1.0. Targets smoothed completely carry no class.",
    ),
    (
        lambda: softmax_posterior(Z, alpha=torch.tensor([0.0, 1.0, 1.0])),
        ValueError,
        "alpha must be > 0 for every class, got 0.0. A class of weight 0 is not "
        "learned, so it has no posterior.",
    ),
    (
        lambda: softmax_posterior(Z, alpha=0.25),
        TypeError,
        "alpha must be None or a tensor of shape (3,), got the float 0.25. One number "
        "has no agreed meaning for several classes. To weigh a background class 0 use "
        "torch.tensor([1 - a, a, a, ...]); to scale the whole loss, multiply it.",
    ),
    (
        lambda: softmax_posterior(Z, gamma=torch.ones(4)),
        ValueError,
        "gamma must be a number or one value per class, got shape (4,). No posterior "
        "exists for a gamma that depends on the example.",
    ),
    (
        lambda: softmax_posterior(Z, gamma=(1.0, 2.0)),
        TypeError,
        "gamma must be a number >= 0 or a tensor, got tuple. A pair (gamma_pos, "
        "gamma_neg) belongs to sigmoid_focal_loss; for one value per class use a "
        "tensor.",
    ),
    (
        lambda: softmax_posterior(Z, temperature=math.nan),
        ValueError,
        "temperature must be finite and > 0, got nan.",
    ),
]

# functions of refocal.arguments whose messages are tested beside what they belong to
ELSEWHERE = {
    "check_process_group": "process_group",
    "check_constant_denominator": "process_group",
    "check_class_sharded": "class-sharded logits",
    "linear_problem": "linear_focal_loss",
    "check_chunk_size": "linear_focal_loss",
    "fail_implementation": "the kernels",
    "real": "the numbers of test_scalars.py",
    "per_class": "the numbers of test_scalars.py",
    "check_outcomes": "fit_temperature and the gradient budget",
    "positives": "test_detection_and_regions.py",
    "distances": "test_detection_and_regions.py",
    "class_regions": "test_detection_and_regions.py",
    "_fail_positions": "test_detection_and_regions.py",
    "fail_not_finite": "fit_temperature and the gradient budget",
}


def function_of(call: Callable[[], object]) -> str:
    """The public function or module that a row of the table calls."""
    return next(name for name in call.__code__.co_names if name in refocal.__all__)


def identity(row: object) -> str | None:
    if not isinstance(row, str):
        return None
    return "-".join(row.split()[:1] + row.partition("got ")[2].split()[:2])


@pytest.mark.parametrize(("call", "kind", "text"), TABLE, ids=identity)
def test_message(call: Callable[[], object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == f"{function_of(call)}: {text}"


Place = tuple[str, int]  # file and line
ROOM = Path(arguments.__file__).parent


def raising_lines() -> dict[Place, str]:
    """First lines of the raise statements of refocal.arguments, with their functions."""
    return {
        (path.name, statement.lineno): function.name
        for path in ROOM.glob("*.py")
        for function in ast.parse(path.read_text()).body
        if isinstance(function, ast.FunctionDef)
        for statement in ast.walk(function)
        if isinstance(statement, ast.Raise)
    }


def line_that_raised(call: Callable[[], object]) -> Place:
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    last = caught.traceback[-1]
    assert Path(last.path).parent == ROOM
    return Path(last.path).name, last.lineno + 1


def test_every_place_that_raises_is_in_the_table() -> None:
    reached = {line_that_raised(call) for call, _, _ in TABLE}
    missing = {
        f"{name}, line {place}"
        for place, name in raising_lines().items()
        if place not in reached and name not in ELSEWHERE
    }
    assert not missing


def test_what_is_tested_elsewhere_exists() -> None:
    assert set(ELSEWHERE) <= set(raising_lines().values())


def test_messages_end_with_a_way_out_or_the_value() -> None:
    for _, _, text in TABLE:
        assert " must " in text
        assert ", got " in text
        assert text.endswith(".")


# ---------------------------------------------------------------------------------------------
# one grammar, whatever the framework

SOURCE = ROOM.parent
GRAMMAR = re.compile(r"[^ ]+: .+ must .+, got ", re.DOTALL)
# these have an error of their own, or quote another's in the middle of the sentence
OTHERS = {"comparison", "commands", "data", "messages.py", "overrides.py"}


def messages_beside_the_grammar(text: str) -> list[str]:
    """Messages of ValueError and TypeError that are spelled out where `refuse` would make them."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "ValueError",
            "TypeError",
        ):
            message = "".join(
                part.value if isinstance(part, ast.Constant) else "{}"
                for argument in node.args
                for part in getattr(argument, "values", [argument])
            )
            found += [message] if GRAMMAR.match(message) else []
    return found


def test_refuse_alone_makes_messages_of_this_grammar() -> None:
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] not in OTHERS:
            assert messages_beside_the_grammar(path.read_text()) == [], path
    spelled_out = 'raise ValueError(f"{name}: alpha must be > 0, got {alpha}.")'
    assert messages_beside_the_grammar(spelled_out) == ["{}: alpha must be > 0, got {}."]


class Foreign:
    """A tensor of some other framework."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


class ForeignAnswers:
    """Its adapter."""

    @staticmethod
    def facts(tensor: Foreign) -> adapter.Facts:
        value = tensor.value
        return adapter.Facts(
            tuple(value.shape), str(value.dtype), value.is_floating_point(), "somewhere"
        )

    @staticmethod
    def check_usable(function: str, argument: str, tensor: Foreign) -> None:
        pass

    @staticmethod
    def check_real(function: str, argument: str, tensor: Foreign) -> None:
        if tensor.value.is_complex():
            raise refuse(function, argument, "be real", tensor.value.dtype, kind=TypeError)

    @staticmethod
    def ends(tensor: Foreign) -> tuple[float, float]:
        low, high = torch.aminmax(tensor.value.double())
        return low.item(), high.item()


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_ADAPTERS", dict(adapter._ADAPTERS))
    adapter.register("foreign", Foreign, ForeignAnswers())


SETTINGS: dict[str, Any] = {
    "alpha": None,
    "gamma": 2.0,
    "reduction": "mean",
    "normalizer": "elements",
    "ignore_index": -100,
    "label_smoothing": 0.0,
    "detach_modulator": False,
}
WRONG = [
    ("normalizer", torch.zeros(())),
    ("normalizer", torch.ones(4)),
    ("normalizer", torch.tensor(math.inf)),
    ("alpha", torch.tensor([0.5, -1.0])),
    ("alpha", torch.tensor([0.5, math.nan])),
    ("alpha", torch.tensor(2.0)),
    ("gamma", torch.tensor([0.5, -1.0])),
    ("gamma", torch.tensor(math.nan)),
    ("gamma", torch.tensor(2j)),
]


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("multiclass", [False, True])
@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_tensors_of_every_framework_get_the_same_message(
    name: str, value: Tensor, multiclass: bool
) -> None:
    def message(value: object, framework: str | None = None) -> str:
        settings = {**SETTINGS, name: value}
        own = "foreign" if isinstance(value, Foreign) else "torch"
        try:
            arguments.check_settings(
                "f", settings, multiclass=multiclass, framework=framework or own
            )
        except (TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return "accepted"

    assert message(Foreign(value)) == message(value)
    assert message(value) != "accepted" or (name == "alpha" and multiclass)
    assert message(Foreign(torch.ones(()))) == "accepted"
    # known, and not the framework's own
    assert message(Foreign(torch.ones(())), "torch").startswith("TypeError: f: ")
    assert message(torch.ones(()), "foreign").startswith("TypeError: f: ")


# ---------------------------------------------------------------------------------------------
# when values inside tensors are looked at


@pytest.fixture
def asked() -> list[Tensor]:
    """Meta tensors, whose values cannot be read: reading one raises."""
    return [torch.zeros(4, 3, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")]


def test_values_on_other_devices_are_not_read(asked: list[Tensor]) -> None:
    alpha = torch.ones(3, device="meta")
    gamma = torch.ones(3, device="meta")
    loss = softmax_focal_loss(*asked, alpha=alpha, gamma=gamma, normalizer="weights")
    assert loss.device.type == "meta"


@pytest.mark.usefixtures("check_values_everywhere")
def test_meta_tensors_have_none(asked: list[Tensor]) -> None:
    assert softmax_focal_loss(*asked).is_meta


SUSPECTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: sigmoid_focal_loss(z, torch.ones_like(z)),
    "softmax": lambda z: softmax_focal_loss(z, torch.zeros(len(z), dtype=torch.long)),
    "module": lambda z: SigmoidFocalLoss()(z, torch.ones_like(z)),
    "variant": lambda z: refocal.variants.varifocal_loss(z, torch.ones_like(z)),
    "distances": lambda z: refocal.variants.distribution_focal_loss(z, torch.zeros(len(z))),
    "regions": lambda z: refocal.variants.dice_loss(z[None], torch.ones_like(z)[None]),
}


@pytest.mark.usefixtures("check_values_everywhere")
@pytest.mark.parametrize("name", SUSPECTS)
def test_probabilities_in_the_place_of_logits_are_suspected(name: str) -> None:
    p = torch.rand(400, 3)
    with pytest.warns(
        UserWarning, match=r"_loss: logits must be .*, got 1,200 numbers between"
    ) as caught:
        SUSPECTS[name](p)
    # the line that is to be changed, none of the library's or of torch's modules
    assert Path(caught[0].filename).parent == Path(__file__).parent
    quiet = (p - 0.01, p + 0.01, 2 * p, p[:300], torch.zeros(400, 3), torch.ones(400, 3))
    for logits in quiet:  # the suite makes errors of warnings
        SUSPECTS[name](logits)


def test_nothing_is_suspected_unless_asked_for() -> None:
    assert sigmoid_focal_loss(torch.rand(2000), torch.ones(2000)) > 0


def test_the_normalizers_of_a_function_are_in_its_list() -> None:
    z, h = torch.zeros(3), torch.ones(3)
    with pytest.raises(
        ValueError, match=r'normalizer must be one of "peaks", "elements".*\'peak\''
    ):
        refocal.variants.gaussian_focal_loss(z, h, normalizer="peak")
    with pytest.raises(
        TypeError, match=r'normalizer must be one of "peaks", "elements".*, got list'
    ):
        refocal.variants.gaussian_focal_loss(z, h, normalizer=[])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'normalizer must be one of "elements".*\'peaks\''):
        refocal.variants.varifocal_loss(z, h, normalizer="peaks")


def test_values_are_not_read_under_a_transform() -> None:
    """Value checks would break tracing; an impossible target passes there."""
    loss = torch.func.vmap(lambda z: sigmoid_focal_loss(z, torch.full((3,), 2.0)))(Z)
    assert loss.shape == (4,)


def test_ignored_values_are_not_out_of_range() -> None:
    ignoring = sigmoid_focal_loss(Z, torch.full((4, 3), 255), ignore_index=255)
    torch.testing.assert_close(ignoring, torch.tensor(0.0))
    ignoring = softmax_focal_loss(Z, torch.full((4,), -7), ignore_index=-7)
    torch.testing.assert_close(ignoring, torch.tensor(0.0))


def test_inputs_of_a_module_are_named_after_the_function() -> None:
    with pytest.raises(ValueError, match=r"^sigmoid_focal_loss: targets must have the shape"):
        SigmoidFocalLoss(impl="eager")(Z, C)
    with pytest.raises(TypeError, match=r"^softmax_focal_loss: logits must be floating"):
        SoftmaxFocalLoss(impl="eager")(C, C)
    assert math.isfinite(SoftmaxFocalLoss(impl="eager")(Z, C))
