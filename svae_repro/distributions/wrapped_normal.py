"""The wrapped normal distribution on hyperbolic space, posterior and prior of the H-VAE (Nagano et al. 2019)."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .. import hyperboloid
from .last_sample import LastSample
from .noise import Generators, draw
from .points import OnManifold, common_shape, density_dtype, floating, hyperboloid_point, kl_shape, require


class WrappedNormal(OnManifold):
    """Normal tangent vectors at the origin, transported to ``loc`` and wrapped onto the hyperboloid H^n.

    z = exp_loc(PT(v)) with v ~ N(0, diag(scale^2)) at the origin. Its density relative to the volume of H^n is that of
    v times (|v| / sinh(|v|))^(n-1) (Nagano et al. 2019, Eq. 9-12), greatest at ``loc``.

    A point far out cannot hold the v that made it: rounding takes some of it away. The distribution therefore remembers
    its last sample, and `log_prob` of that very tensor uses its exact v (`LastSample`); any other point is mapped back.
    So the density of the last sample has no gradient in the sample itself, only in ``loc`` and ``scale`` and through v:
    where one in the sample is wanted pass a clone.

    Args:
        loc: points of the hyperboloid [..., n+1], n >= 1.
        scale: standard deviations of v [..., n], > 0, or one for all as a float.

    Raises:
        ValueError: with validation, ``loc`` is not on the hyperboloid, ``scale`` is not positive and finite, or the
            shapes do not fit.
    """

    arg_constraints: ClassVar[dict] = {
        "loc": hyperboloid_point,
        "scale": constraints.independent(constraints.positive, 1),
    }
    support = hyperboloid_point
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor | float, validate_args: bool | None = None):
        loc = floating(loc)
        if not isinstance(scale, Tensor):  # the same in all directions
            scale = torch.as_tensor(scale, dtype=loc.dtype, device=loc.device).expand(loc.shape[-1:].numel() - 1)
        if Distribution._validate_args if validate_args is None else validate_args:
            _validate(loc, scale)
        batch_shape = common_shape(("loc", loc.shape[:-1]), ("scale", scale.shape[:-1]))
        self.loc, self.scale = loc.expand(*batch_shape, -1), scale.expand(*batch_shape, -1)
        self._last = LastSample()  # made from its v in float64
        super().__init__(batch_shape, loc.shape[-1:], validate_args=False)
        self._validate_args = Distribution._validate_args if validate_args is None else validate_args

    def expand(self, batch_shape, _instance=None):
        shape = torch.Size(batch_shape)
        new = WrappedNormal(self.loc.expand(*shape, -1), self.scale.expand(*shape, -1), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def dim(self) -> int:
        """Dimension n of the manifold."""
        return self.event_shape[0] - 1

    @property
    def mode(self) -> Tensor:
        return self.loc

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Samples [*sample_shape, ..., n+1], differentiable in both parameters."""
        shape = (*self._extended_shape(sample_shape)[:-1], self.dim)
        noise = draw(torch.randn, shape, generator, self.loc.device, runs_axis=len(sample_shape))
        v = self.scale.double() * noise
        space = hyperboloid.move(self.loc[..., 1:].double(), hyperboloid.expand(v))
        return self._last.keep(hyperboloid.with_time(space).to(self.loc.dtype), v)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] in nats of points ``value`` [..., n+1], relative to the volume of H^n."""
        if self._validate_args:
            self._validate_sample(value)
        v = self._last.source_of(value, self.loc, self.scale)
        if v is None:
            v = hyperboloid.frame_log(self.loc[..., 1:].double(), value[..., 1:].double())
        scale = self.scale.double()
        normal = -(v / scale).square().sum(-1) / 2 - scale.log().sum(-1) - self.dim / 2 * math.log(2 * math.pi)
        stretch = (self.dim - 1) * hyperboloid.log_sinhc(v.square().sum(-1))
        return (normal - stretch).to(density_dtype(self.loc, value))


def kl_tangent(p: WrappedNormal, q: WrappedNormal) -> Tensor:
    """KL divergence [...] in nats of normal distributions on the tangent space at the origin that stand for p and q.

    Their means are log_origin(loc), their standard deviations the scales. This is the closed form that the blog post
    takes for the divergence of p from a standard prior q. It is exact for n = 1, where the exponential map keeps
    lengths, and for equal ``loc``, where p and q have the map in common. Otherwise it is too small for that prior: in
    negative curvature the two points exp_loc(u) and exp_loc(-u) lie further from the origin than in the plane.
    """
    kl_shape(p, q)
    means = []
    for loc in (p.loc, q.loc):
        space = loc[..., 1:].double()
        means.append(hyperboloid.frame_log(torch.zeros_like(space), space))
    ratio = p.scale.double() / q.scale.double()
    shift = (means[0] - means[1]) / q.scale.double()
    return ((ratio.square() + shift.square() - 1) / 2 - ratio.log()).sum(-1).to(p.loc.dtype)


def _validate(loc: Tensor, scale: Tensor) -> None:
    if loc.dim() == 0 or loc.shape[-1] < 2 or scale.dim() == 0 or scale.shape[-1] != loc.shape[-1] - 1:
        shapes = f"{list(loc.shape)} and {list(scale.shape)}"
        raise ValueError(f"loc and scale must have shapes [..., n+1] and [..., n] with n >= 1, got {shapes}")
    require(hyperboloid_point, loc, "loc")
    wrong = ~(scale > 0) | scale.isinf()
    if wrong.any():
        raise ValueError(f"scale must be a finite number > 0, found {scale[wrong][0].item():.6g}")
