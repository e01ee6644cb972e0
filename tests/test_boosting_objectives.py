"""Boosting objectives against derivatives taken by mpmath of the loss as the paper writes it."""

import json
import math
import pickle

import mpmath as mp
import numpy as np
import pytest

from refocal.boosting import SigmoidFocalObjective, SoftmaxFocalObjective, compiled

MARGINS = [-30.0, -8.0, -2.79, -1.0, -1e-4, 0.0, 0.3, 2.0, 9.5, 25.0]
GAMMAS = [0.0, 0.5, 1.0, 2.0, 3.7]
# float64 margins: one rounding to float32; float32 margins: (4 + 1.5 gamma) and a product
TOLERANCE = {np.float64: 1.2e-7, np.float32: 3e-6}


class Data:
    """What xgboost.DMatrix and lightgbm.Dataset share."""

    def __init__(self, label, weight=()):
        self.label, self.weight = np.asarray(label), np.asarray(weight)

    def get_label(self):
        return self.label

    def get_weight(self):
        return self.weight


def sigmoid_loss(z, y, alpha, gamma):
    p_t = 1 / (1 + mp.exp(-z if y else z))
    alpha_t = alpha if y else 1 - alpha
    return -alpha_t * (1 - p_t) ** gamma * mp.log(p_t)


def sigmoid_detached_slope(z, y, alpha, gamma):
    p_t = 1 / (1 + mp.exp(-z if y else z))
    slope = -(alpha if y else 1 - alpha) * (1 - p_t) ** (gamma + 1)
    return slope if y else -slope


def softmax_loss(z, y, alpha, gamma):
    p = mp.exp(z[y]) / mp.fsum(mp.exp(one) for one in z)
    return -alpha[y] * (1 - p) ** gamma * mp.log(p)


