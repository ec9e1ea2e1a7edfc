"""VonMisesFisher against quadrature, mpmath and SciPy: its law, gradients, divergences, edges and contract.

The oracles share no formula with the code: the law of the angle theta is integrated on a fine grid, Bessel functions
are mpmath's. Each statistical test holds its whole grid to one failure rate, `RATE`, by Bonferroni; seeds are fixed.
"""

import math
from functools import cache
from typing import NamedTuple

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from svae_repro.distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher, von_mises_fisher
from svae_repro.distributions.von_mises_fisher import angle_slope
from tests.distributions.common import DTYPES, KAPPAS, RATE, critical_z, directions, generator, tensor


def polar(z, loc):
    """Angle theta [...] from loc, exact near 0, and unit direction [..., m] around it, in float64."""
    z, loc = z.double(), loc.double()
    along = (z * loc).sum(-1, keepdim=True) / loc.square().sum(-1, keepdim=True)
    across = z - along * loc
    return torch.atan2(across.norm(dim=-1), along.squeeze(-1)), normalize(across, dim=-1)


class Law(NamedTuple):
    """Density of theta, proportional to exp(kappa cos(theta)) sin(theta)^(m-2), on a fine grid."""

    theta: np.ndarray
    density: np.ndarray
    cdf: np.ndarray

    def expect(self, f):
        return integrate.simpson(f * self.density, x=self.theta)


@cache
def law(m, kappa):
    width = 1 / math.sqrt(kappa + m - 2) if kappa + m > 2 else math.inf  # bounds the standard deviation
    mode = math.atan2(
        math.sqrt(m - 2), math.sqrt(2 * kappa**2 / (math.hypot(m - 2, 2 * kappa) + m - 2) if kappa else 0)
    )
    theta = np.linspace(max(0, mode - 20 * width), min(math.pi, mode + 20 * width), 16_001)
    with np.errstate(divide="ignore"):
        log_density = -2 * kappa * np.sin(theta / 2) ** 2 + ((m - 2) * np.log(np.sin(theta)) if m > 2 else 0)
    density = np.exp(log_density - log_density.max())
    cdf = integrate.cumulative_simpson(density, x=theta, initial=0)
    return Law(theta, density / cdf[-1], cdf / cdf[-1])


# --- exact values, mpmath at 60 digits -------------------------------------------------------------------------------


def log_iv(order, x):
    """mpmath's own series for small x, Hankel's (DLMF 10.40.1) for x far beyond the order, where that does not end."""
    if x <= 1000 + 3 * order:
        return mp.log(mp.besseli(order, x, maxterms=10**6, maxprec=20_000))
    k, term, total = 0, mp.mpf(1), mp.mpf(1)
    with mp.workdps(70 + int(order**2 / x / 2)):
        while abs(term) > mp.mpf(10) ** -60 * abs(total):
            k += 1
            term *= (mp.mpf((2 * k - 1) ** 2) - 4 * order**2) / (8 * k * x)
            total += term
        return x - mp.log(2 * mp.pi * x) / 2 + mp.log(total)


class Exact(NamedTuple):
    log_normalizer: mp.mpf  # F, relative to the uniform distribution
    ratio: mp.mpf  # A
    slope: mp.mpf  # dA/dkappa


@cache
def exact(m, kappa):
    with mp.workdps(60):
        order, kappa = mp.mpf(m) / 2 - 1, mp.mpf(kappa)
        if kappa == 0:
            return Exact(mp.mpf(0), mp.mpf(0), 1 / mp.mpf(m))
        below, above = log_iv(order, kappa), log_iv(order + 1, kappa)
        a = mp.exp(above - below)
        f = mp.loggamma(order + 1) + order * mp.log(2 / kappa) + below
        return Exact(f, a, 1 - a * a - (m - 1) * a / kappa)


def log_area(m):
    """Area of S^(m-1) = m times the volume of the unit ball of R^m."""
    with mp.workdps(60):
        return mp.log(m) + mp.mpf(m) / 2 * mp.log(mp.pi) - mp.loggamma(mp.mpf(m) / 2 + 1)


def exact_shortfall(m, kappa):
    """1 - A"""
    with mp.workdps(60):
        return float(1 - exact(m, kappa).ratio)


def exact_uniform_kl(m, kappa):
    with mp.workdps(60):
        e = exact(m, kappa)
        return kappa * e.ratio - e.log_normalizer


# --- 1. the law ------------------------------------------------------------------------------------------------------

# kappa = 0, far below, about and far above m, to 1e6: one batch for each m
LAW_GRID = {m: [0.0, 0.01, 1.0, m / 3, float(m), 3.0 * m, 20.0, 1e6] for m in [2, 3, 4, 5, 11, 21, 41, 101, 1000]}
LAW_GRID_FLOAT32 = {m: [0.0, float(m), 1e6] for m in [2, 3, 11, 101]}
SECOND_ROUND_KAPPAS = [0.01, 1.0, 1e3]
LAW_TESTS = sum(map(len, [*LAW_GRID.values(), *LAW_GRID_FLOAT32.values(), SECOND_ROUND_KAPPAS]))


def assert_law(m, kappas, n, dtype):
    loc = normalize(directions(m).to(dtype), dim=-1)[torch.arange(len(kappas)) % 5]
    z = VonMisesFisher(loc, torch.tensor(kappas, dtype=dtype)).rsample((n,), generator(m))
    theta = polar(z, loc)[0].numpy()
    for i, kappa in enumerate(kappas):
        oracle = law(m, kappa)
        test = stats.kstest(theta[:, i], lambda x, oracle=oracle: np.interp(x, oracle.theta, oracle.cdf))
        assert test.pvalue > RATE / LAW_TESTS, f"m={m}, kappa={kappa}: {test}"


