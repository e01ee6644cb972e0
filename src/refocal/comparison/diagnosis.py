"""What logits that you already have say about focal loss: no training."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from refocal.budget import GradientBudget, Suggestion, gradient_budget, suggest
from refocal.comparison.data.table import Bools, one_hot
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.measuring import calibrate, likelihood
from refocal.comparison.measuring.likelihood import CalibrationTest
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.scores import log_odds, log_probabilities
from refocal.probabilities import TemperatureFit, fit_temperature

_FEWEST = 10


@dataclass(frozen=True)
class Reading:
    """Probabilities read from the logits in one way.

    Attributes:
        log_loss: mean in nats.
        mean: mean probability of the positive class (of several: of the commonest).
        slope: calibration slope, 1 is right; None where undefined.
    """

    log_loss: float
    mean: float
    slope: float | None


@dataclass(frozen=True)
class Diagnosis:
    """The findings; print it.

    Attributes:
        rows: how many.
        link: "sigmoid" for one column of logits, "softmax" for several.
        base_rates: share of each class; of a binary task that of the positives.
        base_rate_log_loss: of the class frequencies alone.
        raw: the plain sigmoid or softmax.
        posterior: the closed form, if alpha and gamma were told.
        temperature: fitted to the closed form (or to the raw logits), on all rows.
        tempered: with that temperature, on the same rows.
        test: of the calibration of the closed form (or of the raw logits); None where no line is
            best, as when a threshold separates the classes.
        suspicion: what the logits may be instead; None where nothing speaks against them.
        budget: of the gradient, for the loss told or for the paper's.
        suggestion: (alpha, gamma) candidates; None for several classes.
    """

    rows: int
    link: str
    base_rates: list[float]
    base_rate_log_loss: float
    raw: Reading
    posterior: Reading | None
    temperature: float
    tempered: Reading
    test: CalibrationTest | None
    suspicion: str | None
    budget: GradientBudget
    suggestion: Suggestion | None

    def to_dict(self) -> dict[str, Any]:
        """Make plain data of it, for JSON."""
        return {"schema": "refocal.diagnosis/2", **asdict(self)}

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:.3%}" for rate in self.base_rates[:10])
        lines = [] if self.suspicion is None else [self.suspicion, ""]
        lines += [
            f"{self.rows:,} rows, {self.link}, base rate {rates}",
            "",
            f"{'':26}{'log loss':>10}{'mean':>10}{'slope':>8}",
            f"{'base rate alone':26}{self.base_rate_log_loss:10.4f}",
        ]
        name = f"temperature {self.temperature:.3g}"
        for title, reading in (
            (f"plain {self.link}", self.raw),
            ("closed-form posterior", self.posterior),
            (name, self.tempered),
        ):
            if reading is not None:
                slope = "–" if reading.slope is None else f"{reading.slope:.2f}"
                lines.append(f"{title:26}{reading.log_loss:10.4f}{reading.mean:10.3%}{slope:>8}")
        lines += ["", self.verdict]
        if self.test is not None:
            intercept = "" if self.test.intercept is None else f", {self.test.intercept:+.3f}"
            lines.append(
                f"Calibration slope{' and intercept' if intercept else ''}: {self.test.slope:.3f}"
                f"{intercept}; likelihood-ratio test p = {self.test.p:.2g}."
            )
        lines += ["", str(self.budget)]
        if self.suggestion is not None:
            lines += ["", str(self.suggestion)]
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """Which probabilities to believe, in one or two sentences."""
        best = self.raw if self.posterior is None else self.posterior
        name = f"the plain {self.link}" if self.posterior is None else "the closed form"
        if min(best.log_loss, self.tempered.log_loss) >= self.base_rate_log_loss:
            return "None of these probabilities beats the base rate: do not use them."
        if self.test is not None and self.test.miscalibrated:
            line = f"line through the log-odds (Platt scaling) by {self.test.gain:.2g} nats a row"
            cure = f"A {line} does better than {name}"
            if self.test.temperature_helps:
                cure = (
                    f"A temperature does better than {name}, by {self.test.slope_gain:.2g} nats a"
                    " row"
                )
                if not self.test.temperature_is_enough:
                    cure += f", and a {line}"
            return (
                f"{cure}: the model is not at the optimum of its loss (overfit, or trained too"
                " little), or it was trained with another alpha and gamma than was told. Fit it on"
                " held-out data."
            )
        return f"Use {name}: a temperature would not improve it."


def diagnose(
    logits: ArrayLike | Tensor,
    targets: ArrayLike | Tensor,
    *,
    alpha: float | None = None,
    gamma: float | None = None,
) -> Diagnosis:
    """Return gradient budget, calibration and candidates from logits and targets.

    Args:
        logits: of a model on data it has not seen, a tensor or an array: `(n,)` or `(n, 1)` for two
            classes, `(n, C)` for classes that exclude each other.
        targets: `(n,)`: 0 or 1, or class indices.
        alpha: of the focal loss the model was trained with; a number, sigmoid only.
        gamma: of that loss; None for a model trained with cross-entropy.

    Raises:
        CompareError: shapes or values that do not belong together.
    """
    z, labels, softmax = _checked(logits, targets, alpha, gamma)
    told = Loss("", alpha, gamma or 0.0, "softmax" if softmax else "sigmoid")
    index = torch.from_numpy(labels.argmax(1) if softmax else labels[:, 0].astype(np.float32))
    shaped = z if softmax else z[:, 0]
    fitted: TemperatureFit = fit_temperature(shaped, index, link=told.link, **told.settings)
    rates = labels.mean(0)
    every = rates if softmax else np.append(rates, 1 - rates)
    asked = told if not told.plain else Loss("", None if softmax else 0.25, 2.0, told.link)
    trained = None if told.plain else told.settings
    raw = log_odds(told, z, closed_form=False)
    closed = log_odds(told, z)
    return Diagnosis(
        rows=len(z),
        link=told.link,
        base_rates=rates.tolist(),
        base_rate_log_loss=float(-(every * np.log(every)).sum()),
        raw=_reading(raw, labels, softmax),
        posterior=None if told.plain else _reading(closed, labels, softmax),
        temperature=fitted.temperature,
        tempered=_reading(closed / fitted.temperature, labels, softmax),
        test=_test(closed, labels, softmax),
        suspicion=_suspicion(z),
        budget=gradient_budget(
            shaped, index, link=told.link, trained_with=trained, **asked.settings
        ),
        suggestion=None if softmax else suggest(shaped, index, trained_with=trained),
    )


def _test(said: Tensor, labels: Bools, softmax: bool) -> CalibrationTest | None:
    if softmax:
        log_p = torch.log_softmax(said, 1).numpy()
        return likelihood.of_log_probabilities(labels.argmax(1), log_p)
    return likelihood.of_log_odds(labels[:, 0], said[:, 0].numpy())


def _suspicion(logits: Tensor) -> str | None:
    """Return probabilities are often saved where logits were asked for."""
    if not bool(((logits >= 0) & (logits <= 1)).all()):
        return None
    return (
        "Are these probabilities? All logits lie between 0 and 1, where logits rarely do: pass what"
        " the network returns before its sigmoid or softmax, or log(p / (1 - p))."
    )


def _reading(said: Tensor, labels: Bools, softmax: bool) -> Reading:
    kind = "multiclass" if softmax else "binary"
    present, absent = log_probabilities(kind, said, softmax=softmax)  # type: ignore[arg-type]
    mask = torch.from_numpy(labels)
    losses = -present[mask] if softmax else -torch.where(mask, present, absent)
    line = calibrate.fit_line(labels.ravel(), (present - absent).numpy().ravel())
    commonest = int(labels.sum(0).argmax())
    mean = present[:, commonest].exp().mean().item()
    return Reading(losses.mean().item(), mean, None if line is None else line.slope)


def _checked(
    logits: ArrayLike | Tensor,
    targets: ArrayLike | Tensor,
    alpha: float | None,
    gamma: float | None,
) -> tuple[Tensor, Bools, bool]:
    given, y = _doubles(logits, "logits"), _doubles(targets, "targets")
    z = given[:, None] if given.dim() == 1 else given
    if z.dim() != 2 or y.dim() != 1 or len(y) != len(z):
        raise CompareError(
            "logits must be (n,) or (n, C) and targets (n,), got"
            f" {tuple(given.shape)} and {tuple(y.shape)}."
        )
    if not bool(z.isfinite().all()):
        raise CompareError("logits must be finite.")
    classes = max(z.shape[1], 2)
    if not bool((y == y.round()).all()) or not bool(((y >= 0) & (y < classes)).all()):
        raise CompareError(f"targets must be whole numbers from 0 to {classes - 1}.")
    softmax = z.shape[1] > 1
    if softmax and alpha is not None:
        raise CompareError(
            f"{argument('alpha')} belongs to one column of logits; several take none."
        )
    if alpha is not None and not 0 < alpha < 1:
        raise CompareError(f"{argument('alpha')} must be between 0 and 1, got {alpha:g}.")
    if gamma is not None and not 0 <= gamma < math.inf:
        raise CompareError(f"{argument('gamma')} must be 0 or more, got {gamma:g}.")
    labels = one_hot(y.long().numpy(), classes)
    if not softmax:
        labels = labels[:, 1:]
    counts = labels.sum(0)
    if counts.min() < _FEWEST or (len(z) - counts).min() < _FEWEST:
        raise CompareError(f"every class must have at least {_FEWEST} rows, got {counts.tolist()}.")
    return z, labels, softmax


def _doubles(values: ArrayLike | Tensor, name: str) -> Tensor:
    """Return a tensor of any device, or an array of any kind of number, as float64 on the CPU."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double()
    try:
        return torch.from_numpy(np.array(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise CompareError(f"{name} must be numbers, got {type(values).__name__}.") from error


def diagnosis_json(diagnosis: Diagnosis) -> str:
    """Return the findings as the text of a JSON file."""
    return json.dumps(diagnosis.to_dict(), indent=1, allow_nan=False) + "\n"
