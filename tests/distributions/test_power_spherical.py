"""PowerSpherical against quadrature and mpmath: its law, gradients, divergence, density, edges and contract.

The oracles share no formula with the code: the law of b = (1 + loc.x) / 2 is SciPy's beta distribution, integrals are
mpmath's. Each statistical test holds its whole grid to one failure rate, `RATE`, by Bonferroni; seeds are fixed.
"""

import math
from functools import cache

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from svae_repro.distributions import HypersphericalUniform, PowerSpherical
from svae_repro.distributions.power_spherical import angle_slope, log_normalizer
from tests.distributions.common import DTYPES, KAPPAS, RATE, critical_z, directions, generator, tensor

DIMENSIONS = [2, 3, 5, 41, 1000]


def squared_sine(z, loc):
    """1 - b = sin(theta/2)^2 [...], exact near 0, in float64."""
    z, loc = normalize(z.double(), dim=-1), normalize(loc.double(), dim=-1)
    return (z - loc).square().sum(-1) / 4


@cache
def exact(m, kappa):
    """F and its two derivatives from mpmath's gamma functions at 40 digits."""
    with mp.workdps(40):
        beta, kappa = mp.mpf(m - 1) / 2, mp.mpf(kappa)
        alpha = beta + kappa
        value = mp.loggamma(alpha) - mp.loggamma(alpha + beta) - mp.loggamma(beta) + mp.loggamma(2 * beta)
        return value, *(mp.psi(k, alpha) - mp.psi(k, alpha + beta) for k in (0, 1))


def log_area(m):
    """Area of S^(m-1) = m times the volume of the unit ball of R^m."""
    return float(mp.log(m) + mp.mpf(m) / 2 * mp.log(mp.pi) - mp.loggamma(mp.mpf(m) / 2 + 1))


# --- 1. the law ------------------------------------------------------------------------------------------------------

LAW_GRID = [(m, k) for m in DIMENSIONS for k in (0.0, 0.1, 1.0, float(m), 1e3, 1e6)]


@pytest.mark.statistical
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m, kappa", LAW_GRID)
def test_the_angle_follows_its_law(m, kappa, dtype):
    loc = normalize(directions(m).to(dtype), dim=-1)
    z = PowerSpherical(loc, kappa).rsample((300,), generator(m))
    beta = stats.beta((m - 1) / 2, kappa + (m - 1) / 2)  # of 1 - b
    # In float32 the coordinates of a sample 1e-3 from loc keep four digits of the angle: no more than a rank or two.
    assert stats.kstest(squared_sine(z, loc).numpy().ravel(), beta.cdf).pvalue > RATE / (2 * len(LAW_GRID))


