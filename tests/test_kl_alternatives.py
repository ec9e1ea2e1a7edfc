"""The decimal reference against mpmath; the bounds are bounds, and every way is right where it can be."""

import mpmath as mp
import numpy as np
import pytest

from svae_repro.kl_alternatives import (
    ERROR_DIMS,
    ERROR_KAPPAS,
    LOWER,
    SHARP,
    UPPER,
    WAYS,
    exact_log_0f1,
    log_0f1_by_ive,
    reference,
)


@pytest.mark.parametrize("m", ERROR_DIMS)
@pytest.mark.parametrize("kappa", ERROR_KAPPAS)
def test_the_reference_is_exact(m, kappa):
    with mp.workdps(60):
        order, x = mp.mpf(m) / 2 - 1, mp.mpf(kappa)
        below, above = (mp.besseli(v, x, maxterms=10**6) for v in (order, order + 1))
        a = above / below
        value = x * a - (mp.loggamma(order + 1) + order * mp.log(2 / x) + mp.log(below))
        expected = float(value), float(x * (1 - a * a - (m - 1) * a / x))
    assert reference(m, kappa) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("m", [2, 5, 21])
def test_the_bounds_bracket_the_divergence_and_the_others_agree(m):
    kappa = np.array([0.5, 2.0, 20.0])
    true = np.array([reference(m, k)[0] for k in kappa])
    lower, upper = (WAYS[f"{side} bound of the ratio"](kappa, m)[0] for side in ("lower", "upper"))
    assert (lower < true).all() and (true < upper).all()
    for way, tolerance in (("ive, float32", 0.1), ("ive, float64", 1e-11), ("ours", 1e-13)):
        assert WAYS[way](kappa, m)[0] == pytest.approx(true, rel=tolerance), way


@pytest.mark.parametrize("m", [2, 3, 5, 21])
@pytest.mark.parametrize("bound", [UPPER, LOWER, *SHARP], ids=["Amos, upper", "Amos, lower", "B_0", "B_2"])
def test_each_bound_keeps_to_its_side_and_its_slope_is_its_derivative(m, bound):
    kappa, step = np.array([0.1, 1.0, 10.0, 100.0]), 1e-6
    exact = np.array([(reference(m, k)[0] + exact_log_0f1(np.array([k]), m)[0]) / k for k in kappa])
    side = 1 if bound in (UPPER, SHARP[0]) else -1
    value, slope = bound(kappa, m)
    assert (side * (value - exact) >= 0).all() and value == pytest.approx(exact, rel=0.5)
    difference = (bound(kappa + step, m)[0] - bound(kappa - step, m)[0]) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-5, abs=1e-9)


def test_the_mean_of_the_sharper_bounds_is_off_by_five_per_cent_on_the_sphere():
    kappa, exact = np.array([1.0]), 1 / np.tanh(1) - 1
    ratio = np.mean([bound(kappa, 3)[0] for bound in SHARP])
    assert ratio / exact - 1 == pytest.approx(0.024, abs=0.001)
    value, slope = (part[0] for part in WAYS["mean of sharper bounds"](kappa, 3))
    true_value, true_slope = reference(3, 1.0)
    assert value / true_value - 1 == pytest.approx(0.050, abs=0.001)
    assert slope / true_slope - 1 == pytest.approx(0.036, abs=0.001)


def test_the_normaliser_by_ive_is_ours_where_it_is_finite():
    kappa = np.geomspace(0.1, 1000, 9)
    assert log_0f1_by_ive(kappa, 11) == pytest.approx(exact_log_0f1(kappa, 11), rel=1e-11)
