"""WrappedNormal: density against mpmath and quadrature, law against geoopt, KL estimates, edges, contract.

Statistical tests hold their whole grid to one failure rate, `RATE`, by Bonferroni; seeds are fixed.
"""

import math

import mpmath as mp
import pytest
import torch
from geoopt.manifolds.lorentz import math as lorentz
from scipy import stats
from torch.distributions import Normal, kl_divergence

from svae_repro import hyperboloid
from svae_repro.distributions import WrappedNormal, kl_estimate, kl_tangent
from tests.distributions.common import RATE, generator

ONE = torch.ones((), dtype=torch.float64)  # geoopt's curvature parameter


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def at(*v):
    """The point of H^n that the exponential map at the origin makes of v."""
    v = tensor(*v)
    r = v.norm(dim=-1, keepdim=True)
    return torch.cat([r.cosh(), v * (r.sinh() / r if r > 0 else 1)], dim=-1)


def standard(n, dtype=torch.float64):
    return WrappedNormal(hyperboloid.origin(n, dtype=dtype), torch.ones(n, dtype=dtype))


def mp_log_prob(loc, scale, z):
    """The textbook density in 60 digits: log map by arccosh, transport to the origin, normal density, Jacobian."""
    with mp.workdps(60):
        loc, z = ([mp.sqrt(1 + sum(mp.mpf(a) ** 2 for a in x[1:])), *map(mp.mpf, x[1:])] for x in (loc, z))
        alpha = loc[0] * z[0] - sum(a * b for a, b in zip(loc[1:], z[1:], strict=True))
        r = mp.acosh(alpha)
        u = [r / mp.sqrt(alpha**2 - 1) * (b - alpha * a) for a, b in zip(loc, z, strict=True)]
        v = [b - u[0] / (1 + loc[0]) * a for a, b in zip(loc[1:], u[1:], strict=True)]  # to the origin
        normal = sum(-((a / s) ** 2) / 2 - mp.log(s * mp.sqrt(2 * mp.pi)) for a, s in zip(v, scale, strict=True))
        return float(normal - (len(v) - 1) * mp.log(mp.sinh(r) / r))