def partial(f, z, k, order):
    """The order-th derivative of f along coordinate k."""
    return mp.diff(lambda t: f([t if j == k else one for j, one in enumerate(z)]), z[k], order)


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(60):
        yield


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_sigmoid_derivatives(gamma, dtype):
    z = np.array(MARGINS * 2, dtype)
    y = np.repeat([1.0, 0.0], len(MARGINS))
    objective = SigmoidFocalObjective(alpha=0.3, gamma=gamma, hessian="exact")
    gradient, hessian = objective(y, z)

    def loss(i):
        return lambda t: sigmoid_loss(t, y[i], mp.mpf(0.3), mp.mpf(gamma))

    rows = range(len(z))
    expected = [float(mp.diff(loss(i), mp.mpf(float(z[i])))) for i in rows]
    curvature = [float(mp.diff(loss(i), mp.mpf(float(z[i])), 2)) for i in rows]
    np.testing.assert_allclose(gradient, expected, rtol=TOLERANCE[dtype], atol=1e-38)
    # the curvature cancels at its own root, -2.79 for gamma 2
    np.testing.assert_allclose(hessian, curvature, rtol=TOLERANCE[dtype], atol=3e-7)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_sigmoid_detached(gamma):
    z = np.array(MARGINS * 2)
    y = np.repeat([1.0, 0.0], len(MARGINS))
    gradient, hessian = SigmoidFocalObjective(
        alpha=0.3, gamma=gamma, hessian="exact", detach_modulator=True
    )(y, z)

    def slope(i):
        return lambda t: sigmoid_detached_slope(t, y[i], mp.mpf(0.3), mp.mpf(gamma))

    rows = range(len(z))
    expected = [float(slope(i)(mp.mpf(z[i]))) for i in rows]
    curvature = [float(mp.diff(slope(i), mp.mpf(z[i]))) for i in rows]
    np.testing.assert_allclose(gradient, expected, rtol=1.2e-7, atol=1e-38)
    np.testing.assert_allclose(hessian, curvature, rtol=1.2e-7, atol=1e-38)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(
    ("gamma", "dtype", "hessian"),
    [(2.0, np.float32, "bound"), (1.5, np.float64, "bound"), (0.0, np.float32, "cross_entropy")],
)
def test_compiled_pass_is_the_same_objective(gamma, dtype, hessian, detached):
    pytest.importorskip("numba")
    n = compiled.WORTHWHILE + 3
    rng = np.random.default_rng(9)
    z, y, w = rng.normal(-2, 6, n).astype(dtype), rng.integers(0, 2, n), rng.random(n)
    assert compiled.supports(n, (gamma, gamma), hessian)
    objective = SigmoidFocalObjective(
        alpha=0.3, gamma=gamma, hessian=hessian, detach_modulator=detached
    )
    fast = objective(y, z, w)
    half = slice(0, n // 2)  # below the threshold: NumPy
    assert not compiled.supports(n // 2, (gamma, gamma), hessian)
    for one, other in zip(fast, objective(y[half], z[half], w[half]), strict=True):
        tolerance = 2e-6 if dtype is np.float32 else 1.2e-7
        np.testing.assert_allclose(one[half], other, rtol=tolerance, atol=1e-37)


def test_gamma_pair_and_class_weight():
    z, y = np.array(MARGINS * 2), np.repeat([1.0, 0.0], len(MARGINS))
    both = SigmoidFocalObjective(alpha=0.3, gamma=(1.0, 2.5), class_weight=(2.0, 5.0))
    gradient, hessian = both(y, z)
    n = len(MARGINS)
    for rows, gamma, weight in ((slice(0, n), 1.0, 5.0), (slice(n, None), 2.5, 2.0)):
        one = SigmoidFocalObjective(alpha=0.3, gamma=gamma)(y[rows], z[rows])
        np.testing.assert_allclose(gradient[rows], weight * one[0], rtol=3e-7, atol=1e-38)
        np.testing.assert_allclose(hessian[rows], weight * one[1], rtol=3e-7, atol=1e-38)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("hessian", ["bound", "absolute", "cross_entropy", "exact"])
def test_sigmoid_hessians(gamma, hessian):
    s = np.linspace(-12, 12, 200)
    y = np.ones_like(s)
    gradient, second = SigmoidFocalObjective(alpha=None, gamma=gamma, hessian=hessian)(y, s)
    _, exact = SigmoidFocalObjective(alpha=None, gamma=gamma, hessian="exact")(y, s)
    p = 1 / (1 + np.exp(-s))
    expected = {
        "bound": (1 + gamma) * p * np.abs(gradient),
        "absolute": np.abs(exact),
        "cross_entropy": p * (1 - p),
        "exact": exact,
    }[hessian]
    np.testing.assert_allclose(second, expected, rtol=3e-7, atol=1e-15)
    if hessian == "bound":
        assert (second > 0).all()
        assert (second >= exact * (1 - 2e-7)).all()
    if hessian == "exact" and gamma >= 1:
        assert (second < 0).any()


@pytest.mark.parametrize("hessian", ["bound", "absolute", "cross_entropy"])
def test_saturated_margins_are_finite_and_held_above_the_floor(hessian):
    z = np.array([1e30, -1e30, 800.0, -800.0, 1e308, -1e308])
    gradient, second = SigmoidFocalObjective(hessian=hessian)(np.ones(6), z)
    np.testing.assert_allclose(gradient, [0, -0.25, 0, -0.25, 0, -0.25])
    assert (second >= 0.25e-16 * (1 - 1e-6)).all()
    assert np.isfinite(second).all()


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 2.5])
def test_softmax_derivatives(gamma, detached):
    rng = np.random.default_rng(3)
    alpha = (0.5, 1.0, 2.0, 0.25)
    z = np.vstack([rng.normal(0, 3, (5, 4)), [[40.0, -3, 0, 2], [2.0, 2, -40, 2]]])
    y = np.array([0, 1, 2, 3, 2, 0, 1])
    objective = SoftmaxFocalObjective(
        alpha=alpha, gamma=gamma, hessian="exact", detach_modulator=detached
    )
    gradient, hessian = objective(y, z)
    for i, row in enumerate(z):
        at = [mp.mpf(one) for one in row]

        def gradient_of(k, i=i):
            if not detached:
                return lambda w: partial(
                    lambda v: softmax_loss(v, y[i], alpha, mp.mpf(gamma)), w, k, 1
                )

            def slope(w):
                p = [mp.exp(one) / mp.fsum(mp.exp(other) for other in w) for one in w]
                return -alpha[y[i]] * (1 - p[y[i]]) ** mp.mpf(gamma) * ((k == y[i]) - p[k])

            return slope

        expected = [float(gradient_of(k)(at)) for k in range(4)]
        if detached:
            second = [float(partial(gradient_of(k), at, k, 1)) for k in range(4)]
        else:
            f = lambda v, i=i: softmax_loss(v, y[i], alpha, mp.mpf(gamma))  # noqa: E731
            second = [float(partial(f, at, k, 2)) for k in range(4)]
        np.testing.assert_allclose(gradient[i], expected, rtol=1.5e-7, atol=1e-38)
        np.testing.assert_allclose(hessian[i], second, rtol=1.5e-7, atol=1e-14)


