"""SHAP's own explainer on the boosters' models, and what it has to be told of the start."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

from refocal.boosting import FocalCatBoostClassifier, FocalLGBMClassifier, FocalXGBClassifier

shap = pytest.importorskip("shap", reason="pip install shap")

CASES = [
    (FocalXGBClassifier, 2, True),
    (FocalXGBClassifier, 3, True),
    (FocalLGBMClassifier, 2, False),
    (FocalLGBMClassifier, 3, False),
    (FocalCatBoostClassifier, 2, False),
]

pytestmark = pytest.mark.filterwarnings("ignore")  # of SHAP's own, on LightGBM's binary form


@pytest.mark.parametrize(("host", "classes", "knows_start"), CASES)
def test_tree_explainer_adds_up_with_the_start(host, classes, knows_start):
    X, y = make_classification(
        300,
        6,
        n_informative=4,
        n_classes=classes,
        weights=[0.7, 0.2][: classes - 1],
        random_state=0,
    )
    model = host(n_estimators=5).fit(X, y)
    explainer = shap.TreeExplainer(model.booster_)
    values = np.asarray(explainer.shap_values(X[:9]))
    ours = model.contributions(X[:9])
    np.testing.assert_allclose(values, np.moveaxis(ours[..., :-1], -1, 1), rtol=1e-5, atol=1e-6)
    expected = np.asarray(explainer.expected_value)
    if not knows_start:
        assert np.abs(ours[0, ..., -1] - expected).max() > 0.01  # why contributions() is there
        expected = expected + model.start_
    np.testing.assert_allclose(values.sum(1) + expected, model.logits(X[:9]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.broadcast_to(expected, ours[..., -1].shape), ours[..., -1], rtol=1e-4, atol=1e-5
    )


def test_a_beeswarm_of_our_contributions():
    X, y = make_classification(300, 6, random_state=0)
    added = FocalLGBMClassifier(n_estimators=5, verbose=-1).fit(X, y).contributions(X[:9])
    shown = shap.Explanation(added[:, :-1], base_values=added[:, -1], data=X[:9])
    assert shown.values.shape == (9, 6)
    assert shown[0].base_values == added[0, -1]
