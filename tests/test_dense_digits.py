"""Dense digits: scenes that are what they say, and an experiment that measures what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import examples.dense_digits.scenes as digits
import numpy as np
import pytest
import torch
from examples.dense_digits import ablation
from examples.dense_digits.__main__ import main
from examples.dense_digits.ablation import BASE_RATE, SETTINGS, Ablation, Outcome, Setting, run
from examples.dense_digits.detector import detector
from examples.dense_digits.scenes import CLASSES, SIDE, scenes
from numpy.testing import assert_allclose, assert_array_equal

from refocal import sigmoid_posterior


def test_scenes_are_decided_by_the_seed() -> None:
    one, again, other = scenes(3, seed=1), scenes(3, seed=1), scenes(3, seed=2)
    assert_array_equal(one.images, again.images)
    assert_array_equal(one.targets, again.targets)
    assert not (one.images == other.images).all()


def test_one_positive_in_eight_thousand() -> None:
    drawn = scenes(400, seed=0)
    assert drawn.images.shape == (400, 1, SIDE, SIDE)
    assert drawn.images.dtype == np.float32
    per_scene = drawn.targets.sum((1, 2, 3))
    assert set(per_scene) == {1, 2, 3}
    assert_allclose(drawn.targets.size / drawn.targets.sum(), 8_000, rtol=0.05)
    # no pixel is the centre of two digits
    assert drawn.targets.sum(1).max() == 1


@pytest.mark.parametrize("seed", [0, 7])
def test_no_digit_is_in_both_parts(seed: int) -> None:
    train, train_labels = digits._digits(seed, "train")
    test, _ = digits._digits(seed, "test")
    assert len(train) + len(test) == 1_797
    assert len(test) == pytest.approx(1_797 / 3, abs=1)
    assert set(train_labels) == set(range(CLASSES))
    seen = {one.tobytes() for one in train}
    assert not any(one.tobytes() in seen for one in test)


def test_a_digit_is_where_the_target_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "_NOISE", 0.0)
    monkeypatch.setattr(digits, "_clutter", lambda *_: None)
    drawn = scenes(20, seed=3, part="test")
    known, labels = digits._digits(3, "test")
    for image, target in zip(drawn.images[:, 0], drawn.targets, strict=True):
        for label, row, column in np.argwhere(target):
            window = image[row - 4 : row + 4, column - 4 : column + 4]
            # the window is one of the test digits of that class but for its contrast
            shape = window / np.linalg.norm(window)
            others = known[labels == label]
            likeness = (others * shape).sum((1, 2)) / np.linalg.norm(others, axis=(1, 2))
            assert likeness.max() > 1 - 1e-5
            image[row - 4 : row + 4, column - 4 : column + 4] = 0
        assert image.max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0, "seed": 0}, r"count must be >= 1, got 0"),
        ({"count": 1, "seed": -1}, r"seed must be >= 0, got -1"),
        ({"count": 1, "seed": 0, "part": "dev"}, r'part must be "train" or "test", got \'dev\''),
    ],
)
def test_scenes_refuse(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scenes(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: f"{one.loss}, {one.start}")
def test_first_bias(setting: Setting) -> None:
    bias = torch.tensor(setting.bias, dtype=torch.float64)
    if setting.start == "zero":
        assert setting.bias == 0
    elif setting.start == "one percent":
        assert_allclose(torch.sigmoid(bias), 0.01)
    else:
        meant = sigmoid_posterior(bias, alpha=setting.alpha, gamma=setting.gamma)
        assert_allclose(meant, BASE_RATE, rtol=1e-9)
    logits = detector(setting.bias, seed=0)(torch.randn(2, 1, SIDE, SIDE))
    assert logits.shape == (2, CLASSES, SIDE, SIDE)
    assert (logits - bias).abs().max() < 1


def test_answers_see_the_whole_digit_and_no_more_than_promised() -> None:
    network = detector(0.0, seed=0).eval()
    image = torch.randn(1, 1, SIDE, SIDE, requires_grad=True)
    network(image)[0, :, 20, 20].sum().backward()
    assert image.grad is not None
    rows, columns = (image.grad[0, 0] != 0).nonzero().T
    for seen in (rows, columns):
        assert seen.min() <= 16
        assert seen.max() >= 23
        assert seen.max() - seen.min() + 1 <= 14


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.dense_digits.ablation._TRAINING_SCENES", 50)
    monkeypatch.setattr("examples.dense_digits.ablation._TEST_SCENES", 10)


@pytest.mark.usefixtures("few_scenes")
def test_runs_are_reproducible_whatever_the_workers() -> None:
    settings = [SETTINGS[2], SETTINGS[8]]
    calls: list[tuple[int, int]] = []
    alone = run(
        settings, seeds=[3], steps=12, workers=1, progress=lambda a, b: calls.append((a, b))
    )
    together = run(settings, seeds=[3], steps=12, workers=2)
    assert calls == [(1, 2), (2, 2)]
    assert alone.checks == (2, 4, 6, 8, 10, 12)
    for one, other in zip(alone.outcomes, together.outcomes, strict=True):
        assert one == other
        assert len(one.average_precision) == 1
        assert len(one.average_precision[0]) == 6
    assert alone.outcomes[0].average_precision != alone.outcomes[1].average_precision
    assert json.loads(json.dumps(alone.as_dict()))["seeds"] == [3]


@pytest.mark.usefixtures("few_scenes")
def test_a_run_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []
    fit, stop = ablation._fit, 3

    def counted(setting: Setting, *more: Any) -> list[float]:
        if len(trained) == stop:
            raise KeyboardInterrupt
        trained.append(setting.loss)
        return fit(setting, *more)

    monkeypatch.setattr(ablation, "_fit", counted)
    monkeypatch.setattr(ablation.os, "cpu_count", lambda: 1)
    command = ["--seeds", "1", "--steps", "6", "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        main(command)
    assert len(trained) == 3
    assert not (tmp_path / "results.json").exists()
    stop = -1
    main(command)
    assert len(trained) == len(SETTINGS)
    capsys.readouterr()
    main(command)  # nothing is left to train, and the table is the same
    assert len(trained) == len(SETTINGS)
    alone = run(SETTINGS[:2], seeds=1, steps=6)
    found = json.loads((tmp_path / "results.json").read_text())
    for outcome, kept in zip(alone.outcomes, found["outcomes"], strict=False):
        assert [list(curve) for curve in outcome.average_precision] == kept["average_precision"]
    main([*command, "--steps", "7"])  # another run, other fits
    assert len(trained) == 2 * len(SETTINGS) + 2


@pytest.mark.usefixtures("few_scenes")
def test_the_detector_learns() -> None:
    outcome = run([SETTINGS[8]], seeds=1, steps=60).outcomes[0]
    assert outcome.final[0] > 100 * BASE_RATE


def test_table_pairs_the_seeds() -> None:
    plain = Outcome(Setting(None, 0.0, "one percent"), ((0.1, 0.5), (0.2, 0.7)))
    focal = Outcome(Setting(0.25, 2.0, "one percent"), ((0.1, 0.6), (0.2, 0.8)))
    table = Ablation((plain, focal), (0, 1), (1, 2)).table()
    row = table.splitlines()[-1]
    # means .6 and .7 with half widths 12.706 * .1414 / sqrt(2); differences are .1 twice
    assert "0.700 ± 1.271" in row
    assert row.endswith("+0.100 ± 0.000")
    assert table.splitlines()[-2].endswith("-")
    assert math.isclose(plain.final[1], 0.7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds must name at least one"),
        ({"settings": ()}, "settings must hold at least one"),
        ({"steps": 5}, "steps must be >= 6"),
    ],
)
def test_run_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**arguments)  # type: ignore[arg-type]