@pytest.mark.statistical
@pytest.mark.parametrize("m", LAW_GRID)
def test_angle_follows_its_law(m):
    assert_law(m, LAW_GRID[m], 2500, torch.float64)  # 20,000 samples: a large batch, second rejection round included


@pytest.mark.statistical
@pytest.mark.parametrize("m", LAW_GRID_FLOAT32)
def test_angle_follows_its_law_in_float32(m):
    assert_law(m, LAW_GRID_FLOAT32[m], 1300, torch.float32)  # 3,900 samples: a small batch


@pytest.mark.statistical
def test_proposals_of_the_second_round_belong_to_their_own_kappa(monkeypatch):
    monkeypatch.setattr(von_mises_fisher, "PROPOSALS", 1)
    assert_law(5, SECOND_ROUND_KAPPAS, 1300, torch.float64)


@pytest.mark.statistical
@pytest.mark.parametrize("m", [2, 3, 5, 101])
def test_direction_around_loc_is_uniform_and_independent_of_the_angle(m):
    n, loc = 1500, directions(m)
    z = VonMisesFisher(loc, float(m)).rsample((n,), generator(m))
    theta, around = polar(z, loc)  # [n, 5], [n, 5, m]
    for i in range(5):
        basis = torch.linalg.qr(torch.cat([loc[i, :, None], torch.eye(m, dtype=loc.dtype)], dim=1)).Q[:, 1:m]
        chosen = basis[:, [0, 1, m // 2, m - 2] if m > 4 else range(m - 1)]
        for axis in chosen.T:
            u = (around[:, i] @ axis).numpy()
            for part in (u, u[theta[:, i].numpy() < np.median(theta[:, i])]):
                if m == 2:  # two directions, each with probability 1/2
                    p = stats.binomtest(int((part > 0).sum()), len(part)).pvalue
                else:  # a coordinate of a uniform point of S^(m-2)
                    p = stats.kstest((1 + part) / 2, stats.beta((m - 2) / 2, (m - 2) / 2).cdf).pvalue
                assert p > RATE / (4 * 5 * 4 * 2), f"direction {i}"  # m, loc, axes, whole and half: at most so many


@pytest.mark.statistical
def test_samples_agree_with_scipy():
    loc = directions(5)[1]
    ours = VonMisesFisher(loc, 3.0).rsample((3000,), generator()).numpy()
    theirs = stats.vonmises_fisher(loc.numpy(), 3.0).rvs(3000, random_state=1)
    for axis in range(5):
        assert stats.ks_2samp(ours[:, axis], theirs[:, axis]).pvalue > RATE / 5


@pytest.mark.statistical
@pytest.mark.parametrize("m, kappa", [(2, 0.0), (2, 2.0), (5, 10.0), (41, 20.0)])
def test_mean_is_the_mean_of_samples(m, kappa):
    p = VonMisesFisher(directions(m)[0], kappa)
    z = p.rsample((4000,), generator(m))
    error = (z.mean(0) - p.mean) / (z.std(0) / math.sqrt(len(z)))
    assert error.abs().max() < critical_z(2 + 2 + 5 + 41)
    assert torch.equal(p.mode, p.loc)


# --- 2. gradients ----------------------------------------------------------------------------------------------------


def moment_gradients(m, kappa):
    """d/dkappa of E[w] and E[w^2]: Var(w) and Cov(w^2, w), by quadrature of centred powers of v = 1 - w."""
    oracle = law(m, kappa)
    v = 2 * np.sin(oracle.theta / 2) ** 2
    dv, dv2 = v - oracle.expect(v), v**2 - oracle.expect(v**2)
    return oracle.expect(dv**2), oracle.expect((2 * dv - dv2) * dv)


@pytest.mark.parametrize("m, kappa", [(2, 1.0), (5, 10.0), (41, 10.0), (1000, 1e6)])
def test_quadrature_oracle_agrees_with_mpmath(m, kappa):
    assert moment_gradients(m, kappa)[0] == pytest.approx(float(exact(m, kappa).slope), rel=1e-9)
    assert 1 - law(m, kappa).expect(2 * np.sin(law(m, kappa).theta / 2) ** 2) == pytest.approx(
        float(exact(m, kappa).ratio), rel=1e-9
    )


def assert_moment_gradients(gradients, m, kappa, tests, resolution):
    """``gradients`` [n, 2] are unbiased for those of E[w], E[w^2], with a standard error that could show a bias."""
    error = gradients.std(0) / math.sqrt(len(gradients))
    expected = torch.tensor(moment_gradients(m, kappa))
    assert (error < resolution * expected[0]).all(), f"too noisy to tell: {error / expected[0]}"
    assert ((gradients.mean(0) - expected) / error).abs().max() < critical_z(tests), f"{gradients.mean(0)}, {expected}"


IMPLICIT_GRID = [(m, k) for m in (2, 3, 5, 21, 101, 1000) for k in (0.0, 1.0, 10.0, 1e3, 1e6)]
# Eq. 8's noise grows as kappa^2 dkappa / m: beyond these kappas no affordable sample could show a bias
REJECTION_GRID = [(m, k) for m in (2, 3, 5, 21, 41) for k in (0.0, 1.0, 10.0)]


@pytest.mark.statistical
@pytest.mark.parametrize("m, kappa", IMPLICIT_GRID)
def test_gradient_by_kappa_is_unbiased(m, kappa):
    loc, concentration = directions(m)[1], torch.full((1500,), kappa, dtype=torch.float64, requires_grad=True)
    w = VonMisesFisher(loc, concentration).rsample((), generator(m)) @ loc
    gradients = [torch.autograd.grad(f.sum(), concentration, retain_graph=True)[0] for f in (w, w**2)]
    assert_moment_gradients(torch.stack(gradients, -1), m, kappa, 2 * len(IMPLICIT_GRID), 0.12)


@pytest.mark.parametrize("dtype, rounding", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("m", [2, 3, 11])
def test_kappa_moves_a_sample_along_its_own_great_circle(m, dtype, rounding):
    loc = normalize(directions(m).to(dtype), dim=-1)
    kappa = torch.full((5,), 3.0, dtype=dtype, requires_grad=True)
    p = VonMisesFisher(loc, kappa)
    z = p.rsample((), generator(m))
    cotangent = torch.randn(5, m, generator=generator(), dtype=dtype)
    (gradient,) = torch.autograd.grad((cotangent * z).sum(), kappa)
    theta, around = polar(z.detach(), loc)
    speed = angle_slope(kappa.detach().double(), theta, torch.full_like(theta, exact_shortfall(m, 3.0)), m)
    velocity = speed[:, None] * (theta.cos()[:, None] * around - theta.sin()[:, None] * loc.double())
    assert torch.allclose(gradient.double(), (cotangent.double() * velocity).sum(-1), rtol=rounding, atol=rounding)


def rejection_gradients(m, kappa, n, corrected=True):
    """Per-sample gradients [n, 2] of w and w^2, each less its mean: a constant in f lowers the noise of Eq. 8."""
    loc, concentration = directions(m)[1], torch.full((n,), kappa, dtype=torch.float64, requires_grad=True)
    z, log_ratio = VonMisesFisher(loc, concentration).rsample_rejection((), generator(m))
    w, gradients = z @ loc, []
    for power in (1, 2):
        f = w**power - law(m, kappa).expect(np.cos(law(m, kappa).theta) ** power)
        surrogate = f + f.detach() * log_ratio if corrected else f
        gradients.append(torch.autograd.grad(surrogate.sum(), concentration, retain_graph=True)[0])
    return torch.stack(gradients, -1)


@pytest.mark.statistical
@pytest.mark.parametrize("m, kappa", REJECTION_GRID)
def test_gradient_through_rejection_is_unbiased_with_its_correction(m, kappa):
    assert_moment_gradients(rejection_gradients(m, kappa, 6000), m, kappa, 2 * len(REJECTION_GRID), 0.12)


@pytest.mark.statistical
def test_gradient_through_rejection_is_biased_without_its_correction():
    gradients = rejection_gradients(2, 1.0, 6000, corrected=False)[:, 0]
    error = gradients.std() / math.sqrt(len(gradients))
    assert abs(gradients.mean() - 0.200) < critical_z(1) * error  # measured before for the authors' estimator
    assert 0.354 - gradients.mean() > 20 * error


def slope_by_quadrature(m, kappa, theta):
    """d theta/d kappa = -(dG/dkappa) / g by 200 x 20 Gauss-Legendre nodes on the side of theta that does not cancel."""
    mean_versine = exact_shortfall(m, kappa)
    upwards = 2 * math.sin(theta / 2) ** 2 >= mean_versine
    reach = 40 / math.sqrt(kappa + m - 2) if kappa + m > 2 else math.inf
    far = min(math.pi, theta + reach) if upwards else max(0, theta - reach)
    edges = np.linspace(theta, far, 201)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    phi = (edges[:-1, None] + np.diff(edges)[:, None] * (nodes + 1) / 2).ravel()
    log_g = -2 * kappa * np.sin((phi - theta) / 2) * np.sin((phi + theta) / 2) + (m - 2) * np.log(
        np.sin(phi) / np.sin(theta)
    )
    integrand = (mean_versine - 2 * np.sin(phi / 2) ** 2) * np.exp(log_g)
    return integrand.reshape(200, 20) @ weights @ np.diff(edges) / 2


def test_slope_oracle_agrees_with_mpmath():
    m, kappa, theta = 5, 10.0, 0.5
    with mp.workdps(30):

        def density(x):
            return mp.exp(kappa * mp.cos(x)) * mp.sin(x) ** (m - 2)

        a = exact(m, kappa).ratio
        expected = -mp.quad(lambda x: (mp.cos(x) - a) * density(x), [0, theta]) / density(theta)
    assert slope_by_quadrature(m, kappa, theta) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("m", [2, 3, 5, 21, 101, 1000])
def test_angle_slope_is_the_exact_derivative(m):
    # 2.5e-9 measured
    for kappa in [*KAPPAS, 1e12, 1e18]:
        shortfall = tensor(exact_shortfall(m, kappa))
        oracle = law(m, kappa)
        quantiles = np.interp([1e-9, 1e-6, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-6, 1 - 1e-9], oracle.cdf, oracle.theta)
        for theta in quantiles[quantiles > 0]:
            slope = angle_slope(tensor(kappa), tensor(theta), shortfall, m).item()
            assert slope == pytest.approx(slope_by_quadrature(m, kappa, theta), rel=1e-8), f"{kappa=}, {theta=}"


@pytest.mark.parametrize("kappa", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("m", [2, 3, 1000])
def test_angle_slope_vanishes_at_both_poles(m, kappa):
    slope = angle_slope(tensor(kappa), tensor(0.0, math.pi), tensor(exact_shortfall(m, kappa)), m)
    assert slope.abs().max() < 1e-14  # the integral over what rounding leaves between theta and the pole


@pytest.mark.statistical
@pytest.mark.parametrize("estimator", ["implicit", "rejection"])
@pytest.mark.parametrize("m, kappa", [(2, 1.0), (3, 5.0), (5, 10.0), (21, 100.0)])
def test_gradient_by_loc_is_exact_on_average(m, kappa, estimator):
    n, test_vector = 1500, normalize(torch.linspace(-1, 2, m, dtype=torch.float64), dim=0)
    w2 = law(m, kappa).expect(np.cos(law(m, kappa).theta) ** 2)
    for i, direction in enumerate(directions(m)):
        loc = direction.repeat(n, 1).requires_grad_()
        p = VonMisesFisher(loc, kappa)
        z = p.rsample((), generator(i)) if estimator == "implicit" else p.rsample_rejection((), generator(i))[0]
        along = direction @ test_vector
        tangent = test_vector - along * direction  # only the part along the sphere has a meaning
        # E[a.z] = A a.loc; E[(a.z)^2] = E[w^2] (a.loc)^2 + E[1 - w^2] (1 - (a.loc)^2) / (m - 1)
        expected = [float(exact(m, kappa).ratio), 2 * along * (w2 - (1 - w2) / (m - 1))]
        for power, factor in zip((1, 2), expected, strict=True):
            f = ((z @ test_vector) ** power).sum()
            gradient = torch.autograd.grad(f, loc, retain_graph=True)[0] @ tangent
            deviation = gradient.mean() - factor * tangent.square().sum()
            error = gradient.std() / math.sqrt(n)
            assert deviation.abs() < critical_z(2 * 4 * 5 * 2) * error + 1e-12, f"direction {i}, power {power}"


# --- 3. divergences and entropy --------------------------------------------------------------------------------------

KL_DIMENSIONS = [2, 3, 5, 41, 101, 1000]
RELATIVE = {torch.float64: 2e-15, torch.float32: 1.2e-7}  # of the result
ROUNDING = 1e-14  # of parts that cancel where two distributions are nearly the same
NARROW = [1e9, 1e12, 1e18]  # where a difference of numbers as large as kappa has few digits left, or none


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", KL_DIMENSIONS)
def test_kl_to_uniform_and_its_gradient(m, dtype):
    kappa = tensor(*KAPPAS, dtype=dtype).requires_grad_()
    loc = normalize(directions(m)[0].to(dtype), dim=0)
    kl = kl_divergence(VonMisesFisher(loc, kappa), HypersphericalUniform(m))
    (gradient,) = torch.autograd.grad(kl.sum(), kappa)
    assert kl.dtype == gradient.dtype == dtype
    for k, value, slope in zip(kappa.tolist(), kl.tolist(), gradient.tolist(), strict=True):
        expected_slope = float(k * exact(m, k).slope)
        assert value == pytest.approx(float(exact_uniform_kl(m, k)), rel=RELATIVE[dtype], abs=0), f"kappa={k}"
        # the series of A' leaves out what is below 5e-15 of its largest value: measured 1.1e-13
        assert slope == pytest.approx(expected_slope, rel=max(RELATIVE[dtype], 5e-13), abs=0), f"kappa={k}"


@pytest.mark.parametrize("m", KL_DIMENSIONS)
def test_a_narrow_distribution_keeps_its_digits(m):
    loc = directions(m)[0]
    for kappa in NARROW:
        p, wider = VonMisesFisher(loc, tensor(kappa)), VonMisesFisher(loc, tensor(kappa / 4))
        with mp.workdps(60):
            density = kappa - exact(m, kappa).log_normalizer - log_area(m)
            gap = exact(m, kappa / 4).log_normalizer - exact(m, kappa).log_normalizer
            between = exact(m, kappa).ratio * (kappa - mp.mpf(kappa) / 4) + gap
        kl = kl_divergence(p, HypersphericalUniform(m))
        assert kl.item() == pytest.approx(float(exact_uniform_kl(m, kappa)), rel=2e-14, abs=0)
        # two divergences of up to 20,000 nats, of which 200 are left
        assert kl_divergence(p, wider).item() == pytest.approx(float(between), rel=2e-13, abs=0)
        assert p.log_prob(loc).item() == pytest.approx(float(density), rel=2e-14, abs=0)


def test_kl_to_uniform_by_quadrature():
    oracle, uniform = law(11, 7.0), law(11, 0.0)
    ours = np.interp(oracle.theta, uniform.theta, uniform.density)
    kl = oracle.expect(np.log(np.maximum(oracle.density, 1e-300) / np.maximum(ours, 1e-300)))
    got = kl_divergence(VonMisesFisher(directions(11)[0], 7.0), HypersphericalUniform(11))
    assert got.item() == pytest.approx(kl, rel=1e-6)  # linear interpolation between 16,001 points


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", KL_DIMENSIONS)
def test_kl_between_two(m, dtype):
    loc_p, loc_q = normalize(directions(m).to(dtype), dim=-1)[[0, 1]]
    for kappa_p, kappa_q in [(0.0, 1.0), (1.0, 0.0), (1.0, 20.0), (100.0, 20.0), (1e6, 1e3), (1e3, 1e6), (5.0, 5.0)]:
        p, q = VonMisesFisher(loc_p, kappa_p), VonMisesFisher(loc_q, kappa_q)
        e_p, e_q = exact(m, kappa_p), exact(m, kappa_q)
        with mp.workdps(60):
            u, v = ([mp.mpf(x) for x in loc.tolist()] for loc in (loc_p, loc_q))
            cosine = mp.fdot(u, v) / mp.sqrt(mp.fdot(u, u) * mp.fdot(v, v))
            kl = e_p.ratio * (kappa_p - kappa_q * cosine) - e_p.log_normalizer + e_q.log_normalizer
        # that loc is of unit length only to rounding moves the cosine by a few of its epsilons
        tolerance = ROUNDING + 4 * torch.finfo(dtype).eps * kappa_q
        assert kl_divergence(p, q).item() == pytest.approx(float(kl), rel=RELATIVE[dtype], abs=tolerance)


def log_mass(m, kappa):
    """log of the integral of exp(kappa (cos(theta) - 1)) sin(theta)^(m-2) over theta, by quadrature."""
    theta = law(m, kappa).theta
    with np.errstate(divide="ignore"):
        log_density = -2 * kappa * np.sin(theta / 2) ** 2 + ((m - 2) * np.log(np.sin(theta)) if m > 2 else 0)
    return math.log(integrate.simpson(np.exp(log_density - log_density.max()), x=theta)) + log_density.max()


def kl_by_quadrature(m, kappa_p, kappa_q, between):
    """E_p[log p - log q] over theta from loc_p and phi around it from the side of loc_q, ``between`` the two means."""
    p = law(m, kappa_p)
    theta, weight = p.theta[::4, None], p.density[::4, None]
    if m == 2:  # two sides
        cosine, side = np.array([1.0, -1.0]), np.full(2, 0.5)
    else:
        around = law(m - 1, 0.0)
        phi = around.theta[::80]
        cosine, side = np.cos(phi), around.density[::80] * integrate.simpson(np.eye(len(phi)), x=phi)
    # 1 - loc_q.x, without cancellation where x and loc_q are close: theta - between is their angle at phi = 0
    versine = 2 * np.sin((theta - between) / 2) ** 2 + np.sin(theta) * math.sin(between) * (1 - cosine)
    log_p = -2 * kappa_p * np.sin(theta / 2) ** 2 - log_mass(m, kappa_p)
    log_q = -kappa_q * versine - log_mass(m, kappa_q)
    return integrate.simpson((weight * (log_p - log_q)) @ side, x=theta[:, 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [2, 3, 5, 41])
def test_kl_between_two_by_quadrature(m, dtype):
    """From the densities alone: no Bessel function, no closed form."""
    loc = normalize(directions(m).to(dtype), dim=-1)
    kappas = [(0.0, 0.1), (0.1, 0.5), (5.0, 0.0), (1.0, 20.0), (100.0, 20.0), (1e4, 1e2), (1e2, 1e4)]
    for first, second in [(0, 1), (2, 4), (0, 0), (2, 3)]:
        between, _ = polar(loc[second], loc[first])
        for pair in kappas:
            kappa_p, kappa_q = tensor(*pair, dtype=dtype).tolist()
            p, q = VonMisesFisher(loc[first], kappa_p), VonMisesFisher(loc[second], kappa_q)
            expected = kl_by_quadrature(m, kappa_p, kappa_q, between.item())
            tolerance = 1e-12 * (kappa_p + kappa_q) + 4 * torch.finfo(dtype).eps * kappa_q + 1e-12
            found = kl_divergence(p, q).item()
            assert found == pytest.approx(expected, rel=max(1e-10, RELATIVE[dtype]), abs=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", KL_DIMENSIONS)
def test_gradient_of_kl_between_two(m, dtype):
    """By both concentrations and along the sphere by both means, in exact arithmetic."""
    eps = torch.finfo(dtype).eps
    locs = normalize(directions(m).to(dtype), dim=-1)[[0, 1]]
    for pair in [(0.0, 1.0), (1.0, 0.0), (1.0, 20.0), (100.0, 20.0), (1e6, 1e3), (1e3, 1e6), (5.0, 5.0)]:
        inputs = [x.clone().requires_grad_() for x in (*locs, *tensor(*pair, dtype=dtype))]
        loc_p, loc_q, kappa_p, kappa_q = inputs
        kl = kl_divergence(VonMisesFisher(loc_p, kappa_p), VonMisesFisher(loc_q, kappa_q))
        by_loc_p, by_loc_q, by_kappa_p, by_kappa_q = torch.autograd.grad(kl, inputs)
        e_p, e_q = (exact(m, kappa) for kappa in pair)
        u, v = locs.double()
        cosine = float(u @ v / (u.norm() * v.norm()))
        slope, ratio = float(e_p.slope), float(e_p.ratio)
        # of the cosine; of the series of A'; of A and the derivative of F, which cancel
        rounding = 4 * eps * slope * pair[1] + 5e-13 * slope * sum(pair) + 1e-15
        expected = float(e_p.slope * (pair[0] - pair[1] * mp.mpf(cosine)))
        assert by_kappa_p.item() == pytest.approx(expected, rel=2 * eps, abs=rounding), pair
        expected = float(e_q.ratio) - ratio * cosine
        assert by_kappa_q.item() == pytest.approx(expected, rel=2 * eps, abs=4 * eps + 2e-14), pair
        for gradient, own, other in ((by_loc_p, u, v), (by_loc_q, v, u)):
            along = gradient.double() - (gradient.double() @ own) * own
            expected = -pair[1] * ratio * (other - cosine * own)
            tolerance = 8 * eps * gradient.double().norm().item() + 8 * eps * pair[1] * ratio
            assert torch.allclose(along, expected, rtol=0, atol=tolerance), pair


@pytest.mark.parametrize("m", [2, 3, 5, 41])
@pytest.mark.parametrize("kappa_p, kappa_q", [(0.1, 0.5), (1.0, 20.0), (100.0, 20.0)])
def test_gradient_of_kl_between_two_by_finite_differences(m, kappa_p, kappa_q):
    def kl(loc_p, kappa_p, loc_q, kappa_q):
        p, q = VonMisesFisher(normalize(loc_p, dim=-1), kappa_p), VonMisesFisher(normalize(loc_q, dim=-1), kappa_q)
        return kl_divergence(p, q)

    loc_p, loc_q = directions(m)[[0, 1]]
    inputs = [x.clone().requires_grad_() for x in (loc_p, tensor(kappa_p), loc_q, tensor(kappa_q))]
    assert torch.autograd.gradcheck(kl, inputs, rtol=1e-6, atol=1e-6)


def test_kl_to_itself_is_zero_and_to_kappa_zero_is_that_to_uniform():
    loc = directions(5)
    p = VonMisesFisher(loc, 7.0)
    assert kl_divergence(p, p).abs().max() < ROUNDING
    to_zero = kl_divergence(p, VonMisesFisher(-loc, 0.0))
    assert torch.allclose(to_zero, kl_divergence(p, HypersphericalUniform(5)), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", KL_DIMENSIONS)
def test_entropy(m, dtype):
    entropy = VonMisesFisher(directions(m)[0].to(dtype), tensor(*KAPPAS, dtype=dtype)).entropy()
    for k, value in zip(tensor(*KAPPAS, dtype=dtype).tolist(), entropy.tolist(), strict=True):
        expected = float(log_area(m) - exact_uniform_kl(m, k))
        tolerance = ROUNDING + 5e-16 * float(abs(log_area(m)))  # the area's logarithm from lgamma: 2.3e-13 of 2,032
        assert value == pytest.approx(expected, rel=RELATIVE[dtype], abs=tolerance), f"kappa={k}"


def test_kl_broadcasts_over_batches():
    p = VonMisesFisher(directions(4)[:3], torch.ones(2, 3, dtype=torch.float64))
    assert kl_divergence(p, HypersphericalUniform(4)).shape == (2, 3)
    assert kl_divergence(p, VonMisesFisher(directions(4)[0], 2.0)).shape == (2, 3)
    assert kl_divergence(VonMisesFisher(directions(4)[0], 2.0), p).shape == (2, 3)


@pytest.mark.parametrize("other", [HypersphericalUniform(4), VonMisesFisher(torch.eye(4)[0], 1.0)])
def test_kl_between_different_dimensions_raises(other):
    with pytest.raises(ValueError, match=r"R\^3 and R\^4"):
        kl_divergence(VonMisesFisher(torch.eye(3)[0], 1.0), other)


@pytest.mark.parametrize("kind", [VonMisesFisher, PowerSpherical])
def test_kl_to_the_uniform_has_the_batch_shape_of_both(kind):
    p, many = kind(torch.eye(3)[0], 1.0), kind(torch.eye(3)[0].expand(2, 3), 1.0)
    kl = kl_divergence(p, HypersphericalUniform(3, (4,)))
    assert torch.equal(kl, kl_divergence(p, HypersphericalUniform(3)).expand(4))
    with pytest.raises(ValueError, match=r"p \[2\] and q \[4\] do not broadcast"):
        kl_divergence(many, HypersphericalUniform(3, (4,)))


@pytest.mark.parametrize("kind", [VonMisesFisher, PowerSpherical])
def test_a_whole_number_is_a_concentration_and_a_point(kind):
    whole, real = (kind(torch.eye(3)[0], kappa) for kappa in (torch.tensor(5), torch.tensor(5.0)))
    mean = kind(torch.tensor([1, 0, 0]), 5)
    assert torch.equal(mean.rsample((4,), generator()), real.rsample((4,), generator()))
    for p in (whole, real, mean):
        assert torch.equal(p.entropy(), real.entropy()) and p.entropy().dtype == torch.float32
    points = torch.tensor([0, 1, 0])
    for p in (whole, HypersphericalUniform(3)):
        assert torch.equal(p.log_prob(points), p.log_prob(points.float()))


# --- 4. density ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1.0, 100.0])
def test_density_integrates_to_one_on_the_circle(kappa):
    angle = torch.arange(400, dtype=torch.float64) * (2 * math.pi / 400)  # trapezium rule, exact for periodic functions
    points = torch.stack([angle.cos(), angle.sin()], -1)
    density = VonMisesFisher(directions(2)[1], kappa).log_prob(points).exp()
    assert density.sum().item() * 2 * math.pi / 400 == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 100.0])
def test_density_integrates_to_one_on_the_sphere(kappa):
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(100))  # in the height; trapezium around
    angle = torch.arange(200, dtype=torch.float64) * (2 * math.pi / 200)
    height, radius = nodes[:, None].expand(100, 200), (1 - nodes[:, None] ** 2).sqrt()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), height], -1)
    density = VonMisesFisher(directions(3)[1], kappa).log_prob(points).exp()
    assert (weights @ density).sum().item() * 2 * math.pi / 200 == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("m", [2, 4, 11, 101, 1000])
def test_density_integrates_to_one_over_the_angle(m, kappa):
    theta = torch.from_numpy(law(m, kappa).theta)
    e1, e2 = torch.eye(m, dtype=torch.float64)[:2]
    log_prob = torch.cat(  # in pieces, to save memory
        [VonMisesFisher(e1, kappa).log_prob(t.cos()[:, None] * e1 + t.sin()[:, None] * e2) for t in theta.split(4000)]
    )
    ring = float(log_area(m - 1)) if m > 2 else math.log(2)  # of the points at one angle: S^(m-2)
    with np.errstate(divide="ignore"):
        log_marginal = log_prob.numpy() + ring + ((m - 2) * np.log(np.sin(theta.numpy())) if m > 2 else 0)
    # a density of size e^1000 carries the rounding of its logarithm, as does kappa = 1e6
    assert integrate.simpson(np.exp(log_marginal), x=theta.numpy()) == pytest.approx(1, rel=2e-9)


@pytest.mark.parametrize("m, kappa", [(2, 1.0), (3, 0.1), (5, 10.0), (21, 100.0), (11, 1e4)])
def test_log_prob_agrees_with_scipy(m, kappa):
    loc = directions(m)[1]
    z = VonMisesFisher(loc, kappa / 2).rsample((50,), generator())
    expected = torch.from_numpy(stats.vonmises_fisher(loc.numpy(), kappa).logpdf(z.numpy()))
    # SciPy's own cancellation of kappa against log I_v
    assert torch.allclose(VonMisesFisher(loc, kappa).log_prob(z), expected, rtol=1e-12, atol=1e-15 * kappa + 1e-13)


@pytest.mark.parametrize("m, kappa", [(2, 1.0), (5, 1e3), (41, 20.0), (3, 1e6), (1000, 1e6)])
def test_log_prob_in_float32_loses_only_the_rounding_of_its_arguments(m, kappa):
    loc = normalize(directions(m)[0].float(), dim=0)
    p = VonMisesFisher(loc, kappa)
    z = p.rsample((200,), generator())
    with mp.workdps(60):
        constant = kappa - float(exact(m, kappa).log_normalizer + log_area(m))
    theta = polar(z, loc)[0]
    expected = constant - 2 * kappa * (theta / 2).sin().square()
    # the lengths of z and loc, 1 to within rounding, scale the squared chord: kappa x would cost 0.1 at 1e6, this 1e-5
    assert torch.allclose(p.log_prob(z).double(), expected, rtol=4e-7, atol=4e-7 * (1 + (m / 2)))
    assert p.log_prob(z).dtype == torch.float32


# --- 5. edges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kappa", [0.0, 1e-8, 1.0, 1e6])
@pytest.mark.parametrize("m", [2, 3, 1000])
def test_values_and_gradients_are_finite_at_the_edges(m, kappa, dtype):
    e1, e2 = torch.eye(m, dtype=dtype)[:2]
    loc = torch.stack([e1, -e1, e2]).requires_grad_()
    concentration = torch.full((3,), kappa, dtype=dtype, requires_grad=True)
    p = VonMisesFisher(loc, concentration)
    z = p.rsample((20,), generator())
    rejection = p.rsample_rejection((20,), generator())
    kl = kl_divergence(p, HypersphericalUniform(m)), kl_divergence(p, VonMisesFisher(e2, 1.0))
    values = [
        z,
        p.log_prob(z),
        *rejection,
        p.mean,
        p.entropy(),
        *kl,
        p.log_prob(loc.detach()),
        p.log_prob(-loc.detach()),
    ]
    for i, value in enumerate(values):
        assert value.dtype == dtype
        assert value.isfinite().all(), i
        gradients = torch.autograd.grad(value.sum(), (loc, concentration), retain_graph=True, allow_unused=True)
        assert all(g.isfinite().all() for g in gradients if g is not None), i


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kappa", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("m", [2, 3, 1000])
def test_samples_are_of_unit_length(m, kappa, dtype):
    loc = normalize(directions(m).to(dtype), dim=-1)
    for z in (VonMisesFisher(loc, kappa).rsample((50,), generator()), HypersphericalUniform(m, dtype=dtype).rsample()):
        # some 10 roundings of parts below 1; the squares of m coordinates average theirs out
        assert (z.double().norm(dim=-1) - 1).abs().max() < 10 * torch.finfo(dtype).eps


def test_high_concentration_concentrates_on_loc():
    loc = directions(5)
    z = VonMisesFisher(loc, 1e6).rsample((100,), generator())
    assert polar(z, loc)[0].max() < 8e-3  # theta^2 kappa ~ chi^2 with 4 degrees of freedom: 64 has probability 4e-13


@pytest.mark.parametrize("epsilon", [0.0, 0.25, 0.5])
def test_rejection_is_finite_where_a_coordinate_of_the_noise_is_extreme(epsilon, monkeypatch):
    """cos(2 pi u) rounds to +-1 in one draw of 1e8: w is then +-1 (m = 2), where arccos has no derivative."""

    def sampler(shape, **kwargs):
        return torch.full(tuple(shape), epsilon, dtype=torch.float64)

    monkeypatch.setattr(torch, "rand", sampler)
    concentration = torch.ones(2, dtype=torch.float64, requires_grad=True)
    p = VonMisesFisher(tensor(0.6, 0.8), concentration)
    for value in (p.rsample(), *p.rsample_rejection()):
        (gradient,) = torch.autograd.grad(value.sum(), concentration, retain_graph=True)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


# --- 6. contract -----------------------------------------------------------------------------------------------------

SHAPES = {  # name: shapes of loc and concentration, and of the batch
    "one": ((4,), (), ()),
    "batch": ((3, 4), (3,), (3,)),
    "one loc, many kappas": ((4,), (3,), (3,)),
    "many locs, one kappa": ((3, 4), (), (3,)),
    "runs and batch": ((2, 3, 4), (2, 3), (2, 3)),
    "broadcast both ways": ((2, 1, 4), (3,), (2, 3)),
}


@pytest.mark.parametrize("loc_shape, kappa_shape, batch", SHAPES.values(), ids=SHAPES)
def test_shapes(loc_shape, kappa_shape, batch):
    loc = normalize(torch.randn(loc_shape, generator=generator()), dim=-1).requires_grad_()
    concentration = torch.full(kappa_shape, 2.0, requires_grad=True)
    p = VonMisesFisher(loc, concentration)
    assert (p.batch_shape, p.event_shape, p.dim) == (batch, (4,), 4)
    assert p.mean.shape == p.mode.shape == (*batch, 4)
    assert p.entropy().shape == kl_divergence(p, HypersphericalUniform(4)).shape == batch
    for sample_shape in ((), (5,), (5, 6)):
        z, log_ratio = p.rsample_rejection(sample_shape)
        for sample in (z, p.rsample(sample_shape), p.sample(sample_shape)):
            assert sample.shape == (*sample_shape, *batch, 4)
            assert p.log_prob(sample).shape == (*sample_shape, *batch)
        assert log_ratio.shape == (*sample_shape, *batch)
        loc_gradient, kappa_gradient = torch.autograd.grad(p.rsample(sample_shape).sum(), (loc, concentration))
        assert (loc_gradient.shape, kappa_gradient.shape) == (loc_shape, kappa_shape)
    assert not p.sample().requires_grad


def test_expand_keeps_law_and_validation():
    p = VonMisesFisher(directions(3), tensor(1, 2, 3, 4, 5)).expand((2, 5))
    assert isinstance(p, VonMisesFisher)
    assert (p.batch_shape, p.event_shape) == ((2, 5), (3,))
    assert p.rsample((7,)).shape == (7, 2, 5, 3)
    assert torch.equal(p.entropy(), VonMisesFisher(directions(3), tensor(1, 2, 3, 4, 5)).entropy().expand(2, 5))
    with pytest.raises(ValueError, match="unit length"):
        p.log_prob(tensor(1, 1, 0))


BAD = {  # name: loc, concentration, what the message says
    "long loc": ([3.0, 4.0], 1.0, "unit length, found length 5:"),
    "zero loc": ([0.0, 0.0], 1.0, "unit length, found length 0:"),
    "nan loc": ([math.nan, 0.0], 1.0, "unit length, found length nan:"),
    "one bad of two": ([[1.0, 0.0], [2.0, 0.0]], 1.0, "unit length, found length 2:"),
    "m = 1": ([1.0], 1.0, r"m >= 2, got \[1\]"),
    "negative kappa": ([1.0, 0.0], -0.5, "finite number >= 0, found -0.5"),
    "nan kappa": ([1.0, 0.0], math.nan, "finite number >= 0, found nan"),
    "infinite kappa": ([1.0, 0.0], math.inf, "finite number >= 0, found inf"),
    "one bad kappa of two": ([1.0, 0.0], [1.0, -2.0], "finite number >= 0, found -2"),
}


@pytest.mark.parametrize("loc, concentration, message", BAD.values(), ids=BAD)
def test_bad_parameters_are_one_line_with_the_value(loc, concentration, message):
    with pytest.raises(ValueError, match=message) as error:
        VonMisesFisher(torch.tensor(loc), torch.tensor(concentration))
    assert "\n" not in str(error.value)


def test_bad_parameters_pass_where_validation_is_off():
    VonMisesFisher(tensor(3, 4), 1.0, validate_args=False)


def test_scalar_loc_and_shapes_that_do_not_broadcast_raise():
    with pytest.raises(ValueError, match="m >= 2"):
        VonMisesFisher(torch.tensor(1.0), 1.0)
    with pytest.raises(
        ValueError, match=r"\Athe batch shapes of loc \[3\] and concentration \[2\] do not broadcast.*\Z"
    ):
        VonMisesFisher(torch.eye(3), torch.ones(2))


@pytest.mark.parametrize("m", [2, 11, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_support_takes_normalised_vectors_and_no_others(m, dtype):
    z = normalize(torch.randn(100, m, generator=generator(), dtype=dtype), dim=-1)
    assert VonMisesFisher.support.check(z).all()
    assert not VonMisesFisher.support.check(1.01 * z).any()
    assert VonMisesFisher.support.event_dim == 1
    assert VonMisesFisher.has_rsample


RUNS = {  # name: m, batch of one run, sample_shape, PROPOSALS
    "m = 2": (2, 20, (), None),
    "m = 3": (3, 20, (), None),
    "m = 11": (11, 20, (), None),
    "samples": (11, 20, (4,), None),
    "second round": (11, 20, (), 1),
    "second round, samples": (11, 20, (4, 2), 1),
    # 6,000 samples together and 2,000 alone, on either side of SMALL_BATCH
    "large-only-together": (5, 2000, (), None),
}


@pytest.mark.parametrize("m, batch, sample_shape, proposals", RUNS.values(), ids=RUNS)
def test_runs_together_draw_what_each_draws_alone(m, batch, sample_shape, proposals, monkeypatch):
    if proposals:
        monkeypatch.setattr(von_mises_fisher, "PROPOSALS", proposals)
    loc = normalize(torch.randn(3, batch, m, generator=generator(7)), dim=-1)
    kappa = 10 * torch.rand(3, batch, generator=generator(8))
    for method in ("rsample", "rsample_rejection"):

        def sample(loc, kappa, generators, method=method):
            z = getattr(VonMisesFisher(loc, kappa), method)(sample_shape, generators)
            return z if torch.is_tensor(z) else z[0]

        together = sample(loc, kappa, [generator(r) for r in range(3)])
        alone = [sample(loc[r], kappa[r], generator(r)) for r in range(3)]
        assert torch.equal(together, torch.stack(alone, dim=len(sample_shape)))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_wrong_number_of_generators_raises(count):
    p = VonMisesFisher(directions(5)[:3], 1.0)
    with pytest.raises(ValueError, match=f"{count} generators for 3 runs"):
        p.rsample((), [generator(r) for r in range(count)])


@pytest.mark.parametrize("m", [2, 3, 5])
def test_seeds_reproduce_and_differ(m):
    p = VonMisesFisher(directions(m), 1.0)
    draws = [p.rsample((), generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    torch.manual_seed(5)
    first = p.rsample()
    torch.manual_seed(5)
    assert torch.equal(first, p.rsample())


@pytest.mark.parametrize("batch", [(), (4,), (4, 3)])
@pytest.mark.parametrize("sample_shape", [(), (5,)])
def test_second_rejection_round_in_any_shape(batch, sample_shape, monkeypatch):
    monkeypatch.setattr(von_mises_fisher, "PROPOSALS", 1)
    p = VonMisesFisher(directions(5)[0], torch.full(batch, 5.0))
    for seed in range(10):  # each first proposal fails with probability 0.3
        assert p.rsample(sample_shape, generator(seed)).shape == (*sample_shape, *batch, 5)
