"""The VAE: likelihoods against torch's distributions, the autoencoder as a special case, initial weights."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Bernoulli, Normal

from svae_repro.distributions import kl_estimate
from svae_repro.models import VAE
from svae_repro.models.layers import RunsLinear, mlp
from svae_repro.models.vae import bernoulli, gaussian, von_mises
from svae_repro.spaces import space


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(7,), (2, 5, 7)])
def test_bernoulli_likelihood_is_torchs(shape):
    logits = 30 * random(*shape)  # also where a probability rounds to 0 or 1
    x = (random(*shape, seed=1) > 0).float()
    expected = Bernoulli(logits=logits.double()).log_prob(x.double()).sum(-1)
    torch.testing.assert_close(bernoulli(x, logits).double(), expected, rtol=1e-5, atol=1e-4)  # float32 sums


def test_likelihoods_broadcast_data_over_samples():
    x, output = (random(2, 1, 5, 7, seed=1) > 0).float(), random(2, 3, 5, 7)  # [R, 1, B, P] against [R, S, B, P]
    for likelihood in (bernoulli, gaussian(0.5)):
        each = torch.stack([likelihood(x[:, 0], output[:, s]) for s in range(3)], dim=1)
        torch.testing.assert_close(likelihood(x, output), each)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_gaussian_likelihood_is_torchs(sigma):
    x, mean = random(4, 7), random(4, 7, seed=1)
    expected = Normal(mean.double(), sigma).log_prob(x.double()).sum(-1)
    torch.testing.assert_close(gaussian(sigma)(x, mean).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["e2", "s2", "h2", "e1s2h2"])
def test_autoencoder_has_no_divergence_and_no_noise(name):
    model = VAE(space(name), 7, (5,), generators(0, 1), gaussian(1.0), stochastic=False)
    x = random(2, 3, 7)
    re, kl = model.elbo_terms(x, generators(2, 3))
    assert torch.equal(kl, torch.zeros(2, 3))
    assert torch.equal(re, model.elbo_terms(x, generators(4, 5))[0])
    mode = model.space.posterior(model.encoder(x)).mode
    assert torch.equal(re, gaussian(1.0)(x, model.decode(mode)))
    noisy = VAE(space(name), 7, (5,), generators(0, 1), gaussian(1.0))
    assert not torch.equal(noisy.elbo_terms(x, generators(2, 3))[0], noisy.elbo_terms(x, generators(4, 5))[0])


@pytest.mark.parametrize("name, parameters", [("e3", 6), ("s3", 5), ("h3", 6), ("e1s2h2", 10)])
def test_decoder_mirrors_encoder(name, parameters):
    model = VAE(space(name), 9, (7, 5), generators(0, 1))
    ambient = model.space.ambient_dim
    widths = [[tuple(layer.weight.shape) for layer in part[::2]] for part in (model.encoder, model.decoder)]
    assert widths[0] == [(2, 9, 7), (2, 7, 5), (2, 5, parameters)]
    assert widths[1] == [(2, ambient, 5), (2, 5, 7), (2, 7, 9)]
    assert model.runs == 2 and model.posterior(random(2, 4, 9)).batch_shape == (2, 4)


@pytest.mark.parametrize("name", ["e2", "s2", "h2", "e1s2h2"])
def test_elbo_terms_share_the_one_sample_of_the_posterior(name):
    """So a model draws the same random numbers whether or not its KL divergence has a closed form."""
    model, x = VAE(space(name), 7, (5,), generators(0, 1), gaussian(1.0)), random(2, 3, 7)
    re, kl = model.elbo_terms(x, generators(2, 3))
    posterior, prior = model.posterior(x), model.space.prior()
    z = posterior.rsample(generator=generators(2, 3))
    assert torch.equal(re, gaussian(1.0)(x, model.decode(z)))
    assert torch.equal(kl, kl_estimate(posterior, prior, z))
    after = generators(2, 3)
    model.elbo_terms(x, after)
    used = generators(2, 3)
    posterior.rsample(generator=used)
    assert all(torch.equal(a.get_state(), b.get_state()) for a, b in zip(after, used, strict=True))


def test_initial_weights_fill_the_glorot_interval_and_biases_are_zero():
    layer = RunsLinear(300, 100, generators(0, 1))
    bound = math.sqrt(6 / 400)
    for weight in layer.weight:
        assert weight.abs().max() <= bound
        # 30,000 uniform draws: the largest misses the bound by 1/30,000 of it on average; the std errs by 0.3 %
        assert weight.abs().max() > 0.999 * bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert not layer.bias.any()


def test_each_run_is_initialised_and_evaluated_as_if_alone():
    together, x = mlp([6, 5, 4], generators(3, 8)), random(2, 9, 6)
    for run, seed in enumerate((3, 8)):
        alone = mlp([6, 5, 4], generators(seed))
        for ours, own in zip(together.parameters(), alone.parameters(), strict=True):
            assert torch.equal(ours[run], own[0])
        torch.testing.assert_close(together(x)[run], alone(x[run : run + 1])[0])


def test_mlp_is_affine_maps_with_relu_between():
    net, x = mlp([6, 5, 4], generators(0)), random(1, 9, 6)
    net[0].bias.data.normal_(generator=generators(1)[0])
    first, last = net[0], net[2]
    hidden = (x[0] @ first.weight[0] + first.bias[0]).clamp_min(0)
    torch.testing.assert_close(net(x)[0], hidden @ last.weight[0] + last.bias[0])


# Angles as pairs


def pairs(angle):
    """(cos, sin) side by side, [..., M] -> [..., 2 M]."""
    return torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(-2)


def shortened(eta, largest):
    """Concentration and mean direction that a decoder's output [..., M, 2] stands for."""
    length = np.linalg.norm(eta, axis=-1)
    return length / np.sqrt(1 + (length / largest) ** 2), np.arctan2(eta[..., 1], eta[..., 0])


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-4)])
@pytest.mark.parametrize("largest", [1.5, 800.0, math.inf])
def test_von_mises_likelihood_is_scipys(dtype, tolerance, largest):
    angle = 3 * random(4, 50).double()
    scale = torch.logspace(-3, 3, 50, dtype=torch.float64)  # concentrations from nothing to 1000
    eta = scale.view(1, 50, 1) * random(4, 50, 2, seed=1).double()
    kappa, mean = shortened(eta.numpy(), largest)
    assert kappa.max() <= largest
    expected = stats.vonmises.logpdf(angle.numpy(), kappa, loc=mean).sum(-1)
    found = von_mises(largest=largest)(pairs(angle).to(dtype), eta.flatten(-2).to(dtype))
    np.testing.assert_allclose(found.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("eta", [(1e-9, 0.0), (0.3, -0.4), (-30.0, 40.0), (900.0, 0.0)])
def test_von_mises_likelihood_integrates_to_one(eta):
    angle = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)[1:].unsqueeze(-1)
    for likelihood in (von_mises(), von_mises(largest=100.0), von_mises(3.0)):
        density = likelihood(pairs(angle), torch.tensor(eta, dtype=torch.float64)).exp()
        assert density.mean().item() * 2 * math.pi == pytest.approx(1, abs=1e-9)


