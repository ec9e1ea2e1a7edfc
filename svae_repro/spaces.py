"""Latent spaces: what an encoder's outputs mean as a posterior, the prior, and how far apart two points are.

A model asks its space for everything that depends on geometry, so that changing the latent space changes nothing else.
``dim`` is the dimension of the manifold, ``ambient_dim`` the number of coordinates of a point: `Sphere(2)` is S^2 in
R^3.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from . import hyperboloid
from .distributions import (
    DiagonalNormal,
    HypersphericalUniform,
    PowerSpherical,
    ProductDistribution,
    Repeated,
    VonMisesFisher,
    WrappedNormal,
)
from .errors import UserError

# Added to every coordinate of an encoder's direction, which may be zero; it changes none that is not nearly so.
SHORTEST_DIRECTION = 1e-20


class Space(nn.Module, ABC):
    """A latent space of dimension ``dim`` with points in R^ambient_dim and posteriors of ``n_params`` parameters.

    It is a module for the sake of those that have something to learn, see `svae_repro.curvature`.
    """

    letter: str
    interchangeable = True  # with any other of the same name

    def __init__(self, dim: int):
        super().__init__()
        if dim < 1:
            raise UserError(f"a latent space needs a dimension of at least 1, got {dim}")
        self.dim = dim

    @property
    def name(self) -> str:
        """The name that `space` parses."""
        return f"{self.letter}{self.dim}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dim})"

    @property
    @abstractmethod
    def ambient_dim(self) -> int: ...

    @property
    @abstractmethod
    def n_params(self) -> int: ...

    def posterior(self, params: Tensor) -> Distribution:
        """Posterior with batch shape [...] from unconstrained encoder outputs ``params`` [..., n_params]."""
        if params.shape[-1:] != (self.n_params,):
            shape = f"[..., {self.n_params}], got {list(params.shape)}"
            raise ValueError(f"the parameters of a posterior on {self!r} must have shape {shape}")
        return self._posterior(params)

    @abstractmethod
    def _posterior(self, params: Tensor) -> Distribution: ...

    @abstractmethod
    def prior(self, device=None, dtype=None) -> Distribution:
        """Prior over one point, batch shape []."""

    @abstractmethod
    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance [...] between points ``x`` and ``y`` [..., ambient_dim], which broadcast."""

    def of_run(self, run: int) -> "Space":
        """The space of one of the runs that train together; only learned spaces differ between runs."""
        return self

    def grid(self, side: int) -> Tensor:
        """Points [side * side, ambient_dim], row by row from top to bottom, that cover a space of dimension 2.

        They are spaced evenly in the prior's probability, so that a decoded grid shows what the prior generates.
        """
        if self.dim != 2:
            raise NotImplementedError(f"a grid needs a space of dimension 2, not {self!r}")
        return self._grid((torch.arange(side) + 0.5) / side)

    def _grid(self, levels: Tensor) -> Tensor:
        raise NotImplementedError(f"no grid is defined on {self!r}")


class _Normalise(torch.autograd.Function):
    """x / |x| over the last axis, in float64 inside. One node, as a training step on a CPU counts its operations."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        wide = x.double() + SHORTEST_DIRECTION
        norm = (wide * wide).sum(-1, keepdim=True).sqrt()
        unit = (wide / norm).to(x.dtype)
        ctx.save_for_backward(unit, norm)
        return unit

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        unit, norm = ctx.saved_tensors
        return ((grad - unit * (grad * unit).sum(-1, keepdim=True)) / norm).to(grad.dtype)


class Euclidean(Space):
    """R^d with a standard normal prior and diagonal normal posteriors (mean, softplus standard deviation)."""

    letter = "e"

    @property
    def ambient_dim(self) -> int:
        return self.dim

    @property
    def n_params(self) -> int:
        return 2 * self.dim

    def _posterior(self, params: Tensor) -> DiagonalNormal:
        loc, scale = params.split(self.dim, dim=-1)
        return DiagonalNormal(loc, softplus(scale), validate_args=False)

    def prior(self, device=None, dtype=None) -> DiagonalNormal:
        loc = torch.zeros(self.dim, device=device, dtype=dtype)
        return DiagonalNormal(loc, torch.ones_like(loc), validate_args=False)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).norm(dim=-1)

    def _grid(self, levels: Tensor) -> Tensor:
        quantiles = torch.special.ndtri(levels)
        return torch.cartesian_prod(quantiles.flip(0), quantiles).flip(-1)


class Sphere(Space):
    """S^d in R^(d+1) with a uniform prior and von Mises-Fisher posteriors (normalised mean, kappa = softplus + 1)."""

    letter = "s"
    family: type[Distribution] = VonMisesFisher

    @property
    def ambient_dim(self) -> int:
        return self.dim + 1

    @property
    def n_params(self) -> int:
        return self.dim + 2

    def _posterior(self, params: Tensor) -> Distribution:
        direction, raw = params.split([self.dim + 1, 1], dim=-1)
        loc = _Normalise.apply(direction)
        return self.family(loc, softplus(raw.squeeze(-1)) + 1, validate_args=False)

    def prior(self, device=None, dtype=None) -> HypersphericalUniform:
        return HypersphericalUniform(self.dim + 1, device=device, dtype=dtype, validate_args=False)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))

    def _grid(self, levels: Tensor) -> Tensor:
        """Rows of equal latitude from north to south, columns of equal longitude from west to east (equal areas)."""
        height, longitude = torch.cartesian_prod(1 - 2 * levels, math.pi * (2 * levels - 1)).unbind(-1)
        radius = (1 - height.square()).sqrt()
        return torch.stack([radius * longitude.cos(), radius * longitude.sin(), height], dim=-1)


class PowerSphere(Sphere):
    """The sphere with Power Spherical posteriors in place of the vMF, from the same outputs of the encoder."""

    letter = "p"
    family = PowerSpherical


class Hyperboloid(Space):
    """H^d in R^(d+1) with a wrapped standard normal prior and diagonal wrapped normal posteriors (Nagano et al. 2019).

    The location is the exponential map at the origin of a vector in R^d, the scale is softplus.
    """

    letter = "h"

    @property
    def ambient_dim(self) -> int:
        return self.dim + 1

    @property
    def n_params(self) -> int:
        return 2 * self.dim

    def _posterior(self, params: Tensor) -> WrappedNormal:
        direction, scale = params.split(self.dim, dim=-1)
        return WrappedNormal(_from_tangent(direction), softplus(scale), validate_args=False)

    def prior(self, device=None, dtype=None) -> WrappedNormal:
        loc = hyperboloid.origin(self.dim, device=device, dtype=dtype)
        return WrappedNormal(loc, torch.ones_like(loc[1:]), validate_args=False)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return hyperboloid.distance(x, y)

    def _grid(self, levels: Tensor) -> Tensor:
        """The plane's grid, wrapped onto the hyperboloid as the prior is."""
        return _from_tangent(Euclidean(2)._grid(levels))


