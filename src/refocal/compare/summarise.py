"""From scored candidates on each split to the rows of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import precision_recall_curve

from refocal.compare import calibrate
from refocal.compare.gradient import gradient_shares
from refocal.compare.intervals import bootstrap_estimate, bootstrap_weights, repeated_estimate
from refocal.compare.measure import FIGURES, READINGS, Scored
from refocal.compare.plan import Plan
from refocal.compare.results import Curve, Estimate, LossResult, Probabilities
from refocal.compare.table import Bools, Floats

_POINTS = 200  # of a drawn curve


def summarise(
    models: Sequence[str],
    scored: Sequence[Sequence[Scored]],
    rates: Sequence[Sequence[float]],
    plan: Plan,
) -> list[LossResult]:
    """One result for each candidate.

    Args:
        models: the model of each candidate; cross-entropy is the first of each model.
        scored: for each split, the candidates at their best learning rates.
        rates: those learning rates.
        plan: the resamples and the seed.
    """
    values = _figures(scored, plan)
    first = scored[0]
    baseline = [models.index(name) for name in models]
    names = list(FIGURES)
    if len(values) > len(names):
        names += [f"average_precision/{name}" for name in first[0].data.table.classes]
    test_to_train = float(
        np.mean([row[0].data.split.test.size / row[0].data.split.train.size for row in scored])
    )

    def estimate(of: Floats) -> Estimate:
        if len(scored) > 1:
            return repeated_estimate(of, test_to_train)
        return bootstrap_estimate(float(of[0]), of[1:])

    results = []
    for index, one in enumerate(first):
        own, base = values[:, index], values[:, baseline[index]]
        splits = [row[index] for row in scored]
        candidate = one.candidate
        reference = _reference(first, models, index)
        results.append(
            LossResult(
                model=models[index],
                name=candidate.name,
                alpha=list(candidate.alpha)
                if isinstance(candidate.alpha, tuple)
                else candidate.alpha,
                gamma=candidate.gamma,
                link=candidate.link,
                prior_bias=candidate.prior_bias,
                call=candidate.call,
                posterior_call=f"refocal.{candidate.link}_posterior(logits, {candidate.arguments})",
                learning_rates=[row[index] for row in rates],
                steps=[each.fit.steps for each in splits],
                valid_average_precision=float(np.mean([each.fit.score for each in splits])),
                figures={name: estimate(own[k]) for k, name in enumerate(names)},
                gains={name: estimate(own[k] - base[k]) for k, name in enumerate(names)},
                readings={
                    name: _probabilities(
                        splits, name, estimate(own[FIGURES.index(f"log_loss_{name}")])
                    )
                    for name in READINGS
                },
                precision_recall=_precision_recall(one.labels, one.scores),
                gradient=gradient_shares(
                    candidate,
                    one.labels,
                    reference=reference.fit.test_logits,
                    fitted=one.fit.test_logits,
                ),
                thresholds={
                    name: [None if np.isinf(x) else float(x) for x in at]
                    for name, at in one.thresholds.items()
                },
            )
        )
    return results


def _figures(scored: Sequence[Sequence[Scored]], plan: Plan) -> Floats:
    """`(figures, candidates, samples)`: for one split the value and its resamples, else splits."""
    samples = [np.stack([one.figures(np.ones(len(one.labels))) for one in row]) for row in scored]
    if len(scored) == 1:
        data = scored[0][0].data
        weights = bootstrap_weights(
            data.labels("test"), data.groups("test"), resamples=plan.resamples, seed=plan.seed
        )
        samples += [np.stack([one.figures(drawn) for one in scored[0]]) for drawn in weights]
    values: Floats = np.stack(samples).transpose(2, 1, 0)
    return values


def _reference(first: Sequence[Scored], models: Sequence[str], index: int) -> Scored:
    """Cross-entropy of the same model with the same link."""
    link = first[index].candidate.link
    return next(
        one
        for one, model in zip(first, models, strict=True)
        if model == models[index] and one.candidate.link == link and one.candidate.plain
    )


def _probabilities(splits: Sequence[Scored], reading: str, log_loss: Estimate) -> Probabilities:
    lines = [
        calibrate.fit_line(one.labels.ravel(), one.reading_log_odds(reading).ravel())
        for one in splits
    ]
    slopes = [line.slope for line in lines if line is not None]
    p = splits[0].probabilities(reading)
    return Probabilities(
        log_loss=log_loss,
        mean=float(np.mean([one.probabilities(reading).mean() for one in splits])),
        slope=float(np.mean(slopes)) if len(slopes) == len(splits) else None,
        reliability=calibrate.reliability(splits[0].labels.ravel(), p.ravel()),
    )


def _precision_recall(labels: Bools, scores: Floats) -> Curve:
    """Precision against recall, thinned to what a drawing can show."""
    precision, recall, _ = precision_recall_curve(
        labels.ravel(), scores.ravel(), drop_intermediate=True
    )
    # The last point is recall 0, precision 1 by definition and not a threshold: not drawn.
    precision, recall = precision[-2::-1], recall[-2::-1]
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, _POINTS)))
    return Curve(recall[kept].tolist(), precision[kept].tolist())