def test_the_fixed_concentration_is_cosine_similarity_up_to_a_constant():
    angle, eta = random(3, 5, 6), random(3, 5, 12, seed=1)
    mean = torch.atan2(eta[..., 1::2], eta[..., ::2])
    expected = (angle - mean).cos().sum(-1) - 6 * math.log(2 * math.pi * np.i0(1.0))
    torch.testing.assert_close(von_mises(1.0)(pairs(angle), eta), expected)
    torch.testing.assert_close(von_mises(1.0)(pairs(angle), 100 * eta), expected)  # its length means nothing


@pytest.mark.parametrize("likelihood", [von_mises(largest=10.0), von_mises(1.0)])
def test_absent_angles_count_nothing_and_pass_no_gradient(likelihood):
    x = pairs(random(2, 3, 4))
    x[..., 2:4] = 0  # the second angle
    eta = random(2, 3, 8, seed=1)
    eta[..., 4:6] = 0  # an output of zero is no direction at all, and yet finite
    eta.requires_grad_()
    found = likelihood(x, eta)
    others = [0, 1, 4, 5, 6, 7]
    torch.testing.assert_close(found, likelihood(x[..., others], eta[..., others]))
    (gradient,) = torch.autograd.grad(found.sum(), eta)
    assert gradient.isfinite().all() and (gradient[..., 2:4] == 0).all() and gradient[..., others].abs().sum() > 0


def test_von_mises_gradient_is_that_of_finite_differences():
    x, eta = pairs(random(6).double()), (5 * random(12, seed=1).double()).requires_grad_()
    for likelihood in (von_mises(), von_mises(largest=2.0), von_mises(1.0)):
        assert torch.autograd.gradcheck(lambda output, f=likelihood: f(x, output), eta)
