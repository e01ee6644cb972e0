"""How often the verdict's rule is wrong, and what it can see: simulated, with nothing trained.

    python scripts/verdict_simulation.py     # docs/tables/verdict.md, docs/img/verdict.svg: minutes
    python scripts/verdict_simulation.py --draws 100 --out /tmp/verdict.md

Two models give binormal scores to the same test rows, 20 negatives a positive. The positives are
those of all five test parts together; each split's difference in average precision gets, beside
what its test rows do, the effect of its training rows and its start: normal, kappa times the
variance that test rows give one split, and correlated between splits as training parts of 60 %
are (Nadeau and Bengio 2003: a quarter). Every rule sees the same draws.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import norm, t

from refocal.comparison.drawing import COLOURS, DASHES, axes, standalone, style, to_svg
from refocal.comparison.measuring.influence import average_precision, row_variance
from refocal.comparison.measuring.intervals import Design, difference, spread
from refocal.comparison.measuring.verdict import (
    ENOUGH_POSITIVES,
    judge,
    margin_of,
    positives_needed,
)
from refocal.comparison.results import Estimate

TABLE = Path("docs/tables/verdict.md")
PICTURE = Path("docs/img/verdict.svg")
NEGATIVES = 20
SHIFT = 2.0  # of the positives' scores: an average precision of .53
CORRELATION = 0.977  # of the two models' scores
TEST_TO_TRAIN = 1 / 3
SHARED = TEST_TO_TRAIN / (1 + TEST_TO_TRAIN)  # of training effects, between two splits
SIZES = (20, 50, 200, 1000, 5000)
KAPPAS = (1.0, 4.0)
SPLITS = 5
CURVES = [
    f"{what}, κ {kappa:g}"
    for what in ("a gain of two margins is called better", "equals are called equivalent")
    for kappa in KAPPAS
]


def scores(
    generator: np.random.Generator, positives: int, shift: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and both models' scores of one test part; the second's positives lie further up."""
    labels = np.arange(positives * (NEGATIVES + 1)) < positives
    common = math.sqrt(CORRELATION) * generator.normal(size=labels.size)
    own = math.sqrt(1 - CORRELATION) * generator.normal(size=(2, labels.size))
    return labels, common + own[0] + SHIFT * labels, common + own[1] + shift * labels


def true_precision(shift: float) -> float:
    """Average precision of binormal scores without end: the mean precision of a positive."""
    at = norm.ppf((np.arange(20_000) + 0.5) / 20_000) + shift
    hit, false = norm.sf(at - shift), NEGATIVES * norm.sf(at)
    return float(np.mean(hit / (hit + false)))


def shift_for(gain: float) -> float:
    """How far the positives of a model lie up that gains so much average precision."""
    low, high = SHIFT - 3, SHIFT + 3
    for _ in range(60):
        middle = (low + high) / 2
        if true_precision(middle) < true_precision(SHIFT) + gain:
            low = middle
        else:
            high = middle
    return low


Split = tuple[np.ndarray, np.ndarray]


def one_split(values: Split, positives: int) -> Estimate:
    """An interval from the first split's test rows alone."""
    half = float(norm.ppf(0.975)) * math.sqrt(values[1][0])
    found = float(values[0][0])
    return Estimate(found, found - half, found + half)


def corrected(splits: int) -> Callable[[Split, int], Estimate]:
    """The corrected t interval over so many splits, blind to the rows."""

    def rule(values: Split, positives: int) -> Estimate:
        seen = values[0][:splits]
        variance = (1 / splits + TEST_TO_TRAIN) * float(seen.var(ddof=1))
        half = float(t.ppf(0.975, splits - 1)) * math.sqrt(variance)
        found = float(seen.mean())
        return Estimate(found, found - half, found + half)

    return rule


def the_rule(values: Split, positives: int) -> Estimate:
    """What `refocal compare` does."""
    design = Design(SPLITS, SPLITS, TEST_TO_TRAIN, positives)
    return difference(*values, design)


RULES: dict[str, Callable[[Split, int], Estimate]] = {
    "one split": one_split,
    "corrected t, 3 splits": corrected(3),
    "corrected t, 5 splits": corrected(5),
    "the rule, 5 splits": the_rule,
}


def draws(size: int, gain: float, count: int, seed: int, *, deals: int = 1) -> list[list[Split]]:
    """For each deal of each table: differences and row variances on five test parts, untrained.

    The rows of a table are drawn once; another deal sends them to other parts, as another seed
    does.
    """
    generator = np.random.default_rng([seed, size])
    shift = shift_for(gain)
    found: list[list[Split]] = [[] for _ in range(deals)]
    for _ in range(count):
        labels, one, other = scores(generator, size, shift)
        for deal in found:
            # classes evenly: positives come first
            parts = np.concatenate(
                [generator.permutation(rows) % SPLITS for rows in (size, NEGATIVES * size)]
            )
            values, variances = [], []
            for part in range(SPLITS):
                rows = parts == part
                a, b = (average_precision(s[rows], labels[rows]) for s in (one, other))
                values.append(b.value - a.value)
                variances.append(row_variance(b.influence - a.influence, None))
            deal.append((np.array(values), np.array(variances)))
    return found


