"""What distributions on the unit sphere share: their support, its area, and points at a given angle from another."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from .noise import Generators, draw


class UnitVector(constraints.Constraint):
    """Vectors of length one, to the precision that normalising in their dtype leaves."""

    is_discrete = False
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        tolerance = 100 * torch.finfo(value.dtype).eps * max(1.0, math.sqrt(value.shape[-1]))
        return (value.norm(dim=-1) - 1).abs() <= tolerance


unit_vector = UnitVector()


def log_surface_area(m: int) -> float:
    """Logarithm of the surface area of the unit sphere in R^m (Davidson et al. 2018, Eq. 10 with r = 1), in nats."""
    return math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2)


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
