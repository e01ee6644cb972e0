"""A sample of all float32 logits, one of every 4,096 neighbours; `make exhaustive` has them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trust.exhaustive import TABLE, read, rows
from trust.float32 import Key, Ruler, Worst, evaluate, logits_of
from trust.reference import margin, value_and_slope

import oracle
from cases import IMPLEMENTATIONS, eps, smallest_normal, wide

BACKENDS = [name for name in ("eager", "cpu") if name in IMPLEMENTATIONS]
STRIDE = 4096


def one_of_each_stratum() -> Tensor:
    starts = torch.arange(0, 2**32, STRIDE)
    generator = torch.Generator().manual_seed(0)
    return logits_of(starts + torch.randint(STRIDE, starts.shape, generator=generator))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("implementation", BACKENDS)
def test_value_and_slope_of_every_stratum(implementation: str, gamma: float) -> None:
    logits = one_of_each_stratum()
    k = float(np.max(IMPLEMENTATIONS[implementation](wide(gamma), wide(0))))
    found = evaluate(implementation, logits, gamma)
    for actual, exact in zip(found, value_and_slope(margin(logits), gamma), strict=True):
        bound = k * eps(torch.float32) * exact.abs() + float(smallest_normal(torch.float32))
        excess = (actual.double() - exact).abs() / bound
        assert float(excess.max()) <= 1, f"at {float(logits[excess.argmax()])!r}"


def documented_worst() -> list[tuple[str, float, str, float, float]]:
    """Implementation, gamma, quantity, ulp and logit of every row of the committed table."""
    found = []
    for line in (Path(__file__).parent.parent / TABLE).read_text().splitlines()[2:]:
        implementation, gamma, quantity, ulp, logit, *_ = line.strip("| ").split(" | ")
        found.append((implementation, float(gamma), quantity, float(ulp), float(logit)))
    return found


@pytest.mark.parametrize(
    ("implementation", "gamma", "quantity", "ulp", "logit"),
    [row for row in documented_worst() if row[0] in IMPLEMENTATIONS],
)
def test_the_worst_of_all_logits(
    implementation: str, gamma: float, quantity: str, ulp: float, logit: float
) -> None:
    """Where every float was tried, the largest error is within the tolerance, as the table says."""
    # a few beside it, so that a vectorised routine meets it too
    logits = torch.full((37,), logit)
    order = ("value", "slope").index(quantity)
    actual = evaluate(implementation, logits, gamma)[order]
    exact = value_and_slope(margin(logits), gamma)[order]
    k = float(np.max(IMPLEMENTATIONS[implementation](wide(gamma), wide(0))))
    assert bool(((actual.double() - exact).abs() <= k * eps(torch.float32) * exact.abs()).all())
    if implementation == "cpu":  # the same bits on every machine; torch has other routines on each
        assert Ruler(logits, exact).worst(actual).ulp == pytest.approx(ulp, abs=0.005)


def test_the_reference_agrees_with_the_oracle() -> None:
    """Doubles by plain formulas, beside long doubles by others."""
    logits = one_of_each_stratum()[::64]
    for gamma in (0.0, 0.5, 5.0):
        exact = value_and_slope(margin(logits), gamma)
        for ours, theirs in zip(exact, (oracle.value, oracle.slope), strict=True):
            expected = torch.from_numpy(theirs(wide(logits.numpy()), gamma).astype(np.float64))
            torch.testing.assert_close(ours, expected, rtol=1e-13, atol=1e-60)


def test_a_wrong_result_is_measured() -> None:
    """The ruler notices one ulp, an infinity and a wrong zero."""
    logits = torch.linspace(-5, 5, 64)
    exact = value_and_slope(margin(logits), 2.0)[0]
    ruler = Ruler(logits, exact)
    right = exact.float()
    assert ruler.worst(right).ulp <= 0.5
    off = right.clone()
    off[7] = torch.nextafter(off[7], torch.tensor(torch.inf))
    assert 0.5 < ruler.worst(off).ulp <= 1.5
    assert ruler.worst(off).logit == logits[7]
    off[9] = torch.inf
    assert ruler.worst(off).wrong == 1
    off[11] = 0
    assert ruler.worst(off).ulp > 1e6


def test_a_run_that_was_killed_in_a_line_goes_on(tmp_path) -> None:
    state = tmp_path / "state.jsonl"
    key, worst = Key("eager", 2.0, "value"), Worst(1.5, -3.0, 7, 0.5, 90.0, 0)
    state.write_text(f'[4, [[{list(key)}, {list(worst)}]]]\n[5, [[["eag'.replace("'", '"'))
    done = read(state)
    assert done == {4: {key: worst}}
    assert list(rows(done))[2:] == ["| eager | 2 | value | 1.50 | -3.0 | 7 | 0 |"]


def test_worst_of_two_parts() -> None:
    one, other = Worst(1.0, -3.0, 1, 0.5, 90.0, 0), Worst(2.0, 4.0, 2, 0.25, 91.0, 1)
    assert one.joined(other) == Worst(2.0, 4.0, 3, 0.5, 90.0, 1)
