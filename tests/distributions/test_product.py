"""ProductDistribution and kl_estimate: sums over the factors, the factors' own samples, contract."""

import math

import pytest
import torch
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from svae_repro import hyperboloid
from svae_repro.distributions import (
    DiagonalNormal,
    HypersphericalUniform,
    ProductDistribution,
    Repeated,
    VonMisesFisher,
    WrappedNormal,
    kl_estimate,
    kl_tangent,
)
from tests.distributions.common import generator


def noise(*shape, seed=0):
    # Not the streams that are sampled from: noise that is a multiple of loc would give a vMF no direction around it.
    return torch.randn(shape, generator=generator(100 + seed), dtype=torch.float64)


def posteriors(*batch):
    """A normal on R^2, a vMF on S^2 and a wrapped normal on H^2."""
    loc = hyperboloid.with_time(noise(*batch, 2, seed=3))
    return [
        DiagonalNormal(noise(*batch, 2), noise(*batch, 2, seed=1).exp()),
        VonMisesFisher(normalize(noise(*batch, 3, seed=2), dim=-1), noise(*batch, seed=4).exp()),
        WrappedNormal(loc, noise(*batch, 2, seed=5).exp()),
    ]


def priors():
    one, zero = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    return [
        DiagonalNormal(zero, one),
        HypersphericalUniform(3, dtype=torch.float64),
        WrappedNormal(hyperboloid.origin(2, dtype=torch.float64), one),
    ]


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)])
def test_shapes_and_parts(batch):
    p = ProductDistribution(posteriors(*batch))
    assert (p.batch_shape, p.event_shape, p.mode.shape) == (batch, (8,), (*batch, 8))
    z = p.rsample((5,), generator())
    assert z.shape == (5, *batch, 8) and p.log_prob(z).shape == (5, *batch)
    assert p.support.check(z).all() and not p.support.check(z.flip(-1)).any()
    assert [part.shape[-1] for part in p.split(z)] == [2, 3, 3]
    assert torch.equal(torch.cat(p.split(z.clone()), dim=-1), z)
    wide = ProductDistribution(priors()).expand((3, *batch))
    assert isinstance(wide, ProductDistribution) and wide.rsample().shape == (3, *batch, 8)


def test_factors_broadcast():
    factors = [*posteriors(2, 1)[:1], *posteriors(4)[1:]]
    assert ProductDistribution(factors).rsample((3,)).shape == (3, 2, 4, 8)


