"""Focal loss for boosted trees: objectives, classifiers and metrics.

* `SigmoidFocalObjective`, `SoftmaxFocalObjective`: for XGBoost 3.x and LightGBM 4.x, through
  ``train`` and through their scikit-learn wrappers.
* `FocalXGBClassifier`, `FocalLGBMClassifier`, `FocalCatBoostClassifier`: scikit-learn classifiers
  whose ``predict_proba`` is the closed-form posterior.
* `FocalLoss`, `AveragePrecision`, `PosteriorLogLoss`: metrics for the hosts' training logs.

Needs NumPy. A boosting library is imported when one of its classifiers is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from refocal.boosting.metrics import AveragePrecision, FocalLoss, PosteriorLogLoss
from refocal.boosting.objectives import SigmoidFocalObjective, SoftmaxFocalObjective
from refocal.lazy import lazily

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

# By package; they need scikit-learn, which the objectives do not.
CLASSIFIERS = {
    "xgboost": "FocalXGBClassifier",
    "lightgbm": "FocalLGBMClassifier",
    "catboost": "FocalCatBoostClassifier",
}
_ROOMS = {name: f"hosts.{package}" for package, name in CLASSIFIERS.items()}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(
        __name__, _ROOMS, needs={name: package for package, name in CLASSIFIERS.items()}
    )
