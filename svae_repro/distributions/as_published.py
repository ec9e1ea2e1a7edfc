"""What is wrong in the code in circulation, written anew so that it can be measured; for that and nothing else.

The authors' implementation of the S-VAE, and those that descend from it, differ from the paper in two ways that these
classes keep apart. (Their third fault, Bessel functions in float32 by way of SciPy, is left out: KL divergences and
densities here are exact.) On S^2, where w is drawn by inverting its distribution function, there is no fault.

1. `PublishedVonMisesFisher`, the sampler. Ulrich's proposal has the constant
   b = (sqrt(4 kappa^2 + (m-1)^2) - 2 kappa) / (m-1). Above kappa = 11 that code replaces it by (m-1) / (4 kappa), the
   first term of its Taylor series in (m-1) / kappa, and between 10 and 11 it blends the two. The constant a of the
   acceptance test stays that of the exact b, so that what is accepted has not the law of a vMF, unless kappa >> m. (No
   replacement is needed: b does not cancel when written as (m-1) / (2 kappa + sqrt(4 kappa^2 + (m-1)^2)).) As kappa
   moves from 10 to 11 the blend pushes the samples away from loc, and the gradient follows it: from m = 14 on it has
   the wrong sign in part of that strip, from 16 on in all of it.
2. `UncorrectedVonMisesFisher`, the gradient. Samples are differentiated through the accepted proposal alone, without
   the second term of the paper's Eq. 8, which accounts for the change of what is accepted. The published sampler does
   the same.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..bessel import log_0f1
from .noise import Generators
from .sphere import place
from .von_mises_fisher import VonMisesFisher, _angle, accepted

SWITCH = 10.0  # the blend begins here and ends one further
PROPOSALS = 8
NODES = 800


class UncorrectedVonMisesFisher(VonMisesFisher):
    """The exact law with the biased gradient: Eq. 8 of the paper without its second term."""

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        if self.dim == 3:
            return super().rsample(sample_shape, generator)
        return self.rsample_rejection(sample_shape, generator)[0]


class PublishedVonMisesFisher(VonMisesFisher):
    """The sampler in circulation with its gradient; density and KL divergence are those of the vMF that it misses."""

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        if self.dim == 3:
            return super().rsample(sample_shape, generator)
        shape = self._extended_shape(sample_shape)[:-1]
        kappa = self._kappa.expand(shape)
        axis = len(sample_shape)
        epsilon = accepted(_published_epsilon, kappa.detach(), self.dim, generator, axis, lambda size: PROPOSALS)
        theta = _angle(1 - _proposal(epsilon, published_b(kappa, self.dim)))
        return place(self.loc, theta, generator, axis)


def exact_b(kappa: Tensor, m: int) -> Tensor:
    """Ulrich's constant b [...]."""
    return (m - 1) / (2 * kappa + (4 * kappa * kappa + (m - 1) ** 2).sqrt())


def published_b(kappa: Tensor, m: int) -> Tensor:
    """The constant that the code in circulation uses: b to kappa = 10, its Taylor term from kappa = 11."""
    # At the kinks torch.maximum shares the gradient between its arguments, as that code does.
    zero = torch.zeros_like(kappa)
    blend = torch.minimum(torch.maximum(kappa - SWITCH, zero), zero + 1)
    return blend * (m - 1) / (4 * kappa.clamp_min(1)) + (1 - blend) * exact_b(kappa, m)


def _proposal(epsilon: Tensor, b: Tensor) -> Tensor:
    """w = h(epsilon, kappa)."""
    return (1 - (1 + b) * epsilon) / (1 - (1 - b) * epsilon)


def _log_acceptance(epsilon: Tensor, kappa: Tensor, m: int) -> Tensor:
    """Logarithm of the probability that the published test accepts epsilon; 0 where its formula exceeds one."""
    b = published_b(kappa, m)
    a = ((m - 1) + 2 * kappa + (4 * kappa * kappa + (m - 1) ** 2).sqrt()) / 4
    t = 2 * a * b / (1 - (1 - b) * epsilon)
    d = 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    return ((m - 1) * t.log() - t + d).clamp_max(0)


def _published_epsilon(x: Tensor, kappa: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Ulrich's epsilon as the proposal, and the logarithm of its acceptance."""
    epsilon = (1 + x) / 2
    return epsilon, _log_acceptance(epsilon, kappa, m)


def published_moments(kappa: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """E[w] of the published sampler and the mean of its gradient dw/dkappa, each [...] for kappa [...], by quadrature.

    For a vMF they would be A(kappa) and A'(kappa). For m <= 2000 exact to rounding up to kappa = 10, and up to 1e4 to
    5e-6 in the mean and 6e-5 of the gradient: from 10 on the integrand has a kink where the test's formula exceeds one.
    """
    if m == 3:
        exact = log_0f1(m / 2 - 1, kappa.double())
        return exact.ratio, exact.slope
    return _moments(kappa, m, published_b, _log_acceptance)


def uncorrected_slope(kappa: Tensor, m: int) -> Tensor:
    """Mean of the uncorrected gradient dw/dkappa [...] of the exact sampler, by quadrature; exact for m = 3."""
    if m == 3:
        return log_0f1(m / 2 - 1, kappa.double()).slope

    def log_acceptance(epsilon: Tensor, kappa: Tensor, m: int) -> Tensor:
        b = exact_b(kappa, m)
        w = _proposal(epsilon, b)
        touch = (1 - b) / (1 + b)
        rest = (m - 1) * ((1 + b - (1 - b) * w) / (1 + b - (1 - b) * touch)).log()
        return kappa * (w - touch) + rest

    return _moments(kappa, m, exact_b, log_acceptance)[1]


def _moments(kappa: Tensor, m: int, constant, log_acceptance) -> tuple[Tensor, Tensor]:
    kappa = kappa.double().unsqueeze(-1)
    nodes, weights = (torch.from_numpy(part).to(kappa.device) for part in _gauss_legendre())
    angle = (nodes + 1) * (math.pi / 4)
    epsilon = angle.sin().square()
    log_beta = (m - 2) * (angle.sin().log() + angle.cos().log())  # of Beta((m-1)/2, (m-1)/2) in this angle
    log_density = log_beta + log_acceptance(epsilon, kappa, m)
    density = weights * (log_density - log_density.amax(-1, keepdim=True)).exp()
    density = density / density.sum(-1, keepdim=True)
    with torch.enable_grad():
        at = kappa.detach().requires_grad_()
        b = constant(at, m)
        (slope_of_b,) = torch.autograd.grad(b.sum(), at)
    b = b.detach()
    slope = -2 * epsilon * (1 - epsilon) / (1 - (1 - b) * epsilon).square() * slope_of_b
    return (density * _proposal(epsilon, b)).sum(-1), (density * slope).sum(-1)


@cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(NODES)
