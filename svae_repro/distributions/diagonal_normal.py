"""The normal distribution with a diagonal covariance matrix, posterior and prior of the N-VAE."""

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from .noise import Generators, draw


class DiagonalNormal(Independent):
    """Normal distribution on R^d with independent coordinates; KL divergences are those of `torch.distributions`.

    Args:
        loc: mean [..., d].
        scale: standard deviation [..., d], > 0.
    """

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None):
        super().__init__(Normal(loc, scale, validate_args=validate_args), 1, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        shape = torch.Size(batch_shape) + self.event_shape
        new = DiagonalNormal(self.base_dist.loc.expand(shape), self.base_dist.scale.expand(shape), validate_args=False)
        new._validate_args = new.base_dist._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Samples [*sample_shape, ..., d], differentiable in both parameters."""
        loc, scale = self.base_dist.loc, self.base_dist.scale
        shape = self._extended_shape(sample_shape)
        return loc + scale * draw(torch.randn, shape, generator, loc.device, loc.dtype, runs_axis=len(sample_shape))
