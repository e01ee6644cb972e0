"""skorch classifiers whose probabilities are probabilities.

skorch guesses from the class of the criterion how to turn a module's output into probabilities, and
returns raw logits where it does not know the criterion. These two ask the criterion itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from refocal import extras
from refocal.losses import SigmoidFocalLoss, SoftmaxFocalLoss

extras.need(__name__, "skorch")
import skorch  # noqa: E402


class _Posterior:
    """Probabilities by the posterior of the fitted criterion, unless another way was asked for."""

    predict_nonlinearity: Any
    criterion_: Any
    _get_posterior: Callable[[Tensor], Tensor]

    def _get_predict_nonlinearity(self) -> Callable[[Tensor], Tensor]:
        own: Callable[[Tensor], Tensor] = super()._get_predict_nonlinearity()  # type: ignore[misc]
        if self.predict_nonlinearity == "auto" and hasattr(self.criterion_, "posterior"):
            return self._get_posterior
        return own


class FocalClassifier(_Posterior, skorch.NeuralNetClassifier):  # type: ignore[misc]
    """`skorch.NeuralNetClassifier` with `SoftmaxFocalLoss`; the module returns (N, C) logits.

    ``predict_proba`` returns the closed-form posterior of the fitted criterion, also for a copy
    made by a search over ``criterion__gamma``. Settings of the loss are ``criterion__gamma`` and so
    on; all other arguments are skorch's.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from refocal.integrations.skorch import FocalClassifier
        >>> net = FocalClassifier(torch.nn.LazyLinear, module__out_features=3, verbose=0,
        ...                       train_split=None, max_epochs=1, criterion__gamma=1.0)
        >>> X, y = np.ones((6, 2), "float32"), np.arange(6) % 3
        >>> bool(np.all(np.abs(net.fit(X, y).predict_proba(X).sum(1) - 1) < 1e-6))
        True
    """

    def __init__(
        self, module: Any, *args: Any, criterion: Any = SoftmaxFocalLoss, **kwargs: Any
    ) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)

    def _get_posterior(self, logits: Tensor) -> Tensor:
        probabilities: Tensor = self.criterion_.posterior(logits)
        return probabilities


class FocalBinaryClassifier(_Posterior, skorch.NeuralNetBinaryClassifier):  # type: ignore[misc]
    """`skorch.NeuralNetBinaryClassifier` with `SigmoidFocalLoss`; the module returns one logit.

    ``predict_proba`` returns the two classes' posterior, and ``predict`` compares it with
    ``threshold``, not the sigmoid, which alpha and gamma have moved.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from refocal.integrations.skorch import FocalBinaryClassifier
        >>> net = FocalBinaryClassifier(torch.nn.LazyLinear, module__out_features=1, verbose=0,
        ...                             train_split=None, max_epochs=1, criterion__alpha=0.5)
        >>> X, y = np.ones((6, 2), "float32"), np.arange(6, dtype="float32") % 2
        >>> net.fit(X, y).predict_proba(X).shape
        (6, 2)
    """

    def __init__(
        self, module: Any, *args: Any, criterion: Any = SigmoidFocalLoss, **kwargs: Any
    ) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)

    def _get_posterior(self, logits: Tensor) -> Tensor:
        odds = self.criterion_.posterior(logits, log_odds=True)
        return torch.sigmoid(torch.stack([-odds, odds], dim=-1))
