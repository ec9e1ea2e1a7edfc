"""What distributions on the unit sphere share: area, symmetry about an axis, points at an angle from it."""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import lazy_property

from .noise import Generators, draw
from .points import OnManifold, common_shape, floating, require, unit_vector


def log_surface_area(m: int) -> float:
    """Logarithm of the surface area of the unit sphere in R^m (Davidson et al. 2018, Eq. 10 with r = 1), in nats."""
    return math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2)


class Axial(OnManifold):
    """A distribution on S^(m-1) that is symmetric about ``loc`` and the narrower the greater kappa.

    As elsewhere in `torch.distributions`, the parameters must not change in place: what was computed from them is kept,
    and with it its graph. So a second backward pass through one object needs ``retain_graph=True`` in the first, as it
    does with torch's own ``Categorical``; usually a new object is made for every step.

    A subclass defines ``_log_normalizer``, an object whose ``legendre`` is kappa F' - F of its log-normaliser F
    relative to the uniform distribution. That is its KL divergence to the uniform distribution.

    Args:
        loc: mean direction [..., m], unit vectors, m >= 2.
        concentration: kappa [...], >= 0; 0 is the uniform distribution.

    Raises:
        ValueError: ``loc`` is not of unit length, ``concentration`` is negative, infinite or NaN, or the batch shapes
            do not broadcast.
    """

    arg_constraints: ClassVar[dict] = {"loc": unit_vector, "concentration": constraints.nonnegative}
    support = unit_vector
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor | float, validate_args: bool | None = None):
        loc = floating(loc)
        if not isinstance(concentration, Tensor) or not concentration.is_floating_point():
            concentration = torch.as_tensor(concentration, dtype=loc.dtype, device=loc.device)
        if Distribution._validate_args if validate_args is None else validate_args:
            _validate(loc, concentration)
        batch_shape = loc.shape[:-1]
        if concentration.shape != batch_shape:
            batch_shape = common_shape(("loc", batch_shape), ("concentration", concentration.shape))
            loc, concentration = loc.expand(batch_shape + loc.shape[-1:]), concentration.expand(batch_shape)
        self.loc, self.concentration = loc, concentration
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        super(Axial, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def dim(self) -> int:
        """Ambient dimension m."""
        return self.event_shape[0]

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def _kappa(self) -> Tensor:
        return self.concentration.double()

    def entropy(self) -> Tensor:
        """Differential entropy [...] in nats, relative to the surface measure."""
        return (log_surface_area(self.dim) - self._log_normalizer.legendre).to(self.concentration.dtype)


def _validate(loc: Tensor, concentration: Tensor) -> None:
    if loc.dim() == 0 or loc.shape[-1] < 2:
        raise ValueError(f"loc must have shape [..., m] with m >= 2, got {list(loc.shape)}")
    require(unit_vector, loc, "loc")
    wrong = ~(concentration >= 0) | concentration.isinf()
    if wrong.any():
        raise ValueError(f"concentration must be a finite number >= 0, found {concentration[wrong][0].item():.6g}")


def implicit_angle(kappa: Tensor, theta: Tensor, slope: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Sampled angles ``theta`` [*sample_shape, ...], now a function of ``kappa`` [...] (Figurnov et al. 2018).

    Args:
        slope: (kappa, theta) -> d theta / d kappa where the distribution function of theta keeps its value.
    """
    return _ImplicitAngle.apply(kappa, theta, slope)


class _ImplicitAngle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kappa: Tensor, theta: Tensor, slope: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(kappa, theta)
        ctx.slope = slope
        return theta.view_as(theta)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        kappa, theta = ctx.saved_tensors
        return (grad * ctx.slope(kappa, theta)).sum_to_size(kappa.shape), None, None


def place(loc: Tensor, theta: Tensor, generator: Generators = None, runs_axis: int = 0) -> Tensor:
    """Unit vectors [*sample_shape, ..., m] at angles ``theta`` [*sample_shape, ...] from ``loc`` [..., m], in uniformly
    random directions around it.

    Differentiable in both. A change of loc turns the sample with it, by the smallest rotation that takes the old loc to
    the new one: any rotation carries the law of the sample along, and this one moves no sample more than it must. The
    directions are normal vectors less their part along loc. No pole is special, unlike with the Householder
    reflection of the paper's Algorithm 1, whose normal loc - e1 may vanish.
    """
    noise = draw(torch.randn, (*theta.shape, loc.shape[-1]), generator, loc.device, runs_axis=runs_axis)
    return _Place.apply(loc, theta, noise)


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loc: Tensor, theta: Tensor, noise: Tensor) -> Tensor:
        wide = loc.double()
        # loc is a unit vector in its own precision only: what is along it is divided by its squared length.
        along = (noise * wide).sum(-1, keepdim=True) / (wide * wide).sum(-1, keepdim=True)
        around = torch.addcmul(noise, wide, along, value=-1)
        around = around / (around * around).sum(-1, keepdim=True).sqrt()
        cos, sin = theta.cos().unsqueeze(-1), theta.sin().unsqueeze(-1)
        sample = torch.addcmul(cos * wide, sin, around)
        ctx.save_for_backward(wide, cos, sin, around, sample)
        return sample.to(loc.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        loc, cos, sin, around, sample = ctx.saved_tensors
        grad_loc = grad_theta = None
        wide = grad.double()
        by_loc = (wide * loc).sum(-1, keepdim=True)
        if ctx.needs_input_grad[0]:
            grad_loc = torch.addcmul(cos * wide, by_loc, sample, value=-1).sum_to_size(loc.shape).to(grad.dtype)
        if ctx.needs_input_grad[1]:
            grad_theta = ((wide * around).sum(-1, keepdim=True) * cos - by_loc * sin).squeeze(-1)
        return grad_loc, grad_theta, None
