"""The semi-supervised model M1+M2 over any two latent spaces, trained end to end.

Kingma et al. (2014), as Davidson et al. (2018), Section 5.3, modify it: generative model p(y) p(z2) p(z1 | y, z2)
p(x | z1), inference model q(z1 | x) q(y | z1) q(z2 | z1, y). z1 holds what M1 would extract; the class y and the style
z2 explain it.

Letters beyond those of `layers`: K classes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import kl_estimate
from ..distributions.noise import Generators
from ..spaces import Space
from .layers import mlp
from .vae import Likelihood, bernoulli


class M1M2(nn.Module):
    """Five networks between data, their representation z1, their class y and their style z2, for R runs at once.

    Where the KL divergence from q(z1 | x) to p(z1 | y, z2) has a closed form it stands in the place of the log-ratio of
    the two at the sample of z1. The bounds are then those of a posterior in which z1 is independent of y and z2 given
    x: still lower bounds, with less variance, but less tight in general. Other spaces get the log-ratio.

    Args:
        space_z1, space_z2: the latent spaces of z1 and z2.
        features: width of the data.
        classes: number K of classes; p(y) is uniform.
        hidden: widths of the hidden layers, the same for every network.
        generators: one for each run, for the initial weights.
        likelihood: log p(x | decoder output); `bernoulli` by default.
    """

    def __init__(
        self,
        space_z1: Space,
        space_z2: Space,
        features: int,
        classes: int,
        hidden: Sequence[int],
        generators: Sequence[torch.Generator],
        likelihood: Likelihood = bernoulli,
    ):
        super().__init__()
        self.space_z1, self.space_z2, self.classes = space_z1, space_z2, classes
        self.likelihood = likelihood
        z1, z2 = space_z1.ambient_dim, space_z2.ambient_dim
        self.encoder = mlp([features, *hidden, space_z1.n_params], generators)  # q(z1 | x)
        self.classifier = mlp([z1, *hidden, classes], generators)  # q(y | z1)
        self.style_encoder = mlp([z1 + classes, *hidden, space_z2.n_params], generators)  # q(z2 | z1, y)
        self.style_decoder = mlp([z2 + classes, *hidden, space_z1.n_params], generators)  # p(z1 | y, z2)
        self.decoder = mlp([z1, *hidden, features], generators)  # p(x | z1)

    @property
    def runs(self) -> int:
        return self.encoder[0].weight.shape[0]

    @property
    def device(self) -> torch.device:
        return self.encoder[0].weight.device

    def posterior(self, x: Tensor) -> Distribution:
        """q(z1 | x) with batch shape [R, B] for ``x`` [R, B, features]."""
        return self.space_z1.posterior(self.encoder(x))

    def classify(self, x: Tensor) -> Tensor:
        """log q(y | z1) [R, B, K] at the mode of q(z1 | x) for ``x`` [R, B, features]."""
        return self.classifier(self.posterior(x).mode).log_softmax(-1)

    def bounds(self, x: Tensor, generator: Generators = None, style_weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Lower bounds of log p(x, y) for every class y, and log q(y | z1), for ``x`` [R, B, features].

        Both are [R, B, K], in nats, from one sample of z1 and, for each class, one of z2; x is encoded and decoded only
        once. `marginal_bound` makes the bound of log p(x) of them. ``style_weight`` multiplies the KL divergence of z2;
        with a weight below 1 these are no bounds.
        """
        q_z1 = self.space_z1.posterior(self.encoder(x).unsqueeze(2))  # batch shape [R, B, 1]
        z1 = q_z1.rsample(generator=generator)
        log_p_x = self.likelihood(x, self.decoder(z1.squeeze(2)))
        log_q_y = self.classifier(z1.squeeze(2)).log_softmax(-1)
        q_z2 = self._for_every_class(self.style_encoder, self.space_z2, z1)  # [R, B, K]
        z2 = q_z2.rsample(generator=generator)
        p_z1 = self._for_every_class(self.style_decoder, self.space_z1, z2)
        kl_z1 = kl_estimate(q_z1, p_z1, z1)
        kl_z2 = kl_estimate(q_z2, self.space_z2.prior(x.device, x.dtype), z2)
        return log_p_x.unsqueeze(-1) - kl_z1 - style_weight * kl_z2 - math.log(self.classes), log_q_y

    def restyle(self, x: Tensor) -> Tensor:
        """Decoder outputs [R, B, K, features] in the style of ``x`` [R, B, features], one for every class (Figure 10).

        The style is the mode of q(z2 | z1, y) at the most probable class; z1 is the mode of p(z1 | y, z2).
        """
        z1 = self.posterior(x).mode
        own_class = self._one_hot[self.classifier(z1).argmax(-1)]
        z2 = self.space_z2.posterior(self.style_encoder(torch.cat([z1, own_class], dim=-1))).mode
        z1 = self._for_every_class(self.style_decoder, self.space_z1, z2.unsqueeze(2)).mode
        return self.decoder(z1.flatten(1, 2)).unflatten(1, z1.shape[1:3])

    @property
    def _one_hot(self) -> Tensor:
        return torch.eye(self.classes, device=self.device)

    def _for_every_class(self, network: nn.Module, space: Space, z: Tensor) -> Distribution:
        """The distribution [R, B, K] that a network gives for ``z`` [R, B, 1 or K, m] and each class."""
        runs, batch = z.shape[:2]
        z, y = z.expand(-1, -1, self.classes, -1), self._one_hot.expand(runs, batch, -1, -1)
        rows = network(torch.cat([z, y], dim=-1).flatten(1, 2))  # matrix products want a single axis of rows
        return space.posterior(rows.unflatten(1, (batch, self.classes)))


def marginal_bound(bounds: Tensor, log_q_y: Tensor) -> Tensor:
    """Lower bound of log p(x) [...] from `M1M2.bounds` [..., K] and log q(y | z1) [..., K]: exact sum over classes."""
    return (log_q_y.exp() * (bounds - log_q_y)).sum(-1)
