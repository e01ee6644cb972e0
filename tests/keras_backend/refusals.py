"""What the losses refuse, what a graph cannot refuse, and what is loaded.

Run by tests/test_keras.py, and on TensorFlow by tests/hosts/test_keras_tensorflow.py, each backend
in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from keras_backend.given import BACKEND, C, Y, Z, array, data, model
from refocal.keras import Posterior, SigmoidFocalLoss, SoftmaxFocalLoss

# ---------------------------------------------------------------------------------------------
# what is refused


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: SigmoidFocalLoss(), TypeError, "from_logits must be given, got nothing. Keras' own"),
    (lambda: Posterior("sigmoid"), TypeError, "from_logits must be given, got nothing."),
    (
        lambda: SigmoidFocalLoss(from_logits=1),
        TypeError,
        "from_logits must be True or False, got int.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, alpha=1.5),
        ValueError,
        "alpha must be in [0, 1], got 1.5. A pos_weight w, as in torch.nn.BCEWithLogitsLoss, is "
        "alpha=w / (1 + w) and the loss times 1 + w: here alpha=1.5 / (1 + 1.5), times 1 + 1.5.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, alpha=0.3),
        TypeError,
        "alpha must be None or a list of shape (C,), got the float 0.3. One number has no agreed "
        "meaning for several classes. To weigh a background class 0 use [1 - a, a, a, ...]; to "
        "scale the whole loss, multiply it.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, gamma=(1.0, 2.0)),
        TypeError,
        "gamma must be a number >= 0 or a list, got tuple. A pair (gamma_pos, gamma_neg) belongs "
        "to SigmoidFocalLoss; for one value per class use a list.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, gamma=[[1.0]]),
        TypeError,
        "gamma must be a number or a list of one number per class, got [[1.0]].",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, gamma=[1.0, -1.0])(Y, Z),
        ValueError,
        "gamma must be finite and >= 0, got -1.0.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True, alpha=[0.1, 0.2])(Y, Z),
        ValueError,
        "alpha must have one number for each of the 3 classes of y_pred (2, 3), got 2 numbers.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True)(Z, Y),
        TypeError,
        "y_pred must be floating, got",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True)(C, Z),
        ValueError,
        "y_true must have the shape of y_pred, got (2,) and (2, 3). For class indices use "
        "SoftmaxFocalLoss, where classes exclude each other, or keras.ops.one_hot(y_true, 3) for "
        "one decision per class.",
    ),
    (
        lambda: SigmoidFocalLoss(from_logits=True)(255 * Y, Z),
        ValueError,
        "y_true must be in [0, 1], got 255. Only 0 and 255 occur: if 255 is the positive class, "
        "as in a mask of grey levels, use y_true > 0. If 255 marks what to leave out, pass "
        "ignore_index=255.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(np.array([0, 3]), Z),
        ValueError,
        "y_true must be class indices from 0 to 2, got 3. If 3 marks what to leave out, pass "
        "ignore_index=3.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(np.array([0.5, 1]), Z),
        ValueError,
        "y_true must be class indices, that is whole numbers, got 0.5. Probabilities have one "
        "column per class.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(np.zeros((2, 2)), Z),
        ValueError,
        "y_true must be class indices of shape (2,) or one-hot rows and probabilities of shape "
        "(2, 3), got shape (2, 2).",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True)(C, Z[:, :1]),
        ValueError,
        "y_pred must have at least two classes, got (2, 1). The softmax of one class is 1, so its "
        "loss is 0 and nothing is learned. One column is a binary problem: use SigmoidFocalLoss.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, axis=2)(C, Z),
        ValueError,
        "axis must be an axis of y_pred (2, 3), got 2.",
    ),
    (
        lambda: SoftmaxFocalLoss(from_logits=True, ignore_index=255)(np.eye(3)[C], Z),
        ValueError,
        "ignore_index must be left at -100 with probability y_true, got 255. Mask positions with "
        "sample_weight=0.",
    ),
    (
        lambda: Posterior("tanh", from_logits=True),
        ValueError,
        'link must be one of "sigmoid", "softmax", got \'tanh\'.',
    ),
    (
        lambda: Posterior("softmax", from_logits=True, alpha=[0.0, 1.0]),
        ValueError,
        "alpha must be > 0 for every class, got 0.0. A class of weight 0 is not learned, so it "
        "has no posterior.",
    ),
    (
        lambda: Posterior("sigmoid", from_logits=True, alpha=1.0),
        ValueError,
        "alpha must be strictly between 0 and 1, got 1.0. A class of weight 0 is not learned, so "
        "it has no posterior.",
    ),
    (
        lambda: Posterior("sigmoid", from_logits=True, temperature=0),
        ValueError,
        "temperature must be finite and > 0, got 0.",
    ),
    (
        lambda: Posterior("sigmoid", from_logits=True, label_smoothing=1.0),
        ValueError,
        "label_smoothing must be below 1, got 1.0. Targets smoothed completely carry no class.",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), REFUSED, ids=[str(one) for one in range(len(REFUSED))]
)
def test_refusals(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind
    name, _, text = str(error.value).partition(": ")
    assert name in ("SigmoidFocalLoss", "SoftmaxFocalLoss", "Posterior")
    if "got nothing" in message or message.endswith("got"):
        text = text[: len(message)]
    assert text == message


def test_an_activation_that_was_left_in_is_found() -> None:
    """Keras keeps the logits beside what its activations return."""
    x, y = data(1)
    net = model(1, "sigmoid")
    net.compile("sgd", loss=SigmoidFocalLoss(from_logits=True), jit_compile=False, run_eagerly=True)
    if BACKEND == "jax":  # whose arrays hold nothing beside their values
        net.fit(x, y, verbose=0)
    else:
        with pytest.raises(ValueError, match="from_logits must be False where the model ends in"):
            net.fit(x, y, verbose=0)
    net.compile("sgd", loss=SigmoidFocalLoss(from_logits=False), jit_compile=False)
    net.fit(x, y, verbose=0)


def test_values_that_a_graph_cannot_refuse_are_nan() -> None:
    """A class index out of range; torch has no graph here, and refuses it."""
    loss = SoftmaxFocalLoss(from_logits=True, reduction="none")
    smooth = SoftmaxFocalLoss(from_logits=True, reduction="none", label_smoothing=0.1)
    for one in (loss, smooth):
        if BACKEND == "torch":
            with pytest.raises(ValueError, match="y_true must be class indices from 0 to 2"):
                one(np.array([3, 0]), Z)
            continue
        if BACKEND == "jax":
            import jax

            found = jax.jit(lambda y, f=one: f(y, Z))(np.array([3, 0]))
        else:
            import tensorflow as tf

            found = tf.function(lambda y, f=one: f(y, Z))(np.array([3, 0]))
        assert list(np.isnan(array(found))) == [True, False]


def test_what_is_loaded() -> None:
    """Nothing of another backend by refocal: Keras alone brings as much."""
    script = (
        "import sys\nimport keras{more}\n"
        "print(*sorted({{'torch', 'jax', 'tensorflow'}} & {{*sys.modules}}))"
    )
    more = (
        ", refocal.keras\nimport numpy as np\n"
        "refocal.keras.SoftmaxFocalLoss(from_logits=True)(np.array([0]), np.ones((1, 3), 'f'))\n"
        "refocal.keras.Posterior('sigmoid', from_logits=True)(np.ones(3, 'f'))"
    )
    found = []
    for one in ("", more):
        ran = subprocess.run(
            [sys.executable, "-c", script.format(more=one)], capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        found.append(ran.stdout.split())
    assert found[0] == found[1]
    assert BACKEND in found[1]
    if BACKEND != "torch":
        assert "torch" not in found[1]