@pytest.mark.statistical
@pytest.mark.parametrize("m", [3, 5, 101])
def test_the_direction_around_loc_is_uniform_and_independent_of_the_angle(m):
    loc = directions(m)
    z = PowerSpherical(loc, 2.0).rsample((1500,), generator(m))
    along = (z * loc).sum(-1)
    around = normalize(z - along[..., None] * loc, dim=-1)
    for i in range(5):
        axis = torch.linalg.qr(torch.cat([loc[i, :, None], torch.eye(m, dtype=loc.dtype)], dim=1)).Q[:, m // 2]
        u = (around[:, i] @ axis).numpy()
        for part in (u, u[(along[:, i] < along[:, i].median()).numpy()]):
            test = stats.kstest((1 + part) / 2, stats.beta((m - 2) / 2, (m - 2) / 2).cdf)
            assert test.pvalue > RATE / (3 * 5 * 2), f"direction {i}"


@pytest.mark.statistical
@pytest.mark.parametrize("m, kappa", [(2, 0.0), (2, 2.0), (5, 10.0), (41, 20.0)])
def test_mean_is_the_mean_of_samples(m, kappa):
    p = PowerSpherical(directions(m)[0], kappa)
    z = p.rsample((4000,), generator(m))
    error = (z.mean(0) - p.mean) / (z.std(0) / math.sqrt(len(z)))
    assert error.abs().max() < critical_z(2 + 2 + 5 + 41)
    assert torch.equal(p.mode, p.loc)


# --- 2. gradients ----------------------------------------------------------------------------------------------------


def slope_by_quadrature(m, kappa, theta):
    """d theta/d kappa = -(dG/dkappa) / g by mpmath's quadrature on the side of theta where nothing cancels."""
    with mp.workdps(20):
        kappa, theta, mean = mp.mpf(kappa), mp.mpf(theta), exact(m, kappa)[1]

        def integrand(phi):
            log_density = 2 * kappa * mp.log(mp.cos(phi / 2) / mp.cos(theta / 2))
            log_density += (m - 2) * mp.log(mp.sin(phi) / mp.sin(theta))
            return (2 * mp.log(mp.cos(phi / 2)) - mean) * mp.exp(log_density)

        width = 12 / mp.sqrt(kappa / 2 + m - 2) if kappa + m > 2 else mp.pi
        if 2 * mp.log(mp.cos(theta / 2)) < mean:
            return float(mp.quad(integrand, mp.linspace(theta, min(mp.pi, theta + width), 5)))
        return -float(mp.quad(integrand, mp.linspace(max(0, theta - width), theta, 5)))


@pytest.mark.parametrize("m", [2, 3, 21, 1000])
def test_angle_slope_is_the_exact_derivative(m):
    # measured: 8e-9 at kappa = 1e6, where log b keeps nine digits; 1e-9 next to the antipode; 1e-13 elsewhere
    for kappa in (0.0, 0.1, 1.0, 20.0, 1e6):
        beta = (m - 1) / 2
        for theta in 2 * np.arcsin(np.sqrt(stats.beta(beta, kappa + beta).ppf([1e-9, 0.01, 0.5, 0.99, 1 - 1e-6]))):
            got = angle_slope(tensor(kappa), tensor(theta), tensor(float(exact(m, kappa)[1])), m).item()
            assert got == pytest.approx(slope_by_quadrature(m, kappa, theta), rel=2e-8), f"{kappa=}, {theta=}"


def moment_gradients(m, kappa):
    """d/dkappa of E[w], E[w^2], w = 2b - 1: Cov(w^k, log b) by quadrature in the logit of b."""
    alpha, beta = kappa + (m - 1) / 2, (m - 1) / 2
    middle, width = math.log(alpha / beta), math.sqrt(1 / alpha + 1 / beta)
    # the tails fall as exp(-alpha |x|) and exp(-beta x); the logistic map is symmetric, so log b = -log1p(exp(-x))
    x = np.linspace(middle - 40 * width - 40 / alpha, middle + 40 * width + 40 / beta, 40_001)
    log_b, log_rest = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    density = np.exp(alpha * log_b + beta * log_rest - (alpha * log_b + beta * log_rest).max())

    def expect(f):
        return integrate.simpson(f * density, x=x) / integrate.simpson(density, x=x)

    versine, centred = 2 * np.exp(log_rest), log_b - expect(log_b)
    return -expect(versine * centred), expect((versine**2 - 2 * versine) * centred)


GRADIENT_GRID = [(m, k) for m in (2, 3, 5, 21, 101, 1000) for k in (0.0, 1.0, 10.0, 1e3, 1e6)]


@pytest.mark.statistical
@pytest.mark.parametrize("m, kappa", GRADIENT_GRID)
def test_gradient_by_kappa_is_unbiased(m, kappa):
    loc, concentration = directions(m)[1], torch.full((1500,), kappa, dtype=torch.float64, requires_grad=True)
    w = PowerSpherical(loc, concentration).rsample((), generator(m)) @ loc
    expected = moment_gradients(m, kappa)
    assert expected[0] == pytest.approx((m - 1) / (kappa + m - 1) ** 2, rel=1e-6)  # of kappa / (kappa + m - 1)
    for f, moment in zip((w, w**2), expected, strict=True):
        (g,) = torch.autograd.grad(f.sum(), concentration, retain_graph=True)
        error = g.std() / math.sqrt(len(g))
        assert error < 0.15 * expected[0], "too noisy to tell"
        assert (g.mean() - moment).abs() < critical_z(2 * len(GRADIENT_GRID)) * error


@pytest.mark.statistical
@pytest.mark.parametrize("m, kappa", [(2, 1.0), (3, 5.0), (21, 100.0)])
def test_gradient_by_loc_is_exact_on_average(m, kappa):
    n, test_vector = 1500, normalize(torch.linspace(-1, 2, m, dtype=torch.float64), dim=0)
    for i, direction in enumerate(directions(m)):
        loc = direction.repeat(n, 1).requires_grad_()
        z = PowerSpherical(loc, kappa).rsample((), generator(i))
        tangent = test_vector - (direction @ test_vector) * direction  # only the part along the sphere has a meaning
        gradient = torch.autograd.grad((z @ test_vector).sum(), loc)[0] @ tangent
        deviation = gradient.mean() - kappa / (kappa + m - 1) * tangent.square().sum()
        assert deviation.abs() < critical_z(3 * 5) * gradient.std() / math.sqrt(n) + 1e-12, f"direction {i}"


# --- 3. normaliser, divergence, entropy ------------------------------------------------------------------------------


@pytest.mark.parametrize("m", DIMENSIONS)
def test_log_normalizer_and_its_derivatives(m):
    kappa = tensor(*KAPPAS).requires_grad_()
    parts = log_normalizer(kappa, m)
    value_slope, slope_slope, legendre_slope = (
        torch.autograd.grad(part.sum(), kappa, retain_graph=True)[0].tolist() for part in parts
    )
    for i, k in enumerate(KAPPAS):
        value, slope, curvature = (float(v) for v in exact(m, k))
        assert parts.value[i].item() == pytest.approx(value, rel=1e-15, abs=3e-15 * (m + 1))
        assert parts.slope[i].item() == pytest.approx(slope, rel=2e-15) == pytest.approx(value_slope[i], rel=2e-15)
        assert slope_slope[i] == pytest.approx(curvature, rel=2e-15)
        assert legendre_slope[i] == pytest.approx(k * curvature, rel=3e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", DIMENSIONS)
def test_kl_to_uniform_and_entropy(m, dtype):
    kappa = tensor(*KAPPAS, dtype=dtype)
    p = PowerSpherical(normalize(directions(m)[0].to(dtype), dim=0), kappa)
    kl, entropy = kl_divergence(p, HypersphericalUniform(m)), p.entropy()
    assert kl.dtype == entropy.dtype == dtype
    rounding = {torch.float64: 2e-15, torch.float32: 1.2e-7}[dtype]
    for k, value, h in zip(kappa.tolist(), kl.tolist(), entropy.tolist(), strict=True):
        with mp.workdps(40):
            f, slope, _ = exact(m, k)
            expected = float(mp.mpf(k) * slope - f)
        assert value == pytest.approx(expected, rel=rounding, abs=3e-15 * (m + 1)), f"kappa={k}"
        assert h == pytest.approx(log_area(m) - expected, rel=rounding, abs=3e-15 * (m + 1)), f"kappa={k}"


def test_kl_to_uniform_by_quadrature():
    m, kappa = 11, 7.0
    p, u = stats.beta(kappa + 5, 5), stats.beta(5, 5)
    kl, _ = integrate.quad(lambda b: p.pdf(b) * (p.logpdf(b) - u.logpdf(b)), 0, 1, epsabs=1e-12)
    got = kl_divergence(PowerSpherical(directions(m)[0], kappa), HypersphericalUniform(m))
    assert got.item() == pytest.approx(kl, rel=1e-9)


def test_kl_between_different_dimensions_raises():
    with pytest.raises(ValueError, match=r"R\^3 and R\^4"):
        kl_divergence(PowerSpherical(torch.eye(3)[0], 1.0), HypersphericalUniform(4))


# --- 4. density ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1.0, 100.0])
def test_density_integrates_to_one_on_the_circle_and_on_the_sphere(kappa):
    angle = torch.arange(400, dtype=torch.float64) * (2 * math.pi / 400)  # trapezium rule, exact for periodic functions
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    density = PowerSpherical(directions(2)[1], kappa).log_prob(circle).exp()
    assert density.sum().item() * 2 * math.pi / 400 == pytest.approx(1, rel=1e-12)
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(100))  # in the height
    height, radius = nodes[:, None].expand(100, 400), (1 - nodes[:, None] ** 2).sqrt()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), height], -1)
    density = PowerSpherical(directions(3)[1], kappa).log_prob(points).exp()
    assert (weights @ density).sum().item() * 2 * math.pi / 400 == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("m, kappa", [(5, 1e3), (41, 20.0), (1000, 1e6)])
