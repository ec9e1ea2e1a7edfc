"""The uniform distribution on a hypersphere, prior of the S-VAE."""

from typing import ClassVar

import torch
from torch import Tensor

from .noise import Generators, draw
from .points import OnManifold, density_dtype, unit_vector
from .sphere import log_surface_area


class HypersphericalUniform(OnManifold):
    """Uniform distribution on the unit sphere S^(m-1) in R^m.

    Args:
        dim: ambient dimension m >= 2.
        batch_shape: shape of the batch, [] by default.
        device, dtype: of the samples.

    Raises:
        ValueError: ``dim`` is below 2 or not whole.
    """

    arg_constraints: ClassVar[dict] = {}
    support = unit_vector
    has_rsample = True

    def __init__(self, dim: int, batch_shape=(), device=None, dtype=None, validate_args: bool | None = None):
        if dim < 2 or dim != int(dim):
            raise ValueError(f"the ambient dimension of a sphere must be a whole number of at least 2, got {dim}")
        self.dim = int(dim)
        self._like = torch.empty(0, device=device, dtype=dtype)
        super().__init__(torch.Size(batch_shape), torch.Size([self.dim]), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        return HypersphericalUniform(
            self.dim, batch_shape, self._like.device, self._like.dtype, validate_args=self._validate_args
        )

    @property
    def mean(self) -> Tensor:
        return self._like.new_zeros(self.batch_shape + self.event_shape)

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Samples [*sample_shape, *batch_shape, m] of unit length. There is no parameter to differentiate by."""
        shape = self._extended_shape(sample_shape)
        direction = draw(torch.randn, shape, generator, self._like.device, runs_axis=len(sample_shape))
        return (direction / direction.norm(dim=-1, keepdim=True)).to(self._like.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] in nats of unit vectors ``value`` [..., m], relative to the surface measure."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        dtype = density_dtype(self._like, value)
        return value.new_full(shape, -log_surface_area(self.dim), dtype=dtype)

    def entropy(self) -> Tensor:
        """Differential entropy in nats: the logarithm of the surface area."""
        return self._like.new_full(self.batch_shape, log_surface_area(self.dim))