def test_softmax_bound_is_twice_the_diagonal_of_an_upper_bound():
    rng = np.random.default_rng(5)
    z, y = rng.normal(0, 4, (300, 5)), rng.integers(0, 5, 300)
    gamma = 2.0
    gradient, bound = SoftmaxFocalObjective(gamma=gamma)(y, z)
    _, exact = SoftmaxFocalObjective(gamma=gamma, hessian="exact")(y, z)
    assert (bound > 0).all()
    assert (exact < 0).any()
    assert (bound / 2 >= exact - 1e-6).all()
    # the matrix whose diagonal it is, minus the true one, is (h - F'') v v': only that term differs
    slope = gradient[np.arange(300), y].astype(float)
    e = np.exp(z - z.max(1, keepdims=True))
    p = (e / e.sum(1, keepdims=True))[np.arange(300), y]
    r = e.copy()
    r[np.arange(300), y] = 0
    r /= r.sum(1, keepdims=True)
    v = np.eye(5)[y] - r
    expected = (1 + gamma) * (p * -slope)[:, None] * v**2 - slope[:, None] * r * (1 - r)
    np.testing.assert_allclose(bound, 2 * expected, rtol=2e-6, atol=1e-12)


def test_two_class_softmax_makes_the_sigmoid_newton_step():
    rng = np.random.default_rng(6)
    z, y = rng.normal(0, 3, 50), rng.integers(0, 2, 50)
    two = np.column_stack([np.zeros(50), z])
    gradient, hessian = SoftmaxFocalObjective(gamma=1.5)(y, two)
    single = SigmoidFocalObjective(alpha=None, gamma=1.5)(y, z)
    np.testing.assert_allclose(gradient[:, 1], single[0], rtol=1e-6)
    np.testing.assert_allclose(
        gradient[:, 1] / hessian[:, 1] - gradient[:, 0] / hessian[:, 0],
        single[0] / single[1],
        rtol=2e-6,
    )


def test_array_orders_give_the_same_numbers():
    rng = np.random.default_rng(7)
    z, y = rng.normal(0, 2, (9000, 3)), rng.integers(0, 3, 9000)  # more than one block
    objective = SoftmaxFocalObjective(alpha=(1, 2, 3))
    rows = objective(y, z)
    columns = objective(y, np.asfortranarray(z))
    flat = objective(y, z.ravel(order="F"))
    for a, b, c in zip(rows, columns, flat, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c.reshape(a.shape, order="F"))
        assert b.flags.f_contiguous
        assert a.dtype == np.float32


def test_native_and_wrapper_calls_agree_and_weights_multiply():
    rng = np.random.default_rng(8)
    z, y, w = rng.normal(size=100), rng.integers(0, 2, 100).astype(float), rng.random(100)
    w[:10] = 0
    objective = SigmoidFocalObjective()
    plain = objective(y, z)
    wrapped = objective(y, z, sample_weight=w)
    native = objective(z, Data(y, w))
    for one, two, three in zip(plain, wrapped, native, strict=True):
        np.testing.assert_allclose(two, one * w, rtol=3e-7)
        np.testing.assert_array_equal(two, three)
        np.testing.assert_array_equal(two[:10], 0)
    labels, logits = rng.integers(0, 3, 100), rng.normal(size=(100, 3))
    softmax = SoftmaxFocalObjective()
    for one, two in zip(softmax(labels, logits), softmax(labels, logits, w), strict=True):
        np.testing.assert_allclose(two, one * w[:, None], rtol=3e-7)


