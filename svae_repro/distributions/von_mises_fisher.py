"""The von Mises-Fisher distribution: exact sampler, unbiased gradients, closed-form KL divergences.

Everything is expressed by F(kappa), the log-normaliser relative to the uniform distribution, and A(kappa) = F'(kappa),
the mean resultant length (`svae_repro.bessel.log_0f1`), so that kappa = 0 is no special case. A sample is
built from the angle theta between it and ``loc``, not from w = cos(theta), whose distance from 1 is lost to rounding at
high concentration. The numeric helpers are free functions below the class.

References: Ulrich (1984) and Wood (1994) for the rejection sampler; Davidson et al. (2018), "the paper"; Naesseth et
al. (2017) for the gradient through a rejection sampler; Figurnov et al. (2018) for implicit reparameterisation.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.distributions import register_kl
from torch.distributions.utils import lazy_property

from ..bessel import Log0F1, log_0f1
from .hyperspherical_uniform import HypersphericalUniform
from .noise import Generators, draw
from .points import density_dtype, kl_shape
from .sphere import Axial, implicit_angle, log_surface_area, place

PROPOSALS = 6  # drawn at once for every sample of a small batch: each is accepted with probability > 0.65
ENOUGH_PROPOSALS = 32  # of which none is accepted with probability < 1e-14
SMALL_BATCH = 4096
QUADRATURE_NODES = 20
QUADRATURE_REACH = 8.0  # in units of 1 / sqrt(kappa + m - 2); theta's standard deviation is 1.06 of them at most


class VonMisesFisher(Axial):
    """von Mises-Fisher distribution on the unit sphere S^(m-1) in R^m, density proportional to exp(kappa loc.x).

    Args:
        loc: mean direction [..., m], unit vectors, m >= 2.
        concentration: kappa [...], >= 0; 0 is the uniform distribution.

    ``rsample`` is exact for every kappa and m, and its gradient pathwise and unbiased in both parameters. Sampling, F
    and A are evaluated in float64, because 1 - w, of order m / (2 kappa), drowns in the rounding of float32. Nothing is
    formed as a difference of numbers as large as kappa, so that densities and divergences keep their digits however
    narrow the distribution; what is left is the rounding of ``loc``, whose distance from a point counts kappa times.

    Raises:
        ValueError: ``loc`` is not of unit length, ``concentration`` is negative, infinite or NaN, or the
            shapes do not broadcast.
    """

    @lazy_property
    def _log_normalizer(self) -> Log0F1:
        """F, A, A' and differences of them [...] in float64."""
        return log_0f1(self.dim / 2 - 1, self._kappa)

    @property
    def mean(self) -> Tensor:
        """Mean A(kappa) loc [..., m], inside the sphere; its direction is ``mode``."""
        return self._log_normalizer.ratio.to(self.loc.dtype).unsqueeze(-1) * self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] in nats of unit vectors ``value`` [..., m], relative to the surface measure (Eq. 3)."""
        if self._validate_args:
            self._validate_sample(value)
        # loc.x = 1 - |x - loc|^2 / 2 keeps what is left of 1 - loc.x in float32.
        half_chord2 = (value.double() - self.loc.double()).square().sum(-1) / 2
        log_ratio = self._log_normalizer.excess - self._kappa * half_chord2
        return (log_ratio - log_surface_area(self.dim)).to(density_dtype(self.loc, value))

    def rsample(self, sample_shape=(), generator: Generators = None) -> Tensor:
        """Exact samples [*sample_shape, ..., m], reparameterised implicitly: unbiased gradients in both parameters."""
        shape = self._extended_shape(sample_shape)[:-1]
        kappa = self._kappa
        runs_axis = len(sample_shape)
        theta = sample_angle(kappa.detach().expand(shape), self.dim, generator, runs_axis)
        if kappa.requires_grad:
            theta = implicit_angle(
                kappa, theta, partial(angle_slope, shortfall=self._log_normalizer.shortfall.detach(), m=self.dim)
            )
        return place(self.loc, theta, generator, runs_axis)

    def rsample_rejection(self, sample_shape=(), generator: Generators = None) -> tuple[Tensor, Tensor]:
        """The paper's own estimator: samples reparameterised through the accepted proposal, and log(g / r).

        Returns:
            Samples z [*sample_shape, ..., m], differentiable through the proposal h(epsilon, kappa) of Lemma 2, and
            log g(h(epsilon, kappa)) / r(h(epsilon, kappa)) [*sample_shape, ...] up to a constant. The gradient of
            E[f(z)] is that of ``f(z) + f(z).detach() * log_ratio`` (Eq. 8); without the second term it is biased.
        """
        shape = self._extended_shape(sample_shape)[:-1]
        kappa = self._kappa.expand(shape)
        c = _envelope(kappa, self.dim)
        with torch.no_grad():
            versine = accepted(_versine_proposal, kappa, self.dim, generator, runs_axis=len(sample_shape))
            x = (versine - c) / (c + (1 - c) * versine)  # the accepted proposal is 2 epsilon - 1 = x
        denominator = 1 - x + c * x
        versine = c * (1 + x) / denominator
        log_ratio = self._log_normalizer.excess - kappa * versine
        # w has derivative -c (2 - c) / denominator^2 in x, and 1 - w^2 = c (2 - c) (1 - x^2) / denominator^2.
        log_ratio = log_ratio + (self.dim - 1) / 2 * ((c * (2 - c)).log() - 2 * denominator.log())
        z = place(self.loc, _angle(versine), generator, runs_axis=len(sample_shape))
        return z, log_ratio.to(self.concentration.dtype)


@register_kl(VonMisesFisher, HypersphericalUniform)
def _kl_vmf_uniform(p: VonMisesFisher, q: HypersphericalUniform) -> Tensor:
    """kappa A(kappa) - F(kappa) in nats (Eq. 5); its derivative is kappa A'(kappa)."""
    return p._log_normalizer.legendre.to(p.concentration.dtype).expand(kl_shape(p, q))


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_vmf_vmf(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    """KL divergence in nats, E_p[kappa_p loc_p.x - kappa_q loc_q.x] - F(kappa_p) + F(kappa_q).

    Made of their divergences from the uniform distribution, kappa A - F, and of 1 - A: none is as large as kappa.
    """
    kl_shape(p, q)
    log_p, log_q = p._log_normalizer, q._log_normalizer
    half_chord2 = (p.loc.double() - q.loc.double()).square().sum(-1) / 2  # 1 - loc_p.loc_q
    spread = log_p.shortfall - log_q.shortfall + log_p.ratio * half_chord2  # loc_q.(E_q[x] - E_p[x])
    return (log_p.legendre - log_q.legendre + q._kappa * spread).to(p.concentration.dtype)


def sample_angle(kappa: Tensor, m: int, generator: Generators = None, runs_axis: int = 0) -> Tensor:
    """Angles theta [...] in [0, pi] between a vMF sample and its mean direction, for kappa [...] in float64.

    The law of w = cos(theta) has density proportional to exp(kappa w) (1 - w^2)^((m-3)/2) on [-1, 1].
    """
    if m == 3:  # the distribution function can be inverted
        u = draw(torch.rand, kappa.shape, generator, kappa.device, runs_axis=runs_axis)
        kappa = kappa.clamp_min(1e-200)
        return _angle(-torch.log1p((1 - u) * torch.expm1(-2 * kappa)) / kappa)
    return _angle(accepted(_versine_proposal, kappa, m, generator, runs_axis))


def _angle(versine: Tensor) -> Tensor:
    """theta from 1 - cos(theta), without loss at small angles."""
    return 2 * (versine / 2).clamp(0, 1).sqrt().asin()


def _envelope(kappa: Tensor, m: int) -> Tensor:
    """The constant c = 2b / (1 + b) of Ulrich's and Wood's proposal, in a form that does not cancel.

    Their b is (-2 kappa + sqrt(4 kappa^2 + (m-1)^2)) / (m-1), and 1 - c is the point where the envelope touches.
    """
    a = (m - 1) / 2
    return 2 * a / ((kappa * kappa + a * a).sqrt() + kappa + a)


def _versine_proposal(x: Tensor, kappa: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Ulrich's and Wood's proposal 1 - w = c (1 + x) / (1 - (1-c) x), and the logarithm of its acceptance."""
    c = _envelope(kappa, m)
    denominator = torch.addcmul(1 - x, c, x)  # 1 - (1-c) x
    versine = torch.addcmul(c, c, x) / denominator
    return versine, torch.addcmul((1 - m) * denominator.log(), kappa, c - versine)


def _proposals(size: int) -> int:
    return PROPOSALS if size <= SMALL_BATCH else 2


def accepted(
    propose: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]],
    kappa: Tensor,
    m: int,
    generator: Generators,
    runs_axis: int,
    proposals: Callable[[int], int] = _proposals,
) -> Tensor:
    """Accepted proposals [...] for kappa [...].

    Several are drawn at once and one accepted one is kept, so that a batch of 64 seldom needs a second round. Samples
    left without one are drawn again. Off the CPU nobody asks whether there are any, as a CUDA graph cannot and a
    question is slow without one: there so many are drawn that one is accepted.

    Args:
        propose: (x [P, ...], kappa, m) -> proposals and the logarithms of their acceptance probabilities, [P, ...];
            x = 2 epsilon - 1 with epsilon ~ Beta((m-1)/2, (m-1)/2).
        proposals: samples of a run -> proposals P to draw at once for each on a CPU.
    """
    on_cpu = kappa.device.type == "cpu"
    one = generator is None or isinstance(generator, torch.Generator)
    size = kappa.numel() // (1 if one else len(generator))  # of a run: it draws the same alone and beside others
    shape = [3, proposals(size) if on_cpu else ENOUGH_PROPOSALS, *kappa.shape]
    u_radius, u_angle, u_accept = draw(torch.rand, shape, generator, kappa.device, runs_axis=runs_axis + 2)
    # Ulrich's symmetric beta: x is a coordinate of a uniform point of S^(m-1)
    x = (1 - u_radius.pow(2 / (m - 2) if m > 2 else math.inf)).sqrt() * (2 * math.pi * u_angle).cos()
    proposed, log_acceptance = propose(x, kappa, m)
    some, which = (~(u_accept.log() > log_acceptance)).max(dim=0)  # NaN is accepted, or it would be drawn for ever
    kept = proposed.gather(0, which.unsqueeze(0)).squeeze(0)
    if on_cpu and not some.all():
        for run, own in enumerate([generator] if one else generator):  # each run goes on with its own numbers
            index = () if one else (slice(None),) * runs_axis + (run,)
            rest = ~some[index]
            if rest.any():
                kept[index][rest] = accepted(propose, kappa[index][rest], m, own, 0, proposals)
    return kept


def angle_slope(kappa: Tensor, theta: Tensor, shortfall: Tensor, m: int) -> Tensor:
    """d theta / d kappa [...] at a fixed value of the distribution function of theta, for 1 - A [...], in float64.

    With h(phi) = kappa cos(phi) + (m-2) log sin(phi) it is minus the integral of (cos(phi) - A) exp(h(phi) - h(theta))
    over [0, theta], equal to the integral over [theta, pi]. The side on which cos(phi) - A keeps its sign is taken, so
    nothing cancels, and Gauss-Legendre nodes cover the part next to theta where the integrand lives.
    """
    nodes, weights = _gauss_legendre(kappa.device)
    kappa, shortfall = kappa.unsqueeze(-1), shortfall.unsqueeze(-1)
    theta = theta.clamp(1e-150, math.pi).unsqueeze(-1)  # at 0 the ratio of sines would be 0 / 0
    sin = theta.sin()
    lead = shortfall - 2 * (theta / 2).sin().square()  # cos(theta) - A
    width = QUADRATURE_REACH / (kappa + (m - 2)).sqrt()
    reach = (theta - width.copysign(lead)).clamp(0, math.pi) - theta  # towards 0 where cos(theta) > A, or towards pi
    half_step = reach * nodes
    fall = half_step.sin() * (theta + half_step).sin()  # (cos(theta) - cos(phi)) / 2 at phi = theta + 2 half_step
    exponent = -2 * kappa * fall
    if m > 2:
        ratio_of_sines = torch.add(theta, half_step, alpha=2).sin() / sin
        exponent = torch.add(exponent, ratio_of_sines.log(), alpha=m - 2)
    integrand = torch.add(lead, fall, alpha=-2) * exponent.exp()
    return (integrand * weights).sum(-1) * reach.squeeze(-1)


@lru_cache(maxsize=8)
def _gauss_legendre(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes on [0, 1/2], which are half steps, and weights that sum to one."""
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    return torch.tensor((nodes + 1) / 4, device=device), torch.tensor(weights / 2, device=device)