def test_log_prob_is_the_law_of_b_over_the_area_of_its_ring(m, kappa):
    loc, beta = directions(m)[1], (m - 1) / 2
    p = PowerSpherical(loc, kappa)
    z = p.rsample((50,), generator())
    versine = squared_sine(z, loc).numpy()
    # the density of 1 - b = sin^2(theta/2) is the density on the sphere times |S^(m-2)| sin^(m-2) dtheta/d(1-b)
    ring = log_area(m - 1) + (m - 3) / 2 * np.log(4 * versine * (1 - versine)) + math.log(2)
    expected = stats.beta(beta, kappa + beta).logpdf(versine) - ring
    assert p.log_prob(z).numpy() == pytest.approx(expected, rel=1e-9)
    again = PowerSpherical(normalize(loc.float(), dim=-1), kappa).log_prob(normalize(z.float(), dim=-1))
    assert again.dtype == torch.float32
    # a coordinate keeps 6e-8 of its own size; the angle, and with it log b, moves by some of that times kappa theta
    assert again.numpy() == pytest.approx(expected, rel=2e-5)


# --- 5. edges and contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kappa", [0.0, 1e-8, 1.0, 1e6])
@pytest.mark.parametrize("m", [2, 3, 1000])
def test_values_and_gradients_are_finite_at_the_edges(m, kappa, dtype):
    e1, e2 = torch.eye(m, dtype=dtype)[:2]
    loc = torch.stack([e1, -e1, e2]).requires_grad_()
    concentration = torch.full((3,), kappa, dtype=dtype, requires_grad=True)
    p = PowerSpherical(loc, concentration)
    z = p.rsample((20,), generator())
    assert (z.detach().double().norm(dim=-1) - 1).abs().max() < 10 * torch.finfo(dtype).eps
    mode, antipode = loc.detach(), -loc.detach()
    kl = kl_divergence(p, HypersphericalUniform(m))
    for i, value in enumerate([z, p.log_prob(z), p.mean, p.entropy(), kl, p.log_prob(mode), p.log_prob(antipode)]):
        assert value.dtype == dtype
        assert value.isfinite().all(), i
        gradients = torch.autograd.grad(value.sum(), (loc, concentration), retain_graph=True, allow_unused=True)
        assert all(g.isfinite().all() for g in gradients if g is not None), i


