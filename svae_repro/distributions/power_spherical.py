"""The Power Spherical distribution of De Cao and Aziz (2020): a posterior on the sphere that needs no Bessel function.

Its density is proportional to (1 + loc.x)^kappa. With b = (1 + loc.x) / 2 it is proportional to b^kappa, and b has the
law Beta(kappa + beta, beta), beta = (m-1)/2. As for the vMF, everything is expressed by F(kappa), the log-normaliser
relative to the uniform distribution, F(kappa) = log E[b^kappa] under the latter, and its derivatives: F' = E[log b].
They are differences of log-gamma, digamma and trigamma functions at distance beta, formed here without the large terms
that cancel.
"""

import math
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import register_kl
from torch.distributions.utils import lazy_property

from .hyperspherical_uniform import HypersphericalUniform
from .noise import Generators
from .points import density_dtype, kl_shape
from .sphere import Axial, implicit_angle, log_surface_area, place

SHIFT = 10  # Stirling's series is used from this argument on
# Bernoulli numbers B_2, B_4, ...
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
QUADRATURE_NODES = 32
QUADRATURE_REACH = 8.0  # in units of 1 / sqrt(kappa/2 + m - 2), which bounds the standard deviation of theta
GRADING = 4  # of the nodes next to the antipode, where log b is singular
NEAREST_ANTIPODE = 1e-30  # of |x + loc|^2, far below the rounding of a unit vector: keeps log b finite


class PowerSpherical(Axial):
    """Power Spherical distribution on the unit sphere S^(m-1) in R^m, density proportional to (1 + loc.x)^kappa.

    Args:
        loc: mean direction [..., m], unit vectors, m >= 2.
        concentration: kappa [...], >= 0; 0 is the uniform distribution.

    ``rsample`` is exact and needs no rejection step of its own; its gradient is pathwise and unbiased in both
    parameters. Sampling and F are evaluated in float64.

    Raises:
        ValueError: ``loc`` is not of unit length, ``concentration`` is negative, infinite or NaN, or the
            shapes do not broadcast.
    """

    @lazy_property
    def _log_normalizer(self) -> "LogNormalizer":
        """F, F' and kappa F' - F [...] in float64."""
        return log_normalizer(self._kappa, self.dim)

    @property
    def mean(self) -> Tensor:
        """Mean kappa / (kappa + m - 1) loc [..., m], inside the sphere; its direction is ``mode``."""
        length = self._kappa / (self._kappa + (self.dim - 1))
        return length.to(self.loc.dtype).unsqueeze(-1) * self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] in nats of unit vectors ``value`` [..., m], relative to the surface measure."""
        if self._validate_args:
            self._validate_sample(value)
        value_, loc = value.double(), self.loc.double()
        # b = |x + loc|^2 / (|x + loc|^2 + |x - loc|^2) is never negative, whatever rounding left of the unit lengths.
        odds = (value_ - loc).square().sum(-1) / (value_ + loc).square().sum(-1).clamp_min(NEAREST_ANTIPODE)
        log_ratio = -self._kappa * torch.log1p(odds) - self._log_normalizer.value
        return (log_ratio - log_surface_area(self.dim)).to(density_dtype(self.loc, value))

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Exact samples [*sample_shape, ..., m], reparameterised implicitly: unbiased gradients in both parameters."""
        shape = self._extended_shape(sample_shape)[:-1]
        kappa, beta = self._kappa, (self.dim - 1) / 2
        runs_axis = len(sample_shape)
        # b is a quotient of gamma variables, G / (G + G') of the laws Gamma(kappa + beta) and Gamma(beta).
        laws = kappa.detach().expand(shape) + beta, kappa.new_full(shape, beta)
        towards, away = (_gamma(concentration, generator, runs_axis) for concentration in laws)
        theta = 2 * torch.atan2(away.sqrt(), towards.sqrt())
        theta = implicit_angle(
            kappa, theta, partial(angle_slope, mean_log=self._log_normalizer.slope.detach(), m=self.dim)
        )
        return place(self.loc, theta, generator, runs_axis)


@register_kl(PowerSpherical, HypersphericalUniform)
def _kl_power_uniform(p: PowerSpherical, q: HypersphericalUniform) -> Tensor:
    """KL divergence in nats, kappa F' - F; its gradient is kappa F''."""
    return p._log_normalizer.legendre.to(p.concentration.dtype).expand(kl_shape(p, q))


class LogNormalizer(NamedTuple):
    """F, F' and kappa F' - F, each a tensor of the shape of kappa."""

    value: Tensor
    slope: Tensor  # F' = E[log b], negative
    legendre: Tensor


def log_normalizer(kappa: Tensor, m: int) -> LogNormalizer:
    """F(kappa) of kappa [...] in float64, with derivatives. To kappa = 1e12 it errs by less than 3e-15 (m + 1) nats."""
    return LogNormalizer(*_LogNormalizer.apply(kappa, m))


