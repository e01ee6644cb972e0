"""Focal loss for boosted trees: objectives, classifiers and metrics.

* `SigmoidFocalObjective`, `SoftmaxFocalObjective`: for XGBoost 3.x and LightGBM 4.x, through
  ``train`` and through their scikit-learn wrappers.
* `FocalXGBClassifier`, `FocalLGBMClassifier`, `FocalCatBoostClassifier`: scikit-learn classifiers
  whose ``predict_proba`` is the closed-form posterior.
* `FocalLoss`, `AveragePrecision`, `PosteriorLogLoss`: metrics for the hosts' training logs.

Needs NumPy. A boosting library is imported when one of its classifiers is asked for.
"""

from __future__ import annotations

from refocal.boosting.objectives import SigmoidFocalObjective, SoftmaxFocalObjective

__all__ = [
    "SigmoidFocalObjective",
    "SoftmaxFocalObjective",
]
