"""Each fault shows, and by as much as it did before this study."""

import math
import random

import numpy as np
import pytest
import torch
from scipy import optimize, special

from svae_repro.further_faults import further_faults, released_gap

FAULTS = further_faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.where}: {f.check}")
def test_what_is_found_is_not_what_should_be(fault):
    assert not abs(fault.found - fault.should_be) <= 1e-6 + 0.01 * abs(fault.should_be)  # nor is NaN
    assert math.isfinite(fault.should_be) and fault.fault


def test_sizes():
    found = {fault.check: fault.found for fault in FAULTS}
    assert 1e-6 < found["median distance from the sphere, any μ"] < 3e-5
    assert 3e-3 < found["largest one, μ 0.001 rad from e1"] < 0.1
    assert math.isnan(found["KL at κ = 0, m = 5"]) and found["log-densities of 4 points by torch's Independent"] == 1
    assert found["equal to the paper's in all digits"] == 18
    assert found["mean of μ·z, κ = 1"] == pytest.approx(math.exp(-0.5), abs=5e-3)  # of the wrapped normal
    assert 3e-4 < found["d(x, x) in float32, radius 1, largest"] < 2e-3
    assert found["d(x, x) in float32, radius 8: % NaN"] > 10 and found["d(x, x) in float64, radius 3: % NaN"] > 10
    assert found["% of the validation edges in it"] == 100


def test_what_should_be():
    right = {fault.check: fault.should_be for fault in FAULTS}
    assert right["mean of μ·z, κ = 1"] == pytest.approx(special.i1(1) / special.i0(1))
    # A vMF of kappa = 10 in R^1000 is almost uniform: the entropy of the uniform less kappa^2 / (2 m)
    entropy = right["entropy of `vonmises_fisher`, m = 1000, κ = 10"]
    uniform = math.log(2) + 500 * math.log(math.pi) - special.gammaln(500)
    assert entropy == pytest.approx(uniform - 100 / 2000, abs=1e-3)


def test_the_released_likelihood_exceeds_the_evidence_of_a_true_posterior():
    """x = 0 under N(0, 1.01 I) in ten dimensions; what exceeds it is E[log mean of exp of Gamma(5)] - 5, by NumPy."""
    (fault,) = (fault for fault in FAULTS if fault.where == "authors' example")
    assert fault.should_be == pytest.approx(-5 * math.log(2 * math.pi * 1.01))
    energy = np.random.default_rng(0).gamma(5, size=(4000, 500))  # half of a chi square with ten degrees of freedom
    excess = special.logsumexp(energy, axis=1, b=1 / 500).mean() - 5
    assert fault.found - fault.should_be == pytest.approx(excess, abs=0.15)  # standard error of either 0.02


@pytest.mark.parametrize("m, kl, samples", [(3, 7.28, 500), (3, 0.5, 50), (3, 2.0, 1)])
def test_the_released_gap_on_the_sphere(m, kl, samples):
    """On S^2 by NumPy alone: kappa (1 - w) is exponential, cut off at 2 kappa; KL = log(k / sinh k) + k coth k - 1."""
    kappa = optimize.brentq(
        lambda k: np.log(2 * k) - np.log1p(-np.exp(-2 * k)) + k / np.tanh(k) - 1 - k - kl, 1e-3, 1e5
    )
    energy = -np.log1p(np.random.default_rng(0).random((20_000, samples)) * np.expm1(-2 * kappa))
    normaliser = np.log(2 * kappa) - np.log1p(-np.exp(-2 * kappa))  # log of 4 pi times the density at the mode
    gaps = special.logsumexp(energy - normaliser, axis=1, b=1 / samples) + kl
    found, error = released_gap(kl, m, samples)
    assert 0 < error < 0.05
    assert found == pytest.approx(gaps.mean(), abs=5 * error)
    if samples == 1:
        assert found == pytest.approx(0, abs=5 * error)  # the ELBO


def test_they_are_the_same_twice_and_leave_the_global_generators_alone():
    before = torch.random.get_rng_state(), random.getstate()
    assert str(further_faults()) == str(FAULTS)
    assert torch.equal(torch.random.get_rng_state(), before[0]) and random.getstate() == before[1]