def test_bokbokbok_defect_is_absent():
    """The Hessian of a positive in bokbokbok 1.0.5 is 0 for every gamma > 0."""
    _, hessian = SigmoidFocalObjective(alpha=None, gamma=2.0)(np.ones(3), np.array([-1.0, 0, 1]))
    assert (hessian > 0.1).all()


@pytest.mark.parametrize(
    "objective",
    [
        SigmoidFocalObjective(alpha=0.4, gamma=(1.0, 2.0), class_weight=(1, 3)),
        SoftmaxFocalObjective(alpha=np.array([1.0, 2.0]), gamma=[1.0, 2.0], hessian="absolute"),
    ],
)
def test_objectives_are_values(objective):
    from sklearn.base import clone

    for copy in (pickle.loads(pickle.dumps(objective)), clone(objective, safe=False)):
        assert copy == objective
        assert hash(copy) == hash(objective)
    settings = json.loads(json.dumps(objective.settings))
    gamma = settings.pop("gamma")
    again = type(objective)(**settings, gamma=tuple(gamma))
    assert again == objective


# ---------------------------------------------------------------------------------------------
# posterior and start


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, (3.0, 0.5)])
def test_start_minimises_the_mean_loss(gamma, detached):
    y = np.zeros(1000)
    y[:45] = 1
    w = np.where(y == 1, 2.0, 1.0)
    objective = SigmoidFocalObjective(gamma=gamma, detach_modulator=detached)
    start = objective.start(y, w)
    gradient, _ = objective(y, np.full(1000, start), w)
    np.testing.assert_allclose(gradient.sum(dtype=float), 0, atol=1e-5)
    np.testing.assert_allclose(objective.posterior([start])[0], [955 / 1045, 90 / 1045], rtol=1e-12)


def test_start_of_the_known_case():
    y = np.r_[np.ones(45), np.zeros(955)]
    np.testing.assert_allclose(SigmoidFocalObjective().start(y), -1.5443, atol=5e-5)
    np.testing.assert_allclose(
        SigmoidFocalObjective(alpha=None, gamma=0).start(y), math.log(45 / 955), rtol=1e-14
    )


@pytest.mark.parametrize("detached", [False, True])
def test_softmax_start_and_posterior(detached):
    y = np.repeat([0, 1, 2], [70, 25, 5])
    objective = SoftmaxFocalObjective(
        alpha=(1.0, 2.0, 0.5), gamma=(2.0, 1.0, 3.0), detach_modulator=detached
    )
    start = objective.start(y)
    np.testing.assert_allclose(sum(start), 0, atol=1e-14)
    np.testing.assert_allclose(objective.posterior([start])[0], [0.7, 0.25, 0.05], rtol=1e-10)
    gradient, _ = objective(y, np.tile(start, (100, 1)))
    np.testing.assert_allclose(gradient.sum(0, dtype=float), 0, atol=1e-5)


def test_posterior_recovers_the_probability_that_trained_the_logit():
    """Minimise the expected loss at a known probability; the closed form must return it."""
    for eta in (0.02, 0.3, 0.9):
        risk = lambda t, eta=eta: (  # noqa: E731
            eta * sigmoid_loss(t, 1, mp.mpf("0.25"), 2)
            + (1 - eta) * sigmoid_loss(t, 0, mp.mpf("0.25"), 2)
        )
        z = mp.findroot(lambda t, f=risk: mp.diff(f, t), 0.0)
        posterior = SigmoidFocalObjective().posterior([float(z)])
        np.testing.assert_allclose(posterior, [[1 - eta, eta]], rtol=1e-12)


def test_posterior_is_the_librarys():
    import torch

    import refocal

    z = np.random.default_rng(0).normal(0, 20, (200, 4))
    objective = SigmoidFocalObjective(alpha=0.4, gamma=(1.0, 2.5))
    expected = refocal.sigmoid_posterior(torch.tensor(z[:, 0]), alpha=0.4, gamma=(1.0, 2.5))
    np.testing.assert_allclose(objective.posterior(z[:, 0])[:, 1], expected, rtol=1e-13)
    alpha = (1.0, 2.0, 0.5, 1.5)
    expected = refocal.softmax_posterior(torch.tensor(z), alpha=torch.tensor(alpha).double())
    np.testing.assert_allclose(
        SoftmaxFocalObjective(alpha=alpha).posterior(z), expected, rtol=1e-10, atol=1e-300
    )


