"""From scored candidates on each split to the rows of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import precision_recall_curve

from refocal.compare import calibrate
from refocal.compare.data.table import Bools, Floats
from refocal.compare.gradient import gradient_shares
from refocal.compare.intervals import bootstrap_estimate, bootstrap_weights, repeated_estimate
from refocal.compare.measure import MEANS, MEASURED, READINGS, SLOPES, Scored
from refocal.compare.plan import Plan
from refocal.compare.results import Curve, Estimate, LossResult, Probabilities

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
    names = list(MEASURED)
    if len(values) > len(names):
        names += [f"average_precision/{name}" for name in first[0].data.table.classes]
    of_probabilities = {*MEANS, *SLOPES}
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
        estimates = {name: estimate(own[k]) for k, name in enumerate(names)}
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
                figures={
                    name: one for name, one in estimates.items() if name not in of_probabilities
                },
                gains={
                    name: estimate(own[k] - base[k])
                    for k, name in enumerate(names)
                    if name not in of_probabilities
                },
                readings={
                    name: Probabilities(
                        log_loss=estimates[f"log_loss_{name}"],
                        mean=estimates[f"mean_{name}"],
                        slope=estimates[f"slope_{name}"],
                        reliability=_reliability(one, name),
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


def _reliability(one: Scored, reading: str) -> Curve:
    return calibrate.reliability(one.labels.ravel(), one.probabilities(reading).ravel())


def _precision_recall(labels: Bools, scores: Floats) -> Curve:
    """Precision against recall, thinned to what a drawing can show."""
    precision, recall, _ = precision_recall_curve(
        labels.ravel(), scores.ravel(), drop_intermediate=True
    )
    # The last point is recall 0, precision 1 by definition and not a threshold: not drawn.
    precision, recall = precision[-2::-1], recall[-2::-1]
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, _POINTS)))
    return Curve(recall[kept].tolist(), precision[kept].tolist())
