"""Learned curvature: the Euclidean limit from both sides, the plain hyperboloid at radius 1, gradients, runs."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

from svae_repro import evaluation
from svae_repro.curvature import Curved, learnable
from svae_repro.distributions import HypersphericalUniform, ProductDistribution, kl_estimate
from svae_repro.errors import UserError
from svae_repro.models import VAE
from svae_repro.models.vae import gaussian
from svae_repro.spaces import Euclidean, Hyperboloid, space

D = 3


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=generators(seed)[0], dtype=torch.float64)


def radius(*values):
    return torch.tensor(values, dtype=torch.float64)


def euclidean_params(letter, params):
    """The parameters of the diagonal normal that a curved posterior becomes: the sphere has one scale for all."""
    return torch.cat([params, params[..., -1:].expand(*params.shape[:-1], D - 1)], dim=-1) if letter == "s" else params


def quantities(s, params, x, y):
    """Everything a model or an evaluation asks of a space, at points of the tangent plane and in nats."""
    curved = isinstance(s, Curved)
    q, prior = s.posterior(params), s.prior(dtype=torch.float64)
    if curved:  # the points whose space coordinates are x and y
        square = [v.square().sum(-1, keepdim=True) for v in (x, y)]
        height = [-s.sign * v / (s.radius + (s.radius**2 - s.sign * v).sqrt()) for v in square]
        x, y = (torch.cat(parts, dim=-1) for parts in zip(height, (x, y), strict=True))
    z = q.mode
    results = {"log_prob": q.log_prob(x), "prior": prior.log_prob(x), "distance": s.distance(x, y)}
    results["mode"] = z[..., 1:] if curved else z
    if not curved or s.letter == "s":
        results["kl"] = kl_divergence(q, prior)
    return results


@pytest.mark.parametrize("letter", ["s", "h"])
def test_without_curvature_the_space_is_euclidean_in_values_and_gradients(letter):
    params = noise(1, 5, D + (1 if letter == "s" else D)).requires_grad_()
    x, y = noise(1, 5, D, seed=1).requires_grad_(), noise(1, 5, D, seed=2).requires_grad_()
    flat = quantities(Euclidean(D), euclidean_params(letter, params), x, y)
    errors = {}
    for size in (30.0, 300.0):
        near = quantities(learnable(f"{letter}{D}", radius(size)), params, x, y)
        for name, value in near.items():
            gradients = [
                torch.autograd.grad(a.sum(), (params, x, y), retain_graph=True, materialize_grads=True)
                for a in (value, flat[name])
            ]
            pairs = [(value, flat[name]), *zip(*gradients, strict=True)]
            errors[name, size] = max((a - b).abs().max().item() for a, b in pairs)
    for name in near:
        assert errors[name, 300.0] < 3e-3, name
        # the difference is proportional to the curvature
        assert errors[name, 30.0] / errors[name, 300.0] == pytest.approx(100, rel=0.2), name


def test_without_curvature_hyperbolic_samples_and_divergences_are_the_euclidean_ones():
    """With the same random numbers, for the divergence has no closed form."""
    params = noise(1, 5, 2 * D).requires_grad_()
    results = []
    for s in (Euclidean(D), learnable(f"h{D}", radius(1e4))):
        q, prior = s.posterior(params), s.prior(dtype=torch.float64)
        z = q.rsample((7,), generators(0))
        estimate = q.log_prob(z) - prior.log_prob(z)
        z = z[..., -D:]
        results.append(
            [z, estimate, *(torch.autograd.grad(t.sum(), params, retain_graph=True)[0] for t in (z, estimate))]
        )
    for flat, near in zip(*results, strict=True):
        torch.testing.assert_close(near, flat, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [2.0, 0.5, -1.0, -2.0, -4.0])  # before the softplus: sigma from 2.1 to 0.02
@pytest.mark.parametrize("dtype, rounding", [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [1e4, 1e6, 1e8])
def test_the_divergence_on_a_nearly_flat_sphere_is_as_exact_as_it_says(size, dtype, rounding, scale):
    narrow = torch.full((1, 400, 1), scale, dtype=dtype)
    params = torch.cat([noise(1, 400, D).to(dtype), narrow], dim=-1).double().requires_grad_()
    flat = Euclidean(D)
    q = flat.posterior(euclidean_params("s", params))
    expected = kl_divergence(q, flat.prior(dtype=torch.float64))
    s = learnable(f"s{D}", radius(size).to(dtype))
    kl = kl_divergence(s.posterior(params.to(dtype)), s.prior())
    error = rounding + 200 / size**2  # what is left of the curvature
    assert kl.dtype == dtype and (kl - expected).abs().max() < error
    gradients = [torch.autograd.grad(k.sum(), params, retain_graph=True)[0] for k in (kl, expected)]
    assert (gradients[0] - gradients[1]).abs().max() < error


@pytest.mark.statistical
def test_without_curvature_spherical_samples_are_normal():
    params = noise(1, 1, D + 1)
    q = learnable(f"s{D}", radius(1e4)).posterior(params)
    flat = Euclidean(D).posterior(euclidean_params("s", params))
    z = q.rsample((4000,), generators(0))[:, 0, 0].detach()
    assert z[:, 0].abs().max() < 1e-2
    standard = (z[:, 1:] - flat.mean[0, 0]) / flat.stddev[0, 0]
    for column in standard.T:  # fails by chance once in 1,000
        assert stats.kstest(column.numpy(), stats.norm.cdf).pvalue > 1e-3 / D


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.03, 0.1, 1.0, 30.0])
def test_the_line_has_no_curvature_whatever_its_radius(size, dtype):
    """H^1 is the real line: the divergence of the normal distributions, and no gradient by the radius."""
    if dtype == torch.float32 and size == 0.03:
        pytest.skip("samples 150 radii from the origin are beyond the range of float32")
    s = learnable("h1", radius(size).to(dtype))
    params = torch.tensor([[[1.5, 0.55]]], dtype=dtype).expand(1, 20_000, 2)
    q = s.posterior(params)
    z = q.rsample((), generators(0))
    estimate = (q.log_prob(z) - s.prior(dtype=dtype).log_prob(z)).mean()
    (slope,) = torch.autograd.grad(estimate, s.log_radius)
    plain = space("e1")
    q = plain.posterior(euclidean_params("h", params.double()))  # random numbers are drawn in float64 there
    x = q.rsample((), generators(0))
    expected = (q.log_prob(x) - plain.prior(dtype=torch.float64).log_prob(x)).mean()
    torch.testing.assert_close(estimate.double(), expected, rtol=1e-5, atol=1e-5)
    assert slope.abs().max() < (1e-9 if dtype == torch.float64 else 1e-4)


def test_far_out_on_a_small_hyperboloid_float32_is_finite():
    s = learnable("h2", radius(0.1).float())
    params = torch.tensor([[[1.0, -0.8, 0.55, 0.55]]]).expand(1, 100_000, 4).clone().requires_grad_()
    z = s.posterior(params).rsample((), generators(0))
    assert z.isfinite().all() and s.prior().rsample((100_000,)).isfinite().all()
    for gradient in torch.autograd.grad(z.tanh().mean(), (params, s.log_radius)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [1e-4, 1e-2, 1.0])
def test_posteriors_of_small_spheres_stay_on_them_in_float32(size):
    loc = learnable("s2", radius(size).float()).posterior(2 * noise(1, 1000, 3).float()).base.loc
    assert (loc.double().norm(dim=-1) - 1).abs().max() < 2e-7


def test_at_radius_one_the_hyperboloid_is_the_plain_one():
    params = noise(1, 5, 2 * D)
    curved, plain = learnable(f"h{D}", radius(1.0)), Hyperboloid(D)
    p, q = curved.posterior(params), plain.posterior(params)
    z, x = p.rsample((7,), generators(0)), q.rsample((7,), generators(0))
    torch.testing.assert_close(curved.unit(z), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(p.log_prob(z), q.log_prob(x), rtol=1e-12, atol=1e-12)
    estimate = kl_estimate(q, plain.prior(dtype=torch.float64), x)
    torch.testing.assert_close(kl_estimate(p, curved.prior(), z), estimate, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(curved.distance(z[0], z[1]), plain.distance(x[0], x[1]), rtol=1e-12, atol=1e-12)
    assert curved.curvature.item() == -1


def test_a_small_sphere_has_a_uniform_prior():
    s = learnable(f"s{D}", radius(1e-4))
    z = s.prior().rsample((50,), generators(0))
    uniform = HypersphericalUniform(D + 1, dtype=torch.float64)
    assert (z.norm(dim=-1) <= 2e-4 * (1 + 1e-9)).all()
    expected = uniform.log_prob(s.unit(z)) - D * math.log(1e-4)
    torch.testing.assert_close(s.prior().log_prob(z), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("letter", ["s", "h"])
@pytest.mark.parametrize("size", [0.5, 1.0, 4.0])
def test_densities_integrate_to_one_over_the_curve(letter, size):
    """By arc length t on the circle or the hyperbolic line of that radius, on which the exponential map is known."""
    s = learnable(f"{letter}1", radius(size))
    end = math.pi * size if letter == "s" else 14.0
    t = torch.linspace(-end, end, 8001, dtype=torch.float64)
    angle = t / size
    cos, sin = (angle.cos(), angle.sin()) if letter == "s" else (angle.cosh(), angle.sinh())
    line = size * torch.stack([cos - 1 if letter == "s" else sin**2 / (1 + cos), sin], dim=-1)[None]
    for p in (s.posterior(noise(1, 1, 2)), s.prior()):
        assert torch.trapezoid(p.log_prob(line)[0].exp(), t).item() == pytest.approx(1, abs=1e-5)
    lengths = s.distance(line[:, 4000:4001], line)[0]
    torch.testing.assert_close(lengths, t.abs(), rtol=1e-6, atol=1e-9)
    v = torch.tensor([[[0.3, 0.0]]], dtype=torch.float64)  # the exponential map keeps lengths
    assert s.distance(s.posterior(v).mode, line[:, 4000:4001]).item() == pytest.approx(0.3, rel=1e-12)


@pytest.mark.parametrize("name", ["s2", "h2"])
def test_gradient_with_respect_to_the_radius(name):
    params = noise(2, 4, space(name).dim + (1 if name == "s2" else 2))

    def estimate(log_radius):
        s = learnable(name, radius(1.0, 1.0))
        del s.log_radius
        s.log_radius = log_radius
        q = s.posterior(params)
        z = q.rsample((), generators(0, 1))
        distance = s.distance(q.mode, torch.zeros_like(z))
        if name == "s2":  # the sample's own gradient is implicit: no finite differences of a sampler with rejection
            return kl_estimate(q, s.prior(), z), q.mode, distance
        return kl_estimate(q, s.prior(), z), z, distance

    assert torch.autograd.gradcheck(estimate, radius(0.7, 3.0).log().requires_grad_(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["s2", "h2", "e1s2h2", "s2s2"])
def test_models_and_evaluation_take_it_and_learn_it(name):
    model = VAE(learnable(name, torch.tensor([1.0, 2.0])), 7, (5,), generators(0, 1), gaussian(1.0))
    learned = {key: value for key, value in model.named_parameters() if "log_radius" in key}
    assert len(learned) == name.count("s") + name.count("h")
    x = noise(2, 6, 7).float()
    re, kl = model.elbo_terms(x, generators(2, 3))
    assert re.shape == kl.shape == (2, 6)
    (kl - re).sum().backward()
    for value in learned.values():
        assert value.shape == (2,) and value.grad.isfinite().all() and (value.grad != 0).all()

    def batch(index):
        return x[0][index]

    assert evaluation.log_likelihood(model, batch, 6, generators(0, 1), 20)["LL"].isfinite().all()
    assert evaluation.marginal_kl(model, x, generators(0, 1), 50).isfinite().all()
    modes = evaluation.features(model, batch, 6)
    assert modes.shape == (2, 6, model.space.ambient_dim)
    both = model.space.distance(modes[:, :3], modes[:, 3:])
    for run in range(2):  # a run alone measures as it does among others
        alone = model.space.of_run(run)
        torch.testing.assert_close(
            alone.distance(modes[run, :3], modes[run, 3:])[None][0], both[run : run + 1][0].expand(3)
        )
        labels = torch.arange(6) % 2
        assert 0 <= evaluation.knn_accuracy(alone, modes[run], labels, modes[run], labels, 3) <= 1


def test_runs_together_are_those_alone():
    together = VAE(learnable("e1s2h2", torch.tensor([1.0, 2.0])), 7, (5,), generators(0, 1), gaussian(1.0))
    x = noise(2, 6, 7).float()
    terms = together.elbo_terms(x, generators(2, 3))
    for run in range(2):
        alone = VAE(learnable("e1s2h2", torch.tensor([[1.0, 2.0][run]])), 7, (5,), generators(run), gaussian(1.0))
        for ours, own in zip(terms, alone.elbo_terms(x[run : run + 1], generators(2 + run)), strict=True):
            torch.testing.assert_close(ours[run], own[0], rtol=1e-4, atol=1e-4)  # float32


def test_each_factor_has_a_radius_of_its_own():
    s = learnable("s2s2", radius(1.0))
    assert isinstance(s.posterior(noise(1, 4, 6)), ProductDistribution)
    with torch.no_grad():
        s.factors[0].log_radius.fill_(math.log(5.0))
    assert [f.radius.item() for f in s.factors] == pytest.approx([5, 1])
    assert [f.curvature.item() for f in s.factors] == pytest.approx([0.04, 1])
    params = noise(1, 4, 3).repeat(1, 1, 2)
    first, second = s.posterior(params).split(s.posterior(params).mode)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    "name, message", [("p2", "p2 has no curvature"), ("e2p2", "p2 has no curvature"), ("x2", "unknown")]
)
def test_factors_that_have_no_curvature_raise_one_line(name, message):
    with pytest.raises(UserError, match=message) as error:
        learnable(name, radius(1.0))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_radius_that_is_not_positive_raises(value):
    with pytest.raises(UserError, match="radius must be a finite number > 0"):
        learnable("s2", radius(1.0, value))


@pytest.mark.parametrize("name", ["s2", "h3", "e1s2h2"])
def test_a_radius_may_be_a_float(name):
    with_float, with_tensor = learnable(name, 1.5), learnable(name, torch.tensor(1.5))
    assert with_float.state_dict().keys() == with_tensor.state_dict().keys()
    for key, value in with_tensor.state_dict().items():
        assert torch.equal(with_float.state_dict()[key], value) and value.dtype == torch.float32
    with pytest.raises(UserError, match=r"radius must be a finite number > 0, got -1\.0"):
        learnable(name, -1.0)


def test_parameters_of_the_wrong_width_are_one_line():
    with pytest.raises(ValueError, match=r"must have shape \[..., 3\], got \[5, 4\]"):
        learnable("s2", 1.0).posterior(torch.zeros(5, 4))