def test_losses_match_the_paper():
    y = np.array([1.0, 0.0, 1.0])
    z = np.array([2.0, -1.0, -60.0])
    expected = [
        float(sigmoid_loss(mp.mpf(a), b, mp.mpf("0.25"), 2)) for a, b in zip(z, y, strict=True)
    ]
    np.testing.assert_allclose(SigmoidFocalObjective().losses(y, z), expected, rtol=1e-14)
    alpha, logits = (1.0, 2.0, 3.0), [1.0, -2.0, 0.5]
    expected = float(softmax_loss([mp.mpf(one) for one in logits], 1, alpha, 1.5))
    got = SoftmaxFocalObjective(alpha=alpha, gamma=1.5).losses([1], [logits])
    np.testing.assert_allclose(got, [expected], rtol=1e-14)


# ---------------------------------------------------------------------------------------------
# bad input: every message

SETTINGS = [
    (
        SigmoidFocalObjective,
        {"alpha": -1},
        ValueError,
        r"alpha must be in \[0, 1\], got -1. To switch",
    ),
    (
        SigmoidFocalObjective,
        {"alpha": [0.1, 0.9]},
        TypeError,
        "alpha must be None or a number .* class_weight",
    ),
    (SigmoidFocalObjective, {"gamma": -2.0}, ValueError, "gamma must be finite and >= 0, got -2.0"),
    (
        SigmoidFocalObjective,
        {"gamma": math.nan},
        ValueError,
        "gamma must be finite and >= 0, got nan",
    ),
    (
        SigmoidFocalObjective,
        {"gamma": [1, 2]},
        TypeError,
        "gamma must be a number >= 0, got list. .* tuple",
    ),
    (SigmoidFocalObjective, {"gamma": (1, 2, 3)}, ValueError, "exactly two"),
    (SigmoidFocalObjective, {"hessian": "raw"}, ValueError, 'hessian must be one of "bound"'),
    (
        SigmoidFocalObjective,
        {"detach_modulator": 1},
        TypeError,
        "detach_modulator must be True or False",
    ),
    (SigmoidFocalObjective, {"class_weight": (1, 2, 3)}, ValueError, "each of 2 classes, got 3"),
    (SoftmaxFocalObjective, {"alpha": 0.25}, TypeError, "no agreed meaning"),
    (
        SoftmaxFocalObjective,
        {"alpha": (1, -1)},
        ValueError,
        "finite and >= 0 for every class, got -1",
    ),
    (
        SoftmaxFocalObjective,
        {"gamma": None},
        TypeError,
        "gamma must be a number >= 0, got NoneType",
    ),
    (
        SoftmaxFocalObjective,
        {"alpha": [[1.0]]},
        ValueError,
        r"one value per class, got shape \(1, 1\)",
    ),
]


@pytest.mark.parametrize(("kind", "settings", "error", "message"), SETTINGS)
def test_settings_are_refused(kind, settings, error, message):
    with pytest.raises(error, match=f"^{kind.__name__}: .*{message}"):
        kind(**settings)


CALLS = [
    (
        SigmoidFocalObjective(),
        [0, 2.0],
        [0, 0],
        None,
        "labels must be 0 or 1, got 2.0. For several",
    ),
    (
        SigmoidFocalObjective(),
        [1, -1.0],
        [0, 0],
        None,
        r"got -1.0. For labels -1 and 1 use \(y \+ 1\)",
    ),
    (SigmoidFocalObjective(), [1, 0.3], [0, 0], None, "got 0.3. For a label between"),
    (SigmoidFocalObjective(), [1, math.nan], [0, 0], None, "labels must be 0 or 1, got nan"),
    (
        SigmoidFocalObjective(),
        [1, 0],
        [0, 0],
        [1, -1],
        "sample_weight must be finite and >= 0, got -1",
    ),
    (SigmoidFocalObjective(), [1, 0], [0, 0], [1], r"sample_weight must have shape \(2,\)"),
    (SigmoidFocalObjective(), [1, 0], [[0, 0], [0, 0]], None, r"shape \(2,\), got \(2, 2\)"),
    (SoftmaxFocalObjective(), [0, 3], np.zeros((2, 3)), None, "indices from 0 to 2, got 3"),
    (SoftmaxFocalObjective(), [0.5, 1], np.zeros((2, 3)), None, "indices from 0 to 2, got 0.5"),
    (SoftmaxFocalObjective(), [0, 1], np.zeros((3, 3)), None, r"shape \(2, C\), got \(3, 3\)"),
    (
        SoftmaxFocalObjective(alpha=(1, 2)),
        [0, 1],
        np.zeros((2, 3)),
        None,
        "each of 3 classes, got 2",
    ),
]


