"""The decimal reference against mpmath; the bounds are bounds, and every way is right where it can be."""

import mpmath as mp
import numpy as np
import pytest

from svae_repro.kl_alternatives import ERROR_DIMS, ERROR_KAPPAS, WAYS, reference


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
