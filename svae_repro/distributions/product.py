"""Independent distributions side by side, posterior and prior of a product of spaces."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, kl_divergence, register_kl

from .last_sample import LastSample
from .noise import Generators
from .points import kl_shape, require_size


class SideBySide(constraints.Constraint):
    """Vectors that consist of parts, each with a constraint of its own."""

    is_discrete = False
    event_dim = 1

    def __init__(self, parts: Sequence[constraints.Constraint], sizes: Sequence[int]):
        self.parts, self.sizes = parts, sizes

    def check(self, value: Tensor) -> Tensor:
        checks = [c.check(part) for c, part in zip(self.parts, value.split(self.sizes, dim=-1), strict=True)]
        return torch.stack(checks).all(0)


class ProductDistribution(Distribution):
    """The joint distribution of independent vectors; a point is their concatenation.

    Args:
        factors: distributions over vectors [..., m_i], whose batch shapes broadcast. Each validates its own values.
    """

    arg_constraints: ClassVar[dict] = {}
    has_rsample = True

    def __init__(self, factors: Sequence[Distribution]):
        batch_shape = torch.broadcast_shapes(*(f.batch_shape for f in factors))
        self.factors = [f if f.batch_shape == batch_shape else f.expand(batch_shape) for f in factors]
        self._sizes = [f.event_shape[0] for f in factors]
        self._last = LastSample()  # made from its parts
        super().__init__(batch_shape, torch.Size([sum(self._sizes)]), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        return SideBySide([f.support for f in self.factors], self._sizes)

    def expand(self, batch_shape, _instance=None):
        return ProductDistribution([f.expand(batch_shape) for f in self.factors])

    def split(self, value: Tensor) -> list[Tensor]:
        """The parts [..., m_i] of a point [..., m]; of its own last sample the very tensors that the factors drew.

        A factor that remembers what made a sample, as `WrappedNormal` does, then recognises it.
        """
        require_size(self, value)
        parts = self._last.source_of(value)
        return list(value.split(self._sizes, dim=-1)) if parts is None else parts

    @property
    def mean(self) -> Tensor:
        return torch.cat([f.mean for f in self.factors], dim=-1)

    @property
    def mode(self) -> Tensor:
        return torch.cat([f.mode for f in self.factors], dim=-1)

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Samples [*sample_shape, ..., m], differentiable where those of the factors are."""
        parts = [f.rsample(sample_shape, generator) for f in self.factors]
        return self._last.keep(torch.cat(parts, dim=-1), parts)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] in nats of points ``value`` [..., m], the sum of the factors'."""
        return sum(f.log_prob(part) for f, part in zip(self.factors, self.split(value), strict=True))

    def entropy(self) -> Tensor:
        return sum(f.entropy() for f in self.factors)


class Repeated(Distribution):
    """The joint distribution of k independent vectors of one family; a point is their concatenation.

    What `ProductDistribution` does for different families, in one evaluation for all k.

    Args:
        base: distribution over vectors [m] with batch shape [..., k]. It validates their values.
    """

    arg_constraints: ClassVar[dict] = {}
    has_rsample = True

    def __init__(self, base: Distribution):
        self.base = base
        self._last = LastSample()  # made from what the base drew
        self._shape = (base.batch_shape[-1], base.event_shape[0])  # k, m
        super().__init__(base.batch_shape[:-1], torch.Size([math.prod(self._shape)]), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        return SideBySide([self.base.support] * self._shape[0], [self._shape[1]] * self._shape[0])

    def expand(self, batch_shape, _instance=None):
        return Repeated(self.base.expand((*batch_shape, self._shape[0])))

    def _vectors(self, value: Tensor) -> Tensor:
        """The vectors [..., k, m] of a point [..., k m]; of its own last sample the very tensor that the base drew."""
        require_size(self, value)
        vectors = self._last.source_of(value)
        return value.unflatten(-1, self._shape) if vectors is None else vectors

    @property
    def mean(self) -> Tensor:
        return self.base.mean.flatten(-2)

    @property
    def mode(self) -> Tensor:
        return self.base.mode.flatten(-2)

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Samples [*sample_shape, ..., k m], differentiable where those of the base are."""
        vectors = self.base.rsample(sample_shape, generator)
        return self._last.keep(vectors.flatten(-2), vectors)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] in nats of points ``value`` [..., k m], the sum of those of the vectors."""
        return self.base.log_prob(self._vectors(value)).sum(-1)

    def entropy(self) -> Tensor:
        return self.base.entropy().sum(-1)


@register_kl(Repeated, Repeated)
def _kl_repeated_repeated(p: Repeated, q: Repeated) -> Tensor:
    """The sum over the vectors, where they have a closed form."""
    kl_shape(p, q)
    kl_shape(p.base, q.base)
    return kl_divergence(p.base, q.base).sum(-1)


@register_kl(ProductDistribution, ProductDistribution)
def _kl_product_product(p: ProductDistribution, q: ProductDistribution) -> Tensor:
    """The sum over the factors, where each has a closed form."""
    return sum(kl_divergence(a, b) for a, b in pairs_of_factors(p, q))


def pairs_of_factors(p: ProductDistribution, q: ProductDistribution) -> list[tuple[Distribution, Distribution]]:
    """The factors of two products of the same spaces; a ValueError if they are not."""
    sizes = [[f.event_shape[0] for f in product.factors] for product in (p, q)]
    if sizes[0] != sizes[1]:
        places = f"products of vectors of sizes {sizes[0]} and {sizes[1]}"
        raise ValueError(f"there is no KL divergence between {places}: give both the same space")
    return list(zip(p.factors, q.factors, strict=True))
