"""skorch classifiers whose probabilities are probabilities.

skorch guesses from the class of the criterion how to turn a module's output into probabilities, and
returns raw logits where it does not know the criterion. These two ask the criterion itself. They
take labels that are words, too, as scikit-learn's classifiers do: skorch hands them to torch, which
fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from refocal import extras
from refocal.losses import SigmoidFocalLoss, SoftmaxFocalLoss
from refocal.messages import refuse

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


def _is_words(labels: Any) -> bool:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "OU":
        return False
    return labels.dtype.kind == "U" or any(isinstance(one, str) for one in labels.flat)


def _as_array(labels: Any) -> Any:
    """Return labels that are words as an array, which skorch can cut; any others as they are."""
    if hasattr(labels, "iloc") or isinstance(labels, (list, tuple)):
        array = np.asarray(labels)
        return array if array.ndim == 1 and _is_words(array) else labels
    return labels


def _collate(rows: list[Any]) -> Any:
    """Collates as torch does, words into an array: skorch's scores cannot read a list of them."""
    batch = default_collate(rows)
    if len(batch) == 2 and isinstance(batch[1], (list, tuple)):
        return [batch[0], np.asarray(batch[1])]
    return batch


class _Words:
    """Labels that are words: the criterion is given indices, everybody else sees the words.

    Numbers stay what they are to skorch: indices of the module's outputs, of which some may not
    occur in y.
    """

    _words: Any = None  # the classes, in the order of the outputs
    _count: int | None = None  # how many a module of this kind tells apart, where it is known

    def initialize(self) -> Any:
        self._words = None
        return super().initialize()  # type: ignore[misc]

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> Any:
        """Trains on, as skorch does; ``classes`` names the words of all calls, in the first."""
        if not self.initialized_:  # type: ignore[attr-defined]
            self.initialize()
        if classes is not None and _is_words(np.asarray(classes)):
            self._words = np.unique(np.asarray(classes))
        return super().partial_fit(X, _as_array(y), classes, **fit_params)  # type: ignore[misc]

    def check_data(self, X: Any, y: Any) -> None:
        labels = self._labels(X, y)
        if _is_words(labels):
            self._learn_words(labels)
        super().check_data(X, y)  # type: ignore[misc]

    def _learn_words(self, labels: Any) -> None:
        odd = [one for one in labels.tolist() if not isinstance(one, str)]
        if odd:
            raise refuse(
                type(self).__name__,
                "y",
                "be words or numbers, not both",
                f"{odd[0]!r} among words",
                "Leave out rows without a label.",
            )
        if self._words is None:
            named = getattr(self, "classes", None)
            self._words = np.unique(labels) if named is None else np.asarray(named)
        if self._count is not None and len(self._words) != self._count:
            raise refuse(
                type(self).__name__,
                "y",
                f"be of {self._count} classes",
                self._words.tolist(),
                "For more use FocalClassifier; for a part of the rows name them in partial_fit.",
            )
        self._indices(labels)

    def _labels(self, X: Any, y: Any) -> Any:
        if y is not None or not isinstance(X, torch.utils.data.Dataset):
            return y
        try:
            return skorch.utils.data_from_dataset(X)[1]
        except AttributeError:  # a data set of another kind
            return None

    def _indices(self, labels: Any) -> Tensor:
        """Return the place of every word among the classes."""
        place = {word: index for index, word in enumerate(self._words.tolist())}
        words = labels.tolist()
        for word in words:
            if word not in place:
                raise refuse(
                    type(self).__name__,
                    "y",
                    f"be of the classes {self._words.tolist()}",
                    repr(word),
                    "Name all of them in the first partial_fit(X, y, classes=[...]).",
                )
        return torch.tensor([place[word] for word in words])

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        iterator = super().get_iterator(dataset, training)  # type: ignore[misc]
        by_torch = isinstance(iterator, DataLoader) and iterator.collate_fn is default_collate
        if self._words is not None and by_torch:
            iterator.collate_fn = _collate
        return iterator

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Tensor:
        if _is_words(y_true):
            y_true = self._indices(y_true)
        loss: Tensor = super().get_loss(y_pred, y_true, *args, **kwargs)  # type: ignore[misc]
        return loss

    def predict(self, X: Any) -> Any:
        """Return the classes' indices, or the words of labels that were words."""
        predicted = super().predict(X)  # type: ignore[misc]
        return predicted if self._words is None else self._words[predicted]

    @property
    def classes_(self) -> Any:
        """The words of labels that were words, in the order of the probabilities' columns."""
        return super().classes_ if self._words is None else self._words  # type: ignore[misc]


class FocalClassifier(_Words, _Posterior, skorch.NeuralNetClassifier):  # type: ignore[misc]
    """`skorch.NeuralNetClassifier` with `SoftmaxFocalLoss`; the module returns (N, C) logits.

    ``predict_proba`` returns the closed-form posterior of the fitted criterion, also for a copy
    made by a search over ``criterion__gamma``. Settings of the loss are ``criterion__gamma`` and so
    on; all other arguments are skorch's. Labels may be words, and are then predicted as words.

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


class FocalBinaryClassifier(_Words, _Posterior, skorch.NeuralNetBinaryClassifier):  # type: ignore[misc]
    """`skorch.NeuralNetBinaryClassifier` with `SigmoidFocalLoss`; the module returns one logit.

    ``predict_proba`` returns the two classes' posterior, and ``predict`` compares it with
    ``threshold``, not the sigmoid, which alpha and gamma have moved. Of two words the second in
    their order is the positive class.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from refocal.integrations.skorch import FocalBinaryClassifier
        >>> net = FocalBinaryClassifier(torch.nn.LazyLinear, module__out_features=1, verbose=0,
        ...                             train_split=None, max_epochs=1, criterion__alpha=0.5)
        >>> X, y = np.ones((6, 2), "float32"), np.arange(6, dtype="float32") % 2
        >>> net.fit(X, y).predict_proba(X).shape
        (6, 2)
        >>> net.fit(X, np.array(["no", "yes"] * 3)).classes_
        array(['no', 'yes'], dtype='<U3')
    """

    _count = 2

    def __init__(
        self, module: Any, *args: Any, criterion: Any = SigmoidFocalLoss, **kwargs: Any
    ) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)

    def _get_posterior(self, logits: Tensor) -> Tensor:
        odds = self.criterion_.posterior(logits, log_odds=True)
        return torch.sigmoid(torch.stack([-odds, odds], dim=-1))
