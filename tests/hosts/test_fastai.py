"""fastai: a Learner's predictions are the posterior of its focal loss."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.integrations.fastai import LearnerLoss

learner = pytest.importorskip("fastai.learner", reason="pip install fastai")
from fastai.callback.mixup import MixUp  # noqa: E402
from fastai.data.core import DataLoaders  # noqa: E402
from fastai.interpret import ClassificationInterpretation  # noqa: E402
from fastai.metrics import accuracy  # noqa: E402
from fastai.tabular.all import Normalize, TabularDataLoaders, tabular_learner  # noqa: E402
from fastai.torch_core import TensorCategory  # noqa: E402

ROWS, FEATURES, CLASSES = 24, 3, 4
CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 1.0])

pytestmark = pytest.mark.filterwarnings("ignore")  # fastai's own, of its dependencies


def as_noop(x):
    return x


def fitted(targets, loss, outputs=CLASSES, **keywords):
    rows = list(zip(torch.randn(ROWS, FEATURES), targets, strict=True))
    loaders = DataLoaders.from_dsets(rows, rows, bs=8)
    learn = learner.Learner(loaders, torch.nn.Linear(FEATURES, outputs), loss_func=loss, **keywords)
    return silent(learn)


def silent(learn):
    learn.remove_cbs([learner.Recorder])
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    return learn


def predicted(learn, **keywords):
    with learn.no_bar():
        return learn.get_preds(**keywords)


def labels():
    return [TensorCategory(k % CLASSES) for k in range(ROWS)]


@pytest.mark.parametrize("wrap", [as_noop, LearnerLoss])
def test_predictions_are_the_posterior(wrap):
    loss = SoftmaxFocalLoss(alpha=CLASS_WEIGHTS, gamma=1.5)
    learn = fitted(labels(), wrap(loss))
    logits, targets = predicted(learn, act=as_noop)
    got, _, decided, losses = predicted(learn, with_decoded=True, with_loss=True)
    assert_close(got, loss.posterior(logits))
    assert_close(decided, loss.posterior(logits).argmax(1))
    assert_close(losses.mean(), loss(logits, targets))
    assert wrap(loss).reduction == "mean"


@pytest.mark.parametrize("wrap", [as_noop, LearnerLoss])
def test_several_labels(wrap):
    loss = SigmoidFocalLoss(alpha=0.4)
    learn = fitted((torch.rand(ROWS, 2) > 0.5).float(), wrap(loss), outputs=2)
    logits, _ = predicted(learn, act=as_noop)
    got, _, decided = predicted(learn, with_decoded=True)
    assert_close(got, loss.posterior(logits))
    assert_close(decided, loss.posterior(logits) > 0.5)


@pytest.mark.parametrize("wrap", [as_noop, LearnerLoss])
def test_mixup_mixes_losses_of_indices(wrap):
    loss = SoftmaxFocalLoss()
    mix = MixUp(0.4)
    learn = fitted(labels(), wrap(loss), cbs=mix)
    logits, one, other = torch.randn(5, CLASSES), torch.arange(5) % 4, torch.arange(5) % 3
    mix.learn.yb, mix.yb1, mix.lam = (one,), (other,), torch.tensor(0.3)
    mix.old_lf = learn.loss_func
    mix.learn.training = True
    assert_close(mix.lf(logits, one), 0.3 * loss(logits, one) + 0.7 * loss(logits, other))


def table():
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(generator.normal(size=(200, FEATURES)), columns=list("abc"))
    rows["y"] = np.array(["bad", "fine", "worse"])[(rows.a > 0).astype(int) + (rows.b > 1)]
    return rows


def test_tables_have_their_labels_in_a_column():
    rows = table()
    loaders = TabularDataLoaders.from_df(
        rows, y_names="y", cont_names=list("abc"), procs=[Normalize], bs=32
    )
    loss = SoftmaxFocalLoss(gamma=1.5)
    with pytest.raises(ValueError, match=r"targets must be class indices of shape \(32,\)"):
        silent(tabular_learner(loaders, layers=[8], loss_func=loss))
    learn = silent(
        tabular_learner(loaders, layers=[8], loss_func=LearnerLoss(loss), metrics=accuracy)
    )
    logits, _ = predicted(learn, act=as_noop)
    assert_close(predicted(learn)[0], loss.posterior(logits))
    with learn.no_bar():
        _, index, probabilities = learn.predict(rows.iloc[0])
        assert int(index) == int(probabilities.argmax())
        confusion = ClassificationInterpretation.from_learner(learn).confusion_matrix()
    assert confusion.sum() == len(loaders.valid_ds)


def test_a_column_of_two_classes():
    for shape in [(8, 1), (8,)]:
        logits, targets = torch.randn(8, 1), torch.arange(8).reshape(shape) % 2
        loss = SigmoidFocalLoss()
        expected = loss(logits[:, 0], targets.flatten())
        assert_close(LearnerLoss(loss)(logits, targets), expected)
        assert_close(LearnerLoss(loss)(logits[:, 0], targets), expected)


def test_classes_on_the_last_axis():
    loss = SoftmaxFocalLoss(alpha=CLASS_WEIGHTS)
    logits, targets = torch.randn(2, 5, CLASSES), torch.randint(0, CLASSES, (2, 5))
    got = LearnerLoss(loss, axis=-1)
    assert_close(got(logits, targets), loss(logits.movedim(-1, 1), targets))
    posterior = loss.posterior(logits.flatten(0, 1)).view(logits.shape)
    assert_close(got.activation(logits), posterior)
    assert_close(got.decodes(got.activation(logits)), posterior.argmax(-1))


def test_losses_of_rows_leave_the_normalizer_out():
    loss = SigmoidFocalLoss(normalizer="positives")
    learn = fitted((torch.rand(ROWS, 2) > 0.5).float(), LearnerLoss(loss), outputs=2)
    logits, targets = predicted(learn, act=as_noop)
    losses = predicted(learn, with_loss=True)[2]
    expected = SigmoidFocalLoss(reduction="none")(logits, targets)
    assert_close(losses, expected.mean(1))


def test_another_loss_is_refused():
    with pytest.raises(TypeError, match="loss must be a SigmoidFocalLoss or a SoftmaxFocalLoss"):
        LearnerLoss(torch.nn.CrossEntropyLoss())
