"""The von Mises-Fisher distribution: exact sampler, unbiased gradients, closed-form KL divergences.

Everything is expressed by F(kappa), the log-normaliser relative to the uniform distribution, and A(kappa) = F'(kappa),
the mean resultant length (`svae_repro.bessel.log_0f1_and_ratio`), so that kappa = 0 is no special case. A sample is
built from the angle theta between it and ``loc``, not from w = cos(theta), whose distance from 1 is lost to rounding at
high concentration. The numeric helpers are free functions below the class.

References: Ulrich (1984) and Wood (1994) for the rejection sampler; Davidson et al. (2018), "the paper"; Naesseth et
al. (2017) for the gradient through a rejection sampler; Figurnov et al. (2018) for implicit reparameterisation.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.distributions.utils import lazy_property

from ..bessel import log_0f1_and_ratio
from .hyperspherical_uniform import HypersphericalUniform, log_surface_area, unit_vector
from .noise import Generators, draw

PROPOSALS = 12  # drawn at once for every sample of a small batch: each is accepted with probability > 0.65
SMALL_BATCH = 4096
QUADRATURE_NODES = 24
QUADRATURE_REACH = 8.0  # in units of 1 / sqrt(kappa + m - 2), which bounds the standard deviation of theta


class VonMisesFisher(Distribution):
    """von Mises-Fisher distribution on the unit sphere S^(m-1) in R^m, density proportional to exp(kappa loc.x).

    Args:
        loc: mean direction [..., m], unit vectors, m >= 2.
        concentration: kappa [...], >= 0; 0 is the uniform distribution.

    ``rsample`` is exact for every kappa and m. Its gradient is pathwise and unbiased in both parameters. Sampling,
    F and A are evaluated in float64, because 1 - w, of order m / (2 kappa), drowns in the rounding of float32.

    Raises:
        ValueError: ``loc`` is not of unit length, ``concentration`` is negative or NaN, or the shapes do not broadcast.
    """

    arg_constraints = {"loc": unit_vector, "concentration": constraints.nonnegative}
    support = unit_vector
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor | float, validate_args: bool | None = None):
        concentration = torch.as_tensor(concentration, dtype=loc.dtype, device=loc.device)
        if Distribution._validate_args if validate_args is None else validate_args:
            _validate(loc, concentration)
        batch_shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.loc = loc.expand(batch_shape + loc.shape[-1:])
        self.concentration = concentration.expand(batch_shape)
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(VonMisesFisher, _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        super(VonMisesFisher, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def dim(self) -> int:
        """Ambient dimension m."""
        return self.event_shape[0]

    @lazy_property
    def _kappa(self) -> Tensor:
        return self.concentration.double()

    @lazy_property
    def _log_normalizer_and_ratio(self) -> tuple[Tensor, Tensor]:
        return log_0f1_and_ratio(self.dim / 2 - 1, self._kappa)

    @property
    def mean(self) -> Tensor:
        """Mean A(kappa) loc [..., m], inside the sphere; its direction is ``mode``."""
        return self._log_normalizer_and_ratio[1].to(self.loc.dtype).unsqueeze(-1) * self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def entropy(self) -> Tensor:
        """Differential entropy [...] in nats, relative to the surface measure."""
        log_normalizer, ratio = self._log_normalizer_and_ratio
        return (log_surface_area(self.dim) + log_normalizer - self._kappa * ratio).to(self.concentration.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] in nats of unit vectors ``value`` [..., m], relative to the surface measure (Eq. 3)."""
        if self._validate_args:
            self._validate_sample(value)
        # loc.x = 1 - |x - loc|^2 / 2 keeps what is left of 1 - loc.x in float32.
        half_chord2 = (value.double() - self.loc.double()).square().sum(-1) / 2
        excess = self._kappa - self._log_normalizer_and_ratio[0]
        return (excess - self._kappa * half_chord2 - log_surface_area(self.dim)).to(value.dtype)

    def rsample(self, sample_shape=torch.Size(), generator: Generators = None) -> Tensor:
        """Exact samples [*sample_shape, ..., m], reparameterised implicitly: unbiased gradients in both parameters."""
        shape = self._extended_shape(sample_shape)[:-1]
        kappa = self._kappa.expand(shape)
        theta = sample_angle(kappa.detach(), self.dim, generator, runs_axis=len(sample_shape))
        if kappa.requires_grad:
            ratio = self._log_normalizer_and_ratio[1].detach().expand(shape)
            theta = _ImplicitAngle.apply(kappa, theta, ratio, self.dim)
        return self._at_angle(theta, sample_shape, generator)

    def rsample_rejection(self, sample_shape=torch.Size(), generator: Generators = None) -> tuple[Tensor, Tensor]:
        """The paper's own estimator: samples reparameterised through the accepted proposal, and log(g / r).

        Returns:
            Samples z [*sample_shape, ..., m], differentiable through the proposal h(epsilon, kappa) of Lemma 2, and
            log g(h(epsilon, kappa)) / r(h(epsilon, kappa)) [*sample_shape, ...] up to a constant. The gradient of
            E[f(z)] is that of ``f(z) + f(z).detach() * log_ratio`` (Eq. 8); without the second term it is biased.
        """
        shape = self._extended_shape(sample_shape)[:-1]
        kappa = self._kappa.expand(shape)
        with torch.no_grad():
            beta = _accepted_proposal(kappa, self.dim, generator, runs_axis=len(sample_shape))
        b = _envelope(kappa, self.dim)
        denominator = 1 - (1 - b) * beta
        versine = 2 * b * beta / denominator  # 1 - w
        log_normalizer = self._log_normalizer_and_ratio[0].expand(shape)
        log_ratio = kappa * (1 - versine) - log_normalizer
        log_ratio = log_ratio + (self.dim - 1) / 2 * (b.log() - 2 * denominator.log())
        return self._at_angle(_angle(versine), sample_shape, generator), log_ratio.to(self.concentration.dtype)

    def _at_angle(self, theta: Tensor, sample_shape, generator: Generators) -> Tensor:
        """Unit vectors at angle ``theta`` from loc, in a uniformly random direction around it."""
        shape = [*theta.shape, self.dim - 1]
        around = draw(torch.randn, shape, generator, theta.device, runs_axis=len(sample_shape))
        around = around / around.norm(dim=-1, keepdim=True)
        # The reflection that takes e1 to the farther of loc and -loc never divides by a small number.
        sign = torch.where(self.loc[..., :1] < 0, -1.0, 1.0).to(self.loc.dtype)
        theta = theta.unsqueeze(-1)
        local = torch.cat([-sign * theta.cos(), theta.sin() * around], dim=-1).to(self.loc.dtype)
        normal = torch.cat([self.loc[..., :1] + sign, self.loc[..., 1:]], dim=-1)
        return local - normal * ((local * normal).sum(-1, keepdim=True) / (1 + self.loc[..., :1].abs()))


