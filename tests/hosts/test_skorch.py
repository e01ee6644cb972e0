"""skorch: probabilities of the criterion that was fitted, also in a search over gamma."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from torch import nn

from refocal import SoftmaxFocalLoss, sigmoid_posterior, softmax_posterior

skorch = pytest.importorskip("skorch", reason="pip install skorch")
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
