"""The README's performance table is the CSV's, and what it compares is what it says."""

from __future__ import annotations

import csv
import math
from functools import partial

import pytest
import torch
from benchmarks import cases, compiled, in_jax, measure, table


def test_the_table_of_the_readme_comes_from_the_csv():
    assert table.between(table.README.read_text()) == table.section()


def test_the_targets_of_the_record_come_from_the_csv():
    first_calls = table.rows(table.RESULTS / "first_call.csv")
    written = table.between(table.RECORD.read_text())
    assert written == table.targets(table.by_processor(), first_calls)


def test_the_table_of_jax_comes_from_the_csv():
    written = table.between(in_jax.PAGE.read_text())
    assert written == in_jax.section(table.rows(in_jax.RESULTS))


@pytest.mark.parametrize("case", in_jax.CASES[1:3], ids=lambda case: case.title)
def test_what_is_timed_in_jax_is_the_same_loss(case):
    pytest.importorskip("jax")
    pytest.importorskip("optax")
    small = case._replace(shape=(60, *case.shape[1:]))
    logits, targets = in_jax.inputs(small)
    found = {name: float(loss(logits, targets)) for name, loss in in_jax.losses(small).items()}
    if len(case.shape) == 1:
        assert math.isclose(found["refocal"], found["optax focal"], rel_tol=1e-5)
    else:
        plain = in_jax.losses(small._replace(gamma=0.0))["refocal"]
        assert math.isclose(found["optax cross-entropy"], plain(logits, targets), rel_tol=1e-5)


def test_what_jax_needs_may_be_missing(monkeypatch, capsys):
    monkeypatch.setattr(in_jax.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["in_jax"])
    in_jax.main()
    said = "The rows of JAX are left out: jax and optax not installed.\n"
    assert capsys.readouterr().out == said


def test_the_markers_keep_what_is_around_them():
    text = f"a\n{table.BEGIN}\nold\n{table.END}\nb"
    assert table.replaced(text, "new") == f"a\n{table.BEGIN}\nnew\n{table.END}\nb"
    assert table.between(table.replaced(text, "new")) == "new"


@pytest.mark.parametrize("found", table.by_processor(), ids=lambda found: found[0]["cpu"])
def test_every_number_of_the_table_is_a_row(found):
    assert {"sigmoid", "softmax"} <= {row["link"] for row in found} <= set(cases.PROVIDERS)
    assert all(float(row["log1p_ns"]) <= measure.healthy_log1p(row["cpu"]) for row in found)
    for row in found:
        (ours,) = [
            other
            for other in found
            if other["provider"] == "refocal"
            and all(
                other[key] == row[key]
                for key in ("allocator", "link", "shape", "dtype", "gamma", "mode")
            )
        ]
        ratio = float(row["runtime_ms"]) / float(ours["runtime_ms"])
        assert math.isclose(ratio, float(row["times_refocal"]), rel_tol=0.01)


@pytest.mark.parametrize("link", cases.PROVIDERS)
@pytest.mark.parametrize("mode", ["full", "forward"])
def test_providers_agree_with_float64(link, mode):
    """What is timed computes what its row says."""
    case = cases.Case(link, (60, 7) if link == "softmax" else (600,), mode=mode, compiled=False)
    for provider in cases.providers(case):
        # peers lose digits of small gradients: that is what the column is for. A heatmap's recipe
        # loses all of those that its clamp takes.
        limit = 1e-5 if provider == "refocal" else 0.5
        if (link, provider) == ("gaussian", "recipe"):
            limit = 1 + 1e-9
        assert cases.largest_error(case, provider) < limit


@pytest.mark.parametrize("shape", cases.IMAGES)
def test_providers_agree_with_float64_on_images_with_ignored_positions(shape):
    case = cases.Case("softmax", shape, compiled=False)
    assert cases.providers(case) == ["refocal", "cross_entropy", "recipe"]
    for provider in cases.providers(case):
        limit = 1e-5 if provider == "refocal" else 0.5
        assert cases.largest_error(case, provider) < limit


def test_the_truth_is_not_the_librarys():
    """By plain float64 formulas, which agree with autograd of the naive ones where these hold."""
    case = cases.Case("softmax", (20, 5), gamma=1.5)
    logits, targets = cases.inputs(case)
    logits = logits.double().requires_grad_()
    loss = cases.recipe(1.5)(logits, targets)
    loss.backward()
    value, gradient = cases.exact(case, "refocal", logits, targets)
    torch.testing.assert_close(loss.detach(), value)
    torch.testing.assert_close(logits.grad, gradient)


def test_rounds_are_summed_up_by_their_median():
    stats = measure.measure({"a": lambda: None, "b": lambda: sum(range(2000))}, seconds=0.0)
    assert stats["a"].rounds == measure.LEAST_ROUNDS
    assert stats["a"].runtime_ms < stats["b"].runtime_ms
    assert measure.summary([1.0, 2.0, 3.0, 4.0, 100.0]).runtime_ms == 3.0


@pytest.mark.parametrize(
    "path", sorted(table.RESULTS.glob("cpu-*.csv")), ids=lambda path: path.stem
)
def test_the_csv_has_the_columns_that_are_written(path):
    from benchmarks.__main__ import FIELDS

    with path.open(newline="") as file:
        assert csv.DictReader(file).fieldnames == FIELDS


@pytest.mark.parametrize(
    "case", compiled.CASES, ids=lambda case: f"{case.link} {case.gamma} {case.shape}"
)
def test_what_is_timed_compiled_is_one_loss(case, monkeypatch):
    """By the operator and by what Inductor is given; traced as it traces, without its C++."""
    torch._dynamo.reset()  # cases before this one are not to count among its programs
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    small = case._replace(shape=(600,) if len(case.shape) == 1 else (60, 10))
    operator, inductor = (compiled.compiled(small, name)() for name in ("operator", "inductor"))
    # detectors clamp the probability of a heatmap at 1e-4, beyond which they learn nothing
    near = (2 * cases.inputs(small)[0]).abs() < (9 if case.link == "gaussian" else math.inf)
    torch.testing.assert_close(operator[near], inductor[near], rtol=1e-3, atol=1e-6)