class _LogNormalizer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kappa: Tensor, m: int) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        beta = (m - 1) / 2
        log_gammas, digammas, trigammas = _gamma_differences(kappa + beta, beta)
        value = _gamma_differences(torch.full_like(kappa, beta), beta)[0] - log_gammas
        ctx.save_for_backward(kappa, digammas, trigammas)
        return value, -digammas, -kappa * digammas - value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_value, grad_slope, grad_legendre):
        kappa, digammas, trigammas = ctx.saved_tensors
        grad = torch.zeros_like(kappa)
        if grad_value is not None:
            grad = grad - grad_value * digammas
        if grad_slope is not None:
            grad = grad + grad_slope * trigammas
        if grad_legendre is not None:
            grad = grad + grad_legendre * kappa * trigammas
        return grad, None


def _gamma_differences(x: Tensor, step: float) -> tuple[Tensor, Tensor, Tensor]:
    """log Gamma and digamma at x + step less those at x, and trigamma at x less that at x + step, for x > 0.

    Stirling's series (DLMF 5.11.1 and its derivatives) at x + SHIFT, then the recurrence down.
    """
    terms = x.unsqueeze(-1) + torch.arange(SHIFT, dtype=x.dtype, device=x.device)
    quotient = step / terms
    log_gammas = -torch.log1p(quotient).sum(-1)
    digammas = (quotient / (terms + step)).sum(-1)
    trigammas = (quotient / (terms + step) * (1 / terms + 1 / (terms + step))).sum(-1)
    x = x + SHIFT
    log_quotient = torch.log1p(step / x)

    def fall(power: int) -> Tensor:
        """x^-power - (x + step)^-power."""
        return -torch.expm1(-power * log_quotient) / x**power

    log_gammas = log_gammas + (x - 0.5) * log_quotient + step * torch.log(x + step) - step
    digammas = digammas + log_quotient + fall(1) / 2
    trigammas = trigammas + fall(1) + fall(2) / 2
    for k, number in enumerate(BERNOULLI, start=1):
        log_gammas = log_gammas - number / (2 * k * (2 * k - 1)) * fall(2 * k - 1)
        digammas = digammas + number / (2 * k) * fall(2 * k)
        trigammas = trigammas + number * fall(2 * k + 1)
    return log_gammas, digammas, trigammas


def _gamma(concentration: Tensor, generator: Generators, runs_axis: int) -> Tensor:
    """Samples [...] of Gamma(concentration [...], 1), a run's from its own generator."""
    if generator is None or isinstance(generator, torch.Generator):
        return torch._standard_gamma(concentration, generator)
    runs = zip(concentration.unbind(runs_axis), generator, strict=True)
    return torch.stack([torch._standard_gamma(own.contiguous(), g) for own, g in runs], dim=runs_axis)


def angle_slope(kappa: Tensor, theta: Tensor, mean_log: Tensor, m: int) -> Tensor:
    """d theta / d kappa [...] at a fixed value of the distribution function of theta, in float64.

    The density of theta is proportional to exp(h), h(phi) = 2 kappa log cos(phi/2) + (m-2) log sin(phi). The slope is
    the integral over [theta, pi] of (log b(phi) - F') exp(h(phi) - h(theta)), or minus that over [0, theta]; as for the
    vMF the side where nothing cancels is taken. Where the nodes reach the antipode they crowd there.
    """
    nodes, weights = _gauss_legendre(theta.device)
    # At the poles themselves the slope is zero; the integrand would be 0/0.
    theta = theta.clamp(1e-150, math.pi * (1 - 1e-15)).unsqueeze(-1)
    kappa, mean_log = kappa.unsqueeze(-1), mean_log.unsqueeze(-1)
    log_cos = (theta / 2).cos().log()
    up = 2 * log_cos < mean_log  # towards the antipode
    room = torch.where(up, math.pi - theta, theta)
    furthest = QUADRATURE_REACH / (kappa / 2 + (m - 2)).sqrt()
    graded = up & (room <= furthest)
    reach = torch.minimum(room, furthest)
    # At the antipode, where log b is singular, the angle is measured from it.
    phi = theta + torch.where(up, reach, -reach) * nodes
    supplement = reach * (1 - nodes) ** GRADING
    pace = torch.where(graded, GRADING * (1 - nodes) ** (GRADING - 1), torch.ones_like(nodes))
    log_cos_phi = torch.where(graded, (supplement / 2).sin(), (phi / 2).cos()).log()
    exponent = 2 * kappa * (log_cos_phi - log_cos)
    if m > 2:
        sine = torch.where(graded, supplement, phi).sin()
        exponent = exponent + (m - 2) * (sine / theta.sin()).log()
    return ((2 * log_cos_phi - mean_log).abs() * exponent.exp() * pace) @ weights * -reach.squeeze(-1)


@lru_cache(maxsize=8)
def _gauss_legendre(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes on [0, 1] and weights that sum to one."""
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    return torch.tensor((nodes + 1) / 2, device=device), torch.tensor(weights / 2, device=device)
