"""`winner.py`: a script of one's own that trains what was recommended, and predicts new rows.

What it needs of the results is written into it as numbers; the training is there to be read and
changed. `winner.py --check` trains the pick of the first split again and prints its figure.
"""

from __future__ import annotations

import statistics
import textwrap
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from refocal.boosting import CLASSIFIERS, numeric
from refocal.comparison.data.synthetic import filled_counts
from refocal.comparison.plan import Plan
from refocal.comparison.report.recommend import takes_line
from refocal.comparison.results import LossResult, Pick, Results, Source
from refocal.comparison.training.losses import Alpha, Link, Loss
from refocal.comparison.training.named import NAMES
from refocal.comparison.training.settings import Setting
from refocal.comparison.training.trees import params_of, scale_of
from refocal.formula.in_numpy import BOOK

_WIDTH = 92  # of a line


def why_not(results: Results) -> str | None:
    """Why there is no script; None where there is one."""
    if results.data.source is None:
        return (
            "The data came from Python and not from a file that a script could read again. Save"
            " them as a file and compare that."
        )
    if results.recommendation.model not in NAMES:
        return f"{results.recommendation.model} is a model of yours, which a script cannot write."
    return None


def script(results: Results) -> str:
    """The text of `winner.py`.

    Raises:
        ValueError: there is none, as `why_not` says.
    """
    source, chosen = results.data.source, results.chosen()
    if source is None or why_not(results) is not None:
        raise ValueError(f"script: {why_not(results)}")
    # no escaping: what comes from the data goes in as Python literals, by repr
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = (files(__package__) / "winner.py.j2").read_text("utf-8")
    usual = _usual(chosen)
    effort = Plan(quick=results.protocol.quick).effort
    return environment.from_string(template).render(
        lit=repr,
        wrapped=_wrapped,
        answer=results.recommendation.headline,
        model=chosen.model,
        trees=CLASSIFIERS.get(chosen.model),
        links=sorted({chosen.picks[0].link, usual.link}),
        columns=len(results.data.classes) > 1 and {chosen.picks[0].link, usual.link} != {"softmax"},
        sampling=results.data.sampling,
        rounds=effort.rounds,
        patience=effort.patience,
        logloss=chosen.model == "catboost" and usual.gamma == 0,
        path=source.path,
        read=_read(source),
        rows=results.data.rows,
        protocol=results.protocol,
        synthetic=any(one.synthetic is not None for one in (chosen.picks[0], usual)),
        first=_settings(results, chosen.picks[0]),
        winner=_settings(results, usual),
        platt=takes_line(chosen, results.data.base_rate_log_loss),
        reported=chosen.picks[0].average_precision,
    )


def _wrapped(pick: dict[str, Any]) -> str:
    """Python source of a pick, which holds no spaces but those between its parts."""
    lines = textwrap.wrap(
        repr(pick), _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def _read(source: Source) -> dict[str, Any]:
    """Keywords of `read_table`, those that were given."""
    every: dict[str, Any] = {
        "target": source.target,
        "positive": source.positive,
        "groups": source.groups,
        "time_order": source.time_order,
        "drop": source.drop,
        "rows": source.rows,
    }
    return {name: value for name, value in every.items() if value} if source.path else {}


def _usual(chosen: LossResult) -> Pick:
    """The loss that most splits picked; of each setting the middle one of those splits."""
    own = [pick for pick in chosen.picks if pick.loss == chosen.loss]
    values = {
        name: statistics.median_low([pick.values[name] for pick in own]) for name in own[0].values
    }
    steps = statistics.median_low([pick.steps for pick in own])
    return replace(own[0], values=values, start=0, steps=steps)


def _settings(results: Results, pick: Pick) -> dict[str, Any]:
    """What the script trains a pick with."""
    seed = Plan(seed=results.protocol.seed).seed_of(0, pick.start)
    model = results.chosen().model
    loss = _loss(pick)
    found: dict[str, Any] = {"alpha": pick.alpha, "gamma": pick.gamma, "link": pick.link}
    if pick.synthetic is not None:
        found |= {"synthetic": pick.synthetic, "seed": seed}
    if model == "mlp":
        return found | {
            "rate": pick.values["rate"],
            "epochs": int(pick.values["epochs"]),
            "decay": pick.values["decay"],
            "prior_bias": pick.prior_bias,
            "seed": seed,
        }
    if model == "logistic":
        found["penalty"] = [pick.values["ridge"] * one for one in _curvatures(results, loss)]
        # the sigmoid's mean is over all columns, which were trained each for itself
        found["columns"] = len(found["penalty"]) if pick.link == "sigmoid" else 1
        return found
    setting = Setting(tuple(pick.values.items()))
    boosters = []
    for alpha, counts in _columns(results, loss):
        params = params_of(model, setting, scale_of(loss, alpha, counts), seed)
        boosters.append(
            {"alpha": list(alpha) if isinstance(alpha, tuple) else alpha, "gamma": pick.gamma}
            | params
        )
    return found | {"trees": pick.steps, "boosters": boosters}


def _loss(pick: Pick) -> Loss:
    alpha: Alpha = tuple(pick.alpha) if isinstance(pick.alpha, list) else pick.alpha
    link: Link = "softmax" if pick.link == "softmax" else "sigmoid"
    made = tuple(pick.synthetic) if isinstance(pick.synthetic, list) else pick.synthetic
    return Loss(pick.loss, alpha, pick.gamma, link, pick.prior_bias, made)


def _columns(results: Results, loss: Loss) -> list[tuple[Any, Any]]:
    """Alpha and class counts of each booster: one for all classes, or one for each."""
    train = results.data.parts[0]
    if loss.link == "softmax":
        return [(loss.alpha, filled_counts(np.array(train.positives), loss.synthetic))]
    return [
        (alpha, filled_counts(np.array([train.rows - count, count]), loss.synthetic))
        for alpha, count in zip(loss.alphas(len(train.positives)), train.positives, strict=True)
    ]


def _curvatures(results: Results, loss: Loss) -> list[float]:
    """What a ridge is measured by: the mean curvature of the loss where all logits are 0.

    The sigmoid's margins are 0 there. A softmax of C classes has margins of -log(C - 1) and rivals
    of equal weight q = 1 / (C - 1); the trace of its Hessian is F''(1 + q) - F'(1 - q).
    """
    found = []
    for alpha, counts in _columns(results, loss):
        softmax = loss.link == "softmax"
        classes = len(counts)
        margin = np.array([-np.log(classes - 1.0) if softmax else 0.0])
        slope, curvature = numeric.slope_and_curvature(
            margin, BOOK.decay(margin), loss.gamma, "exact", False
        )
        bend = max(float(curvature[0]), 0.0)
        if softmax:
            q = 1 / (classes - 1)
            weights = np.ones(classes) if alpha is None else np.array(alpha)
            bend = (bend * (1 + q) - float(slope[0]) * (1 - q)) / classes
        else:
            weights = np.ones(2) if alpha is None else np.array([1 - alpha, alpha])
        found.append(bend * float(counts @ weights / counts.sum()))
    return found
