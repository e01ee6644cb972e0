"""Influence functions, the interval rule and the verdicts: against brute force and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from refocal.comparison.measuring import influence
from refocal.comparison.measuring.intervals import Design, Spread, difference, estimate, spread
from refocal.comparison.measuring.verdict import judge, margin_of, one_digit, positives_needed
from refocal.comparison.results import Estimate


def rows(seed: int, count: int = 300, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Scores, rounded to so many digits so that they tie, and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.random(count) < 0.15
    return np.round(generator.normal(size=count) + labels, digits), labels


def precision_by_weights(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    return float(average_precision_score(labels, scores, sample_weight=weights))


def area_by_weights(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    return float(roc_auc_score(labels, scores, sample_weight=weights))


@pytest.mark.parametrize("digits", [9, 1, 0])
@pytest.mark.parametrize(
    ("measure", "weighted"),
    [(influence.average_precision, precision_by_weights), (influence.area, area_by_weights)],
)
def test_influence_is_the_derivative_by_a_row_s_weight(
    measure: object, weighted: object, digits: int
) -> None:
    scores, labels = rows(digits, digits=digits)
    found = measure(scores, labels)  # type: ignore[operator]
    assert_allclose(found.value, weighted(scores, labels, np.ones(300)))  # type: ignore[operator]
    step = 1e-5
    slopes = []
    for k in range(300):
        up, down = np.ones(300), np.ones(300)
        up[k] += step
        down[k] -= step
        ends = [weighted(scores, labels, one) for one in (up, down)]  # type: ignore[operator]
        slopes.append((ends[0] - ends[1]) / (2 * step))
    assert_allclose(found.influence, slopes, atol=1e-8)
    assert_allclose(found.influence.sum(), 0.0, atol=1e-12)


def test_shares_and_means_move_with_their_rows() -> None:
    generator = np.random.default_rng(0)
    part, whole = generator.random(50), generator.random(50) < 0.4
    step = 1e-6
    weights = np.ones(50)
    weights[7] += step
    found = influence.share(part * whole, whole)
    moved = (weights @ (part * whole)) / (weights @ whole)
    assert_allclose(found.influence[7], (moved - found.value) / step, rtol=1e-4)
    average = influence.mean(part)
    assert_allclose(average.influence[7], (np.average(part, weights=weights) - part.mean()) / step)
    assert math.isnan(influence.share(part, np.zeros(50)).value)


@pytest.mark.parametrize("top", [None, 40])
def test_precision_at_the_top_spreads_as_resamples_do(top: int | None) -> None:
    scores, labels = rows(3, 4000)
    found = influence.precision_at(top, scores, labels)
    count = labels.sum() if top is None else top
    assert_allclose(found.value, labels[np.argsort(-scores)[:count]].mean())
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        again = generator.integers(0, 4000, 4000)
        drawn.append(influence.precision_at(top, scores[again], labels[again]).value)
    expected = math.sqrt(influence.row_variance(found.influence, None))
    assert_allclose(np.std(drawn), expected, rtol=0.25)


def test_rows_tied_at_the_cut_count_in_part() -> None:
    scores, labels = np.array([2.0, 1, 1, 1, 0]), np.array([True, True, False, False, True])
    assert_allclose(influence.precision_at(2, scores, labels).value, (1 + 1 / 3) / 2)


def test_row_variance_of_a_paired_difference_is_the_bootstrap_s() -> None:
    generator = np.random.default_rng(5)
    labels = np.arange(6000) % 15 == 0
    shared = generator.normal(size=6000) + 1.5 * labels
    one, other = (shared + 0.3 * generator.normal(size=6000) for _ in range(2))
    moved = influence.average_precision(one, labels).influence
    moved = moved - influence.average_precision(other, labels).influence
    drawn = []
    for _ in range(300):
        again = generator.integers(0, 6000, 6000)
        drawn.append(
            average_precision_score(labels[again], one[again])
            - average_precision_score(labels[again], other[again])
        )
    assert_allclose(math.sqrt(influence.row_variance(moved, None)), np.std(drawn), rtol=0.15)


def test_rows_of_a_group_are_one() -> None:
    values = np.array([1.0, 2.0, -3.0, 4.0])
    assert influence.row_variance(values, None) == 30.0
    assert influence.row_variance(values, np.array([7, 7, 7, 1])) == 16.0


def test_undefined_figures_have_no_influence() -> None:
    scores = np.arange(4.0)
    for labels in (np.zeros(4, bool), np.ones(4, bool)):
        assert math.isnan(influence.average_precision(scores, labels).value)
        assert math.isnan(influence.area(scores, labels).value)
    assert math.isnan(influence.precision_at(None, scores, np.zeros(4, bool)).value)


# --- the interval rule ---------------------------------------------------------------------------

DESIGN = Design(splits=5, disjoint=5, test_to_train=1 / 3, positives=200)


def test_the_rule_by_hand() -> None:
    values, rows_ = np.array([0.01, 0.05, 0.03, 0.02, 0.09]), np.full(5, 4e-4)
    between, correction = values.var(ddof=1), 1 / 5 + 1 / 3
    assert between > 4e-4
    variance = 4e-4 / 5 + correction * (between - 4e-4)
    degrees = np.clip(4 * variance**2 / (correction * between) ** 2, 4, 199)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(variance)
    found = difference(values, rows_, DESIGN)
    assert_allclose([found.value, found.low, found.high], [0.04, 0.04 - half, 0.04 + half])
    wider = difference(values, rows_, DESIGN, level=0.975)
    assert wider.low < found.low  # type: ignore[operator]


def test_without_spread_beyond_the_rows_their_variance_is_all() -> None:
    values = np.array([0.010, 0.011, 0.012, 0.011, 0.010])
    found = spread(values, np.full(5, 1e-3), DESIGN)
    assert_allclose([found.variance, found.degrees], [1e-3 / 5, 199])


def test_few_positives_bound_the_width_and_the_degrees() -> None:
    design = Design(splits=5, disjoint=5, test_to_train=1 / 3, positives=3)
    found = difference(np.zeros(5), np.zeros(5), design)
    assert (found.low, found.high) == (-1.0, 1.0)
    assert spread(np.arange(5.0), np.zeros(5), design).degrees == 4
    found = difference(np.full(5, 0.01), np.zeros(5), DESIGN)
    assert_allclose([found.low, found.high], [0.01 - 3 / 200, 0.01 + 3 / 200])


@pytest.mark.parametrize("splits", [1, 5])
@pytest.mark.parametrize("positives", [8, 15, 400])
def test_a_p_value_says_what_the_intervals_say(splits: int, positives: int) -> None:
    random = np.random.default_rng(0)
    design = Design(splits=splits, disjoint=splits, test_to_train=1 / 3, positives=positives)
    excluded = 0
    for size in np.linspace(0, 0.5, 60):
        values = size + 0.05 * random.normal(size=splits)
        variances = np.full(splits, 0.002)
        for level in (0.5, 0.9, 0.95, 0.975):
            found = difference(values, variances, design, level=level)
            assert found.low is not None and found.high is not None and found.p is not None  # noqa: PT018
            excludes = found.low > 0 or found.high < 0
            assert excludes == (found.p < 1 - level)
            excluded += excludes
    assert 20 < excluded < 235


def test_rows_tested_again_average_no_further() -> None:
    rows_ = np.full(10, 1e-3)
    values = np.full(10, 0.01)
    again = Design(splits=10, disjoint=5, test_to_train=1 / 3, positives=200)
    assert_allclose(spread(values, rows_, again).variance, 1e-3 / 5)


@pytest.mark.parametrize("mean", [0.0, 0.002, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("spread_", [0.0, 0.3])
def test_shares_stay_shares(mean: float, spread_: float) -> None:
    values = np.clip(mean + spread_ * np.array([-1, -0.5, 0, 0.5, 1]), 0, 1)
    found = estimate(values, np.full(5, 0.01), DESIGN, "share")
    assert 0 <= found.low <= found.value <= found.high <= 1  # type: ignore[operator]
    assert found.low < found.high  # type: ignore[operator]


def test_amounts_are_not_negative_and_differences_are_possible() -> None:
    values = np.array([0.01, 0.4, 0.02, 0.01, 0.03])
    assert estimate(values, np.zeros(5), DESIGN, "amount").low == 0.0
    assert estimate(values, np.zeros(5), DESIGN, "number").low < 0  # type: ignore[operator]
    found = difference(values, np.full(5, 5.0), DESIGN, base=0.9)
    assert_allclose([found.low, found.high], [-0.9, 0.1])


def test_what_is_undefined_on_one_split_is_undefined() -> None:
    values = np.array([0.1, np.nan])
    for found in (
        estimate(values, np.zeros(2), DESIGN, "share"),
        difference(values, np.zeros(2), DESIGN),
    ):
        assert found == Estimate(None, None, None, None)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("positives", [50, 1000])
def test_the_interval_holds_what_it_says(kappa: float, positives: int) -> None:
    """Rows and training at random, the training rows shared between splits as by 60 : 20 : 20."""
    generator = np.random.default_rng(positives)
    design = Design(splits=5, disjoint=5, test_to_train=1 / 3, positives=positives)
    missed = 0
    row = 0.02**2
    # as Nadeau and Bengio have it: the correlation of two splits' training effects
    shared = (1 / 3) / (1 + 1 / 3)
    for _ in range(300):
        effect = math.sqrt(kappa * row) * (
            math.sqrt(shared) * generator.normal()
            + math.sqrt(1 - shared) * generator.normal(size=5)
        )
        values = math.sqrt(row) * generator.normal(size=5) + effect
        found = difference(values, np.full(5, row), design)
        missed += not found.low <= 0 <= found.high  # type: ignore[operator]
    assert missed / 300 < 0.1


# --- the verdicts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.01, "equivalent"),
        (0.001, 0.019, "equivalent"),  # measurable, not worth having
        (-0.02, 0.02, "equivalent"),
        (0.001, 0.021, "better"),
        (-0.03, -0.001, "worse"),
        (-0.001, 0.03, "undecided"),
        (0.0, 0.03, "undecided"),
        (-0.2, 0.9, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, verdict: str) -> None:
    assert judge(Estimate((low + high) / 2, low, high), 0.02) == verdict


def test_nothing_known_is_undecided() -> None:
    assert judge(Estimate(None, None, None), 0.02) == "undecided"


@pytest.mark.parametrize(
    ("precision", "base_rate", "margin"),
    [(0.5, 0.05, 0.0225), (0.9, 0.05, 0.005), (0.99, 0.1, 0.002), (0.03, 0.02, 0.002)],
)
def test_the_margin(precision: float, base_rate: float, margin: float) -> None:
    assert_allclose(margin_of(precision, base_rate), margin)


@pytest.mark.parametrize("level", [0.95, 0.975])
def test_an_undecided_table_is_told_more_positives_than_it_has(level: float) -> None:
    generator = np.random.default_rng(int(1000 * level))
    undecided = 0
    for _ in range(3000):
        design = Design(5, 5, 1 / 3, int(10 ** generator.uniform(1, 4)))
        rows_ = 10 ** generator.uniform(-8, -2)
        values = generator.normal(0, 10 ** generator.uniform(-4, -1))
        values = values + generator.normal(0, 10 ** generator.uniform(-4, -1), 5)
        variances = np.full(5, rows_)
        found = difference(values, variances, design, level=level, base=0.3)
        if judge(found, 0.02) != "undecided":
            continue
        undecided += 1
        told = positives_needed(spread(values, variances, design), design.positives, 0.02, level)
        assert told == 0 or told > design.positives
    assert undecided > 500


def test_positives_that_would_decide() -> None:
    def told(mean: float, degrees: float = 1e9, level: float = 0.95) -> int:
        return positives_needed(Spread(mean, 1e-3, degrees), 100, 0.02, level)

    # beyond the margin the difference itself is to be seen
    assert told(0.05) == one_digit(100 * 1e-3 * (2.8 / 0.05) ** 2)
    # within it, what it stays short of
    assert told(0.005) == one_digit(100 * 1e-3 * (2.8 / 0.015) ** 2)
    assert told(0.0199) == 0  # more than a hundred such tables
    assert told(0.02) == 0
    # with few degrees of freedom the interval that has to shrink is wider, and at a higher level
    for level in (0.95, 0.975):
        off = stats.t.ppf((1 + level) / 2, 4) + 0.84
        assert told(0.05, 4, level) == one_digit(100 * 1e-3 * (off / 0.05) ** 2)
    # no interval is narrower than three positives
    assert positives_needed(Spread(0.025, 1e-12, 4), 100, 0.02) == one_digit(3 / 0.025)
    assert one_digit(314) == 400
    assert one_digit(4000) == 4000


def test_the_number_of_positives_decides_in_four_of_five_tables() -> None:
    """Drawn anew with as many positives as asked for, the interval excludes 0 in 80 %."""
    generator = np.random.default_rng(0)
    true, at_100 = 0.05, 0.03**2
    size = 100 * at_100 * (2.8 / true) ** 2
    spread_ = math.sqrt(at_100 * 100 / size)
    found = generator.normal(true, spread_, 4000) - 1.96 * spread_ > 0
    assert_allclose(found.mean(), 0.8, atol=0.02)
