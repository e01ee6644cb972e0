"""skorch: probabilities of the criterion that was fitted, also in a search over gamma."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

from refocal import SoftmaxFocalLoss, sigmoid_posterior, softmax_posterior

skorch = pytest.importorskip("skorch", reason="pip install skorch")
from skorch.dataset import Dataset, ValidSplit  # noqa: E402
from skorch.helper import predefined_split  # noqa: E402

from refocal.integrations.skorch import FocalBinaryClassifier, FocalClassifier  # noqa: E402

ROWS, FEATURES, CLASSES = 120, 4, 3


class Layer(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.Linear(FEATURES, outputs)

    def forward(self, x):
        return self.layer(x)


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    return x, (x[:, 0] + 0.5 * generator.normal(size=ROWS) > 0.8).astype(np.int64)


def multiclass(**keywords):
    settings = {"max_epochs": 3, "lr": 0.3, "train_split": None, "verbose": 0}
    return FocalClassifier(Layer, module__outputs=CLASSES, **settings | keywords)


def binary(**keywords):
    settings = {"max_epochs": 3, "lr": 0.3, "train_split": None, "verbose": 0}
    return FocalBinaryClassifier(Layer, module__outputs=1, **settings | keywords)


def test_plain_skorch_returns_logits_as_probabilities(data):
    x, y = data
    net = skorch.NeuralNetClassifier(
        Layer,
        module__outputs=CLASSES,
        criterion=SoftmaxFocalLoss,
        max_epochs=1,
        train_split=None,
        verbose=0,
    ).fit(x, y)
    # what the adapter is for: should skorch learn to ask the criterion, it can go
    assert np.abs(net.predict_proba(x).sum(1) - 1).max() > 0.01


def test_multiclass_probabilities_are_the_posterior(data):
    x, y = data
    alpha = torch.tensor([1.0, 2.0, 0.5])
    net = multiclass(criterion__gamma=1.5, criterion__alpha=alpha).fit(x, y)
    expected = softmax_posterior(net.forward(x), gamma=1.5, alpha=alpha).numpy()
    np.testing.assert_allclose(net.predict_proba(x), expected, rtol=1e-6)
    np.testing.assert_array_equal(net.predict(x), expected.argmax(1))


def test_binary_probabilities_are_the_posterior(data):
    x, y = data
    net = binary(criterion__alpha=0.25, criterion__gamma=2.0).fit(x, y)
    expected = sigmoid_posterior(net.forward(x)).numpy()
    probabilities = net.predict_proba(x)
    np.testing.assert_allclose(probabilities[:, 1], expected, rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    # at alpha .25 and gamma 2 a logit of 0 means a probability of .75, not .5
    np.testing.assert_array_equal(net.predict(x), expected > 0.5)


@pytest.mark.parametrize(("make", "posterior"), [(multiclass, softmax_posterior), (binary, None)])
def test_search_over_gamma_uses_the_gamma_that_was_fitted(make, posterior, data):
    x, y = data
    search = GridSearchCV(
        make(), {"criterion__gamma": [0.0, 3.0]}, scoring="neg_log_loss", cv=3, error_score="raise"
    ).fit(x, y)
    net = search.best_estimator_
    gamma = search.best_params_["criterion__gamma"]
    assert net.criterion_.gamma == gamma
    logits = net.forward(x)
    if posterior is None:
        expected = sigmoid_posterior(logits, gamma=gamma)
    else:
        expected = posterior(logits, gamma=gamma)[:, 1]
    np.testing.assert_allclose(search.predict_proba(x)[:, 1], expected, rtol=1e-5)


def test_another_nonlinearity_may_be_asked_for(data):
    x, y = data
    net = multiclass(predict_nonlinearity=lambda logits: logits.softmax(1)).fit(x, y)
    np.testing.assert_allclose(net.predict_proba(x), net.forward(x).softmax(1), rtol=1e-6)


def test_another_criterion_keeps_skorch_s_own_probabilities(data):
    x, y = data
    net = multiclass(criterion=nn.CrossEntropyLoss).fit(x, y)
    np.testing.assert_allclose(net.predict_proba(x), net.forward(x).softmax(1), rtol=1e-6)


def test_a_fitted_classifier_pickles(data):
    x, y = data
    net = multiclass(criterion__gamma=1.0).fit(x, y)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_allclose(again.predict_proba(x), net.predict_proba(x))


# ---------------------------------------------------------------------------------------------
# labels that are words

NAMES = np.array(["fine", "bad", "worse"])
SORTED = np.unique(NAMES)
KINDS = {
    "array": lambda words: words,
    "objects": lambda words: words.astype(object),
    "list": lambda words: words.tolist(),
    "series": lambda words: pd.Series(words, index=np.arange(len(words)) + 7),
    "categories": lambda words: pd.Series(words).astype("category"),
    "pandas strings": lambda words: pd.Series(words, dtype="string"),
}


@pytest.fixture
def words(data):
    x, _ = data
    return x, NAMES[(x[:, 0] > 0.8).astype(int) + 2 * (x[:, 0] < -0.8)]


@pytest.mark.parametrize("kind", KINDS)
def test_words_train_as_their_indices_do(kind, words):
    x, y = words
    keywords = {"train_split": ValidSplit(3, stratified=True)}
    torch.manual_seed(0)
    net = multiclass(**keywords).fit(x, KINDS[kind](y))
    torch.manual_seed(0)
    by_index = multiclass(**keywords).fit(x, np.searchsorted(SORTED, y))
    np.testing.assert_allclose(net.predict_proba(x), by_index.predict_proba(x), rtol=1e-6)
    np.testing.assert_array_equal(net.predict(x), SORTED[by_index.predict(x)])
    np.testing.assert_array_equal(net.classes_, SORTED)
    assert net.history[-1, "valid_acc"] == by_index.history[-1, "valid_acc"]
    assert net.score(x, y) == np.mean(net.predict(x) == y)


def test_two_words_in_a_search_and_a_pickle(words):
    x, y = words
    y = np.where(y == "bad", "no", "yes")
    search = GridSearchCV(
        binary(), {"criterion__gamma": [0.0, 2.0]}, scoring="roc_auc", cv=3, error_score="raise"
    ).fit(x, y)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    positive = search.predict_proba(x)[:, 1] > 0.5
    np.testing.assert_array_equal(again.predict(x), np.where(positive, "yes", "no"))
    np.testing.assert_array_equal(again.classes_, ["no", "yes"])
    # a clone knows nothing of the words, and numbers stay skorch's
    numbers = clone(again).fit(x, (y == "yes").astype(np.float32))
    assert set(numbers.predict(x)) <= {0, 1}
    np.testing.assert_array_equal(again.fit(x, (y == "yes").astype(int)).classes_, [0, 1])


@pytest.mark.parametrize("workers", [0, 1])
def test_words_of_data_sets(workers, words):
    x, y = words
    net = multiclass(
        train_split=predefined_split(Dataset(x, y)), iterator_train__num_workers=workers
    ).fit(Dataset(x, y), None)
    assert net.history[-1, "valid_acc"] == np.mean(net.predict(x) == y)


def test_scores_of_words(words):
    x, y = words
    for scoring in ("neg_log_loss", "f1_macro"):
        scores = cross_val_score(multiclass(), x, y, scoring=scoring, cv=3, error_score="raise")
        assert np.isfinite(scores).all()


def test_classes_that_are_named(words):
    x, y = words
    order = ["worse", "fine", "bad"]
    net = multiclass(classes=order).fit(x, y)
    np.testing.assert_array_equal(net.predict(x), np.array(order)[net.predict_proba(x).argmax(1)])
    rows = y == "fine"
    net = multiclass().partial_fit(x[rows], y[rows], classes=order).partial_fit(x, y)
    np.testing.assert_array_equal(net.classes_, SORTED)
    net.set_params(criterion__gamma=1.0).partial_fit(x, y)
    np.testing.assert_array_equal(net.classes_, SORTED)


def test_words_that_are_refused(words):
    x, y = words
    with pytest.raises(ValueError, match=r"y must be of 2 classes, got \['bad', 'fine', 'worse'\]"):
        binary().fit(x, y)
    net = multiclass().fit(x, y)
    with pytest.raises(ValueError, match=r"y must be of the classes .*, got 'new'.*partial_fit"):
        net.partial_fit(x, np.where(y == "bad", "new", y))
    other = predefined_split(Dataset(x, np.where(y == "bad", "new", y)))
    with pytest.raises(ValueError, match="got 'new'"):
        multiclass(train_split=other).fit(x, y)
    missing = y.astype(object)
    missing[3] = None
    with pytest.raises(ValueError, match="words or numbers, not both, got None among words"):
        multiclass().fit(x, missing)
