"""Points on a manifold: the constraints that describe them, and the one line that says what is wrong with a point."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .. import hyperboloid


class UnitVector(constraints.Constraint):
    """Vectors of length one, to the precision that normalising in their dtype leaves."""

    is_discrete = False
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        tolerance = 100 * torch.finfo(value.dtype).eps * max(1.0, math.sqrt(value.shape[-1]))
        return (value.norm(dim=-1) - 1).abs() <= tolerance

    @staticmethod
    def fault(point: Tensor) -> str:
        return f"must be of unit length, found length {point.norm().item():.6g}: divide it by its norm"


class HyperboloidPoint(constraints.Constraint):
    """Points of the hyperboloid -x0^2 + x1^2 + ... + xn^2 = -1 with x0 > 0, to the precision of their dtype."""

    is_discrete = False
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        time = (1 + value[..., 1:].double().square().sum(-1)).sqrt()
        tolerance = 100 * torch.finfo(value.dtype).eps
        return ((value[..., 0] - time).abs() <= tolerance * time) & time.isfinite()

    @staticmethod
    def fault(point: Tensor) -> str:
        product, x0 = hyperboloid.inner(point, point).item(), point[0].item()
        found = f"found <x, x> = {product:.6g} and x0 = {x0:.6g}"
        return f"must be on the hyperboloid, where <x, x> = -1 and x0 > 0, {found}"


unit_vector = UnitVector()
hyperboloid_point = HyperboloidPoint()


def floating(points: Tensor) -> Tensor:
    """Points in floating-point numbers, whole numbers in those of the default dtype."""
    return points if points.is_floating_point() else points.to(torch.get_default_dtype())


def require(constraint: UnitVector | HyperboloidPoint, points: Tensor, name: str) -> None:
    """Raise a ValueError of one line about the first of ``points`` [..., m] that is not on the manifold."""
    points = floating(points)
    wrong = ~constraint.check(points)
    if wrong.any():
        raise ValueError(f"{name} {constraint.fault(points[wrong][0])}")


def kl_shape(p: Distribution, q: Distribution) -> torch.Size:
    """The batch shape of the KL divergence; a ValueError if p and q have points of different sizes, and so none."""
    if p.event_shape != q.event_shape:
        places = f"distributions in R^{p.event_shape[0]} and R^{q.event_shape[0]}"
        raise ValueError(f"there is no KL divergence between {places}: give both the same space")
    return common_shape(("p", p.batch_shape), ("q", q.batch_shape))


def require_size(p: Distribution, value: Tensor) -> None:
    """Raise a ValueError of one line if points ``value`` [..., m] are not of the size of those of ``p``."""
    if value.shape[-1:] != p.event_shape:
        raise ValueError(f"value must have shape [..., {p.event_shape[0]}], got {list(value.shape)}")


def common_shape(*shapes: tuple[str, torch.Size]) -> torch.Size:
    """The batch shape that the parameters (name, batch shape) broadcast to; a ValueError names those that do not."""
    try:
        return torch.broadcast_shapes(*(shape for _, shape in shapes))
    except RuntimeError:
        found = " and ".join(f"{name} {list(shape)}" for name, shape in shapes)
        raise ValueError(f"the batch shapes of {found} do not broadcast: make them equal, or 1 where not") from None


def density_dtype(parameter: Tensor, value: Tensor) -> torch.dtype:
    """The dtype of a log-density at ``value``: its own, but for whole numbers that of the ``parameter``."""
    return value.dtype if value.is_floating_point() else parameter.dtype


class OnManifold(Distribution):
    """A distribution over points of a manifold, whose ``support`` is one of the constraints here."""

    def _validate_sample(self, value: Tensor) -> None:
        require_size(self, value)
        require(self.support, value, "value")
