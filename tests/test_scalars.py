"""Every function of plain numbers and held-out logits, with values that nobody expects.

Each answers with a number or refuses in the grammar of the messages: no bare arithmetic error, no
NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import refocal
from refocal import SigmoidFocalLoss, SoftmaxFocalLoss, budget, parameters, probabilities
from refocal.variants import blend_focal_loss, exp_bce_focal_loss, quality_focal_loss

ODDS = torch.tensor([0.5, -3.0])
HELD = torch.linspace(-3, 3, 20)
HAPPENED = (torch.arange(20) % 3 == 0).float()
TABLE = torch.linspace(-2, 2, 60).view(20, 3)

SCALARS: dict[str, Any] = {
    repr(one)[:30] if not isinstance(one, int) or abs(one) < 1e9 else f"int{one.bit_length()}": one
    for one in (
        0, 1, -1, 2, 0.3, 1e-300, 5e-324, 1e300, 1 - 1e-16, 1e-16, math.nan, math.inf, -math.inf,
        10**400, -(10**400), 10**5000, True, "a", None, Decimal("0.3"), Fraction(1, 3),
        Fraction(1, 10**400), Fraction(10**400, 10**400 + 1), np.float32(0.3), np.float16(0.3),
        np.int8(3), np.array(0.3), np.bool_(True), 1000, 2000.5, 1e30, [1], (1, 2), 1j,
    )
}  # fmt: skip

SEQUENCES: dict[str, Any] = {
    "empty": [], "one": [1], "far": [5e-324, 1e308], "large": [1e308] * 3, "zero": [0, 1],
    "nan": [math.nan, 1], "huge": [10**400, 1], "text": ["a", 1], "none": None, "number": 5,
    "bools": [True, False], "array": np.array([1, 2]), "table": np.array([[1, 2], [3, 4]]),
    "tensor": torch.tensor([3, 4]), "meta": torch.ones(2, device="meta"), "dict": {0: 900, 1: 100},
    "string": "12", "complex": [1j], "range": range(1, 4), "set": {1, 2}, "fractions":
    [Fraction(1, 3), 1],
}  # fmt: skip

# name of the function in the message, and a call with one number
CALLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("mukhoti_gamma", parameters.mukhoti_gamma),
    ("loss_reduction", parameters.loss_reduction),
    ("loss_reduction", lambda v: parameters.loss_reduction(0.3, v)),
    ("loss_reduction", lambda v: parameters.loss_reduction(1 - 1e-16, v)),
    ("half_weight_probability", parameters.half_weight_probability),
    ("inflection_probability", parameters.inflection_probability),
    ("gradient_ratio", lambda v: parameters.gradient_ratio(v, 0.3)),
    ("gradient_ratio", lambda v: parameters.gradient_ratio(0.3, v)),
    ("gradient_ratio", lambda v: parameters.gradient_ratio(1 - 1e-16, 1e-300, v)),
    ("prior_bias", parameters.prior_bias),
    ("prior_bias", lambda v: parameters.prior_bias(0.3, alpha=v)),
    ("prior_bias", lambda v: parameters.prior_bias(1e-300, gamma=v)),
    ("initialize_bias", lambda v: parameters.initialize_bias(torch.nn.Linear(2, 1), v)),
    ("effective_number_weights", lambda v: parameters.effective_number_weights([1, 5], v)),
    ("prior_biases", lambda v: parameters.prior_biases([1, 2, 3], gamma=v)),
    ("prior_biases", lambda v: parameters.prior_biases([1, 2, 3], alpha=v)),
    ("prior_biases", lambda v: parameters.prior_biases([1, 2, 3], alpha=[v, 1, 1])),
    ("prior_biases", lambda v: parameters.prior_biases([1, 2, 3], gamma=[v, 1, 1])),
    ("shift_prior", lambda v: probabilities.shift_prior(ODDS, 0.3, v)),
    ("shift_prior", lambda v: probabilities.shift_prior(v, 0.3, 0.3)),
    ("correct_sampling", lambda v: probabilities.correct_sampling(ODDS, v)),
    ("cost_threshold", lambda v: probabilities.cost_threshold(v, 1e300)),
    ("cost_threshold", lambda v: probabilities.cost_threshold(1e-300, v)),
    ("cost_threshold", lambda v: probabilities.cost_threshold(1, 2, alpha=v)),
    ("normalizer_shift", lambda v: probabilities.normalizer_shift("positives", v, 0.3)),
    ("normalizer_shift", lambda v: probabilities.normalizer_shift("weights", 20, v)),
    ("normalizer_shift", lambda v: probabilities.normalizer_shift("weights", 20, 0.3, alpha=v)),
    *(
        (function.__name__, lambda v, f=function, k=keyword, d=dtype: f(ODDS.to(d), **{k: v}))
        for function in (refocal.sigmoid_posterior, refocal.softmax_posterior)
        for keyword in ("alpha", "gamma", "label_smoothing", "temperature", "detach_modulator")
        for dtype in (torch.float16, torch.float32, torch.float64)
    ),
    *(
        ("sigmoid_logit", lambda v, k=k: refocal.sigmoid_logit(torch.tensor([0.3, 0.9]), **{k: v}))
        for k in ("alpha", "gamma", "label_smoothing", "detach_modulator", "log_odds")
    ),
]


def numbers(value: Any) -> list[float]:
    if isinstance(value, torch.Tensor):
        return [float(one) for one in value.flatten().tolist()]
    if isinstance(value, (list, tuple)):
        return [number for one in value for number in numbers(one)]
    return [value] if isinstance(value, (int, float)) else []


def answers_or_refuses(name: str, call: Callable[[Any], Any], value: Any) -> None:
    try:
        found = call(value)
    except (TypeError, ValueError) as error:
        text = str(error)
        assert text.startswith(f"{name}: "), text
        assert " must " in text, text
        assert ", got " in text, text
        return
    assert not any(math.isnan(one) for one in numbers(found)), found


@pytest.mark.parametrize("value", SCALARS.values(), ids=SCALARS.keys())
def test_numbers(value: Any) -> None:
    for name, call in CALLS:
        answers_or_refuses(name, call, value)


@pytest.mark.parametrize("values", SEQUENCES.values(), ids=SEQUENCES.keys())
@pytest.mark.parametrize(
    "name", ["effective_number_weights", "inverse_frequency_weights", "prior_biases"]
)
def test_counts(name: str, values: Any) -> None:
    answers_or_refuses(name, getattr(parameters, name), values)


HELD_OUT: list[tuple[str, Callable[..., Any]]] = [
    ("fit_temperature", probabilities.fit_temperature),
    ("gradient_budget", budget.gradient_budget),
    ("suggest", budget.suggest),
]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("name", "function"), HELD_OUT)
def test_one_bad_logit_is_refused(name: str, function: Callable[..., Any], bad: float) -> None:
    z = HELD.clone()
    z[4] = bad
    with pytest.raises(ValueError, match=rf"^{name}: logits must be finite, got {bad}"):
        function(z, HAPPENED)
    if name != "suggest":
        wide = TABLE.clone()
        wide[4, 1] = bad
        index = torch.ones(20, dtype=torch.long)
        index[:5] = 0 if bad > 0 else 1
        with pytest.raises(ValueError, match=rf"^{name}: logits must be finite, got {bad}"):
            function(wide, index, link="softmax")


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (HELD, HAPPENED[:3]), (HELD.long(), HAPPENED), (HELD[:0], HAPPENED[:0]),
        (HELD, HAPPENED + 0.5), (HELD, HAPPENED * math.nan), (HELD.to("meta"), HAPPENED.to("meta")),
        ([1.0], HAPPENED), (HELD, None), (HELD, HAPPENED.to("meta")), (HELD, HAPPENED * 1j),
        (HELD[:1], HAPPENED[:1]), (HELD.half(), HAPPENED), (HELD.bfloat16(), HAPPENED.bool()),
        (HELD.double().requires_grad_(), HAPPENED.to(torch.uint16)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("name", "function"), HELD_OUT)
def test_held_out(name: str, function: Callable[..., Any], logits: Any, targets: Any) -> None:
    answers_or_refuses(name, lambda y: function(logits, y), targets)


# ---------------------------------------------------------------------------------------------
# right numbers where they were wrong


def test_inflection_beyond_gamma_785() -> None:
    with mpmath.workdps(50):
        for gamma in (0.01, 2, 785, 1000, 1e6):
            p = mpmath.mpf(parameters.inflection_probability(gamma))
            q = 1 - p
            bracket = (1 + 2 * gamma) * q - gamma * (gamma * p - q) * mpmath.log(p)
            assert abs(bracket) < 1e-12 * (1 + gamma)
    assert round(parameters.inflection_probability(1000), 6) == 0.000723


def test_biases_of_a_class_that_rounding_hid() -> None:
    low, high = parameters.prior_biases([1e-300, 1], gamma=0)
    np.testing.assert_allclose(high - low, 300 * math.log(10), rtol=1e-14)


def test_logit_to_the_third_derivative_and_for_every_setting() -> None:
    p, alpha, positive, negative = (
        torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in (0.4, 0.25, 1.7, 0.6)
    )

    def logit(*at: torch.Tensor) -> torch.Tensor:
        return refocal.sigmoid_logit(at[0], alpha=at[1], gamma=(at[2], at[3]))

    settings = (p, alpha, positive, negative)
    assert torch.autograd.gradcheck(logit, settings, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(logit, settings)
    expected = [1.7735737834946335, -3.3495775661540876, 29.522694337154952]  # by mpmath.diff
    at = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    value = refocal.sigmoid_logit(at)
    for one in expected:
        (value,) = torch.autograd.grad(value, at, create_graph=True)
        np.testing.assert_allclose(value.item(), one, rtol=1e-12)
    per_row = torch.func.vmap(torch.func.grad(refocal.sigmoid_logit))(at.detach().expand(2))
    np.testing.assert_allclose(per_row, expected[0], rtol=1e-12)


def test_posterior_and_derivatives_where_the_exponential_underflows() -> None:
    for dtype, z in ((torch.float32, 100.0), (torch.float32, 46.0), (torch.float64, 740.0)):
        at = torch.tensor(z, dtype=dtype, requires_grad=True)
        odds = refocal.sigmoid_posterior(at, log_odds=True, gamma=1.5, alpha=None)
        np.testing.assert_allclose(odds.item(), 2.5 * z - math.log(2.5), rtol=1e-6)
        (first,) = torch.autograd.grad(odds, at, create_graph=True)
        (second,) = torch.autograd.grad(first, at)
        np.testing.assert_allclose([first.item(), second.item()], [2.5, 0], atol=1e-6)


def test_alpha_is_judged_as_the_loss_rounds_it() -> None:
    with pytest.raises(ValueError, match=r"got 0\.999999999, which float32 rounds to 1\. A class"):
        refocal.sigmoid_posterior(ODDS, alpha=1 - 1e-9)
    odds = refocal.sigmoid_posterior(ODDS.double(), alpha=1 - 1e-9, gamma=0, log_odds=True)
    np.testing.assert_allclose(odds, ODDS.double() - math.log((1 - 1e-9) / 1e-9), rtol=1e-7)


def test_budget_of_several_labels_is_that_of_each() -> None:
    z, y = TABLE, (TABLE.sin() > 0.2).long()
    alpha, gamma = torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0.0, 1.0, 3.0])
    together = budget.gradient_budget(z, y, alpha=alpha, gamma=gamma)
    rows = budget.gradient_budget(z, y, alpha=alpha.expand(20, 3), gamma=gamma)
    assert together.shares == rows.shares
    assert budget.gradient_budget(TABLE, torch.arange(20) % 3, link="softmax").alpha == "None"


@pytest.mark.parametrize("rule", [blend_focal_loss, exp_bce_focal_loss, quality_focal_loss])
def test_weight_zero_of_nan_is_zero(rule: Callable[..., torch.Tensor]) -> None:
    z = torch.tensor([math.nan, 1.0], requires_grad=True)
    loss = rule(
        z, torch.tensor([1.0, 0.0]), sample_weight=torch.tensor([0.0, 1.0]), reduction="sum"
    )
    (gradient,) = torch.autograd.grad(loss, z)
    assert math.isfinite(loss.detach())
    assert gradient[0] == 0


def test_modules_over_the_meta_device() -> None:
    alpha = torch.tensor([0.2, 0.5, 0.9])
    for loss in (SigmoidFocalLoss(alpha=alpha), SoftmaxFocalLoss(alpha=alpha)):
        back = loss.to("meta").to_empty(device="cpu")
        torch.testing.assert_close(back.alpha, alpha)
    with torch.device("meta"):
        born = SigmoidFocalLoss(alpha=torch.tensor([0.2, 0.5, 0.9]))
    with pytest.raises(ValueError, match="alpha must be in \\[0, 1\\], got nan"):
        born.to_empty(device="cpu")(TABLE, TABLE > 0)
    pair = SigmoidFocalLoss(gamma=(torch.tensor(1.0), 2.0))
    assert pair.gamma[0] == 1
    assert pair.gamma[1] == 2
    with pytest.raises(AttributeError):
        _ = pair.delta
