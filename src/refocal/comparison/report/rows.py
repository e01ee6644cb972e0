"""The rows of the page's tables: what is measured down the side, the families across.

A table has a group of rows for each model, with the model's name where there are several. All
tables read the same way then, none is wider than three families, and a line compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from markupsafe import Markup, escape

from refocal.comparison.report import wording
from refocal.comparison.results import Decision, Estimate, LossResult, Probabilities, Results

Row: TypeAlias = tuple[Markup, list[Markup]]
Groups: TypeAlias = list[tuple[str, list[Row]]]
# What to write for a family of one model.
Cell: TypeAlias = Callable[[LossResult], Markup]
Line: TypeAlias = tuple[Markup, Cell]


def families(results: Results) -> list[str]:
    """The columns."""
    return list(dict.fromkeys(loss.name for loss in results.losses))


def noted(text: str, note: str = "") -> Markup:
    """Text with a smaller line under it; both are escaped."""
    return escape(text) + (Markup("<small>{}</small>").format(note) if note else "")


def figure(one: Estimate, digits: int = 3) -> Markup:
    """A figure above its interval."""
    if one.value is None or one.low is None:
        return noted(wording.fixed(one.value, digits))
    ends = f"{wording.fixed(one.low, digits)} to {wording.fixed(one.high, digits)}"
    return noted(wording.fixed(one.value, digits), ends)


def change(one: Estimate, level: float | None = None) -> Markup:
    """A difference above its interval, whose level is said where it is given."""
    if one.low is not None and one.low == one.value == one.high == 0.0:
        return noted("0", "in every split")
    digits = wording.digits_of(one)
    if one.value is None or one.low is None:
        return noted(wording.signed(one.value, digits))
    ends = f"{wording.signed(one.low, digits)} to {wording.signed(one.high, digits)}"
    if level is not None:
        ends = f"{wording.percent(level)}: {ends}"
    return noted(wording.signed(one.value, digits), ends)


def _table(results: Results, lines: Sequence[Line]) -> Groups:
    several = len(results.models) > 1
    groups: Groups = []
    for model in results.models:
        own = {loss.name: loss for loss in results.of_model(model)}
        rows = [
            (name, [cell(own[one]) if one in own else noted("–") for one in families(results)])
            for name, cell in lines
        ]
        groups.append((model if several else "", rows))
    return groups


def _figure_line(name: str, words: str, note: str = "", digits: int = 3) -> Line:
    return noted(words, note), lambda loss: figure(loss.figures[name], digits)


# --- what each table holds -----------------------------------------------------------------------


def ranking(results: Results) -> Groups:
    """Who finds the positives."""

    def unless_first(write: Callable[[Estimate], Markup]) -> Cell:
        return lambda loss: (
            noted("–") if loss.role == "baseline" else write(loss.gains["average_precision"])
        )

    metric = wording.capital(wording.metric_name(results.data))
    return _table(
        results,
        [
            _figure_line("average_precision", metric),
            (noted("Difference from cross-entropy", "paired"), unless_first(change)),
            (
                noted("p-value", "of that difference"),
                unless_first(lambda gain: noted(wording.probability(gain.p))),
            ),
            _figure_line("roc_auc", "ROC AUC"),
            (
                noted(metric + " on validation rows", "what it was picked by"),
                lambda loss: noted(wording.fixed(loss.valid_average_precision)),
            ),
        ],
    )


def picked(results: Results) -> Groups:
    """What each split picked."""

    def of(split: int) -> Cell:
        def cell(loss: LossResult) -> Markup:
            pick = loss.picks[split]
            return noted(pick.loss, f"{pick.setting}; {pick.steps} steps, best of {pick.trained}")

        return cell

    return _table(
        results,
        [(noted(f"Split {k + 1}"), of(k)) for k in range(results.protocol.repeats)],
    )


def by_class(results: Results) -> Groups:
    """Average precision of each class."""
    return _table(
        results, [_figure_line(f"average_precision/{name}", name) for name in results.data.classes]
    )


def decisions(results: Results) -> Groups:
    """What thresholds do."""
    how = results.protocol
    top = "as many as positives" if how.top is None else f"{how.top:,}"
    at = wording.percent(1 / (1 + how.miss))
    lines = [
        _figure_line(
            "recall_at_precision", "Recall", f"aiming at precision {wording.percent(how.precision)}"
        ),
        _figure_line("precision_reached", "Precision that this reached"),
        _figure_line(
            "precision_at_recall", "Precision", f"aiming at recall {wording.percent(how.recall)}"
        ),
        _figure_line("recall_reached", "Recall that this reached"),
        _figure_line("precision_at_top", "Precision among the top rows", top),
        _figure_line("f1", "F1", "at the threshold of the best on validation rows"),
        _figure_line("cost", "Cost per row", "threshold chosen on validation rows"),
        _figure_line("cost_by_posterior", "Cost per row", f"flagging what is above {at}"),
    ]
    if "macro_f1" in results.losses[0].figures:
        lines.append(_figure_line("macro_f1", "Macro F1", "of the most probable class"))
    return _table(results, lines)


def thresholds(results: Results) -> Groups:
    """The threshold of least cost and what it does, of a single class."""

    def cell(write: Callable[[Decision], str]) -> Cell:
        return lambda loss: noted(write(loss.decisions[0]))

    return _table(
        results,
        [
            (
                noted("Flag above", "a probability of, by the closed form"),
                cell(lambda one: flag_above(one.probability)),
            ),
            (
                noted("Flag above", "a probability of, by Platt scaling"),
                cell(lambda one: flag_above(one.by_line)),
            ),
            (noted("Found", "positives that are flagged"), cell(lambda one: f"{one.found:,}")),
            (noted("Missed", "positives that are not"), cell(lambda one: f"{one.missed:,}")),
            (
                noted("False alarms", "negatives that are flagged"),
                cell(lambda one: f"{one.false_alarms:,}"),
            ),
            (noted("Rightly passed"), cell(lambda one: f"{one.passed:,}")),
            (noted("Cost per row"), cell(lambda one: wording.fixed(one.cost, 4))),
            (
                noted("Cost per row", "flagging nothing"),
                cell(lambda one: wording.fixed(one.cost_of_none, 4)),
            ),
            (
                noted("Cost per row", "flagging everything"),
                cell(lambda one: wording.fixed(one.cost_of_all, 4)),
            ),
        ],
    )


def flag_above(probability: float | None) -> str:
    """A threshold as a probability."""
    return "nothing" if probability is None else wording.percent(probability)


def probabilities(results: Results) -> Groups:
    """Log loss of every reading, and how well the closed form is calibrated."""
    links = " or ".join(sorted({loss.link for loss in results.losses}))
    names = {
        "raw": ("Log loss of the plain " + links, ""),
        "posterior": ("… of the closed form", "needs no data"),
        "temperature": ("… with a temperature", "fitted on validation rows"),
        "platt": ("… with Platt scaling", "fitted on validation rows"),
        "isotonic": ("… with isotonic steps", "fitted on validation rows"),
    }

    def log_loss(reading: str) -> Cell:
        return lambda loss: figure(loss.readings[reading].log_loss, 4)

    def of_posterior(write: Callable[[Probabilities], Markup]) -> Cell:
        return lambda loss: write(loss.readings["posterior"])

    lines: list[Line] = [
        (noted(*words), log_loss(name))
        for name, words in names.items()
        if name in results.losses[0].readings
    ]
    lines += [
        _figure_line("platt_gain", "What Platt scaling takes off", "paired", 4),
        _figure_line("brier", "Brier score", "of the closed form", 4),
        _figure_line("calibration_error", "Expected calibration error", "of the closed form", 4),
        (
            noted("Calibration slope of the closed form", "1 is right, less is overconfident"),
            of_posterior(lambda one: figure(one.slope, 2)),
        ),
        (
            noted("Mean of the closed form", "should be the base rate"),
            of_posterior(lambda one: noted(wording.percent(one.mean.value))),
        ),
    ]
    return _table(results, lines)


# --- cards ---------------------------------------------------------------------------------------


def verdicts(results: Results) -> list[Row]:
    """The questions and their answers."""
    several = len(results.models) > 1
    found = []
    for one in results.questions:
        needed = "–" if one.needed is None else f"{one.needed:,}"
        if one.needed == 0:
            needed = "not with this kind of table"
        found.append(
            (
                noted(
                    f"{wording.capital(one.family)} against {one.against}",
                    one.model if several else "",
                ),
                [
                    noted(one.verdict),
                    change(one.difference, one.level),
                    noted(f"{one.margin:.3g}"),
                    noted(f"{one.positives:,}"),
                    noted(needed),
                ],
            )
        )
    return found


def thresholds_by_class(loss: LossResult, *, line: bool) -> list[Row]:
    """The threshold of least cost of each class, by Platt scaling or not, and what it does."""
    return [
        (
            noted(one.name),
            [
                noted(text)
                for text in (
                    flag_above(one.by_line if line else one.probability),
                    *(f"{count:,}" for count in (one.found, one.missed, one.false_alarms)),
                    *(wording.fixed(x, 4) for x in (one.cost, one.cost_of_none, one.cost_of_all)),
                )
            ],
        )
        for one in loss.decisions
    ]


def confusion(results: Results) -> list[Row]:
    """Rows of each true class by the most probable one."""
    return [
        (noted(name), [noted(f"{count:,}") for count in counts])
        for name, counts in zip(
            results.data.classes, results.chosen().confusion or [], strict=False
        )
    ]


def mistaken(results: Results) -> list[Row]:
    """Of each class: its rows, those taken for it, and what most of the others were taken for."""
    found = []
    classes = results.data.classes
    for k, counts in enumerate(results.chosen().confusion or []):
        others = [count if other != k else -1 for other, count in enumerate(counts)]
        most = max(others)
        cells = [f"{sum(counts):,}", f"{counts[k]:,}", classes[others.index(most)], f"{most:,}"]
        found.append((noted(classes[k]), [noted(cell) for cell in cells]))
    return found


def parts(results: Results) -> list[Row]:
    """Rows of each part and, of each class, how many of them are positive."""
    every = results.data.parts
    binary = results.data.kind == "binary"
    rows = [(noted("Rows"), [noted(f"{part.rows:,}") for part in every])]
    rows += [
        (
            noted("Positives" if binary else name),
            [noted(f"{part.positives[k]:,}", wording.percent(part.rates[k])) for part in every],
        )
        for k, name in enumerate(results.data.classes)
    ]
    return rows