# --- density ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("radius", [0.0, 0.5, 4.0, 15.0])
def test_log_prob_agrees_with_mpmath_for_any_point(n, radius):
    direction = torch.randn(n, generator=generator(n), dtype=torch.float64)
    loc = at(*(radius * direction / direction.norm()).tolist())
    scale = torch.linspace(0.3, 1.5, n, dtype=torch.float64)
    near = WrappedNormal(loc, scale).rsample((10,), generator()).clone()
    for z in [*near, at(*[0.1] * n), at(*[-1.0] * n)]:
        got = WrappedNormal(loc, scale).log_prob(z).item()
        # coordinates place a point to eps exp(r); the log-density at distance d has slope d / scale^2
        tolerance = 1e-13 + 1e-14 * math.exp(radius) * (1 + radius)
        assert got == pytest.approx(mp_log_prob(loc.tolist(), scale.tolist(), z.tolist()), rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("loc, scale", [(0.0, 1.0), (0.0, 0.1), (2.0, 0.5), (-10.0, 3.0)])
def test_integrates_to_one_on_the_line(loc, scale):
    q = WrappedNormal(at(loc), tensor(scale))
    t = torch.linspace(loc - 10 * scale, loc + 10 * scale, 4001, dtype=torch.float64)
    line = torch.stack([t.cosh(), t.sinh()], dim=-1)
    assert torch.trapezoid(q.log_prob(line).exp(), t).item() == pytest.approx(1, abs=1e-8)


def plane(reach, rings=600, spokes=128):
    """Points [rings, spokes, 3] of H^2 in polar coordinates about the origin, and their weights for integration."""
    r = (torch.arange(rings, dtype=torch.float64) + 0.5) * (reach / rings)
    phi = torch.arange(spokes, dtype=torch.float64) * (2 * math.pi / spokes)
    x = torch.stack([r.sinh()[:, None] * phi.cos(), r.sinh()[:, None] * phi.sin()], dim=-1)
    points = torch.cat([r.cosh()[:, None, None].expand(-1, spokes, 1), x], dim=-1)
    return points, (r.sinh() * (reach / rings) * (2 * math.pi / spokes))[:, None]


PLANE_CASES = [((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (0.3, 1.2)), ((0.7, -0.4), (0.5, 0.8)), ((1.5, 0.0), (0.6, 0.6))]


@pytest.mark.parametrize("v, scale", PLANE_CASES)
def test_integrates_to_one_on_the_plane(v, scale):
    points, weights = plane(9.0)
    density = WrappedNormal(at(*v), tensor(*scale)).log_prob(points).exp()
    assert (density * weights).sum().item() == pytest.approx(1, abs=1e-4)  # midpoint rule


def test_density_is_greatest_at_loc():
    q = WrappedNormal(at(1.0, 2.0, -1.0), tensor(0.5, 1.0, 2.0))
    assert torch.equal(q.mode, q.loc)
    z = q.rsample((1000,), generator())
    assert (q.log_prob(z) < q.log_prob(q.mode)).all()


# --- samples ----------------------------------------------------------------------------------------------------------


LOCS = [(0.0, 0.0, 0.0), (0.5, -0.2, 0.1), (2.0, 1.0, -2.0)]


@pytest.mark.statistical
@pytest.mark.parametrize("v", LOCS)
def test_samples_mapped_back_by_geoopt_are_normal(v):
    loc, scale = at(*v), tensor(0.2, 0.7, 1.3)
    z = WrappedNormal(loc, scale).rsample((2000,), generator())
    assert (lorentz.inner(z, z) + 1).abs().max() < 1e-6
    back = lorentz.parallel_transport0back(loc, lorentz.logmap(loc, z, k=ONE), k=ONE)
    assert back[:, 0].abs().max() < 1e-6
    normal = (back[:, 1:] / scale).numpy()
    for column in normal.T:
        assert stats.kstest(column, stats.norm.cdf).pvalue > RATE / (len(LOCS) * 6)
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        assert stats.pearsonr(normal[:, i], normal[:, j]).pvalue > RATE / (len(LOCS) * 6)


def test_gradients_of_samples_are_pathwise():
    v, scale = tensor(0.5, -1.0).requires_grad_(), tensor(0.3, 1.2).requires_grad_()

    def sample(v, scale):
        loc = hyperboloid.with_time(hyperboloid.expand(v))
        q = WrappedNormal(loc, scale)
        z = q.rsample((3,), generator())
        return z, q.log_prob(z), q.log_prob(z.clone())

    assert torch.autograd.gradcheck(sample, (v, scale))
    gradients = [
        torch.autograd.grad(x.sum(), (v, scale), retain_graph=True, materialize_grads=True)
        for x in sample(v, scale)[1:]  # by the vector that made the sample, and by the log map
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


# --- divergences ------------------------------------------------------------------------------------------------------


def test_tangent_divergence_is_that_of_normal_distributions():
    p, q = WrappedNormal(at(0.6, -1.0), tensor(0.3, 0.8)), WrappedNormal(at(0.1, 0.2), tensor(1.0, 2.0))
    expected = kl_divergence(Normal(tensor(0.6, -1.0), p.scale), Normal(tensor(0.1, 0.2), q.scale)).sum()
    torch.testing.assert_close(kl_tangent(p, q), expected, rtol=1e-13, atol=0)
    # the formula of the blog post, whose log_sigma is the logarithm of the variance
    variance, d = p.scale.square(), math.hypot(0.6, 1.0)
    blog = 0.5 * (variance.sum() + d**2 - 2 - variance.log().sum())
    torch.testing.assert_close(kl_tangent(p, standard(2)), blog, rtol=1e-13, atol=0)


def quadrature_kl(p, q):
    """KL on the line or the plane by numerical integration over the manifold."""
    if p.dim == 1:
        t = torch.linspace(-15, 15, 6001, dtype=torch.float64)
        points, weights = torch.stack([t.cosh(), t.sinh()], dim=-1), t[1] - t[0]
    else:
        points, weights = plane(9.0)
    log_p, log_q = p.log_prob(points), q.log_prob(points)
    return (log_p.exp() * (log_p - log_q) * weights).sum()


KL_CASES = [((0.0,), (0.5,)), ((1.5,), (0.4,)), ((-3.0,), (1.2,)), *PLANE_CASES[1:]]


@pytest.mark.statistical
@pytest.mark.parametrize("v, scale", KL_CASES)
def test_monte_carlo_divergence_agrees_with_quadrature(v, scale):
    p, prior = WrappedNormal(at(*v), tensor(*scale)), standard(len(v))
    estimates = kl_estimate(p, prior, p.rsample((20_000,), generator()))
    expected = quadrature_kl(p, prior).item()
    error = (estimates.mean().item() - expected) / (estimates.std().item() / math.sqrt(20_000))
    assert abs(error) < stats.norm.isf(RATE / len(KL_CASES) / 2)
    closed = kl_tangent(p, prior).item()
    if len(v) == 1 or not any(v):  # where the closed form is exact
        assert closed == pytest.approx(expected, abs=2e-4)
    else:
        assert closed < expected - 0.05


@pytest.mark.statistical
@pytest.mark.parametrize("v, scale", KL_CASES)
def test_gradient_of_the_monte_carlo_divergence_agrees_with_finite_differences(v, scale):
    parameters = tensor(*v, *scale).requires_grad_()
    n, count = len(v), 4000

    def distribution(parameters, shape=()):
        loc = hyperboloid.with_time(hyperboloid.expand(parameters[..., :n]))
        return WrappedNormal(loc, parameters[..., n:])

    each = parameters.expand(count, -1).detach().requires_grad_()  # a copy of the parameters for each sample
    p = distribution(each)
    (gradient,) = torch.autograd.grad(kl_estimate(p, standard(n), p.rsample((), generator())).sum(), each)
    for i in range(2 * n):
        step = torch.zeros(2 * n, dtype=torch.float64)
        step[i] = 1e-4
        high, low = (quadrature_kl(distribution(parameters.detach() + s), standard(n)).item() for s in (step, -step))
        error = gradient[:, i].mean().item() - (high - low) / 2e-4
        standard_error = gradient[:, i].std().item() / math.sqrt(count)
        # 2e-4 for the midpoint rule of the quadrature
        assert abs(error) < stats.norm.isf(RATE / (3 * 2 + 3 * 4) / 2) * standard_error + 2e-4, i


# --- edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [0.0, 1e-6, 15.0, 30.0])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_everything_is_finite_far_out_and_at_the_origin(n, radius, dtype):
    v = torch.zeros(n, dtype=dtype)
    v[-1] = radius
    v.requires_grad_()
    scale = torch.full((n,), 1.0, dtype=dtype, requires_grad=True)
    p = WrappedNormal(hyperboloid.with_time(hyperboloid.expand(v.double())).to(dtype), scale)
    z = p.rsample((200,), generator())
    own, prior = p.log_prob(z), standard(n, dtype).log_prob(z)
    for result in (z, own, prior, kl_tangent(p, standard(n, dtype)), p.log_prob(p.mode), p.log_prob(z.clone())):
        assert result.isfinite().all() and result.dtype == dtype
        for gradient in torch.autograd.grad(result.sum(), (v, scale), retain_graph=True, allow_unused=True):
            assert gradient is None or gradient.isfinite().all()


def test_density_of_own_samples_needs_no_rounded_point():
    """At radius 15 a float32 point is off by 0.2; the vector that made it is not."""
    loc, scale = at(9.0, 12.0), tensor(0.05, 0.05)
    p = WrappedNormal(loc.float(), scale.float())
    z = p.rsample((500,), generator())
    noise = torch.randn(500, 2, generator=generator(), dtype=torch.float64)
    v = 0.05 * noise
    r = v.norm(dim=-1)
    exact = Normal(0.0, 0.05).log_prob(v).sum(-1) - (r.sinh() / r).log()
    torch.testing.assert_close(p.log_prob(z).double(), exact, rtol=1e-5, atol=1e-5)
    assert (p.log_prob(z.clone()).double() - exact).abs().max() > 1  # mapped back from the rounded point
    wide = WrappedNormal(loc, scale)
    z = wide.rsample((500,), generator())
    torch.testing.assert_close(wide.log_prob(z.clone()), exact, rtol=1e-5, atol=1e-5)


# --- contract ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes(batch, dtype):
    p = standard(3, dtype).expand(batch)
    assert isinstance(p, WrappedNormal)
    assert (p.batch_shape, p.event_shape, p.mode.shape, p.dim) == (batch, (4,), (*batch, 4), 3)
    z = p.rsample((5,))
    assert (z.shape, z.dtype) == ((5, *batch, 4), dtype)
    assert p.log_prob(z).shape == (5, *batch)
    assert p.support.check(z).all() and p.support.check(p.sample((50,))).all()
    assert WrappedNormal(p.loc.expand(2, 1, 4) if not batch else p.loc, p.scale).log_prob(p.loc).dtype == dtype


def test_parameters_broadcast():
    p = WrappedNormal(at(1.0, 2.0).expand(2, 1, 3), torch.ones(4, 2, dtype=torch.float64))
    assert p.batch_shape == (2, 4) and p.rsample((7,)).shape == (7, 2, 4, 3)
    with pytest.raises(ValueError, match=r"\Athe batch shapes of loc \[3\] and scale \[2\] do not broadcast.*\Z"):
        WrappedNormal(at(1.0, 2.0).expand(3, 3), torch.ones(2, 2, dtype=torch.float64))


def test_runs_together_draw_what_each_draws_alone():
    loc, scale = at(1.0, 2.0).expand(3, 4, 3), torch.rand(3, 4, 2, generator=generator(), dtype=torch.float64) + 0.1
    together = WrappedNormal(loc, scale).rsample((5,), [generator(r) for r in range(3)])
    alone = [WrappedNormal(loc[r], scale[r]).rsample((5,), generator(r)) for r in range(3)]
    torch.testing.assert_close(together, torch.stack(alone, dim=1), rtol=1e-13, atol=1e-12)
    with pytest.raises(ValueError, match="1 generators for 3 runs"):
        WrappedNormal(loc, scale).rsample((), [generator()])


@pytest.mark.parametrize(
    "loc, scale, message",
    [
        (tensor(1.0, 1.0, 0.0), tensor(1.0, 1.0), "<x, x> = 0"),
        (tensor(-1.0, 0.0, 0.0), tensor(1.0, 1.0), "x0 > 0"),
        (tensor(math.nan, 0.0, 0.0), tensor(1.0, 1.0), "on the hyperboloid"),
        (tensor(1.0, 0.0, 0.0), tensor(1.0, -0.5), "scale must be a finite number > 0, found -0.5"),
        (tensor(1.0, 0.0, 0.0), tensor(1.0, 0.0), "scale must be a finite number > 0, found 0"),
        (tensor(1.0, 0.0, 0.0), tensor(1.0, math.nan), "found nan"),
        (tensor(1.0, 0.0, 0.0), tensor(1.0, math.inf), "found inf"),
        (tensor(1.0, 0.0, 0.0), tensor(1.0), r"\[3\] and \[1\]"),
        (tensor(1.0), tensor(1.0), r"\[1\] and \[1\]"),
    ],
)
def test_bad_parameters_raise_one_line(loc, scale, message):
    with pytest.raises(ValueError, match=message) as error:
        WrappedNormal(loc, scale)
    assert "\n" not in str(error.value)


def test_values_off_the_hyperboloid_raise():
    with pytest.raises(ValueError, match=r"value must be on the hyperboloid.* found <x, x> = 1 and x0 = 1"):
        standard(2).log_prob(tensor(1.0, 1.0, 1.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_float_is_the_scale_of_every_direction(dtype):
    loc = hyperboloid.origin(3, dtype=dtype).expand(5, -1)
    given = WrappedNormal(loc, 0.5)
    full = WrappedNormal(loc, torch.full((5, 3), 0.5, dtype=dtype))
    assert given.batch_shape == full.batch_shape and torch.equal(given.scale, full.scale) and given.scale.dtype == dtype
    with pytest.raises(ValueError, match="scale must be a finite number > 0, found -1"):
        WrappedNormal(loc, -1.0)
    for wrong in (torch.tensor(1.0), torch.ones(1)):
        with pytest.raises(ValueError, match="loc and scale must have shapes"):
            WrappedNormal(wrong, 1.0)


def test_whole_numbers_are_a_point():
    whole, real = (WrappedNormal(loc, 0.5) for loc in (torch.tensor([1, 0, 0]), torch.tensor([1.0, 0, 0])))
    assert torch.equal(whole.rsample((4,), generator()), real.rsample((4,), generator()))
    assert torch.equal(whole.scale, real.scale)
