"""Makes the rows of the report, and the questions it answers, of what each split measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import precision_recall_curve

from refocal.comparison.data.table import Bools, Floats
from refocal.comparison.measuring import calibrate
from refocal.comparison.measuring.figures import MAIN, Figure
from refocal.comparison.measuring.gradient import gradient_shares
from refocal.comparison.measuring.intervals import LEVEL, Design, difference, estimate, spread
from refocal.comparison.measuring.measured import (
    Sample,
    SplitFigures,
    Trained,
    baselines,
    columns,
)
from refocal.comparison.measuring.scored import READINGS, Scored
from refocal.comparison.measuring.verdict import (
    ENOUGH_POSITIVES,
    judge,
    margin_of,
    positives_needed,
)
from refocal.comparison.results import (
    Curve,
    Decision,
    Estimate,
    LossResult,
    Pick,
    Probabilities,
    Question,
    Sampling,
)
from refocal.comparison.training.losses import Alpha, Loss
from refocal.comparison.training.scores import sigmoid

SECOND_LEVEL = 0.975
_POINTS = 200  # of a drawn curve


def summarise(
    splits: Sequence[Sequence[Trained]],
    measured: Sequence[SplitFigures],
    figures: Sequence[Figure],
    design: Design,
) -> list[LossResult]:
    """Return one result for each family of each model.

    Args:
        splits: what every family was judged by, for each split.
        measured: the figures of each split.
        figures: which were measured.
        design: what the splits are worth.
    """
    base = baselines(splits[0])
    return [
        _result(index, base[index], splits, measured, figures, design)
        for index in range(len(splits[0]))
    ]


def _result(
    index: int,
    base: int,
    splits: Sequence[Sequence[Trained]],
    measured: Sequence[SplitFigures],
    figures: Sequence[Figure],
    design: Design,
) -> LossResult:
    of_split = [split[index] for split in splits]
    losses = [one.scored.loss for one in of_split]
    usual, _ = Counter(losses).most_common(1)[0]
    # curves are those of the first split on which the usual loss was picked
    shown = losses.index(usual)
    drawn = of_split[shown].scored
    estimates: dict[str, Estimate] = {}
    gains: dict[str, Estimate] = {}
    for figure in figures:
        own = columns([one.figures[index][figure.name] for one in measured])
        estimates[figure.name] = estimate(*own, design, figure.scale)
        if figure.compared:
            values, variances = columns([one.gains[index][figure.name] for one in measured])
            if figure.scale == "share":
                before = columns([one.figures[base][figure.name] for one in measured])[0].mean()
                gains[figure.name] = difference(values, variances, design, base=float(before))
            else:
                gains[figure.name] = estimate(values, variances, design, "number")
    readings = [name for name in (*READINGS, "isotonic") if f"log_loss_{name}" in estimates]
    of_probabilities = {f"{what}_{name}" for name in readings for what in ("mean", "slope")}
    axes = of_split[0].model.axes
    return LossResult(
        model=of_split[0].model.name,
        name=of_split[0].family.name,
        role=of_split[0].family.role,
        loss=usual.name,
        alpha=_plain(usual.alpha),
        gamma=usual.gamma,
        link=usual.link,
        prior_bias=usual.prior_bias,
        synthetic=_plain(usual.synthetic),
        call=usual.call,
        posterior_call=_posterior_call(usual, drawn.data.table.sampling),
        picks=[
            Pick(
                loss=one.scored.loss.name,
                alpha=_plain(one.scored.loss.alpha),
                gamma=one.scored.loss.gamma,
                link=one.scored.loss.link,
                prior_bias=one.scored.loss.prior_bias,
                synthetic=_plain(one.scored.loss.synthetic),
                setting=one.picked.training.setting.words(axes),
                values=dict(one.picked.training.setting.values),
                start=one.picked.training.setting.start,
                steps=one.picked.fit.steps,
                trained=one.picked.trained,
                valid_average_precision=one.picked.fit.score,
                average_precision=of.figures[index][MAIN].value,
                findings=list(one.picked.findings),
            )
            for one, of in zip(of_split, measured, strict=True)
        ],
        valid_average_precision=float(np.mean([one.picked.fit.score for one in of_split])),
        figures={name: one for name, one in estimates.items() if name not in of_probabilities},
        gains=gains,
        readings={
            name: Probabilities(
                log_loss=estimates[f"log_loss_{name}"],
                mean=estimates[f"mean_{name}"],
                slope=estimates[f"slope_{name}"],
                reliability=_reliability(drawn, name),
            )
            for name in readings
        },
        precision_recall=_precision_recall(drawn.labels, drawn.scores, drawn.repeated_weights),
        gradient=gradient_shares(
            usual,
            drawn.labels,
            reference=_reference(splits[shown], index).fit.test_logits,
            fitted=drawn.fit.test_logits,
        ),
        thresholds={
            name: [None if np.isinf(x) else float(x) for x in at]
            for name, at in drawn.thresholds.items()
        },
        decisions=decisions([one.scored for one in of_split]),
        confusion=confusion([one.scored for one in of_split]),
    )


def _posterior_call(loss: Loss, sampling: Sampling | None) -> str:
    """Write how its probabilities are had, those of the whole table."""
    means = loss.meaning.arguments
    call = f"refocal.{loss.link}_posterior(logits, {means})"
    if sampling is None:
        return call
    if sampling.several:
        return sampling.rescaled(call)
    odds = f"refocal.sigmoid_posterior(logits, {means}, log_odds=True)"
    return f"torch.sigmoid({sampling.corrected(odds)})"


def _plain(alpha: Alpha) -> float | list[float] | None:
    return list(alpha) if isinstance(alpha, tuple) else alpha


def decisions(scored: Sequence[Scored]) -> list[Decision]:
    """Sum, for each class, what the threshold of least cost does over the test parts; where a share
    of the rows was read, scaled up to the whole table.

    Args:
        scored: of each split.
    """
    first = scored[0]
    miss = first.costs.miss
    found = []
    for k, name in enumerate(first.data.table.classes):
        labels = np.concatenate([one.labels[:, k] for one in scored])
        flagged = np.concatenate([one.flagged["cost"][:, k] for one in scored])
        at = float(np.median([_as_probability(one, k) for one in scored]))
        line = float(np.median([_by_line(one, k) for one in scored]))
        weights = np.concatenate(
            [np.ones(len(one.labels)) if one.weights is None else one.weights for one in scored]
        )
        rows = float(weights.sum())
        found_here, missed, alarms, passed = (
            float(weights[which].sum())
            for which in (
                labels & flagged,
                labels & ~flagged,
                ~labels & flagged,
                ~labels & ~flagged,
            )
        )
        found.append(
            Decision(
                name=name,
                probability=None if at >= 1.0 else at,
                by_line=None if first.data.kind == "multiclass" or line >= 1.0 else line,
                found=round(found_here),
                missed=round(missed),
                false_alarms=round(alarms),
                passed=round(passed),
                cost=(miss * missed + alarms) / rows,
                cost_of_none=miss * (found_here + missed) / rows,
                cost_of_all=(alarms + passed) / rows,
            )
        )
    return found


def _as_probability(one: Scored, k: int) -> float:
    """Return the threshold of least cost as a probability; 1 for one that flags nothing."""
    at = one.thresholds["cost"][k]
    if np.isinf(at):
        return 1.0
    if one.loss.link == "softmax":  # a log-probability
        return float(np.exp(min(at, 0.0)))
    return float(sigmoid(np.asarray(at)))


def _by_line(one: Scored, k: int) -> float:
    """Return the same by Platt scaling, whose probabilities rise with the scores."""
    at = one.thresholds["cost"][k]
    if np.isinf(at):
        return 1.0
    scores, said = one.scores[:, k], one.probabilities("platt")[:, k]
    order = np.argsort(scores)
    below = np.nextafter(said.min(), 0.0)  # what lies below every row flags them all
    return float(np.interp(at, scores[order], said[order], left=below))


def confusion(scored: Sequence[Scored]) -> list[list[int]] | None:
    """Return rows of each true class by the most probable class, for classes that exclude each
    other; where a share of the rows was read, scaled up to the whole table.
    """
    if scored[0].data.kind != "multiclass":
        return None
    classes = scored[0].labels.shape[1]
    counts = np.zeros((classes, classes))
    for one in scored:
        each = 1.0 if one.weights is None else one.weights
        np.add.at(counts, (one.labels.argmax(1), one.scores.argmax(1)), each)
    table: list[list[int]] = np.rint(counts).astype(np.int64).tolist()
    return table


def _reference(split: Sequence[Trained], index: int) -> Scored:
    """Return cross-entropy of the same model with the same link, or the loss itself without one."""
    one = split[index]
    for other in split:
        scored = other.scored
        same = other.model is one.model and scored.loss.link == one.scored.loss.link
        if same and scored.loss.plain:
            return scored
    return one.scored


# --- the questions -------------------------------------------------------------------------------


def questions(
    splits: Sequence[Sequence[Trained]],
    measured: Sequence[SplitFigures],
    design: Design,
    *,
    margin: float | None,
    limits: Sequence[str],
) -> list[Question]:
    """Return what is asked of every model: focal loss first, then the best other remedy.

    Args:
        splits: what every family was judged by, for each split.
        measured: the figures of each split.
        design: what the splits are worth.
        margin: the smallest difference worth having; None for `margin_of` validation rows.
        limits: why no verdict may be firm, beside too few positives and a single split.
    """
    base = baselines(splits[0])
    found = []
    limits = list(limits)
    if design.splits == 1 and not limits:
        limits.append("one split says nothing of what another seed would find")
    if design.positives < ENOUGH_POSITIVES:
        several = splits[0][0].scored.labels.shape[1] > 1
        of = " of the rarest class" if several else ""
        limits.append(f"{design.positives} test positives{of} in all are too few")
    for index, one in enumerate(splits[0]):
        if one.family.role == "baseline":
            continue
        least = margin if margin is not None else _margin(splits, base[index])
        others = [
            other
            for other, each in enumerate(splits[0])
            if each.model is one.model and each.family.role != one.family.role
        ]
        first = one.family.role == "focal"
        for other in others:
            if first and splits[0][other].family.role != "baseline":
                continue
            found.append(
                _question(
                    splits[0],
                    (index, other),
                    measured,
                    design,
                    margin=least,
                    level=LEVEL if first else SECOND_LEVEL,
                    limits=limits,
                )
            )
    return found


def _question(
    trained: Sequence[Trained],
    pair: tuple[int, int],
    measured: Sequence[SplitFigures],
    design: Design,
    *,
    margin: float,
    level: float,
    limits: Sequence[str],
) -> Question:
    values, variances = columns([one.pairs[pair] for one in measured])
    before = columns([one.figures[pair[1]][MAIN] for one in measured])[0].mean()
    found = difference(values, variances, design, level=level, base=float(before))
    verdict = judge(found, margin)
    needed = None
    width = spread(values, variances, design)
    if verdict == "undecided" and found.value is not None:
        needed = positives_needed(width, design.positives, margin, level)
        if needed:
            needed = max(needed, ENOUGH_POSITIVES)
    elif limits:
        verdict = "undecided"  # the figures would decide: what is lacking stands in the limits
    return Question(
        model=trained[pair[0]].model.name,
        family=trained[pair[0]].family.name,
        against=trained[pair[1]].family.name,
        verdict=verdict,
        difference=found,
        level=level,
        margin=margin,
        positives=design.positives,
        needed=needed,
        limits=list(limits),
        by_split=[None if np.isnan(value) else float(value) for value in values],
        widened=_widened(width.variance, [one.pairs[pair] for one in measured], design),
    )


def _widened(variance: float, samples: Sequence[Sample], design: Design) -> float:
    """Say by what factor reading a share of the rows widened an interval of this variance."""
    saved = float(np.mean([one.variance - one.with_all for one in samples])) / design.disjoint
    return 1.0 if saved <= 0 else float(np.sqrt(variance / (variance - saved)))


def _margin(splits: Sequence[Sequence[Trained]], baseline: int) -> float:
    """Take the margin from validation rows: what judges does not choose how strict it is."""
    of_split = [split[baseline] for split in splits]
    reached = float(np.mean([one.picked.fit.score for one in of_split]))
    rates = [one.scored.data.rates("valid").mean() for one in of_split]
    return margin_of(reached, float(np.mean(rates)))


def _reliability(one: Scored, reading: str) -> Curve:
    return calibrate.reliability(
        one.labels.ravel(), one.probabilities(reading).ravel(), one.repeated_weights
    )


def _precision_recall(labels: Bools, scores: Floats, weights: Floats | None = None) -> Curve:
    """Return precision against recall, thinned to what a drawing can show."""
    precision, recall, _ = precision_recall_curve(
        labels.ravel(), scores.ravel(), sample_weight=weights, drop_intermediate=True
    )
    # The last point is recall 0, precision 1 by definition and not a threshold: not drawn.
    precision, recall = precision[-2::-1], recall[-2::-1]
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, _POINTS)))
    return Curve(recall[kept].tolist(), precision[kept].tolist())
