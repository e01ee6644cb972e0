"""Focal objectives for XGBoost and LightGBM: one object, all four ways in which they call it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from refocal import inverse
from refocal.boosting import arguments, compiled, numeric, rowwise
from refocal.boosting.numeric import Array, Pair
from refocal.boosting.saved import python_number
from refocal.formula.in_numpy import BOOK
from refocal.messages import refuse

Derivatives = tuple[Array, Array]


def labels_and_weights(first: Any, second: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """What the two calling conventions of the hosts mean: (predictions, labels, weights).

    ``xgb.train`` and ``lgb.train`` call ``(predictions, data)``, where the data hold labels and
    weights; their scikit-learn wrappers call ``(labels, predictions, weights)``.
    """
    if hasattr(second, "get_label"):
        return first, second.get_label(), second.get_weight()
    return second, first, sample_weight


@dataclass(frozen=True)
class SigmoidFocalObjective:
    r"""Binary focal loss as a boosting objective.

    $$ g = \pm\alpha_t F'(s), \qquad h = \alpha_t\,(1 + \gamma)\,p\,|F'(s)| \ge \alpha_t F''(s),
    \qquad s = (2y - 1) z $$

    One object for ``xgb.train(obj=...)``, ``XGBClassifier(objective=...)``,
    ``lgb.train({"objective": ...})`` and ``LGBMClassifier(objective=...)``: it is hashable,
    picklable and cloneable, and `settings` is plain JSON. Sample weights are taken from the host,
    and multiply gradient and Hessian. ``CatBoostClassifier(loss_function=...)`` takes it too, with
    an ``eval_metric``; `FocalCatBoostClassifier` uses the loss that CatBoost has built in.

    What the host predicts are logits. Their sigmoid is not the probability: use `posterior`.

    Args:
        alpha: weight of the positive class in [0, 1]; negatives get ``1 - alpha``. None: no weight.
        gamma: focusing exponent >= 0, or a tuple ``(gamma_pos, gamma_neg)``; 0 is cross-entropy.
        class_weight: None, or further weights ``(negative, positive)``, which multiply.
        hessian: what stands for F'', which is negative below p_t = 0.0578 (gamma 2). "bound": the
            upper bound ``(1 + gamma) p |F'|``, never negative, cross-entropy's own at gamma 0.
            "absolute": ``|F''|``. "cross_entropy": ``p (1 - p)``. All three are held above 1e-16.
            "exact": F'' itself, which lets boosting diverge from a start below the inflection.
        detach_modulator: hold ``(1 - p_t)**gamma`` constant: a convex loss of its own.

    Raises:
        ValueError: alpha outside [0, 1], gamma < 0, an unknown hessian. When called: labels other
            than 0 and 1, negative weights, or XGBoost's default start of margin 0.5.
        TypeError: another wrong type.

    Example:
        >>> import numpy as np
        >>> from refocal.boosting import SigmoidFocalObjective
        >>> objective = SigmoidFocalObjective(alpha=0.25, gamma=2.0)
        >>> gradient, hessian = objective(np.array([1.0, 0.0]), np.array([0.0, 0.0]))
        >>> print(gradient.round(4), hessian.round(4))
        [-0.0746  0.2237] [0.1119 0.3356]

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5.
        https://arxiv.org/abs/1708.02002
    """

    no_jit: ClassVar[bool] = True  # CatBoost would have Numba compile the methods
    alpha: float | None = 0.25
    gamma: float | Pair = 2.0
    class_weight: Pair | None = None
    hessian: str = "bound"
    detach_modulator: bool = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        arguments.sigmoid_alpha(name, self.alpha)
        arguments.sigmoid_gamma(name, self.gamma)
        arguments.hessian(name, self.hessian)
        arguments.flag(name, "detach_modulator", self.detach_modulator)
        values = arguments.class_values(name, "class_weight", self.class_weight)
        arguments.per_class(name, "class_weight", values, 2)
        if isinstance(values, tuple):
            object.__setattr__(self, "class_weight", values)

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as plain JSON values."""
        return {name: python_number(value) for name, value in asdict(self).items()}

    @property
    def weights(self) -> Pair:
        """What multiplies the loss of a positive and of a negative."""
        positive, negative = arguments.sigmoid_alpha("SigmoidFocalObjective", self.alpha)
        if self.class_weight is None:
            return positive, negative
        return positive * self.class_weight[1], negative * self.class_weight[0]

    @property
    def gammas(self) -> Pair:
        """Exponents of a positive and of a negative."""
        return arguments.sigmoid_gamma("SigmoidFocalObjective", self.gamma)

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> Derivatives:
        """Gradient and Hessian of ``(predictions, data)`` or ``(labels, predictions, weights)``."""
        predictions, labels, weights = labels_and_weights(first, second, sample_weight)
        name = type(self).__name__
        labels = np.asarray(labels)
        margins = arguments.margins(name, predictions, len(labels), multiclass=False)
        arguments.check_start(name, margins, second)
        positive = arguments.binary_labels(name, labels)
        weight = arguments.sample_weight(name, weights, len(labels))
        settings: Any = {"hessian": self.hessian, "detached": self.detach_modulator}
        if compiled.supports(len(labels), self.gammas, self.hessian):
            return compiled.sigmoid_derivatives(
                margins, positive, self.weights, self.gammas[0], weight, **settings
            )
        return numeric.sigmoid_derivatives(
            margins, positive, self.weights, self.gammas, weight, **settings
        )

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
        """Slope and curvature ``(n, 2)`` of the negative loss, as CatBoost asks for them."""
        weights = None if weights is None else np.asarray(weights)
        gradient, curvature = self(np.asarray(targets), np.asarray(approxes), weights)
        return -np.column_stack([gradient, curvature])

    def losses(self, labels: npt.ArrayLike, margins: npt.ArrayLike) -> Array:
        """The loss of every row in nats, without sample weights. Shapes ``(n,)``."""
        name, labels = type(self).__name__, np.asarray(labels)
        z = arguments.margins(name, margins, len(labels), multiclass=False)
        positive = arguments.binary_labels(name, labels)
        return numeric.sigmoid_losses(z, positive, self.weights, self.gammas)

    def log_odds(self, margins: npt.ArrayLike) -> Array:
        """``log(P / (1 - P))`` of the host's raw predictions ``(n,)``, in closed form."""
        name = type(self).__name__
        z: Array = np.asarray(margins, dtype=np.float64)
        arguments.check_alpha_has_posterior(name, self.weights)
        return numeric.sigmoid_log_odds(z, self._log_weight, self.gammas, self.detach_modulator)

    def posterior(self, margins: npt.ArrayLike) -> Array:
        """Calibrated class probabilities ``(n, 2)`` of the host's raw predictions ``(n,)``.

        The closed form of `refocal.sigmoid_posterior`, under its conditions; class weights are
        undone as alpha is, sample weights are not.
        """
        odds = self.log_odds(margins)
        x = BOOK.decay(odds)
        small, large = x / (1 + x), 1 / (1 + x)
        p: Array = np.where(odds >= 0, large, small)
        return np.column_stack([np.where(odds >= 0, small, large), p])

    def start(self, labels: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """The focal-optimal constant: the logit of which the base rate is the posterior.

        Args:
            labels: ``(n,)``, 0 or 1, both present.
            sample_weight: ``(n,)`` or None.

        Returns:
            The constant that minimises the mean training loss; -1.544 at a base rate of 4.5 %
            with the default alpha and gamma.
        """
        name, labels = type(self).__name__, np.asarray(labels)
        positive = arguments.binary_labels(name, labels)
        weight = arguments.sample_weight(name, sample_weight, len(labels))
        counts = np.bincount(positive.astype(np.intp), weight, minlength=2)
        arguments.check_every_class(name, counts)
        arguments.check_alpha_has_posterior(name, self.weights)
        link = inverse.BinaryLink(self._log_weight, self.gammas, self.detach_modulator)
        return link.logit(math.log(counts[1]) - math.log(counts[0]))

    @property
    def _log_weight(self) -> float:
        positive, negative = self.weights
        return math.log(positive) - math.log(negative)


@dataclass(frozen=True)
class SoftmaxFocalObjective:
    r"""Multi-class focal loss as a boosting objective.

    $$ g_y = \alpha_y F'(s), \quad g_j = -\alpha_y F'(s)\,r_j, \qquad
    H = F''\,v v^\top - F'\,(\mathrm{diag}\,r - r r^\top), \quad v = e_y - r $$

    with ``r`` the softmax of the rivals of the true class. The hosts take the diagonal of H.
    Called like `SigmoidFocalObjective`; predictions may be ``(n, C)`` in C or Fortran order, or
    flat, class after class. ``CatBoostClassifier(loss_function=..., eval_metric="MultiClass")``
    takes it as well, with the whole of H, at some tens of microseconds for every row and round.

    Args:
        alpha: None, or one weight >= 0 per class.
        gamma: focusing exponent >= 0, or one per class; 0 is cross-entropy.
        hessian: what stands for F'' in the diagonal: "bound" ``(1 + gamma) p |F'|`` (only the
            ``F'' v v'`` term is replaced; what remains is an upper bound), "absolute", or
            "cross_entropy" for the diagonal ``p_k (1 - p_k)``. These are doubled, as in XGBoost's
            own softmax objective: all classes move at once, and twice the diagonal majorises
            cross-entropy's full Hessian. With two classes this makes the sigmoid's Newton step.
            "exact": the diagonal itself, which may be negative.
        detach_modulator: hold ``(1 - p_y)**gamma`` constant: a convex loss of its own.

    Raises:
        ValueError: a weight or gamma < 0, an unknown hessian. When called: labels other than
            0 to C - 1, negative weights, or XGBoost's default start of margin 0.5.
        TypeError: a number for alpha, or another wrong type.

    Example:
        >>> import numpy as np
        >>> from refocal.boosting import SoftmaxFocalObjective
        >>> gradient, hessian = SoftmaxFocalObjective()(np.array([0]), np.zeros((1, 3)))
        >>> print(gradient.round(3), hessian.round(3))
        [[-0.622  0.311  0.311]] [[1.244 0.622 0.622]]

    References:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017, eq. 5,
        with softmax probabilities. https://arxiv.org/abs/1708.02002
    """

    no_jit: ClassVar[bool] = True  # CatBoost would have Numba compile the methods
    alpha: tuple[float, ...] | None = None
    gamma: float | tuple[float, ...] = 2.0
    hessian: str = "bound"
    detach_modulator: bool = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        alpha = arguments.class_values(name, "alpha", self.alpha)
        object.__setattr__(self, "alpha", alpha if isinstance(alpha, tuple) else None)
        gamma = arguments.class_values(name, "gamma", self.gamma)
        object.__setattr__(self, "gamma", gamma)
        arguments.hessian(name, self.hessian)
        arguments.flag(name, "detach_modulator", self.detach_modulator)

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as plain JSON values."""
        return {name: python_number(value) for name, value in asdict(self).items()}

    def weights(self, classes: int) -> Array:
        """Class weights ``(C,)``."""
        weights = 1.0 if self.alpha is None else self.alpha
        return arguments.per_class(type(self).__name__, "alpha", weights, classes)

    def gammas(self, classes: int) -> Array:
        """Exponents ``(C,)``."""
        return arguments.per_class(type(self).__name__, "gamma", self.gamma, classes)

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> Derivatives:
        """Gradient and Hessian of ``(predictions, data)`` or ``(labels, predictions, weights)``."""
        predictions, labels, weights = labels_and_weights(first, second, sample_weight)
        name = type(self).__name__
        labels = np.asarray(labels)
        margins = arguments.margins(name, predictions, len(labels), multiclass=True)
        arguments.check_start(name, margins, second)
        classes = margins.shape[1]
        gradient, curvature = numeric.softmax_derivatives(
            margins,
            arguments.class_labels(name, labels, classes),
            self.weights(classes),
            self.gammas(classes),
            arguments.sample_weight(name, weights, len(labels)),
            hessian=self.hessian,
            detached=self.detach_modulator,
            factor=2.0,
        )
        if np.ndim(predictions) == 1:
            return gradient.ravel(order="F"), curvature.ravel(order="F")
        return gradient, curvature

    def calc_ders_multi(
        self, approxes: Any, target: Any, weight: Any
    ) -> tuple[list[float], list[list[float]]]:
        """Slopes ``(C,)`` and curvature ``(C, C)`` of one row's negative loss, for CatBoost.

        It asks row by row, and twice in a round: some tens of microseconds for each. It takes the
        whole Hessian, which "bound" majorises without being doubled.
        """
        logits, y = list(map(float, approxes)), int(target)
        c = len(logits)
        if self.alpha is not None and len(self.alpha) != c:
            self.weights(c)
        if isinstance(self.gamma, tuple) and len(self.gamma) != c:
            self.gammas(c)
        gamma = self.gamma[y] if isinstance(self.gamma, tuple) else self.gamma
        gradient, rows = rowwise.softmax_row(
            logits, y, float(gamma), self.hessian, self.detach_modulator
        )
        factor = -float(weight) * (1.0 if self.alpha is None else self.alpha[y])
        return [factor * one for one in gradient], [[factor * one for one in row] for row in rows]

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> NoReturn:
        """Refuses CatBoost where it takes the loss for one of a single logit."""
        raise refuse(
            type(self).__name__,
            "eval_metric",
            'be "MultiClass" in CatBoost',
            "one of which CatBoost does not know that it is of several classes",
            "For other metrics use FocalCatBoostClassifier.",
        )

    def losses(self, labels: npt.ArrayLike, margins: npt.ArrayLike) -> Array:
        """The loss of every row in nats, without sample weights. Shapes ``(n,)`` and ``(n, C)``."""
        name, labels = type(self).__name__, np.asarray(labels)
        z = arguments.margins(name, margins, len(labels), multiclass=True)
        c = z.shape[1]
        index = arguments.class_labels(name, labels, c)
        return numeric.softmax_losses(z, index, self.weights(c), self.gammas(c))

    def posterior(self, margins: npt.ArrayLike) -> Array:
        """Calibrated class probabilities ``(n, C)`` of the host's raw predictions ``(n, C)``.

        The closed form of `refocal.softmax_posterior`, under its conditions.
        """
        z: Array = np.asarray(margins, dtype=np.float64)
        c = z.shape[1]
        arguments.check_alpha_has_posterior(type(self).__name__, self.weights(c))
        return numeric.softmax_posterior(z, self.weights(c), self.gammas(c), self.detach_modulator)

    def start(
        self, labels: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> list[float]:
        """The focal-optimal constants, one per class, of mean 0.

        Their posterior is the class frequencies, all of which must be > 0.
        """
        name, labels = type(self).__name__, np.asarray(labels)
        c = len(self.alpha) if self.alpha is not None else int(labels.max(initial=0)) + 1
        index = arguments.class_labels(name, labels, c)
        weight = arguments.sample_weight(name, sample_weight, len(labels))
        counts = np.bincount(index, weight, minlength=c)
        arguments.check_every_class(name, counts)
        arguments.check_alpha_has_posterior(name, self.weights(c))
        link = inverse.SoftmaxLink(
            tuple(self.weights(c).tolist()), tuple(self.gammas(c).tolist()), self.detach_modulator
        )
        return link.logits((counts / counts.sum()).tolist())
