"""What reading a share of the negatives does to average precision and what is said of its spread.

    python scripts/sampling_simulation.py

Two models rank tables of binormal scores, again and again; of each table a share of the negatives
is read. The columns: average precision with every row and with the share; the standard deviation of
the difference of the two models over tables; what influence functions say it is, as a share of it;
and the share of average precision that `measuring.thinned` calls a guess.

Then the same of three classes, of which the commonest or two are read in part: average precision is
the mean over the classes, and the guess that of the class where it is largest.
"""

from __future__ import annotations

import math

import numpy as np

from refocal.comparison.measuring.influence import average_precision, row_variance
from refocal.comparison.measuring.thinned import MOST, guessed

CASES = ((1.5, 0.02, 16_000), (3.0, 0.02, 16_000), (2.5, 0.002, 60_000))
SHARES = (1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 30, 1 / 100)
TABLES = 400
# separation, rates of three classes, rows
CLASSES = ((1.0, (0.9, 0.08, 0.02), 16_000), (2.0, (0.9, 0.08, 0.02), 16_000))


def case(separation: float, rate: float, rows: int, share: float) -> list[str]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(TABLES):
        labels = random.random(rows) < rate
        one = random.normal(size=rows) + separation * labels
        other = 0.9 * one + 0.3 * random.normal(size=rows)
        whole = average_precision(one, labels).value
        kept = labels | (random.random(rows) < share)
        weights = np.where(labels, 1.0, 1 / share)[kept]
        first, second = (average_precision(s[kept], labels[kept], weights) for s in (one, other))
        spread = row_variance(first.influence - second.influence, None)
        guess = guessed(one[kept], labels[kept], share)
        found.append((whole, first.value, first.value - second.value, spread, guess))
    return [f"{rate:.1%} positive, {separation:g} apart", f"1 in {1 / share:g}", *cells(found)]


def classes(separation: float, rates: tuple[float, ...], rows: int, share: float) -> list[str]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(TABLES):
        index = random.choice(3, rows, p=rates)
        read = np.minimum(1.0, share * rates[0] / np.array(rates))  # of each class as many
        noise = random.normal(size=(rows, 3))
        logits = [noise, 0.9 * noise + 0.3 * random.normal(size=(rows, 3))]
        said = []
        for one in logits:
            z = one + separation * np.eye(3)[index] + np.log(rates)
            said.append(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        kept = random.random(rows) < read[index]
        weights = 1 / read[index[kept]]
        whole = np.mean([average_precision(said[0][:, k], index == k).value for k in range(3)])
        here = index[kept]
        measures = [
            [average_precision(one[kept, k], here == k, weights) for k in range(3)] for one in said
        ]
        values = [np.mean([one.value for one in of]) for of in measures]
        moved = [np.mean([one.influence for one in of], axis=0) for of in measures]
        guess = max(guessed(said[0][kept, k], here == k, read[here] / read[k]) for k in range(3))
        spread = row_variance(moved[0] - moved[1], None)
        found.append((whole, values[0], values[0] - values[1], spread, guess))
    words = ", ".join(f"{rate:.0%}" for rate in rates)
    return [f"{words}, {separation:g} apart", f"1 in {1 / share:g}", *cells(found)]


def cells(found: list[tuple[float, ...]]) -> list[str]:
    whole, part, difference, spread, guess = np.array(found).T
    deviation = difference.std()
    said = math.sqrt(spread.mean()) / deviation
    return [
        f"{whole.mean():.3f}",
        f"{part.mean():.3f}",
        f"{deviation:.4f}",
        f"{said:.2f}",
        f"{guess.mean():.0%}" + (" (no verdict)" if guess.mean() > MOST else ""),
    ]


def main() -> None:
    print("| scores | negatives read | AP, all rows | AP, read | spread | said of it | a guess |")
    print("|---|---|---|---|---|---|---|")
    for separation, rate, rows in CASES:
        for share in SHARES:
            print("| " + " | ".join(case(separation, rate, rows, share)) + " |", flush=True)
    print("| classes | commonest read | AP, all rows | AP, read | spread | said of it | a guess |")
    print("|---|---|---|---|---|---|---|")
    for separation, rates, rows in CLASSES:
        for share in SHARES:
            print("| " + " | ".join(classes(separation, rates, rows, share)) + " |", flush=True)


if __name__ == "__main__":
    main()
