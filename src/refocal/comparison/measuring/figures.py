"""The figures of a comparison, in one table: what each is, of what kind, and how a row moves it.

A new figure is one entry here and one cell of the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from refocal.comparison.data.table import Floats
from refocal.comparison.measuring import calibrate, influence
from refocal.comparison.measuring.influence import Measure
from refocal.comparison.measuring.intervals import Scale
from refocal.comparison.measuring.scored import ISOTONIC, READINGS, Scored

Measured: TypeAlias = Callable[[Scored], Measure]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: in `results.json`, `results.csv` and the page.
        scale: how its interval is formed.
        of: its value on the test rows of a split, and each row's influence on it.
        compared: whether its difference from cross-entropy is of interest.
    """

    name: str
    scale: Scale
    of: Measured
    compared: bool = True


def _by_class(measure: Callable[[Scored, int], Measure]) -> Measured:
    """Return the mean over classes."""
    return lambda one: influence.average([measure(one, k) for k in range(one.labels.shape[1])])


def _average_precision(one: Scored, k: int) -> Measure:
    return influence.average_precision(one.scores[:, k], one.labels[:, k], one.weights)


def _area(one: Scored, k: int) -> Measure:
    return influence.area(one.scores[:, k], one.labels[:, k], one.weights)


def _recall(point: str) -> Measured:
    return _by_class(
        lambda one, k: influence.share(
            one.flagged[point][:, k] & one.labels[:, k], one.labels[:, k], one.weights
        )
    )


def _precision(point: str) -> Measured:
    return _by_class(
        lambda one, k: influence.share(
            one.flagged[point][:, k] & one.labels[:, k], one.flagged[point][:, k], one.weights
        )
    )


def _top(one: Scored, k: int) -> Measure:
    return influence.precision_at(one.costs.top, one.scores[:, k], one.labels[:, k], one.weights)


def _cost(point: str) -> Measured:
    def of(one: Scored) -> Measure:
        flagged = one.flagged[point]
        each = np.where(one.labels, one.costs.miss * ~flagged, 1.0 * flagged)
        return influence.mean(each.mean(1), one.weights)

    return of


def _log_loss(reading: str) -> Measured:
    def of(one: Scored) -> Measure:
        present, absent = one.readings[reading]
        labels = torch.from_numpy(one.labels)
        if one.data.kind == "multiclass":
            each = -torch.where(labels, present, torch.zeros_like(present)).sum(1)
        else:
            each = -torch.where(labels, present, absent).mean(1)
        return influence.mean(each.numpy(), one.weights)

    return of


def _platt_gain(one: Scored) -> Measure:
    """What Platt scaling takes off the closed form's log loss, paired by rows."""
    before, after = (_log_loss(name)(one) for name in ("posterior", "platt"))
    return Measure(before.value - after.value, before.influence - after.influence)


def _brier(one: Scored) -> Measure:
    """The mean squared error of the closed form's probabilities; over all classes in a multi-class
    task, and averaged over labels of their own.
    """
    squares = np.square(one.probabilities("posterior") - one.labels)
    each = squares.sum(1) if one.data.kind == "multiclass" else squares.mean(1)
    return influence.mean(each, one.weights)


def _calibration_error(one: Scored, k: int) -> Measure:
    """The expected calibration error of the closed form: by how much the mean probability and the
    rate of positives differ in a bin, averaged over the rows. Bins hold equally many rows each.

    Chance alone keeps it above 0; the slope says in which direction a model errs.
    """
    p, labels = one.probabilities("posterior")[:, k], one.labels[:, k]
    weights = np.ones(len(p)) if one.weights is None else one.weights
    index = calibrate.bins_of(p, labels)
    off = np.bincount(index, weights * (labels - p))
    each = np.sign(off)[index] * (labels - p)
    return influence.mean(each, one.weights)


def _mean(reading: str) -> Measured:
    return lambda one: influence.mean(one.probabilities(reading).mean(1), one.weights)


def _slope(reading: str) -> Measured:
    def of(one: Scored) -> Measure:
        odds, labels = one.reading_log_odds(reading).ravel(), one.labels.ravel()
        # weights that all rows of a class share move the intercept alone, and slopes are best told
        # without them (Prentice, Pyke, Biometrika 66, 1979); rivals of several classes do not share
        weights = one.repeated_weights if one.labels.shape[1] > 1 else None
        line = calibrate.fit_line(labels, odds, weights)
        if line is None:
            return influence.undefined(len(one.labels))
        pulls: Floats = calibrate.slope_pulls(line, labels, odds, weights) / len(labels)
        return Measure(line.slope, pulls.reshape(one.labels.shape).sum(1))

    return of


def _f1(one: Scored, k: int) -> Measure:
    """F1 of the most probable class: twice what was right over what was said and what was true."""
    said = one.scores.argmax(1) == k
    truth = one.labels[:, k]
    return influence.share(2.0 * (said & truth), 1.0 * said + truth, one.weights)


def _f1_reached(one: Scored, k: int) -> Measure:
    """F1 above the threshold that had the best on validation rows."""
    said, truth = one.flagged["f1"][:, k], one.labels[:, k]
    return influence.share(2.0 * (said & truth), 1.0 * said + truth, one.weights)


MACRO_F1 = Figure("macro_f1", "share", _by_class(_f1))
MAIN = "average_precision"
FIGURES: tuple[Figure, ...] = (
    Figure(MAIN, "share", _by_class(_average_precision)),
    Figure("roc_auc", "share", _by_class(_area)),
    Figure("recall_at_precision", "share", _recall("precision")),
    Figure("precision_reached", "share", _precision("precision")),
    Figure("precision_at_recall", "share", _precision("recall")),
    Figure("recall_reached", "share", _recall("recall")),
    Figure("precision_at_top", "share", _by_class(_top)),
    Figure("f1", "share", _by_class(_f1_reached)),
    Figure("cost", "amount", _cost("cost")),
    Figure("cost_by_posterior", "amount", _cost("posterior")),
    Figure("platt_gain", "number", _platt_gain, compared=False),
    Figure("brier", "amount", _brier),
    Figure("calibration_error", "amount", _by_class(_calibration_error)),
)


def of_reading(reading: str) -> tuple[Figure, ...]:
    """List the figures of one reading: log loss, mean, and slope of its calibration."""
    return (
        Figure(f"log_loss_{reading}", "amount", _log_loss(reading)),
        Figure(f"mean_{reading}", "share", _mean(reading), compared=False),
        Figure(f"slope_{reading}", "number", _slope(reading), compared=False),
    )


def of_class(name: str, k: int) -> Figure:
    """Return average precision of one class."""
    return Figure(f"{MAIN}/{name}", "share", lambda one: _average_precision(one, k))


def figures_of(
    classes: tuple[str, ...], *, isotonic: bool, multiclass: bool = False
) -> list[Figure]:
    """Return every figure of a comparison, in the order of its files.

    Args:
        classes: of the table.
        isotonic: whether every split has enough validation positives for that reading.
        multiclass: whether the classes exclude each other, so that one of them is said.
    """
    readings = (*READINGS, ISOTONIC) if isotonic else READINGS
    found = [*FIGURES, *(figure for reading in readings for figure in of_reading(reading))]
    if multiclass:
        found.append(MACRO_F1)
    if len(classes) > 1:
        found += [of_class(name, k) for k, name in enumerate(classes)]
    return found
