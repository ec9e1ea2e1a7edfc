"""The variational auto-encoder over any latent space; a plain autoencoder is its deterministic special case.

References: Kingma and Welling (2013); Davidson et al. (2018), with the architecture of the authors' code.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from ..distributions import kl_estimate
from ..distributions.noise import Generators
from ..spaces import Space
from .layers import mlp

Likelihood = Callable[[Tensor, Tensor], Tensor]


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x | logits) [...] in nats, summed over the last axis; ``x`` broadcasts against ``logits``."""
    return -binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


def gaussian(sigma: float) -> Likelihood:
    """Likelihood with independent normal noise of standard deviation ``sigma`` around the decoder's output."""

    def log_prob(x: Tensor, mean: Tensor) -> Tensor:
        constant = x.shape[-1] * (math.log(sigma) + 0.5 * math.log(2 * math.pi))
        return -((x - mean) / sigma).square().sum(-1) / 2 - constant

    return log_prob


def von_mises(concentration: float | None = None, largest: float = math.inf) -> Likelihood:
    """Likelihood of angles given as (cos, sin) pairs, independent von Mises distributions.

    The decoder gives a pair eta for every angle. Its direction is the mean direction. Its length is the concentration
    kappa, so that eta is the natural parameter of the family, smoothly bounded where a ``largest`` one is given: the
    density of angles that are equal to the last digit, as in a flat molecule, has no bound. With a fixed
    ``concentration`` the length has no meaning, and log p is kappa cos(angle - mean) - log(2 pi I_0(kappa)): up to a
    constant and a factor, cosine similarity.

    Pairs (0, 0) in the data stand for angles that are not there and count nothing. Data and decoder output are
    [..., 2 M] for M angles, the pairs side by side; the result [...] is in nats.
    """

    def log_prob(x: Tensor, output: Tensor) -> Tensor:
        pairs, eta = x.unflatten(-1, (-1, 2)), output.unflatten(-1, (-1, 2))  # [..., M, 2]
        if concentration is None:
            length = eta.norm(dim=-1)
            shrunk = 1 / (1 + (length / largest).square()).sqrt()
            kappa, projected = length * shrunk, (pairs * eta).sum(-1) * shrunk
        else:
            kappa = torch.full_like(eta[..., 0], concentration)
            projected = kappa * (pairs * normalize(eta, dim=-1)).sum(-1)
        log_density = projected - kappa - torch.special.i0e(kappa).log() - math.log(2 * math.pi)
        return (log_density * (pairs.detach().abs().sum(-1) > 0)).sum(-1)

    return log_prob


class VAE(nn.Module):
    """Encoder and mirrored decoder with ReLU between a data space and a latent space, for R runs at once.

    Args:
        space: the latent space, which defines posterior and prior.
        features: width of the data.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        generators: one for each run, for the initial weights.
        likelihood: log p(x | decoder output); `bernoulli` by default.
        stochastic: False turns the model into a plain autoencoder: the latent point is the posterior's mode and the KL
            divergence is reported as zero.
    """

    def __init__(
        self,
        space: Space,
        features: int,
        hidden: Sequence[int],
        generators: Sequence[torch.Generator],
        likelihood: Likelihood = bernoulli,
        stochastic: bool = True,
    ):
        super().__init__()
        self.space = space
        self.likelihood = likelihood
        self.stochastic = stochastic
        self.encoder = mlp([features, *hidden, space.n_params], generators)
        self.decoder = mlp([space.ambient_dim, *reversed(hidden), features], generators)

    @property
    def runs(self) -> int:
        return self.encoder[0].weight.shape[0]

    @property
    def device(self) -> torch.device:
        return self.encoder[0].weight.device

    def posterior(self, x: Tensor) -> Distribution:
        """q(z | x) with batch shape [R, B] for ``x`` [R, B, features]."""
        return self.space.posterior(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Decoder output (logits or means) [R, B, features] for ``z`` [R, B, m]."""
        return self.decoder(z)

    def elbo_terms(self, x: Tensor, generator: Generators = None) -> tuple[Tensor, Tensor]:
        """One-sample estimate of RE = E_q[log p(x | z)] and the KL divergence, each [R, B] in nats: ELBO = RE - KL.

        Where the KL divergence has no closed form it is estimated from that sample too, see `kl_estimate`.
        """
        posterior = self.posterior(x)
        if not self.stochastic:
            re = self.likelihood(x, self.decode(posterior.mode))
            return re, torch.zeros_like(re)
        z = posterior.rsample(generator=generator)
        return self.likelihood(x, self.decode(z)), kl_estimate(posterior, self.space.prior(x.device, x.dtype), z)
