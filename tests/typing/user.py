"""What a user's type checker must say of refocal; tests/test_face.py runs mypy on it, strictly.

A line with an ``ignore`` must be an error of that kind: one that is not is itself an error there.
"""

from typing import assert_type

import pandas as pd
import torch
from torch import Tensor

import refocal
from refocal import SigmoidFocalLoss, softmax_focal_loss
from refocal.comparison.results import Results

logits, targets = torch.zeros(4, 3), torch.zeros(4, 3)
indices = torch.zeros(4, dtype=torch.long)

# functions, from the face and from their rooms
assert_type(refocal.sigmoid_focal_loss(logits, targets, gamma=(1.0, 2.0)), Tensor)
assert_type(softmax_focal_loss(logits, indices, alpha=torch.ones(3)), Tensor)
assert_type(refocal.losses.softmax_focal_loss(logits, indices), Tensor)
assert_type(refocal.sigmoid_posterior(logits, log_odds=True), Tensor)
assert_type(refocal.softmax_posterior(logits, log_probabilities=True), Tensor)
assert_type(refocal.variants.quality_focal_loss(logits, targets), Tensor)
assert_type(refocal.parameters.prior_bias(0.01), float)
assert_type(refocal.fit_temperature(logits[:, 0], targets[:, 0]).temperature, float)
refocal.check_values(everywhere=True)

# modules
loss = SigmoidFocalLoss(alpha=None, gamma=2)
assert_type(loss.posterior(logits), Tensor)
assert_type(loss.denominator(targets), float | Tensor)
assert_type(refocal.LinearFocalLoss().denominator(indices), float | Tensor)

# the experiment is a function, and its result is known
assert_type(refocal.compare("mlp", pd.DataFrame({"y": [0, 1]}), target="y"), Results)
assert_type(refocal.comparison.compare("mlp", pd.DataFrame(), target="y"), Results)

# boosters
objective = refocal.boosting.SigmoidFocalObjective(alpha=0.25, gamma=2.0)
assert_type(objective, refocal.boosting.SigmoidFocalObjective)

# mistakes
refocal.sigmoid_focal_los  # type: ignore[attr-defined]
refocal.losses.sigmoid_focal_los  # type: ignore[attr-defined]
refocal.comparison.comparre  # type: ignore[attr-defined]
refocal.boosting.SigmoidFocalObjectiv  # type: ignore[attr-defined]
refocal.modulles  # type: ignore[attr-defined]
refocal.comparison(None, None)  # type: ignore[operator]
refocal.sigmoid_focal_loss(logits, targets, gama=2.0)  # type: ignore[call-arg]
refocal.sigmoid_focal_loss(logits, targets, gamma="2")  # type: ignore[arg-type]
refocal.softmax_focal_loss(logits, indices, alpha=0.25)  # type: ignore[arg-type]
SigmoidFocalLoss(2.0)  # type: ignore[misc]