def trained(found: list[Split], kappa: float, seed: int) -> list[Split]:
    """The same with effects of training rows and starts."""
    generator = np.random.default_rng(seed)
    scale = math.sqrt(kappa * float(np.mean([variance.mean() for _, variance in found])))
    return [
        (
            values
            + scale
            * (
                math.sqrt(SHARED) * generator.normal()
                + math.sqrt(1 - SHARED) * generator.normal(size=SPLITS)
            ),
            variances,
        )
        for values, variances in found
    ]


def share(found: list[Split], size: int, margin: float, rule: str, *verdicts: str) -> float:
    """The share of draws with one of these verdicts, too few positives never being firm."""
    hits = 0
    for one in found:
        verdict = judge(RULES[rule](one, size), margin)
        if rule == "the rule, 5 splits" and size < ENOUGH_POSITIVES:
            verdict = "undecided"
        hits += verdict in verdicts
    return hits / len(found)


def contradictions(deals: list[list[Split]], size: int, margin: float, kappa: float) -> float:
    """The share of tables on which two seeds give two different firm verdicts."""
    clashes = 0
    for pair in zip(*(trained(deal, kappa, 11 + k) for k, deal in enumerate(deals)), strict=True):
        verdicts = {judge(the_rule(one, size), margin) for one in pair}
        clashes += len(verdicts - {"undecided"}) == 2
    return clashes / len(deals[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    precision = true_precision(SHIFT)
    margin = margin_of(precision, 1 / (NEGATIVES + 1))
    lines = [
        f"Average precision {precision:.3f}, margin {margin:.4f}, {options.draws:,} draws of each."
        " In each cell: false *better* at κ 1 / at κ 4 / a gain of two margins found at κ 1 /"
        " equals called *equivalent* at κ 1, in %.",
        "",
        "| positives | " + " | ".join(RULES) + " |",
        "|--:|" + "---|" * len(RULES),
    ]
    last = [
        "",
        "The rule, in % of tables: false *worse*, verdicts of two seeds that contradict each other,"
        " a gain of two margins found at κ 4, equals called *equivalent* at κ 4; and the number of"
        " positives that undecided tables with a gain of two margins are told, the median.",
        "",
        "| positives | false *worse*, κ 1 | contradictions, κ 1 | contradictions, κ 4 | gain found,"
        " κ 4 | *equivalent*, κ 4 | told |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    for size in SIZES:
        count = options.draws if size <= 1000 else max(options.draws // 4, 1)
        plain = draws(size, 0.0, count, 0, deals=2)
        (gain,) = draws(size, 2 * margin, count, 1)
        equal = {kappa: trained(plain[0], kappa, 2) for kappa in KAPPAS}
        better = {kappa: trained(gain, kappa, 3) for kappa in KAPPAS}
        cells = []
        for rule in RULES:
            shares = [
                *(share(equal[kappa], size, margin, rule, "better") for kappa in KAPPAS),
                share(better[1.0], size, margin, rule, "better"),
                share(equal[1.0], size, margin, rule, "equivalent"),
            ]
            cells.append(" / ".join(f"{100 * one:.0f}" for one in shares))
        lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
        name = "the rule, 5 splits"
        told = [_told(one, size, margin) for one in better[1.0]]
        known = sorted(one for one in told if one)
        shares = [
            share(equal[1.0], size, margin, name, "worse"),
            *(contradictions(plain, size, margin, kappa) for kappa in KAPPAS),
            share(better[4.0], size, margin, name, "better"),
            share(equal[4.0], size, margin, name, "equivalent"),
        ]
        seen = [
            share(of[kappa], size, margin, name, verdict)
            for of, verdict in ((better, "better"), (equal, "equivalent"))
            for kappa in KAPPAS
        ]
        for curve, value in zip(curves.values(), seen, strict=True):
            curve.append(100 * value)
        middle = f"{known[len(known) // 2]:,}" if known else "–"
        last.append(
            f"| {size:,} | " + " | ".join(f"{100 * one:.0f}" for one in shares) + f" | {middle} |"
        )
        print(last[-1], flush=True)
    options.out.write_text("\n".join([*lines, *last]) + "\n")
    options.picture.write_text(drawn(curves) + "\n", encoding="utf-8")


def drawn(curves: dict[str, list[float]]) -> str:
    """What a table of so many positives can show, as an SVG file."""
    with style():
        figure, (plot,) = axes(7.2, 3.8)
        for number, (name, values) in enumerate(curves.items()):
            plot.plot(
                SIZES,
                values,
                color=COLOURS[number // len(KAPPAS)],
                linestyle=DASHES[number % len(KAPPAS)],
                marker="o",
                label=name,
            )
        plot.set_xscale("log")
        plot.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
        plot.minorticks_off()
        plot.set_xlabel("test positives in all")
        plot.set_ylabel("% of tables")
        plot.set_ylim(-2, 102)
        plot.legend()
        title = "Share of tables on which a gain of two margins, and equality, are found"
        return standalone(to_svg(figure, name="verdict", title=title))


def _told(one: Split, size: int, margin: float) -> int:
    """The number of positives an undecided table is told; 0 where decided, or none is named."""
    design = Design(SPLITS, SPLITS, TEST_TO_TRAIN, size)
    if judge(difference(*one, design), margin) != "undecided":
        return 0
    found = spread(*one, design)
    return positives_needed(found, size, margin)


if __name__ == "__main__":
    main()
