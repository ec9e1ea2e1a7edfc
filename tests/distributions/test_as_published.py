"""The faults are those that were measured: E[w], the sign of the gradient, where both vanish, and where they begin."""

import math

import numpy as np
import pytest
import torch
from scipy import special
from torch.distributions import kl_divergence

from svae_repro.distributions import HypersphericalUniform, VonMisesFisher, as_published
from svae_repro.distributions.as_published import (
    PublishedVonMisesFisher,
    UncorrectedVonMisesFisher,
    exact_b,
    published_b,
    published_moments,
    uncorrected_slope,
)

KINDS = [UncorrectedVonMisesFisher, PublishedVonMisesFisher]


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def exact(m, kappa):
    """A and A' by SciPy's scaled Bessel functions."""
    a = special.ive(m / 2, kappa) / special.ive(m / 2 - 1, kappa)
    return a, 1 - a * a - (m - 1) * a / kappa


def sampled(kind, m, kappa, n=4000):
    """w [n] and its gradients by kappa [n]."""
    loc = torch.eye(m, dtype=torch.float64)[1]
    concentration = torch.full((n,), float(kappa), dtype=torch.float64, requires_grad=True)
    w = kind(loc, concentration).rsample((), torch.Generator().manual_seed(m)) @ loc
    return w.detach(), torch.autograd.grad(w.sum(), concentration)[0]


# --- the numbers found before this study, for the code in circulation -------------------------------------------------


@pytest.mark.parametrize(
    "m, kappa, faulty, true", [(21, 20, 0.588, 0.612), (41, 20, 0.326, 0.409), (65, 11, -0.182, 0.165)]
)
def test_the_published_mean_is_wrong_as_measured(m, kappa, faulty, true):
    assert published_moments(tensor(kappa), m)[0].item() == pytest.approx(faulty, abs=5e-4)
    assert exact(m, kappa)[0] == pytest.approx(true, abs=5e-4)


@pytest.mark.parametrize(
    "m, kappa, faulty, true",
    [
        (2, 1, 0.200, 0.354),
        (5, 10, 0.0151, 0.0177),
        (11, 10, 0.0181, 0.0292),
        (21, 10, -0.0133, 0.0296),
        (41, 10, -0.122, 0.0209),
    ],
)
def test_the_published_gradient_is_wrong_as_measured(m, kappa, faulty, true):
    assert published_moments(tensor(kappa), m)[1].item() == pytest.approx(faulty, rel=5e-3)
    assert exact(m, kappa)[1] == pytest.approx(true, rel=5e-3)


@pytest.mark.parametrize("m", [5, 11, 21, 41])
def test_the_wrong_sign_is_the_blends_and_not_that_of_the_missing_correction(m):
    assert uncorrected_slope(tensor(10), m).item() == pytest.approx(exact(m, 10)[1], rel=0.11)
    blended = published_moments(torch.linspace(10.05, 10.95, 19, dtype=torch.float64), m)[1]
    assert (blended < 0).all() if m >= 21 else (blended > -1).all()
    assert (published_moments(tensor(9.9, 12), m)[1] > 0).all()


@pytest.mark.parametrize("m", [2, 11, 41, 500, 2000])
def test_the_quadrature_is_as_exact_as_it_says(m, monkeypatch):
    """Against a midpoint rule that is fine enough for the kink, too."""
    kappa = tensor(0.5, 9.99, 10, 10.9, 11, 100, 3000, 1e4)
    found = published_moments(kappa, m)
    n = 100_000
    midpoints = (np.arange(n) + 0.5) * (2 / n) - 1, np.full(n, 2 / n)
    monkeypatch.setattr(as_published, "_gauss_legendre", lambda: midpoints)
    reference = published_moments(kappa, m)
    mean, slope = (abs(a - b) for a, b in zip(found, reference, strict=True))
    slope = slope / reference[1].abs()
    assert mean[:3].max() < 1e-12 and slope[:3].max() < 1e-10
    assert mean.max() < 5e-6 and slope.max() < 6e-5


# --- the samplers ----------------------------------------------------------------------------------------------------

GRID = [(2, 1), (2, 30), (5, 10), (5, 20), (21, 10), (21, 20), (41, 10.5), (41, 50), (65, 11)]
CRITICAL = -special.ndtri(1e-3 / (4 * len(GRID)) / 2)  # one failure in a thousand for the whole grid


@pytest.mark.statistical
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m, kappa", GRID)
def test_samples_and_gradients_have_the_moments_of_the_quadrature(kind, m, kappa):
    if kind is PublishedVonMisesFisher:
        moments = [part.item() for part in published_moments(tensor(kappa), m)]
    else:
        moments = [exact(m, kappa)[0], uncorrected_slope(tensor(kappa), m).item()]
    for values, moment in zip(sampled(kind, m, kappa), moments, strict=True):
        assert abs(values.mean().item() - moment) < CRITICAL * values.std().item() / math.sqrt(len(values))


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_no_fault_on_the_sphere_in_three_dimensions(kind):
    for ours, exact_ones in zip(sampled(kind, 3, 20, 100), sampled(VonMisesFisher, 3, 20, 100), strict=True):
        assert torch.equal(ours, exact_ones)
    assert published_moments(tensor(20), 3)[0].item() == pytest.approx(exact(3, 20)[0], rel=1e-12)
    assert uncorrected_slope(tensor(20), 3).item() == pytest.approx(exact(3, 20)[1], rel=1e-12)


def test_the_constant_is_exact_to_ten_and_its_taylor_term_from_eleven():
    assert torch.equal(published_b(tensor(0, 5, 10), 21), exact_b(tensor(0, 5, 10), 21))
    assert published_b(tensor(11, 40), 21).tolist() == pytest.approx([20 / 44, 20 / 160])
    assert published_b(tensor(1e6), 21).item() == pytest.approx(exact_b(tensor(1e6), 21).item(), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_shapes_expand_and_divergence(kind):
    loc = torch.eye(7)[1].expand(2, 3, 7)
    p = kind(loc, torch.full((2, 3), 15.0))
    z = p.rsample((4,), [torch.Generator().manual_seed(s) for s in (0, 1)])
    assert z.shape == (4, 2, 3, 7) and z.dtype == torch.float32
    alone = kind(loc[1:], torch.full((1, 3), 15.0)).rsample((4,), [torch.Generator().manual_seed(1)])
    assert torch.allclose(z[:, 1:], alone, atol=1e-6)
    assert type(p.expand((5, 2, 3))) is kind
    uniform = HypersphericalUniform(7)
    assert torch.equal(kl_divergence(p, uniform), kl_divergence(VonMisesFisher(loc, p.concentration), uniform))
