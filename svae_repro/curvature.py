"""Spheres and hyperboloids whose radius, and with it their curvature +-1 / radius^2, is learned with the model.

Lengths mean the same whatever the radius: the prior has a standard deviation of about 1 (on a sphere of radius 1 or
more; a smaller one has no room for it), the posterior one that the encoder gives, both measured along the surface. A
point is ``radius * (z - pole)`` with z on the unit sphere or hyperboloid, so that the pole is the origin. As the
curvature vanishes from either side the surface becomes its tangent plane at the pole, and the space the Euclidean one:
same posterior (from the sphere's side with one standard deviation for all directions), prior, KL divergence and
distance (an idea of Skopek et al. 2020, with other distributions). The uniform prior of `Sphere` has no such limit, and
its KL divergence does not depend on a radius, so here the sphere's prior is the von Mises-Fisher distribution with
kappa = radius^2, which becomes uniform as the radius goes to 0.

The divergence on the sphere is exact to 1e-13 nats however large the radius (1e-5 with parameters in float32). On the
other side the limit has an end: a point more than 89 radii from the pole of a hyperboloid is beyond float32, or 80 at
a radius of 1e4 and 76 at 1e6.

With R runs the radii are [R]; parameters of posteriors have shape [R, B, n_params], priors batch shape [R, 1]. A space
without a runs axis, such as `Space.of_run` returns, has a radius [] and no R in these shapes.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence, register_kl
from torch.nn.functional import softplus

from . import hyperboloid
from .distributions import VonMisesFisher, WrappedNormal
from .distributions.last_sample import LastSample
from .distributions.noise import Generators
from .errors import UserError
from .spaces import Product, Space, space


def learnable(name: str, radius: Tensor | float) -> Space:
    """The space called ``name`` in which every sphere and hyperboloid has a radius of its own to learn.

    Args:
        name: as for `svae_repro.spaces.space`.
        radius: where to start, > 0, one for each run [R], or [] or a float for a space without a runs axis.

    Raises:
        UserError: an unknown name, a factor without a curvature to learn, or a radius that is not positive.
    """
    radius = torch.as_tensor(radius, dtype=None if isinstance(radius, Tensor) else torch.get_default_dtype())
    if not (radius > 0).all() or radius.isinf().any():
        raise UserError(f"a radius must be a finite number > 0, got {radius.tolist()}")
    whole = space(name)
    factors = [_learnable(f, radius) for f in (whole.factors if isinstance(whole, Product) else [whole])]
    return factors[0] if len(factors) == 1 else Product(factors)


def _learnable(factor: Space, radius: Tensor) -> Space:
    if factor.letter == "e":
        return factor
    if factor.letter not in KINDS:
        raise UserError(f"{factor.name} has no curvature to learn: choose among e, {', '.join(KINDS)}")
    return KINDS[factor.letter](factor.dim, radius)


class Curved(Space):
    """What spheres and hyperboloids of any radius share."""

    sign: int  # of the curvature
    interchangeable = False  # each has a radius of its own

    def __init__(self, dim: int, radius: Tensor):
        super().__init__(dim)
        self.log_radius = nn.Parameter(radius.detach().clone().log())  # [R]

    @property
    def ambient_dim(self) -> int:
        return self.dim + 1

    @property
    def radius(self) -> Tensor:
        """[R]"""
        return self.log_radius.exp()

    @property
    def curvature(self) -> Tensor:
        """[R]"""
        return self.sign / self.radius.square()

    def of_run(self, run: int) -> Space:
        return type(self)(self.dim, self.radius[run])

    def _posterior(self, params: Tensor) -> "Embedded":
        v, raw = params.split([self.dim, self.n_params - self.dim], dim=-1)
        radius = self.radius[..., None, None]
        return Embedded(self._unit_normal(v / radius, softplus(raw) / radius), self)

    def prior(self, device=None, dtype=None) -> "Embedded":
        radius = self.radius.to(device=device, dtype=dtype)[..., None, None]
        v = torch.zeros_like(radius).expand(*radius.shape[:-1], self.dim)
        return Embedded(self._unit_normal(v, 1 / radius.expand(*radius.shape[:-1], self.n_params - self.dim)), self)

    @abstractmethod
    def _unit_normal(self, v: Tensor, scale: Tensor) -> Distribution:
        """On the surface of radius 1: around the exponential map of ``v`` at the pole, of standard deviation scale."""

    @abstractmethod
    def embed(self, z: Tensor) -> Tensor:
        """Points [..., R, B, d+1] of the space from those of radius 1."""

    @abstractmethod
    def unit(self, x: Tensor) -> Tensor:
        """The inverse of `embed`."""


class CurvedSphere(Curved):
    """S^d of any radius, with von Mises-Fisher posteriors and prior; one standard deviation for all directions."""

    letter = "s"
    sign = 1

    @property
    def n_params(self) -> int:
        return self.dim + 1

    def _unit_normal(self, v: Tensor, scale: Tensor) -> VonMisesFisher:
        wide = v.double()  # in float32 the two functions see different angles, and loc leaves the sphere
        angle = wide.norm(dim=-1, keepdim=True)
        loc = torch.cat([angle.cos(), wide * torch.sinc(angle / torch.pi)], dim=-1).to(v.dtype)
        return VonMisesFisher(loc, scale.squeeze(-1) ** -2, validate_args=False)

    def embed(self, z: Tensor) -> Tensor:
        return self.radius[..., None, None] * torch.cat([z[..., :1] - 1, z[..., 1:]], dim=-1)

    def unit(self, x: Tensor) -> Tensor:
        z = x / self.radius[..., None, None]
        return torch.cat([z[..., :1] + 1, z[..., 1:]], dim=-1)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """2 radius arctan(|x - y| / |x + y|) with x and y taken from the centre."""
        radius = self.radius[..., None, None]
        total = torch.cat([(x + y)[..., :1] + 2 * radius, (x + y)[..., 1:]], dim=-1)
        return 2 * self.radius[..., None] * torch.atan2((x - y).norm(dim=-1), total.norm(dim=-1))


class CurvedHyperboloid(Curved):
    """H^d of any radius, with wrapped normal posteriors and prior."""

    letter = "h"
    sign = -1

    @property
    def n_params(self) -> int:
        return 2 * self.dim

    def _unit_normal(self, v: Tensor, scale: Tensor) -> WrappedNormal:
        loc = hyperboloid.with_time(hyperboloid.expand(v.double())).to(v.dtype)
        return WrappedNormal(loc, scale, validate_args=False)

    def embed(self, z: Tensor) -> Tensor:
        radius = self.radius[..., None, None]
        x = radius * z[..., 1:]
        wide, square = radius.double(), x.double().square().sum(-1, keepdim=True)  # beyond float32's range far out
        return torch.cat([(square / (wide + (wide.square() + square).sqrt())).to(x.dtype), x], dim=-1)

    def unit(self, x: Tensor) -> Tensor:
        return hyperboloid.with_time((x / self.radius[..., None, None])[..., 1:].double()).to(x.dtype)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return self.radius[..., None] * hyperboloid.distance(self.unit(x), self.unit(y))


KINDS = {kind.letter: kind for kind in (CurvedSphere, CurvedHyperboloid)}


class Embedded(Distribution):
    """A distribution on the unit sphere or hyperboloid, carried to the one of a curved space."""

    arg_constraints: ClassVar[dict] = {}
    has_rsample = True

    def __init__(self, base: Distribution, space: Curved):
        self.base, self.space = base, space
        self._last = LastSample()  # made from what the base drew
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return Embedded(self.base.expand(batch_shape), self.space)

    @property
    def mode(self) -> Tensor:
        return self.space.embed(self.base.mode)

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Samples [*sample_shape, R, B, d+1], differentiable in the parameters and in the radius."""
        z = self.base.rsample(sample_shape, generator)
        return self._last.keep(self.space.embed(z), z)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [..., R, B] in nats, relative to the surface measure at the space's own radius."""
        z = self._last.source_of(value, self.space.log_radius)
        if z is None:
            z = self.space.unit(value)
        return self.base.log_prob(z) - self.space.dim * self.space.log_radius[..., None]


@register_kl(Embedded, Embedded)
def _kl_embedded_embedded(p: Embedded, q: Embedded) -> Tensor:
    """That of the bases: the map is one-to-one. The distributions belong to the same space."""
    return kl_divergence(p.base, q.base)