@register_kl(VonMisesFisher, HypersphericalUniform)
def _kl_vmf_uniform(p: VonMisesFisher, q: HypersphericalUniform) -> Tensor:
    """kappa A(kappa) - F(kappa) in nats (Eq. 5); its derivative is kappa A'(kappa)."""
    _check_dimensions(p, q)
    log_normalizer, ratio = p._log_normalizer_and_ratio
    return (p._kappa * ratio - log_normalizer).to(p.concentration.dtype)


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_vmf_vmf(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    """KL divergence in nats, E_p[kappa_p loc_p.x - kappa_q loc_q.x] - F(kappa_p) + F(kappa_q)."""
    _check_dimensions(p, q)
    (log_p, ratio), (log_q, _) = p._log_normalizer_and_ratio, q._log_normalizer_and_ratio
    half_chord2 = (p.loc.double() - q.loc.double()).square().sum(-1) / 2  # 1 - loc_p.loc_q
    kl = ratio * (p._kappa - q._kappa + q._kappa * half_chord2) - (log_p - log_q)
    return kl.to(p.concentration.dtype)


def _check_dimensions(p: Distribution, q: Distribution) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(f"KL divergence between spheres in R^{p.event_shape[0]} and R^{q.event_shape[0]}")


def _validate(loc: Tensor, concentration: Tensor) -> None:
    if loc.dim() == 0 or loc.shape[-1] < 2:
        raise ValueError(f"loc must have shape [..., m] with m >= 2, got {list(loc.shape)}")
    wrong = ~unit_vector.check(loc)
    if wrong.any():
        length = loc.norm(dim=-1)[wrong][0].item()
        raise ValueError(f"loc must be of unit length, found length {length:.6g}: divide it by its norm")
    wrong = ~(concentration >= 0) | concentration.isinf()
    if wrong.any():
        raise ValueError(f"concentration must be a finite number >= 0, found {concentration[wrong][0].item():.6g}")


def sample_angle(kappa: Tensor, m: int, generator: Generators = None, runs_axis: int = 0) -> Tensor:
    """Angles theta [...] in [0, pi] between a vMF sample and its mean direction, for kappa [...] in float64.

    The law of w = cos(theta) has density proportional to exp(kappa w) (1 - w^2)^((m-3)/2) on [-1, 1].
    """
    if m == 3:  # the distribution function can be inverted
        u = draw(torch.rand, kappa.shape, generator, kappa.device, runs_axis=runs_axis)
        kappa = kappa.clamp_min(1e-200)
        return _angle(-torch.log1p((1 - u) * torch.expm1(-2 * kappa)) / kappa)
    b = _envelope(kappa, m)
    beta = _accepted_proposal(kappa, m, generator, runs_axis)
    return _angle(2 * b * beta / (1 - (1 - b) * beta))


def _angle(versine: Tensor) -> Tensor:
    """theta from 1 - cos(theta), without loss at small angles."""
    return 2 * (versine / 2).clamp(0, 1).sqrt().asin()


def _envelope(kappa: Tensor, m: int) -> Tensor:
    """The constant b of Ulrich's and Wood's proposal in a form that does not cancel."""
    return (m - 1) / (2 * kappa + (4 * kappa * kappa + (m - 1) ** 2).sqrt())


def _accepted_proposal(kappa: Tensor, m: int, generator: Generators, runs_axis: int) -> Tensor:
    """Accepted epsilon [...] ~ Beta((m-1)/2, (m-1)/2), from which w = (1 - (1+b) epsilon) / (1 - (1-b) epsilon).

    Many proposals are drawn at once and one accepted one is kept, so that small batches seldom need a second round and
    a CUDA graph can hold the step. The samples left without one are drawn again. A graph under capture cannot ask
    whether there are any: it draws 32 proposals and keeps the last of those cases (probability below 1e-14) as it is.
    """
    capturing = kappa.is_cuda and torch.cuda.is_current_stream_capturing()
    proposals = 32 if capturing else PROPOSALS if kappa.numel() <= SMALL_BATCH else 2
    shape = [3, proposals, *kappa.shape]
    u_radius, u_angle, u_accept = draw(torch.rand, shape, generator, kappa.device, runs_axis=runs_axis + 2)
    # Ulrich's symmetric beta: the first coordinate of a uniform point of S^(m-1), moved to [0, 1]
    exponent = 2 / (m - 2) if m > 2 else math.inf
    radius = (-torch.expm1(exponent * u_radius.log())).sqrt()
    beta = (1 + radius * (2 * math.pi * u_angle).cos()) / 2
    b = _envelope(kappa, m)
    denominator = 1 - (1 - b) * beta
    versine = 2 * b * beta / denominator
    log_acceptance = kappa * (2 * b / (1 + b) - versine) + (m - 1) * ((1 + b) / (2 * denominator)).log()
    accepted = u_accept.log() <= log_acceptance
    some, which = accepted.to(torch.uint8).max(dim=0)
    beta = beta.gather(0, which.unsqueeze(0)).squeeze(0)
    if capturing or some.all():
        return beta
    if generator is None or isinstance(generator, torch.Generator):
        rest = some == 0
        beta[rest] = _accepted_proposal(kappa[rest], m, generator, 0)
        return beta
    for run, one in enumerate(generator):  # each run goes on with its own numbers
        rest = some.select(runs_axis, run) == 0
        if rest.any():
            beta.select(runs_axis, run)[rest] = _accepted_proposal(kappa.select(runs_axis, run)[rest], m, one, 0)
    return beta


class _ImplicitAngle(torch.autograd.Function):
    """theta as a function of kappa at a fixed value of its distribution function (Figurnov et al. 2018)."""

    @staticmethod
    def forward(ctx, kappa: Tensor, theta: Tensor, ratio: Tensor, m: int) -> Tensor:
        ctx.m = m
        ctx.save_for_backward(kappa, theta, ratio)
        return theta.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        return grad * angle_slope(*ctx.saved_tensors, ctx.m), None, None, None


def angle_slope(kappa: Tensor, theta: Tensor, ratio: Tensor, m: int) -> Tensor:
    """d theta / d kappa [...] at a fixed value of the distribution function of theta, in float64.

    With h(phi) = kappa cos(phi) + (m-2) log sin(phi) it is minus the integral of (cos(phi) - A) exp(h(phi) - h(theta))
    over [0, theta], equal to the integral over [theta, pi]. The side on which cos(phi) - A keeps its sign is taken, so
    nothing cancels, and Gauss-Legendre nodes cover the part next to theta where the integrand lives.
    """
    nodes, weights = _gauss_legendre(kappa.device)
    theta = theta.clamp_min(1e-150)
    versine_of_mean = 1 - ratio
    side = torch.where(2 * (theta / 2).sin().square() < versine_of_mean, -1.0, 1.0).to(theta.dtype)
    room = torch.where(side < 0, theta, math.pi - theta)
    reach = torch.minimum(room, QUADRATURE_REACH / (kappa + m - 2).sqrt())
    kappa, theta, side, versine_of_mean = (x.unsqueeze(-1) for x in (kappa, theta, side, versine_of_mean))
    away = reach.unsqueeze(-1) * nodes
    phi = theta + side * away
    cos_difference = -2 * side * (away / 2).sin() * (theta + side * away / 2).sin()  # cos(phi) - cos(theta)
    exponent = kappa * cos_difference
    if m > 2:
        exponent = exponent + (m - 2) * (phi.sin() / theta.sin()).log()
    integrand = (versine_of_mean - 2 * (phi / 2).sin().square()) * exponent.exp()
    return side.squeeze(-1) * reach * (integrand @ weights)


@lru_cache(maxsize=8)
def _gauss_legendre(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    return torch.tensor((nodes + 1) / 2, device=device), torch.tensor(weights / 2, device=device)