@pytest.mark.parametrize(("objective", "labels", "margins", "weight", "message"), CALLS)
def test_calls_are_refused(objective, labels, margins, weight, message):
    with pytest.raises(ValueError, match=f"^{type(objective).__name__}: .*{message}"):
        objective(np.array(labels), np.array(margins, float), weight)


def test_posterior_and_start_need_both_classes():
    with pytest.raises(ValueError, match=r"a weight of 0\. .* no posterior"):
        SigmoidFocalObjective(alpha=1.0).posterior([0.0])
    with pytest.raises(ValueError, match=r"a weight of 0\. .* no posterior"):
        SoftmaxFocalObjective(alpha=(1, 0)).posterior([[0.0, 0.0]])
    with pytest.raises(ValueError, match=r"every class must occur .* none of class 1"):
        SigmoidFocalObjective().start([0, 0, 0])


@pytest.mark.parametrize("kind", ["exact", "bound", "absolute", "cross_entropy"])
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 2.0, (1.0, 0.5, 3.0, 0.0)], ids=str)
def test_rows_for_catboost(kind, detached, gamma):
    """Gradient and diagonal are those of the other hosts, and the matrix is one of F'' or above."""
    rng = np.random.default_rng(0)
    settings = {"gamma": gamma, "alpha": (1.0, 2.0, 0.5, 3.0), "detach_modulator": detached}
    objective = SoftmaxFocalObjective(hessian=kind, **settings)
    exact = SoftmaxFocalObjective(hessian="exact", **settings)
    doubled = 1 if kind == "exact" else 2
    for size in (1, 10, 60):
        z, y = rng.normal(size=4) * size, int(rng.integers(4))
        slopes, matrix = objective.calc_ders_multi(z, float(y), 1.5)
        gradient, diagonal = objective(np.array([y]), z[None], np.array([1.5]))
        np.testing.assert_allclose(-np.array(slopes), gradient[0], rtol=1e-5, atol=1e-30)
        matrix = -np.array(matrix)
        np.testing.assert_array_equal(matrix, matrix.T)
        np.testing.assert_allclose(matrix.sum(0), 0, atol=1e-9)  # a shift of all changes nothing
        np.testing.assert_allclose(doubled * matrix.diagonal(), diagonal[0], rtol=1e-4, atol=1e-15)
        if kind == "bound":
            above = matrix + np.array(exact.calc_ders_multi(z, float(y), 1.5)[1])
            assert min(np.linalg.eigvalsh(above).min(), np.linalg.eigvalsh(matrix).min()) > -1e-9


def test_the_matrix_of_a_row_is_the_second_derivative():
    torch = pytest.importorskip("torch")
    from refocal import softmax_focal_loss

    z = torch.tensor([0.5, -1.0, 2.0, 0.1], dtype=torch.float64)
    alpha = (1.0, 2.0, 0.5, 3.0)
    objective = SoftmaxFocalObjective(hessian="exact", gamma=1.5, alpha=alpha)

    def loss(z):
        return softmax_focal_loss(
            z, torch.tensor(1), gamma=1.5, alpha=torch.tensor(alpha, dtype=torch.float64)
        )

    expected = torch.autograd.functional.hessian(loss, z)
    _, matrix = objective.calc_ders_multi(z.numpy(), 1.0, 1.0)
    np.testing.assert_allclose(-np.array(matrix), expected, rtol=1e-9, atol=1e-12)


def test_a_row_of_another_number_of_classes_is_refused():
    for settings in ({"alpha": (1.0, 2.0)}, {"gamma": (1.0, 2.0)}):
        with pytest.raises(ValueError, match="3"):
            SoftmaxFocalObjective(**settings).calc_ders_multi([0.0, 0.0, 0.0], 1.0, 1.0)