def _from_tangent(v: Tensor) -> Tensor:
    """The points [..., d+1] that the exponential map at the origin makes of ``v`` [..., d]."""
    return hyperboloid.with_time(hyperboloid.expand(v.double())).to(v.dtype)


class Product(Space):
    """Several spaces side by side: a point is the concatenation of a point of each.

    Posterior and prior factorise, so their KL divergence is the sum of the factors'. The distance is that of the
    product metric, the root of the sum of the squares.
    """

    def __init__(self, factors: Sequence[Space]):
        super().__init__(sum(f.dim for f in factors))
        self.factors = nn.ModuleList(factors)
        # Neighbours of one kind are evaluated together: (space, how many).
        alike = groupby(self.factors, lambda f: f.name if f.interchangeable else id(f))
        self._groups = [(next(group), 1 + sum(1 for _ in group)) for _, group in alike]

    @property
    def name(self) -> str:
        return "".join(f.name for f in self.factors)

    def __repr__(self) -> str:
        return f"Product({list(self.factors)!r})"

    @property
    def ambient_dim(self) -> int:
        return sum(f.ambient_dim for f in self.factors)

    @property
    def n_params(self) -> int:
        return sum(f.n_params for f in self.factors)

    def _posterior(self, params: Tensor) -> ProductDistribution:
        parts = params.split([count * f.n_params for f, count in self._groups], dim=-1)
        factors = []
        for (f, count), part in zip(self._groups, parts, strict=True):
            one = count == 1
            factors.append(f.posterior(part) if one else Repeated(f.posterior(part.unflatten(-1, (count, -1)))))
        return ProductDistribution(factors)

    def prior(self, device=None, dtype=None) -> ProductDistribution:
        factors = [(f.prior(device, dtype), count) for f, count in self._groups]
        factors = [p if count == 1 else Repeated(p.expand([count])) for p, count in factors]
        return ProductDistribution(factors)

    def of_run(self, run: int) -> "Product":
        return type(self)([f.of_run(run) for f in self.factors])

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        sizes = [f.ambient_dim for f in self.factors]
        parts = zip(self.factors, x.split(sizes, dim=-1), y.split(sizes, dim=-1), strict=True)
        return torch.stack([f.distance(a, b) for f, a, b in parts]).norm(dim=0)


LETTERS = {kind.letter: kind for kind in (Euclidean, Sphere, PowerSphere, Hyperboloid)}


def space(name: str) -> Space:
    """The latent space called ``name``: a letter and the manifold's dimension.

    "e10" is Euclidean, "s10" a sphere, "p10" one with Power Spherical posteriors, "h10" a hyperboloid; "e2s2h2" is a
    product of three spaces.

    Raises:
        UserError: the name is not of that form.
    """
    if not isinstance(name, str):
        raise UserError(f"a space is named by a text such as 's2', got {name!r}")
    component = f"([{''.join(LETTERS)}])([1-9][0-9]*)"
    known = re.match(f"(?:{component})*", name)[0]
    if not name or known != name:
        examples = [f"{letter}2" for letter in LETTERS]
        raise UserError(
            f"unknown space {name!r}, from {name[len(known) :]!r} on: give a letter and a dimension, such as "
            f"{', '.join(examples)}, or several for a product, such as {''.join(examples)}"
        )
    factors = [LETTERS[letter](int(dim)) for letter, dim in re.findall(component, name)]
    return factors[0] if len(factors) == 1 else Product(factors)