@pytest.mark.parametrize("m", [2, 3, 1000])
def test_the_slope_is_finite_at_both_poles(m):
    for kappa in (0.0, 1.0, 1e6):
        slope = angle_slope(tensor(kappa), tensor(0.0, math.pi), tensor(float(exact(m, kappa)[1])), m)
        assert slope.abs().max() < 1e-12


SHAPES = {  # name: shapes of loc and concentration, and of the batch
    "one": ((4,), (), ()),
    "one loc, many kappas": ((4,), (3,), (3,)),
    "many locs, one kappa": ((3, 4), (), (3,)),
    "broadcast both ways": ((2, 1, 4), (3,), (2, 3)),
}


@pytest.mark.parametrize("loc_shape, kappa_shape, batch", SHAPES.values(), ids=SHAPES)
def test_shapes(loc_shape, kappa_shape, batch):
    loc = normalize(torch.randn(loc_shape, generator=generator()), dim=-1).requires_grad_()
    concentration = torch.full(kappa_shape, 2.0, requires_grad=True)
    p = PowerSpherical(loc, concentration)
    assert (p.batch_shape, p.event_shape, p.dim) == (batch, (4,), 4)
    assert p.mean.shape == p.mode.shape == (*batch, 4)
    assert p.entropy().shape == kl_divergence(p, HypersphericalUniform(4)).shape == batch
    for sample_shape in ((), (5,), (5, 6)):
        sample = p.rsample(sample_shape)
        assert sample.shape == (*sample_shape, *batch, 4)
        assert p.log_prob(sample).shape == (*sample_shape, *batch)
        gradients = torch.autograd.grad(sample.sum(), (loc, concentration))
        assert tuple(g.shape for g in gradients) == (loc_shape, kappa_shape)
    assert not p.sample().requires_grad


def test_expand_keeps_law_and_validation():
    p = PowerSpherical(directions(3), tensor(1, 2, 3, 4, 5)).expand((2, 5))
    assert isinstance(p, PowerSpherical)
    assert (p.batch_shape, p.event_shape) == ((2, 5), (3,))
    assert torch.equal(p.entropy(), PowerSpherical(directions(3), tensor(1, 2, 3, 4, 5)).entropy().expand(2, 5))
    with pytest.raises(ValueError, match="unit length"):
        p.log_prob(tensor(1, 1, 0))


@pytest.mark.parametrize("runs_first", [True, False])
def test_runs_together_draw_what_they_draw_alone(runs_first):
    loc, kappa = directions(4)[:3].unsqueeze(1).expand(3, 6, 4), torch.full((3, 6), 2.0, dtype=torch.float64)
    shape = () if runs_first else (5,)
    together = PowerSpherical(loc, kappa).rsample(shape, [generator(s) for s in range(3)])
    for run in range(3):
        alone = PowerSpherical(loc[run : run + 1], kappa[run : run + 1]).rsample(shape, [generator(run)])
        # the same numbers; how a vectorised loop ends may move their last digit
        assert torch.allclose(together.select(len(shape), run), alone.select(len(shape), 0), rtol=0, atol=2e-15)


@pytest.mark.parametrize(
    "loc, kappa, message",
    [
        ([3.0, 4.0], 1.0, "unit length, found length 5:"),
        ([1.0, 0.0], -0.5, "finite number >= 0, found -0.5"),
        ([1.0, 0.0], math.inf, "finite number >= 0, found inf"),
        ([1.0], 1.0, r"m >= 2, got \[1\]"),
    ],
)
def test_bad_parameters_are_one_line_with_the_value(loc, kappa, message):
    with pytest.raises(ValueError, match=message) as error:
        PowerSpherical(torch.tensor(loc), torch.tensor(kappa))
    assert "\n" not in str(error.value)
