"""Focal loss for boosted trees: objectives, classifiers and metrics.

* `SigmoidFocalObjective`, `SoftmaxFocalObjective`: for XGBoost 3.x and LightGBM 4.x, through
  ``train`` and through their scikit-learn wrappers.
* `FocalXGBClassifier`, `FocalLGBMClassifier`, `FocalCatBoostClassifier`: scikit-learn classifiers
  whose ``predict_proba`` is the closed-form posterior.
* `FocalLoss`, `AveragePrecision`, `PosteriorLogLoss`: metrics for the hosts' training logs.

Needs NumPy. A boosting library is imported when one of its classifiers is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from refocal.boosting import arguments
from refocal.boosting.metrics import AveragePrecision, FocalLoss, PosteriorLogLoss
from refocal.boosting.objectives import SigmoidFocalObjective, SoftmaxFocalObjective

if TYPE_CHECKING:
    from refocal.boosting.hosts.catboost import FocalCatBoostClassifier
    from refocal.boosting.hosts.lightgbm import FocalLGBMClassifier
    from refocal.boosting.hosts.xgboost import FocalXGBClassifier

__all__ = [
    "AveragePrecision",
    "FocalCatBoostClassifier",
    "FocalLGBMClassifier",
    "FocalLoss",
    "FocalXGBClassifier",
    "PosteriorLogLoss",
    "SigmoidFocalObjective",
    "SoftmaxFocalObjective",
]

# the classifiers need scikit-learn, which the objectives do not
_CLASSIFIERS = {
    "FocalXGBClassifier": "xgboost",
    "FocalLGBMClassifier": "lightgbm",
    "FocalCatBoostClassifier": "catboost",
}


def __getattr__(name: str) -> Any:
    if name not in _CLASSIFIERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    host = _CLASSIFIERS[name]
    arguments.host(name, host)
    return getattr(import_module(f"{__name__}.hosts.{host}"), name)