def test_log_prob_is_the_sum_of_the_parts():
    p, own = ProductDistribution(posteriors(4)), posteriors(4)
    z = p.rsample((5,), generator())
    expected = sum(f.log_prob(part) for f, part in zip(own, z.split([2, 3, 3], dim=-1), strict=True))
    torch.testing.assert_close(p.log_prob(z), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(p.log_prob(z.clone()), expected, rtol=1e-13, atol=1e-13)
    assert torch.equal(p.mode, torch.cat([f.mode for f in own], dim=-1))


def test_mean_and_entropy_are_those_of_the_parts():
    own = posteriors(4)[:2]
    p = ProductDistribution(own)
    assert torch.equal(p.mean, torch.cat([f.mean for f in own], dim=-1))
    assert torch.equal(p.entropy(), own[0].entropy() + own[1].entropy())


def test_divergence_is_the_sum_of_the_parts():
    p, q = ProductDistribution(posteriors(4)), ProductDistribution(priors())
    z = p.rsample((), generator())
    parts = list(zip(p.factors, priors(), p.split(z), strict=True))
    closed = [kl_divergence(a, b) for a, b, _ in parts[:2]]
    a, b, part = parts[2]
    # Not to the last bit: a vectorised function and that of the elements left over may round differently.
    expected = sum(closed) + a.log_prob(part) - b.log_prob(part)
    torch.testing.assert_close(kl_estimate(p, q, z), expected, rtol=1e-13, atol=1e-13)
    with pytest.raises(NotImplementedError):
        kl_divergence(p, q)
    p, q = ProductDistribution(posteriors(4)[:2]), ProductDistribution(priors()[:2])
    assert torch.equal(kl_divergence(p, q), sum(closed))
    assert torch.equal(kl_estimate(p, q, p.rsample()), sum(closed))  # whatever the sample


def test_a_float32_sample_keeps_what_its_factors_know():
    """The wrapped normal's density at radius 15 needs the vector that made the sample."""
    v = torch.tensor([9.0, 12.0], dtype=torch.float64)
    factor = WrappedNormal(hyperboloid.with_time(hyperboloid.expand(v)).float(), torch.tensor([0.05, 0.05]))
    p = ProductDistribution([DiagonalNormal(torch.zeros(1), torch.ones(1)), factor])
    z = p.rsample((100,), generator())
    expected = p.factors[0].log_prob(p.split(z)[0]) + factor.log_prob(p.split(z)[1])
    assert torch.equal(p.log_prob(z), expected)
    assert (p.log_prob(z.clone()) - expected).abs().max() > 1


def test_runs_together_draw_what_each_draws_alone():
    together = ProductDistribution(posteriors(3, 4)).rsample((5,), [generator(r) for r in range(3)])
    for run in range(3):
        factors = [
            type(f)(*(a[run] for a in parameters))
            for f, parameters in zip(posteriors(3, 4), parameters_of(posteriors(3, 4)), strict=True)
        ]
        alone = ProductDistribution(factors).rsample((5,), generator(run))
        torch.testing.assert_close(together[:, run], alone, rtol=1e-13, atol=1e-12)


def parameters_of(factors):
    normal, vmf, wrapped = factors
    return [
        (normal.base_dist.loc, normal.base_dist.scale),
        (vmf.loc, vmf.concentration),
        (wrapped.loc, wrapped.scale),
    ]


def test_bad_values_raise():
    p = ProductDistribution(posteriors())
    with pytest.raises(ValueError, match="unit length"):
        p.log_prob(torch.ones(8, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"value must have shape \[..., 8\], got \[2, 7\]"):
        p.log_prob(torch.ones(2, 7, dtype=torch.float64))


def test_different_spaces_have_no_divergence():
    normal, vmf, wrapped = posteriors()
    p = ProductDistribution([vmf, normal])
    line = DiagonalNormal(torch.zeros(1), torch.ones(1))
    for other in ([vmf, line], [normal, vmf], [vmf], [vmf, normal, wrapped]):
        for divergence in (kl_divergence, lambda p, q: kl_estimate(p, q, p.rsample())):
            with pytest.raises(ValueError, match=r"between products of vectors of sizes \[3, 2\] and \["):
                divergence(p, ProductDistribution(other))
    twice, thrice = (Repeated(VonMisesFisher(vmf.loc.expand(k, 3), 1.0)) for k in (2, 3))
    with pytest.raises(ValueError, match=r"between distributions in R\^6 and R\^9"):
        kl_divergence(twice, thrice)
    six = Repeated(VonMisesFisher(torch.eye(2, dtype=torch.float64)[0].expand(3, 2), 1.0))
    with pytest.raises(ValueError, match=r"between distributions in R\^3 and R\^2"):
        kl_divergence(twice, six)
    with pytest.raises(ValueError, match=r"between distributions in R\^3 and R\^2"):
        kl_tangent(wrapped, WrappedNormal(hyperboloid.origin(1, dtype=torch.float64), 1.0))
    with pytest.raises(ValueError, match=r"value must have shape \[..., 6\], got \[9\]"):
        twice.log_prob(thrice.rsample())


# Repeated


def repeated(factor):
    """Three neighbours of one family, together and apart."""
    parameters = parameters_of(posteriors(4, 3))[factor]
    together = Repeated(type(posteriors()[factor])(*parameters))
    apart = [type(posteriors()[factor])(*(p[:, i] for p in parameters)) for i in range(3)]
    return together, ProductDistribution(apart), priors()[factor]


@pytest.mark.parametrize("factor", [0, 1, 2])
def test_repeated_is_the_product_of_its_parts(factor):
    together, apart, prior = repeated(factor)
    assert (together.batch_shape, together.event_shape) == (apart.batch_shape, apart.event_shape)
    assert torch.equal(together.mode, apart.mode)
    z = together.rsample((5,), generator())
    torch.testing.assert_close(together.log_prob(z.clone()), apart.log_prob(z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(together.log_prob(z), apart.log_prob(z), rtol=1e-9, atol=1e-9)
    assert together.support.check(z).all() and not together.support.check(z * math.nan).any()
    priors_together, priors_apart = Repeated(prior.expand([3])), ProductDistribution([prior] * 3)
    one = z[0].clone()
    expected = kl_estimate(apart, priors_apart, one)
    torch.testing.assert_close(kl_estimate(together, priors_together, one), expected, rtol=1e-12, atol=1e-12)
    if factor < 2:
        torch.testing.assert_close(together.mean, apart.mean)
        torch.testing.assert_close(together.entropy(), apart.entropy())
        torch.testing.assert_close(kl_divergence(together, priors_together), expected)
    wide = priors_together.expand((2, 4))
    assert wide.rsample((5,)).shape == (5, 2, 4, z.shape[-1])


def test_repeated_runs_draw_what_each_draws_alone():
    parameters = parameters_of(posteriors(3, 4, 2))[1]
    together = Repeated(VonMisesFisher(*parameters)).rsample((5,), [generator(r) for r in range(3)])
    for run in range(3):
        alone = Repeated(VonMisesFisher(*(p[run] for p in parameters))).rsample((5,), generator(run))
        torch.testing.assert_close(together[:, run], alone, rtol=1e-13, atol=1e-13)


def test_a_repeated_float32_sample_keeps_what_its_base_knows():
    v = torch.tensor([[9.0, 12.0]] * 2, dtype=torch.float64)
    base, twin = (
        WrappedNormal(hyperboloid.with_time(hyperboloid.expand(v)).float(), torch.full((2, 2), 0.05)) for _ in range(2)
    )
    p = Repeated(base)
    z = p.rsample((100,), generator())
    exact = twin.log_prob(twin.rsample((100,), generator())).sum(-1)
    assert torch.equal(p.log_prob(z), exact)
    assert (p.log_prob(z.clone()) - exact).abs().max() > 1
